"""The tables of the ledger. Pure: text, and the way from one version of it to the next.

``PRAGMA user_version`` says which version a file has. A file of an older version is taken forward by the steps that
it lacks, in one transaction; one of a newer version is refused. Nothing is ever deleted or changed, and triggers hold
that: the two exceptions are ``meta`` and the sending of notices.
"""

from __future__ import annotations

from typing import Final

_ROW: Final = "seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL"
_ORDER: Final = "client_id TEXT NOT NULL REFERENCES orders (client_id)"
_MONEY: Final = "INTEGER NOT NULL CHECK (typeof({0}) = 'integer')"


def _e6(*names: str) -> str:
    return ", ".join(f"{name}_e6 {_MONEY.format(f'{name}_e6')}" for name in names)


_FIRST: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE orders ({_ROW}, group_id TEXT NOT NULL, asset TEXT NOT NULL, {_e6("reserve", "worst")},
    client_id TEXT NOT NULL UNIQUE, market TEXT NOT NULL, token TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('BUY', 'SELL')), tif TEXT NOT NULL, {_e6("price", "shares", "money", "tick")},
    created_ms INTEGER NOT NULL, neg_risk INTEGER NOT NULL, {_e6("fee_rate")}, fee_exponent INTEGER NOT NULL,
    fee_taker_only INTEGER NOT NULL, {_e6("fee_rebate_rate")}, taker_delay INTEGER NOT NULL, {_e6("profit")});
CREATE TABLE results ({_ROW}, {_ORDER}, final INTEGER NOT NULL, outcome TEXT NOT NULL,
    {_e6("shares", "money", "fee")}, order_id TEXT, detail TEXT NOT NULL, exact INTEGER NOT NULL, {_e6("profit")});
CREATE TABLE fills ({_ROW}, {_ORDER}, trade_id TEXT NOT NULL, number INTEGER NOT NULL,
    {_e6("price", "shares", "money")}, fee_e6 INTEGER, matched_ms INTEGER NOT NULL, status TEXT NOT NULL, tx TEXT);
CREATE TABLE redemptions ({_ROW}, market TEXT NOT NULL, token TEXT NOT NULL, {_e6("shares", "cost", "payout")},
    how TEXT NOT NULL, {_e6("profit")});
CREATE TABLE merges ({_ROW}, market TEXT NOT NULL, token TEXT NOT NULL, other TEXT NOT NULL,
    {_e6("shares", "received", "profit")});
CREATE TABLE corrections ({_ROW}, market TEXT NOT NULL, token TEXT NOT NULL, {_e6("shares", "cost")},
    why TEXT NOT NULL, {_e6("profit")});
CREATE TABLE cash ({_ROW}, {_e6("amount")}, kind TEXT NOT NULL, detail TEXT NOT NULL, {_e6("profit")});
CREATE TABLE decisions ({_ROW}, market TEXT NOT NULL, slug TEXT NOT NULL, token TEXT NOT NULL, verdict TEXT NOT NULL,
    detail TEXT NOT NULL, fair_e6 INTEGER, strike_e6 INTEGER, price_e6 INTEGER, oracle_age_ms INTEGER,
    book_age_ms INTEGER, proof TEXT NOT NULL, basis TEXT NOT NULL, repeats INTEGER NOT NULL);
CREATE TABLE risk_events ({_ROW}, kind TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE differences ({_ROW}, what TEXT NOT NULL, market TEXT NOT NULL, token TEXT NOT NULL,
    {_e6("ours", "theirs")}, detail TEXT NOT NULL);
CREATE TABLE notices ({_ROW}, kind TEXT NOT NULL, text TEXT NOT NULL, sent_at_ms INTEGER,
    tries INTEGER NOT NULL DEFAULT 0);
CREATE TABLE requests (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('stop', 'resume', 'reconcile')), detail TEXT NOT NULL);
CREATE INDEX results_of_order ON results (client_id);
CREATE INDEX fills_of_order ON fills (client_id);
CREATE INDEX decisions_of_market ON decisions (market);
CREATE INDEX notices_unsent ON notices (seq) WHERE sent_at_ms IS NULL;

-- What each order did as far as is known: the newest of its results that decides.
CREATE VIEW fates AS SELECT orders.*, results.at_ms AS decided_ms, results.outcome, results.final, results.order_id,
    results.shares_e6 AS traded_e6, results.money_e6 AS paid_e6, results.fee_e6 AS fee_e6, results.detail
    FROM orders LEFT JOIN results ON results.seq = (SELECT max(seq) FROM results AS each
        WHERE each.client_id = orders.client_id AND each.outcome <> 'unknown');
-- What the venue listed of each fill last.
CREATE VIEW fills_now AS SELECT * FROM fills WHERE seq IN
    (SELECT max(seq) FROM fills GROUP BY client_id, trade_id, number);
-- Everything that changed the profit, in order.
CREATE VIEW realised AS
    SELECT seq, at_ms, market, token, profit_e6, how AS why FROM redemptions
    UNION ALL SELECT seq, at_ms, market, token, profit_e6, 'merged' FROM merges WHERE profit_e6 <> 0
    UNION ALL SELECT seq, at_ms, market, token, profit_e6, why FROM corrections WHERE profit_e6 <> 0
    UNION ALL SELECT results.seq, results.at_ms, market, token, results.profit_e6, outcome
        FROM results JOIN orders USING (client_id) WHERE results.profit_e6 <> 0;
"""  # noqa: S608 - our own names

_SECOND: Final = f"""
CREATE TABLE merges_begun ({_ROW}, market TEXT NOT NULL, token TEXT NOT NULL, other TEXT NOT NULL,
    {_e6("shares", "held", "other_held")});
"""

_KEPT: Final = (
    *("orders", "results", "fills", "redemptions", "merges", "corrections", "cash", "decisions"),
    *("risk_events", "differences", "requests"),
)
_KEPT_SECOND: Final = ("merges_begun",)


def _keep(table: str, change: str) -> str:
    return (
        f"CREATE TRIGGER {table}_no_{change} BEFORE {change} ON {table} "
        f"BEGIN SELECT raise(ABORT, 'nothing is taken back: {table}'); END;\n"
    )


def _guards(tables: tuple[str, ...]) -> str:
    return "".join(_keep(table, change) for table in tables for change in ("UPDATE", "DELETE"))


STEPS: Final[tuple[str, ...]] = (
    _FIRST + _guards(_KEPT) + _keep("notices", "DELETE"),
    _SECOND + _guards(_KEPT_SECOND),
)
"""What takes a file from version N to N + 1, for N from 0."""

VERSION: Final = len(STEPS)

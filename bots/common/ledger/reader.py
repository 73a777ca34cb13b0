"""Reading a ledger from outside, also while a bot writes it: positions, trades, profit by day, and what was decided.

Nothing is locked and nothing is written, but for :func:`request`, by which a command asks a running bot, or the next
one, to stop or to resume. What is returned are frozen values with Decimals. Serves commands and tests.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self
from zoneinfo import ZoneInfo

from attrs import frozen

from bots.common.errors import BotError
from bots.common.ledger.account import Account
from bots.common.ledger.database import WAIT_MS, copy_into, told
from bots.common.ledger.ledger import replay
from bots.common.ledger.rows import TABLES, ZERO, from_e6
from bots.common.ledger.schema import VERSION
from bots.common.money.amounts import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from pathlib import Path
    from types import TracebackType

    from bots.common.ledger.rows import Row

NEWEST: Final = 50


@frozen(kw_only=True)
class TradeLine:
    """One order that traded, or may have."""

    at_ms: int
    client_id: str
    market: str
    token: str
    asset: str
    side: str
    outcome: str
    final: bool
    shares: Decimal
    money: Decimal
    fee: Decimal
    order_id: str


@frozen
class Realised:
    """What ended, and what it earned."""

    at_ms: int
    market: str
    token: str
    profit: Decimal
    why: str


@frozen
class Curve:
    """How the profit went: how far below its best it was at worst, and losses one after the other."""

    profit: Decimal
    drawdown: Decimal
    streak: int
    longest: int


class LedgerReader:
    """Use ``with``. Raises BotError when there is no ledger, OSError or LedgerCorrupt when it cannot be read."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise BotError(f"there is no ledger {path}")
        self.path = path
        with told(path):
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            self._connection.execute(f"PRAGMA busy_timeout = {WAIT_MS}")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            self._connection.close()
            raise BotError(f"{path} has version {version} and this program reads {VERSION}: start its bot once")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with told(self.path):
            return self._connection.execute(sql, values).fetchall()

    def table(self, name: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the columns and all rows of a table, for an export. Raises BotError for a name that is none."""
        if name not in TABLES.values():
            raise BotError(f"{name} is no table of the ledger: {', '.join(TABLES.values())}")
        with told(self.path):
            cursor = self._connection.execute(f"SELECT * FROM {name} ORDER BY seq")  # noqa: S608 - one of ours
            return [each[0] for each in cursor.description], cursor.fetchall()

    def back_up(self, target: Path) -> None:
        """Write a copy of the whole ledger. Raises OSError."""
        with told(self.path):
            copy_into(self._connection, target)

    def account(self, tell: Callable[[Row], None] = lambda _row: None) -> Account:
        """Return positions, open orders, claims and sums. ``tell`` hears of every row, as a follower does."""
        account = Account()
        with told(self.path):
            self._connection.execute("BEGIN")  # what a bot writes meanwhile is not seen in part
        try:
            replay(self.query, account, tell)
        finally:
            self._connection.rollback()
        return account

    def trades(self, newest: int = NEWEST) -> list[TradeLine]:
        """Return orders that traded or whose fate is open, the newest first."""
        rows = self.query(
            "SELECT at_ms, client_id, market, token, asset, side, coalesce(outcome, 'unknown'), coalesce(final, 0), "
            "coalesce(traded_e6, 0), coalesce(paid_e6, 0), coalesce(fee_e6, 0), coalesce(order_id, '') FROM fates "
            "WHERE outcome IS NULL OR traded_e6 > 0 ORDER BY seq DESC LIMIT ?",
            (newest,),
        )
        return [
            TradeLine(
                at_ms=row[0], client_id=row[1], market=row[2], token=row[3], asset=row[4], side=row[5], outcome=row[6],
                final=bool(row[7]), shares=from_e6(row[8]), money=from_e6(row[9]), fee=from_e6(row[10]),
                order_id=row[11],
            )
            for row in rows
        ]  # fmt: skip

    def realised(self, since_ms: int = 0) -> list[Realised]:
        """Return everything that changed the profit since then (Unix ms), the oldest first."""
        rows = self.query(
            "SELECT at_ms, market, token, profit_e6, why FROM realised WHERE at_ms >= ? ORDER BY seq", (since_ms,)
        )
        return [Realised(at, market, token, from_e6(profit), why) for at, market, token, profit, why in rows]

    def daily(self, zone: str = "UTC") -> dict[str, Decimal]:
        """Return the profit of each day of a time zone, the oldest first."""
        days: dict[str, Decimal] = {}
        for each in self.realised():
            day = datetime.fromtimestamp(each.at_ms / 1000, ZoneInfo(zone)).date().isoformat()
            days[day] = EXACT.add(days.get(day, ZERO), each.profit)
        return days

    def curve(self) -> Curve:
        """Return profit, drawdown and losing streaks since the beginning."""
        profit = best = drawdown = ZERO
        streak = longest = 0
        for each in self.realised():
            profit = EXACT.add(profit, each.profit)
            best = max(best, profit)
            drawdown = max(drawdown, EXACT.subtract(best, profit))
            streak = streak + 1 if each.profit < 0 else streak if each.profit == 0 else 0
            longest = max(longest, streak)
        return Curve(profit, drawdown, streak, longest)


def request(path: Path, kind: str, detail: str, at_ms: int) -> None:
    """Ask the bot of a ledger to ``stop``, to ``resume`` or to ``reconcile``: at once, or at its next start.

    Raises BotError when there is no ledger, OSError when it cannot be written.
    """
    with LedgerReader(path):
        pass  # says what is wrong with it
    with told(path), closing(sqlite3.connect(path, timeout=WAIT_MS / 1000)) as connection, connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("INSERT INTO requests (at_ms, kind, detail) VALUES (?, ?, ?)", (at_ms, kind, detail))

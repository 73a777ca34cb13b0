"""The data service of accounts: positions, their value, trades and approvals, as an index of the chain knows them.

It knows what is settled: shares of trades that are not mined yet are not there. Costs are averages over all purchases,
a split counts half a dollar for each share. Without credentials, as at the venue: anybody may ask for any address.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from polymirror.simulator.chain.contracts import APPROVALS, CHAIN_ID
from polymirror.simulator.exchange.ladder import PRICE_TEXTS, size_text
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.orders.signing import is_address
from polymirror.simulator.surface.answers import UnreadableError, data_page, refused, told
from polymirror.simulator.surface.gamma import title
from polymirror.simulator.surface.tape import worth

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.frames import Answer, Call
    from polymirror.simulator.orders.broker import Broker
    from polymirror.simulator.orders.entries import Holdings

UNITS: Final = 1_000_000
CENT: Final = Decimal("0.000001")


@frozen
class _Costs:
    """What an account paid for a token and got for it, in pUSD and shares."""

    bought: Decimal
    paid: Decimal
    fees: Decimal
    given: Decimal
    got: Decimal

    @property
    def average(self) -> Decimal:
        return self.paid / self.bought if self.bought else Decimal(0)


class Index:
    """The data service. A service for :class:`~polymirror.simulator.server.Simulator`.

    ``purse_of`` tells under which address in the books of account a wallet's things are.
    """

    def __init__(self, broker: Broker, purse_of: Callable[[str], str]) -> None:
        self._broker = broker
        self._exchange: Exchange = broker.exchange
        self._purse_of = purse_of
        self._paths: dict[str, Callable[[str, Call], Answer]] = {
            "/v2/positions": self._positions,
            "/v2/value": self._value,
            "/v2/approvals": self._approvals,
            "/v2/trades": self._trades,
        }

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        """Answer a call about an account; ``None``: it is about none."""
        del now_ms  # what is known does not depend on when it is asked for
        path, user = call.path.rstrip("/"), call.query.get("user")
        if call.method != "GET" or path not in self._paths or user is None:
            return None
        if not is_address(user):
            return refused(400, "invalid user")
        try:
            return self._paths[path](user, call)
        except UnreadableError as error:
            return refused(400, str(error))

    def _positions(self, user: str, call: Call) -> Answer:
        wanted = frozenset(each for name in ("condition_id", "market") for each in call.values(name))
        status = call.query.get("status", "")
        rows = [row for row in self._rows(user) if not wanted or row["condition_id"] in wanted]
        if status == "MERGEABLE":
            rows = [row for row in rows if row["mergeable"]]
        elif status:
            rows = [row for row in rows if row["status"] == status]
        return data_page(call, rows)

    def _value(self, user: str, call: Call) -> Answer:
        del call
        total = sum((Decimal(row["current_value"]) for row in self._rows(user)), Decimal(0))
        return told({"data": {"proxy_wallet": user, "value": _text(total)}})

    def _approvals(self, user: str, call: Call) -> Answer:
        del call
        contracts = [
            {"token": token, "spender": spender, "standard": standard, "approved": True}
            | ({"amount": "max"} if standard == "ERC20" else {})
            for token, spender, standard in APPROVALS
        ]
        return told({"data": {"address": user, "chain_id": CHAIN_ID, "contracts": contracts}})

    def _trades(self, user: str, call: Call) -> Answer:
        account = self._broker.ledger.look_up(self._purse_of(user))
        undone = {fill.id for fill in account.reversed}
        rows = []
        for fill in reversed(account.fills):
            trade = self._broker.trades.get(fill.trade_id)
            if trade is None or not trade.transaction_hash or fill.id in undone:
                continue
            rows.append(
                {
                    "proxy_wallet": user,
                    "token_id": fill.token,
                    "condition_id": fill.market,
                    "side": "BUY" if fill.buys else "SELL",
                    "size": size_text(fill.shares),
                    "price": PRICE_TEXTS[fill.price],
                    "timestamp": fill.at_ms // 1_000,
                    "transaction_hash": trade.transaction_hash,
                    "outcome": fill.outcome,
                    "outcome_index": OUTCOMES.index(fill.outcome),
                }
            )
        return data_page(call, rows)

    def _rows(self, user: str) -> list[dict[str, Any]]:
        account = self._broker.ledger.look_up(self._purse_of(user))
        held = {token: account.shares(token) - account.claimed_shares(token) for token in account.positions}
        return [self._row(user, account, token, held) for token, shares in held.items() if shares > 0]

    def _row(self, user: str, account: Holdings, token: str, held: dict[str, int]) -> dict[str, Any]:
        position = account.positions[token]
        market = self._exchange.market_by_condition(position.market)
        payouts = self._exchange.payouts(position.market)
        index = OUTCOMES.index(position.outcome)
        size, costs = Decimal(held[token]) / UNITS, _costs(account, token)
        if payouts is not None:
            price = Decimal(payouts[index]) / sum(payouts)
        else:
            first = Decimal("0.5") if market is None else worth(market)
            price = 1 - first if index else first
        spent, value = costs.average * size, price * size
        realized, unrealized = costs.got - costs.average * costs.given, value - spent
        pair = [each for each, other in account.positions.items() if other.market == position.market]
        return {
            "proxy_wallet": user,
            "token_id": token,
            "condition_id": position.market,
            "current_size": _text(size),
            "avg_price": _text(costs.average),
            "entry_cost_usdc": _text(spent),
            "entry_fees_usdc": _text(costs.fees),
            "total_cost_usdc": _text(costs.paid),
            "current_price": _text(price),
            "current_value": _text(value),
            "total_size": _text(costs.bought),
            "realized_pnl": _text(realized),
            "unrealized_pnl": _text(unrealized),
            "total_pnl": _text(realized + unrealized),
            "percent_pnl": _text(100 * unrealized / spent if spent else Decimal(0)),
            "percent_realized_pnl": _text(100 * realized / costs.paid if costs.paid else Decimal(0)),
            "status": "OPEN" if payouts is None else "REDEEMABLE",
            "redeemable": payouts is not None,
            "mergeable": payouts is None and len(pair) > 1 and all(held[each] > 0 for each in pair),
            "negative_risk": False,
            "archived": False,
            "verified": True,
            "outcome": position.outcome,
            "outcome_index": index,
            "title": "" if market is None else title(market),
            "slug": "" if market is None else market.slug,
        }


def _costs(account: Holdings, token: str) -> _Costs:
    undone = {fill.id for fill in account.reversed}
    bought = paid = fees = given = got = 0
    for fill in account.fills:
        if fill.token != token or fill.id in undone:
            continue
        if fill.buys:
            bought, paid, fees = bought + fill.shares, paid + fill.money, fees + fill.fee
        else:
            given, got = given + fill.shares, got + fill.money - fill.fee
    for each in account.conversions:
        if token in each.tokens and each.sets > 0:
            bought, paid = bought + each.sets, paid + each.sets // 2
        elif token in each.tokens:
            given, got = given - each.sets, got - each.sets // 2
    for redeemed in account.redemptions:
        if redeemed.token == token:
            given, got = given + redeemed.shares, got + redeemed.payout
    return _Costs(*(Decimal(each) / UNITS for each in (bought, paid, fees, given, got)))


def _text(value: Decimal) -> str:
    return f"{value.quantize(CENT).normalize():f}"

"""What accounts may look up: orders, trades, balances, positions, and what goes wrong with that.

A :class:`LookUps` answers the GETs of :mod:`polymirror.simulator.orders.desk`, whose table says what each gives. With
``lag_ms`` in the rates of the faults, orders and trades are shown as they were so long ago.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.exchange.ladder import size_text
from polymirror.simulator.frames import Answer
from polymirror.simulator.orders.past import Past
from polymirror.simulator.orders.signing import EXCHANGE, NEG_RISK_EXCHANGE
from polymirror.simulator.orders.states import OrderEvent, OrderState
from polymirror.simulator.orders.wire import PREFIX, error_answer, json_answer, order_object, page_answer, trade_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.simulator.frames import Call
    from polymirror.simulator.orders.auth import Account
    from polymirror.simulator.orders.broker import Broker
    from polymirror.simulator.orders.faults import OrderFaults
    from polymirror.simulator.orders.states import BookedOrder, Event
    from polymirror.simulator.orders.trades import Trade

ONE_ORDER: Final = "/data/order/"
"""The path of an order's look-up, before its id."""

UNLIMITED: Final = str(2**256 - 1)
MAX_TIME_DIGITS: Final = 12
ID_LENGTH: Final = 66

_OPEN: Final = {OrderState.DELAYED.value, OrderState.LIVE.value}


class LookUps:
    """The answers. ``wallet_of`` gives the address that an order was sent for. ``faults`` may be replaced."""

    def __init__(self, broker: Broker, faults: OrderFaults, wallet_of: Callable[[BookedOrder], str]) -> None:
        self.broker = broker
        self.faults = faults
        self._wallet_of = wallet_of
        self._orders, self._trades = Past(), Past()
        # The balances that were told last, by address and token ("": money).
        self._told: dict[tuple[str, str], int] = {}
        self.reads: dict[str, Callable[[Account, Call, int], Answer]] = {
            ONE_ORDER: self._order,
            "/data/orders": self._open_orders,
            "/data/trades": self._list_of_trades,
            "/data/positions": self._positions,
            "/data/redemptions": self._redemptions,
            "/balance-allowance": self._balance,
            "/balance-allowance/update": lambda *_: Answer(200, '""'),
            "/order-scoring": self._scoring,
            "/notifications": lambda *_: Answer(200, "[]"),
            "/auth/api-keys": lambda account, *_: json_answer({"apiKeys": [account.api_key]}),
            "/auth/ban-status/closed-only": lambda *_: json_answer({"closed_only": False}),
        }

    def heard(self, account: Account, event: Event) -> None:
        """Remember what an order or a trade looks like now, if look-ups lag."""
        if not self.faults.rates.lag_ms:
            return
        if isinstance(event, OrderEvent):
            shown = order_object(account, event.order, self._wallet_of(event.order))
            self._orders.keep(account.address, event.order.id, shown, event.at_ms)
        else:
            self._trades.keep(account.address, event.trade.id, self.trade(account, event.trade), event.at_ms)

    # Orders.

    def _order(self, account: Account, call: Call, now_ms: int) -> Answer:
        order_id = call.path.rstrip("/").rpartition("/")[2]
        if not order_id.startswith("0x") or len(order_id) != ID_LENGTH:
            return error_answer(400, "Invalid orderID")
        order = self.broker.order(order_id)
        if order is None or order.address != account.address:
            return error_answer(404, "order not found")
        found: dict[str, Any] | None = order_object(account, order, self._wallet_of(order))
        if self.faults.lag_ms:
            found = self._orders.one(account.address, order_id, now_ms - self.faults.lag_ms)
        if found is None or self.faults.strikes("null_lookups"):
            return Answer(200, "null")
        return json_answer({**found, "status": self.faults.word(found["status"])})

    def _open_orders(self, account: Account, call: Call, now_ms: int) -> Answer:
        if self.faults.lag_ms:
            shown = self._orders.all(account.address, now_ms - self.faults.lag_ms)
        else:
            mine = self.broker.open_orders(account.address)
            shown = [order_object(account, order, self._wallet_of(order)) for order in mine]
        wanted = [each for each in shown if each["status"] in _OPEN and _is_wanted(each, call)]
        return page_answer(wanted, call, partial(self._worded, ""))

    def _scoring(self, account: Account, call: Call, now_ms: int) -> Answer:
        del now_ms
        return json_answer({"scoring": self.scores(account, call.query.get("order_id", ""))})

    def scores(self, account: Account, order_id: str) -> bool:
        """Whether an order earns rewards. The simulator's own rule: it rests."""
        order = self.broker.order(order_id)
        return order is not None and order.address == account.address and order.state is OrderState.LIVE

    # Trades.

    def _list_of_trades(self, account: Account, call: Call, now_ms: int) -> Answer:
        query = call.query
        after, before = query.get("after", "0"), query.get("before", "99999999999")
        if not all(text.isascii() and text.isdigit() and len(text) < MAX_TIME_DIGITS for text in (after, before)):
            return error_answer(400, "Invalid trade params payload")
        first, last = int(after), int(before)
        if self.faults.lag_ms:
            past = self._trades.all(account.address, now_ms - self.faults.lag_ms)
            shown = [each for each in past if first <= int(each["match_time"]) <= last and _is_wanted(each, call)]
            return page_answer(shown, call, partial(self._worded, PREFIX))
        trades = self.broker.trades.of(account.address)
        wanted = [each for each in trades if first <= each.matched_ms // 1_000 <= last and _trade_is_wanted(each, call)]
        return page_answer(wanted, call, partial(self._trade, account))

    def trade(self, account: Account, trade: Trade) -> dict[str, Any]:
        """A trade as an account sees it."""
        takes = trade.taker_address == account.address
        ids = [trade.taker_order_id] if takes else [m.order_id for m in trade.makers if m.address == account.address]
        orders = [order for order in map(self.broker.order, ids) if order is not None]
        money = trade.money if takes else sum(f.money for o in orders for f in o.fills if f.trade_id == trade.id)
        wallet = self._wallet_of(orders[0]) if orders else account.address
        return trade_object(account, trade, wallet, money)

    def _trade(self, account: Account, trade: Trade) -> dict[str, Any]:
        return self._worded(PREFIX, self.trade(account, trade))

    def _worded(self, prefix: str, shown: dict[str, Any]) -> dict[str, Any]:
        return {**shown, "status": prefix + self.faults.word(shown["status"].removeprefix(prefix))}

    # Money and shares.

    def _balance(self, account: Account, call: Call, now_ms: int) -> Answer:
        del now_ms
        holdings = self.broker.ledger.account(account.address)
        kind, token = call.query.get("asset_type", ""), call.query.get("token_id", "")
        if kind == "COLLATERAL":
            units, token = holdings.cash, ""
        elif kind in {"CONDITIONAL", "CONDITIONAL-V2"}:
            units = holdings.shares(token)
        else:
            return error_answer(400, "Invalid asset type")
        told = (account.address, token)
        if told in self._told and self.faults.strikes("stale_balances"):
            units = self._told[told]
        elif self.faults.rates.stale_balances:
            self._told[told] = units
        allowances = dict.fromkeys((EXCHANGE, NEG_RISK_EXCHANGE), UNLIMITED)
        return json_answer({"balance": str(units), "allowances": allowances})

    def _positions(self, account: Account, call: Call, now_ms: int) -> Answer:
        del call, now_ms
        found = []
        for token, position in self.broker.ledger.account(account.address).positions.items():
            winner = self.broker.exchange.outcome(position.market)
            resolved = self.broker.exchange.payouts(position.market) is not None
            found.append(
                {
                    "asset_id": token,
                    "market": position.market,
                    "outcome": position.outcome,
                    "size": size_text(position.shares),
                    "resolved": resolved,
                    "winner": None if winner is None else winner == token,
                    "redeemable": resolved,
                }
            )
        return json_answer({"data": found})

    def _redemptions(self, account: Account, call: Call, now_ms: int) -> Answer:
        del now_ms
        market = call.query.get("market")
        found = [
            {
                "market": each.market,
                "asset_id": each.token,
                "size": size_text(each.shares),
                "payout": size_text(each.payout),
                "at_ms": each.at_ms,
            }
            for each in self.broker.ledger.account(account.address).redemptions
            if market in {None, each.market}
        ]
        return page_answer(found, call)


def _is_wanted(shown: dict[str, Any], call: Call) -> bool:
    """Whether an entry of a list has the id, the market and the token that are asked for."""
    return all(call.query.get(name) in {None, shown[name]} for name in ("id", "market", "asset_id"))


def _trade_is_wanted(trade: Trade, call: Call) -> bool:
    """The same of a trade, before it is written out."""
    wanted = ((call.query.get("id"), trade.id), (call.query.get("market"), trade.market))
    return all(value in {None, own} for value, own in (*wanted, (call.query.get("asset_id"), trade.token)))

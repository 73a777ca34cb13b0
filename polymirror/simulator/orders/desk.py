"""The HTTP side of order handling: orders, look-ups, balances, redemptions, and whether one may trade at all.

An :class:`OrderDesk` is a :class:`~polymirror.simulator.surface.services.Service`: a call goes in, an answer comes
out, and :class:`~polymirror.simulator.orders.broker.Broker` does the rest. Paths, bodies and texts are the venue's
(protocol.md 7, its page of error codes, the models of its SDK). Amounts in answers are decimal strings in
pUSD and shares, except for balances, which are in 1/1,000,000.

======================================  ==========================================================================
``POST /order``                         the venue's V2 body with ``orderType`` FOK or FAK. 200 ``{success, errorMsg,
                                        orderID, status, makingAmount, takingAmount, tradeIDs}``; status ``delayed``
                                        has empty amounts and is in flight, ``matched`` is over. 400, 401, 403, 425,
                                        429 and 503 with ``{error}``: not accepted, or killed at once.
``GET /data/order/{id}``                ``{id, status, market, asset_id, side, original_size, size_matched, price,
                                        order_type, associate_trades, ...}``; status DELAYED, MATCHED, UNMATCHED or
                                        CANCELED_MARKET_RESOLVED; 404 when it was never accepted.
``GET /data/orders``                    the orders in flight, as a page ``{data, next_cursor, limit, count}``; by
                                        ``id, market, asset_id``.
``GET /data/trades``                    one trade for each price level that was taken, oldest first, as a page; by
                                        ``id, market, asset_id, after, before`` (Unix seconds, inclusive). ``fee``,
                                        ``money`` and ``match_time_ms`` are the simulator's own.
``GET /balance-allowance``              ``{balance, allowances}`` by ``asset_type`` and ``token_id``; ``/update``
                                        does nothing.
``GET /auth/api-keys``                  ``{apiKeys}``; ``/auth/ban-status/closed-only``: ``{closed_only}``.
``GET /api/geoblock``                   ``{blocked, ip, country, region}``, without credentials.
``GET /data/positions``                 the simulator's own: ``{data: [{asset_id, market, outcome, size, resolved,
                                        winner, redeemable}]}``.
``POST /redeem``                        the simulator's own: ``{market}`` in, ``{market, payout, redeemed: [{asset_id,
                                        size, payout}]}`` out; a second time nothing is left to redeem.
``GET /data/redemptions``               the simulator's own: what was redeemed, by ``market``.
======================================  ==========================================================================

Credentials are the venue's five L2 headers. Signatures of orders are not verified, and an order's id is a SHA-256 of
its signed fields instead of their EIP-712 hash: :func:`order_id_of` computes it before the order leaves.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.exchange.ladder import size_text
from polymirror.simulator.frames import Answer
from polymirror.simulator.orders.auth import Account
from polymirror.simulator.orders.broker import OrderState
from polymirror.simulator.orders.faults import Fate, OrderFaults
from polymirror.simulator.orders.rules import Refused, order_id_of, read_ticket
from polymirror.simulator.orders.wire import (
    Geo,
    error_answer,
    json_answer,
    order_object,
    page_answer,
    trade_object,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.frames import Call
    from polymirror.simulator.orders.broker import BookedOrder, Broker
    from polymirror.simulator.orders.ledger import Fill

__all__ = ["Account", "Geo", "OrderDesk", "order_id_of"]

MAX_BODY: Final = 65_536
"""Bytes of a call's body; what is larger is not read."""

ONE_ORDER: Final = "/data/order/"
"""The path of an order's look-up, before its id."""

UNAUTHORIZED: Final = "Unauthorized/Invalid api key"
RESTRICTED: Final = (
    "Trading restricted in your region, please refer to available regions - "
    "https://docs.polymarket.com/developers/CLOB/geoblock"
)
EXCHANGE_ADDRESS: Final = "0xE111180000d2663C0091e4f400237545B87B996B"
UNLIMITED: Final = str(2**256 - 1)


class OrderDesk:
    """Answers the calls of some accounts. ``geo`` may be replaced while it runs."""

    def __init__(
        self,
        broker: Broker,
        accounts: Iterable[Account],
        *,
        faults: OrderFaults | None = None,
        geo: Geo | None = None,
    ) -> None:
        self.broker = broker
        self.faults = faults or OrderFaults()
        self.geo = geo or Geo()
        self._accounts = {account.api_key: account for account in accounts}
        reads: dict[str, Callable[[Account, Call], Answer]] = {
            ONE_ORDER: self._order,
            "/data/orders": self._open_orders,
            "/data/trades": self._trades,
            "/data/positions": self._positions,
            "/data/redemptions": self._redemptions,
            "/balance-allowance": self._balance,
            "/balance-allowance/update": lambda *_: Answer(200, '""'),
            "/auth/api-keys": lambda account, _: json_answer({"apiKeys": [account.api_key]}),
            "/auth/ban-status/closed-only": lambda *_: json_answer({"closed_only": False}),
        }
        # By method and path; every one of them needs credentials.
        self._handlers: dict[tuple[str, str], Callable[[Account, Call, int], Answer]] = {
            **{("GET", path): partial(self._read, read) for path, read in reads.items()},
            ("POST", "/order"): partial(self._change, self._place),
            ("POST", "/redeem"): partial(self._change, self._redeem),
        }

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        """Answer a call; ``None``: it is none of this desk's."""
        path = call.path.rstrip("/")
        if (call.method, path) == ("GET", "/api/geoblock"):
            geo = self.geo
            return json_answer({"blocked": geo.blocked, "ip": geo.ip, "country": geo.country, "region": geo.region})
        handler = self._handlers.get((call.method, ONE_ORDER if path.startswith(ONE_ORDER) else path))
        if handler is None:
            return None
        account = self._account_of(call)
        return error_answer(401, UNAUTHORIZED) if account is None else handler(account, call, now_ms)

    def _account_of(self, call: Call) -> Account | None:
        """The account whose credentials signed the call."""
        account = self._accounts.get(call.headers.get("poly_api_key", ""))
        return account if account is not None and account.signed(call) else None

    # What changes something.

    def _change(
        self, change: Callable[[Account, Any, int], Answer], account: Account, call: Call, now_ms: int
    ) -> Answer:
        payload: Any = None
        if len(call.body) <= MAX_BODY:
            with suppress(ValueError, RecursionError):
                payload = json.loads(call.body)
        fate = self.faults.of_change()
        if fate is Fate.REQUEST_LOST:
            return Answer(200, "", hangs=True)
        if fate is Fate.REQUEST_LATE:
            later = partial(self._change_later, account, payload, change)
            self.broker.exchange.agenda.add(now_ms + self.faults.late_ms(), later)
            return Answer(200, "", hangs=True)
        if fate not in {Fate.NONE, Fate.ANSWER_LOST}:
            return self.faults.refusal(fate)
        return self._attempt(account, payload, now_ms, change)._replace(hangs=fate is Fate.ANSWER_LOST)

    def _change_later(
        self, account: Account, payload: Any, change: Callable[[Account, Any, int], Answer], at_ms: int, out: Output
    ) -> None:
        del out  # the exchange sends what it changes
        self._attempt(account, payload, at_ms, change)

    def _attempt(
        self, account: Account, payload: Any, now_ms: int, change: Callable[[Account, Any, int], Answer]
    ) -> Answer:
        try:
            return change(account, payload, now_ms)
        except Refused as refused:
            return error_answer(refused.status, refused.text, refused.code)

    def _place(self, account: Account, payload: Any, now_ms: int) -> Answer:
        if self.geo.blocked:
            raise Refused(403, RESTRICTED)
        ticket = read_ticket(payload, address=account.address, api_key=account.api_key)
        order = self.broker.place(ticket, now_ms, doomed=self.faults.dooms())
        delayed = order.state is OrderState.DELAYED
        status = {OrderState.DELAYED: "delayed", OrderState.LIVE: "live"}.get(order.state, "matched")
        making, taking = (order.money, order.shares) if order.buys else (order.shares, order.money)
        return json_answer(
            {
                "errorMsg": "",
                "orderID": order.id,
                "takingAmount": "" if delayed else size_text(taking),
                "makingAmount": "" if delayed else size_text(making),
                "status": status,
                "tradeIDs": list(order.trade_ids),
                "success": True,
            }
        )

    def _redeem(self, account: Account, payload: Any, now_ms: int) -> Answer:
        market = payload.get("market") if isinstance(payload, dict) else None
        if not isinstance(market, str):
            raise Refused(400, "Invalid payload")
        done = self.broker.redeem(account.address, market, now_ms)
        redeemed = [
            {"asset_id": each.token, "size": size_text(each.shares), "payout": size_text(each.payout)} for each in done
        ]
        payout = size_text(sum(each.payout for each in done))
        return json_answer({"market": market, "payout": payout, "redeemed": redeemed})

    # What is looked up.

    def _read(self, read: Callable[[Account, Call], Answer], account: Account, call: Call, now_ms: int) -> Answer:
        del now_ms  # a look-up tells what has happened, and who steps the exchange decides that
        fate = self.faults.of_read()
        if fate not in {Fate.NONE, Fate.ANSWER_LOST}:
            return self.faults.refusal(fate)
        return read(account, call)._replace(hangs=fate is Fate.ANSWER_LOST)

    def _order(self, account: Account, call: Call) -> Answer:
        order_id = call.path.rstrip("/").rpartition("/")[2]
        if not order_id.startswith("0x") or len(order_id) != 66:
            return error_answer(400, "Invalid orderID")
        order = self.broker.order(order_id)
        if order is None or order.address != account.address:
            return error_answer(404, "order not found")
        return json_answer(order_object(account, order))

    def _open_orders(self, account: Account, call: Call) -> Answer:
        orders = self.broker.open_orders(account.address)
        return page_answer([order for order in orders if _is_wanted(order, call)], call, partial(order_object, account))

    def _trades(self, account: Account, call: Call) -> Answer:
        query = call.query
        after, before = query.get("after", "0"), query.get("before", "99999999999")
        if not (after.isdigit() and before.isdigit() and len(after) < 12 and len(before) < 12):
            return error_answer(400, "Invalid trade params payload")
        fills = [
            fill
            for fill in self.broker.ledger.account(account.address).fills
            if int(after) <= fill.at_ms // 1_000 <= int(before) and _is_wanted(fill, call)
        ]
        return page_answer(fills, call, partial(trade_object, account))

    def _balance(self, account: Account, call: Call) -> Answer:
        holdings = self.broker.ledger.account(account.address)
        kind = call.query.get("asset_type")
        if kind not in {"COLLATERAL", "CONDITIONAL"}:
            return error_answer(400, "Invalid asset type")
        units = holdings.cash if kind == "COLLATERAL" else holdings.shares(call.query.get("token_id", ""))
        return json_answer({"balance": str(units), "allowances": {EXCHANGE_ADDRESS: UNLIMITED}})

    def _positions(self, account: Account, call: Call) -> Answer:
        del call
        found = []
        for token, position in self.broker.ledger.account(account.address).positions.items():
            winner = self.broker.exchange.outcome(position.market)
            found.append(
                {
                    "asset_id": token,
                    "market": position.market,
                    "outcome": position.outcome,
                    "size": size_text(position.shares),
                    "resolved": winner is not None,
                    "winner": None if winner is None else winner == token,
                    "redeemable": winner is not None,
                }
            )
        return json_answer({"data": found})

    def _redemptions(self, account: Account, call: Call) -> Answer:
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


def _is_wanted(entry: BookedOrder | Fill, call: Call) -> bool:
    """Whether an entry of a list has the id, the market and the token that are asked for."""
    wanted = ((call.query.get("id"), entry.id), (call.query.get("market"), entry.market))
    return all(value in {None, own} for value, own in (*wanted, (call.query.get("asset_id"), entry.token)))

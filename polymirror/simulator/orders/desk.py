"""The HTTP side of order handling: logins, orders, cancels, look-ups, balances, and whether one may trade at all.

An :class:`OrderDesk` is a :class:`~polymirror.simulator.surface.services.Service`: a call goes in, an answer comes
out, and :class:`~polymirror.simulator.orders.broker.Broker` does the rest. Paths, bodies and texts are the venue's
(protocol.md 7 and 11, its page of error codes, the models of its SDK). Amounts in answers are decimal strings in
pUSD and shares, except for balances, which are in 1/1,000,000. Its user channel is :attr:`OrderDesk.users`, a feed.

======================================  ==========================================================================
``POST /auth/api-key``                  L1 headers: create credentials, 400 if there are some; ``GET
                                        /auth/derive-api-key``: the same again, 400 if there are none;
                                        ``DELETE /auth/api-key``: forget them.
``POST /order``                         the venue's V2 body with ``orderType`` GTC, GTD, FOK or FAK. 200 ``{success,
                                        errorMsg, orderID, status, makingAmount, takingAmount, tradeIDs}``; status
                                        ``live`` rests, ``matched`` got something, ``delayed`` has empty amounts and
                                        is in flight. 400, 401, 403, 425, 429 and 503 with ``{error}``: not accepted,
                                        or killed at once.
``POST /orders``                        up to 15 of those bodies; one answer for each, refused ones with ``success``
                                        false.
``DELETE /order``, ``/orders``,         ``{orderID}``, a list of ids, nothing, ``{market, asset_id}`` in; ``{canceled,
``/cancel-all``,                        not_canceled}`` out, the latter with the reason of each.
``/cancel-market-orders``
``GET /data/order/{id}``                ``{id, status, market, asset_id, side, original_size, size_matched, price,
                                        order_type, associate_trades, ...}``; 404 when it was never accepted, or
                                        ``null`` when it is not visible yet.
``GET /data/orders``                    the open orders, as a page ``{data, next_cursor, limit, count}``; by
                                        ``id, market, asset_id``.
``GET /data/trades``                    one trade for each price level that was taken, oldest first, as a page; by
                                        ``id, market, asset_id, after, before`` (Unix seconds, inclusive). ``fee``,
                                        ``money`` and ``match_time_ms`` are the simulator's own.
``GET /balance-allowance``              ``{balance, allowances}`` by ``asset_type`` and ``token_id``; ``/update``
                                        does nothing.
``POST /v1/heartbeats``                 ``{heartbeat_id}`` in and out; 10 seconds without, and all orders are cancelled.
``GET /auth/api-keys``                  ``{apiKeys}``; ``/auth/ban-status/closed-only``: ``{closed_only}``;
                                        ``/notifications``: always empty; ``/order-scoring``, ``POST /orders-scoring``.
``GET /api/geoblock``                   ``{blocked, ip, country, region}``, without credentials.
``GET /data/positions``                 the simulator's own: ``{data: [{asset_id, market, outcome, size, resolved,
                                        winner, redeemable}]}``.
``POST /redeem``                        the simulator's own: ``{market}`` in, ``{market, payout, redeemed: [{asset_id,
                                        size, payout}]}`` out; a second time nothing is left to redeem.
``POST /merge``                         the simulator's own: ``{market, amount}`` in, shares of both tokens in
                                        1/1,000,000; ``{market, merged}`` out.
``GET /data/redemptions``               the simulator's own: what was redeemed, by ``market``.
======================================  ==========================================================================

Credentials are the venue's five L2 headers. An order's id is the EIP-712 hash of its signed fields:
:func:`order_id_of` computes it before the order leaves. Orders of wallets that logged in must be signed, which is
verified where ``eth-account`` is installed; those of made-up accounts are not. All wallets of one signer (its proxy,
its safe, its deposit wallet) share one purse, that of the signer's own address.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from polymirror.simulator.exchange.ladder import size_text
from polymirror.simulator.frames import Answer
from polymirror.simulator.orders.auth import Account, KeyRing
from polymirror.simulator.orders.faults import Fate, OrderFaults
from polymirror.simulator.orders.heartbeats import Heartbeats
from polymirror.simulator.orders.lookups import ONE_ORDER, LookUps
from polymirror.simulator.orders.rules import BAD_PAYLOAD, Refused, read_ticket
from polymirror.simulator.orders.signing import order_id_of, order_is_signed
from polymirror.simulator.orders.states import OrderEvent
from polymirror.simulator.orders.trades import USUAL, Course
from polymirror.simulator.orders.users import UserChannel
from polymirror.simulator.orders.wire import (
    Geo,
    compact,
    error_answer,
    json_answer,
    order_event,
    placed,
    refused,
    trade_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.frames import Call
    from polymirror.simulator.orders.broker import Broker
    from polymirror.simulator.orders.rules import Ticket
    from polymirror.simulator.orders.states import BookedOrder, Event
    from polymirror.simulator.orders.trades import Trade

__all__ = ["Account", "Geo", "OrderDesk", "order_id_of"]

MAX_BODY: Final = 65_536
"""Bytes of a call's body; what is larger is not read."""

MAX_BATCH: Final = 15
"""Orders in one call."""

MAX_CANCELS: Final = 1_000
"""Ids in one call that cancels."""

MAX_WALLETS: Final = 100_000

UNAUTHORIZED: Final = "Unauthorized/Invalid api key"
RESTRICTED: Final = (
    "Trading restricted in your region, please refer to available regions - "
    "https://docs.polymarket.com/developers/CLOB/geoblock"
)
OLD_VERSION: Final = "order_version_mismatch"
BAD_SIGNATURE: Final = "invalid signature"
WRONG_OWNER: Final = "the order owner has to be the owner of the API KEY"

_LOGINS: Final = {("POST", "/auth/api-key"), ("GET", "/auth/derive-api-key")}


class OrderDesk:
    """Answers the calls of some accounts. ``geo`` and ``faults`` may be replaced while it runs.

    ``keys`` decides who may log in (by default anybody, with no money); ``accounts`` are there from the start.
    ``users`` is the user channel, to be served as a feed beside it.
    """

    def __init__(
        self,
        broker: Broker,
        accounts: Iterable[Account] = (),
        *,
        faults: OrderFaults | None = None,
        geo: Geo | None = None,
        keys: KeyRing | None = None,
        users: UserChannel | None = None,
    ) -> None:
        self.broker = broker
        self.geo: Geo = geo or Geo()
        self.keys: KeyRing = KeyRing() if keys is None else keys
        for account in accounts:
            self.keys.add(account)
        self.users: UserChannel = UserChannel(self.keys) if users is None else users
        self._look_ups = LookUps(broker, faults or OrderFaults(), self._wallet_of)
        self._heartbeats = Heartbeats(broker)
        # By wallet, in lower case: whose it is; by order: the wallet that it was sent for, if that is not the signer.
        self._purses: dict[str, str] = {}
        self._wallets: dict[str, str] = {}
        # By market: when it was first asked to redeem it after its end.
        self._redeem_asked_ms: dict[str, int] = {}
        # By method and path; every one of them needs credentials.
        self._handlers: dict[tuple[str, str], Callable[[Account, Call, int], Answer]] = {
            **{("GET", path): partial(self._read, read) for path, read in self._look_ups.reads.items()},
            ("POST", "/orders-scoring"): partial(self._read, self._scoring),
            ("POST", "/order"): partial(self._change, self._place),
            ("POST", "/orders"): partial(self._change, self._place_many),
            ("POST", "/redeem"): partial(self._change, self._redeem),
            ("POST", "/merge"): partial(self._change, self._merge),
            ("POST", "/v1/heartbeats"): partial(self._change, self._beat),
            ("DELETE", "/order"): partial(self._change, self._cancel),
            ("DELETE", "/orders"): partial(self._change, self._cancel_many),
            ("DELETE", "/cancel-all"): partial(self._change, self._cancel_all),
            ("DELETE", "/cancel-market-orders"): partial(self._change, self._cancel_market),
            ("DELETE", "/auth/api-key"): self._forget,
        }
        broker.listen(self._heard)
        if broker.trades.course_of is None:
            broker.trades.course_of = self._course

    @property
    def faults(self) -> OrderFaults:
        """What goes wrong."""
        return self._look_ups.faults

    @faults.setter
    def faults(self, faults: OrderFaults) -> None:
        self._look_ups.faults = faults

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        """Answer a call; ``None``: it is none of this desk's."""
        path = call.path.rstrip("/")
        if (call.method, path) == ("GET", "/api/geoblock"):
            geo = self.geo
            return json_answer({"blocked": geo.blocked, "ip": geo.ip, "country": geo.country, "region": geo.region})
        if (call.method, path) in _LOGINS:
            found = self.keys.login(call, now_ms)
            return json_answer(found.credentials) if isinstance(found, Account) else error_answer(*found)
        handler = self._handlers.get((call.method, ONE_ORDER if path.startswith(ONE_ORDER) else path))
        if handler is None:
            return None
        account = self.keys.of_call(call, now_ms)
        if account is None and (call.method, path) == ("GET", "/auth/api-keys") and "poly_nonce" in call.headers:
            # One client asks for its keys with the headers of a login.
            found = self.keys.login(call, now_ms)
            account = found if isinstance(found, Account) else None
        return error_answer(401, UNAUTHORIZED) if account is None else handler(account, call, now_ms)

    def purse_of(self, address: str) -> str:
        """The address in the ledger that a wallet's money and shares are under: its signer's, once that is known."""
        return self._signer_of(address) or address

    def _signer_of(self, wallet: str) -> str | None:
        account = self.keys.of_address(wallet)
        return account.address if account is not None else self._purses.get(wallet.lower())

    # What changes something.

    def _change(
        self, change: Callable[[Account, Any, int], Answer], account: Account, call: Call, now_ms: int
    ) -> Answer:
        payload: Any = None
        if len(call.body) <= MAX_BODY:
            with suppress(ValueError, RecursionError):
                payload = json.loads(call.body)
        fate = self.faults.of_change()
        if fate is Fate.POST_ONLY and not _may_take(call):
            fate = Fate.NONE
        if fate is Fate.REQUEST_LOST:
            return Answer(200, "", hangs=True)
        if fate is Fate.REQUEST_LATE:
            later = partial(self._change_later, account, payload, change)
            self.broker.exchange.agenda.add(now_ms + self.faults.late_ms(), later)
            return Answer(200, "", hangs=True)
        if fate not in {Fate.NONE, Fate.ANSWER_LOST, Fate.ANSWER_LATE, Fate.TWICE}:
            return self.faults.refusal(fate)
        if fate is Fate.TWICE:
            self._attempt(account, payload, now_ms, change)
        answer = self._attempt(account, payload, now_ms, change)
        if fate is Fate.ANSWER_LATE:
            return answer._replace(delay_ms=self.faults.late_ms())
        return answer._replace(hangs=fate is Fate.ANSWER_LOST)

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
        except Refused as refusal:
            return error_answer(refusal.status, refusal.text, refusal.code)

    # Orders.

    def _place(self, account: Account, payload: Any, now_ms: int) -> Answer:
        return json_answer(self._placed(account, payload, now_ms))

    def _place_many(self, account: Account, payload: Any, now_ms: int) -> Answer:
        if not isinstance(payload, list) or not 0 < len(payload) <= MAX_BATCH:
            raise Refused(400, f"{BAD_PAYLOAD}: between 1 and {MAX_BATCH} orders are wanted")
        answers = []
        for each in payload:
            try:
                answers.append(self._placed(account, each, now_ms))
            except Refused as refusal:
                answers.append(refused(refusal.text))
        return json_answer(answers)

    def _placed(self, account: Account, payload: Any, now_ms: int) -> dict[str, Any]:
        if self.geo.blocked:
            raise Refused(403, RESTRICTED)
        ticket = self._ticket(account, payload)
        answer = placed(self.broker.place(ticket, now_ms, doomed=self.faults.dooms()))
        return {**answer, "status": self.faults.word(answer["status"])}

    def _ticket(self, account: Account, payload: Any) -> Ticket:
        """Read an order, find out whose wallet it is for, and verify its signature. Raises Refused."""
        order = payload.get("order") if isinstance(payload, dict) else None
        if not isinstance(order, dict):
            raise Refused(400, BAD_PAYLOAD)
        if "nonce" in order or "feeRateBps" in order:
            raise Refused(400, OLD_VERSION)
        wallet, signer = str(order.get("maker")), str(order.get("signer"))
        own, kind = account.address.lower(), order.get("signatureType")
        kind = kind if isinstance(kind, int) else None
        # 0: the signer's own address; 1 and 2: a proxy or a safe of his; 3: a wallet that is said to sign itself.
        stated = {1: signer.lower() == own, 2: signer.lower() == own, 3: signer.lower() == wallet.lower()}
        right = stated.get(kind, False) if account.signs and kind in {1, 2, 3} else wallet.lower() == own
        if not right or self._signer_of(wallet) not in {None, account.address}:
            raise Refused(400, WRONG_OWNER)
        ticket = read_ticket(payload, address=wallet, api_key=account.api_key)
        if account.signs and not order_is_signed(account.address, order):
            raise Refused(400, BAD_SIGNATURE)
        if wallet.lower() != own:
            self._note_wallet(account, wallet, ticket.id)
        return evolve(ticket, maker=account.address)

    def _note_wallet(self, account: Account, wallet: str, order_id: str) -> None:
        if len(self._wallets) >= MAX_WALLETS:
            del self._wallets[next(iter(self._wallets))]
        self._wallets[order_id] = wallet
        if len(self._purses) < MAX_WALLETS:
            self._purses[wallet.lower()] = account.address

    def _wallet_of(self, order: BookedOrder) -> str:
        return self._wallets.get(order.id, order.address)

    # Cancels.

    def _cancel(self, account: Account, payload: Any, now_ms: int) -> Answer:
        order_id = payload.get("orderID") if isinstance(payload, dict) else None
        if not isinstance(order_id, str):
            raise Refused(400, "Invalid orderID")
        return self._cancel_many(account, [order_id], now_ms)

    def _cancel_many(self, account: Account, payload: Any, now_ms: int) -> Answer:
        ids: list[Any] = payload if isinstance(payload, list) and len(payload) <= MAX_CANCELS else [None]
        if not all(isinstance(each, str) for each in ids):
            raise Refused(400, BAD_PAYLOAD)
        return _cancelled(*self.broker.cancel_orders(account.address, ids, now_ms))

    def _cancel_all(self, account: Account, payload: Any, now_ms: int) -> Answer:
        del payload
        return _cancelled(*self.broker.cancel_all(account.address, now_ms))

    def _cancel_market(self, account: Account, payload: Any, now_ms: int) -> Answer:
        given = payload if isinstance(payload, dict) else {}
        market, token = given.get("market") or None, given.get("asset_id") or None
        if (market, token) == (None, None) or not all(isinstance(each, str | None) for each in (market, token)):
            raise Refused(400, "Invalid payload")
        return _cancelled(*self.broker.cancel_market(account.address, market, token, now_ms))

    def _beat(self, account: Account, payload: Any, now_ms: int) -> Answer:
        given = payload.get("heartbeat_id") if isinstance(payload, dict) else None
        right, expected = self._heartbeats.beat(account.address, str(given or ""), now_ms)
        if right:
            return json_answer({"heartbeat_id": expected})
        return Answer(400, compact({"error_msg": "Invalid Heartbeat ID", "heartbeat_id": expected}))

    # Settlement.

    def _redeem(self, account: Account, payload: Any, now_ms: int) -> Answer:
        market = payload.get("market") if isinstance(payload, dict) else None
        if not isinstance(market, str):
            raise Refused(400, "Invalid payload")
        if (
            self.faults.active
            and self.faults.rates.redeem_after_ms
            and self.broker.exchange.payouts(market) is not None
        ):
            asked_ms = self._redeem_asked_ms.setdefault(market, now_ms)
            if now_ms < asked_ms + self.faults.rates.redeem_after_ms:
                self.faults.struck["redeem_after_ms"] += 1
                raise Refused(400, "market is not resolved")
        done = self.broker.redeem(account.address, market, now_ms)
        redeemed = [
            {"asset_id": each.token, "size": size_text(each.shares), "payout": size_text(each.payout)} for each in done
        ]
        payout = size_text(sum(each.payout for each in done))
        return json_answer({"market": market, "payout": payout, "redeemed": redeemed})

    def _merge(self, account: Account, payload: Any, now_ms: int) -> Answer:
        market, amount = (payload.get("market"), payload.get("amount")) if isinstance(payload, dict) else (None, None)
        if not (isinstance(market, str) and isinstance(amount, str) and amount.isascii() and amount.isdigit()):
            raise Refused(400, "Invalid payload")
        done = self.broker.merge(account.address, market, int(amount), now_ms)
        return json_answer({"market": market, "merged": size_text(-done.sets)})

    def _course(self, trade: Trade) -> Course:
        del trade
        if not self.faults.strikes("failed_trades"):
            return USUAL
        return Course(fails=True, mine_ms=self.faults.rates.fail_ms)

    # What is told and looked up.

    def _heard(self, event: Event) -> None:
        """Tell the account's connections, and keep it for look-ups that lag."""
        account = self.keys.of_address(event.address)
        if account is None:
            return
        self._look_ups.heard(account, event)
        if not self.users.hears(account.address):
            return
        if isinstance(event, OrderEvent):
            market, wallet = event.order.market, self._wallet_of(event.order)
            told = order_event(account, event.order, wallet, event.kind, event.at_ms)
        else:
            market = event.trade.market
            told = trade_event(account, event.trade, self._look_ups.trade(account, event.trade), event.at_ms)
        self.users.tell(account.address, market, compact(told), event.at_ms)

    def _read(self, read: Callable[[Account, Call, int], Answer], account: Account, call: Call, now_ms: int) -> Answer:
        fate = self.faults.of_read()
        if fate not in {Fate.NONE, Fate.ANSWER_LOST}:
            return self.faults.refusal(fate)
        return read(account, call, now_ms)._replace(hangs=fate is Fate.ANSWER_LOST)

    def _scoring(self, account: Account, call: Call, now_ms: int) -> Answer:
        del now_ms
        ids: Any = None
        with suppress(ValueError, RecursionError):
            ids = json.loads(call.body) if len(call.body) <= MAX_BODY else None
        if not isinstance(ids, list):
            return error_answer(400, "Invalid payload")
        return json_answer({str(each): self._look_ups.scores(account, str(each)) for each in ids})

    def _forget(self, account: Account, call: Call, now_ms: int) -> Answer:
        del call, now_ms
        self.keys.delete(account)
        return Answer(200, '"OK"')


def _may_take(call: Call) -> bool:
    return call.method == "POST" and call.path.rstrip("/") in {"/order", "/orders"}


def _cancelled(done: list[str], kept: dict[str, str]) -> Answer:
    return json_answer({"canceled": done, "not_canceled": kept})

"""Orders for real, through a :class:`~bots.common.execution.base.TradingClient`: sent once, then followed.

The rules, each for a way to lose money. The lease is checked in the same step in which the bytes leave, and the kill
switch with it: an order waits for its signature and for its turn after it was allowed. An order that the venue holds
back ("delayed") is in flight, not failed. An order without an answer is unknown until there is evidence of what it
did, and no order is ever sent a second time. "Nothing to match" is an answer; that nothing is found is none, however
often and however late. What counts as evidence is :mod:`bots.common.execution.fates`.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from bots.common.errors import BadCredentials, NoMatch, NotSent, TradingError, VenueRefused
from bots.common.execution.fates import MATCHED, UNSEEN, account, could_be, is_dead, told_shares
from bots.common.execution.lane import MAX_PAUSE, Lane
from bots.common.execution.userchannel import Gap, OrderTold
from bots.common.money.amounts import EXACT
from bots.common.orders.order import Outcome, Result
from bots.common.ranges import decimal_range, whole
from polymirror.errors import ConfigError, NotLive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from attrs import Attribute

    from bots.common.execution.base import Ack, Holdings, OrderState, Trade, TradingClient
    from bots.common.execution.node import Node
    from bots.common.execution.userchannel import UserEvent
    from bots.common.orders.order import Order
    from polymirror.core.view import BookView
    from polymirror.gate import Lease
    from polymirror.venue.network import Network

SEARCH_BACK_MS: Final = 86_400_000
"""Fills of an order are looked for from so long before our clock had it made: clocks step, and a market is short."""

FORBIDDEN: Final = 403
REGION_WORD: Final = "region"
"""In the venue's words for a place that it does not serve. That is obeyed: no further order is sent."""

MAX_REMEMBERED: Final = 4_096
"""Names of orders that are remembered, the newest."""

MAX_POLL: Final = 5.0
"""Seconds between two look-ups at most; the time between them doubles up to that."""


def _seconds(low: float, high: float) -> Callable[[Any, Attribute[float], float], None]:
    def check(_: Any, attribute: Attribute[float], value: float) -> None:
        if not low <= value <= high:
            raise ConfigError(attribute.name, value, f"from {low:g} to {high:g} seconds")

    return check


@frozen(kw_only=True)
class LiveConfig:
    """How orders are paced and followed. All times in seconds. Raises ConfigError, which names the field."""

    per_second: int = field(default=20, validator=whole(1, 1_000, "orders"))
    """Orders of the wallet that may leave within a second, at once or spread; the venue allows 40 (protocol.md 3)."""
    max_wait: float = field(default=1.0, validator=_seconds(0.01, 60))
    """The longest an order waits for its turn; then it is not sent."""
    poll: float = field(default=0.2, validator=_seconds(0.01, 10))
    """The time between two look-ups of an order in flight; of one that is unknown it is the first."""
    decide_within: float = field(default=10.0, validator=_seconds(0.1, 120))
    """How long :meth:`LiveExecutor.submit` follows an order in flight before it reports it unknown."""
    fills_within: float = field(default=2.0, validator=_seconds(0, 60))
    """How long one look waits for the list of fills of an order that the venue says has matched."""
    resolve_within: float = field(default=20.0, validator=_seconds(0.1, 600))
    """How long one :meth:`LiveExecutor.resolve` keeps looking."""
    max_gas: Decimal = field(default=Decimal("0.5"), validator=decimal_range("0.001", "100", "POL"))
    """The most that a transaction of a plain key's own wallet may cost, whatever price of gas a node names."""


class LiveExecutor:
    """Sends through ``client``, for one wallet. Make one per wallet, or their rate is not kept.

    ``departing`` is told each order and the book it rests on, in the step in which the order leaves: for evidence.
    ``node`` says what the wallet has besides the venue, and is closed by whoever made it.
    """

    def __init__(
        self,
        client: TradingClient,
        network: Network,
        config: LiveConfig | None = None,
        departing: Callable[[Order, BookView], None] = lambda _order, _view: None,
        node: Node | None = None,
    ) -> None:
        self._client = client
        self._network = network
        self._config = config or LiveConfig()
        self._departing = departing
        self._node = node
        self._lane = Lane(network.monotonic, per_second=self._config.per_second, max_wait=self._config.max_wait)
        # Ids of orders whose fills are accounted for, oldest first: a search without an id leaves them out.
        self._attributed: dict[str, str] = {}
        # The venue's names of our orders by our own, oldest first, for look-ups by somebody who has only ours.
        self._names: dict[str, str] = {}
        # Names of orders that the venue has said to have matched, oldest first: no other word ends them.
        self._matched: dict[str, str] = {}
        # What the venue said when it refused this region, until the end of the process; "" while it has not.
        self._shut_out = ""
        # Wakes whoever waits for the next look-up of an order, by the venue's name for it.
        self._waiting: dict[str, asyncio.Event] = {}

    async def submit(self, order: Order, lease: Lease, stopped: Callable[[], str | None] = lambda: None) -> Result:
        """Send the order once and follow it. See :class:`~bots.common.execution.base.Executor`."""
        if lease.token != order.token:
            return Result(outcome=Outcome.REFUSED, detail=f"the lease is for another token, {lease.token[:12]}")
        if self._shut_out:
            return Result(outcome=Outcome.REJECTED, detail=f"not sent, because the venue said: {self._shut_out}")
        order_id: str | None = None

        def check() -> None:
            if (why := stopped()) is not None:
                raise NotSent("order", why)
            self._departing(order, lease.check())

        try:
            prepared = await self._client.prepare(order)
            order_id = self._name(order, prepared.order_id)
            await self._lane.turn()
            ack = await self._client.send(prepared, check)
        except NotLive as lost:
            return Result(outcome=Outcome.REFUSED, detail=str(lost))
        except TradingError as error:
            return self._failed(error, order_id)
        self._name(order, ack.order_id)
        return await self._follow(order, ack)

    def know(self, order_ids: Iterable[str]) -> None:
        """Tell which orders are accounted for already, as found in the ledger at the start.

        A look-up of an order without a name will not take their fills for its own.
        """
        for order_id in order_ids:
            self._remember(order_id)

    def hear(self, event: UserEvent) -> None:
        """Take what the user channel tells as a reason to look at once; what is looked up decides."""
        if isinstance(event, OrderTold):
            names: Iterable[str] = (event.order_id,)
        else:
            names = tuple(self._waiting) if isinstance(event, Gap) else (fill.order_id for fill in event.fills)
        for name in names:
            if name in self._waiting:
                self._waiting[name].set()

    async def resolve(self, order: Order, order_id: str | None) -> Result:
        """Look the order up until there is evidence of what it did. Never sends anything.

        ``UNKNOWN`` after ``resolve_within``, and for ever if the venue never shows it: whoever asked must not trade
        its market before settlement tells.
        """
        ends, pause = self._network.monotonic() + self._config.resolve_within, self._config.poll
        while True:
            order_id = order_id or self._names.get(order.client_id) or self._client.order_id(order)
            try:
                result = await self._look(order, order_id)
            except TradingError as error:
                result = Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=str(error))
            if result.decided or self._network.monotonic() >= ends:
                return result
            order_id = self._name(order, result.order_id)
            await self._rest(order_id, pause)
            pause = min(2 * pause, MAX_POLL)

    async def redeem(self, market: str, token: str) -> Result:
        """Redeem the shares. See :class:`~bots.common.execution.base.Executor`."""
        try:
            done = await self._client.redeem(market, token)
        except (NotSent, VenueRefused) as error:
            return Result(outcome=Outcome.REJECTED, detail=str(error))
        except TradingError as error:
            return Result(outcome=Outcome.UNKNOWN, detail=str(error))
        if not done.shares:
            return Result(outcome=Outcome.NO_MATCH, detail="there is nothing to redeem")
        if done.money is None:
            return Result(outcome=Outcome.FILLED, shares=done.shares, money=done.shares, detail="redeemed", exact=False)
        return Result(outcome=Outcome.FILLED, shares=done.shares, money=done.money, detail="redeemed")

    async def merge(self, market: str, token: str, other: str, shares: Decimal) -> Result:  # noqa: ARG002 - the protocol's
        """Merge the shares. See :class:`~bots.common.execution.base.Executor`."""
        try:
            await self._client.merge(market, shares)
        except (NotSent, VenueRefused) as error:
            return Result(outcome=Outcome.REJECTED, detail=str(error))
        except TradingError as error:
            return Result(outcome=Outcome.UNKNOWN, detail=str(error))
        return Result(outcome=Outcome.FILLED, shares=shares, money=shares, detail="merged")

    async def holdings(self) -> Holdings:
        """Return what the wallet owns: of its pUSD what both the venue and the node say. Raises TradingError."""
        if self._node is None:
            return await self._client.holdings()
        held, cash = await asyncio.gather(self._client.holdings(), self._node.cash())
        return evolve(held, cash=min(held.cash, cash), apart=EXACT.subtract(held.cash, cash))

    async def trades(self, since_ms: int) -> Sequence[Trade]:
        """Return the wallet's taker fills since then, the oldest first. Raises TradingError."""
        return await self._client.trades(since_ms)

    # Following one order.

    def _failed(self, error: TradingError, order_id: str | None) -> Result:
        """Say what a failed sending means for the order. What is not known to be harmless is unknown."""
        outcome, detail = Outcome.UNKNOWN, str(error)
        if isinstance(error, NoMatch):
            outcome, detail = Outcome.NO_MATCH, error.detail
        elif isinstance(error, NotSent):
            outcome = Outcome.REJECTED
        elif isinstance(error, VenueRefused):
            self._lane.pause(MAX_PAUSE if isinstance(error, BadCredentials) else error.retry_after or 0.0)
            if error.status == FORBIDDEN and REGION_WORD in error.detail.lower():
                self._shut_out = error.detail
            outcome = Outcome.UNKNOWN if error.exists else Outcome.REJECTED
        return Result(outcome=outcome, order_id=order_id, detail=detail)

    async def _follow(self, order: Order, ack: Ack) -> Result:
        """Wait until an accepted order is decided, within the bound."""
        status = ack.status.upper()
        if status == MATCHED:
            return await self._traded(order, ack.order_id, ack.shares)
        if status == "UNMATCHED":
            return Result(outcome=Outcome.NO_MATCH, order_id=ack.order_id, detail=ack.status)
        ends = self._network.monotonic() + self._config.decide_within
        result = Result(outcome=Outcome.UNKNOWN, order_id=ack.order_id, detail=f"in flight ({ack.status})")
        while not result.decided and self._network.monotonic() < ends:
            await self._rest(ack.order_id, self._config.poll)
            try:
                state = await self._client.look_up(ack.order_id)
                if state is not None:
                    result = await self._by_state(order, ack.order_id, state)
            except TradingError as error:
                result = Result(outcome=Outcome.UNKNOWN, order_id=ack.order_id, detail=str(error))
        return result

    async def _look(self, order: Order, order_id: str | None) -> Result:
        """Look once. Raises TradingError when it cannot be told."""
        why = UNSEEN
        if order_id is not None:
            try:
                state = await self._client.look_up(order_id)
            except TradingError as error:
                state, why = None, str(error)
            if state is not None:
                return await self._by_state(order, order_id, state)
        # Its fills prove a trade also when the order itself is not told.
        fills = await self._fills(order, order_id)
        names = sorted({fill.order_id for fill in fills})
        if len(names) > 1:
            # Two orders of ours on this token and no name to tell them apart: a person must look.
            return Result(outcome=Outcome.UNKNOWN, detail=f"could be any of the orders {', '.join(names)[:120]}")
        if not names:
            return Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=why)
        return self._account(order, names[0], fills)

    async def _by_state(self, order: Order, order_id: str, state: OrderState) -> Result:
        """Return what the venue's word for the order means."""
        dead = is_dead(state.status, int(self._network.wall() * 1000) - order.created_ms)
        if state.status == MATCHED or (dead and state.shares > 0):
            return await self._traded(order, order_id, told_shares(order, state.shares))
        if dead and (order_id in self._matched or await self._fills(order, order_id)):
            # The venue has told of a match, or lists one: that it now says something else takes no share back.
            return await self._traded(order, order_id, state.shares)
        if dead:
            return Result(outcome=Outcome.NO_MATCH, order_id=order_id, detail=state.status.lower())
        return Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=f"in flight ({state.status})")

    async def _traded(self, order: Order, order_id: str, told: Decimal) -> Result:
        """Account for an order that the venue says has traded, if its fills are listed in time."""
        ends = self._network.monotonic() + self._config.fills_within
        _keep(self._matched, order_id, "")
        while True:
            try:
                result = self._account(order, order_id, await self._fills(order, order_id), told)
            except TradingError as error:
                detail = f"matched, and its fills are not listed yet ({error})"
                result = Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=detail)
            if result.decided or self._network.monotonic() >= ends:
                return result
            await self._rest(order_id, self._config.poll)

    async def _rest(self, order_id: str | None, seconds: float) -> None:
        """Wait until it is time for the next look-up of the order, or something is told of it."""
        woken = self._waiting.setdefault(order_id or "", asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(order_id or "", None)

    async def _fills(self, order: Order, order_id: str | None) -> list[Trade]:
        """Return the fills of the order, or, without its name, those that can be its own and no other's."""
        trades = await self._client.trades(max(0, order.created_ms - SEARCH_BACK_MS), market=order.market)
        ours = [trade for trade in trades if trade.token == order.token and trade.side is order.side]
        if order_id is not None:
            return [trade for trade in ours if trade.order_id == order_id]
        return [trade for trade in ours if trade.order_id not in self._attributed and could_be(order, trade)]

    def _account(self, order: Order, order_id: str, fills: Sequence[Trade], told: Decimal = Decimal(0)) -> Result:
        result = account(order, order_id, fills, told)
        if result.decided:
            self._remember(order_id)
        return result

    def _remember(self, order_id: str) -> None:
        _keep(self._attributed, order_id, "")

    def _name(self, order: Order, order_id: str | None) -> str | None:
        if order_id is not None:
            _keep(self._names, order.client_id, order_id)
        return order_id


def _keep(known: dict[str, str], name: str, value: str) -> None:
    """Remember something of an order, and forget the oldest beyond the bound."""
    known[name] = value
    if len(known) > MAX_REMEMBERED:
        del known[next(iter(known))]

"""Orders for real, through a :class:`~bots.common.execution.base.TradingClient`: sent once, then followed.

The rules, each for a way to lose money. The lease is checked in the same step in which the bytes leave, and the kill
switch with it: an order waits for its signature and for its turn after it was allowed. Orders of one wallet go one
after the other. An order that the venue holds back ("delayed") is in flight, not failed. An order without an answer is
unknown until a look-up says more, and no order is ever sent a second time. "Nothing to match" is an answer. That an
unknown order never arrived is only believed after a time in which it would have, and from two look-ups that agree.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import field, frozen

from bots.common.errors import BadCredentials, NoMatch, NotSent, TradingError, VenueRefused
from bots.common.execution.lane import MAX_PAUSE, Lane
from bots.common.money.amounts import DUST, EXACT
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from bots.common.ranges import whole
from polymirror.core.fees import charged_fee, highest_fee
from polymirror.errors import ConfigError, NotLive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from attrs import Attribute

    from bots.common.execution.base import Ack, Holdings, OrderState, Trade, TradingClient
    from bots.common.orders.order import Order
    from polymirror.core.view import BookView
    from polymirror.gate import Lease
    from polymirror.venue.network import Network

T = TypeVar("T")

DEAD: Final = frozenset({"UNMATCHED", "INVALID", "CANCELED", "CANCELLED", "CANCELED_MARKET_RESOLVED"})
"""The venue's words for an order that will not trade any more (protocol.md 7.3)."""

CLOCKS_APART_MS: Final = 120_000
"""How far the venue's clock and ours may differ when trades are searched by time."""

FORBIDDEN: Final = 403
REGION_WORD: Final = "region"
"""In the venue's words for a place that it does not serve. That is obeyed: no further order is sent."""

MAX_REMEMBERED: Final = 4_096
"""Names of orders that are remembered, the newest."""


def _seconds(low: float, high: float) -> Callable[[Any, Attribute[float], float], None]:
    def check(_: Any, attribute: Attribute[float], value: float) -> None:
        if not low <= value <= high:
            raise ConfigError(attribute.name, value, f"from {low:g} to {high:g} seconds")

    return check


@frozen(kw_only=True)
class LiveConfig:
    """How orders are paced and followed. All times in seconds. Raises ConfigError, which names the field."""

    min_interval: float = field(default=0.2, validator=_seconds(0, 60))
    """The least time between two orders of the wallet."""
    max_wait: float = field(default=1.0, validator=_seconds(0.01, 60))
    """The longest an order waits for its turn; then it is not sent."""
    max_waiting: int = field(default=8, validator=whole(0, 1_000, "orders"))
    """Orders that may wait at the same time."""
    poll: float = field(default=0.2, validator=_seconds(0.01, 10))
    """The time between two look-ups."""
    decide_within: float = field(default=10.0, validator=_seconds(0.1, 120))
    """How long :meth:`LiveExecutor.submit` follows an order in flight before it reports it unknown."""
    fills_within: float = field(default=2.0, validator=_seconds(0, 60))
    """How long one look waits for the list of fills of an order that the venue says has matched."""
    resolve_within: float = field(default=20.0, validator=_seconds(0.1, 600))
    """How long one :meth:`LiveExecutor.resolve` keeps looking."""
    absent_after: float = field(default=15.0, validator=_seconds(1, 600))
    """How long ago an order must have left before "the venue does not know it" means that it never arrived."""
    compute_after: float = field(default=300.0, validator=_seconds(1, 86_400))
    """How long ago a matched order must have left before money and fee that the venue does not list are computed."""


class LiveExecutor:
    """Sends through ``client``, for one wallet. Make one per wallet, or orders are not serialised.

    ``departing`` is told each order and the book it rests on, in the step in which the order leaves: for evidence.
    """

    def __init__(
        self,
        client: TradingClient,
        network: Network,
        config: LiveConfig | None = None,
        departing: Callable[[Order, BookView], None] = lambda _order, _view: None,
    ) -> None:
        self._client = client
        self._network = network
        self._config = config or LiveConfig()
        self._departing = departing
        self._lane = Lane(
            network.monotonic,
            min_interval=self._config.min_interval,
            max_wait=self._config.max_wait,
            max_waiting=self._config.max_waiting,
        )
        # Ids of orders whose fills are accounted for, oldest first: a search without an id leaves them out.
        self._attributed: dict[str, None] = {}
        # The venue's names of our orders by our own, oldest first, for look-ups by somebody who has only ours.
        self._names: dict[str, str] = {}
        # What the venue said when it refused this region, until the end of the process; "" while it has not.
        self._shut_out = ""
        # When each of them left, in unix seconds.
        self._left: dict[str, float] = {}

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
            _keep(self._left, order.client_id, self._network.wall())

        try:
            prepared = await self._client.prepare(order)
            order_id = self._name(order, prepared.order_id)
            async with self._lane.turn():
                ack = await self._client.send(prepared, check)
        except NotLive as lost:
            return Result(outcome=Outcome.REFUSED, detail=str(lost))
        except TradingError as error:
            return self._failed(error, order_id)
        self._name(order, ack.order_id)
        return await self._follow(order, ack)

    def know(self, order_ids: Iterable[str]) -> None:
        """Tell which orders are accounted for already, as found in the intent log at the start.

        A look-up of an order without a name will not take their fills for its own.
        """
        for order_id in order_ids:
            self._remember(order_id)

    async def resolve(self, order: Order, order_id: str | None) -> Result:
        """Look the order up until it is clear what became of it. Never sends anything."""
        order_id = order_id or self._names.get(order.client_id) or self._client.order_id(order)
        ends = self._network.monotonic() + self._config.resolve_within
        absences = 0
        while True:
            try:
                result = await self._look(order, order_id)
            except TradingError as error:
                result, absences = Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=str(error)), 0
            if result is None:
                absences += 1
                if absences > 1 and self._age(order) >= self._config.absent_after:
                    why = "the venue knows neither such an order nor a trade of it"
                    return Result(outcome=Outcome.NO_MATCH, order_id=order_id, detail=why)
                result = Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail="not found yet")
            if result.decided or self._network.monotonic() >= ends:
                return result
            await asyncio.sleep(self._config.poll)

    async def redeem(self, market: str, token: str) -> Result:
        """Redeem the winning shares. See :class:`~bots.common.execution.base.Executor`."""
        try:
            shares = await self._client.redeem(market, token)
        except (NotSent, VenueRefused) as error:
            return Result(outcome=Outcome.REJECTED, detail=str(error))
        except TradingError as error:
            return Result(outcome=Outcome.UNKNOWN, detail=str(error))
        if not shares:
            return Result(outcome=Outcome.NO_MATCH, detail="there is nothing to redeem")
        return Result(outcome=Outcome.FILLED, shares=shares, money=shares, detail="redeemed")

    async def holdings(self) -> Holdings:
        """Return what the wallet owns. Raises TradingError."""
        return await self._client.holdings()

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
        if ack.status == "unmatched":
            return Result(outcome=Outcome.NO_MATCH, order_id=ack.order_id, detail="unmatched")
        if ack.status == "matched":
            return await self._traded(order, ack.order_id, ack.shares, ack.money)
        ends = self._network.monotonic() + self._config.decide_within
        detail = f"in flight ({ack.status})"
        while self._network.monotonic() < ends:
            await asyncio.sleep(self._config.poll)
            try:
                state = await self._client.look_up(ack.order_id)
            except TradingError as error:
                detail = str(error)
                continue
            if state is not None:
                detail = f"in flight ({state.status})"
                result = await self._by_state(order, ack.order_id, state)
                if result is not None:
                    return result
        return Result(outcome=Outcome.UNKNOWN, order_id=ack.order_id, detail=f"{detail} after all the time allowed")

    async def _by_state(self, order: Order, order_id: str, state: OrderState) -> Result | None:
        """Return the outcome if the venue's word for the order is a final one."""
        if state.status == "MATCHED" or (state.status in DEAD and state.shares > 0):
            return await self._traded(order, order_id, _told_shares(order, state.shares), Decimal(0))
        if state.status in DEAD:
            return Result(outcome=Outcome.NO_MATCH, order_id=order_id, detail=state.status.lower())
        return None

    async def _look(self, order: Order, order_id: str | None) -> Result | None:
        """Look once. ``None``: the venue knows nothing of the order. Raises TradingError when it cannot be told."""
        state: OrderState | None = None
        failure: TradingError | None = None
        if order_id is not None:
            try:
                state = await self._client.look_up(order_id)
            except TradingError as error:
                failure = error
        if state is not None and order_id is not None:
            result = await self._by_state(order, order_id, state)
            waiting = f"in flight ({state.status})"
            return result or Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=waiting)
        # Its fills prove a trade also when the order itself is not told; that there are none proves nothing then.
        fills = await self._fills(order, order_id)
        if failure is not None and not fills:
            raise failure
        names = sorted({fill.order_id for fill in fills})
        if len(names) > 1:
            # Two orders of ours on this token and no name to tell them apart: a person must look.
            return Result(outcome=Outcome.UNKNOWN, detail=f"could be any of the orders {', '.join(names)[:120]}")
        if names:
            listed = sum((fill.shares for fill in fills), Decimal(0))
            if listed < order.shares - DUST and self._age(order) < self._config.absent_after:
                # A match with several makers may be listed one by one.
                detail = f"{listed} of {order.shares} shares are listed so far"
                return Result(outcome=Outcome.UNKNOWN, order_id=names[0], detail=detail)
            return self._sum(order, names[0], fills)
        if order_id is None and await self._client.in_flight(order):
            return Result(outcome=Outcome.UNKNOWN, detail="an order on this token is in flight")
        return None

    async def _fills(self, order: Order, order_id: str | None) -> list[Trade]:
        """Return the fills of the order, or, without its name, those that can be its own and no other's."""
        since = max(0, order.created_ms - CLOCKS_APART_MS)
        trades = await self._client.trades(since, market=order.market)
        live = (trade for trade in trades if not trade.failed)
        ours = [trade for trade in live if trade.token == order.token and trade.side is order.side]
        if order_id is not None:
            return [trade for trade in ours if trade.order_id == order_id]
        return [trade for trade in ours if trade.order_id not in self._attributed and _within(order, trade)]

    async def _traded(self, order: Order, order_id: str, shares: Decimal, money: Decimal) -> Result:
        """Account for an order that the venue says has traded, from its list of fills if that comes in time."""
        ends = self._network.monotonic() + self._config.fills_within
        while True:
            try:
                fills = await self._fills(order, order_id)
            except TradingError:
                fills = []
            listed = sum((fill.shares for fill in fills), Decimal(0))
            if listed and listed >= shares:
                return self._sum(order, order_id, fills)
            if self._network.monotonic() >= ends:
                break
            await asyncio.sleep(self._config.poll)
        if not shares or self._age(order) < self._config.compute_after:
            detail = "matched, and its fills are not listed yet"
            return Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=detail)
        self._remember(order_id)
        money = money or EXACT.multiply(shares, order.price)
        average = min(max(EXACT.divide(money, shares), order.tick), 1 - order.tick)
        return Result(
            outcome=self._how_much(order, shares),
            shares=shares,
            money=money,
            fee=highest_fee(order.fee, average, shares),
            order_id=order_id,
            detail="matched; its fills are not listed, so what is not told is computed",
            exact=False,
        )

    def _sum(self, order: Order, order_id: str, fills: Sequence[Trade]) -> Result:
        self._remember(order_id)
        shares = money = fee = Decimal(0)
        for fill in fills:
            shares = EXACT.add(shares, fill.shares)
            money = EXACT.add(money, fill.money)
            told = fill.fee if fill.fee is not None else charged_fee(order.fee, fill.price, fill.shares)
            fee = EXACT.add(fee, told)
        return Result(
            outcome=self._how_much(order, shares),
            shares=shares,
            money=money,
            fee=fee,
            order_id=order_id,
            detail=f"matched in {len(fills)} fill{'s' if len(fills) > 1 else ''}",
            exact=all(fill.fee is not None for fill in fills),
        )

    @staticmethod
    def _how_much(order: Order, shares: Decimal) -> Outcome:
        enough = order.tif is TimeInForce.FOK or shares >= order.shares - DUST
        return Outcome.FILLED if enough else Outcome.PARTIAL

    def _age(self, order: Order) -> float:
        """Return the seconds since the order left, or since it was decided on if that was another process."""
        return self._network.wall() - self._left.get(order.client_id, order.created_ms / 1000)

    def _remember(self, order_id: str) -> None:
        _keep(self._attributed, order_id, None)

    def _name(self, order: Order, order_id: str | None) -> str | None:
        if order_id is not None:
            _keep(self._names, order.client_id, order_id)
        return order_id


def _keep(known: dict[str, T], name: str, value: T) -> None:
    """Remember something of an order, and forget the oldest beyond the bound."""
    known[name] = value
    if len(known) > MAX_REMEMBERED:
        del known[next(iter(known))]


def _within(order: Order, trade: Trade) -> bool:
    """Whether the order could have traded so.

    What bounds a purchase is its money: a better price may bring more shares.
    """
    if order.side is Side.BUY:
        return trade.price <= order.price and trade.money <= order.money
    return trade.price >= order.price and trade.shares <= order.shares


def _told_shares(order: Order, told: Decimal) -> Decimal:
    """Take what a look-up says was matched in shares, or in millionths of a share: the venue's sources differ.

    No order buys more than all its money does at the lowest price there is, so the two cannot be mixed up.
    """
    most = EXACT.divide(order.money, order.tick) if order.side is Side.BUY else order.shares
    return told if told <= most else told.scaleb(-6, EXACT)

"""Orders on paper: filled against the real books, as those are when a real order would match.

A paper order waits the venue's taker delay like a real one and then takes what is there: from a book that is LIVE
and settled at that moment, at the limit or better, level by level, with the fee of each. A book that is not LIVE
then decides the order the safe way: no fill, and the result says why. The account is exact.
What it cannot know is told in docs/bots.md: other takers who come first, and makers who see an order coming.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from bots.common.errors import NotSent
from bots.common.execution.base import Holdings, Trade
from bots.common.money.amounts import EXACT, MONEY_UNIT
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from bots.common.ranges import decimal_range, whole
from polymirror.core.fees import charged_fee
from polymirror.errors import NotLive, UnknownToken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.common.orders.order import Order
    from polymirror.core.view import BookView
    from polymirror.gate import Books, Lease
    from polymirror.venue.network import Network

MAX_ORDERS: Final = 4_096
"""Results of paper orders that are remembered for look-ups, the newest."""

MAX_TRADES: Final = 16_384
"""Fills that are remembered, the newest."""


@frozen(kw_only=True)
class PaperConfig:
    """How the venue is imitated. Raises ConfigError, which names the field."""

    cash: Decimal = field(default=Decimal(1_000), validator=decimal_range("0", "1000000", "pUSD"))
    """What the account begins with."""
    taker_delay_ms: int = field(default=250, validator=whole(0, 60_000, "ms"))
    """How long the venue holds taker orders back where the market says so (protocol.md 7.3)."""
    latency_ms: int = field(default=50, validator=whole(0, 60_000, "ms"))
    """The way to the venue."""
    settle_ms: int = field(default=50, validator=whole(0, 10_000, "ms"))
    """How long to wait for the book's newest change to be proven, once the order matches."""


class PaperExecutor:
    """An account that is nowhere but here. ``books`` is the mirror.

    ``holdings`` is what the account owns at the start, as the bot's own books have it; left out, it is
    ``config.cash`` and nothing else. An order that the bot's books do not know as filled never traded.
    ``winner`` gives the winning token of a settled market's condition id, or ``None`` while it is not known.
    """

    def __init__(
        self,
        books: Books,
        network: Network,
        config: PaperConfig | None = None,
        winner: Callable[[str], str | None] = lambda _: None,
        holdings: Holdings | None = None,
    ) -> None:
        self._books = books
        self._network = network
        self._config = config or PaperConfig()
        self._winner = winner
        self._cash = self._config.cash if holdings is None else holdings.cash
        # Shares by token; none of them 0.
        self._positions: dict[str, Decimal] = {} if holdings is None else dict(holdings.positions)
        # Results by client id, the oldest first.
        self._results: OrderedDict[str, Result] = OrderedDict()
        # All fills, the oldest first.
        self._trades: list[Trade] = []
        # Orders made so far: the number is part of an order's id.
        self._count = 0

    async def submit(self, order: Order, lease: Lease, stopped: Callable[[], str | None] = lambda: None) -> Result:
        """Trade on paper. See :class:`~bots.common.execution.base.Executor`."""
        refused = self._refuse(order, lease, stopped)
        if refused is not None:
            return refused
        self._count += 1
        order_id = f"paper-{self._count}"
        # Until it is decided a look-up must find it; a second submit of it must not trade.
        self._keep(order, Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail="in flight"))
        delay = self._config.latency_ms + (self._config.taker_delay_ms if order.taker_delay else 0)
        await asyncio.sleep(delay / 1000)
        try:
            view = await self._books.wait_settled(order.token, None, self._config.settle_ms / 1000)
        except (NotLive, UnknownToken) as error:
            why = f"no fill is assumed, because the book was not LIVE when the order matched: {error}"
            return self._keep(order, Result(outcome=Outcome.NO_MATCH, order_id=order_id, detail=why))
        decided = self._results.get(order.client_id)
        if decided is not None and decided.decided:
            return decided  # somebody looked it up meanwhile and was told that it never traded
        return self._keep(order, self._match(order, order_id, view))

    async def resolve(self, order: Order, order_id: str | None) -> Result:  # noqa: ARG002 - part of the protocol
        """Return what became of a paper order; one that is not remembered never traded."""
        result = self._results.get(order.client_id)
        if result is None or not result.decided:
            # Undecided and yet asked for: the task that followed it is gone, and with it the order.
            result = Result(outcome=Outcome.NO_MATCH, detail="the paper account knows no fill of it")
            self._keep(order, result)
        return result

    async def redeem(self, market: str, token: str) -> Result:
        """Pay 1 pUSD for each share of a winning token, and nothing for a losing one."""
        winner = self._winner(market)
        if winner is None:
            return Result(outcome=Outcome.REJECTED, detail="the winner is not known yet")
        shares = self._positions.pop(token, Decimal(0))
        if not shares:
            return Result(outcome=Outcome.NO_MATCH, detail="there is nothing to redeem")
        payout = shares if token == winner else Decimal(0)
        self._cash = EXACT.add(self._cash, payout)
        return Result(outcome=Outcome.FILLED, shares=shares, money=payout, detail="redeemed")

    async def holdings(self) -> Holdings:
        """Return what the paper account owns."""
        return Holdings(cash=self._cash, positions=dict(self._positions))

    async def trades(self, since_ms: int) -> Sequence[Trade]:
        """Return the paper fills since then, the oldest first."""
        return [trade for trade in self._trades if trade.at_ms >= since_ms]

    def _refuse(self, order: Order, lease: Lease, stopped: Callable[[], str | None]) -> Result | None:
        """Say why the order does not leave, if so, as the live executor would."""
        if lease.token != order.token:
            return Result(outcome=Outcome.REFUSED, detail=f"the lease is for another token, {lease.token[:12]}")
        if order.client_id in self._results:
            return Result(outcome=Outcome.REJECTED, detail="an order with this client id was sent before")
        if (why := stopped()) is not None:
            return Result(outcome=Outcome.REJECTED, detail=str(NotSent("order", why)))
        try:
            lease.check()
        except NotLive as lost:
            return Result(outcome=Outcome.REFUSED, detail=str(lost))
        return None

    # Matching.

    def _match(self, order: Order, order_id: str, view: BookView) -> Result:
        """Take what is there at the limit or better."""
        taken, left = self._take(order, view)
        traded = EXACT.subtract(order.shares, left)
        if not taken or (left > 0 and order.tif is TimeInForce.FOK):
            there = f"{traded} of {order.shares} shares were there at {order.price}"
            return Result(outcome=Outcome.NO_MATCH, order_id=order_id, detail=there)
        money = fee = Decimal(0)
        for price, shares in taken:
            money = EXACT.add(money, _cut(EXACT.multiply(price, shares)))
            fee = EXACT.add(fee, charged_fee(order.fee, price, shares))
        if refused := self._cannot_pay(order, traded, EXACT.add(money, fee)):
            return Result(outcome=Outcome.REJECTED, order_id=order_id, detail=refused)
        result = Result(
            outcome=Outcome.PARTIAL if left > 0 else Outcome.FILLED,
            shares=traded,
            money=money,
            fee=fee,
            order_id=order_id,
            detail=f"matched on paper at {len(taken)} price{'s' if len(taken) > 1 else ''}",
        )
        self._book(order, result, taken)
        return result

    @staticmethod
    def _take(order: Order, view: BookView) -> tuple[list[tuple[Decimal, Decimal]], Decimal]:
        """Walk the other side of the book: prices and shares taken, and what stays unfilled."""
        buying = order.side is Side.BUY
        left, taken = order.shares, []
        for price, size in view.asks if buying else view.bids:
            if left <= 0 or (price > order.price if buying else price < order.price):
                break
            shares = min(left, size)
            taken.append((price, shares))
            left = EXACT.subtract(left, shares)
        return taken, left

    def _cannot_pay(self, order: Order, shares: Decimal, cost: Decimal) -> str:
        if order.side is Side.BUY:
            return f"{cost} pUSD are needed and {self._cash} are there" if cost > self._cash else ""
        held = self._positions.get(order.token, Decimal(0))
        return f"{shares} shares are offered and {held} are held" if shares > held else ""

    def _book(self, order: Order, result: Result, taken: list[tuple[Decimal, Decimal]]) -> None:
        """Move the money and the shares, and remember the fills."""
        self._cash = EXACT.add(self._cash, result.cash(order.side))
        change = result.shares if order.side is Side.BUY else -result.shares
        held = EXACT.add(self._positions.pop(order.token, Decimal(0)), change)
        if held:
            self._positions[order.token] = held
        now_ms = int(self._network.wall() * 1000)
        self._trades += [
            Trade(
                id=f"{result.order_id}-{number}",
                order_id=result.order_id or "",
                market=order.market,
                token=order.token,
                side=order.side,
                price=price,
                shares=shares,
                money=_cut(EXACT.multiply(price, shares)),
                fee=charged_fee(order.fee, price, shares),
                at_ms=now_ms,
            )
            for number, (price, shares) in enumerate(taken)
        ]
        del self._trades[:-MAX_TRADES]

    def _keep(self, order: Order, result: Result) -> Result:
        self._results[order.client_id] = result
        self._results.move_to_end(order.client_id)
        while len(self._results) > MAX_ORDERS:
            self._results.popitem(last=False)
        return result


def _cut(money: Decimal) -> Decimal:
    return money.quantize(MONEY_UNIT, ROUND_FLOOR, EXACT)

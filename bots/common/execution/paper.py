"""Orders on paper: filled against the real books, as those are when a real order would match, by the venue's rules.

A paper order waits the venue's taker delay like a real one and then takes what is there: from a book that is LIVE
and settled at that moment, at the limit or better, level by level, with the fee of each. A purchase spends its money,
so better prices bring more shares. A book that is not LIVE then decides the order the safe way: no fill, and the
result says why. The account is exact. Its trades go the way of the chain: MATCHED, MINED, CONFIRMED, or FAILED, and
what failed is booked back. What it cannot know is :data:`CANNOT_KNOW`, which belongs under every summary of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from bots.common.errors import NotSent
from bots.common.execution.base import ChainStatus, Holdings, Trade
from bots.common.execution.fates import account
from bots.common.money.amounts import EXACT, MONEY_UNIT
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from bots.common.ranges import decimal_range, whole
from polymirror.core.fees import charged_fee
from polymirror.errors import NotLive, UnknownToken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bots.common.orders.order import Order
    from polymirror.core.view import BookView
    from polymirror.gate import Books, Lease
    from polymirror.venue.network import Network

CANNOT_KNOW: Final = (
    "On paper only. Not known: who takes the same shares first, and which makers withdraw before an order matches;\n"
    "the venue's delay in each market (configured), and how often trades fail on the chain (configured);\n"
    "refusals, lost answers and limits of the venue, which paper never meets."
)
"""What makes results on paper better than real ones would be, for people."""

MAX_ORDERS: Final = 4_096
"""Results of paper orders that are remembered for look-ups, the newest."""

MAX_TRADES: Final = 16_384
"""Fills that are remembered, the newest."""


@frozen(kw_only=True)
class PaperConfig:
    """How the venue is imitated. Raises ConfigError, which names the field."""

    cash: Decimal = field(default=Decimal(1_000), validator=decimal_range("0", "1000000", "pUSD"))
    """What the account begins with."""
    taker_delay_ms: int = field(default=150, validator=whole(0, 60_000, "ms"))
    """How long the venue holds taker orders back where the market says so: 250 from June 2026, 50 from 17 August, 150
    from 4 September (protocol.md 11). It changes, and the venue tells only that there is one."""
    latency_ms: int = field(default=50, validator=whole(0, 60_000, "ms"))
    """The way to the venue."""
    settle_ms: int = field(default=50, validator=whole(0, 10_000, "ms"))
    """How long to wait for the book's newest change to be proven, once the order matches."""
    fail_share: Decimal = field(default=Decimal(0), validator=decimal_range("0", "1", "of the orders"))
    """The share of matched orders whose trades fail on the chain."""
    mine_ms: int = field(default=4_000, validator=whole(0, 3_600_000, "ms"))
    """From the match to the block, or to the first attempt that fails."""
    confirm_ms: int = field(default=20_000, validator=whole(0, 3_600_000, "ms"))
    """From the match to the end of a trade that does not fail."""
    fail_ms: int = field(default=120_000, validator=whole(0, 3_600_000, "ms"))
    """From the match to the end of one that does."""


class PaperExecutor:
    """An account that is nowhere but here. ``books`` is the mirror.

    ``holdings`` is what the account owns at the start, as the bot's own books have it; left out, it is
    ``config.cash`` and nothing else. An order that the bot's books do not know as filled never traded. ``past`` are
    trades of an earlier process that are in those holdings and were not final: they begin their way again.
    ``payouts`` says what a share of each token of a market pays, by its condition id; nothing while that is not known.
    """

    def __init__(
        self,
        books: Books,
        network: Network,
        config: PaperConfig | None = None,
        payouts: Callable[[str], Mapping[str, Decimal] | None] = lambda _: None,
        holdings: Holdings | None = None,
        past: Iterable[Trade] = (),
    ) -> None:
        self._books = books
        self._network = network
        self._config = config or PaperConfig()
        self._payouts = payouts
        self._cash = self._config.cash if holdings is None else holdings.cash
        # Shares by token; none of them 0.
        self._positions: dict[str, Decimal] = {} if holdings is None else dict(holdings.positions)
        # Results by client id, the oldest first.
        self._results: OrderedDict[str, Result] = OrderedDict()
        # All fills by id, the oldest first.
        self._trades: dict[str, Trade] = {trade.id: trade for trade in past}
        # When those that are not final matched, on the monotonic clock.
        self._matched_at = dict.fromkeys(self._trades, network.monotonic())

    async def submit(self, order: Order, lease: Lease, stopped: Callable[[], str | None] = lambda: None) -> Result:
        """Trade on paper. See :class:`~bots.common.execution.base.Executor`."""
        refused = self._refuse(order, lease, stopped)
        if refused is not None:
            return refused
        order_id = f"paper-{order.client_id}"
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
        """Pay for each share what the market's payouts say; a token that they do not name gets nothing."""
        payouts = self._payouts(market)
        if not payouts:
            return Result(outcome=Outcome.REJECTED, detail="what it pays is not known yet")
        self._settle()
        if any(self._trades[each].token == token for each in self._matched_at):
            return Result(outcome=Outcome.REJECTED, detail="a trade in it is not final on the chain yet")
        shares = self._positions.pop(token, Decimal(0))
        if not shares:
            return Result(outcome=Outcome.NO_MATCH, detail="there is nothing to redeem")
        payout = _cut(EXACT.multiply(shares, payouts.get(token, Decimal(0))))
        self._cash = EXACT.add(self._cash, payout)
        return Result(outcome=Outcome.FILLED, shares=shares, money=payout, detail="redeemed")

    async def merge(self, market: str, token: str, other: str, shares: Decimal) -> Result:
        """Turn shares of both tokens into pUSD, once the chain has all trades in them."""
        self._settle()
        if self._payouts(market) or any(self._trades[each].market == market for each in self._matched_at):
            return Result(outcome=Outcome.REJECTED, detail="its market is settled, or a trade in it is not final yet")
        held = {each: self._positions.get(each, Decimal(0)) for each in (token, other)}
        if min(held.values()) < shares:
            return Result(outcome=Outcome.REJECTED, detail=f"{shares} of both are to be merged and {held} are held")
        for each, had in held.items():
            if not (left := EXACT.subtract(had, shares)):
                del self._positions[each]
            else:
                self._positions[each] = left
        self._cash = EXACT.add(self._cash, shares)
        return Result(outcome=Outcome.FILLED, shares=shares, money=shares, detail="merged")

    async def holdings(self) -> Holdings:
        """Return what the paper account owns."""
        self._settle()
        return Holdings(cash=self._cash, positions=dict(self._positions))

    async def trades(self, since_ms: int) -> Sequence[Trade]:
        """Return the paper fills since then, the oldest first, each as far as the chain is with it now."""
        self._settle()
        return [trade for trade in self._trades.values() if trade.at_ms >= since_ms]

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
        self._settle()
        taken, left = _take(order, view)
        if not taken or (left > 0 and order.tif is TimeInForce.FOK):
            what = "pUSD could be spent" if order.side is Side.BUY else "shares could be sold"
            there = f"{EXACT.subtract(order.offered, left)} of {order.offered} {what} at {order.price}"
            return Result(outcome=Outcome.NO_MATCH, order_id=order_id, detail=there)
        now_ms = int(self._network.wall() * 1000)
        fills = [
            Trade(
                id=f"{order_id}-{number}",
                order_id=order_id,
                market=order.market,
                token=order.token,
                side=order.side,
                price=price,
                shares=shares,
                money=money,
                fee=charged_fee(order.fee, price, shares),
                at_ms=now_ms,
            )
            for number, (price, shares, money) in enumerate(taken)
        ]
        result = account(order, order_id, fills, sum((fill.shares for fill in fills), Decimal(0)))
        if refused := self._cannot_pay(order, result.shares, result.money + result.fee):
            return Result(outcome=Outcome.REJECTED, order_id=order_id, detail=refused)
        for fill in fills:
            self._trades[fill.id] = fill
            self._matched_at[fill.id] = self._network.monotonic()
            self._book(fill, 1)
        while len(self._trades) > MAX_TRADES:
            oldest = next(iter(self._trades))
            del self._trades[oldest]
            self._matched_at.pop(oldest, None)
        return result

    def _cannot_pay(self, order: Order, shares: Decimal, cost: Decimal) -> str:
        if order.side is Side.BUY:
            return f"{cost} pUSD are needed and {self._cash} are there" if cost > self._cash else ""
        held = self._positions.get(order.token, Decimal(0))
        return f"{shares} shares are offered and {held} are held" if shares > held else ""

    def _book(self, fill: Trade, sign: int) -> None:
        """Move the money and the shares of a fill (1), or move them back (-1)."""
        direction = sign if fill.side is Side.BUY else -sign
        spent = EXACT.add(direction * fill.money, sign * (fill.fee or Decimal(0)))
        self._cash = EXACT.subtract(self._cash, spent)
        held = EXACT.add(self._positions.pop(fill.token, Decimal(0)), direction * fill.shares)
        if held:
            self._positions[fill.token] = held

    # The chain.

    def _settle(self) -> None:
        """Bring every trade as far as the chain would be with it now, and book back what failed."""
        now = self._network.monotonic()
        for name, since in tuple(self._matched_at.items()):
            trade = self._trades[name]
            status = self._status(trade.order_id, (now - since) * 1000)
            if status in {ChainStatus.MINED, ChainStatus.CONFIRMED}:
                trade = evolve(trade, tx="0x" + hashlib.sha256(name.encode()).hexdigest())
            self._trades[name] = evolve(trade, status=status)
            if status is ChainStatus.FAILED:
                self._book(trade, -1)
            if status in {ChainStatus.FAILED, ChainStatus.CONFIRMED}:
                del self._matched_at[name]

    def _status(self, order_id: str, age_ms: float) -> ChainStatus:
        """Say how far a trade is at its age. Whether it fails follows from its order's name, in every process."""
        drawn = int.from_bytes(hashlib.sha256(order_id.encode()).digest()[:6], "big")
        fails = drawn < self._config.fail_share * 2**48
        if age_ms < self._config.mine_ms:
            return ChainStatus.MATCHED
        if age_ms < (self._config.fail_ms if fails else self._config.confirm_ms):
            return ChainStatus.RETRYING if fails else ChainStatus.MINED
        return ChainStatus.FAILED if fails else ChainStatus.CONFIRMED

    def _keep(self, order: Order, result: Result) -> Result:
        self._results[order.client_id] = result
        self._results.move_to_end(order.client_id)
        while len(self._results) > MAX_ORDERS:
            self._results.popitem(last=False)
        return result


def booked(order: Order, result: Result) -> Trade:
    """Return one trade that stands for what an earlier process booked of an order and the chain had not confirmed."""
    average = EXACT.divide(result.money, result.shares).quantize(MONEY_UNIT, context=EXACT)
    better = min if order.side is Side.BUY else max
    return Trade(
        id=f"{result.order_id}-0",
        order_id=result.order_id or "",
        market=order.market,
        token=order.token,
        side=order.side,
        price=better(average, order.price),
        shares=result.shares,
        money=result.money,
        fee=result.fee,
        at_ms=order.created_ms,
    )


def _take(order: Order, view: BookView) -> tuple[list[tuple[Decimal, Decimal, Decimal]], Decimal]:
    """Walk the other side of the book: prices, shares and money of the fills, and what stays unspent or unsold.

    A purchase spends its money to the last unit, a sale is of shares; what a whole level costs is cut to units.
    """
    buying = order.side is Side.BUY
    left, taken = order.offered, []
    for price, size in view.asks if buying else view.bids:
        if left <= 0 or (price > order.price if buying else price < order.price):
            break
        shares = min(size, _cut(EXACT.divide(left, price)) if buying else left)
        ends = buying and shares < size
        money = left if ends else _cut(EXACT.multiply(price, shares))
        taken.append((price, shares, money))
        left = EXACT.subtract(left, money if buying else shares)
    return taken, left


def _cut(amount: Decimal) -> Decimal:
    return amount.quantize(MONEY_UNIT, ROUND_FLOOR, EXACT)

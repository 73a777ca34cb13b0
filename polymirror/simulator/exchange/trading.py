"""What a batch of a simulated market is: changes, their hashes, a trade, and what is told of them.

The venue's habits of timing are here: prices and grids that enter a hash before they are announced,
hashes that are taken a moment too late, whole books with every trade. The exchange's agenda calls it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from polymirror.simulator.exchange.flow import COARSE_TICK, FINE_TICK, Change, Group, Trade
from polymirror.simulator.exchange.ladder import ONE_PRICE
from polymirror.simulator.exchange.market import Phase

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.floor import Floor, LateHash
    from polymirror.simulator.exchange.market import Market

FINE_ABOVE = 9_600
"""A market whose price passes 0.96 (or 0.04) gets the finer grid."""

SELL_FIRST_SHARE = 0.03
"""The share of price changes that list the selling entry first."""

MAX_PRINT_DELAY_MS = 30
MAX_TICK_DELAY_MS = 20


@frozen
class TakerOrder:
    """An order that takes what rests in the book and leaves nothing there itself.

    ``limit`` is the worst acceptable price of the token in 1/10,000, ``size`` in 1/1,000,000 shares;
    ``all_or_nothing`` is the venue's FOK, otherwise FAK.
    """

    buys: bool
    limit: int
    size: int
    all_or_nothing: bool


def _match(market: Market, index: int, order: TakerOrder) -> tuple[list[tuple[int, int]], Group]:
    """What a taker of this token gets, as (price, size) in the token's terms, and how the book changes."""
    side = 1 - index if order.buys else index
    ladder = market.ladders[side]
    left = order.size
    fills: list[tuple[int, int]] = []
    changes: list[Change] = []
    for price, size in ladder.bids():
        own = ONE_PRICE - price if order.buys else price
        if left <= 0 or (own > order.limit if order.buys else own < order.limit):
            break
        taken = min(left, size)
        left -= taken
        fills.append((own, taken))
        changes.append(Change(side, price, size - taken))
    if order.all_or_nothing and left > 0:
        return [], Group(())
    return fills, Group(tuple(changes))


@frozen(eq=False)
class Trading:
    """The trading of all markets on one floor."""

    _floor: Floor
    _rng: random.Random

    def next_batch(self, market: Market, at_ms: int, out: Output) -> None:
        """Let what the traders of a market do at this time happen, and put down their next time."""
        floor = self._floor
        if market.phase is not Phase.TRADING:
            return
        if at_ms < floor.paused_until_ms:
            # Everybody returns within the first second, in no particular order.
            back_ms = floor.paused_until_ms + self._rng.randint(1, 1_000)
            floor.agenda.add(back_ms, market.trade)
            return
        group = market.planned or market.flow.next_group(market.ladders, market.tick, at_ms)
        market.planned = None
        if group.trade is not None and at_ms < floor.post_only_until_ms:
            group = Group(group.changes)
        next_ms = at_ms + market.flow.next_delay_ms()
        late = self._rng.random() < floor.config.hash_one_change_late
        before = market.tops
        for change in group.changes:
            market.apply(change, at_ms)
        stated_ms = market.changed_ms = at_ms + floor.clock_offset_ms
        trade = group.trade
        if trade is not None:
            self._note_trade(market, trade, at_ms, out)
        if market.tick == COARSE_TICK:
            self._note_tick(market, at_ms, out)
        fault = self._late_fault(at_ms) if floor.late_hashes and trade is None else None
        if trade is None and (late or fault is not None):
            next_ms = at_ms + self._rng.randint(1, 2)
            hashes = self._hashes_after_next(market, stated_ms, next_ms, fault)
        else:
            hashes = (market.book_hash(0, stated_ms), market.book_hash(1, stated_ms))
        sell_first = self._rng.random() < SELL_FIRST_SHARE
        out += market.price_change_frames(group, stated_ms, hashes, sell_first=sell_first)
        if trade is not None:
            out += (market.book_frame(index, stated_ms, hashes[index]) for index in (0, 1))
        if trade is not None or market.tops != before:
            out += (market.best_frame(index, stated_ms) for index in (1, 0))
        floor.agenda.add(next_ms, market.trade)

    def take(self, market: Market, index: int, order: TakerOrder, at_ms: int, out: Output) -> list[tuple[int, int]]:
        """Let somebody take orders of makers now; return the fills as (price, size), best first.

        It is a batch as any other: the changed levels, a print for each of them, both whole books, the tops.
        """
        fills, group = _match(market, index, order)
        if not fills:
            return []
        before = market.tops
        for change in group.changes:
            market.apply(change, at_ms)
        stated_ms = market.changed_ms = at_ms + self._floor.clock_offset_ms
        side = 1 - index if order.buys else index
        prints = [
            Trade(side, ONE_PRICE - price if order.buys else price, size, order.buys, self._rng.random() < 0.5)
            for price, size in fills
        ]
        self._note_prints(market, prints, at_ms, out)
        if market.tick == COARSE_TICK:
            self._note_tick(market, at_ms, out)
        hashes = market.book_hash(0, stated_ms), market.book_hash(1, stated_ms)
        out += market.price_change_frames(group, stated_ms, hashes, sell_first=not order.buys)
        out += (market.book_frame(each, stated_ms, hashes[each]) for each in (0, 1))
        if market.tops != before:
            out += (market.best_frame(each, stated_ms) for each in (1, 0))
        return fills

    def _late_fault(self, at_ms: int) -> LateHash | None:
        return next((fault for fault in self._floor.late_hashes if fault.is_due(at_ms)), None)

    def _hashes_after_next(
        self, market: Market, stated_ms: int, next_ms: int, fault: LateHash | None
    ) -> tuple[str, str]:
        """What the venue states when it hashes a moment too late: the next change is in already."""
        plan = market.flow.next_group(market.ladders, market.tick, next_ms)
        market.planned = plan
        if plan.trade is not None:
            return market.book_hash(0, stated_ms), market.book_hash(1, stated_ms)
        if fault is not None:
            fault.strike()
        return market.hashes_after(plan.changes, stated_ms)

    def _note_trade(self, market: Market, trade: Trade, at_ms: int, out: Output) -> None:
        self._note_prints(market, [trade], at_ms, out)

    def _note_prints(self, market: Market, trades: Sequence[Trade], at_ms: int, out: Output) -> None:
        """The trades of one taker: the last one's price enters the hash, all are told in their order."""
        last = trades[-1]
        price = ONE_PRICE - last.price if last.maker_mirrored else last.price
        market.trade_price = f"{price / ONE_PRICE:.3f}"
        taken = (1 - last.side, ONE_PRICE - last.price) if last.bought else (last.side, last.price)
        market.last_trade = (*taken, last.bought)
        transaction = f"0x{self._rng.getrandbits(256):064x}"
        tell = partial(self._print, market, tuple(trades), transaction)
        if self._floor.config.late_trade_price:
            self._floor.agenda.add(at_ms + self._rng.randint(0, MAX_PRINT_DELAY_MS), tell)
        else:
            tell(at_ms, out)

    def _print(self, market: Market, trades: Iterable[Trade], transaction: str, at_ms: int, out: Output) -> None:
        stated_ms = at_ms + self._floor.clock_offset_ms
        out += [market.trade_frame(trade, stated_ms, transaction) for trade in trades]

    def _note_tick(self, market: Market, at_ms: int, out: Output) -> None:
        """The finer grid near zero and one, often told twice, often a moment after it entered the hash."""
        if max(market.tops) <= FINE_ABOVE:
            return
        market.tick = FINE_TICK
        delay_ms = self._rng.randint(1, MAX_TICK_DELAY_MS) if self._floor.config.late_tick_size else 0
        again = self._rng.random() < 0.5
        tell = partial(self._floor.announce_tick, market, COARSE_TICK, FINE_TICK)
        if delay_ms:
            self._floor.agenda.add(at_ms + delay_ms, tell)
        else:
            tell(at_ms, out)
        if again:
            self._floor.agenda.add(at_ms + delay_ms + self._rng.randint(1, 120), tell)

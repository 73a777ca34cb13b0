"""What a batch of a simulated market is: changes, their hashes, a trade, and what is told of them.

The venue's habits of timing are here: prices and grids that enter a hash before they are announced,
hashes that are taken a moment too late, whole books with every trade. The exchange's agenda calls it.

Where accounts have orders in a book (:mod:`polymirror.simulator.exchange.queue`), the flow goes by its own sizes as if
it were alone. Its takers meet whoever is first in line, and where it would place an order that crosses an account's, it
takes that one first. Books never cross. A book without such orders costs nothing more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from polymirror.simulator.exchange.flow import COARSE_TICK, FINE_TICK, Change, Group, Trade
from polymirror.simulator.exchange.ladder import ONE_PRICE
from polymirror.simulator.exchange.market import Lone, Phase
from polymirror.simulator.exchange.matching import TakerOrder, Taking, crosses, plan
from polymirror.simulator.exchange.queue import Queues, Resting
from polymirror.simulator.exchange.script import rewrite

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.floor import Floor, LateHash
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.exchange.script import Sides

FINE_ABOVE = 9_600
"""A market whose price passes 0.96 (or 0.04) gets the finer grid."""

SELL_FIRST_SHARE = 0.03
"""The share of price changes that list the selling entry first."""

LOOK_AGAIN_MS = 50
"""The flow of a market in which a token has offers of its own looks so often whether it has them still."""

MAX_PRINT_DELAY_MS = 30
MAX_TICK_DELAY_MS = 20


@frozen(eq=False)
class Trading:
    """The trading of all markets on one floor."""

    _floor: Floor
    _rng: random.Random

    def next_batch(self, market: Market, at_ms: int, out: Output) -> None:
        """Let what the traders of a market do at this time happen, and put down their next time."""
        floor, queues = self._floor, market.queues
        idle = market.scripted or market.phase is not Phase.TRADING or any(market.lone)
        if idle or at_ms < floor.paused_until_ms:
            self._stand_still(market, at_ms)
            return
        # The flow goes by its own orders, as if they were the only ones.
        flows = market.ladders if queues is None else queues.anonymous
        group = market.planned or market.flow.next_group(flows, market.tick, at_ms)
        market.planned = None
        if group.trade is not None and at_ms < floor.post_only_until_ms:
            group = Group(group.changes)
        next_ms = at_ms + market.flow.next_delay_ms()
        late = self._rng.random() < floor.config.hash_one_change_late
        if queues is not None:
            self._among_accounts(market, queues, group, at_ms, out)
            floor.agenda.add(next_ms, market.trade)
            return
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

    def _stand_still(self, market: Market, at_ms: int) -> None:
        """Nothing trades: for good, until no token has offers of its own any more, or until the engine is back."""
        if any(market.lone) and market.phase is Phase.TRADING:
            self._floor.agenda.add(max(at_ms + LOOK_AGAIN_MS, self._floor.paused_until_ms), market.trade)
        elif market.phase is Phase.TRADING and not market.scripted:
            # Everybody returns within the first second, in no particular order.
            back_ms = self._floor.paused_until_ms + self._rng.randint(1, 1_000)
            self._floor.agenda.add(back_ms, market.trade)

    def take(
        self,
        market: Market,
        index: int,
        order: TakerOrder,
        at_ms: int,
        out: Output,
        *,
        rest: Resting | None = None,
    ) -> Taking:
        """Let somebody take orders now; return what he got.

        It is a batch as any other: the changed levels, a print for each that was taken, both whole books, the tops.
        What is left of ``rest`` after that stays in the book, unless it would still cross it.
        """
        taking = plan(market, index, order)
        before = market.tops
        changes, lone = _carry_out(market, taking, at_ms, at_ms + self._floor.clock_offset_ms)
        _forget_empty(market)
        if rest is not None:
            rest.left -= taking.size
            if rest.left and not crosses(market, rest.side, buys=True, price=rest.price):
                changes.append(_join(market, rest, at_ms))
        if not changes and not lone:
            return taking
        stated_ms = market.changed_ms = at_ms + self._floor.clock_offset_ms
        traded = bool(taking.deals)
        if traded:
            self._note_prints(market, self._prints(taking), at_ms, out)
        self.tell(market, changes, stated_ms, before, out, sell_first=not order.buys, traded=traded, lone=lone)
        return taking

    def rest(self, market: Market, resting: Resting, at_ms: int, out: Output) -> None:
        """Let an account's order that crosses nothing join the book."""
        before = market.tops
        change = _join(market, resting, at_ms)
        stated_ms = market.changed_ms = at_ms + self._floor.clock_offset_ms
        self.tell(market, [change], stated_ms, before, out, sell_first=resting.index != resting.side, traded=False)

    def withdraw(self, market: Market, orders: Iterable[Resting], at_ms: int, out: Output) -> None:
        """Take orders of accounts out of the book, in one batch."""
        before, changes = market.tops, []
        for resting in orders:
            if market.queues is not None:
                market.queues.leave(resting)
                changes.append(_restate(market, market.queues, resting.side, resting.price, at_ms))
        if changes:
            _forget_empty(market)
            stated_ms = market.changed_ms = at_ms + self._floor.clock_offset_ms
            self.tell(market, changes, stated_ms, before, out, sell_first=False, traded=False)

    def script(self, market: Market, wanted: Sides, at_ms: int, out: Output) -> None:
        """Give the flow exactly these sizes, in one batch, and let it do nothing more in this market."""
        planned, market.planned = market.planned, None
        if planned is not None and planned.trade is None:
            # A hash has told of it already.
            self._place(market, planned.changes, at_ms, out)
        market.scripted = True
        flows = market.ladders if market.queues is None else market.queues.anonymous
        self._place(market, rewrite(flows, wanted), at_ms, out)

    def _place(self, market: Market, changes: tuple[Change, ...], at_ms: int, out: Output) -> None:
        """Let the flow change its sizes; where that crosses an account's order, they trade."""
        if market.queues is not None:
            self._among_accounts(market, market.queues, Group(changes), at_ms, out)
        elif changes:
            before = market.tops
            for change in changes:
                market.apply(change, at_ms)
            stated_ms = market.changed_ms = at_ms + self._floor.clock_offset_ms
            self.tell(market, changes, stated_ms, before, out, sell_first=False, traded=False)

    def tell(
        self,
        market: Market,
        changes: Sequence[Change],
        stated_ms: int,
        before: tuple[int, int],
        out: Output,
        *,
        sell_first: bool = False,
        traded: bool = False,
        lone: Sequence[Lone] = (),
    ) -> None:
        """Send a batch that has happened: its changes, whole books if there was a trade, the tops if they moved.

        ``lone``: what changed in one token's own book alone.
        """
        if market.tick == COARSE_TICK:
            self._note_tick(market, stated_ms - self._floor.clock_offset_ms, out)
        hashes = market.book_hash(0, stated_ms), market.book_hash(1, stated_ms)
        out += market.price_change_frames(Group(tuple(changes)), stated_ms, hashes, sell_first=sell_first)
        out += (market.lone_frame(each, stated_ms, hashes) for each in lone)
        if traded:
            out += (market.book_frame(each, stated_ms, hashes[each]) for each in (0, 1))
        if lone or market.tops != before:
            out += (market.best_frame(each, stated_ms) for each in (1, 0))

    def _prints(self, taking: Taking) -> list[Trade]:
        """What the market is told of a taker: one trade for each level, stated in the first maker's terms."""
        prints = []
        for deal in taking.deals:
            first = deal.parts[0].resting
            mirrored = self._rng.random() < 0.5 if first is None else first.index != taking.side
            prints.append(Trade(taking.side, taking.bid(deal), deal.size, taking.buys, mirrored))
        return prints

    def _among_accounts(self, market: Market, queues: Queues, group: Group, at_ms: int, out: Output) -> None:
        """What the flow does in a book where accounts have orders too."""
        before = market.tops
        changes: list[Change] = []
        prints: list[Trade] = []
        met: list[Taking] = []

        def take(index: int, order: TakerOrder) -> int:
            taking = plan(market, index, order)
            # While accounts have orders in a book no token has offers of its own.
            changes.extend(_carry_out(market, taking, at_ms, at_ms)[0])
            prints.extend(self._prints(taking))
            met.append(taking)
            return taking.size

        trade = group.trade
        if trade is not None:
            limit = ONE_PRICE - trade.price if trade.bought else trade.price
            take(
                1 - trade.side if trade.bought else trade.side,
                TakerOrder(buys=trade.bought, limit=limit, size=trade.size),
            )
        for side, price, wanted in group.changes if trade is None else ():
            size, more = wanted, wanted - queues.anonymous[side].size_at(price)
            if more > 0 and crosses(market, side, buys=True, price=price):
                if at_ms < self._floor.post_only_until_ms:
                    continue
                size -= take(side, TakerOrder(buys=True, limit=price, size=more))
            queues.place(side, price, size)
            changes.append(_restate(market, queues, side, price, at_ms))
        _forget_empty(market)
        if not changes:
            return
        stated_ms = market.changed_ms = at_ms + self._floor.clock_offset_ms
        if prints:
            self._note_prints(market, prints, at_ms, out)
        self.tell(market, changes, stated_ms, before, out, sell_first=False, traded=bool(prints))
        told = [taking for taking in met if taking.meets_accounts]
        if told and self._floor.flow_took is not None:
            self._floor.flow_took(market, told, at_ms)

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


def _carry_out(market: Market, taking: Taking, at_ms: int, stated_ms: int) -> tuple[list[Change], list[Lone]]:
    """Take what was planned out of the book; return the levels that changed, and those of the token's own book."""
    side = taking.side
    ladder, queues = market.ladders[side], market.queues
    changes, lone = [], []
    for deal in taking.deals:
        price = taking.bid(deal)
        if (offer := market.lone[taking.index]) is not None and taking.buys and offer.price == deal.price:
            left = offer._replace(size=offer.size - deal.size)
            market.offer(left, at_ms, stated_ms)
            lone.append(left)
            continue
        if queues is not None:
            queues.take(side, price, deal.size)
        change = Change(side, price, ladder.size_at(price) - deal.size)
        market.apply(change, at_ms)
        changes.append(change)
    return changes, lone


def _join(market: Market, resting: Resting, at_ms: int) -> Change:
    if market.queues is None:
        market.queues = Queues.among(market.ladders)
    market.queues.join(resting)
    return _restate(market, market.queues, resting.side, resting.price, at_ms)


def _restate(market: Market, queues: Queues, side: int, price: int, at_ms: int) -> Change:
    """Let a level show what waits there."""
    change = Change(side, price, queues.total(side, price))
    market.apply(change, at_ms)
    return change


def _forget_empty(market: Market) -> None:
    """A book in which no account waits any more is the flow's alone again."""
    if market.queues is not None and not market.queues.waiting:
        market.queues = None

"""Moments in which both tokens of a market together cost less than a dollar, and the takers who compete for them.

The two books of a market are mirror images, so the two best asks add up to a dollar and the spread: at rest there is
never a pair for less. It takes a moment in which they are none: somebody takes the liquidity of both sides, and two
makers who have not noticed yet offer one token each, each in that token's book alone. Nobody has published such a
moment of the venue itself; what is true of these is that they are rare, short, sized, and that one is seldom alone.

Pure and seeded. The order flow stands still meanwhile, because its next order could cross an offer that its own book
does not show.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define

from polymirror.simulator.exchange.flow import Change
from polymirror.simulator.exchange.ladder import ONE_PRICE, ONE_SIZE
from polymirror.simulator.exchange.market import Lone, Phase
from polymirror.simulator.exchange.matching import TakerOrder

if TYPE_CHECKING:
    import random

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.floor import Floor
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.exchange.trading import Trading
    from polymirror.simulator.settings import PairsConfig

LEFT: Final = 3
"""So many levels of each side stay in the book at least."""

LOWEST: Final = 800
"""The cheaper token costs this at least, in 1/10,000: markets that are all but decided have no such moments."""

LAST_MS: Final = 30_000
"""None begins so shortly before its market ends."""


@define
class Counts:
    """What happened, for whoever looks on."""

    begun: int = 0
    rivals: int = 0
    """Times that a competing taker got something."""


class Dislocations:
    """The dislocations of all markets on one floor."""

    def __init__(self, floor: Floor, trading: Trading, config: PairsConfig, rng: random.Random) -> None:
        self.config = config
        self.counts: Counts = Counts()
        self._floor = floor
        self._trading = trading
        self._rng = rng

    def follow(self, market: Market, at_ms: int) -> None:
        """Let them happen in this market from now on."""
        if self.config.every_s:
            wait_ms = 1 + round(self._rng.expovariate(1 / (self.config.every_s * 1_000)))
            self._floor.agenda.add(at_ms + wait_ms, partial(self._happen, market))

    def _happen(self, market: Market, at_ms: int, out: Output) -> None:
        if market.phase is not Phase.TRADING:
            return
        self.follow(market, at_ms)
        if self.begin(market, at_ms, out):
            lasts_ms = self.config.length_ms * self._rng.uniform(0.5, 1.5)
            self._floor.agenda.add(at_ms + round(lasts_ms), partial(self.end, market))
            if self._rng.random() < self.config.rivals:
                self._send_rival(market, at_ms)

    def begin(self, market: Market, at_ms: int, out: Output) -> bool:
        """Begin one now, if the market allows it; return whether it does."""
        free = market.queues is None and market.planned is None and not any(market.lone) and not market.scripted
        if not free or at_ms < max(self._floor.paused_until_ms, self._floor.post_only_until_ms):
            return False
        prices = self._prices(market)
        if at_ms > market.window_end_ms - LAST_MS or prices is None:
            return False
        gone = [
            Change(side, price, 0)
            for side in (0, 1)
            for price in reversed(market.ladders[side].prices)
            if price >= prices[side] - market.tick * self._rng.randint(0, 2)
        ]
        before = market.tops
        for change in gone:
            market.apply(change, at_ms)
        stated_ms = market.changed_ms = at_ms + self._floor.clock_offset_ms
        shares = self._rng.randint(self.config.least_shares, self.config.most_shares)
        offers = [
            Lone(index, prices[index], max(1, round(shares * self._rng.uniform(0.7, 1.3))) * ONE_SIZE)
            for index in (0, 1)
        ]
        for offer in offers:
            market.offer(offer, at_ms, stated_ms)
        self._trading.tell(market, gone, stated_ms, before, out, lone=offers)
        self.counts.begun += 1
        return True

    def end(self, market: Market, at_ms: int, out: Output) -> None:
        """Withdraw what is left of the offers."""
        offers = [Lone(each.of, each.price, 0) for each in market.lone if each is not None]
        if not offers:
            return
        before = market.tops
        stated_ms = market.changed_ms = at_ms + self._floor.clock_offset_ms
        for offer in offers:
            market.offer(offer, at_ms, stated_ms)
        if market.phase is Phase.TRADING:
            self._trading.tell(market, [], stated_ms, before, out, lone=offers)

    def _prices(self, market: Market) -> tuple[int, int] | None:
        """What one share of each token is offered for; ``None``: this market allows no such moment now."""
        tick, (top, other) = market.tick, market.tops
        if not top or not other:
            return None
        middle = (top + ONE_PRICE - other) // 2
        fees = 2 * market.kind.fee * middle * (ONE_PRICE - middle) // ONE_PRICE // ONE_PRICE
        gap = self._rng.randint(self.config.least_gap, self.config.most_gap)
        first = (middle - (gap + fees) // 2) // tick * tick
        second = (ONE_PRICE - gap - fees - first) // tick * tick
        if min(first, second) < LOWEST:
            return None
        for side, price in ((0, first), (1, second)):
            prices = market.ladders[side].prices
            if len([each for each in prices if each < price - 2 * tick]) < LEFT:
                return None
        return first, second

    def _send_rival(self, market: Market, at_ms: int) -> None:
        """Somebody else has seen it, and takes of one token or of both some time later."""
        first = self._rng.randrange(2)
        for index in (first,) if self._rng.random() < self.config.rivals_one_sided else (first, 1 - first):
            late_ms = 1 + round(self._rng.expovariate(1 / self.config.rival_ms))
            self._floor.agenda.add(at_ms + late_ms, partial(self._rival, market, index))

    def _rival(self, market: Market, index: int, at_ms: int, out: Output) -> None:
        offer = market.lone[index]
        if offer is None or market.phase is not Phase.TRADING:
            return
        wanted = max(ONE_SIZE, round(offer.size * self._rng.uniform(0.3, 1.2)))
        order = TakerOrder(buys=True, limit=offer.price, size=min(wanted, offer.size))
        self.counts.rivals += bool(self._trading.take(market, index, order, at_ms, out).deals)

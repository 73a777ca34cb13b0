"""Order flow for one simulated market: what the traders do next.

Seeded and pure: given the two ladders and the time it says which levels change, and whether there
was a trade. It changes nothing itself; the exchange applies what it returns. Shares and sizes
follow recordings of up/down markets: two thirds of all changes at the touch, one in six at the far
edge of the book, the rest in between; small lots; bursts of two to five messages.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from attrs import define, field

from polymirror.simulator.exchange.ladder import ONE_PRICE, ONE_SIZE, Ladder

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from polymirror.simulator.settings import FlowConfig

LOTS = (5, 5, 5, 10, 10, 12, 15, 18, 19, 20, 20, 25, 50, 100)
"""Order sizes in shares, as often as they are seen."""

MAX_GROUP = 5
"""The most messages in one batch seen in recordings."""

COARSE_TICK = 100
FINE_TICK = 10

TOUCH_SHARE = 0.64
EDGE_SHARE = 0.15
FIRST_TOKEN_SHARE = 0.67


class Change(NamedTuple):
    """The aggregate size of a level becomes ``size`` (0: removed).

    ``side`` is the index of the token whose bids change; ``price`` is that token's.
    """

    side: int
    price: int
    size: int


class Trade(NamedTuple):
    """A taker took ``size`` from the level ``price`` of the ladder ``side``.

    ``bought`` tells how the taker came: by buying the other token at 1 - price, else by selling
    this one. ``maker_mirrored``: the resting order was an ask of the other token, so the venue
    states the trade price in that token's terms.
    """

    side: int
    price: int
    size: int
    bought: bool
    maker_mirrored: bool


class Group(NamedTuple):
    """What happens in one millisecond: the changes in order, and the trade behind them, if any."""

    changes: tuple[Change, ...]
    trade: Trade | None = None


@define(eq=False)
class Flow:
    """The traders of one market."""

    config: FlowConfig
    rng: random.Random
    start_ms: int
    # What one share of the first token is worth to the traders, in 1/10,000.
    fair: float = field(default=ONE_PRICE / 2, init=False)
    # How many levels a side the traders feel at home with; seeding sets it.
    usual_levels: int = field(default=10, init=False)
    _walked_ms: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        """Draw where the price starts."""
        fair = self.config.fair
        self.fair = ONE_PRICE * (self.rng.uniform(0.35, 0.65) if fair is None else fair)
        self._walked_ms = self.start_ms

    def seed(self, tick: int) -> list[Change]:
        """The orders that rest in the book when trading starts."""
        rng, config = self.rng, self.config
        changes: list[Change] = []
        for side in (0, 1):
            top = self._target(side, tick)
            for price in range(tick, top + 1, tick):
                at_edge = price <= 3 * tick
                if price < top and not at_edge and rng.random() > config.density:
                    continue
                shares = rng.lognormvariate(8.5 if at_edge else 5.5, 1.0) * min(1.0, 2 * config.density)
                size = max(5, round(shares)) * ONE_SIZE
                if rng.random() < 0.4:
                    size += rng.randrange(1, 100) * (ONE_SIZE // 100)
                changes.append(Change(side, price, size))
        self.usual_levels = max(3, len(changes) // 2)
        return changes

    def next_delay_ms(self) -> int:
        """The time to the next batch: exponential, at least a millisecond."""
        return max(1, round(self.rng.expovariate(self.config.rate / 1000)))

    def next_group(self, ladders: Sequence[Ladder], tick: int, at_ms: int) -> Group:
        """What the traders do at this time, given the book as it is."""
        self.move(at_ms)
        rng, config = self.rng, self.config
        moves = self._follow(ladders, tick)
        if moves:
            return Group(tuple(moves))
        if rng.random() < config.trade_share:
            traded = self._trade(ladders)
            if traded is not None:
                return traded
        count = 1
        if rng.random() < config.burst_share:
            draw = rng.random()
            count = 2 if draw < 0.96 else 3 if draw < 0.99 else rng.randint(4, MAX_GROUP)
        return Group(tuple(self._tweak(ladders, tick) for _ in range(count)))

    def move(self, at_ms: int) -> None:
        """Let the fair price wander until this time."""
        passed_ms = at_ms - self._walked_ms
        if passed_ms <= 0:
            return
        self._walked_ms = at_ms
        fair = self.fair + self.rng.gauss(0.0, self.config.volatility * ONE_PRICE * math.sqrt(passed_ms / 1000))
        low = self.config.fair_low * ONE_PRICE
        high = ONE_PRICE - low
        if fair < low:
            fair = 2 * low - fair
        elif fair > high:
            fair = 2 * high - fair
        self.fair = min(max(fair, low), high)

    def _target(self, side: int, tick: int) -> int:
        """The highest bid the traders would leave on this ladder; the two together stay below one."""
        worth = self.fair if side == 0 else ONE_PRICE - self.fair
        return max(tick, int((worth - tick * 0.2) // tick) * tick)

    def _follow(self, ladders: Sequence[Ladder], tick: int) -> list[Change]:
        """Bring the touch to where the fair price is: withdraw what is too dear, bid what is cheap."""
        targets = self._target(0, tick), self._target(1, tick)
        tops = [ladders[0].best, ladders[1].best]
        if tops[0] == targets[0] and tops[1] == targets[1]:
            return []
        rng = self.rng
        withdrawn: list[Change] = []
        placed: list[Change] = []
        for side in (0, 1):
            target = targets[side]
            if tops[side] > target:
                prices = ladders[side].prices
                left = len(prices)
                while left and prices[left - 1] > target and len(withdrawn) < MAX_GROUP - 2:
                    if left == 1 and rng.random() < 0.9:
                        break
                    left -= 1
                    withdrawn.append(Change(side, prices[left], 0))
                tops[side] = prices[left - 1] if left else 0
        for side in (0, 1):
            target = targets[side]
            if tops[side] < target and rng.random() < 0.5:
                steps = (target - tops[side] - 1) // tick
                price = target - tick * rng.randint(0, min(steps, 2))
                if price + tops[1 - side] < ONE_PRICE:
                    placed.append(Change(side, price, self._lot() * rng.randint(1, 8)))
                    tops[side] = price
        if placed and withdrawn and rng.random() < 0.1:
            return placed + withdrawn
        return withdrawn + placed

    def _trade(self, ladders: Sequence[Ladder]) -> Group | None:
        rng = self.rng
        side = 0 if rng.random() < 0.5 else 1
        ladder = ladders[side]
        if not ladder.prices:
            return None
        price, available = ladder.prices[-1], ladder.sizes[-1]
        wanted = rng.randrange(1_000_000, 60_000_000)
        if rng.random() < 0.05:
            wanted = available
        size = min(wanted, available)
        if size == available and len(ladder.prices) == 1 and rng.random() < 0.9:
            return None
        change = Change(side, price, available - size)
        return Group((change,), Trade(side, price, size, rng.random() < 0.9, rng.random() < 0.5))

    def _tweak(self, ladders: Sequence[Ladder], tick: int) -> Change:
        rng, config = self.rng, self.config
        side = 0 if rng.random() < FIRST_TOKEN_SHARE else 1
        ladder = ladders[side]
        prices = ladder.prices
        count = len(prices)
        if not count:
            return Change(side, tick, self._lot())
        draw = rng.random()
        if count < self.usual_levels and draw > 0.9:
            price = rng.randint(1, max(1, ladder.best // tick - 1)) * tick
            if price < ladder.best:
                return Change(side, price, ladder.size_at(price) + self._lot())
        if count > 2 and (rng.random() < config.delete_share or count > 2 * self.usual_levels):
            return Change(side, prices[rng.randrange(1, count - 1)], 0)
        if draw < TOUCH_SHARE:
            index = count - 1
        elif draw < TOUCH_SHARE + EDGE_SHARE:
            index = 0
        else:
            index = max(0, count - 2 - int(rng.expovariate(0.18)))
        size = ladder.sizes[index]
        lot = self._lot()
        return Change(side, prices[index], size - lot if lot < size and rng.random() < 0.5 else size + lot)

    def _lot(self) -> int:
        return LOTS[int(self.rng.random() * len(LOTS))] * ONE_SIZE

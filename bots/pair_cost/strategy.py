"""The strategy, and nothing else: what a pair may cost, how many, and what is done about one token alone. Pure.

All is exact: prices are ints in 1/10,000 of a pUSD, shares in 1/1,000,000, and what a share costs with its fee in
1/100,000,000. With a fee rate of at most 1 a share never gets cheaper by being dearer, so what a leg costs at its
limit is the most that it costs on any book the venue may have by then: a pair whose two limits, fees included, stay
below the wanted cost cannot cost more, whatever is met on the way.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import field, frozen

from bots.common.money.amounts import EXACT
from bots.common.ranges import decimal_range, whole
from polymirror.core.fees import exact_fee
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from polymirror.core.book import Levels
    from polymirror.core.fees import FeeSchedule

ONE_E4: Final = 10_000
ONE_E6: Final = 1_000_000
ONE_E8: Final = 100_000_000
CENT_E6: Final = 10_000
ROUNDED_E8: Final = 1_000
"""Fees are written in 1/100,000 of a pUSD, so the fee of one fill is at most so much above its formula."""


@frozen(kw_only=True)
class PairSettings:
    """What a pair may cost, and what may become of one token alone. Raises ConfigError, which names the field."""

    max_pair_cost: Decimal = field(default=Decimal("0.99"), validator=decimal_range("0.5", "1", "pUSD"))
    """The most that a share of each token may cost together, both fees included."""
    edge_buffer: Decimal = field(default=Decimal("0.002"), validator=decimal_range("0", "0.2", "pUSD"))
    """It must be cheaper than that by so much when it is decided on."""
    max_shares: int = field(default=60, validator=whole(1, 100_000, "shares"))
    """Pairs of one batch."""
    max_depth: Decimal = field(default=Decimal("0.9"), validator=decimal_range("0.01", "1", "of the depth"))
    """The part of what is offered that may be taken: what is left makes both legs more likely to fill."""
    hedge_tolerance: Decimal = field(default=Decimal(1), validator=decimal_range("0.05", "10000", "shares"))
    """So much more of one token than of the other is left as it is."""
    hedge_limit: Decimal = field(default=Decimal("1.03"), validator=decimal_range("0.5", "1.5", "pUSD"))
    """The most that a pair may cost whose second token is bought late: what is above a dollar is lost."""
    hedge_step_s: Decimal = field(default=Decimal(3), validator=decimal_range("0", "3600", "seconds"))
    """So long after each other come the steps of the ladder from ``max_pair_cost`` up to ``hedge_limit``."""
    hedge_steps: int = field(default=4, validator=whole(1, 100, "steps"))
    max_one_legged: Decimal = field(default=Decimal(20), validator=decimal_range("0", "1000000", "pUSD"))
    """What tokens held alone, in all markets, may have cost once no step of the ladder has helped: above it they are
    sold for what they bring."""
    sequential: bool = False
    """Buy one token first, and the other one while the projected pair holds. What that costs is in docs/bots.md."""
    first_price: Decimal = field(default=Decimal("0.4"), validator=decimal_range("0.01", "0.99", "pUSD"))
    """One after the other: the first token must cost no more than this."""

    # What is looked up with each change of a book: computed once.
    limit_e8: int = field(init=False)
    """What a share of each token may cost together at the limits of both orders."""
    depth_e4: int = field(init=False)
    tolerance_e6: int = field(init=False)

    @limit_e8.default
    def _limit(self) -> int:
        return int((self.max_pair_cost - self.edge_buffer) * ONE_E8)

    @depth_e4.default
    def _depth(self) -> int:
        return int(self.max_depth * ONE_E4)

    @tolerance_e6.default
    def _tolerance(self) -> int:
        return int(self.hedge_tolerance * ONE_E6)

    def __attrs_post_init__(self) -> None:
        """Refuse a ladder that leads downwards."""
        if self.hedge_limit < self.max_pair_cost:
            raise ConfigError("hedge_limit", self.hedge_limit, f"at least max_pair_cost, {self.max_pair_cost}")

    def ladder_e8(self, waited: float) -> int:
        """Return what a pair may cost whose second token is bought so many seconds after the first."""
        steps, each = self.hedge_steps, float(self.hedge_step_s)
        step = min(int(waited / each), steps) if each else steps
        low, high = int(self.max_pair_cost * ONE_E8), int(self.hedge_limit * ONE_E8)
        return low + (high - low) * step // steps

    def ladder_ends(self, waited: float) -> bool:
        """Whether no further step comes."""
        return waited >= float(self.hedge_step_s) * self.hedge_steps


class Cost(Enum):
    """Why no pair is bought. Counted by the bot."""

    NO_OFFER = "nobody sells one of the tokens"
    TOO_DEAR = "a pair costs more than the limit"
    TOO_SMALL = "less is offered than the venue takes"
    UNEVEN = "more is held of one token than of the other"


class Legs(NamedTuple):
    """Both purchases of a pair."""

    shares_e6: int
    """Of each token, on the books as they are."""
    limits_e4: tuple[int, int]
    money_e6: tuple[int, int]
    """What each offers, in whole cents; the fee comes on top."""
    cost_e8: int
    """What a share of each costs together at both limits, fees included: no book makes it more."""


@lru_cache(maxsize=64)
def prices_with_fee(fee: FeeSchedule) -> tuple[int, ...]:
    """Return what a share costs with its fee, in 1/100,000,000 pUSD and rounded up, by its price in 1/10,000.

    What is no price, 0 and 1, costs more than any limit allows.
    """
    one = Decimal(1)

    def cost(price_e4: int) -> int:
        price = Decimal(price_e4).scaleb(-4)
        with_fee = EXACT.add(price, exact_fee(fee, price, one))
        return int(with_fee.scaleb(8, EXACT).to_integral_value(ROUND_CEILING))

    never = 2 * ONE_E8
    return (never, *map(cost, range(1, ONE_E4)), never)


def can_trade(costs: tuple[int, ...], limit_e8: int, first_ask_e4: int, second_ask_e4: int) -> bool:
    """Whether the two best asks (0: none) leave anything. For every change of either book: it allocates nothing."""
    return costs[first_ask_e4] + costs[second_ask_e4] <= limit_e8


def decide(
    settings: PairSettings,
    costs: tuple[int, ...],
    books: tuple[Levels, Levels],
    tick_e4: int,
    least_e6: int,
    most_e6: int,
    uneven_e6: int = 0,
) -> Legs | Cost:
    """Return the largest pair that stays below the limit on these two books, or why there is none.

    ``least_e6`` are the fewest shares that the market takes, ``most_e6`` what may be spent on the dearer token,
    without its fee; ``uneven_e6`` what is held more of one token than of the other.
    """
    if uneven_e6 > settings.tolerance_e6:
        return Cost.UNEVEN
    if not (books[0].ask_keys and books[1].ask_keys):
        return Cost.NO_OFFER
    wanted = settings.max_shares * ONE_E6
    offered, limits = _walk(books, costs, settings.limit_e8, tick_e4, -(-wanted * ONE_E4 // settings.depth_e4))
    if not offered:
        return Cost.TOO_DEAR
    shares = min(wanted, offered * settings.depth_e4 // ONE_E4, most_e6 * ONE_E4 // max(limits))
    # Whole shares at whole cents are whole cents: then both orders buy the same number.
    shares -= shares % ONE_E6
    fills = limits[0] // tick_e4 + limits[1] // tick_e4
    spare_e14 = shares * (settings.limit_e8 - costs[limits[0]] - costs[limits[1]])
    if shares < max(least_e6, ONE_E6) or spare_e14 < fills * ROUNDED_E8 * ONE_E6:
        return Cost.TOO_SMALL
    money = _money(shares, books[0]), _money(shares, books[1])
    if min(money) < ONE_E6:
        return Cost.TOO_SMALL  # no marketable order is below 1 pUSD
    return Legs(shares, limits, money, costs[limits[0]] + costs[limits[1]])


def _walk(
    books: tuple[Levels, Levels], costs: tuple[int, ...], limit_e8: int, tick_e4: int, wanted_e6: int
) -> tuple[int, tuple[int, int]]:
    """Return how many pairs both books offer below the limit, or at least as many as are wanted, and up to where."""
    (_, _, keys, sizes), (_, _, other_keys, other_sizes) = books
    at, other = len(keys) - 1, len(other_keys) - 1
    # What both books offer up to the two prices that are looked at.
    depth, other_depth = sizes[at], other_sizes[other]
    shares, limits = 0, (0, 0)
    while True:
        price, other_price = _on_grid(ONE_E4 - keys[at], tick_e4), _on_grid(ONE_E4 - other_keys[other], tick_e4)
        if costs[price] + costs[other_price] > limit_e8:
            return shares, limits
        if min(depth, other_depth) > shares:
            shares, limits = min(depth, other_depth), (price, other_price)
        # Whichever book offers less up to here is walked on.
        if depth <= other_depth:
            at -= 1
            if at < 0 or shares >= wanted_e6:
                return shares, limits
            depth += sizes[at]
        else:
            other -= 1
            if other < 0 or shares >= wanted_e6:
                return shares, limits
            other_depth += other_sizes[other]


def _on_grid(price_e4: int, tick_e4: int) -> int:
    """A level between two ticks is older than the tick size: only the next price up can be asked for."""
    return min(-(-price_e4 // tick_e4) * tick_e4, ONE_E4)


def _money(shares: int, book: Levels) -> int:
    """Return what so many shares cost from the best ask on, in 1/1,000,000 pUSD, rounded to a cent."""
    keys, sizes = book.ask_keys, book.ask_sizes
    left, paid, at = shares, 0, len(keys) - 1
    while left > 0 and at >= 0:
        take = min(left, sizes[at])
        paid += take * (ONE_E4 - keys[at])
        left -= take
        at -= 1
    return (paid // ONE_E4 + CENT_E6 // 2) // CENT_E6 * CENT_E6


class Way(Enum):
    """What is done about shares of one token alone. The value is what people are told."""

    HEDGE = "the other token is bought late"
    UNWIND = "it is sold again"
    WAIT = "the ladder goes on"
    HOLD = "it is kept as a position that can lose all it cost"


class Mend(NamedTuple):
    """What to do, and at which limit."""

    way: Way
    limit_e4: int = 0
    lost_e8: int = 0
    """What a share loses by it, at the limit; below 0: what it still earns."""


def mend(
    settings: PairSettings,
    costs: tuple[int, ...],
    paid_e8: int,
    bid_e4: int,
    other_ask_e4: int,
    waited: float,
    *,
    over_budget: bool,
) -> Mend:
    """Say what to do about shares that cost ``paid_e8`` each, fee included, and have no counterpart.

    ``bid_e4`` is the best bid for them, ``other_ask_e4`` the best ask of the other token (0: none), ``waited`` the
    seconds since they are alone. Of the two ways out the cheaper one is taken, once the ladder allows what it loses.
    At the end of the ladder they are kept, unless ``over_budget``: then whichever way out there is, is taken.
    """
    hedged = paid_e8 + costs[other_ask_e4] - ONE_E8 if 0 < other_ask_e4 < ONE_E4 else None
    # Selling at p brings p less the fee, and what a share costs at p is p and the fee.
    sold = paid_e8 - (2 * bid_e4 * ONE_E4 - costs[bid_e4]) if 0 < bid_e4 < ONE_E4 else None
    allowed = settings.ladder_e8(waited) - ONE_E8
    ways = [
        Mend(way, limit, lost)
        for way, limit, lost in ((Way.HEDGE, other_ask_e4, hedged), (Way.UNWIND, bid_e4, sold))
        if lost is not None
    ]
    best = min(ways, key=lambda each: each.lost_e8, default=None)
    if best is not None and best.lost_e8 <= allowed:
        return best
    if not settings.ladder_ends(waited):
        return Mend(Way.WAIT)
    return best if best is not None and over_budget else Mend(Way.HOLD)


def begin_alone(settings: PairSettings, costs: tuple[int, ...], first_ask_e4: int, second_ask_e4: int) -> int | None:
    """One after the other: say which token to buy first, 0 or 1, or nothing.

    The cheaper one, if it costs no more than ``first_price`` and the pair as the books are now would still be worth
    a late second token.
    """
    if not (0 < first_ask_e4 < ONE_E4 and 0 < second_ask_e4 < ONE_E4):
        return None
    which = 0 if first_ask_e4 <= second_ask_e4 else 1
    cheaper = (first_ask_e4, second_ask_e4)[which]
    fits = costs[first_ask_e4] + costs[second_ask_e4] <= int(settings.hedge_limit * ONE_E8)
    return which if fits and cheaper * ONE_E4 <= int(settings.first_price * ONE_E8) else None

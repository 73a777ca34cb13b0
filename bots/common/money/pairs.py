"""Two books as one: what a share of each token of a market costs together, and how many pairs there are. Pure.

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

from attrs import frozen

from bots.common.money.amounts import EXACT
from polymirror.core.fees import exact_fee

if TYPE_CHECKING:
    from polymirror.core.book import Levels
    from polymirror.core.fees import FeeSchedule

ONE_E4: Final = 10_000
ONE_E6: Final = 1_000_000
ONE_E8: Final = 100_000_000
CENT_E6: Final = 10_000
ROUNDED_E8: Final = 1_000
"""Fees are written in 1/100,000 of a pUSD, so the fee of one fill is at most so much above its formula."""


PAIR: Final = 2
"""Tokens of a market."""


@frozen(kw_only=True)
class PairLimits:
    """What a pair may be."""

    cost_e8: int
    """What a share of each token may cost together, at the limits of both orders and with both fees."""
    shares_e6: int
    """The most pairs of one batch,"""
    least_e6: int
    """and the fewest that the market takes."""
    money_e6: int
    """The most that the dearer token may cost, without its fee."""
    depth_e4: int = ONE_E4
    """The part of what is offered that may be taken, in 1/10,000."""


class Cost(Enum):
    """Why no pair is bought. Counted by the bot."""

    NO_OFFER = "nobody sells one of the tokens"
    TOO_DEAR = "a pair costs more than the limit"
    TOO_SMALL = "less is offered than the venue takes"


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


def size_pair(limits: PairLimits, costs: tuple[int, ...], books: tuple[Levels, Levels], tick_e4: int) -> Legs | Cost:
    """Return the largest pair that stays within the limits on these two books, or why there is none."""
    if not (books[0].ask_keys and books[1].ask_keys):
        return Cost.NO_OFFER
    wanted = limits.shares_e6
    offered, prices = _walk(books, costs, limits.cost_e8, tick_e4, -(-wanted * ONE_E4 // limits.depth_e4))
    if not offered:
        return Cost.TOO_DEAR
    shares = min(wanted, offered * limits.depth_e4 // ONE_E4, limits.money_e6 * ONE_E4 // max(prices))
    # Whole shares at whole cents are whole cents: then both orders buy the same number.
    shares -= shares % ONE_E6
    fills = prices[0] // tick_e4 + prices[1] // tick_e4
    cost_e8 = costs[prices[0]] + costs[prices[1]]
    spare_e14 = shares * (limits.cost_e8 - cost_e8)
    if shares < max(limits.least_e6, ONE_E6) or spare_e14 < fills * ROUNDED_E8 * ONE_E6:
        return Cost.TOO_SMALL
    money = _money(shares, books[0]), _money(shares, books[1])
    if min(money) < ONE_E6:
        return Cost.TOO_SMALL  # no marketable order is below 1 pUSD
    return Legs(shares, prices, money, cost_e8)


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

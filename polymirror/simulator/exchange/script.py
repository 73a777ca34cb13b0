"""Books that somebody writes down instead of leaving them to the order flow: what is a book, and how one gets there.

Pure. The exchange reads a wanted book here before it changes anything, and its trading asks for the changes that lead
there: what has to go first and what comes after it, so that no state on the way is crossed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.errors import ConfigError
from polymirror.simulator.exchange.flow import Change
from polymirror.simulator.exchange.ladder import ONE_PRICE, ONE_SIZE, PRICE_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from polymirror.simulator.exchange.ladder import Ladder

Sides = tuple[dict[int, int], dict[int, int]]
"""Price to size of the bids of the first and of the second token: a whole market."""

TICKS = (1_000, 100, 50, 25, 10, 1)
"""The price grids that the venue has, in 1/10,000."""

MAX_SIZE = 10**12 * ONE_SIZE
"""No level is larger."""


def check_tick(tick: int) -> int:
    """Return a price grid of the venue. Raises ConfigError for any other number."""
    if tick not in TICKS:
        raise ConfigError("tick", tick, f"one of {', '.join(map(str, TICKS))} in 1/10,000")
    return tick


def read_sides(index: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], tick: int) -> Sides:
    """Read the book of the first (0) or second (1) token as that of its market.

    Raises ConfigError unless each price is once on the grid, each size positive, and the best bid below the best ask.
    """
    given_bids, given_asks = _read("bids", bids, tick), _read("asks", asks, tick)
    if given_bids and given_asks and max(given_bids) >= min(given_asks):
        bid, ask = PRICE_TEXTS[max(given_bids)], PRICE_TEXTS[min(given_asks)]
        raise ConfigError("bids", bid, f"below the best ask, which is {ask}: the venue would match them")
    mirrored = {ONE_PRICE - price: size for price, size in given_asks.items()}
    return (mirrored, given_bids) if index else (given_bids, mirrored)


def rewrite(ladders: Sequence[Ladder], wanted: Sides) -> tuple[Change, ...]:
    """Return the changes that make these ladders equal to what is wanted."""
    gone = [Change(side, price, 0) for side in (0, 1) for price in ladders[side].prices if price not in wanted[side]]
    come = [
        Change(side, price, size)
        for side in (0, 1)
        for price, size in sorted(wanted[side].items())
        if ladders[side].size_at(price) != size
    ]
    return (*gone, *come)


def _read(name: str, levels: Iterable[tuple[int, int]], tick: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for price, size in levels:
        if not 0 < price < ONE_PRICE or price % tick:
            text = PRICE_TEXTS[price] if 0 <= price <= ONE_PRICE else str(price)
            raise ConfigError(name, text, f"between 0 and 1 pUSD, on this market's grid of {PRICE_TEXTS[tick]}")
        if price in found:
            raise ConfigError(name, PRICE_TEXTS[price], "named once: a level has one size")
        if not 0 < size <= MAX_SIZE:
            raise ConfigError(name, f"{PRICE_TEXTS[price]} x {size}", "of a size above 0, up to a trillion shares")
        found[price] = size
    return found

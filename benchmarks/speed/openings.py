"""Whole books of many made-up markets: for snapshots, memory, starts and probes of thousands of tokens.

Every market has its own id, tokens and sizes; the second token's book is the mirror image of the first's. A third
of the sizes of a market's first book come from a few common ones, the others occur nowhere else.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from attrs import field, frozen

from benchmarks.speed.book_text import SCALE, BookText
from benchmarks.speed.frames import MIDDLE, NEW_SIZES, START_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK_SIZES = {100: "0.01", 10: "0.001"}
MOST_AT_A_CENT = 48
"""Levels a side that fit on a grid of 0.01; deeper books get one of 0.001."""


@frozen
class Opening:
    """One market with the text of its two books, as ``book`` events and as REST bodies have them."""

    market: str
    tokens: tuple[str, str]
    tick_size: str
    events: tuple[bytes, bytes] = field(repr=False)
    """As the stream opens."""
    rest: tuple[bytes, bytes] = field(repr=False)
    """As ``/books`` answers."""


def make_openings(levels: int, count: int, seed: int = 1, *, new_sizes: float = NEW_SIZES) -> Iterator[Opening]:
    """Yield ``count`` markets with ``levels`` a side."""
    rng = Random(f"{levels}:{seed}")  # noqa: S311 - repeatable books
    tick = 100 if levels <= MOST_AT_A_CENT else 10
    common = [str(rng.randrange(1, 200) * 5) for _ in range(40)]
    for _ in range(count):
        market = f"0x{rng.getrandbits(256):064x}"
        tokens = tuple(str(rng.randrange(10**76, 10**77)) for _ in range(2))
        one, other = (BookText(market, token, TICK_SIZES[tick]) for token in tokens)
        for step in range(1, levels + 1):
            for price, is_bid in ((MIDDLE - tick * step, True), (MIDDLE + tick * step, False)):
                size = _size(rng) if rng.random() < new_sizes else rng.choice(common)
                one.set(price, size, is_bid=is_bid)
                other.set(SCALE - price, size, is_bid=not is_bid)
        events = (one.whole(START_MS).encode(), other.whole(START_MS).encode())
        rest = (one.rest(START_MS), other.rest(START_MS))
        yield Opening(market, (tokens[0], tokens[1]), TICK_SIZES[tick], events, rest)


def _size(rng: Random) -> str:
    return f"{rng.randrange(101, 30_000_000) / 100:.2f}".rstrip("0").rstrip(".")

"""What the simulated exchange really had, at full depth and at the top, so that any reading can be judged.

The exchange remembers the digests of whole books over time; this adds those of the best levels alone, with sizes,
and the fact that a settled market has no book. The arena asks it at every point of its grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from polymirror.simulator.exchange.history import Digest, History, digest
from polymirror.simulator.exchange.market import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.simulator.exchange.market import Market

Sides = tuple["Sequence[tuple[int, int]]", "Sequence[tuple[int, int]]"]
"""Bids and asks as (price in 1/10,000, size in 1/1,000,000), in any order."""

NOTHING: Digest = (0, 0)
"""The digest of an empty book."""


@frozen
class Marks:
    """A reading, small enough to compare: the digests of its whole depth and of its best levels."""

    full: Digest
    top: Digest

    def swapped(self) -> Marks:
        """The same for the other token of the market."""
        return Marks((self.full[1], self.full[0]), (self.top[1], self.top[0]))


def mark(sides: Sides) -> Marks | None:
    """Digest a reading; None for one without any level."""
    bids, asks = sides
    if not bids and not asks:
        return None
    top = digest([max(bids)] if bids else (), [min(asks)] if asks else ())
    return Marks(digest(bids, asks), top)


class MarketTruth(History):
    """Takes the place of a market's history: hears of every state, and keeps the tops as well.

    A token that is no mirror image of the other one any more has a history of its own, a copy of the market's.
    """

    __slots__ = ("_market", "settled", "tops")

    def __init__(self, market: Market, horizon_ms: int) -> None:
        super().__init__(horizon_ms, market.history.current)
        self._market = market
        self.settled = False
        self.tops = History(horizon_ms, self._top())

    @classmethod
    def of(cls, market: Market, index: int) -> MarketTruth:
        """The truth of one token's book now."""
        own = market.own[index]
        truth = market.history if own is None else own.history
        if not isinstance(truth, cls):
            raise TypeError(f"{market.slug} keeps a plain history")
        return truth

    def copy(self) -> MarketTruth:
        """Another one with the same past, for a token that goes its own way."""
        copied = MarketTruth(self._market, self.horizon_ms)
        copied.current, copied.settled, copied.tops = self.current, self.settled, self.tops.copy()
        copied._ended, copied._order = self._ended.copy(), self._order.copy()
        return copied

    def record(self, state: Digest, at_ms: int) -> None:
        """The book changed into this state."""
        super().record(state, at_ms)
        self.tops.record(self._top(), at_ms)

    def look(self, now_ms: int) -> bool:
        """Note a settlement, after which there is no book. Whether there is a book to be had now."""
        if self._market.phase is Phase.RESOLVED and not self.settled:
            self.settled = True
            super().record(NOTHING, now_ms)
            self.tops.record(NOTHING, now_ms)
        return self.current != NOTHING

    def was_full(self, marks: Marks, since_ms: int) -> bool:
        """Whether the book had exactly these levels at any time since then."""
        return self.was(marks.full, since_ms)

    def was_top(self, marks: Marks, since_ms: int) -> bool:
        """Whether the best bid and the best ask, with their sizes, were these at any time since then."""
        return self.tops.was(marks.top, since_ms)

    def _top(self) -> Digest:
        alone = [own for own in self._market.own if own is not None and own.history is self]
        first, second = alone[0].ladders if alone else self._market.ladders
        return tuple(  # type: ignore[return-value]
            hash((ladder.prices[-1], ladder.sizes[-1])) if ladder.prices else 0 for ladder in (first, second)
        )

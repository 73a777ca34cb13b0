"""What all markets of a mirror share about the venue's hash: the form in use, and how much may be searched.

The form of the text is the venue's to change. :class:`DialectBook` learns, from whole books, which known
form is in use, and says so when none is: then hashes are *unverifiable*, never wrong. REST alone never leads
there: it takes hashes of the stream that no known form explains, over time and more than one market (rule D7).

A wide search tries thousands of digests, and whoever sends wrong hashes can ask for as many as they like. So
:class:`SearchBudget` gives all markets together a share of the time. Nobody is rationed for good: whoever has to wait
is told until when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

from polymirror.core.checksum import Dialect

if TYPE_CHECKING:
    from collections.abc import Iterator

DISTRUST_SECONDS: Final = 5.0
"""For how long, at least, the stream's hashes of several markets must not fit before they count as unverifiable,"""

DISTRUST_ALONE_SECONDS: Final = 10.0
"""and those of a market that is alone."""

DISTRUST_MISSES: Final = 3
"""How many hashes of a market must not fit, with none between them that does."""

DIGESTS_PER_SECOND: Final = 50_000
"""Candidates that the wide searches of a mirror may try in a second of its own clock: about 30 ms of work."""

BURST_SECONDS: Final = 1.0
"""What was not spent is kept for this long: some searches may follow each other at once."""

TURN_SECONDS: Final = 0.12
"""Seconds between the moments at which those look again for whom nothing was left: about what one search costs,"""

LAST_TURN: Final = 1.0
"""and how long after the first of these moments the last one is: by then a missed hash is a doubt."""


class SearchBudget:
    """A share of the time for wide searches, in digests; the only time it knows is what it is told."""

    __slots__ = ("_turn", "digests", "free_at", "searches")

    def __init__(self) -> None:
        # From then on a search may begin.
        self.free_at: float = float("-inf")
        # When the one is to look again who asked last for that.
        self._turn = float("-inf")
        # How many there were, and the candidates of all of them.
        self.searches: int = 0
        self.digests: int = 0

    def spend(self, digests: int, now: float) -> None:
        """Note that so many candidates are tried: in a time T, (T + burst) times the rate, and one search, at most."""
        self.free_at = max(self.free_at, now - BURST_SECONDS) + digests / DIGESTS_PER_SECOND
        self.searches += 1
        self.digests += digests

    def turn(self, now: float) -> float:
        """Return when one for whom nothing is left is to look again: each at another moment, not all at the first."""
        soonest = max(self.free_at, now)
        self._turn = self._turn + TURN_SECONDS if soonest <= self._turn <= soonest + LAST_TURN else soonest
        return self._turn


@define
class _Misses:
    """Hashes of one market's stream that no known form explained, since one did. Times in seconds."""

    first_at: float
    count: int = 0


class DialectBook:
    """Which dialect the venue speaks, learnt from whole books; shared by all markets of a mirror."""

    def __init__(self) -> None:
        # The dialect in use; None until learnt.
        self.current: Dialect | None = None
        # The stream's hashes mean nothing any more.
        self.distrusted: bool = False
        # By market; all are forgotten with any hash that fits.
        self._misses: dict[str, _Misses] = {}
        # Markets whose hashes are looked at.
        self.markets: set[str] = set()
        # What their searches may cost.
        self.budget: SearchBudget = SearchBudget()

    def to_try(self) -> Iterator[Dialect]:
        """Yield the dialects to try on a whole book, the known one first."""
        known = self.current
        if known is not None:
            yield known
        yield from (each for each in Dialect if each is not known)

    def explained(self, dialect: Dialect) -> None:
        """Note that a whole book was explained, and accepted."""
        self.current = dialect
        self.matched()

    def matched(self) -> None:
        """Note that a hash fitted: the venue's form is known."""
        if self._misses or self.distrusted:
            self._misses.clear()
            self.distrusted = False

    def missed(self, market: str, now: float) -> bool:
        """Note that a hash of the stream never fitted; return whether that ends the trust in all of them."""
        misses = self._misses.setdefault(market, _Misses(now))
        misses.count += 1
        long = [each for each in self._misses.values() if each.count >= DISTRUST_MISSES]
        patience = DISTRUST_SECONDS if len(self.markets) > 1 else DISTRUST_ALONE_SECONDS
        patient = [each for each in long if now - each.first_at >= patience]
        ended = not self.distrusted and len(patient) >= min(2, len(self.markets))
        self.distrusted = self.distrusted or ended
        return ended

    def forget(self, market: str) -> None:
        """A market is mirrored no more."""
        self.markets.discard(market)
        self._misses.pop(market, None)

    @property
    def missing(self) -> tuple[str, ...]:
        """The markets whose hashes did not fit since the last one that did."""
        return tuple(self._misses)

    def has_missed(self, market: str) -> bool:
        """Whether a hash of this market's stream did not fit since the last one that did."""
        return market in self._misses

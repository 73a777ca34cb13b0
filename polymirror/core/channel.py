"""How REST has been lately about one token: how far it was behind the stream, and for how long it contradicted it.

Both belong to the channel, not to the book: an answer is dated back by what its channel is known to lag, and REST
that keeps contradicting a book, in order, for longer than it was ever seen behind is a doubt. Times in seconds on the
mirror's monotonic clock.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

LAG_KEPT: Final = 60.0
"""Seconds for which answers are dated back by what REST was last seen behind."""

CONTRADICTS_SECONDS: Final = 10.0
"""REST that contradicts a book for this long is a doubt, unless it was seen behind for longer before."""

_NEVER: Final = float("-inf")


class RestChannel(Struct, eq=False, gc=False):
    """What is known of REST's answers about one token. It is in no cycle, so the collector need not visit it."""

    _lag: float = 0.0
    _lag_at: float = _NEVER
    # The first of the answers in a row that contradict the book: when it was asked for, and its exchange time.
    _contradicted: tuple[float, int] | None = None
    # The longest that such a row lasted although REST was wrong, doubled.
    _tolerated: float = CONTRADICTS_SECONDS

    @property
    def contradicts(self) -> bool:
        """Whether the last answer contradicted the book."""
        return self._contradicted is not None

    def lag(self, now: float) -> float:
        """How far REST was seen behind lately."""
        return self._lag if now - self._lag_at < LAG_KEPT else 0.0

    def lacked(self, change_at: float, asked_at: float, now: float) -> None:
        """An answer asked for at ``asked_at`` lacked a change of ``change_at``: REST is behind by as much."""
        lag = max(0.0, asked_at - change_at)
        if lag >= self.lag(now):
            self._lag, self._lag_at = lag, now

    def agreed(self, asked_at: float) -> None:
        """REST and the book agree. If it contradicted before, it was only behind: so long it may be again."""
        if self._contradicted is not None:
            self._tolerated = max(self._tolerated, 2.0 * (asked_at - self._contradicted[0]))
            self._contradicted = None

    def joined(self) -> None:
        """REST showed a state that the book had: it is behind, and contradicts nothing."""
        self._contradicted = None

    def contradicted(self, at_ms: int, asked_at: float) -> float | None:
        """REST showed a state that the book never had; return for how long, if that is too long."""
        first = self._contradicted
        if first is None or at_ms < first[1]:
            self._contradicted = (asked_at, at_ms)
            return None
        lasted = asked_at - first[0]
        if at_ms == first[1] or lasted <= self._tolerated:
            # The same answer again and again is a cache.
            return None
        self._tolerated, self._contradicted = 2.0 * lasted, None
        return lasted

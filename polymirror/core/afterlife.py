"""A retired token: when it is looked at again, and what counts as life.

Retirement is not final: it may have been a mistake, or a lie. A book that is newer than the retiring evidence, and is
not empty, brings the market back. Times in seconds on the mirror's monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from polymirror.core.messages import Snapshot

AGAIN_AFTER: Final = 600.0
"""A retired market is looked at this often, in seconds,"""

AGAIN_FOR: Final = 86_400.0
"""and for this long."""

_NEVER: Final = float("-inf")


class Afterlife(Struct, eq=False, gc=False):
    """What is kept of one token that was retired. It is in no cycle, so the collector need not visit it."""

    # When it was retired, and the exchange time of the evidence.
    _at: float = _NEVER
    _since_ms: int = 0

    def begin(self, now: float, since_ms: int) -> float:
        """The market is over, by evidence of exchange time ``since_ms``. Return when to look again."""
        self._at, self._since_ms = now, since_ms
        return now + AGAIN_AFTER

    def look_again(self, now: float) -> float:
        """Return when to look again after now; infinity: no more."""
        return now + AGAIN_AFTER if now - self._at < AGAIN_FOR else float("inf")

    def is_life(self, message: Snapshot) -> bool:
        """Whether a book shows that the market lives."""
        return message.timestamp_ms > self._since_ms and bool(message.bids or message.asks)

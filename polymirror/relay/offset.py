"""Two clocks: how far a consumer's is ahead of its relay's, as an interval that holds whatever the way takes. Pure.

Nobody trusts a time of day. A ping that left at ``asked`` by our clock and was answered at ``sent`` by theirs bounds
the offset from below: theirs showed ``sent`` no earlier than that. A frame that was sent at ``sent`` and has arrived
bounds it from above. The lower bound dates everything, so that whatever the way adds makes ages longer, never shorter.
Both clocks tick at nearly the same rate: each bound loses :data:`DRIFT` with time.
"""

from __future__ import annotations

from typing import Final

DRIFT: Final = 0.001
"""Seconds by which two clocks may move apart within a second: NTP slews either by half of that at most."""

SLACK: Final = 0.001
"""Seconds by which the bounds may contradict each other: what reading a clock takes."""


class Offset:
    """What is known of ``our clock - their clock``. Times in seconds."""

    def __init__(self) -> None:
        # As they would have been at time 0 of our clock, so that the best stays the best.
        self._low: float | None = None
        self._high: float | None = None

    def low(self, now: float) -> float | None:
        """Return the least that the offset can be at a time of ours; None: no ping was answered."""
        return None if self._low is None else self._low - DRIFT * now

    def width(self, now: float) -> float | None:
        """Return how far the bounds are apart, in seconds: how much too old something may be dated."""
        if self._low is None or self._high is None:
            return None
        return max(0.0, self._high - self._low + 2 * DRIFT * now)

    def answered(self, asked: float, sent: float, now: float) -> bool:
        """A ping of ``asked`` was answered at ``sent``; return as :meth:`heard` does."""
        agrees = self.heard(sent, now)
        low = asked - sent + DRIFT * asked
        if self._low is None or low > self._low:
            self._low = low
        return self._agrees(sent, now) and agrees

    def heard(self, sent: float, now: float) -> bool:
        """Something arrives that was sent at ``sent``; return False, and forget the rest, if that cannot be.

        Then one of the clocks was set or has stood still, and nothing that was known of them holds any more.
        """
        high = now - sent - DRIFT * now
        if self._high is None or high < self._high:
            self._high = high
        return self._agrees(sent, now)

    def _agrees(self, sent: float, now: float) -> bool:
        if self._low is None or self._high is None or self._high - self._low + 2 * DRIFT * now > -SLACK:
            return True
        self._low, self._high = None, now - sent - DRIFT * now
        return False

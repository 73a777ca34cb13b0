"""The venue's clock as seen from here, and how long frames take to be applied.

The offset between our monotonic clock and the venue's is never known exactly, only bounded: a frame cannot
arrive before it was sent (a lower bound), and ``/time`` answers whole seconds within the time of its call
(both bounds). The best estimate that never makes a lag negative is the lower bound; where ``/time`` raises
it, lags are absolute, else they are relative to the quickest frame seen. Bounds are slackened slowly, so a
clock that drifts or steps is followed.
"""

from __future__ import annotations

from typing import Final

DRIFT_MS_PER_S: Final = 0.05
"""How fast the lower bound is given up: 50 ppm, more than clocks drift."""


JUMP_MS: Final = 5_000.0
"""A step of the offset by more than this is believed when two frames in a row show it."""

FRESH_SECONDS: Final = 0.1
"""Bounds younger than this are used as they are: they have slackened by 5 us at most."""


class VenueClock:
    """Estimates ``exchange_ms - 1000 * now``. All bounds in ms."""

    def __init__(self) -> None:
        # No frame or answer supports an offset below this.
        self.low: float | None = None
        # /time answers do not allow an offset above this; None: never asked.
        self.high: float | None = None
        self._updated = 0.0
        # What the last frame claimed, if it was too far from the bound to be believed alone.
        self._jump: float | None = None
        # The last frame's time lies so far ahead that it is probably wrong.
        self.doubted = False
        # Until then (seconds) the bounds may be used as they are.
        self.fresh_until = float("-inf")

    def frame(self, sent_ms: int, now: float) -> float:
        """Take a frame's timestamp; return its lag in seconds, never negative."""
        seen = sent_ms - now * 1000.0
        drift = max(0.0, now - self._updated) * DRIFT_MS_PER_S
        self._updated = max(self._updated, now)
        self.fresh_until = self._updated + FRESH_SECONDS
        believed = seen
        ceiling = self.low if self.high is None else self.high
        self.doubted = ceiling is not None and seen > ceiling + JUMP_MS
        if self.high is not None:
            # One timestamp from the future must not make every later frame look late.
            self.high += drift
            believed = min(seen, self.high)
        elif self.doubted:
            # Nothing bounds it from above. Clocks do step, but one frame that says so may be wrong about its own time.
            before, self._jump = self._jump, seen
            if before is None or abs(seen - before) > JUMP_MS:
                # The next frame is to come here too, whatever it says.
                self.fresh_until = float("-inf")
                return 0.0
            self.doubted = False
        self._jump = None
        self.low = low = believed if self.low is None else max(self.low - drift, believed)
        return max(0.0, low - seen) / 1000.0

    def server_time(self, seconds: int, sent: float, received: float) -> None:
        """Take a ``/time`` answer: whole seconds, asked at ``sent``, answered at ``received``."""
        low = seconds * 1000.0 - received * 1000.0
        high = seconds * 1000.0 + 1000.0 - sent * 1000.0
        self.low = low if self.low is None or self.low > high else max(self.low, low)
        self.high = high if self.high is None or self.high < low else min(self.high, high)
        self._updated = max(self._updated, received)

    @property
    def uncertainty(self) -> float | None:
        """Seconds between the bounds, or None while ``/time`` was not asked."""
        return None if self.low is None or self.high is None else max(0.0, self.high - self.low) / 1000.0

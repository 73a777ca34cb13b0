"""What a mirror measures of itself while it runs: how old frames are, how long they take, how late its loop is. Pure.

Only counts by size are kept, so it takes the same room for ever. Who measures is the shell; who shows it is
:mod:`polymirror.status.metrics`. All values are seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

SAMPLE: Final = 64
"""Of so many frames of a connection one is measured: what is measured takes longer, and a share says the same."""

TIMES: Final = (
    0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5,
)  # fmt: skip
"""Bounds for how long a frame takes."""

LAGS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Bounds for how late something is, from a stall that nobody sees to one that makes books SUSPECT."""

CALLS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Bounds for what takes a call, or several."""


class Histogram:
    """How many values there were, by size."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.total: float = 0.0
        """The sum of all values."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound, and how many values were not above it, as Prometheus has it; ``+Inf`` last."""
        found: list[tuple[str, float]] = []
        below = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            below += count
            found.append((bound, below))
        return found


class Pulse:
    """The measurements of one mirror."""

    def __init__(self) -> None:
        self.frame_age: Histogram = Histogram(LAGS)
        """From the venue's timestamp of a change to its application."""
        self.apply_time: Histogram = Histogram(TIMES)
        """From a frame to all being told of what it changed, callbacks included."""
        self.loop_lag: Histogram = Histogram(LAGS)
        """From when the engine's next deadline was due to when the event loop came to it."""
        self.probes: dict[str, Histogram] = {"answered": Histogram(CALLS), "failed": Histogram(CALLS)}
        """From asking REST for books to the answer, waiting for the rate budget included; by outcome."""
        self.reconnects: Counter[str] = Counter()
        """Connections that ended, or did not open, by the cause."""

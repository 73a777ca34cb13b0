"""The clocks of a mirror, and the gaps in its time.

A monotonic clock may stand still while the machine sleeps, and ages must not. A second clock tells: the boot clock,
which goes on in sleep, or the time of day where there is none. A read for execution is made by that clock, so a gap
counts before anybody has noticed it; the engine is told of it as an input of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.venue.network import Network

BOOT_GAP: Final = 0.05
"""Seconds by which the monotonic clock must fall behind the boot clock to count as a gap."""

WALL_GAP: Final = 1.0
"""The same for the time of day, which people and servers set."""


class Clocks:
    """Monotonic time in seconds, and how much of it is missing."""

    def __init__(self, network: Network) -> None:
        self.monotonic: Callable[[], float] = network.monotonic
        self._boot = network.boot
        self._other = network.wall if network.boot is None else network.boot
        self._limit = WALL_GAP if network.boot is None else BOOT_GAP
        # How far the other clock is ahead, without the gaps that are not noticed yet.
        self._apart = self._other() - self.monotonic()

    def read(self) -> float:
        """Return the time for a read: the monotonic clock, and what it has missed since the last look."""
        if self._boot is not None:
            return self._boot() - self._apart
        now = self.monotonic()
        missed = self._other() - now - self._apart
        return now + missed if missed > WALL_GAP else now

    def gap(self) -> float:
        """Return the seconds that the monotonic clock has missed since the last look; 0.0 if it has not."""
        apart = self._other() - self.monotonic()
        gap = apart - self._apart
        if gap > self._limit:
            self._apart = apart
            return gap
        if gap < 0 or self._boot is None:
            # The time of day drifts, and is set back.
            self._apart = apart
        return 0.0

"""A host's own seconds, which go on while it sleeps: what a relay dates by, and what a consumer reads by.

Nobody sets such a clock while its host is awake. But what it shows after sleep is what the host believes of how long
it slept: there it may leap. A second clock of the host tells, which stands still in sleep: where both move apart, the
first is another clock from then on, and whoever has dated anything by it begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from polymirror.shell.clocks import Clocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.venue.network import Network

APART: Final = 0.001
"""Seconds by which two clocks of one host move apart before one of them was set."""


LOOKS: Final = 3
"""Looks at both clocks, at most, until one is without a pause."""


class Clock(Protocol):
    """Seconds, and which clock it is that shows them."""

    @property
    def epoch(self) -> int:
        """Another number: another clock. What was read before tells nothing of what is read from now on."""
        ...

    def now(self) -> float:
        """Return the seconds; where they begin is of no interest. ``epoch`` is that of this look."""
        ...


@frozen
class SteadyClock:
    """A clock that is never set, in a simulation."""

    read: Callable[[], float]
    epoch: int = 0

    def now(self) -> float:
        """Return the seconds."""
        return self.read()


class HostClock:
    """The boot clock where there is one; else the monotonic clock, and what it has missed by the time of day."""

    def __init__(self, network: Network) -> None:
        self.epoch: int = 0
        self._boot = network.boot
        self._monotonic = network.monotonic
        self._clocks = Clocks(network)
        self._missed = 0.0
        # How far the boot clock is ahead of the monotonic one, at least and at most; and between which limits a look at
        # both says that it is so still. None does before the first.
        self._apart: tuple[float, float] | None = None
        self._low, self._high = float("inf"), float("-inf")

    def now(self) -> float:
        """Return the seconds; where they begin is of no interest."""
        if self._boot is None:
            gap = self._clocks.gap()
            if gap:
                # The host slept, or somebody has set the time of day: nobody knows.
                self._missed += gap
                self.epoch += 1
            return self._monotonic() + self._missed
        for _ in range(LOOKS):
            before = self._monotonic()
            now = self._boot()
            if self._low <= now - before <= self._high:
                return now
            # Between two looks at the one: a pause of this program is none of the clocks'. It shows little, and they
            # are looked at again at once.
            self._compare(now - self._monotonic(), now - before)
        return self._boot()

    def _compare(self, least: float, most: float) -> None:
        """Begin anew if the clocks have moved apart, and else know better how far they are: a pause shows little."""
        if self._apart is not None:
            was_least, was_most = self._apart
            if least > was_most + APART or most < was_least - APART:
                self.epoch += 1
            else:
                least, most = max(least, was_least), min(most, was_most)
                least, most = min(least, most), max(least, most)
        self._apart = (least, most)
        if most - least <= APART:
            self._low, self._high = least - APART, most + APART
        else:
            self._low, self._high = float("inf"), float("-inf")

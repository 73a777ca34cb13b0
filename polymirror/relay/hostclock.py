"""A host's own seconds, which go on while it sleeps: what a relay dates by, and what a consumer reads by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.shell.clocks import Clocks

if TYPE_CHECKING:
    from polymirror.venue.network import Network


class HostClock:
    """The boot clock where there is one; else the monotonic clock, and what it has missed by the time of day."""

    def __init__(self, network: Network) -> None:
        self._boot = network.boot
        self._clocks = Clocks(network)
        self._missed = 0.0

    def now(self) -> float:
        """Return the seconds; where they begin is of no interest."""
        if self._boot is not None:
            return self._boot()
        self._missed += self._clocks.gap()
        return self._clocks.monotonic() + self._missed

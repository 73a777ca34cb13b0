"""Faults of the client's own process, for worlds and shells that run one.

They change nothing on the wire; whoever runs the client asks and applies them, under a virtual clock
only. Listed in :mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

from typing import ClassVar

from polymirror.simulator.faults.base import ClientFault


class StalledLoop(ClientFault):
    """The client's event loop is blocked by user code, so frames wait and clocks go on.

    Not a fault of the venue: every program does it that computes or waits in a callback.
    """

    id: ClassVar[str] = "stalled_loop"
    default_share: ClassVar[float] = 0.0005
    default_length_ms: ClassVar[int] = 1_500
    storm_lengths_ms: ClassVar[tuple[int, ...]] = (200, 1_000, 3_000, 8_000)

    @property
    def max_delay_ms(self) -> int:
        """The longest stall."""
        return self.plan.length_ms

    def stall_ms(self, now_ms: int) -> int:
        """Between a quarter of the planned length and all of it, when it strikes; else 0."""
        if not self.strikes(now_ms):
            return 0
        return self.rng.randint(max(1, self.plan.length_ms // 4), max(1, self.plan.length_ms))


class Suspended(ClientFault):
    """The process and its monotonic clock stand still for some seconds, while the venue goes on.

    Not a fault of the venue: a computer that sleeps, a container that is paused, a virtual machine that is moved.
    Connections live through it, and what was sent meanwhile is read afterwards.
    """

    id: ClassVar[str] = "suspend"
    default_share: ClassVar[float] = 0.0002
    default_length_ms: ClassVar[int] = 5_000
    storm_lengths_ms: ClassVar[tuple[int, ...]] = (500, 3_000, 8_000, 20_000)

    @property
    def max_delay_ms(self) -> int:
        """The longest sleep."""
        return self.plan.length_ms

    def sleep_ms(self, now_ms: int) -> int:
        """Between a quarter of the planned length and all of it, when it strikes; else 0."""
        if not self.strikes(now_ms):
            return 0
        return self.rng.randint(max(1, self.plan.length_ms // 4), max(1, self.plan.length_ms))

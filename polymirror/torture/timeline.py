"""Time in a simulated world: what is to happen, in order, and the two clocks that it happens by.

True time is an int of microseconds since the start; the venue lives by it. The client's own clock is behind by
all the time for which its process was suspended, and whatever is to happen in the client waits while the process
is suspended or its event loop is busy.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MICRO = 1_000_000


class Timeline:
    """A heap of actions. ``now`` is true time in microseconds; whoever drives it sets it."""

    def __init__(self) -> None:
        self.now: int = 0
        # Until when nothing happens in the client.
        self.blocked_until: int = 0
        # For how long the client's clock stood still in all, and when it went on.
        self.slept: int = 0
        self._woke_at = 0
        # When, in which order, what, and whether it has to wait while the client is blocked.
        self._heap: list[tuple[int, int, Callable[[], None], bool]] = []
        self._serial = 0

    @property
    def elapsed(self) -> float:
        """True seconds since the start."""
        return self.now / MICRO

    @property
    def client_now(self) -> int:
        """The client's own monotonic clock, in microseconds."""
        return max(self.now, self._woke_at) - self.slept

    @property
    def seconds(self) -> float:
        """The same in seconds: the engine's clock."""
        return self.client_now / MICRO

    def true_at(self, seconds: float) -> float:
        """When the client's clock will show so many seconds, in true microseconds, unless it stands still again."""
        return seconds * MICRO + self.slept

    def next_at(self) -> int | None:
        """When the next action is due."""
        return self._heap[0][0] if self._heap else None

    def happen(self) -> None:
        """Let the next action happen."""
        _, _, action, in_client = heappop(self._heap)
        if in_client and self.now < self.blocked_until:
            self.at(self.blocked_until, action)
        else:
            action()

    def at(self, when: int, action: Callable[[], None]) -> None:
        """Let something happen at this moment, after what was put down for it before."""
        self._serial += 1
        heappush(self._heap, (when, self._serial, action, False))

    def at_client(self, when: int, action: Callable[[], None]) -> None:
        """Let something happen in the client: not while it is blocked, and then in order."""
        self._serial += 1
        heappush(self._heap, (when, self._serial, action, True))

    def stall(self, length: int) -> None:
        """The client's event loop is busy from now on; its clock goes on."""
        self.blocked_until = max(self.blocked_until, self.now + length)

    def suspend(self, length: int, resumed: Callable[[], None]) -> None:
        """The client and its clock stand still from now on. ``resumed`` is what it does first afterwards."""
        self.blocked_until = self._woke_at = max(self.blocked_until, self.now) + length
        self.slept += length
        self._serial += 1
        heappush(self._heap, (self.blocked_until, -self._serial, resumed, False))

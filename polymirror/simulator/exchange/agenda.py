"""What happens when: the events of the exchange, in order of time.

A heap of times and actions. Events of the same millisecond happen in the order in which they were
put down. The exchange owns one and moves it forward.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from polymirror.simulator.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

Output = list[Frame]
"""Where an event puts what it sends."""


class Agenda:
    """Events by exchange time."""

    def __init__(self) -> None:
        # The number keeps the order of events in the same millisecond.
        self._events: list[tuple[int, int, Callable[[int, Output], None]]] = []
        self._added = 0
        # The time of the last event that happened, or that happens just now.
        self.at_ms: int = 0

    def add(self, at_ms: int, event: Callable[[int, Output], None]) -> None:
        """Let ``event`` happen at this exchange time; it is told the time and where to put frames."""
        self._added += 1
        heappush(self._events, (at_ms, self._added, event))

    def next_ms(self) -> int | None:
        """When the next event happens; ``None``: never."""
        return self._events[0][0] if self._events else None

    def run(self, until_ms: int, out: Output) -> None:
        """Let everything up to and including this time happen."""
        events = self._events
        while events and events[0][0] <= until_ms:
            at_ms, _, event = heappop(events)
            self.at_ms = at_ms
            event(at_ms, out)

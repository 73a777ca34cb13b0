"""One timer for the engine's next deadline, on the running event loop.

After a stall of the program its timers come first, though frames arrived meanwhile: an open batch would be checked
without its rest, and a right book doubted. So an alarm that is late lets the sockets be read, and one that finds
frames waiting lets them be applied, both within bounds. Nothing wrong can be read meanwhile: every read checks the
ages itself. Used by :mod:`polymirror.mirror` only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LATE: Final = 0.002
"""An alarm that comes later than this (seconds) shows that the event loop was busy."""

READ_TURNS: Final = 8
"""Turns of the event loop in which sockets are read after it was busy."""

MAX_TURNS: Final = 64
"""Turns for which an alarm waits for frames to be applied."""

MAX_SECONDS: Final = 0.25
"""Seconds for which it lets turns pass: with many busy sockets a turn is long, and requests wait for the alarm."""

_NEVER: Final = float("inf")


class Alarm:
    """Calls ``ring()`` when the earliest deadline that was set is due. Times in seconds of ``clock``.

    ``waiting()`` says whether frames wait, and ``late(seconds)`` hears how late the event loop was each time.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        waiting: Callable[[], bool],
        ring: Callable[[], None],
        late: Callable[[float], object] = lambda _seconds: None,
    ) -> None:
        self._clock = clock
        self._waiting = waiting
        self._ring = ring
        self._late = late
        self._handle: asyncio.TimerHandle | None = None
        # When it is to ring; infinity: not set.
        self._due = _NEVER
        # Turns of the event loop that it has let pass since it was due.
        self._turns = 0
        # When the first of them began.
        self._began = 0.0
        self._stopped = False

    def set(self, due: float) -> None:
        """Ring at ``due`` at the latest; infinity changes nothing."""
        if due < self._due and not self._stopped:
            if self._handle is not None:
                self._handle.cancel()
            self._due = due
            self._call_later(max(0.0, due - self._clock()))

    def stop(self) -> None:
        """Never ring again."""
        self._stopped = True
        if self._handle is not None:
            self._handle.cancel()

    def _call_later(self, seconds: float) -> None:
        self._handle = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        now = self._clock()
        if not self._turns:
            self._began = now
            self._late(max(0.0, now - self._due))
        turns = MAX_TURNS if self._waiting() else READ_TURNS if now - self._due > LATE else 0
        if self._turns < turns and now - self._began < MAX_SECONDS:
            self._turns += 1
            self._call_later(0.0)
            return
        self._handle, self._due, self._turns = None, _NEVER, 0
        self._ring()

"""One lane per wallet: orders leave one after the other, a minimum interval apart. Called by the live executor.

The lane is short on purpose. An order that has to wait long was decided on a book that is gone, so it is turned
away instead: nobody waits behind more than ``max_waiting`` others or longer than ``max_wait``.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bots.common.errors import NotSent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MAX_PAUSE = 60.0
"""Seconds; the longest pause a venue may impose with one answer."""


class Lane:
    """Lets one caller at a time through. Times in seconds on the given monotonic clock."""

    def __init__(self, clock: Callable[[], float], *, min_interval: float, max_wait: float, max_waiting: int) -> None:
        self._clock = clock
        self._min_interval = min_interval
        self._max_wait = max_wait
        self._max_waiting = max_waiting
        self._lock = asyncio.Lock()
        # Callers in the lane, the one who is through included.
        self._inside = 0
        # When the next order may leave.
        self._open_at = float("-inf")

    def pause(self, seconds: float) -> None:
        """Keep the lane closed for so long, as the venue asked."""
        self._open_at = max(self._open_at, self._clock() + min(max(seconds, 0.0), MAX_PAUSE))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn. Raises NotSent when that would take too long."""
        if self._inside > self._max_waiting:
            raise NotSent("order", f"{self._inside} orders are waiting in this wallet's lane already")
        self._inside += 1
        try:
            try:
                async with asyncio.timeout(self._max_wait):
                    await self._lock.acquire()
            except TimeoutError:
                raise NotSent("order", f"the wallet's lane was busy for {self._max_wait:g} s") from None
            try:
                wait = self._open_at - self._clock()
                if wait > self._max_wait:
                    raise NotSent("order", f"the wallet's lane is closed for another {wait:.1f} s")
                if wait > 0:
                    await asyncio.sleep(wait)
                yield
            finally:
                self._open_at = max(self._open_at, self._clock() + self._min_interval)
                self._lock.release()
        finally:
            self._inside -= 1

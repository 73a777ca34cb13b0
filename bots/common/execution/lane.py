"""The rate at which a wallet's orders leave, and pauses that the venue imposes. Called by the live executor.

Orders do not wait for each other's answers: each has a salt of its own and needs no order among them. An order that
would wait long was decided on a book that is gone, so it is turned away instead.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from bots.common.errors import NotSent

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PAUSE = 60.0
"""Seconds; the longest pause a venue may impose with one answer."""


class Lane:
    """Lets ``per_second`` orders through in a second. Times in seconds on the given monotonic clock."""

    def __init__(self, clock: Callable[[], float], *, per_second: int, max_wait: float) -> None:
        self._clock = clock
        self._max_wait = max_wait
        self._limiter = AsyncLimiter(per_second, 1)
        # When the next order may leave.
        self._open_at = float("-inf")

    def pause(self, seconds: float) -> None:
        """Keep the lane closed for so long, as the venue asked."""
        self._open_at = max(self._open_at, self._clock() + min(max(seconds, 0.0), MAX_PAUSE))

    async def turn(self) -> None:
        """Wait for one's turn, and leave at once when it has come. Raises NotSent when that would take too long."""
        try:
            async with asyncio.timeout(self._max_wait):
                while (wait := self._open_at - self._clock()) > 0:
                    if wait > self._max_wait:
                        raise NotSent("order", f"the wallet's lane is closed for another {wait:.1f} s")
                    await asyncio.sleep(wait)
                await self._limiter.acquire()
        except TimeoutError:
            raise NotSent("order", f"the wallet's lane was busy for {self._max_wait:g} s") from None

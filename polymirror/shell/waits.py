"""Waiting until something holds that the mirror's next input may bring about. Used by :mod:`polymirror.mirror` only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Waits:
    """All who wait. They are woken after every input, and look for themselves."""

    def __init__(self) -> None:
        # In order, so that a run in virtual time repeats itself.
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._end: Exception | None = None

    async def until(self, holds: Callable[[], bool], timeout: float) -> None:
        """Wait until ``holds()``, and raise what it raises; TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            while not holds():
                if self._end is not None:
                    # A waiter that was woken just before the end would wait again, for nothing.
                    raise self._end
                waiter = asyncio.get_running_loop().create_future()
                self._waiters[waiter] = None
                try:
                    await waiter
                finally:
                    self._waiters.pop(waiter, None)

    def wake(self) -> None:
        """Let all who wait look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def end(self, error: Exception) -> None:
        """Raise this for all who wait, from now on."""
        self._end = error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)

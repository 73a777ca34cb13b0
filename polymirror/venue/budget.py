"""One rate budget for all callers of a service: a sliding window, first come first served.

:class:`SlidingWindow` is the pure arithmetic; :class:`RateBudget` lets callers wait for it in order. The
venue counts calls per ten seconds by address, so two clients with a budget each would be one too many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

from polymirror.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WINDOW_SECONDS: Final = 10.0
"""The venue's windows are ten seconds long, and slide."""

MAX_WAITING: Final = 1_000
"""Callers that may wait for the budget at once. A longer queue would only hide that it is too small."""


@define
class SlidingWindow:
    """At most ``limit`` calls within any ``seconds``; times are seconds of one monotonic clock."""

    limit: int
    seconds: float
    # When each of the last calls was made, oldest first; never more than ``limit``.
    _taken: deque[float] = field(factory=deque, init=False)
    # No call before this time, whatever the window says.
    _held_until: float = field(default=float("-inf"), init=False)

    def delay(self, now: float) -> float:
        """Return how many seconds from ``now`` the next call must wait; 0 when it may go."""
        free_at = self._held_until
        if len(self._taken) >= self.limit:
            free_at = max(free_at, self._taken[0] + self.seconds)
        return max(0.0, free_at - now)

    def left(self, now: float) -> int:
        """Return how many calls may go at ``now``, one right after the other."""
        if now < self._held_until:
            return 0
        return self.limit - sum(taken + self.seconds > now for taken in self._taken)

    def take(self, now: float) -> None:
        """Count a call made at ``now``."""
        if len(self._taken) >= self.limit:
            self._taken.popleft()
        self._taken.append(now)

    def hold(self, until: float) -> None:
        """Let no call go before ``until``: the service said so."""
        self._held_until = max(self._held_until, until)


class RateBudget:
    """Callers wait here, in the order they came, until the window has room for them."""

    def __init__(
        self,
        calls: int,
        *,
        seconds: float = WINDOW_SECONDS,
        max_waiting: int = MAX_WAITING,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._window = SlidingWindow(calls, seconds)
        self._max_waiting = max_waiting
        self._clock = clock
        self._sleep = sleep
        # asyncio's lock wakes its waiters in the order they came; only its holder looks at the window.
        self._turn = asyncio.Lock()
        # Callers inside spend(), the one whose turn it is included.
        self._waiting = 0

    @property
    def left(self) -> int:
        """Calls that could go at once; those that wait already come first."""
        return max(0, self._window.left(self._clock()) - self._waiting)

    async def spend(self, call: str) -> None:
        """Wait for room and count one call. A caller that is cancelled while it waits costs nothing.

        Raises :class:`~polymirror.errors.RateLimited` at once when too many wait already.
        """
        if self._waiting >= self._max_waiting:
            raise RateLimited(f"{call} (our own budget, {self._waiting} calls wait)", None)
        self._waiting += 1
        try:
            async with self._turn:
                while (delay := self._window.delay(self._clock())) > 0:
                    await self._sleep(delay)
                self._window.take(self._clock())
        finally:
            self._waiting -= 1

    def hold(self, seconds: float) -> None:
        """Let nobody call for ``seconds``: the service asked one of the callers to wait, and it means all."""
        self._window.hold(self._clock() + seconds)

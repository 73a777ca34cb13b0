"""Iterating over what happens, one by one and in order: changes of state, trades, warnings, markets that come and go.

Unlike changed books (:mod:`polymirror.shell.subscribers`), events cannot stand for each other, so each iterator has a
queue of its own. It is bounded: what does not fit is left out, oldest first, and an event says how many they were. An
iterator that nobody holds any more is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final, Self
from weakref import WeakKeyDictionary

from attrs import frozen

from polymirror.core.events import Resolved, TickChanged, Traded, Transition, Warned
from polymirror.errors import ConfigError, MirrorClosed
from polymirror.venue.market import Market

log: logging.Logger = logging.getLogger("polymirror")

MAX_WAITING: Final = 10_000
"""Events that wait for one iterator; of more, the oldest are left out."""


@frozen
class MarketAdded:
    """A market is mirrored from now on. ``at`` as for all events: seconds on the mirror's monotonic clock."""

    at: float
    market: Market


@frozen
class MarketRemoved:
    """A market is mirrored no more."""

    at: float
    market: Market


@frozen
class Missed:
    """Events were left out here, because this iterator was too slow. Told whatever kinds it asked for."""

    at: float
    """When the newest of them happened."""
    count: int


Happening = Transition | Traded | TickChanged | Resolved | MarketAdded | MarketRemoved | Warned
"""Whatever happens."""

KINDS: Final = (Transition, Traded, TickChanged, Resolved, MarketAdded, MarketRemoved, Warned)
"""What can be asked for."""

ANNOUNCED: Final = frozenset({Traded, TickChanged, Resolved})
"""What the engine tells only when somebody wants to know."""


class Events:
    """An endless async iterator over what happens, made by :meth:`polymirror.mirror.Mirror.events`.

    It ends when the mirror stops or :meth:`close` is called, after what happened up to then. For one task; each makes
    its own.
    """

    def __init__(self, owner: Happenings, kinds: frozenset[type]) -> None:
        self._owner = owner
        self.kinds = kinds
        self._waiting: deque[Happening] = deque()
        # How many were left out since the last one that was taken, and when the newest of them happened.
        self._missed = 0
        self._missed_at = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, event: Happening) -> None:
        """Add an event (the mirror does)."""
        if len(self._waiting) >= MAX_WAITING:
            if not self._missed:
                log.warning("an iterator over events is too slow: %d wait, and the oldest are left out", MAX_WAITING)
            self._missed += 1
            self._missed_at = self._waiting.popleft().at
        self._waiting.append(event)
        self._wake()

    def close(self) -> None:
        """End the iteration after what happened up to now."""
        self._closed = True
        self._owner.remove(self)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Happening | Missed:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("another task waits on this iterator: make one for each")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    def _take(self) -> Happening | Missed:
        if self._missed:
            missed, self._missed = Missed(self._missed_at, self._missed), 0
            return missed
        return self._waiting.popleft()

    def left(self) -> Happening | Missed | None:
        """Return what waits next without waiting; None if nothing does. Once the mirror has ended, for any thread."""
        try:
            return self._take()
        except IndexError:
            return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Happenings:
    """All iterators over events, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # In the order in which they were made.
        self._iterators: WeakKeyDictionary[Events, None] = WeakKeyDictionary()
        self._closed = False

    def iterate(self, kinds: tuple[type, ...]) -> Events:
        """Add an iterator over these kinds; all if there are none. Raises ConfigError and MirrorClosed."""
        if self._closed:
            raise MirrorClosed("the mirror was stopped: nothing happens any more")
        for kind in kinds:
            if kind not in KINDS:
                raise ConfigError("kinds", kind, "one of " + ", ".join(each.__name__ for each in KINDS))
        if len(self._iterators) >= self._limit:
            raise ConfigError("events", len(self._iterators) + 1, f"at most max_subscribers={self._limit}")
        events = Events(self, frozenset(kinds or KINDS))
        self._iterators[events] = None
        return events

    def wants(self, kinds: frozenset[type]) -> bool:
        """Whether anybody wants any of these kinds."""
        return any(events.kinds & kinds for events in self._iterators)

    def remove(self, events: Events) -> None:
        """Forget an iterator."""
        self._iterators.pop(events, None)

    def tell(self, event: Happening) -> None:
        """Tell all who want to know."""
        for events in self._iterators:
            if type(event) in events.kinds:
                events.put(event)

    def close(self) -> None:
        """End all iterations, and take no more."""
        self._closed = True
        for events in tuple(self._iterators):
            events.close()

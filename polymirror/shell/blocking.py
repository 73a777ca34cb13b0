"""Iterators that block, for programs without asyncio: each takes its items from one in the mirror's thread.

What waits there is bounded by that one: changes stand for each other (:mod:`polymirror.shell.subscribers`), and of
events the oldest are left out, counted (:mod:`polymirror.shell.happenings`). Nothing waits here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Generic, NoReturn, Protocol, Self, TypeVar

from polymirror.errors import MirrorClosed
from polymirror.shell.happenings import Events, Happening, Missed
from polymirror.shell.loopthread import LoopThread
from polymirror.shell.subscribers import Update

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Source(Protocol[Item_co]):
    """An async iterator that can be closed, in the mirror's thread."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Item_co: ...

    def close(self) -> None:
        """End it after what it has up to now."""


class Blocking(Generic[Item]):
    """A blocking iterator. Threads that share one take turns, each item going to one of them."""

    WHAT: ClassVar[str]
    """Its items, as a person calls them."""
    NONE: ClassVar[str]
    """What to say if there is none."""

    def __init__(self, thread: LoopThread, source: Source[Item], timeout: float | None, limit: float | None) -> None:
        self._thread = thread
        self._source = source
        self._timeout = timeout
        # For how long an answer is waited for, a time-out being one.
        self._limit = limit
        self._turn = asyncio.Lock()
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        try:
            item = self._thread.run(self._take, self.WHAT, self._limit)
        except MirrorClosed:
            if not self._thread.was_stopped:
                raise
            if (left := self._left()) is not None:
                return left
            raise StopIteration from None
        if item is None:
            if not self._closed:
                self._thread.raise_failure()
            raise StopIteration
        return item

    def _left(self) -> Item | None:
        """What happened up to the end, one by one, after it; None if there is no more."""
        return None

    async def _take(self) -> Item | None:
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                return await anext(self._source, None)
        except TimeoutError:
            raise TimeoutError(f"{self.NONE} within {self._timeout:g} s") from None

    def close(self) -> None:
        """End the iteration after what there is up to now."""
        self._closed = True
        if self._thread.was_started and not self._thread.is_over:
            # Nobody waits for it: a thread that is busy closes it later.
            self._thread.soon(self._source.close)
        else:
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    if not TYPE_CHECKING:

        def __aiter__(self) -> NoReturn:
            raise TypeError(f"the {self.WHAT} of a BackgroundMirror block: 'for', or a Mirror and 'async for'")


class Updates(Blocking[Update]):
    """A blocking iterator over changes, made by :meth:`polymirror.background.BackgroundMirror.updates`.

    Threads that share one take turns, each update going to one of them. For every thread to see all, make one for each.
    """

    WHAT = "updates"
    NONE = "no change"


class BlockingEvents(Blocking[Happening | Missed]):
    """A blocking iterator over what happens, made by :meth:`polymirror.background.BackgroundMirror.events`.

    Threads that share one take turns, each event going to one of them. For every thread to see all, make one for each.
    """

    WHAT = "events"
    NONE = "nothing happened"
    _source: Events

    def _left(self) -> Happening | Missed | None:
        return self._source.left() if self._thread.wait_end() else None

"""Threads that call back: one for each callback, so that a slow one holds up neither the mirror nor another.

Used by :mod:`polymirror.background` only; a mirror on asyncio calls back itself (:mod:`polymirror.shell.subscribers`).
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from polymirror.errors import MirrorClosed
from polymirror.shell.callbacks import Guard
from polymirror.shell.warnlog import WarnLog
from polymirror.status.health import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log: logging.Logger = logging.getLogger("polymirror")

T = TypeVar("T")

NAME: Final = "polymirror callback"
"""Of the threads, as debuggers show them."""

MAX_WAITING: Final = 10_000
"""Items that wait for a slow callback; of more the log tells how many were left out."""

JOIN_SECONDS: Final = 5.0
"""Seconds that the end waits for callbacks to return."""


MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Of those whose size is known; the item that comes first may be as large as it is."""


class Waiting(Generic[T]):
    """What waits for one callback, in order: filled by one thread, iterated over by another, bounded.

    ``size`` is how many bytes an item has, if that varies; ``named`` says what an item is that is left out.
    """

    def __init__(
        self, warnings: WarnLog, size: Callable[[T], int] = lambda _: 0, named: Callable[[T], str] = str
    ) -> None:
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._warnings = warnings
        self._size = size
        self._named = named
        # Bytes that were put in by the one thread, and taken out by the other: no lock, since each writes its own.
        self._put = self._taken = 0
        self._ended = False

    def put(self, item: T) -> None:
        """Add an item, unless too many wait already: that is logged."""
        count, size, waiting = self._queue.qsize(), self._size(item), self._put - self._taken
        if count < MAX_WAITING and (not waiting or waiting + size <= MAX_WAITING_BYTES):
            self._put += size
            self._queue.put(item)
        else:
            detail = f"{count} wait already: it is not told of {self._named(item)}"
            self._warnings.warn("a callback is too slow", detail, time.monotonic())

    def end(self) -> None:
        """End the iteration after what waits now."""
        if not self._ended:
            self._ended = True
            self._queue.put(None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = self._queue.get()
        if item is None:
            raise StopIteration
        self._taken += self._size(item)
        return item


class Callers:
    """All threads that call back. They begin with :meth:`start`, and end when what they iterate over does."""

    def __init__(self) -> None:
        self.warnings: WarnLog = WarnLog()
        self._records = Records()
        self._guard = Guard(self.warnings, self._records, time.monotonic)
        self._threads: list[threading.Thread] = []
        self._started = False

    @property
    def failed(self) -> int:
        """How often a callback raised something."""
        return self._records.failed_callbacks

    def add(self, what: str, items: Iterable[T], callback: Callable[[T], object]) -> None:
        """Call back with each item, in a thread of its own. ``what`` it is opens the message if that fails."""
        thread = threading.Thread(target=self._call, args=(what, items, callback), name=NAME, daemon=True)
        self._threads = [other for other in self._threads if other.is_alive() or other.ident is None]
        self._threads.append(thread)
        if self._started:
            thread.start()

    def start(self) -> None:
        """Let those begin that were added before."""
        self._started = True
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have returned, but for the one in which this is called; warn of those that do not."""
        end = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
                if thread.is_alive():
                    log.warning("a callback did not return within %g s of the mirror's end", JOIN_SECONDS)

    def _call(self, what: str, items: Iterable[T], callback: Callable[[T], object]) -> None:
        def call(item: T) -> object:
            try:
                return callback(item)
            except MirrorClosed:
                # It asked a mirror that has ended meanwhile: no bug of its own.
                return None

        call.__qualname__ = getattr(callback, "__qualname__", None) or repr(callback)
        # The mirror's thread may end by itself: it has told so.
        with suppress(MirrorClosed):
            for item in items:
                self._guard.call(what, call, item)

"""One feed of messages for any number of pages: each looks at the mirror once, however many are open.

A client that takes its time is owed nothing but the newest: whatever it missed, it gets everything as it is. Looking
takes a few milliseconds of the mirror's own event loop, so the pause between two looks is never less than
:data:`SHARE` times what one takes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from polymirror.status.trail import CELL_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from polymirror.status.board import Board

T = TypeVar("T")

INTERVAL: Final = 0.5
"""Seconds between two messages at the least."""

SHARE: Final = 25.0
"""Looking takes at most one part in so many of the event loop's time."""

MAX_CLIENTS: Final = 16
"""Pages, and other readers of the feed, at once."""


class Fresh(Generic[T]):
    """A value that takes time to make, made anew only if it is old enough; for whoever asks as often as they like."""

    def __init__(self, make: Callable[[], T], least: float = INTERVAL / 2) -> None:
        self._make = make
        self._least = least
        self._value: T | None = None
        self._due = 0.0

    def get(self) -> T:
        """Return the value, at most ``least`` seconds old, or as old as its making costs (see :data:`SHARE`)."""
        began = perf_counter()
        if self._value is None or began >= self._due:
            self._value = self._make()
            ended = perf_counter()
            self._due = ended + max(self._least, SHARE * (ended - began))
        return self._value


class Feed:
    """Hands a board's messages to its clients."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._clients = 0
        # How many messages there were, and the newest.
        self._number = 0
        self._news = b""
        # Everything, as of the newest message; None: nobody asked for it yet.
        self._whole: bytes | None = None
        # Replaced with each message; those who wait hold the one before.
        self._next = asyncio.Event()
        self._wanted = asyncio.Event()
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another client."""
        return self._clients >= MAX_CLIENTS

    def close(self) -> None:
        """End the feed of all clients."""
        self._closed = True
        self._next.set()
        self._wanted.set()

    def look(self) -> None:
        """Look at the mirror, and tell all clients."""
        self._news = self._board.update()
        self._whole = None
        self._number += 1
        waiting, self._next = self._next, asyncio.Event()
        waiting.set()

    async def run(self) -> None:
        """Look again and again until closed: seldom while nobody wants to see it."""
        while not self._closed:
            began = perf_counter()
            self.look()
            await asyncio.sleep(max(INTERVAL, SHARE * (perf_counter() - began)))
            if not self._clients and not self._closed:
                self._wanted.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(CELL_SECONDS):
                        await self._wanted.wait()

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield (kind, JSON): ``whole`` at first, and whenever one was missed; else ``news``. Ends with the feed."""
        self._clients += 1
        self._wanted.set()
        seen = -1
        try:
            while not self._closed:
                if self._number != seen:
                    follows = seen == self._number - 1 and seen > 0
                    seen = self._number
                    yield ("news", self._news) if follows else ("whole", self._everything())
                else:
                    await self._next.wait()
        finally:
            self._clients -= 1

    def _everything(self) -> bytes:
        if self._whole is None:
            self._whole = self._board.whole()
        return self._whole

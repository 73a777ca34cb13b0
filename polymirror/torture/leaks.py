"""What a piece of work leaves behind: tasks, file descriptors, timers, memory, and delays of the event loop.

Everything is compared with what was there before, so it does not matter what else the process does, as long as it
does it all the time. Used by :mod:`polymirror.torture.sockets`.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import frozen

from polymirror.core.hashing import trade_prices
from polymirror.core.units import COMPLEMENTS, PRICES, SIZES
from polymirror.torture.pipe import Peaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

DESCRIPTORS: Final = (Path("/proc/self/fd"), Path("/dev/fd"))
"""Folders in which systems list the open descriptors of a process; without one they cannot be counted."""

SETTLE_SECONDS: Final = 1.0
"""What is closed may take so long to be gone: the other end must see it first."""

BEAT_SECONDS: Final = 0.01
"""How often the event loop's delay is looked at."""

NOT_OURS: Final = ("Timeout._on_timeout", "timeout_keep_alive_handler")
"""Timers that are no leak: the caller's own time-outs, and what the venue's web server forgets by itself."""

MAX_TOLD: Final = 5
"""Leaks of one kind that are named."""

KIB: Final = 1024

LAST_LOOKS: Final = 3


@frozen
class Belongings:
    """What exists at a moment."""

    tasks: frozenset[asyncio.Task[Any]]
    descriptors: frozenset[str]
    """As "number target"."""
    timers: frozenset[asyncio.TimerHandle]
    """Timers of the event loop that will still fire; empty where the loop does not tell."""

    @classmethod
    def now(cls) -> Self:
        """Look at this process and the running event loop."""
        handles = getattr(asyncio.get_running_loop(), "_scheduled", ())
        timers = frozenset(handle for handle in handles if not handle.cancelled())
        return cls(frozenset(asyncio.all_tasks()), _descriptors(), timers)

    def since(self, before: Belongings) -> Leaks:
        """What is here and was not before."""
        tasks = sorted(f"task {task.get_name()}: {task.get_coro()}" for task in self.tasks - before.tasks)
        timers = sorted(
            repr(timer) for timer in self.timers - before.timers if not any(each in repr(timer) for each in NOT_OURS)
        )
        return Leaks(tuple(tasks), tuple(sorted(self.descriptors - before.descriptors)), tuple(timers))


@frozen
class Leaks:
    """What was left, in words."""

    tasks: tuple[str, ...]
    descriptors: tuple[str, ...]
    timers: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything was left."""
        return bool(self.tasks or self.descriptors or self.timers)

    def __str__(self) -> str:
        parts = []
        for kind, found in (("tasks", self.tasks), ("descriptors", self.descriptors), ("timers", self.timers)):
            if found:
                parts.append(f"{len(found)} {kind}: {'; '.join(found[:MAX_TOLD])}")
        return ", ".join(parts)


async def leaks_since(before: Belongings) -> Leaks:
    """Return what is left once everything had :data:`SETTLE_SECONDS` to go."""
    # Cycles may hold what their collection closes; that is no leak.
    gc.collect()
    # Counted in beats: a machine that stands still for seconds gives nothing its time to go.
    for _ in range(round(SETTLE_SECONDS / BEAT_SECONDS)):
        if not (leaks := Belongings.now().since(before)):
            return leaks
        await asyncio.sleep(BEAT_SECONDS)
    return Belongings.now().since(before)


@contextmanager
def loop_complaints(violate: Callable[[str, str], None]) -> Iterator[None]:
    """What the event loop says about forgotten tasks, futures and transports is a violation."""
    loop = asyncio.get_running_loop()

    def complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        text = f"{context.get('message')}: {context.get('exception')!r}"
        violate("the event loop has nothing to complain about", text)

    usual = loop.get_exception_handler()
    loop.set_exception_handler(complain)
    try:
        yield
    finally:
        loop.set_exception_handler(usual)


def _descriptors() -> frozenset[str]:
    found = set()
    for folder in DESCRIPTORS:
        if not folder.is_dir():
            continue
        for entry in folder.iterdir():
            # The descriptor that lists the folder is gone by now.
            with suppress(OSError):
                found.add(f"{entry.name} {entry.readlink()}")
        break
    return frozenset(found)


class Memory:
    """How much the memory of Python objects grew from one look to the last, counted to the byte.

    The first looks are a warm-up: caches fill. Tracing slows the program down by about a third while it is on.
    """

    def __init__(self, warm_up: int) -> None:
        self._warm_up = warm_up
        self._looks: list[int] = []
        self._began = False

    def __enter__(self) -> Self:
        """Begin to count what is allocated."""
        self._began = not tracemalloc.is_tracing()
        if self._began:
            tracemalloc.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Count no more."""
        if self._began:
            tracemalloc.stop()

    def look(self) -> None:
        """Note what is held now, but for numbers parsed and written: those are kept on purpose, up to a bound."""
        for memo in (PRICES, COMPLEMENTS, SIZES):
            memo.clear()
        trade_prices.cache_clear()
        gc.collect()
        self._looks.append(tracemalloc.get_traced_memory()[0])

    @property
    def rounds(self) -> int:
        """How many looks the growth is about."""
        return max(0, len(self._looks) - self._warm_up)

    @property
    def growth_kb(self) -> float | None:
        """KiB more than at the end of the warm-up, the least of the last looks; None when there were too few.

        What is still held for a few seconds by somebody who forgets it by himself does not count that way.
        """
        newest = self._looks[self._warm_up :][-LAST_LOOKS:]
        return (min(newest) - self._looks[self._warm_up - 1]) / KIB if newest else None


class Heartbeat:
    """Measures how late the event loop does what is due: a stalled program is late with everything."""

    def __init__(self) -> None:
        self.delays: Peaks = Peaks()
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Begin to measure."""
        self._schedule()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Measure no more."""
        if self._handle is not None:
            self._handle.cancel()

    def busy(self, begin: float, end: float) -> float:
        """Return for how many seconds from ``begin`` to ``end`` what was due had to wait."""
        under_way = time.monotonic() - self._due if self._due < end else 0.0
        return self.delays.total(begin, end) + max(0.0, under_way)

    def _schedule(self) -> None:
        self._due = time.monotonic() + BEAT_SECONDS
        self._handle = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        now = time.monotonic()
        self.delays.note(now, max(0.0, now - self._due))
        self._schedule()

"""How a command ends before its time: Ctrl-C, SIGTERM and SIGHUP do the same, and only the exit code tells which.

The first signal unwinds the command from within: the event loop's main task is cancelled, or ``KeyboardInterrupt``
raised where there is none, so that every block is left, the terminal restored and the summary printed. A second one
ends whatever that is still busy with. Signals that were ignored at the start stay ignored, as ``nohup`` wants it.
:func:`polymirror.cli.main` sets this up; commands call :func:`run_loop` instead of ``asyncio.run``.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

A = TypeVar("A")
T = TypeVar("T")

SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP.

SIGNALLED: Final = 128
"""A command that a signal ended exits with this and the signal's number, as shells do."""


class Ending:
    """What signals asked for, and how to reach what runs."""

    def __init__(self) -> None:
        # The first signal that came.
        self.signal: int | None = None
        # Cancels the main task of the event loop that runs, if one does.
        self.cancel: Callable[[], object] | None = None

    @property
    def code(self) -> int | None:
        """The exit code of a command that a signal ended; None: none came."""
        return None if self.signal is None else SIGNALLED + self.signal

    def handle(self, number: int, _frame: object) -> None:
        """Take a signal, in the main thread."""
        first = self.signal is None
        if first:
            self.signal = number
        if not first or self.cancel is None:
            raise KeyboardInterrupt
        self.cancel()


_ending = Ending()


@contextmanager
def signals_end_it() -> Iterator[Ending]:
    """While this lasts, signals end the command; what handled them before does so again afterwards."""
    global _ending  # noqa: PLW0603 - signals are the process's own
    if threading.current_thread() is not threading.main_thread():
        yield Ending()
        return
    before, _ending = _ending, Ending()
    handled = {number: signal.getsignal(number) for number in SIGNALS}
    taken = {number: handler for number, handler in handled.items() if handler not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, _ending.handle)
    try:
        yield _ending
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
        _ending = before


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run this on an event loop of its own; raises KeyboardInterrupt if a signal ended it, once it has unwound."""
    ending = _ending

    async def reachable() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - this is one
        # Wakes the loop as well: a handler runs between two of its steps.
        ending.cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return await work
        finally:
            ending.cancel = None

    try:
        return asyncio.run(reachable())
    except asyncio.CancelledError:
        if ending.signal is None:
            raise
        raise KeyboardInterrupt from None


@contextmanager
def signals_wait() -> Iterator[Callable[[], None]]:
    """While this lasts, a signal waits until the function that is yielded is called, which raises KeyboardInterrupt.

    For work that must not stop in the middle of a step, and calls that function often enough. A second signal does not
    wait.
    """
    _ending.cancel = _look_later
    try:
        yield _look
    finally:
        _ending.cancel = None


def whole_step(step: Callable[[A], object], argument: A) -> None:
    """Call this, and let a signal wait until it is done. Raises KeyboardInterrupt afterwards if one came."""
    with signals_wait() as look:
        step(argument)
        look()


def _look() -> None:
    if _ending.signal is not None:
        raise KeyboardInterrupt


def _look_later() -> None:
    """What runs looks for itself whether a signal came."""

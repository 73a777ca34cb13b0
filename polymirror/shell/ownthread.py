"""The thread that a mirror belongs to: its own event loop's. Used by :mod:`polymirror.mirror` only.

The engine is no more safe to share between threads than asyncio itself: a read in the middle of an input could see half
of a change. Whatever changes a mirror is checked; a read for execution, which must cost nothing more, is checked in
asyncio's debug mode, as asyncio checks its own calls. Another thread may have something done in it:
:meth:`OwnThread.ask`.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from polymirror.errors import MirrorBusy, WrongThread
from polymirror.shell.whereabouts import whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class OwnThread:
    """Nobody's until :meth:`take`, and nobody's again after :meth:`release`."""

    def __init__(self) -> None:
        self._ident: int | None = None
        self._name = ""
        self._loop: asyncio.AbstractEventLoop | None = None

    def take(self) -> None:
        """Belong to this thread, and to the event loop that runs in it, from now on."""
        self._name, self._ident = threading.current_thread().name, threading.get_ident()
        self._loop = asyncio.get_running_loop()

    def release(self) -> None:
        """Belong to nobody any more: what has ended may be looked at from anywhere."""
        self._ident = self._loop = None

    def ask(self, work: Callable[[], T], seconds: float) -> T:
        """Return what ``work()`` does in the thread; in the thread itself, or if it is nobody's, at once.

        Raises MirrorBusy if it does not begin within ``seconds``: it is never done then.
        """
        loop, ident = self._loop, self._ident
        if loop is None or ident is None or ident == threading.get_ident():
            return work()
        answer: Future[T] = Future()

        def do() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(work())
            except BaseException as error:
                answer.set_exception(error)
                if not isinstance(error, Exception):
                    # Ctrl-C, which is for this thread.
                    raise

        try:
            loop.call_soon_threadsafe(do)
        except RuntimeError:
            # The loop was closed just now.
            return work()
        try:
            return answer.result(seconds)
        except TimeoutError:
            if not answer.cancel():
                return answer.result()
            if self._loop is None:
                # It ended meanwhile.
                return work()
            raise MirrorBusy("ask", seconds, whereabouts(ident)) from None

    def check(self) -> None:
        """Raise WrongThread in any other thread."""
        if self._ident is not None and self._ident != threading.get_ident():
            raise WrongThread(self._name, threading.current_thread().name)

    def checked(self, clock: Callable[[], float]) -> Callable[[], float]:
        """Return a clock that may be read in this thread alone."""

        def read() -> float:
            self.check()
            return clock()

        return read

"""An event loop in a thread of its own: it keeps an asynchronous context open, and does work for other threads.

Whoever hands it work waits for the answer, and never without a bound or a way out: not when something blocks the loop,
not when the thread ends meanwhile, not on Ctrl-C. Used by :mod:`polymirror.background` only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, TypeVar

from polymirror.errors import MirrorBusy, MirrorClosed
from polymirror.shell.helpers import Helpers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

log: logging.Logger = logging.getLogger("polymirror")

T = TypeVar("T")

NAME: Final = "polymirror"
"""Of the thread, as debuggers show it."""

MAX_CALLS: Final = 1_024
"""Calls that wait for an answer at once; more are refused."""

LOOK_SECONDS: Final = 0.5
"""Seconds after which a waiting thread looks whether there is still anybody to answer. It also lets Ctrl-C in where the
system interrupts no wait."""

STOP_SECONDS: Final = 10.0
"""Seconds that a stop waits for the thread to end."""

FRAMES: Final = 3
"""Innermost frames of the thread that an error shows: where it is held up."""


class LoopThread:
    """Runs ``context`` from :meth:`start` to :meth:`stop`. All methods are for other threads; many may call at once."""

    def __init__(self, context: AbstractAsyncContextManager[object]) -> None:
        self._context = context
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        # What other threads wait for. A set and no lock: a signal's handler may call while its thread is in here.
        self._calls: set[Future[Any]] = set()
        self._task: asyncio.Task[None] | None = None
        self._entered: Future[None] = Future()
        self._stopping = asyncio.Event()
        # What ended the thread, if nobody asked for it.
        self._failure: BaseException | None = None

    @property
    def was_started(self) -> bool:
        """Whether there is a thread, or was one."""
        return self._thread is not None

    @property
    def is_over(self) -> bool:
        """Whether the thread has ended. That of a process of which this one is a copy has not."""
        return self._thread is not None and not self._thread.is_alive() and self._pid == os.getpid()

    @property
    def was_stopped(self) -> bool:
        """Whether it ends, or has ended, because somebody asked for it."""
        return self._stopping.is_set() and self._failure is None and self._pid == os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is called in the thread itself, which must not wait for itself."""
        return self._thread is not None and self._thread.ident == threading.get_ident()

    # ---- Life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, enter the context and return; raise what entering it raises, once everything is closed."""
        with self._lock:
            if self._thread is not None:
                raise MirrorClosed("this mirror runs already, or has run: make another one")
            self._pid = os.getpid()
            # Made here, so that it can be told to stop from the first moment on.
            self._loop = asyncio.new_event_loop()
            self._loop.set_default_executor(Helpers())
            # A daemon: one that is not holds up the end of a program that forgot to stop it, for ever.
            self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()
        try:
            while not self._entered.done():
                with suppress(TimeoutError):
                    self._entered.exception(LOOK_SECONDS)
            self._entered.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Leave the context and end the thread; nothing if it does not run. Raises MirrorBusy if it does not end."""
        thread = self._thread
        if thread is None or self._pid != os.getpid():
            return
        if self.is_here:
            raise RuntimeError("stop() would wait for the thread that it is called in: call it in another one")
        self.soon(self._end)
        end = time.monotonic() + STOP_SECONDS
        while thread.is_alive() and time.monotonic() < end:
            thread.join(LOOK_SECONDS)
        if thread.is_alive():
            raise MirrorBusy("stop", STOP_SECONDS, self._where())

    def raise_failure(self) -> None:
        """Raise MirrorClosed if the thread ends, and nobody asked for it."""
        if self._thread is not None and not self._stopping.is_set():
            self._thread.join(STOP_SECONDS)
            raise self._closed()

    def _run(self) -> None:
        try:
            try:
                self._loop.run_until_complete(self._live())
            finally:
                self._close()
        except BaseException as error:  # noqa: BLE001 - it is kept for whoever calls
            if not (self._stopping.is_set() and isinstance(error, asyncio.CancelledError)):
                self._failure = error
        if not self._entered.done():
            self._entered.set_exception(self._failure or self._closed())
        elif self._failure is not None:
            log.critical("the mirror's thread has ended", exc_info=self._failure)

    def _close(self) -> None:
        """Do what asyncio.Runner does at its end, but without a new thread: an interpreter that ends starts none."""
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.wait(left) if left else asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _live(self) -> None:
        self._task = asyncio.current_task()
        async with self._context:
            self._entered.set_result(None)
            await self._stopping.wait()

    def _end(self) -> None:
        self._stopping.set()
        if not self._entered.done() and self._task is not None:
            self._task.cancel()

    # ---- Work --------------------------------------------------------------------------------------

    def do(self, work: Callable[[], T], what: str, limit: float) -> T:
        """Do something quick in the thread, as :meth:`run` does; called in the thread itself, at once."""
        if self.is_here:
            return work()

        async def once() -> T:
            return work()

        return self.run(once, what, limit)

    def soon(self, work: Callable[[], object]) -> None:
        """Do something in the thread, without waiting for it; nothing if the thread has ended."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(work)

    def run(self, work: Callable[[], Awaitable[T]], what: str, limit: float | None) -> T:
        """Await ``work()`` in the thread, and return or raise what it does. ``what`` names it in errors.

        Raises MirrorBusy if that is not over after ``limit`` seconds (None: however long it takes); it is cancelled
        then, and if it has not begun it never will. MirrorClosed if the thread does not run, or ends meanwhile.
        """
        if self.is_here:
            raise RuntimeError(f"{what} would wait for the thread that it is called in: call it in another one")
        if not self._answers():
            raise self._closed()
        if len(self._calls) >= MAX_CALLS:
            raise MirrorBusy(f"{what}, beside {MAX_CALLS} calls that wait already", 0.0, self._where())
        given_up = threading.Event()
        waiting = self._begin(work, given_up)
        try:
            future = asyncio.run_coroutine_threadsafe(waiting, self._loop)
        except RuntimeError:
            # The loop was closed just now.
            waiting.close()
            raise self._closed() from None
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        try:
            self._wait(future, what, limit)
        except BaseException:
            # Cancelling alone would let it begin before it is cancelled.
            given_up.set()
            future.cancel()
            if self.is_over:
                waiting.close()
            raise
        return future.result()

    def _answers(self) -> bool:
        return self._entered.done() and self._pid == os.getpid() and not self.is_over

    async def _begin(self, work: Callable[[], Awaitable[T]], given_up: threading.Event) -> T:
        if given_up.is_set():
            raise asyncio.CancelledError
        if self._stopping.is_set():
            raise self._closed()
        return await work()

    def _wait(self, future: Future[T], what: str, limit: float | None) -> None:
        end = None if limit is None else time.monotonic() + limit
        while True:
            rest = LOOK_SECONDS if end is None else min(LOOK_SECONDS, max(0.0, end - time.monotonic()))
            was_over = self.is_over
            try:
                future.exception(rest)
            except CancelledError:
                if self._answers() and not self._stopping.is_set():
                    raise
                raise self._closed() from None
            except TimeoutError:
                if was_over:
                    raise self._closed() from None
                if end is not None and time.monotonic() >= end:
                    raise MirrorBusy(what, limit or 0.0, self._where()) from None
            else:
                return

    def _closed(self) -> MirrorClosed:
        if self._thread is None or not (self._entered.done() or self._stopping.is_set()):
            return MirrorClosed("the mirror does not run yet: call start() first, or use it in a 'with' block")
        if self._pid != os.getpid():
            return MirrorClosed(
                f"the mirror runs in process {self._pid}, of which this one is a copy without its thread: "
                "start a mirror in each process, after the fork"
            )
        if self._failure is None:
            return MirrorClosed("the mirror was stopped: make another one")
        error = MirrorClosed(f"the mirror has ended: {type(self._failure).__name__}: {self._failure}")
        error.__cause__ = self._failure
        return error

    def _where(self) -> str:
        """Say where the thread is, innermost last."""
        ident = None if self._thread is None else self._thread.ident
        frame = sys._current_frames().get(ident or 0)  # noqa: SLF001 - there is no other way to see it
        stack = traceback.extract_stack(frame)[-FRAMES:] if frame is not None else []
        return " > ".join(f"{PurePath(at.filename).name}:{at.lineno} {at.name}" for at in stack) or "nowhere"

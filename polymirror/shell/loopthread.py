"""An event loop in a thread of its own: it keeps an asynchronous context open, and does work for other threads.

Whoever hands it work waits for the answer, and never without a bound or a way out: not when something blocks the loop,
not when the thread ends meanwhile, not on Ctrl-C. Used by :mod:`polymirror.background` only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from polymirror.errors import MirrorBusy, MirrorClosed
from polymirror.shell.helpers import Helpers
from polymirror.shell.whereabouts import whereabouts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
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


class Call(Generic[T]):
    """Work for the thread, that another one waits for.

    Made so that Ctrl-C may come anywhere in it: the coroutine is made in the thread, not left behind unawaited here,
    and the answer comes through a queue that is one step of C, while a Condition would lose its lock.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._answers: SimpleQueue[Callable[[], T]] = SimpleQueue()
        self._task: asyncio.Task[T] | None = None
        self._given_up = False

    # ---- In the thread -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Make the task, unless nobody waits any more."""
        if not self._given_up:
            self._task = asyncio.get_running_loop().create_task(self._work())
            self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        # The task stays here: what its end does to others of its kind would swallow Ctrl-C in the one that waits.
        self._task = None
        self._answers.put(_outcome(task))

    def cancel(self) -> None:
        """Cancel the task, if there is one."""
        if self._task is not None:
            self._task.cancel()

    # ---- In the one that waits ---------------------------------------------------------------------

    def answer(self, seconds: float) -> Callable[[], T] | None:
        """Wait for what returns or raises what the task did; None if it takes longer."""
        with suppress(Empty):
            return self._answers.get(timeout=seconds)
        return None

    def give_up(self) -> None:
        """Have it never begin. Cancelling alone would let it begin before it is cancelled."""
        self._given_up = True


def _outcome(task: asyncio.Task[T]) -> Callable[[], T]:
    error = CancelledError() if task.cancelled() else task.exception()
    result = None if error else task.result()

    def outcome() -> T:
        if error is not None:
            raise error
        return cast("T", result)

    return outcome


class LoopThread:
    """Runs ``context`` from :meth:`start` to :meth:`stop`. All methods are for other threads; many may call at once."""

    def __init__(self, context: AbstractAsyncContextManager[object]) -> None:
        self._context = context
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        # What other threads wait for. A set and no lock: a signal's handler may call while its thread is in here.
        self._calls: set[Call[Any]] = set()
        self._task: asyncio.Task[None] | None = None
        # Entered, or failed at it; and ended. Flags for all who ask, and queues for those who wait.
        self._entered = self._over = False
        self._entering: SimpleQueue[BaseException | None] = SimpleQueue()
        self._ends: SimpleQueue[None] = SimpleQueue()
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
        # Not is_alive(): where Ctrl-C comes in it, Python 3.11 and 3.12 take a thread that runs for one that has ended.
        return self._over and self._pid == os.getpid()

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
        try:
            self._thread.start()
        except RuntimeError:
            # The system has no more threads, or the interpreter is about to end.
            self._over = True
            raise
        try:
            self._wait_entered()
        except BaseException:
            self.stop()
            raise

    def _wait_entered(self) -> None:
        while True:
            with suppress(Empty):
                if (error := self._entering.get(timeout=LOOK_SECONDS)) is not None:
                    raise error
                return

    def stop(self) -> None:
        """Leave the context and end the thread; nothing if it does not run. Raises MirrorBusy if it does not end."""
        thread = self._thread
        if thread is None or self._pid != os.getpid():
            return
        if self.is_here:
            raise RuntimeError("stop() would wait for the thread that it is called in: call it in another one")
        self.soon(self._end)
        if not self.wait_end():
            raise MirrorBusy("stop", STOP_SECONDS, self._where())
        if thread.ident is not None:
            thread.join()

    def wait_end(self) -> bool:
        """Wait until the thread has ended, as somebody asked it to, for 10 seconds at most; return whether it has."""
        end = time.monotonic() + STOP_SECONDS
        while not self._over and time.monotonic() < end:
            with suppress(Empty):
                # Put back for whoever else waits.
                self._ends.put(self._ends.get(timeout=LOOK_SECONDS))
        return self._over

    def raise_failure(self) -> None:
        """Raise MirrorClosed if the thread ends, and nobody asked for it."""
        if self._thread is not None and not self._stopping.is_set():
            self.wait_end()
            raise self._closed()

    def _run(self) -> None:
        try:
            self._run_context()
        finally:
            self._over = True
            self._ends.put(None)

    def _run_context(self) -> None:
        try:
            try:
                self._loop.run_until_complete(self._live())
            finally:
                self._close()
        except BaseException as error:  # noqa: BLE001 - it is kept for whoever calls
            if not (self._stopping.is_set() and isinstance(error, asyncio.CancelledError)):
                self._failure = error
        if not self._entered:
            self._enter(self._failure or self._closed())
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
            self._enter(None)
            await self._stopping.wait()

    def _enter(self, error: BaseException | None) -> None:
        self._entered = True
        self._entering.put(error)

    def _end(self) -> None:
        self._stopping.set()
        if not self._entered and self._task is not None:
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

        async def begin() -> T:
            if self._stopping.is_set():
                raise self._closed()
            return await work()

        call = Call(begin)
        try:
            self._calls.add(call)
            self._hand_over(call)
            outcome = self._wait(call, what, limit)
        except BaseException:
            call.give_up()
            self.soon(call.cancel)
            raise
        finally:
            self._calls.discard(call)
        try:
            return outcome()
        except CancelledError:
            if self._answers() and not self._stopping.is_set():
                raise
            raise self._closed() from None

    def _hand_over(self, call: Call[Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(call.begin)
        except RuntimeError:
            # The loop was closed just now.
            raise self._closed() from None

    def _answers(self) -> bool:
        return self._entered and self._pid == os.getpid() and not self.is_over

    def _wait(self, call: Call[T], what: str, limit: float | None) -> Callable[[], T]:
        end = None if limit is None else time.monotonic() + limit
        while True:
            rest = LOOK_SECONDS if end is None else min(LOOK_SECONDS, max(0.0, end - time.monotonic()))
            was_over = self.is_over
            if (outcome := call.answer(rest)) is not None:
                return outcome
            if was_over:
                raise self._closed()
            if end is not None and time.monotonic() >= end:
                raise MirrorBusy(what, limit or 0.0, self._where())

    def _closed(self) -> MirrorClosed:
        if self._thread is None or not (self._entered or self._stopping.is_set()):
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
        return whereabouts(None if self._thread is None else self._thread.ident)

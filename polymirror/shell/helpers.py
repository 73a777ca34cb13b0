"""The threads in which an event loop makes its blocking calls: resolving names, above all.

asyncio's own take no more work once the main thread has ended: a mirror in a thread of its own could then replace no
connection that it lost. And whoever closes the loop waits for them, however long a name server hangs. Used by
:mod:`polymirror.shell.loopthread` only.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
P = ParamSpec("P")

NAME: Final = "polymirror helper"
"""Of the threads, as debuggers show them."""

THREADS: Final = 4
"""Blocking calls at once. A look-up that hangs is given up after seconds; its thread is there again when it returns."""

MAX_WAITING: Final = 64
"""Calls that wait for a thread; more fail."""


class Helpers(ThreadPoolExecutor):
    """A few daemon threads for blocking calls: nobody waits for one at the end, neither the loop nor the interpreter.

    They are started at once: some interpreters start none any more after the main thread has ended.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=THREADS)
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        for _ in range(THREADS):
            threading.Thread(target=self._serve, name=NAME, daemon=True).start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a call. Raises RuntimeError if too many wait already."""
        if self._calls.qsize() >= MAX_WAITING:
            raise RuntimeError(f"{MAX_WAITING} blocking calls, such as name look-ups, wait already")
        future: Future[T] = Future()
        self._calls.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Let the threads end that are idle, and the others when they are: nobody waits."""
        for _thread in range(THREADS):
            self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            future, work = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is for whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

"""Processes for the seeds: none outlives whoever asked for it, however that ends.

Used by :mod:`polymirror.torture.session`. Signals are for the process that asked: a worker hears none, is killed with
the block of :func:`worker_pool`, and ends itself when the process that started it is gone without a word.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

DEAF_TO: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

_passed: Any = None
"""In a worker: the virtual seconds that all of them have run."""


@frozen
class Workers:
    """Processes that run seeds, and the virtual seconds that they have run."""

    _pool: ProcessPoolExecutor
    _passed: Any = field(repr=False)

    @property
    def passed(self) -> float:
        """Virtual seconds that were run so far, of unfinished seeds, too."""
        return float(self._passed.value)

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have this done by one of them."""
        # A process is started here if there are too few. It keeps the signals blocked that are blocked now.
        if hasattr(signal, "pthread_sigmask"):
            before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
            try:
                return self._pool.submit(work, *arguments)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._pool.submit(work, *arguments)


@contextmanager
def worker_pool(count: int) -> Iterator[Workers]:
    """Offer ``count`` processes; on the way out none is left, at once if something went wrong."""
    # Fork would copy the threads and sockets of whoever calls; a seed needs neither.
    context = get_context("spawn")
    passed, others = context.Value("d", 0.0), set(active_children())
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(passed,))
    try:
        yield Workers(pool, passed)
    except BaseException:
        # A seed takes seconds: nobody waits for those that run.
        for worker in set(active_children()) - others:
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def note_passed(seconds: float) -> None:
    """In a worker: some more virtual seconds have been run."""
    if _passed is not None:
        with _passed.get_lock():
            _passed.value += seconds


def _begin(passed: Any) -> None:
    global _passed  # noqa: PLW0603 - one for each process
    _passed = passed
    threading.Thread(target=_end_with_parent, name="parent watch", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Handing work over to what runs in a thread of its own: the base of a mirror for programs without asyncio.

Each piece of work is carried to that thread (:mod:`polymirror.shell.loopthread`), done there and answered; before the
start and after the end what can be is done in the calling thread. Used by :mod:`polymirror.background` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from polymirror.config import check_timeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from polymirror.shell.loopthread import LoopThread

T = TypeVar("T")
It = TypeVar("It")


def checked(timeout: float) -> float:
    """Return a time-out in seconds that may be waited for. Raises ConfigError for others."""
    check_timeout("timeout", timeout)
    return timeout


class Handover(Generic[It]):
    """Hands work to ``mirror``, which runs in ``thread``, and waits at most ``call_timeout`` seconds for the answer."""

    def __init__(self, mirror: It, thread: LoopThread, call_timeout: float) -> None:
        self._mirror = mirror
        self._thread = thread
        self._call_timeout = call_timeout

    def _do(self, what: str, work: Callable[[It], T]) -> T:
        """Do something quick in the mirror's thread; ``what`` is its name in errors."""
        return self._thread.do(lambda: work(self._mirror), what, self._call_timeout)

    def _run(self, what: str, work: Callable[[It], Awaitable[T]], limit: float | None) -> T:
        return self._thread.run(lambda: work(self._mirror), what, limit)

    def _look(self, what: str, work: Callable[[It], T]) -> T:
        """Look at something that a mirror has before its start and after its end, too."""
        return work(self._mirror) if self._thread.is_over or not self._thread.was_started else self._do(what, work)

    def _set_up(self, what: str, work: Callable[[It], T]) -> T:
        """Do what is possible before the start, too."""
        return self._do(what, work) if self._thread.was_started else work(self._mirror)

    def _within(self, timeout: float) -> float:
        """For how long the calling thread waits for what ends by itself after ``timeout`` seconds."""
        return checked(timeout) + self._call_timeout

"""The thread that a mirror belongs to: its own event loop's. Used by :mod:`polymirror.mirror` only.

The engine is no more safe to share between threads than asyncio itself: a read in the middle of an input could see half
of a change. Whatever changes a mirror is checked; a read for execution, which must cost nothing more, is checked in
asyncio's debug mode, as asyncio checks its own calls.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from polymirror.errors import WrongThread

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnThread:
    """Nobody's until :meth:`take`, and nobody's again after :meth:`release`."""

    def __init__(self) -> None:
        self._ident: int | None = None
        self._name = ""

    def take(self) -> None:
        """Belong to this thread from now on."""
        self._name, self._ident = threading.current_thread().name, threading.get_ident()

    def release(self) -> None:
        """Belong to nobody any more: what has ended may be looked at from anywhere."""
        self._ident = None

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

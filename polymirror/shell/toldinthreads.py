"""Being told without asyncio: the part of :class:`polymirror.background.BackgroundMirror` that users ask to be told.

What :class:`polymirror.shell.told.Told` tells in the mirror's thread goes on to threads of the users' own: iterators
that block (:mod:`polymirror.shell.blocking`), and a thread for each callback (:mod:`polymirror.shell.callers`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from polymirror.config import check_age
from polymirror.core.events import Traded, Transition
from polymirror.shell.blocking import BlockingEvents, Updates
from polymirror.shell.callbacks import check_callback
from polymirror.shell.callers import Callers, Waiting
from polymirror.shell.handover import Handover
from polymirror.shell.happenings import Happening
from polymirror.shell.loopthread import LoopThread
from polymirror.shell.rawframes import RawFrame
from polymirror.shell.subscribers import Update
from polymirror.shell.told import Told

T = TypeVar("T")

CALLED: Final = "a plain function of one argument, not an async one: it has a thread of its own, and may block"


It = TypeVar("It", bound=Told)


class ToldInThreads(Handover[It]):
    """The methods for being told of a mirror in the background. All are for any thread, before the start as well."""

    def __init__(self, mirror: It, thread: LoopThread, call_timeout: float) -> None:
        super().__init__(mirror, thread, call_timeout)
        self._callers = Callers()
        # What waits for callbacks, to be ended at the end.
        self._waiting: list[Waiting[Any]] = []

    def updates(self, *tokens: str, timeout: float | None = None) -> Updates:
        """Iterate over changes of these tokens (default: all), blocking: always the newest, never a backlog.

        Without a change within ``timeout`` seconds the iteration raises TimeoutError, and may go on after that. It ends
        when the mirror stops. Made before the start, it misses nothing.
        """
        limit = self._limit(timeout)
        subscription = self._set_up("updates", lambda mirror: mirror.updates(*tokens))
        return Updates(self._thread, subscription, timeout, limit)

    def events(self, *kinds: type[Happening], timeout: float | None = None) -> BlockingEvents:
        """Iterate over what happens, blocking and in order, as :meth:`polymirror.mirror.Mirror.events` does.

        Up to 10,000 events wait for a slow reader; of more the oldest are left out, and a ``Missed`` says how many.
        Without an event within ``timeout`` seconds the iteration raises TimeoutError, and may go on after that. It ends
        when the mirror stops, after what happened up to then. Made before the start, it misses nothing.
        """
        limit = self._limit(timeout)
        events = self._set_up("events", lambda mirror: mirror.events(*kinds))
        return BlockingEvents(self._thread, events, timeout, limit)

    def on_update(self, callback: Callable[[Update], object], *tokens: str) -> Callable[[], None]:
        """Call back after changes of these tokens (default: all), in a thread of its own for each callback.

        It may take its time: meanwhile changes are conflated, as for :meth:`updates`. What it raises is logged. Returns
        a function that removes it.
        """
        check_callback(callback, CALLED)
        updates = self.updates(*tokens)
        self._callers.add("an update callback", updates, callback)
        return updates.close

    def on_transition(self, callback: Callable[[Transition], object]) -> Callable[[], None]:
        """Call back with every change of a state, in order, in a thread of its own.

        Up to 10,000 wait for a slow one; more are left out, and the log says so. Returns a function that removes it.
        """
        waiting: Waiting[Transition] = Waiting(self._callers.warnings)
        return self._call(
            "on_transition", "a transition callback", callback, waiting, lambda it: it.on_transition(waiting.put)
        )

    def on_trade(self, callback: Callable[[Traded], object], *tokens: str) -> Callable[[], None]:
        """Call back with every trade that the venue announces of these tokens (default: all), in order.

        In a thread of its own, bounded as for :meth:`on_transition`. The venue does not promise to announce each trade.
        Returns a function that removes it. Raises UnknownToken for a token that is neither mirrored nor looked for.
        """
        waiting: Waiting[Traded] = Waiting(self._callers.warnings)
        return self._call(
            "on_trade", "a trade callback", callback, waiting, lambda it: it.on_trade(waiting.put, *tokens)
        )

    def on_frame(self, callback: Callable[[RawFrame], object]) -> Callable[[], None]:
        """Call back with every frame of every socket, as it was received, in order; for recorders.

        In a thread of its own, so it may take its time, and a frame may be used before it is told of. Up to 10,000
        frames of 64 MiB in all wait for a slow one; more are left out, and the log says so. Returns a function that
        removes it.
        """
        waiting: Waiting[RawFrame] = Waiting(self._callers.warnings, lambda frame: len(frame.data), _named)
        return self._call("on_frame", "a frame callback", callback, waiting, lambda it: it.on_frame(waiting.put))

    def _limit(self, timeout: float | None) -> float | None:
        if timeout is None:
            return None
        check_age("timeout", timeout)
        return self._within(timeout)

    def _call(
        self,
        name: str,
        what: str,
        callback: Callable[[T], object],
        waiting: Waiting[T],
        add: Callable[[It], Callable[[], None]],
    ) -> Callable[[], None]:
        """Call back with what ``add`` lets wait, in a thread; return a function that ends it."""
        check_callback(callback, CALLED)
        remove = self._set_up(name, add)
        self._waiting.append(waiting)
        self._callers.add(what, waiting, callback)

        def forget() -> None:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self._look("remove", lambda _: remove())
                waiting.end()

        return forget

    def _stop_telling(self) -> None:
        """End all callbacks after what they still have to be told, and wait for them."""
        for waiting in self._waiting:
            waiting.end()
        self._callers.join()


def _named(frame: RawFrame) -> str:
    return f"a frame of {len(frame.data)} bytes of socket {frame.socket}"

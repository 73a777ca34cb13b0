"""What a mirror tells: the log, those who iterate over changes, and those who are called back.

The engine's events and changes come in here and go out to people; nothing is decided about books. Used by
:mod:`polymirror.mirror` only, which drains the engine.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from polymirror.core.events import Transition
from polymirror.shell.callbacks import Callbacks, Guard
from polymirror.shell.subscribers import Subscribers, Subscription, Update
from polymirror.shell.warnlog import WarnLog, log_transitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.core.engine import Engine
    from polymirror.status.health import Records

log = logging.getLogger("polymirror")


class Teller:
    """Everybody who wants to be told by one mirror. ``now`` is its monotonic clock in seconds."""

    def __init__(self, engine: Engine, records: Records, now: Callable[[], float], max_subscribers: int) -> None:
        self._engine = engine
        self._records = records
        self._now = now
        self._warnings = WarnLog()
        guard = Guard(self._warnings, records, now)
        self._subscribers = Subscribers(max_subscribers, guard)
        self._transitions = Callbacks[Transition]("a transition callback", guard, max_subscribers)

    # ---- Who is told -------------------------------------------------------------------------------

    def updates(self, tokens: Iterable[str]) -> Subscription:
        """Add an iterator over changes of these tokens; all if there are none."""
        return self._subscribers.subscribe(tokens, self._describe)

    def on_update(self, callback: Callable[[Update], object], tokens: Iterable[str]) -> Callable[[], None]:
        """Add a callback for changes of these tokens; return a function that removes it."""
        return self._subscribers.call(callback, tokens)

    def on_transition(self, callback: Callable[[Transition], object]) -> Callable[[], None]:
        """Add a callback for changes of states; return a function that removes it."""
        return self._transitions.add(callback)

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop what is known about tokens that are mirrored no more."""
        self._subscribers.forget(tokens)

    def close(self) -> None:
        """End all iterations, and take no more."""
        self._subscribers.close()

    # ---- What is told ------------------------------------------------------------------------------

    def warn(self, kind: str, detail: str) -> None:
        """Log something odd by its kind, once per kind and while."""
        self._warnings.warn(kind, detail, self._now())

    def changed(self, tokens: tuple[str, ...]) -> None:
        """Tell of changed books, without waiting for anybody."""
        self._subscribers.notify(tokens, self._describe)

    def events(self) -> None:
        """Drain the engine's events, and tell of them in order."""
        events = self._engine.events()
        log_transitions(log, [event for event in events if isinstance(event, Transition)])
        for event in events:
            if not isinstance(event, Transition):
                self._warnings.warn(event.kind, event.detail, event.at)
                continue
            self._records.transitions += 1
            self._transitions.tell(event)

    def _describe(self, token: str, conflated: int) -> Update | None:
        # None: removed while somebody waits for it.
        standing = self._engine.standing(token)
        return None if standing is None else Update(token, *standing, conflated)

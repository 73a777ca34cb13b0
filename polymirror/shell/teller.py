"""What a mirror tells: the log, those who iterate over changes or events, and those who are called back.

The engine's events and changes come in here and go out to people; nothing is decided about books. Used by
:mod:`polymirror.mirror` only, which drains the engine.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from polymirror.core.events import Traded, Transition, Warned
from polymirror.shell.callbacks import Callbacks, Guard
from polymirror.shell.happenings import ANNOUNCED, Events, Happenings, MarketAdded, MarketRemoved
from polymirror.shell.rawframes import RawFrame
from polymirror.shell.subscribers import Subscribers, Subscription, Update
from polymirror.shell.trustlog import TrustLog
from polymirror.shell.warnlog import WarnLog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from polymirror.core.events import Event
    from polymirror.core.states import BookState, Reason
    from polymirror.status.health import Records
    from polymirror.venue.market import Market

log: logging.Logger = logging.getLogger("polymirror")


class Tellable(Protocol):
    """What is told of: a mirror's engine, or what takes its place at the far end of a relay."""

    @property
    def asset_ids(self) -> Collection[str]:
        """All tokens."""

    def events(self) -> Sequence[Event]:
        """Drain what happened, in order."""

    def standing(self, asset_id: str) -> tuple[BookState, Reason, int] | None:
        """Return a book's state, reason and epoch; None: it is not followed any more."""

    def listen(self, *, wanted: bool) -> None:
        """Tell what the venue announces beside its books, or do not."""


class Teller:
    """Everybody who wants to be told by one mirror, at most ``limit`` of each kind.

    ``now`` is its monotonic clock in seconds, ``name_of(token)`` gives the slug and outcome of a token.
    """

    def __init__(
        self, engine: Tellable, records: Records, now: Callable[[], float], limit: int, name_of: Callable[[str], str]
    ) -> None:
        self._engine = engine
        self._records = records
        self._now = now
        self._warnings = WarnLog()
        self._trust = TrustLog(name_of)
        # Whether the start was told: then the stop is, too.
        self._started = False
        self._closed = False
        # Set while changes of trust wait to be summed up.
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")
        guard = Guard(self._warnings, records, now)
        self._subscribers = Subscribers(limit, guard)
        self._happenings = Happenings(limit)
        self._transitions = Callbacks[Transition]("a transition callback", guard, limit)
        self._trades = Callbacks[Traded]("a trade callback", guard, limit)
        self.frames: Callbacks[RawFrame] = Callbacks[RawFrame]("a frame callback", guard, limit)

    # ---- Who is told -------------------------------------------------------------------------------

    def updates(self, tokens: Iterable[str]) -> Subscription:
        """Add an iterator over changes of these tokens; all if there are none."""
        return self._subscribers.subscribe(tokens, self._describe)

    def iterate(self, kinds: tuple[type, ...]) -> Events:
        """Add an iterator over events of these kinds; all if there are none."""
        events = self._happenings.iterate(kinds)
        self._listen()
        return events

    def on_update(self, callback: Callable[[Update], object], tokens: Iterable[str]) -> Callable[[], None]:
        """Add a callback for changes of these tokens; return a function that removes it."""
        return self._subscribers.call(callback, tokens)

    def on_transition(self, callback: Callable[[Transition], object]) -> Callable[[], None]:
        """Add a callback for changes of states; return a function that removes it."""
        return self._transitions.add(callback)

    def on_trade(self, callback: Callable[[Traded], object], tokens: Iterable[str]) -> Callable[[], None]:
        """Add a callback for trades of these tokens; return a function that removes it."""
        remove = self._trades.add(callback, tokens)
        self._listen()
        return remove

    def _listen(self) -> None:
        """Have the engine tell what the venue announces, if anybody wants to know."""
        self._engine.listen(wanted=bool(self._trades) or self._happenings.wants(ANNOUNCED))

    def close(self) -> None:
        """End all iterations, take no more, and tell what waits to be summed up. What follows is no loss of trust."""
        self._sum_up(float("inf"))
        if self._started:
            trust, failed = self._trust, self._records.failed_callbacks
            told = "mirror stopped: trust was lost %d times and regained %d times, %d callbacks failed"
            log.info(told, trust.losses, trust.recoveries, failed)
        self._subscribers.close()
        self._happenings.close()
        self._closed = True

    # ---- What is told ------------------------------------------------------------------------------

    def started(self, missing: int, seed: int) -> None:
        """Tell that the mirror runs, without ``missing`` slugs and tokens that are not found yet."""
        self._started = True
        log.info("mirror started: %d tokens, %d not found yet, seed %d", len(self._engine.asset_ids), missing, seed)

    def warn(self, kind: str, detail: str) -> None:
        """Tell something odd; the log has it by its kind, once per kind and while."""
        self._tell(Warned(self._now(), kind, detail))

    def added(self, market: Market) -> None:
        """Tell that a market is mirrored from now on."""
        self._happenings.tell(MarketAdded(self._now(), market))

    def removed(self, market: Market) -> None:
        """Tell that a market is mirrored no more, and forget its tokens."""
        self.forgotten(market.token_ids)
        self._happenings.tell(MarketRemoved(self._now(), market))

    def forgotten(self, tokens: Collection[str]) -> None:
        """Forget tokens that are followed no more."""
        self._subscribers.forget(tokens)
        self._trust.forget(tokens)

    def changed(self, tokens: tuple[str, ...]) -> None:
        """Tell of changed books, without waiting for anybody."""
        self._subscribers.notify(tokens, self._describe)

    def events(self) -> None:
        """Drain the engine's events, and tell of them in order."""
        events = self._engine.events()
        if not self._closed:
            self._trust.tell(event for event in events if isinstance(event, Transition))
        self._set_timer()
        for event in events:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Transition):
            self._records.transitions += 1
            self._transitions.tell(event)
        elif isinstance(event, Warned):
            self._warnings.warn(event.kind, event.detail, event.at)
        else:
            if isinstance(event, Traded):
                self._trades.tell(event, event.token)
            # Perhaps the last who wanted to know has left without a word.
            self._listen()
        self._happenings.tell(event)

    def _sum_up(self, now: float | None = None) -> None:
        """Tell of changes of trust that are only counted yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._trust.sum_up(self._now() if now is None else now)
        if not self._closed and now is None:
            self._set_timer()

    def _set_timer(self) -> None:
        due = self._trust.due()
        if due is not None and (self._timer is None or due < self._due):
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self._now()), self._sum_up)

    def _describe(self, token: str, conflated: int) -> Update | None:
        # None: removed while somebody waits for it.
        standing = self._engine.standing(token)
        return None if standing is None else Update(token, *standing, conflated)

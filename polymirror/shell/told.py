"""Being told by a mirror: the part of :class:`polymirror.mirror.Mirror` that users ask to be told.

Who is told of what is checked here, at the call; :mod:`polymirror.shell.teller` does the telling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from polymirror.config import check_each, check_instance
from polymirror.core.events import Traded, Transition
from polymirror.errors import UnknownToken
from polymirror.journal.recorded import IncidentNote, Recorded, Recording
from polymirror.shell.happenings import Events, Happening
from polymirror.shell.listing import Listing
from polymirror.shell.ownthread import OwnThread
from polymirror.shell.rawframes import RawFrame
from polymirror.shell.subscribers import Subscription, Update
from polymirror.shell.teller import Teller
from polymirror.status.health import Records

ONE_BY_ONE: Final = "; name them one by one, as in updates(up, down), or updates(*mirror.tokens)"


class Told:
    """A mirror's methods for being told. All are for the thread of its event loop; before the start, for any."""

    _listing: Listing
    _owner: OwnThread
    _teller: Teller
    _records: Records
    _recording: Recording | None = None

    @property
    def recorded(self) -> Recorded | None:
        """What was recorded so far. None: it was given no folder for a journal."""
        return None if self._recording is None else self._recording.recorded

    def incidents(self, token: str | None = None) -> tuple[IncidentNote, ...]:
        """Return the newest incidents, newest first, 200 at most: all, or those of the market with this token.

        None are noted by a mirror that is given no folder for ``incidents``. Raises ConfigError for what is no token.
        """
        if token is not None:
            check_instance("token", token, str)
        return () if self._recording is None else self._recording.notes(token)

    @property
    def failed_callbacks(self) -> int:
        """Calls of callbacks that raised since the mirror was made; the log has a traceback for each kind."""
        return self._records.failed_callbacks

    def updates(self, *tokens: str) -> Subscription:
        """Iterate over changes of these tokens (default: all): always the newest, never a backlog.

        Raises UnknownToken for a token that is neither mirrored nor looked for: it would never change.
        """
        return self._teller.updates(self._told_of(tokens))

    def on_update(self, callback: Callable[[Update], object], *tokens: str) -> Callable[[], None]:
        """Call back after changes of these tokens (default: all), conflated per turn of the event loop.

        Returns a function that removes the callback. What it raises is logged and counted. Raises UnknownToken as
        :meth:`updates` does, and ConfigError for an async function: it would be called and never awaited.
        """
        return self._teller.on_update(callback, self._told_of(tokens))

    def on_transition(self, callback: Callable[[Transition], object]) -> Callable[[], None]:
        """Call back with every change of a state, in order, as it happens. Returns a function that removes it.

        Raises ConfigError for an async function.
        """
        self._owner.check()
        return self._teller.on_transition(callback)

    def on_trade(self, callback: Callable[[Traded], object], *tokens: str) -> Callable[[], None]:
        """Call back with every trade that the venue announces of these tokens (default: all), in order, at once.

        Returns a function that removes the callback. Raises as :meth:`on_update` does. The venue announces a trade for
        the token that its taker traded, and does not promise to announce each; nothing is asked for.
        """
        return self._teller.on_trade(callback, self._told_of(tokens))

    def on_frame(self, callback: Callable[[RawFrame], object]) -> Callable[[], None]:
        """Call back with every frame of every socket, as it was received and before it is used; for recorders.

        Returns a function that removes the callback. It delays what it is called with, so it must be quick: tens of
        microseconds. Raises ConfigError for an async function.
        """
        self._owner.check()
        return self._teller.frames.add(callback)

    def events(self, *kinds: type[Happening]) -> Events:
        """Iterate over what happens, in order: changes of state, trades, tick sizes, resolutions, markets, warnings.

        ``kinds`` are classes of :mod:`polymirror.core.events` and :mod:`polymirror.shell.happenings` (default: all).
        Up to 10,000 events wait for a slow reader; of more the oldest are left out, and a ``Missed`` says how many.
        Raises ConfigError for another kind.
        """
        self._owner.check()
        return self._teller.iterate(kinds)

    def _told_of(self, tokens: tuple[str, ...]) -> tuple[str, ...]:
        """Check who wants to be told, and of which tokens; return these."""
        self._owner.check()
        for token in check_each("tokens", tokens, str, ONE_BY_ONE):
            if not self._listing.knows(token):
                raise UnknownToken(token)
        return tokens

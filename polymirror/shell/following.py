"""Walking along the rolling windows of an asset: the next market is there before it opens, the last one some time on.

A :class:`Following` is what a user holds; :class:`Followings` looks every few seconds which windows each of them needs
now, by the venue's clock where it is known, and tells the listing. Used by :mod:`polymirror.shell.markets`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from polymirror.core.states import BookState
from polymirror.errors import ConfigError, NotLive
from polymirror.venue.market import Market
from polymirror.venue.windows import Interval, Window, window_at, window_slugs

if TYPE_CHECKING:
    from polymirror.core.engine import Engine
    from polymirror.shell.listing import Listing

STEP: Final = 5.0
"""Seconds between two looks at the clock."""

SOON: Final = 0.25
"""The same while the venue's clock is not known, which as a rule takes one call."""

LEAD: Final = 60.0
"""Seconds before its opening from which on a window is mirrored, whatever ``ahead`` says."""

KEEP: Final = 600.0
"""Seconds for which an ended market that is not settled is kept: it trades on for two or three minutes, and the service
was seen to call it closed up to eight minutes after the end."""

MAX_AROUND: Final = 300
"""The most windows ahead and behind: the venue lists a day ahead, which has 288 of 5 minutes."""

MAX_FOLLOWINGS: Final = 1_000
"""The most walks of one mirror."""


class Following:
    """A walk along the windows of one asset, as :meth:`polymirror.mirror.Mirror.follow` begins it; never make one."""

    def __init__(self, owner: Followings, now: Window, *, ahead: int, behind: int) -> None:
        self._owner = owner
        self.asset: str = now.asset
        """The asset's short name, such as ``btc``."""
        self.interval: Interval = now.interval
        """The length of the windows."""
        self.ahead: int = ahead
        """How many windows after the current one are mirrored."""
        self.behind: int = behind
        """How many windows before the current one are kept."""

    @property
    def current(self) -> Market:
        """The market of the window that runs now. Raises NotLive, with the cause, while it is not mirrored."""
        return self._owner.market(self, ahead=0)

    @property
    def next(self) -> Market:
        """The market of the window that opens next. Raises NotLive, with the cause, while it is not mirrored."""
        return self._owner.market(self, ahead=1)

    @property
    def markets(self) -> tuple[Market, ...]:
        """All markets that are mirrored on behalf of this walk, in order of time; ended ones are among them a while."""
        return self._owner.markets(self)

    def stop(self) -> None:
        """End the walk: its markets are mirrored no more, but for those that are needed otherwise.

        Does nothing the second time, nor once the mirror has stopped.
        """
        self._owner.end(self)

    def __repr__(self) -> str:
        return f"<Following {self.asset} {self.interval.value}, {self.ahead} ahead, {self.behind} behind>"


class Followings:
    """All walks of one mirror.

    ``monotonic()`` is the engine's clock, ``wall()`` the time of day of this machine; ``check()`` raises where a mirror
    may not be changed, and ``changed()`` is called after markets may have come or gone.
    """

    def __init__(
        self,
        listing: Listing,
        engine: Engine,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        check: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._listing = listing
        self._engine = engine
        self._monotonic = monotonic
        self._wall = wall
        self._check = check
        self._changed = changed
        # In the order in which they were begun; by start, the windows that are mirrored or looked for on their behalf.
        self._walks: dict[Following, dict[int, Window]] = {}
        self._spawn: Callable[[Coroutine[Any, Any, None], str], object] | None = None
        self._runs = False

    def _venue_ms(self) -> int:
        return self._engine.venue_ms(self._monotonic())

    def _now(self) -> float:
        """Return the time of day in unix seconds: the venue's, this machine's while that is not known."""
        return self._venue_ms() / 1_000 or self._wall()

    def begin(self, asset: str, interval: str | Interval, *, ahead: int, behind: int) -> Following:
        """Begin a walk. Raises ConfigError."""
        numbers: dict[str, object] = {"ahead": ahead, "behind": behind}
        for name, value in numbers.items():
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_AROUND:
                raise ConfigError(name, value, f"a whole number between 0 and {MAX_AROUND} windows")
        if len(self._walks) >= MAX_FOLLOWINGS:
            raise ConfigError("followings", len(self._walks) + 1, f"at most {MAX_FOLLOWINGS} at once: stop some")
        walk = Following(self, window_at(asset, interval, self._now()), ahead=ahead, behind=behind)
        self._walks[walk] = {}
        self._step(walk)
        self._run_if_needed()
        return walk

    def end(self, walk: Following) -> None:
        """End a walk, once."""
        self._check()
        for start, window in self._walks.pop(walk, {}).items():
            self._listing.release(window.slug, (walk, start))
        self._changed()

    def find(self, asset: str, interval: str | Interval) -> Following:
        """Return the first walk along these windows. Raises ConfigError if there is none."""
        wanted = window_at(asset, interval, self._now())
        for walk in self._walks:
            if (walk.asset, walk.interval) == (wanted.asset, wanted.interval):
                return walk
        raise ConfigError("asset, interval", (asset, interval), "windows that are followed: call follow(...) first")

    def start(self, spawn: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        """Walk by oneself from now on; ``spawn`` runs something until the mirror stops."""
        self._spawn = spawn
        self._step_all()
        self._run_if_needed()

    def stop(self) -> None:
        """Forget all walks: the mirror stops."""
        self._walks.clear()

    def market(self, walk: Following, *, ahead: int) -> Market:
        """Return the market of the window that runs now, or of the next one. Raises NotLive."""
        window = window_at(walk.asset, walk.interval, self._now())
        if ahead:
            window = window_at(walk.asset, walk.interval, window.end)
        market = self._listing.market_named(window.slug)
        if market is not None and market.window_end in (None, window.end):
            return market
        if market is not None:
            # Two hours of a year share a name, and the service describes one of them.
            why = f"the market of this name ends at {market.window_end}, and not at {window.end} (unix seconds)"
        elif walk not in self._walks:
            why = "these windows are not followed any more"
        elif window.start in self._walks[walk]:
            why = "its market was removed"
        else:
            why = f"this walk mirrors {walk.ahead} windows ahead, and the next from {LEAD:g} s before it opens"
        refusal = self._listing.refusal(window.slug)
        raise refusal or NotLive(window.slug, BookState.UNPRIMED, None, None, 0, detail=why)

    def markets(self, walk: Following) -> tuple[Market, ...]:
        """Return the markets of a walk that are mirrored, in order of time."""
        windows = sorted(self._walks.get(walk, {}).values())
        found = (self._listing.market_named(window.slug) for window in windows)
        return tuple(market for market in found if market is not None)

    def _step_all(self) -> None:
        """Look which windows each walk needs now."""
        for walk in self._walks:
            self._step(walk)
        self._changed()

    def _step(self, walk: Following) -> None:
        now, windows = self._now(), self._walks[walk]
        around = window_slugs(walk.asset, walk.interval, now, behind=walk.behind, ahead=walk.ahead)
        needed = {window.start: window for window in (*around, window_at(walk.asset, walk.interval, now + LEAD))}
        new = {start: window for start, window in needed.items() if start not in windows}
        # Once: what the user removes does not come back.
        for start, window in new.items():
            self._listing.want([window.slug], holder=(walk, start))
        windows |= new
        for start, window in tuple(windows.items()):
            if start not in needed and not self._lasts(window, now):
                del windows[start]
                self._listing.release(window.slug, (walk, start))

    def _lasts(self, window: Window, now: float) -> bool:
        """Whether an ended window is kept a while longer: its market is not settled yet."""
        market = self._listing.market_named(window.slug)
        if market is None or not window.end <= now < window.end + KEEP:
            return False
        return any(self._engine.peek_state(token) is not BookState.RETIRED for token in market.token_ids)

    def _run_if_needed(self) -> None:
        if self._spawn is not None and self._walks and not self._runs:
            self._runs = True
            self._spawn(self._run(), "following")

    async def _run(self) -> None:
        try:
            while self._walks:
                await asyncio.sleep(STEP if self._venue_ms() else SOON)
                self._step_all()
        finally:
            self._runs = False

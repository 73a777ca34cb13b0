"""The venue's clock as seen from here: an interval, never a number.

The offset between our clock and the venue's is only ever bounded. A frame or a book cannot arrive before its
timestamp (a lower bound); ``/time`` answers whole seconds within the time of its call (both bounds), so it is asked
around the second's edge until the interval is two round trips wide. What a statement of the venue is about is dated
with the lower bound: the latest moment for which it can speak. A constant delay inside the interval cannot be known.

Bounds contradict each other when the venue's clock steps, when ``/time`` and the stream disagree, or when one
timestamp is wrong. No single witness moves the interval. Up, which makes proofs older, it takes the stream and
``/time`` together, or several frames over some time. Down, which makes them younger, it takes longer, and nobody who
says otherwise meanwhile: a late stream beside a ``/time`` that is wrong looks like a clock that was set back.
"""

from __future__ import annotations

from typing import Final

DRIFT_MS_PER_S: Final = 0.05
"""How fast bounds are given up: 50 ppm, more than clocks drift."""

JUMP_MS: Final = 1_000.0
"""Without an upper bound, a frame whose time is ahead of the lower one by more than this lies in the future."""

AHEAD_MS: Final = 50.0
"""A timestamp beyond the upper bound by more than this lies in the future."""

AHEAD_FRAMES: Final = 3
"""Frames in a row that lie in the future by the same amount, with none between them that does not, and the clock is
believed to be there: so many at least,"""

AHEAD_SECONDS: Final = 1.0
"""over so many seconds,"""

DENIED_SECONDS: Final = 10.0
"""or over so many, while ``/time`` denies it."""

RECENT_SECONDS: Final = 2.0
"""A frame this old still tells where the clock is."""

LOWER_SECONDS: Final = 10.0
"""For how long ``/time`` and the stream must say that the venue's clock was set back,"""

LOWER_ALONE_SECONDS: Final = 60.0
"""and ``/time`` alone, while nothing comes that could."""

WINDOW: Final = 30.0
"""Without an upper bound, the lower one is what the last two windows of this many seconds showed."""

FRESH_SECONDS: Final = 0.1
"""Bounds younger than this are used as they are: they have slackened by 5 us at most."""

QUICK_TRIES: Final = 4
"""Samples that are asked for quickly after the start, whatever becomes of them."""

QUICK_SECONDS: Final = 0.37
"""Seconds between these: no whole fraction of a second, since the venue answers in whole seconds."""

DOUBT_SECONDS: Final = 0.5
"""Seconds between samples while bounds contradict each other."""

BACKLOG_SECONDS: Final = 1.0
"""What is read so soon after a sleep may have come in it."""

FINEST: Final = 0.02
"""An interval this narrow, in seconds, is not narrowed further."""

_UNDATED: Final = float("-inf")


class VenueClock:
    """Bounds of ``exchange_ms - 1000 * now``, in ms. Times in seconds on the mirror's clock."""

    def __init__(self) -> None:
        # No frame or answer supports an offset below this.
        self.low: float | None = None
        # /time answers do not allow an offset above this; None: nothing bounds it.
        self.high: float | None = None
        # The last frame's time lies beyond the interval: what it says cannot be dated.
        self.doubted: bool = False
        # Until then the bounds may be used as they are.
        self.fresh_until: float = _UNDATED
        # How often the interval was moved, or given up, because the venue contradicted it.
        self.moved: int = 0
        self._woke_at = _UNDATED
        self._updated = 0.0
        # What books showed at most, if they were young, before anything else was known.
        self._books = _UNDATED
        # The newest frame's offset, and when it came.
        self._seen: tuple[float, float] | None = None
        # Frames in a row that lie beyond the interval: the largest offset of them, since when, and how many.
        self._ahead: tuple[float, float, int] | None = None
        # What /time says since it contradicts the interval: its bounds, and since when.
        self._pending: tuple[float, float] | None = None
        self._pending_at = 0.0
        # The quickest frame since then that agrees with it.
        self._agreeing = _UNDATED
        # What the present window and the one before it showed at most, and when the present one began.
        self._shown = [_UNDATED, _UNDATED]
        self._window_at = 0.0
        # For the next sample: how many were taken, when the last one was, and its round trip.
        self._samples = 0
        self.sampled_at: float = _UNDATED
        self._round_trip = 0.0

    @property
    def uncertainty(self) -> float | None:
        """Seconds between the bounds; None while nothing bounds the offset from above."""
        return None if self.low is None or self.high is None else max(0.0, self.high - self.low) / 1000.0

    # ---- Sleep -------------------------------------------------------------------------------------

    def woke(self, now: float) -> None:
        """This program slept: what waited for it is as old as nobody knows, where nothing bounds this clock."""
        self._woke_at = now

    def has_backlog(self, now: float) -> bool:
        """Whether what is read now may have waited for the end of a sleep, and nothing tells for how long."""
        return self.high is None and now - self._woke_at < BACKLOG_SECONDS

    # ---- Dating ------------------------------------------------------------------------------------

    def date(self, at_ms: int, heard_at: float) -> float:
        """Return the latest moment that exchange time ``at_ms`` can be, never after ``heard_at`` (rule D1)."""
        return heard_at if self.low is None else min(heard_at, (at_ms - self.low) / 1000.0)

    def order_ms(self, at_ms: int, now: float) -> int:
        """Return the exchange time by which a statement heard now is ordered: one from the future comes now."""
        return self.now_ms(now) if self.is_ahead(at_ms, now) else at_ms

    def now_ms(self, now: float) -> int:
        """Return what the venue's clock shows now at least; 0 while nothing is known of it."""
        return 0 if self.low is None else int(1000.0 * now + self.low)

    def is_ahead(self, at_ms: int, now: float) -> bool:
        """Whether an exchange time lies in the future, as far as can be known."""
        if self.low is None:
            return False
        ceiling = self.low + JUMP_MS if self.high is None else self.high + AHEAD_MS
        return at_ms - now * 1000.0 > ceiling

    # ---- Witnesses ---------------------------------------------------------------------------------

    def frame(self, at_ms: int, now: float) -> float:
        """Take a frame's timestamp; return its lag in seconds, never negative. Sets :attr:`doubted`."""
        seen = at_ms - now * 1000.0
        self._slacken(now)
        self.fresh_until = self._updated + FRESH_SECONDS
        self._seen = (seen, now)
        self.doubted = self.is_ahead(at_ms, now)
        if self.doubted:
            # Whatever comes next is to come here too.
            self.fresh_until = _UNDATED
            return self._beyond(seen, now)
        self._ahead = None
        self._testify(seen, now)
        self._raise(seen if self.high is None else min(seen, self.high), now)
        return max(0.0, (self.low or 0.0) - seen) / 1000.0

    def book(self, at_ms: int, received: float) -> None:
        """Take the timestamp of a book that came, or that was asked for and accepted: it was not made later.

        It may be minutes old, so it says nothing while nothing else is known.
        """
        if self.low is None:
            self._books = max(self._books, at_ms - received * 1000.0)
        elif not self.is_ahead(at_ms, received):
            self._slacken(received)
            seen = at_ms - received * 1000.0
            self._testify(seen, received, may_be_old=True)
            # It may be old, so it does not count for what a window showed at most.
            self.low = max(self.low, seen if self.high is None else min(seen, self.high))

    def server_time(self, seconds: int, sent: float, received: float) -> None:
        """Take a ``/time`` answer: whole seconds, asked at ``sent``, answered at ``received``."""
        low = seconds * 1000.0 - received * 1000.0
        high = seconds * 1000.0 + 1000.0 - sent * 1000.0
        self._slacken(received)
        self._round_trip = received - sent
        if sent > self.sampled_at:
            self.sampled(sent)
        if self.low is None:
            self.low, self.high = low, high
        elif high < self.low or (self.high is not None and low > self.high):
            self._contradicted(low, high, received)
        else:
            self._pending = None
            self.low = max(self.low, low)
            self.high = high if self.high is None else min(self.high, high)

    def sampled(self, now: float) -> None:
        """Note that ``/time`` is asked now, whatever becomes of it."""
        self._samples += 1
        self.sampled_at = now

    def next_sample(self, now: float, interval: float) -> float:
        """Return when ``/time`` should be asked next: ``interval`` seconds after the last time at the latest."""
        last, due = self.sampled_at, self.sampled_at + interval
        contradicted = self._ahead[1] if self._ahead is not None else self._pending_at
        if self._ahead is not None or self._pending is not None:
            # Often at first; what stays contradicted will not be settled by asking.
            due = last + (DOUBT_SECONDS if now - contradicted < DENIED_SECONDS else DENIED_SECONDS)
        elif self._samples < QUICK_TRIES:
            due = last + QUICK_SECONDS
        elif self.low is not None and self.high is not None:
            width = (self.high - self.low) / 1000.0
            if width > max(2.0 * self._round_trip, FINEST):
                due = min(due, self._edge((self.low + self.high) / 2.0, max(now, last + QUICK_SECONDS)))
        return due

    # ---- Inside ------------------------------------------------------------------------------------

    def _edge(self, offset: float, earliest: float) -> float:
        """Return when to ask so that the venue, if its offset is this one, answers at a full second: half the doubt."""
        arrives = 1000.0 * (earliest + self._round_trip / 2.0) + offset
        return earliest + (-arrives % 1000.0) / 1000.0

    def _slacken(self, now: float) -> None:
        drift = max(0.0, now - self._updated) * DRIFT_MS_PER_S
        self._updated = max(self._updated, now)
        if self.low is not None:
            self.low -= drift
        if self.high is not None:
            self.high += drift

    def _testify(self, seen: float, now: float, *, may_be_old: bool = False) -> None:
        """Hear a witness to what ``/time`` says against the interval."""
        pending = self._pending
        if pending is None:
            return
        if seen > pending[1] + AHEAD_MS:
            # It cannot have been sent that late.
            self._pending = None
            return
        if not may_be_old and _within(seen, pending):
            self._agreeing = max(self._agreeing, seen)
        lower = self.low is not None and pending[1] < self.low and now - self._pending_at >= LOWER_SECONDS
        if lower and not may_be_old and _within(seen, pending):
            self._move(*pending)

    def _raise(self, seen: float, now: float) -> None:
        self._shown[1] = max(self._shown[1], seen)
        if now - self._window_at >= WINDOW:
            if self.high is None and self.low is not None and now - self._window_at < 2 * WINDOW:
                # One wrong timestamp, or a clock that was set back, must not make all that follows look late for ever.
                self.low = min(self.low, max(self._shown))
            self._shown = [self._shown[1], _UNDATED]
            self._window_at = now
        if self.low is not None:
            self.low = max(self.low, seen)
        else:
            # Either a book was from the future, or this frame is late: the worse is believed, for a window.
            self.low = max(self._books, seen)

    def _beyond(self, seen: float, now: float) -> float:
        """A frame lies beyond the interval: believe it together with others, or with ``/time``."""
        known, pending = self._ahead, self._pending
        if known is None or abs(seen - known[0]) > JUMP_MS:
            known = (seen, now, 0)
        # Of those that agree the quickest counts.
        ahead, since, count = self._ahead = (max(seen, known[0]), known[1], known[2] + 1)
        long = AHEAD_SECONDS if self.high is None else DENIED_SECONDS
        if pending is not None and _within(seen, pending):
            self._move(*pending)
        elif count >= AHEAD_FRAMES and now - since >= long:
            self._move(ahead, None)
        else:
            return 0.0
        self.doubted = False
        return max(0.0, (self.low or 0.0) - seen) / 1000.0

    def _contradicted(self, low: float, high: float, received: float) -> None:
        """``/time`` denies the interval: note what it says, and believe it once it is not alone, or for long enough."""
        before = self._pending
        if before is not None and before[0] <= high and low <= before[1]:
            low, high = max(low, before[0]), min(high, before[1])
        else:
            self._pending_at, self._agreeing = received, _UNDATED
        self._pending = (low, high)
        seen, seen_at = self._seen or (0.0, _UNDATED)
        later = self.high is not None and low > self.high
        agreed = later and received - seen_at < RECENT_SECONDS and _within(seen, (low, high))
        if agreed or (seen_at < self._pending_at and received - self._pending_at >= LOWER_ALONE_SECONDS):
            self._move(low, high)

    def _move(self, low: float, high: float | None) -> None:
        if high is not None:
            # Else the backlog of a stall, in which the clock was found elsewhere, would be dated by itself.
            low = max(low, min(high, self._agreeing))
        self.low, self.high = low, high
        self._ahead = self._pending = None
        self._shown = [_UNDATED, low]
        self.moved += 1


def _within(seen: float, bounds: tuple[float, float]) -> bool:
    """Whether a frame that was not late has this offset, by an answer of ``/time``."""
    low, high = bounds
    return low - AHEAD_MS <= seen <= high + AHEAD_MS

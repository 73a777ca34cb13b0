"""What a statement of the venue is about, and from when: the dating rules, in one place.

Evidence has two times. The exchange timestamp that it states, ``since_ms``, orders it. The moment ``as_of``, on the
mirror's clock, dates it: the latest one for which it speaks. The age of a proof counts from there, never from when
somebody heard of it. Every way to a proof goes through here:

- **D1** a change or an unasked book speaks for its exchange time, never after its receipt (:func:`by_stream`); an
  answer for the moment its question was sent, less what its channel is known to lag (:func:`by_answer`).
- **D2** a state after which a change was heard is provable only up to that change (:meth:`Evidence.until`).
- **D3** nothing older than the mark becomes a baseline (:class:`Mark`).
- **D4** only what was said after a doubt clears it (:meth:`Evidence.clears`).

That answers are judged before they are used (D5) is kept by :mod:`polymirror.core.hashing`, which explains without
learning; gaps (D6) by the engine, whose time goes on in them; what is unverifiable (D7) by
:class:`polymirror.core.dialects.DialectBook`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from polymirror.core.book import Levels
from polymirror.core.proofs import ProofKind

if TYPE_CHECKING:
    from polymirror.core.clock import VenueClock

AGREEMENT_SECONDS: Final = 1.0
"""Seconds between the questions of two REST answers that lower a mark, at least."""

BEHIND_MS: Final = 2_000
"""REST was seen up to 1.1 s behind the stream: below a mark they agree within this many ms."""

AHEAD_KEPT_MS: Final = 15_000
"""A time that lay in the future when it was stated orders again once it is so long ago: the book may be quiet since."""

MAX_AHEAD: Final = 16
"""Times from the future that are remembered of a token."""

UNPROVEN_SECONDS: Final = 20.0
"""A mark that is no future time is lowered only when stream and REST stay below it for this long, if what was said
there was never proven,"""

ANSWERED_SECONDS: Final = 90.0
"""for this long if all that the stream said below it are opening books, which may come from the same cache as REST,"""

PATIENCE_SECONDS: Final = 300.0
"""and for this long if what was said there was proven: caches end."""

# One for all marks: each empty one that is made takes 216 bytes.
_NONE_SUPERSEDED: Final[frozenset[Levels]] = frozenset()


class Evidence(Struct, frozen=True, gc=False):
    """One statement of the venue about a book. Times in seconds on the mirror's clock."""

    kind: ProofKind
    since_ms: int
    """The exchange time that it states: orders it."""
    as_of: float
    """The latest moment for which it speaks; minus infinity: it cannot be dated, so it proves nothing."""
    doubts: int
    """How many doubts had been raised about the book when the message was taken, or the question sent."""
    by_stamp: float | None = None
    """Of an answer: for when it speaks by its timestamp alone, as if nobody had asked."""

    def until(self, superseded_at: float) -> Evidence:
        """Return what this says about a state that a change ended at ``superseded_at`` (D2)."""
        if self.as_of <= superseded_at:
            return self
        return Evidence(self.kind, self.since_ms, superseded_at, self.doubts, self.by_stamp)

    def clears(self, doubts: int, doubted_at: float) -> bool:
        """Whether this was said after all ``doubts``, the last one of ``doubted_at`` (D4).

        A message that was taken after a doubt was sent after what raised it, whatever its time.
        """
        return self.doubts >= doubts and (self.kind is not ProofKind.PROBE or self.as_of >= doubted_at)


def by_stream(at_ms: int, clock: VenueClock, heard_at: float, now: float) -> float:
    """Date a message that came unasked, read at ``heard_at`` and taken now (D1).

    Minus infinity: it cannot be dated, because its time lies in the future, or nothing is known of the clock.
    """
    return float("-inf") if clock.low is None or clock.is_ahead(at_ms, now) else clock.date(at_ms, heard_at)


def by_answer(asked_at: float, lag: float) -> float:
    """Date an answer to a question of ``asked_at``; its channel lagged by up to ``lag`` seconds lately (D1)."""
    return asked_at - lag


class Mark(Struct, eq=False, gc=False):
    """The newest exchange time that was heard of a token, or proven, and is not in its book or buffer (D3).

    It outlives the book. Nothing older becomes a baseline, and at its own millisecond no state that is known to be
    superseded. A mark can be wrong, by a future timestamp or because the venue's clock was set back: it is lowered
    when the stream and two REST answers agree below it. It is in no cycle, so the collector need not visit it.
    """

    at_ms: int = 0
    # Times that lay in the future when they were stated: they order nothing, not even when they have just come.
    _ahead: tuple[int, ...] = ()
    # The newest exchange time that was proven.
    proven_ms: int = 0
    # States of the mark's own millisecond that others followed.
    _superseded: frozenset[Levels] = _NONE_SUPERSEDED
    # What the stream said below the mark: when first, its newest exchange time, and whether nobody had asked.
    _stream: tuple[float, int, bool] | None = None
    # The first REST answer below the mark: when it was asked for, and its exchange time.
    _answer: tuple[float, int] | None = None

    def rise(self, at_ms: int, superseded: frozenset[Levels] = _NONE_SUPERSEDED) -> None:
        """Note that exchange time ``at_ms`` was heard or proven, after ``superseded`` states of the same time."""
        if at_ms > self.at_ms:
            self.at_ms, self._superseded = at_ms, superseded
            self._stream = self._answer = None
        elif at_ms == self.at_ms:
            self._superseded |= superseded

    def is_ahead(self, at_ms: int, now: float, clock: VenueClock) -> bool:
        """Whether a stated time lies in the future, or did when it was stated first."""
        if clock.is_ahead(at_ms, now):
            if at_ms not in self._ahead:
                self._ahead = (*self._ahead, at_ms)[-MAX_AHEAD:]
            return True
        return at_ms in self._ahead and clock.now_ms(now) - at_ms < AHEAD_KEPT_MS

    def admits(self, at_ms: int, levels: Levels) -> bool:
        """Whether a book of this exchange time may be a baseline."""
        return at_ms > self.at_ms or (at_ms == self.at_ms and levels not in self._superseded)

    def stream_below(self, at_ms: int, now: float, *, asked: bool = False) -> None:
        """Note that the stream said something older than the mark; ``asked``: only because it was subscribed."""
        since, newest, unasked = self._stream or (now, at_ms, False)
        self._stream = (since, max(newest, at_ms), unasked or not asked)

    def answer_below(
        self, at_ms: int, floor_ms: int, asked_at: float, now: float, clock: VenueClock, proven_at: float
    ) -> int | None:
        """Note a REST answer older than what is known, ``floor_ms``; return to which time the mark is to be lowered.

        ``proven_at`` is the moment for which the stream proved the book last.
        """
        if self._stream is None:
            return None
        since, said_ms, unasked = self._stream
        if proven_at > since:
            # The stream went on above the mark: what was said below it was late.
            self._stream = self._answer = None
            return None
        if asked_at < since or at_ms < said_ms - BEHIND_MS:
            # From before the stream spoke: a cache, perhaps.
            return None
        if self._answer is None or at_ms < self._answer[1]:
            self._answer = (asked_at, at_ms)
            return None
        if clock.is_ahead(floor_ms, now):
            patience = 0.0
        else:
            unproven = UNPROVEN_SECONDS if unasked else ANSWERED_SECONDS
            patience = PATIENCE_SECONDS if at_ms < self.proven_ms else unproven
        if asked_at - self._answer[0] < AGREEMENT_SECONDS or now - since < patience:
            return None
        return max(at_ms, said_ms)

    def lower(self, at_ms: int) -> None:
        """Believe that nothing newer than ``at_ms`` was true."""
        self.at_ms, self._superseded = at_ms, _NONE_SUPERSEDED
        self.proven_ms = min(self.proven_ms, at_ms)
        self._stream = self._answer = None

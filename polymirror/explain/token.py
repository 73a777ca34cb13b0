"""One token, followed through a bundle: each hash and each whole book is held against what its book was.

When a whole book differs from ours, both are followed on: the hashes of the changes that come then fit one of the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

from polymirror.explain.books import Book
from polymirror.explain.statements import Statement, Verdict
from polymirror.explain.track import Track

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.explain.books import Hasher
    from polymirror.explain.wire import Entry, Whole

LATE_HASHES: Final = 3
"""A hash may be that of the book so many changes later,"""

LATE_SECONDS: Final = 1.0
"""or so much later."""

AHEAD_SECONDS: Final = 1.5
"""How long a whole book may be ahead of the changes that lead to it, and REST behind."""

MAX_THOROUGH: Final = 60
"""Hashes in a row that are tried with everything they might cover, before only what is likely is tried."""

MAX_RIVALS: Final = 8
"""Whole books that are followed beside ours."""

OWN_HASH: Final = "its own hash is not that of its levels"


@define(eq=False)
class Unfit:
    """A hash that fits nothing yet."""

    n: int
    at: float
    at_ms: int
    hash: str
    book: Book
    changes: int = 0


@define(eq=False)
class Rival:
    """A whole book that is not ours, followed beside it until it is known which of the two is right."""

    statement: Statement
    whole: Whole
    track: Track
    # True as long as the changes that lead to it may still come.
    early: bool = True

    @property
    def base(self) -> Book:
        """The book as it came."""
        return Book.of(self.whole.bids, self.whole.asks)


class Token:
    """``say`` takes each statement; they come in the order in which they are decided, not in that of their lines."""

    def __init__(self, token: str, hasher: Hasher, say: Callable[[Statement], None]) -> None:
        self.token = token
        # The book; None: it cannot be followed, since there was no whole one yet.
        self.track: Track | None = None
        self._hasher = hasher
        self._say = say
        self._rivals: list[Rival] = []
        self._unfit: list[Unfit] = []
        # Hashes that fitted: a message that is delivered again says nothing new.
        self._fitted: dict[str, None] = {}
        self._misses = 0

    def forget(self) -> None:
        """What is known may be outdated from here on."""
        self.pass_time(float("inf"))
        self.track = None
        self._rivals.clear()
        self._unfit.clear()

    # ---- Changes -----------------------------------------------------------------------------------

    def apply(self, at: float, order_ms: int, entry: Entry) -> bool:
        """Apply a change; return whether it is none of the past."""
        newest = self.track is None or order_ms >= self.track.at_ms
        for track in (self.track, *(rival.track for rival in self._rivals)):
            if track is not None:
                track.apply(at, order_ms, entry)
        return newest

    def take_hash(self, n: int, at: float, at_ms: int, stated: str) -> None:
        """Hold the book as it is against the hash that came with its newest change."""
        track, fits = self.track, self._hasher.fits
        if track is None or not stated:
            return
        self._try_late(n)
        if stated in self._fitted:
            return
        if fits(self.token, at_ms, track.book, stated):
            self._fits(n, at, at_ms, stated)
            for rival in list(self._rivals):
                if at_ms > rival.whole.at_ms and not fits(self.token, at_ms, rival.track.book, stated):
                    self._settle(rival, Verdict.STATEMENT_WRONG)
            return
        winner = next((each for each in self._rivals if fits(self.token, at_ms, each.track.book, stated)), None)
        if winner is None:
            self._unfit.append(Unfit(n, at, at_ms, stated, track.book.copy()))
        else:
            self._settle(winner, Verdict.OURS_WRONG)
            self._fits(n, at, at_ms, stated)

    def _fits(self, n: int, at: float, at_ms: int, stated: str, how: str = "") -> None:
        self._fitted[stated] = None
        self._misses = 0
        self._say(Statement(n, at, "hash", self.token, agrees=True, full=True, at_ms=at_ms, detail=how))

    def _try_late(self, n: int) -> None:
        """Try hashes that fitted nothing when they came, with the book as it is now."""
        for each in list(self._unfit):
            if each.n == n or self.track is None:
                continue
            each.changes += 1
            if self._hasher.fits(self.token, each.at_ms, self.track.book, each.hash):
                self._unfit.remove(each)
                later = "with the next change" if each.changes == 1 else f"{each.changes} changes later"
                self._fits(each.n, each.at, each.at_ms, each.hash, later)
            elif each.changes >= LATE_HASHES:
                self._give_up(each)

    def _give_up(self, each: Unfit, *, search: bool = True) -> None:
        self._unfit.remove(each)
        search = search and self._misses < MAX_THOROUGH
        if search and self._hasher.fits(self.token, each.at_ms, each.book, each.hash, thorough=True):
            self._fits(each.n, each.at, each.at_ms, each.hash, self._hasher.how)
            return
        self._misses += 1
        self._say(Statement(each.n, each.at, "hash", self.token, agrees=False, full=True, at_ms=each.at_ms))

    # ---- Whole books -------------------------------------------------------------------------------

    def begin(self, whole: Whole, at: float) -> None:
        """Begin with a book that the mirror had proven and wrote down, if there is nothing yet."""
        if self.track is None:
            self._hasher.learn(whole)
            self.track = Track.of(whole, at)

    def take_whole(self, whole: Whole, n: int, at: float, witness: str, asked: float) -> None:
        """Hold the book against a whole one, which was asked for at a time, or came then."""
        statement = Statement(n, at, witness, self.token, agrees=None, full=True, at_ms=whole.at_ms)
        self._say(statement)
        other, track = Track.of(whole, at), self.track
        statement.own_hash = self._hasher.explains(whole, other.book)
        if track is None:
            self.track, statement.verdict = other, Verdict.BEGINS
            if statement.own_hash is False:
                statement.agrees, statement.detail = False, OWN_HASH
            return
        until = track.ended(other.book)
        if until is not None and until >= asked - AHEAD_SECONDS:
            statement.agrees = True
            track.at_ms = max(track.at_ms, whole.at_ms)
            self._confirm(statement, other)
            return
        same = next((each for each in self._rivals if each.track.ended(other.book) is not None), None)
        if same is not None:
            # A second one that says the same as the first that differed.
            statement.agrees = False
            statement.ours, statement.theirs = track.as_of(whole.at_ms), other.book.copy()
            if witness == "rest" or statement.own_hash:
                self._settle(same, Verdict.OURS_WRONG)
        elif until is not None:
            statement.verdict = Verdict.OLD
            statement.agrees = False if witness == "rest" else None
            statement.detail = f"it is as the book was {asked - until:.1f} s before"
        else:
            if len(self._rivals) == MAX_RIVALS:
                self._differ(self._rivals.pop(0))
            rival = Rival(statement, whole, other)
            self._rivals.append(rival)
            if whole.at_ms < track.at_ms or statement.own_hash is False:
                self._judge(rival)

    def _confirm(self, statement: Statement, other: Track) -> None:
        """A whole book is ours: what differed from it was wrong."""
        for rival in list(self._rivals):
            if rival.whole.at_ms <= other.at_ms and not rival.track.book.equals(other.book):
                self._settle(rival, Verdict.STATEMENT_WRONG)
        for each in list(self._unfit):
            if each.at < statement.at:
                self._give_up(each)

    def _settle(self, rival: Rival, verdict: Verdict) -> None:
        """It is known which of the two is what the venue has."""
        statement = rival.statement
        self._rivals.remove(rival)
        self._differ(rival)
        statement.verdict = verdict
        if verdict is Verdict.OURS_WRONG:
            for each in list(self._unfit):
                self._give_up(each, search=False)
            self.track = rival.track
            for other in list(self._rivals):
                same = other.track.book.equals(rival.track.book)
                self._rivals.remove(other)
                self._differ(other)
                other.statement.verdict = Verdict.OURS_WRONG if same else Verdict.OPEN

    def _differ(self, rival: Rival) -> None:
        rival.statement.agrees = False
        if self.track is not None and rival.statement.theirs is None:
            rival.statement.ours, rival.statement.theirs = self.track.as_of(rival.whole.at_ms), rival.base

    def _judge(self, rival: Rival) -> None:
        """The changes that would lead to a whole book did not come."""
        rival.early = False
        self._differ(rival)
        if rival.statement.own_hash is False:
            self._settle(rival, Verdict.STATEMENT_WRONG)
            rival.statement.detail = OWN_HASH

    def pass_time(self, at: float) -> None:
        """Give up waiting for what did not come."""
        for each in list(self._unfit):
            if at > each.at + LATE_SECONDS:
                self._give_up(each)
        for rival in [each for each in self._rivals if each.early]:
            self._look_again(rival, at)

    def _look_again(self, rival: Rival, at: float) -> None:
        """Whether the changes that lead to a whole book have come meanwhile."""
        track, over = self.track, at > rival.statement.at + AHEAD_SECONDS
        if track is None:
            return
        now = track.at_ms <= rival.whole.at_ms and track.book.equals(rival.base)
        if now or (over and track.as_of(rival.whole.at_ms).equals(rival.base)):
            rival.statement.agrees = True
            self._rivals.remove(rival)
        elif over:
            self._judge(rival)

"""One token's missed hashes: announced, and not fitting at the end of their batch.

Most are no sign of anything. The venue hashed a change or two late, and the hash fits then; or the last trade price in
it is announced within 30 ms; or two messages of a moment stand swapped, and the next batch is proven. So a missed hash
first gets its grace, in which only cheap tries are made: one digest with each message, on the book as it stands then,
and one with each announced trade price, on the book that it was announced for. If nothing newer is proven at the end
of the grace, it is searched once, with all tick sizes and trade prices, as soon as the mirror's budget allows.

What is found late proves the state of its own message, as of that message, and a state that something followed only up
to then (D1, D2): by the ways of :class:`~polymirror.core.proven.Proven`. Times in seconds on the mirror's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from attrs import define

from polymirror.core.book import OrderBook
from polymirror.core.evidence import Evidence
from polymirror.core.proofs import ProofKind, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.core.book import Texts, Undo
    from polymirror.core.hashing import MarketHash
    from polymirror.core.messages import Change
    from polymirror.core.outbox import Outbox
    from polymirror.core.proven import Proven

HEAL_CHANGES: Final = 3
"""Messages after a hash miss within which the announced hash may still fit."""

SEARCH_SECONDS: Final = 0.05
"""Age of a miss at which it is searched: trade prices are announced within 0.03 s."""

MAX_PENDING_HASHES: Final = 4
"""Missed hashes of one token that are watched at once."""

_NEVER: Final = float("inf")


@define(eq=False)
class MissedHash:
    """An announced hash that did not fit yet, and the book that it was announced for."""

    at_ms: int
    """Exchange time of its delta: the hash is over this timestamp."""
    announced: str
    as_of: float
    """For when its delta speaks: what it proves is proven as of then."""
    doubts: int
    """How many doubts there had been."""
    since: float
    """When its batch was over."""
    texts: Texts
    newest: Undo
    """The newest change in that book."""
    left: int
    """Messages that may still make it fit."""
    searched: bool = False


class Watched(Protocol):
    """What is needed of a token."""

    asset_id: str
    hashes: MarketHash
    outbox: Outbox
    proven: Proven
    miss_since: float | None
    disagreed_at: float

    def prove(self, evidence: Evidence, now: float) -> None:
        """The book as it stands equals the venue's."""

    def prove_past(self, undos: list[Undo], book: OrderBook, evidence: Evidence, now: float) -> None:
        """The book as it was before ``undos`` equals the venue's."""


class Misses:
    """The missed hashes of one token, oldest first."""

    __slots__ = ("_token", "search_at", "watched")

    def __init__(self, token: Watched) -> None:
        self._token = token
        self.watched: list[MissedHash] = []
        # When to look for one that is to be searched; infinity: none is.
        self.search_at: float = _NEVER

    def clear(self) -> None:
        """Forget all of them: the book is gone, or the venue's word for it is taken."""
        self.watched.clear()
        self.search_at = _NEVER

    def watch(self, stated: Change, now: float) -> None:
        """The newest change's announced hash did not fit when its batch was over."""
        token, proven = self._token, self._token.proven
        if not proven.journal:
            # Too old to be followed: nothing is known of what it is the hash of.
            self._count(Verdict.MISMATCH)
            return
        if len(self.watched) >= MAX_PENDING_HASHES:
            # The oldest one is kept if it is still to be searched: in a busy market none would get that old.
            del self.watched[1 if self._waits(self.watched[0]) else 0]
            self._count(Verdict.MISMATCH)
        at_ms, as_of, doubts = proven.stated_ms, proven.stated_as_of, proven.stated_doubts
        texts, newest = proven.book.texts(), proven.journal[-1]
        self.watched.append(MissedHash(at_ms, stated.hash, as_of, doubts, now, texts, newest, HEAL_CHANGES))
        self.search_at = min(self.search_at, now + SEARCH_SECONDS)
        token.outbox.rearm[token.asset_id] = None

    def leave_out(self, change: Change, at_ms: int, message: int) -> bool:
        """Whether a delta that is not newer than the book is overtaken, or one that was delivered again.

        Within its millisecond the same change may also be a new one: its hash tells. A repetition has the hash of a
        book that was here already. A new one has that of a book that was not, or the one that the newest change misses.
        """
        token, proven = self._token, self._token.proven
        if not proven.overtaken(change, at_ms, message):
            return False
        stated = proven.stated
        if at_ms < proven.last_ms or not change.hash or stated is None:
            return True
        book = OrderBook.restored(proven.book.levels(), proven.book.texts())
        book.change(change, at_ms)
        missed = change.hash == stated.hash and not proven.hash_proven
        if not missed and proven.changes_since(book, at_ms) is not None:
            return True
        return not token.hashes.prove(token.asset_id, proven.stated_ms, book, change.hash)

    def heal(self, now: float) -> None:
        """After a message: has the book as it stands a hash that was announced a change or two ago?"""
        for each in self.watched:
            each.left -= 1
        self._heal((), now)

    def traded(self, trades: Sequence[str], now: float) -> None:
        """A trade price was announced: perhaps a missed hash has it already, if only a change or two late."""
        self._fit(trades, now)
        self._heal(trades, now)

    def on_time(self, now: float) -> None:
        """Search what is old enough, and not overtaken by a newer proof: once, with everything."""
        if now < self.search_at:
            return
        self._fit((), now)
        token, hashes = self._token, self._token.hashes
        while (each := self._next_due(now)) is not None and now >= hashes.next_search():
            each.searched = True
            if hashes.search(token.asset_id, each.at_ms, each.texts, each.announced, now):
                # With what is known now, others may fit as well.
                self._fit((), now)
        self._tidy()
        waiting = [each.since for each in self.watched if self._waits(each)]
        due = min(waiting) + SEARCH_SECONDS if waiting else _NEVER
        self.search_at = due if due > now else hashes.next_turn(now)

    def _next_due(self, now: float) -> MissedHash | None:
        """Return the oldest one whose grace is over and that is to be searched."""
        first = next((each for each in self.watched if self._waits(each)), None)
        return None if first is None or now < first.since + SEARCH_SECONDS else first

    def _heal(self, trades: Sequence[str], now: float) -> None:
        """Try trade prices, or the known one, on the book as it stands."""
        token, proven = self._token, self._token.proven
        texts = proven.book.texts()
        for each in tuple(self.watched):
            if each.left >= 0 and token.hashes.fits(token.asset_id, each.at_ms, texts, each.announced, trades):
                self.watched.remove(each)
                self._count(Verdict.HEALED)
                if trades:
                    self._prove_tip(each, now)
                else:
                    # A message came: it is newer than all that was said before.
                    token.prove(Evidence(ProofKind.HASH, proven.last_ms, each.as_of, each.doubts), now)
        self._tidy()

    def _tidy(self) -> None:
        """Drop what nothing can come of any more."""
        kept = [each for each in self.watched if each.left > 0 or self._waits(each)]
        for _ in range(len(self.watched) - len(kept)):
            self._count(Verdict.MISMATCH)
        self.watched = kept

    def _fit(self, trades: Sequence[str], now: float) -> None:
        """Try trade prices, or the known one, on the books that the hashes were announced for; the newest first."""
        token = self._token
        for each in reversed(tuple(self.watched)):
            if token.hashes.fits(token.asset_id, each.at_ms, each.texts, each.announced, trades):
                self.watched.remove(each)
                self._count(Verdict.MATCH)
                self._prove(each, now)

    def _prove(self, miss: MissedHash, now: float) -> None:
        """The book that a hash was announced for is the venue's, as of its message: if nothing newer is proven."""
        token, proven, newest = self._token, self._token.proven, miss.newest
        undos = proven.changes_after(newest)
        if undos is None or len(undos) > proven.unproven:
            return
        if undos:
            book = OrderBook.restored(proven.book.levels_before(undos), miss.texts)
            token.prove_past(undos, book, Evidence(ProofKind.HASH, newest.at_ms, miss.as_of, miss.doubts), now)
        else:
            proven.hash_fits()
            self._prove_tip(miss, now)

    def _prove_tip(self, miss: MissedHash, now: float) -> None:
        """The book as it stands is the venue's, as of the message of a missed hash.

        What was said against it since then, by a newer book perhaps, is not answered by that.
        """
        token, proven = self._token, self._token.proven
        evidence = Evidence(ProofKind.HASH, proven.last_ms, miss.as_of, miss.doubts)
        if token.disagreed_at > miss.since:
            token.prove_past([], proven.book, evidence, now)
        else:
            token.prove(evidence, now)

    def _waits(self, miss: MissedHash) -> bool:
        """Whether it is to be searched: it was not yet, and nothing was proven since."""
        since = self._token.miss_since
        return not miss.searched and since is not None and miss.since >= since

    def _count(self, verdict: Verdict) -> None:
        self._token.outbox.count(ProofKind.HASH, verdict)

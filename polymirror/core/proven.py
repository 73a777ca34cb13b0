"""What is known of one token's book: its levels, the newest proven state, and the way back to it.

The only owner of these facts; nobody else sets them. What can be read is never simply the current levels: it is the
newest state that was *proven*, with the time for which that holds. Changes since then are kept in a journal, so the
proven state can be rebuilt while newer changes wait for their proof, and so it can be told whether the book ever was
what the venue shows. A lost delta therefore cannot show: the state it spoils never gets proven.

Pure facts, no decisions: what follows from a proof is the business of :mod:`polymirror.core.token`. Times in seconds
on the mirror's monotonic clock, exchange times in ms.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from polymirror.core.book import NO_BOOK, Undo
from polymirror.core.evidence import Evidence, Mark
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.units import PRICE_SCALE, PRICES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.core.book import Levels, OrderBook
    from polymirror.core.clock import VenueClock
    from polymirror.core.messages import Change

JOURNAL_MS: Final = 5_000
"""Changes older than this (exchange time) leave the journal: no REST answer lags further."""

QUIET_SECONDS: Final = 2 * JOURNAL_MS / 1000
"""A book without changes for this long keeps no journal, and takes less memory until the next change."""

HINT_SECONDS: Final = 20.0
"""For how long an unproven statement of the stream keeps older answers from being young: REST was seen 1.1 s behind."""

REDATED_SECONDS: Final = 0.001
"""A proven state is dated anew if what follows shows that it is older than believed by more than this."""

MAX_SUPERSEDED: Final = 64
"""States of one millisecond that are remembered as superseded."""

MAX_EARLIER: Final = 16
"""Hashes of one millisecond that the book is compared with when its batch is over."""

_NEVER: Final = float("-inf")

_UNHINTED: Final = (0, _NEVER)


class Proven:
    """One token's book, its journal and its newest proof."""

    # More attributes than a shared instance dict takes: slots save memory, and the caches feel it.
    __slots__ = (
        "_disordered_ms", "_hint", "_max_journal", "baseline_ms", "book", "epoch", "generation", "hash_proven",
        "journal", "last_ms", "loaded", "mark", "only_rest", "past_levels", "proof", "proven_ms", "stated",
        "stated_as_of", "stated_doubts", "stated_ms", "tip_levels", "unasked", "unproven", "withheld",
    )  # fmt: skip

    def __init__(self, max_journal: int) -> None:
        self.book: OrderBook = NO_BOOK
        # The book is loaded and follows the stream.
        self.loaded: bool = False
        # Grows by one whenever the book is cleared or replaced.
        self.epoch: int = 0
        # Grows with the epoch, and with each subscription: what was asked before belongs to another generation.
        self.generation: int = 0
        # The newest exchange time that is neither in the book nor in a buffer.
        self.mark: Mark = Mark()
        # The newest exchange time that the stream stated without proof, and when that was heard.
        self._hint = _UNHINTED
        # Exchange time of the newest change or baseline in the book, and of the baseline.
        self.last_ms: int = 0
        self.baseline_ms: int = 0
        # The newest delta: its hash and stated top are what the book must agree with;
        self.stated: Change | None = None
        # the exchange time that it states, for when it speaks, and how many doubts there were when it came.
        self.stated_ms: int = 0
        self.stated_as_of: float = _NEVER
        self.stated_doubts: int = 0
        # The newest delta's own hash fitted.
        self.hash_proven: bool = False
        # The baseline came from REST, and nothing on the stream has confirmed it yet.
        self.only_rest: bool = False
        # Changes applied to the book, oldest first. An empty deque takes 760 bytes, so it is made with the first one.
        self.journal: deque[Undo] | tuple[()] = ()
        self._max_journal = max_journal
        # Changes of a later exchange time than this stand in the journal in its order.
        self._disordered_ms = 0
        # How many of the journal's newest changes came after the proven state.
        self.unproven: int = 0
        self.proof: Proof | None = None
        # The newest proof of the same levels that rests on no question: by the stream, or by an answer's timestamp.
        self.unasked: Proof | None = None
        # What answers have proven since, while a newer change waits for its proof.
        self.withheld: Proof | None = None
        # Exchange time of the proven state.
        self.proven_ms: int = 0
        # The proven levels, once built, while the book has moved on.
        self.past_levels: Levels | None = None
        # The book's levels, once copied, while nothing has changed.
        self.tip_levels: Levels | None = None

    def age(self, now: float) -> float | None:
        """Return how many seconds ago what is proven was so; None: nothing is proven."""
        return None if self.proof is None else now - self.proof.as_of

    # ---- The book ----------------------------------------------------------------------------------

    def load(self, book: OrderBook, evidence: Evidence) -> None:
        """Replace the book, and everything that is known relative to it."""
        self.book, self.loaded = book, True
        self.generation += 1
        self.proof = Proof(evidence.kind, evidence.as_of, self.epoch)
        self.unasked = self._without_asking(evidence)
        self.only_rest = evidence.kind is ProofKind.PROBE
        self.restart(evidence.since_ms)

    def restart(self, at_ms: int) -> None:
        """Keep the levels, which are proven, as a baseline of exchange time ``at_ms``; forget what led to them."""
        self.last_ms = self.proven_ms = self.baseline_ms = at_ms
        self.stated = None
        self.stated_as_of = _NEVER
        self.hash_proven = False
        self.journal = ()
        self.unproven = 0
        self.past_levels = self.tip_levels = None

    def unprove(self) -> None:
        """Nothing proves the baseline yet."""
        self.proof = self.unasked = None

    def swap(self, book: OrderBook, evidence: Evidence) -> None:
        """Replace a proven book by an equal one, spelled as the venue does now: a new epoch, and nothing else."""
        self.book = book
        self.epoch += 1
        self.generation += 1
        self._disordered_ms = max(self._disordered_ms, self.last_ms)
        self.last_ms = self.baseline_ms = evidence.since_ms
        if self.proof is not None:
            self.proof = Proof(self.proof.kind, self.proof.as_of, self.epoch)

    def clear(self, kept_from_ms: int | None = None) -> None:
        """Forget the book; the epoch grows, the mark stays. Changes from ``kept_from_ms`` on are kept elsewhere."""
        if self.proof is not None:
            self.mark.proven_ms = max(self.mark.proven_ms, self.proven_ms)
        if self.loaded and kept_from_ms is not None:
            self.mark.rise(kept_from_ms)
        elif self.loaded:
            self.mark.rise(self.last_ms, self._superseded())
        self.epoch += 1
        self.generation += 1
        self.loaded = False
        self.book = NO_BOOK
        self.proof = self.unasked = self.withheld = None
        self.restart(0)

    def _superseded(self) -> frozenset[Levels]:
        """Return the states of the newest millisecond that others followed, and that did not come back."""
        undos = [undo for undo in self.journal if undo.at_ms == self.last_ms][-MAX_SUPERSEDED:]
        states = {self.book.levels_before(undos[start:]) for start in range(1, len(undos))}
        return frozenset(states - {self.book.levels()}) if states else frozenset()

    @property
    def floor_ms(self) -> int:
        """The newest exchange time that is known: what is older tells nothing new."""
        return max(self.mark.at_ms, self.last_ms)

    @property
    def is_empty(self) -> bool:
        """Whether the book has no level at all: the venue empties a book when its market is settled."""
        return self.loaded and not self.book.bids.keys and not self.book.asks.keys

    # ---- Changes -----------------------------------------------------------------------------------

    def follow(self, undo: Undo, change: Change, stated_ms: int, as_of: float, doubts: int) -> None:
        """Note a change that was just made in the book: nothing proves it yet.

        ``stated_ms`` is what the venue hashed; it speaks for ``as_of``, and came after so many doubts.
        """
        if self.unproven == 0:
            # Free when a reader copied the levels since the last change.
            self.past_levels = self.tip_levels
            self._withhold(undo.at_ms, as_of)
            # What it ended was true until then at the latest (D2).
            if as_of != _NEVER and self.proof is not None and self.proof.as_of > as_of:
                self.proof = Proof(self.proof.kind, as_of, self.epoch)
        elif self.unproven == self._max_journal and self.past_levels is None:
            # The journal is about to lose the way back.
            self.past_levels = self.book.levels_before([*self._newest(self.unproven), undo])
        self.tip_levels = None
        # If nobody knows when that was, nothing later proves what it ended.
        undo.as_of = as_of
        (self.journal or self._begin_journal()).append(undo)
        self.unproven += 1
        at_ms = undo.at_ms
        if at_ms >= self.last_ms:
            self.last_ms = at_ms
            self.stated = change
            self.stated_ms = stated_ms
            self.stated_as_of = as_of
            self.stated_doubts = doubts
            self.hash_proven = False
        else:
            self._disordered_ms = max(self._disordered_ms, self.last_ms)

    def take(self, undo: Undo, change: Change, at_ms: int, kind: ProofKind, as_of: float) -> None:
        """Note a change that was just made and is proven already: :meth:`follow` and :meth:`prove` in one."""
        (self.journal or self._begin_journal()).append(undo)
        self.tip_levels = self.past_levels = self.withheld = None
        self.unproven = 0
        self.last_ms = self.proven_ms = self.stated_ms = at_ms
        self.stated, self.stated_as_of = change, as_of
        self.hash_proven = True
        self.only_rest = False
        self.proof = self.unasked = Proof(kind, as_of, self.epoch)

    def adopt(self, book: OrderBook, evidence: Evidence) -> None:
        """Change the levels into those of a newer book: what is read before and after belongs together."""
        # There may be more differences than the journal can take back.
        self.past_levels = self.levels()
        undos = self.book.turn_into(book, evidence.since_ms)
        self.tip_levels = None
        for undo in undos[-self._max_journal :]:
            undo.as_of = evidence.as_of
            (self.journal or self._begin_journal()).append(undo)
            self.unproven += 1
        self.last_ms = self.baseline_ms = evidence.since_ms
        self.stated = None
        self.stated_as_of, self.stated_doubts = evidence.as_of, evidence.doubts
        self.hash_proven = True

    def _begin_journal(self) -> deque[Undo]:
        journal: deque[Undo] = deque(maxlen=self._max_journal)
        self.journal = journal
        return journal

    def overtaken(self, change: Change, at_ms: int, message: int) -> bool:
        """Whether a delta that is not newer than the book must not be applied: in the book already, or overtaken."""
        if at_ms < self.baseline_ms or (at_ms < self.last_ms and self.hash_proven):
            return True
        is_bid, price = change.side == "BUY", PRICES[change.price]
        same = self.changes_of(is_bid, price if is_bid else PRICE_SCALE - price, at_ms)
        if at_ms < self.last_ms:
            return any(undo.at_ms > at_ms for undo in same)
        if message and same and same[0].message == message:
            # What its own message said before: that is in order.
            return False
        # Delivered again within the newest millisecond: the same change, in the book before another one.
        return any(undo.delta(change.asset_id).size == change.size for undo in same[1:])

    def changes_of(self, is_bid: bool, key: int, at_ms: int) -> list[Undo]:  # noqa: FBT001 - as in an Undo
        """Return the changes of one level from exchange time ``at_ms`` on, newest first.

        Every later message of a batch asks. Where the journal is in order, only its end is looked at: that saves 14,500
        of the 105,900 instructions that a change of a recorded busy market takes on the mean.
        """
        found, ordered = [], at_ms > self._disordered_ms
        for undo in reversed(self.journal):
            if undo.at_ms >= at_ms:
                if undo.key == key and undo.is_bid is is_bid:
                    found.append(undo)
            elif ordered:
                break
        return found

    def repeats(self, change: Change, stated_ms: int) -> bool:
        """Whether this is the newest delta, delivered again."""
        return stated_ms == self.stated_ms and change == self.stated

    def deltas(self, asset_id: str, most: int, clock: VenueClock) -> list[tuple[int, Change, float, int]]:
        """Return up to ``most`` of the newest changes as they came, with their dates and messages.

        The last of them has all that was stated in it.
        """
        deltas = [
            (undo.at_ms, undo.delta(asset_id), undo.as_of or clock.date(undo.at_ms, float("inf")), undo.message)
            for undo in self.journal
        ]
        if (stated := self.stated) is not None:
            for i in range(len(deltas) - 1, -1, -1):
                at_ms, delta, as_of, message = deltas[i]
                if (delta.price, delta.size, delta.side) == (stated.price, stated.size, stated.side):
                    deltas[i] = (at_ms, stated, as_of, message)
                    return deltas[-most:]
        # What is left would not end with what the venue stated last, so nothing could prove it.
        return []

    def forget(self, now: float) -> None:
        """Drop what no answer can ask for any more."""
        journal = self.journal
        if not journal:
            return
        while len(journal) > self.unproven and journal[0].at_ms < self.last_ms - JOURNAL_MS:
            journal.popleft()
        if journal and not self.unproven and now - self.stated_as_of > QUIET_SECONDS:
            self.journal = ()
            self.book.rest()

    def subscribed(self) -> None:
        """The token was subscribed anew: what was asked before says nothing any more."""
        self.generation += 1

    def hash_fits(self) -> None:
        """The newest delta's own hash fits the book."""
        self.hash_proven = True

    def own_hash_fits(self, image: Proof) -> None:
        """What a mirror image proved, the newest delta's own hash proves as well."""
        self.proof = self.unasked = Proof(ProofKind.HASH, image.as_of, self.epoch)

    def distrust_hash(self) -> None:
        """The newest delta's hash may be of the end of its batch, and is to be tried there."""
        self.hash_proven = False

    # ---- Proofs ------------------------------------------------------------------------------------

    def prove(self, evidence: Evidence) -> bool | None:
        """The book as it stands equals the venue's. Return whether newer levels can be read; None: it is refused.

        A crossed book is never taken as proven, whatever the venue says: nobody can trade on it.
        """
        if evidence.as_of == _NEVER or self.book.crossed():
            return None
        newer = self.unproven > 0 or self.proof is None
        self._prove(evidence, newer=newer)
        self.unproven = 0
        self.past_levels = None
        if evidence.kind is not ProofKind.PROBE:
            self.only_rest = False
        if evidence.since_ms > self.last_ms:
            self.mark.rise(evidence.since_ms)
        self.proven_ms = self.last_ms
        return newer

    def prove_past(self, undos: list[Undo], book: OrderBook, evidence: Evidence) -> bool:
        """The state before the journal's newest changes ``undos`` equals the venue's ``book``.

        It was superseded by the first of them, and is provable only up to then (D2). Nothing proves that one yet, so
        a change before it may be missing: only the state's own timestamp tells for sure. Return whether newer levels
        can be read.
        """
        if undos:
            evidence = evidence.until(undos[0].as_of)
            if evidence.by_stamp is not None:
                evidence = evidence.until(evidence.by_stamp)
        if book.crossed() or evidence.as_of == _NEVER:
            return False
        newer = len(undos) != self.unproven or self.proof is None
        self._prove(evidence, newer=newer)
        self.unproven = len(undos)
        self.past_levels = book.levels()
        self.proven_ms = evidence.since_ms
        return newer

    def _prove(self, evidence: Evidence, *, newer: bool) -> None:
        proof = self.proof
        if newer or (self.withheld is not None and self.withheld.as_of <= evidence.as_of):
            self.withheld = None
        if newer or proof is None or evidence.as_of > proof.as_of:
            # The same levels, proven again: the newest proof counts.
            self.proof = Proof(evidence.kind, evidence.as_of, self.epoch)
            if newer or evidence.kind is not ProofKind.PROBE:
                self.unasked = self._without_asking(evidence)

    def _without_asking(self, evidence: Evidence) -> Proof:
        """Return what is proven by timestamps alone: an answer may be from before a change that was lost."""
        as_of = evidence.as_of if evidence.by_stamp is None else min(evidence.as_of, evidence.by_stamp)
        return Proof(evidence.kind, as_of, self.epoch)

    @property
    def heard_proven_at(self) -> float:
        """The moment for which the stream itself proved the newest proven state; minus infinity: it never did."""
        unasked = self.unasked
        return _NEVER if unasked is None or unasked.kind is ProofKind.PROBE else unasked.as_of

    def superseded(self, at_ms: int, as_of: float) -> None:
        """Something newer than the proven state was heard, of exchange time ``at_ms`` and dated ``as_of`` (D2)."""
        if at_ms > self.proven_ms:
            self._withhold(at_ms, as_of)
            if self.proof is not None and as_of < self.proof.as_of:
                self.proof = Proof(self.proof.kind, as_of, self.epoch)

    def _withhold(self, at_ms: int, as_of: float) -> None:
        """Something newer was heard, and is not proven yet: the answers that proved the book may have missed a change.

        An answer may be from before a change that was lost. Only a proof of what is newer tells; until then, what was
        proven by timestamps is what can be relied on. ``at_ms`` and ``as_of`` are the times of what is newer.
        """
        proof, known = self.proof, self.unasked
        if proof is None or known is None:
            return
        # The proven state's place in time by what followed: its timestamp could not be dated then, or by a clock that
        # is known better now, since something quicker came.
        own = as_of - (at_ms - self.proven_ms) / 1000.0
        redated = known.kind is not ProofKind.PROBE and _NEVER < own < known.as_of - REDATED_SECONDS
        if known.as_of == _NEVER or redated:
            known = Proof(known.kind, own, self.epoch)
        if _NEVER < known.as_of < proof.as_of:
            self.withheld, self.proof = proof, known

    def hint(self, at_ms: int, now: float) -> None:
        """The stream showed another book, of exchange time ``at_ms``, and nothing proves that it is the venue's."""
        if at_ms >= self._hint[0] or now - self._hint[1] > HINT_SECONDS:
            self._hint = (at_ms, now)

    def is_before_hint(self, at_ms: int, now: float) -> bool:
        """Whether the stream stated something newer than this not long ago, if without proof."""
        hinted_ms, hinted_at = self._hint
        return at_ms < hinted_ms and now - hinted_at <= HINT_SECONDS

    @property
    def stale_from(self) -> float | None:
        """The moment from which the age of the book counts for its timers; None: nothing is proven.

        What is withheld from reads counts: a hash that comes late makes nothing stale.
        """
        if self.proof is None:
            return None
        return self.proof.as_of if self.withheld is None else max(self.proof.as_of, self.withheld.as_of)

    # ---- Were you ever this? -----------------------------------------------------------------------

    def changes_since(self, book: OrderBook, at_ms: int) -> list[Undo] | None:
        """Return the changes since our book stood like this one of exchange time ``at_ms``; None if it never did.

        Several states share a millisecond, and the venue may show any of them.
        """
        wanted = book.levels()
        undos = list(self.journal)
        first = len(undos)
        while first and undos[first - 1].at_ms > at_ms:
            first -= 1
        while self.book.levels_before(undos[first:]) != wanted:
            if not first or undos[first - 1].at_ms != at_ms:
                return None
            first -= 1
        return undos[first:]

    def changes_after(self, newest: Undo) -> list[Undo] | None:
        """Return the changes since the one of ``newest``; None if that is not in the journal any more."""
        for count, undo in enumerate(reversed(self.journal)):
            if undo is newest:
                return self._newest(count)
        return None

    def announced_at(self, at_ms: int) -> list[Undo]:
        """Return the newest changes of exchange time ``at_ms`` that came with another hash than the newest of all."""
        last = "" if self.stated is None else self.stated.hash
        found: list[Undo] = []
        for undo in reversed(self.journal):
            if undo.at_ms != at_ms or len(found) == MAX_EARLIER:
                break
            if undo.announced and undo.announced != last:
                found.append(undo)
        return found

    def ended_at(self, at_ms: int, clock: VenueClock) -> float | None:
        """Return when the state of exchange time ``at_ms`` was superseded; None: not that we know."""
        undo = next((undo for undo in self.journal if undo.at_ms > at_ms), None)
        if undo is None or undo.as_of == _NEVER:
            return None
        return undo.as_of or clock.date(undo.at_ms, float("inf"))

    def reaches_back_to(self, at_ms: int) -> bool:
        """Whether the journal tells all that the book was since exchange time ``at_ms``."""
        oldest = next(iter(self.journal), None)
        return oldest is not None and oldest.at_ms <= at_ms

    def announced(self, digest: str, *, before_ms: int) -> bool:
        """Whether a change before exchange time ``before_ms`` came with this hash, and did not prove by it."""
        return any(undo.announced == digest for undo in self.journal if undo.at_ms < before_ms and undo.announced)

    # ---- Reading -----------------------------------------------------------------------------------

    def levels(self) -> Levels:
        """Return the newest proven levels; copied once, then shared until the next change."""
        if self.unproven == 0:
            if self.tip_levels is None:
                self.tip_levels = self.book.levels()
            return self.tip_levels
        if self.past_levels is None:
            self.past_levels = self.book.levels_before(self._newest(self.unproven))
        return self.past_levels

    def columns(self) -> tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]:
        """Return what :meth:`levels` does, to be looked at and not kept: copied only if changes are unproven."""
        if self.unproven:
            return self.levels()
        book = self.book
        bids, asks = book.bids, book.asks
        return bids.keys, bids.sizes, asks.keys, asks.sizes

    def _newest(self, count: int) -> list[Undo]:
        return list(self.journal)[len(self.journal) - count :]

"""Getting a token's book from elsewhere: baselines, probes, and what their answers mean.

A REST book cannot simply be compared with ours: it may be up to about 1.1 s ahead of or behind the stream
(measured), or come from a cache. So an answer is judged before it is used, in this order:

1. its own hash must be explained, unless nothing the venue hashes can be: else it is refused, and nothing in it used;
2. without a book of ours it is a baseline, if it is not older than what was heard (rule D3);
3. else it is joined to our own history: it equals the book as it stands, or as it stood, or it is older than what is
   proven (*behind*), or it is not known yet and is held until the stream had time to get there. Only a second, newer
   answer that stays unknown is a mismatch.

A refused answer changes no fact about the book, but its verdict is kept: REST that keeps contradicting a book, in
order, for longer than it was ever seen behind is a doubt. Failures are retried with full-jitter backoff, by REST and
by a new subscription in turn, so that no way that keeps failing is tried for ever on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from polymirror.core.attempts import PROBE_RETRY, Attempts
from polymirror.core.book import OrderBook
from polymirror.core.evidence import Evidence, by_answer, by_stream
from polymirror.core.outbox import Want
from polymirror.core.proofs import ProofKind, Verdict
from polymirror.core.states import BookState, Reason
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from polymirror.core.hashing import Explained
    from polymirror.core.messages import Snapshot
    from polymirror.core.subject import Subject

UNHEARD_BEFORE_RESUBSCRIBING: Final = 2
"""Mismatches in a row, with no delta between them, after which the market is subscribed anew."""

ASK_AGAIN: Final = 0.05
"""Seconds until REST is asked again after an answer that came too early."""

_NEVER: Final = float("inf")


@frozen
class HeldBook:
    """A REST book that is not known to us yet: the stream may still get there."""

    message: Snapshot
    book: OrderBook
    sent_at: float
    doubts: int
    explained: Explained | None


class Resync(Attempts):
    """One token's dealings with REST and with new subscriptions: what answers mean."""

    __slots__ = ("disagreed_at", "held", "held_until")

    def __init__(self, token: Subject) -> None:
        super().__init__(token)
        # An answer that waits for the stream, and until when.
        self.held: HeldBook | None = None
        self.held_until: float = _NEVER
        # When the first of two disagreements was found.
        self.disagreed_at: float | None = None

    @property
    def disputes(self) -> bool:
        """Whether REST showed another book, and nothing has settled that."""
        at = self.disagreed_at
        return self.held is not None or (at is not None and self.token.proven.heard_proven_at <= at)

    def on_time(self, now: float) -> None:
        """Give up a held answer, or take the next step towards a baseline."""
        if self.held is not None and now >= self.held_until:
            self._give_up(self.held, now)
        super().on_time(now)

    # ---- Answers -----------------------------------------------------------------------------------

    def answer(self, message: Snapshot, sent_at: float, doubts: int, now: float) -> bool:
        """Take a REST book: as a baseline if there is no book, else as a probe. Return whether it matched ours.

        It was asked for at ``sent_at``, when there had been so many doubts.
        """
        token = self.token
        self.absences = 0
        if self._is_ours(message, sent_at, doubts, now):
            return True
        try:
            book = OrderBook.of(message, token.config.max_levels)
        except UnitError:
            self._refuse(Verdict.UNVERIFIABLE, now)
            return False
        explained = token.hashes.explain(message, book, now)
        if explained is None and token.hashes.verifiable:
            # Cut or altered on the way, or without the hash that all others have: neither baseline nor witness.
            self._refuse(Verdict.UNVERIFIABLE, now)
            return False
        held = HeldBook(message, book, sent_at, doubts, explained)
        if token.state is BookState.RETIRED:
            return self.shows_life(message, explained, now)
        unproven = token.proven.loaded and token.proven.proof is None
        if unproven and explained is not None and not token.proven.book.same_levels(book):
            # What is followed was never proven, and this is.
            held = self._start_over(held, now)
        if token.proven.loaded:
            return self._compare(held, now)
        self._prime(held, now)
        return False

    def overhear(self, message: Snapshot, now: float) -> None:
        """An answer came that is of no use any more, but for what it ends."""
        token = self.token
        if token.state is BookState.RETIRED:
            return
        try:
            book = OrderBook.of(message, token.config.max_levels)
        except UnitError:
            return
        self._heard_of(message, book, token.hashes.explain(message, book, now), now)

    def _heard_of(self, message: Snapshot, book: OrderBook, explained: Explained | None, now: float) -> None:
        """An answer that proves nothing is newer than what is proven: what is older than it is over (D2, D3).

        If its time lies in the future, whatever was said before now is older. It says the same of the market's other
        token, unless that one shows the same already.
        """
        token, stamp, clock = self.token, message.timestamp_ms, self.token.outbox.clock
        if token.proven.mark.is_ahead(stamp, now, clock):
            stamp = clock.now_ms(now)
        over = [token.proven]
        if explained is not None and token.twin is not None and not token.twin.proven.book.mirrors(book):
            over.append(token.twin.proven)
        for proven in over:
            if stamp > proven.proven_ms:
                proven.superseded(stamp, clock.date(stamp, now))
                if explained is not None:
                    proven.mark.rise(stamp)

    def _is_ours(self, message: Snapshot, sent_at: float, doubts: int, now: float) -> bool:
        """Take the usual answer quickly: a calm book, and ours has the hash that REST states for its own."""
        token = self.token
        calm = token.state is BookState.LIVE and token.miss_since is None and not self._refreshing
        if not calm or message.timestamp_ms < token.proven.floor_ms:
            return False
        if not token.hashes.is_hash_of(message, token.proven.book):
            return False
        evidence = self._evidence(message, sent_at, doubts, now)
        self._matched(message, evidence, now)
        token.prove(evidence, now)
        return True

    def _evidence(self, message: Snapshot, sent_at: float, doubts: int, now: float) -> Evidence:
        clock, stamp = self.token.outbox.clock, message.timestamp_ms
        by_stamp = by_stream(stamp, clock, now, now)
        # However far REST was behind lately, this answer speaks for its own time at least.
        as_of = max(by_answer(sent_at, self.channel.lag(now)), min(by_stamp, sent_at))
        if self.token.proven.is_before_hint(stamp, now):
            as_of = min(as_of, by_stamp)
        # What can be dated does not lie in the future, and is ordered as it stands.
        order_ms = clock.order_ms(stamp, now) if by_stamp == -_NEVER else stamp
        return Evidence(ProofKind.PROBE, order_ms, as_of, doubts, by_stamp)

    def _matched(self, message: Snapshot, evidence: Evidence, now: float) -> None:
        """REST and the book agree: whatever was held against it is void."""
        self.token.outbox.count(ProofKind.PROBE, Verdict.MATCH)
        self.token.outbox.clock.book(message.timestamp_ms, now)
        self.channel.agreed(evidence.as_of)
        self.confirmed_at: float = max(self.confirmed_at, now)
        self.forget_probe()
        if self.token.proven.is_empty:
            # Perhaps settled.
            self.token.outbox.ask_gamma[self.token.market_id] = None

    def shows_life(self, message: Snapshot, explained: Explained | None, now: float) -> bool:
        """A retired market has a book again: it lives if there is something in it that is newer than its end."""
        token = self.token
        if self.afterlife.is_life(message) and (explained is not None or not token.hashes.verifiable):
            token.outbox.revive[token.market_id] = None
            token.outbox.rearm[token.asset_id] = None
            token.outbox.warn("retired market lives", token.asset_id, now)
        return False

    def _prime(self, held: HeldBook, now: float) -> None:
        token = self.token
        if not token.connected:
            self._heard_of(held.message, held.book, held.explained, now)
            return
        evidence = self._evidence(held.message, held.sent_at, held.doubts, now)
        clears = evidence.clears(token.doubts, token.doubted_at)
        if not clears:
            self._heard_of(held.message, held.book, held.explained, now)
            if held.explained is None:
                self._ask_later(now)
                return
            # It cannot make the book LIVE, but it may be what the stream's next hash proves.
        altered = held.explained is None and token.hashes.constants is not None
        ahead = token.proven.mark.is_ahead(held.message.timestamp_ms, now, token.outbox.clock)
        if ahead and held.explained is not None:
            token.proven.mark.rise(evidence.since_ms)
        if altered or ahead:
            # Its hash means nothing now: REST alone is not believed, only together with the stream. Or its time
            # means nothing: whether it is newer than what was heard cannot be told.
            self._refuse(Verdict.UNVERIFIABLE, now)
            return
        if not token.admits(held.book, evidence):
            self._below_mark(held, now)
            self.too_old(ProofKind.PROBE, now)
            return
        token.accept(held.explained, held.message, now)
        token.outbox.clock.book(held.message.timestamp_ms, now)
        loaded = token.load(held.book, evidence, now, verifiable=held.explained is not None)
        if loaded and token.state is not BookState.LIVE:
            # What proves it was said before the doubt, or is still to come.
            self.due: float = now + token.config.suspect_grace
            self.ask_at: float = now + PROBE_RETRY / 2
            token.outbox.rearm[token.asset_id] = None
            if not clears:
                self._ask_later(now)

    def _ask_later(self, now: float) -> None:
        """An answer was asked for before the doubt, as far as REST lags, and says nothing about it: ask again."""
        self.ask_at = max(now + ASK_AGAIN, self.token.doubted_at + self.channel.lag(now))
        self.token.outbox.rearm[self.token.asset_id] = None

    def _below_mark(self, held: HeldBook, now: float) -> None:
        """REST is older than what was heard. With the stream on its side, what was heard had a wrong time."""
        token = self.token
        mark, floor_ms = token.proven.mark, token.proven.floor_ms
        clock, stamp = token.outbox.clock, held.message.timestamp_ms
        lower_ms = mark.answer_below(stamp, floor_ms, held.sent_at, now, clock, token.proven.heard_proven_at)
        if lower_ms is None:
            return
        detail = f"{token.asset_id}: {floor_ms} ms lies ahead of all that is said since, now {lower_ms} ms"
        token.outbox.warn("exchange time set back", detail, now)
        token.start_resync(Reason.CLOCK_STEP, now, gap=True)
        mark.lower(lower_ms)

    def _compare(self, held: HeldBook, now: float) -> bool:
        """Join a REST book to our history. Hold it if it is not in there."""
        token, stamp = self.token, held.message.timestamp_ms
        evidence = self._evidence(held.message, held.sent_at, held.doubts, now)
        if token.state is not BookState.LIVE and not evidence.clears(token.doubts, token.doubted_at):
            self._heard_of(held.message, held.book, held.explained, now)
            self._ask_later(now)
            return False
        # An order that was placed and cancelled makes levels equal again: an older book is no newer proof.
        if stamp >= token.proven.floor_ms and self._matches_tip(held, evidence, now):
            return True
        joined = self._join(held, evidence, now)
        if joined is None:
            self._heard_of(held.message, held.book, held.explained, now)
            # A newer answer does not give the stream more time.
            self.held, token.calm = held, False
            self.held_until = min(self.held_until, now + token.config.probe_hold)
            token.outbox.rearm[token.asset_id] = None
            # Its view is settled no more.
            token.outbox.dirty[token.asset_id] = None
        return joined is True

    def _join(self, held: HeldBook, evidence: Evidence, now: float) -> bool | None:
        """Find a REST book in our past: True if it is there, False if it says nothing or differs, None if unknown."""
        token, stamp = self.token, held.message.timestamp_ms
        proven = token.proven
        known = stamp >= proven.proven_ms or proven.reaches_back_to(stamp)
        undos = proven.changes_since(held.book, stamp) if known else None
        if stamp < proven.proven_ms or (undos is not None and len(undos) > proven.unproven):
            # Older than what is proven, if only inside its millisecond.
            self._behind(held, now, contradicts=known and undos is None)
            return False
        if undos is not None:
            self._note_lag(held, now)
            self.token.outbox.count(ProofKind.PROBE, Verdict.MATCH)
            self.disagreed_at = None
            self.channel.joined()
            token.accept(held.explained, held.message, now)
            if proven.mark.at_ms > stamp and evidence.by_stamp is not None:
                # Something newer was heard that is in no change, and what else came before it is not known.
                evidence = evidence.until(evidence.by_stamp)
            token.prove_past(undos, held.book, evidence, now)
            return True
        over_ms = proven.last_ms if token.miss_since is None else proven.last_ms + 1
        if held.message.hash and proven.announced(held.message.hash, before_ms=over_ms):
            # The stream announced this very book, in a batch that is over, and ours was never equal to it.
            self._mismatch(held, now, waited=False)
            return False
        return None

    def _note_lag(self, held: HeldBook, now: float) -> None:
        """REST lacked a change at a time when it had been made: it is behind by as much."""
        ended_at = self.token.proven.ended_at(held.message.timestamp_ms, self.token.outbox.clock)
        if ended_at is not None:
            self.channel.lacked(ended_at, held.sent_at, now)

    def _behind(self, held: HeldBook, now: float, *, contradicts: bool) -> None:
        """REST answered with a book older than what is proven. One that ours never was contradicts it."""
        token, stamp = self.token, held.message.timestamp_ms
        self._note_lag(held, now)
        token.outbox.count(ProofKind.PROBE, Verdict.BEHIND)
        lasted = None
        if contradicts:
            lasted = self.channel.contradicted(stamp, held.sent_at)
        else:
            self.channel.joined()
        if lasted is not None:
            token.doubt(Reason.PROBE_MISMATCH, now, f"REST contradicts it for {lasted:.1f} s")
            # Whoever fed us this can feed us more: not the stream that is open, but a new one decides.
            token.outbox.resubscribe[token.market_id] = None
            token.start_resync(Reason.PROBE_MISMATCH, now, gap=True)
            return
        self._below_mark(held, now)
        self.failed(now)

    def _matches_tip(self, held: HeldBook, evidence: Evidence, now: float) -> bool:
        token = self.token
        if not token.proven.book.same_levels(held.book):
            return False
        self._matched(held.message, evidence, now)
        token.accept(held.explained, held.message, now)
        if self._refreshing:
            self._swap(held, evidence)
        disputed = token.miss_since is not None
        token.prove(evidence, now)
        if disputed and token.proven.unproven == 0:
            # REST has this very book, so what the stream stated about it last is void, and its time with it.
            token.proven.restart(evidence.since_ms)
            token.misses.clear()
        return True

    def _swap(self, held: HeldBook, evidence: Evidence) -> None:
        """Replace the baseline by an equal one: same levels, the venue's newest spelling, a new epoch."""
        token = self.token
        if token.state is not BookState.LIVE:
            return
        self._refreshing = False
        token.proven.swap(held.book, evidence)
        name = Reason.SCHEDULED.name
        token.resyncs[name] = token.resyncs.get(name, 0) + 1
        token.outbox.resyncs[name] = token.outbox.resyncs.get(name, 0) + 1
        token.outbox.dirty[token.asset_id] = None

    def recheck(self, now: float) -> None:
        """The book changed while an answer is held: has the stream got there?"""
        held = self.held
        if held is not None and held.message.timestamp_ms >= self.token.proven.floor_ms:
            self._matches_tip(held, self._evidence(held.message, held.sent_at, held.doubts, now), now)

    def _give_up(self, held: HeldBook, now: float) -> None:
        """The stream had its time and never showed the held book."""
        token = self.token
        self.held, self.held_until = None, _NEVER
        proof = token.proven.proof
        if proof is not None and proof.as_of > held.sent_at:
            # The stream has proven itself since: REST showed a state that was never announced.
            token.outbox.count(ProofKind.PROBE, Verdict.UNVERIFIABLE)
            self.disagreed_at = None
        elif self.disagreed_at is not None and held.sent_at >= self.disagreed_at:
            self._mismatch(held, now, waited=True)
        else:
            self.disagreed_at = now
            token.outbox.want(token.asset_id, Want.URGENT)

    def _mismatch(self, held: HeldBook, now: float, *, waited: bool) -> None:
        """The venue's book differs from ours: start over from it, or from a new answer if it waited for the stream."""
        token = self.token
        token.outbox.count(ProofKind.PROBE, Verdict.MISMATCH)
        self.forget_probe()
        heard = token.proven.stated is not None
        held = self._start_over(held, now)
        if not waited:
            self._prime(held, now)
        self.unheard: int = 0 if heard else self.unheard + 1
        if self.unheard >= UNHEARD_BEFORE_RESUBSCRIBING:
            # REST moves and the stream says nothing: the subscription does not work for this market.
            token.outbox.resubscribe[token.market_id] = None

    def _start_over(self, held: HeldBook, now: float) -> HeldBook:
        """Start a resync because of an answer: it raised the doubt itself, and may clear it, but no later one."""
        token = self.token
        later = held.doubts < token.doubts
        doubted_at = max(held.sent_at, token.doubted_at) if later else held.sent_at
        token.start_resync(Reason.PROBE_MISMATCH, now, gap=token.missed_deltas, doubted_at=doubted_at)
        return held if later else evolve(held, doubts=token.doubts)

    def forget_probe(self) -> None:
        """Drop what was held and how often it disagreed."""
        self.held, self.held_until = None, _NEVER
        self.disagreed_at = None

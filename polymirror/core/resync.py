"""Getting a token's book from elsewhere: baselines, probes, and what their answers mean.

A REST book cannot simply be compared with ours: it may be up to about 1.1 s ahead of or behind the stream
(measured). So an answer is joined to our own history: it matches the book as it stands, or as it stood, or it
is older than what is proven (*behind*: says nothing), or it is not known yet and is held until the stream had
time to get there. Only a second, newer answer that stays unknown is a mismatch.

The same answers serve as baselines while there is no book. Failures are retried with full-jitter backoff, by
REST and by a new subscription in turn, so that no way that keeps failing is tried for ever on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from polymirror.core.book import OrderBook
from polymirror.core.outbox import Want
from polymirror.core.proofs import Proof, ProofKind, Verdict
from polymirror.core.states import BookState, Reason
from polymirror.core.units import parse_tick
from polymirror.core.upkeep import probe_interval
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from polymirror.core.book import Undo
    from polymirror.core.messages import Snapshot
    from polymirror.core.token import Token

RESUBSCRIBE_EVERY: Final = 3
"""Every third attempt at a baseline asks the stream instead of REST."""

UNHEARD_BEFORE_RESUBSCRIBING: Final = 2
"""Mismatches in a row, with no delta between them, after which the market is subscribed anew."""

UNHEARD_BEFORE_REPLACING: Final = 4
"""The same, after which its socket is replaced."""

ATTEMPTS_BEFORE_REPLACING: Final = 6
"""Failed attempts at a baseline after which a socket that cannot deliver one is replaced."""

FROM_THE_FUTURE_MS: Final = 60_000
"""A book that is newer than REST by more than this carries a timestamp that was never true."""

PROBE_RETRY: Final = 1.0
"""Mean seconds until a probe that failed or said nothing is repeated."""

MAX_ABSENCES: Final = 3
"""REST answers without this token, in a row, before a token that had a book is retired."""

ABSENT_FOR: Final = 10.0
"""Seconds between the first and the last of these answers, at least: retiring is final, and REST may err a while."""

EMPTY_ABSENT_FOR: Final = 2.0
"""The same for a token whose book was empty: that is how a settlement begins."""

MAX_ABSENCES_UNPRIMED: Final = 40
"""The same for a token that never had a book: a new market may be unknown to REST for minutes."""

_NEVER: Final = float("inf")


@frozen
class HeldBook:
    """A REST book that is not known to us yet: the stream may still get there."""

    message: Snapshot
    book: OrderBook
    sent_at: float
    verifiable: bool


class Resync:
    """One token's dealings with REST and with new subscriptions."""

    def __init__(self, token: Token) -> None:
        self.token = token
        # While there is no LIVE or SUSPECT book: when the next step is due.
        self.due = _NEVER
        # Failed attempts at a baseline since the book was lost.
        self.attempt = 0
        # The buffer was full and started over since the last baseline.
        self.overflowed = False
        # Exchange time of the last baseline, ms: older deltas are in it already.
        self.baseline_at = 0
        # REST answers in a row that did not have this token.
        self.absences = 0
        self._absent_since = 0.0
        # The last book had no level at all.
        self.emptied = False
        # An answer that waits for the stream, and until when.
        self.held: HeldBook | None = None
        self.held_until = _NEVER
        # Mismatches in a row between which the stream brought no delta for this token.
        self.unheard = 0
        # When the first of two disagreements was found.
        self._disagreed_at: float | None = None
        # The next matching probe also replaces the baseline.
        self._refreshing = False
        # The token had a book before: if REST loses it, the market is over.
        self._had_book = False

    @property
    def had_book(self) -> bool:
        """Whether the token was ever LIVE."""
        return self._had_book

    @property
    def needs_new_socket(self) -> bool:
        """Whether subscribing anew was tried often enough in vain."""
        if self.absences:
            # REST does not know it either: the socket is not to blame.
            return False
        return self.attempt > ATTEMPTS_BEFORE_REPLACING or self.unheard >= UNHEARD_BEFORE_REPLACING

    # ---- Baselines ---------------------------------------------------------------------------------

    def begin(self, now: float, *, await_stream: bool = False) -> None:
        """Start over: wait for the opening book after a subscription, else ask REST."""
        token = self.token
        self.overflowed = False
        if not token.connected:
            self.due = _NEVER
        elif await_stream:
            self.due = now + token.config.first_snapshot_timeout
        else:
            self._ask(now)
        token.outbox.rearm[token] = None

    def done(self, now: float) -> None:
        """The book is LIVE again."""
        config, rng = self.token.config, self.token.outbox.rng
        self.due = _NEVER
        self.attempt = self.absences = 0
        self._had_book = True
        if self.token.refresh_at == _NEVER or self.token.refresh_at <= now:
            self.token.refresh_at = now + config.scheduled_resync * (0.75 + rng.random() / 2)

    def failed(self, now: float) -> None:
        """An attempt failed: a baseline backs off with full jitter, a probe is repeated soon."""
        config = self.token.config
        if self.token.state is BookState.LIVE:
            again = PROBE_RETRY * (0.5 + self.token.outbox.rng.random())
            self.token.probed_at = now - probe_interval(self.token) + again
            self.token.outbox.rearm[self.token] = None
        if self.token.state in (BookState.LIVE, BookState.SUSPECT, BookState.RETIRED):
            return
        self.attempt += 1
        bound = min(config.resync_backoff_cap, config.resync_backoff_base * 2 ** min(self.attempt, 20))
        self.due = now + self.token.outbox.rng.random() * bound
        self.token.outbox.rearm[self.token] = None

    def _ask(self, now: float) -> None:
        token = self.token
        if self.attempt % RESUBSCRIBE_EVERY == RESUBSCRIBE_EVERY - 1:
            token.outbox.resubscribe[token] = None
            # Nobody reports that no book came, so this attempt counts as used up from the start.
            self.attempt += 1
            self.due = now + token.config.first_snapshot_timeout
        else:
            token.outbox.want(token, Want.BASELINE)
            self.due = now + token.config.request_timeout * 2
        token.outbox.rearm[token] = None

    # ---- Time --------------------------------------------------------------------------------------

    def on_time(self, now: float) -> None:
        """Give up a held answer, or take the next step towards a baseline."""
        token = self.token
        if self.held is not None and now >= self.held_until:
            self._give_up(self.held, now)
        if now < self.due or token.state in (BookState.LIVE, BookState.SUSPECT, BookState.RETIRED):
            return
        if token.lagging and token.loaded:
            # The book is not to blame: it becomes LIVE when its socket has caught up.
            self.due = now + token.config.suspect_grace
        elif self.overflowed:
            token.start_resync(Reason.OVERFLOW, now, gap=True)
        elif token.state is BookState.UNPRIMED:
            token.start_resync(Reason.NO_SNAPSHOT, now, gap=False)
        elif token.loaded:
            # A baseline came, and the deltas after it did not prove it in time: do not trust them twice.
            self.attempt += 1
            token.start_resync(Reason.HASH_MISMATCH, now, gap=True)
        else:
            self._ask(now)

    def refresh(self, now: float) -> None:
        """Start a make-before-break refresh: the book stays LIVE until its replacement is proven equal."""
        self._refreshing = True
        self.token.refresh_at = now + self.token.config.scheduled_resync * (0.75 + self.token.outbox.rng.random() / 2)
        self.token.outbox.want(self.token, Want.ROUTINE)

    # ---- Answers -----------------------------------------------------------------------------------

    def absent(self, now: float) -> None:
        """REST answered, and knows no book for this token: settled, or too new."""
        token = self.token
        if not self.absences:
            self._absent_since = now
        self.absences += 1
        if token.state in (BookState.UNPRIMED, BookState.RESYNCING):
            limit = MAX_ABSENCES if self._had_book else MAX_ABSENCES_UNPRIMED
        elif not token.is_empty:
            # It still trades as far as we know: proof age decides, not one odd answer.
            return
        else:
            limit = MAX_ABSENCES - 1
        patience = EMPTY_ABSENT_FOR if self.emptied or token.is_empty else ABSENT_FOR
        if self.absences >= limit and now - self._absent_since >= patience:
            token.retire(Reason.GONE, now)
        else:
            self.failed(now)

    def answer(self, message: Snapshot, sent_at: float, now: float) -> bool:
        """Take a REST book: as a baseline if there is no book, else as a probe. Return whether it matched ours."""
        token = self.token
        self.absences = 0
        if self._is_ours(message, sent_at, now):
            return True
        try:
            book = OrderBook.of(message, token.config.max_levels)
            if message.tick_size is not None:
                token.tick = parse_tick(message.tick_size)
        except UnitError:
            token.outbox.count(ProofKind.PROBE, Verdict.UNVERIFIABLE)
            self.failed(now)
            return False
        explained = token.hashes.learn(message, book, sent_at)
        if explained is False or (explained is None and token.hashes.verifiable):
            # Cut or altered on the way, or without the hash that all others have: neither baseline nor witness.
            token.outbox.count(ProofKind.PROBE, Verdict.UNVERIFIABLE)
            self.failed(now)
            return False
        held = HeldBook(message, book, sent_at, explained is True)
        if token.state in (BookState.UNPRIMED, BookState.RESYNCING):
            self._prime(held, now)
            return False
        return self._compare(held, now)

    def _is_ours(self, message: Snapshot, sent_at: float, now: float) -> bool:
        """Take the usual answer quickly: a calm book, and ours has the hash that REST states for its own."""
        token = self.token
        calm = token.state is BookState.LIVE and token.miss_since is None and not self._refreshing
        if not calm or message.timestamp_ms < token.last_at or not token.hashes.is_hash_of(message, token.book):
            return False
        token.outbox.count(ProofKind.PROBE, Verdict.MATCH)
        self.forget_probe()
        token.proven(now, ProofKind.PROBE, sent_at)
        return True

    def _prime(self, held: HeldBook, now: float) -> None:
        token = self.token
        source = Proof(ProofKind.PROBE, held.sent_at, token.epoch)
        if token.loaded or not token.connected:
            return
        if token.load(held.message, held.book, now, source, verifiable=held.verifiable):
            if token.state is not BookState.LIVE:
                self.due = now + token.config.suspect_grace
        else:
            token.outbox.count(ProofKind.PROBE, Verdict.BEHIND)
            self.failed(now)

    def _compare(self, held: HeldBook, now: float) -> bool:
        """Join a REST book to our history. Hold it if it is not in there."""
        token, stamp = self.token, held.message.timestamp_ms
        if token.state is BookState.SUSPECT and held.sent_at < token.doubted_at:
            # Asked before the doubt: says nothing about it.
            token.outbox.want(token, Want.URGENT)
            return False
        # An order that was placed and cancelled makes levels equal again: an older book is no newer proof.
        in_dispute = token.miss_since is not None or token.state is not BookState.LIVE
        older = stamp < token.last_at and not (in_dispute and token.last_at - stamp > FROM_THE_FUTURE_MS)
        if not older and self._matches_tip(held, now):
            return True
        joined = self._join(held, now)
        if joined is None:
            self.held, self.held_until, token.calm = held, now + token.config.probe_hold, False
            token.outbox.rearm[token] = None
        return joined is True

    def _join(self, held: HeldBook, now: float) -> bool | None:
        """Find a REST book in our past: True if it is there, False if it says nothing or differs, None if unknown."""
        token, stamp = self.token, held.message.timestamp_ms
        undos = self._changes_since(held) if stamp >= token.proven_at_ms else None
        if stamp < token.proven_at_ms or (undos is not None and len(undos) > token.unproven):
            # Older than what is proven, if only inside its millisecond.
            token.outbox.count(ProofKind.PROBE, Verdict.BEHIND)
            self.failed(now)
            return False
        if undos is not None:
            token.outbox.count(ProofKind.PROBE, Verdict.MATCH)
            self._disagreed_at = None
            token.proven_past(undos, held.book, stamp, now, held.sent_at)
            return True
        if self._was_announced(held.message):
            # The stream announced this very book, and ours was never equal to it.
            self._mismatch(held, now)
            return False
        return None

    def _was_announced(self, message: Snapshot) -> bool:
        """Whether the stream announced this book's hash, for a batch that is over."""
        token = self.token
        over = token.last_at if token.miss_since is None else token.last_at + 1
        return any(undo.announced == message.hash for undo in token.journal if undo.at < over and undo.announced)

    def _changes_since(self, held: HeldBook) -> list[Undo] | None:
        """Return the changes since our book stood like the REST book; None if it never did.

        Several states share a millisecond, and REST may show any of them.
        """
        token, stamp, wanted = self.token, held.message.timestamp_ms, held.book.levels()
        undos = list(token.journal)
        first = len(undos)
        while first and undos[first - 1].at > stamp:
            first -= 1
        while token.book.levels_before(undos[first:]) != wanted:
            if not first or undos[first - 1].at != stamp:
                return None
            first -= 1
        return undos[first:]

    def _matches_tip(self, held: HeldBook, now: float) -> bool:
        token = self.token
        if not token.book.same_levels(held.book):
            return False
        token.outbox.count(ProofKind.PROBE, Verdict.MATCH)
        if self._refreshing:
            self._swap(held)
        self.forget_probe()
        disputed = token.miss_since is not None
        token.proven(now, ProofKind.PROBE, held.sent_at)
        if disputed and token.unproven == 0:
            # REST has this very book, so what the stream stated about it last is void, and its time with it.
            token.restart_at(held.message.timestamp_ms)
        return True

    def _swap(self, held: HeldBook) -> None:
        """Replace the baseline by an equal one: same levels, the venue's newest spelling, a new epoch."""
        token = self.token
        if token.state is not BookState.LIVE or held.message.timestamp_ms < token.last_at:
            return
        self._refreshing = False
        token.book = held.book
        token.epoch += 1
        token.generation += 1
        if held.message.timestamp_ms > token.last_at:
            # A delta that repeats this time is as old as the answer, not as the last delta before it.
            token.stated_at = held.sent_at
        token.last_at = self.baseline_at = held.message.timestamp_ms
        token.outbox.resyncs[Reason.SCHEDULED.name] = token.outbox.resyncs.get(Reason.SCHEDULED.name, 0) + 1
        token.outbox.dirty[token.asset_id] = None

    def recheck(self, held: HeldBook, now: float) -> None:
        """The book changed while an answer is held: has the stream got there?"""
        if held.message.timestamp_ms >= self.token.last_at:
            self._matches_tip(held, now)

    def _give_up(self, held: HeldBook, now: float) -> None:
        """The stream had its time and never showed the held book."""
        token = self.token
        self.held, self.held_until = None, _NEVER
        if token.proof is not None and token.proof.at > held.sent_at:
            # The stream has proven itself since: REST showed a state that was never announced.
            token.outbox.count(ProofKind.PROBE, Verdict.UNVERIFIABLE)
            self._disagreed_at = None
        elif self._disagreed_at is not None and held.sent_at >= self._disagreed_at:
            self._mismatch(held, now)
        else:
            self._disagreed_at = now
            token.outbox.want(token, Want.URGENT)

    def _mismatch(self, held: HeldBook, now: float) -> None:
        """The venue's book differs from ours: start over from it."""
        token = self.token
        token.outbox.count(ProofKind.PROBE, Verdict.MISMATCH)
        self.forget_probe()
        heard = token.stated is not None
        token.start_resync(Reason.PROBE_MISMATCH, now, gap=False)
        self._prime(held, now)
        self.unheard = 0 if heard else self.unheard + 1
        if self.unheard >= UNHEARD_BEFORE_RESUBSCRIBING:
            # REST moves and the stream says nothing: the subscription does not work for this market.
            token.outbox.resubscribe[token] = None

    def forget_probe(self) -> None:
        """Drop what was held and how often it disagreed."""
        self.held, self.held_until = None, _NEVER
        self._disagreed_at = None

"""One token's machine: it buffers, primes, applies, doubts and heals, and does what time asks for.

The machine owns the token's state, its buffer and its disputes; the book and what is proven of it belong to
:class:`~polymirror.core.proven.Proven`. Its inputs are deltas, whole books and the passing of time;
:mod:`polymirror.core.market` decides when a batch is over and compares the two tokens of a market.

Priming follows the venue's rules, as measured on recordings:

1. buffer deltas until a baseline is here;
2. refuse a baseline older than the newest time that is neither in a book nor in the buffer (rule D3);
3. drop deltas older than the baseline, and apply the others in order: sizes are absolute, so none does harm twice;
4. let the hash of the last one decide.

All times in seconds on the mirror's monotonic clock, exchange times in ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.core.events import Transition
from polymirror.core.evidence import Evidence
from polymirror.core.grid import Grid
from polymirror.core.misses import Misses
from polymirror.core.outbox import Want
from polymirror.core.proofs import ProofKind, Verdict
from polymirror.core.proven import Proven
from polymirror.core.questions import Questions
from polymirror.core.resync import Resync
from polymirror.core.states import LEGAL_TRANSITIONS, BookState, Reason
from polymirror.core.waiting import Held, Waiting
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from polymirror.config import EngineConfig
    from polymirror.core.book import OrderBook, Undo
    from polymirror.core.hashing import Explained, MarketHash
    from polymirror.core.messages import Change, Snapshot
    from polymirror.core.outbox import Outbox

EMPTY_PROBE_INTERVAL: Final = 2.0
"""Seconds without proof after which an empty book is probed: it may be settled."""

CROSS_CHECK_SECONDS: Final = 30.0
"""A book that the stream alone has proven for this long is held against REST."""

_NEVER: Final = float("-inf")


class Token:
    """One token's state, buffer and disputes."""

    __slots__ = (
        "asset_id", "buffer", "calm", "config", "connected", "disagreed_at", "doubted_at", "doubts", "grid", "hashes",
        "jitter", "lagging", "market_id", "miss_reason", "miss_since", "missed_deltas", "misses", "outbox", "pending",
        "proven", "questions", "reason", "refresh_at", "resync", "resyncs", "since", "state", "twin",
    )  # fmt: skip

    def __init__(self, asset_id: str, hashes: MarketHash, outbox: Outbox) -> None:
        self.asset_id: str = asset_id
        self.market_id: str = hashes.market
        self.hashes: MarketHash = hashes
        self.outbox: Outbox = outbox
        self.config: EngineConfig = outbox.config
        self.state: BookState = BookState.UNPRIMED
        self.reason: Reason = Reason.TRACKED
        self.since: float = 0.0
        self.proven: Proven = Proven(self.config.max_journal)
        # LIVE, and nothing is disputed or waited for; False may also mean that nobody has looked since.
        self.calm: bool = False
        self.grid: Grid = Grid(hashes, self.proven)
        # The socket that carries this token is open and subscribed.
        self.connected: bool = False
        # Subscriptions whose opening books have not come yet.
        self.questions: Questions = Questions()
        # Frames of this market are applied too late: no proof makes it LIVE meanwhile.
        self.lagging: bool = False
        # When the book was doubted last, how often so far, and whether deltas may be missing since it was LIVE.
        self.doubted_at: float = _NEVER
        self.doubts: int = 0
        self.missed_deltas: bool = False
        # Deltas received while there is no book, oldest first.
        self.buffer: Waiting = Waiting(self.config.max_buffered_deltas, self.proven.mark)
        # The stream sent a whole book that differs from ours, and its batch is open.
        self.pending: bool = False
        # When the current row of unproven batches began; None while the tip is proven. When the venue disagreed last.
        self.miss_since: float | None = None
        self.disagreed_at: float = _NEVER
        self.miss_reason: Reason = Reason.HASH_MISMATCH
        self.misses: Misses = Misses(self)
        self.refresh_at: float = float("inf")
        # The market's other token, once it is tracked.
        self.twin: Token | None = None
        # Spreads the probes of markets that were primed together; set by the market.
        self.jitter: float = 1.0
        self.resyncs: dict[str, int] = {}
        self.resync: Resync = Resync(self)

    # ---- State -------------------------------------------------------------------------------------

    def move(self, new: BookState, reason: Reason, now: float, detail: str = "") -> None:
        """Change the state. A move that the table does not allow is a bug and raises RuntimeError."""
        if new not in LEGAL_TRANSITIONS[self.state]:
            raise RuntimeError(f"illegal transition {self.state.name} -> {new.name} ({reason.name})")
        proven, events = self.proven, self.outbox.events
        events.append(Transition(self.asset_id, now, self.state, new, reason, proven.epoch, detail, proven.age(now)))
        self.state, self.reason, self.since, self.calm = new, reason, now, False
        self.outbox.rearm[self.asset_id] = None
        self.outbox.dirty[self.asset_id] = None

    def is_calm(self) -> bool:
        """Whether the book is LIVE, and nothing about it is disputed or waited for."""
        waiting = self.misses.watched or self.pending or self.resync.held is not None
        self.calm = self.miss_since is None and not waiting and self.state is BookState.LIVE
        return self.calm

    @property
    def settled(self) -> bool:
        """Whether nothing newer is known than what is proven, and nothing disputes it."""
        if self.proven.unproven or self.miss_since is not None or self.pending:
            return False
        # Each read asks, and nearly never there is anything to look at.
        resync = self.resync
        return resync.held is None and (resync.disagreed_at is None or not resync.disputes)

    def doubt(self, reason: Reason, now: float, detail: str = "") -> None:
        """Make a LIVE book SUSPECT; other states have no trust to lose. Only what is said later clears it (D4)."""
        self._note_doubt(now)
        if self.state is BookState.LIVE:
            self.move(BookState.SUSPECT, reason, now, detail)
            self.outbox.want(self.asset_id, Want.URGENT)

    def _note_doubt(self, now: float) -> None:
        self.doubted_at = now
        self.doubts += 1

    def missed_input(self, reason: Reason, now: float, detail: str) -> None:
        """Input that may have been about this book could not be taken."""
        if self.state in (BookState.LIVE, BookState.SUSPECT):
            self.doubt(reason, now, detail)
            self.missed_deltas = True
        elif self.state is not BookState.RETIRED:
            # A baseline on its way may not know of it: only one that is newer counts.
            self._note_doubt(now)
            self.buffer.drop()
            if self.proven.loaded:
                self.start_resync(reason, now, gap=True, detail=detail)

    def retire(self, reason: Reason, now: float, detail: str = "") -> None:
        """The market is over: drop everything until it shows life again."""
        if self.state is not BookState.RETIRED:
            self.move(BookState.RETIRED, reason, now, detail)
            self.outbox.books.pop(self.asset_id, None)
            self.clear()
            self.buffer.drop()

    def revive(self, now: float) -> None:
        """A retired market shows life: mirror it again."""
        self.connected = False
        self.move(BookState.RESYNCING, Reason.REVIVED, now)
        self.resync.begin(now)

    def clear(self, kept_from_ms: int | None = None) -> None:
        """Forget the book; the epoch grows."""
        self.proven.clear(kept_from_ms)
        self.miss_since = None
        self.missed_deltas = self.pending = False
        self.misses.clear()
        self.resync.forget_probe()

    def start_resync(
        self, reason: Reason, now: float, *, gap: bool, detail: str = "", doubted_at: float | None = None
    ) -> None:
        """Clear the book and ask for a baseline. ``gap`` says that deltas were missed up to now.

        The reason for it came up at ``doubted_at`` (default: now).
        """
        if self.state is BookState.RETIRED:
            return
        self._note_doubt(now if doubted_at is None else doubted_at)
        if self.state is BookState.LIVE:
            self.move(BookState.SUSPECT, reason, now, detail)
        self.resyncs[reason.name] = self.resyncs.get(reason.name, 0) + 1
        self.outbox.resyncs[reason.name] = self.outbox.resyncs.get(reason.name, 0) + 1
        if gap:
            self.buffer.drop()
            self.clear()
        elif self.proven.loaded:
            self.clear(self.buffer.keep_journal(self.asset_id, self.proven, self.outbox.clock, now))
        else:
            self.clear()
        self.move(BookState.RESYNCING, reason, now, detail)
        self.resync.begin(now)

    # ---- Inputs from the stream --------------------------------------------------------------------

    def subscribed(self, now: float, asked_at: float, lane: int = 0, *others: int) -> None:
        """The subscription was sent at ``asked_at``: the opening book should arrive soon, on each of these lanes."""
        self.connected = True
        self.questions.begin(asked_at, lane)
        for other in others:
            self.questions.ask(asked_at, other)
        self.proven.subscribed()
        self.resync.begin(now, await_stream=True)
        self.outbox.rearm[self.asset_id] = None

    def disconnected(self, now: float, detail: str = "") -> None:
        """The socket is gone: whatever was known may be outdated."""
        self.connected = self.lagging = False
        self.questions.clear()
        if self.state is BookState.UNPRIMED and not self.proven.loaded:
            # There was nothing to lose; the next connection primes it.
            self.buffer.drop()
            self.resync.begin(now)
        else:
            self.start_resync(Reason.DISCONNECT, now, gap=True, detail=detail)

    def delta(
        self, change: Change, order_ms: int, stated_ms: int, as_of: float, now: float, heard_at: float, message: int
    ) -> Undo | None:
        """Take one delta: apply it, or buffer it. Return what it replaced. Raises UnitError if it is bad.

        ``order_ms`` orders it, ``stated_ms`` is what the venue hashed, and it speaks for ``as_of``. It was read at
        ``heard_at``, before it had to wait, and came with what else its ``message`` says.
        """
        # Read before a doubt was raised, it knows nothing of it (D4).
        late = heard_at < self.doubted_at
        if self.proven.mark.is_ahead(stated_ms, now, self.outbox.clock):
            as_of = _NEVER
        return self._take(Held(order_ms, change, stated_ms, as_of, self.doubts - late, now, message))

    def _take(self, held: Held) -> Undo | None:
        order_ms, change, stated_ms, as_of, doubts, now, message = held
        proven = self.proven
        if not proven.loaded:
            if self.state is not BookState.RETIRED and self.buffer.hold(held):
                self.resync.overflowed = True
                self.outbox.rearm[self.asset_id] = None
            return None
        if order_ms < proven.last_ms:
            proven.mark.stream_below(order_ms, now)
        if proven.repeats(change, stated_ms):
            if proven.hash_proven:
                self.outbox.count(ProofKind.HASH, Verdict.MATCH)
            return None
        if order_ms <= proven.last_ms and self.misses.leave_out(change, order_ms, message):
            return None
        undo = proven.book.change(change, order_ms, message)
        proven.follow(undo, change, stated_ms, as_of, doubts)
        return undo

    def admits(self, book: OrderBook, evidence: Evidence) -> bool:
        """Whether a book may be a baseline: it is not older than what was heard of either token, buffer apart (D3)."""
        twin, mark, since_ms = self.twin, self.proven.mark, evidence.since_ms
        # A book that is no older than its twin is admitted whatever that shows: not to compare or copy saves 5 us.
        newer = twin.proven if twin and twin.proven.proven_ms > max(since_ms, self.buffer.newest_ms) else None
        if newer is not None and newer.proof is not None and not newer.unproven and not book.mirrors(newer.book):
            mark.rise(newer.proven_ms)
        return since_ms > mark.at_ms or mark.admits(since_ms, book.levels())

    def overtaken_by_twin(self, since_ms: int, as_of: float, now: float) -> None:
        """The market's other token was proven at a newer time, and this book is not its mirror image."""
        self.proven.mark.rise(since_ms)
        self.proven.superseded(since_ms, as_of)
        if self.proven.last_ms < since_ms:
            self.disagrees(Reason.COMPLEMENT_MISMATCH, now)

    def load(self, book: OrderBook, evidence: Evidence, now: float, *, verifiable: bool, believed: bool = True) -> bool:
        """Take a baseline, roll the buffer forward over it, and become LIVE if that can be proven.

        ``verifiable`` says whether the baseline's own hash was explained, ``believed`` whether it may be trusted
        before REST has shown the same. Whether it may be one at all is asked before (:meth:`admits`). Return
        False if the deltas on top of it were bad.
        """
        proven = self.proven
        proven.load(book, evidence)
        crossed, baseline = (book.crossed(), book.levels()) if self.buffer else (False, None)
        buffered = self.buffer.take()
        try:
            for held in buffered:
                self._take(held)
        except UnitError as error:
            self.start_resync(Reason.DECODE_ERROR, now, gap=True, detail=str(error))
            return False
        if not believed:
            proven.unprove()
        elif proven.stated is None:
            self.prove(evidence, now)
        elif not verifiable or not proven.stated.hash:
            # No hash to rely on: the baseline is the venue's own statement, and it is what can be read.
            if not crossed:
                self._become_live(evidence, now)
        elif not self.prove_by_hash(now, thorough=True):
            # The next deltas prove it, or resync.due runs out.
            self.outbox.rearm[self.asset_id] = None
        elif evidence.since_ms >= proven.last_ms and book.levels() == baseline:
            # The baseline had the buffered deltas already, and it is the fresher evidence.
            self.prove(evidence, now)
        if proven.unproven == 0:
            self.tell_twin(now)
        return True

    def tell_twin(self, now: float) -> None:
        """Our book as it stands is proven, and says the same about the other token's: if that differs, it is older."""
        twin, proven = self.twin, self.proven
        if twin is None or not twin.proven.loaded or twin.proven.last_ms >= proven.proven_ms:
            return
        # By timestamps alone: an answer may know less than what was heard of the other one.
        if proven.unasked is not None and not twin.proven.book.mirrors(proven.book):
            twin.overtaken_by_twin(proven.proven_ms, proven.unasked.as_of, now)

    def adopt(self, book: OrderBook, evidence: Evidence, now: float) -> None:
        """Ours becomes a newer book of the stream that its own hash proves, by the changes between the two."""
        self.proven.adopt(book, evidence)
        self.prove(evidence, now)

    # ---- Proofs ------------------------------------------------------------------------------------

    def prove(self, evidence: Evidence, now: float) -> None:
        """The book as it stands equals the venue's."""
        newer = self.proven.prove(evidence)
        if newer is None:
            return
        if newer or self.miss_since is not None:  # newer levels can be read from now on, or they are settled
            self.outbox.dirty[self.asset_id] = None
        self.miss_since = None
        if self.proven.is_empty:
            # Perhaps settled: the next probe is due sooner.
            self.outbox.rearm[self.asset_id] = None
        if self.state is not BookState.LIVE:
            self._become_live(evidence, now)

    def prove_past(self, undos: list[Undo], book: OrderBook, evidence: Evidence, now: float) -> None:
        """The book as it was before ``undos`` equals the venue's."""
        if book.crossed() or (undos and undos[0].as_of == _NEVER):
            return
        if self.proven.prove_past(undos, book, evidence):
            self.outbox.dirty[self.asset_id] = None
        if self.state is not BookState.LIVE and self.miss_since is None:
            # While the newest state is in dispute, an older one says nothing about it.
            self._become_live(evidence.until(undos[0].as_of) if undos else evidence, now)

    def _become_live(self, evidence: Evidence, now: float) -> None:
        proof = self.proven.proof
        if proof is None or now - proof.as_of > self.config.max_proof_age:
            return  # Right, but too long ago to be trusted now.
        if not self.lagging and evidence.clears(self.doubts, self.doubted_at):
            self.missed_deltas = False
            self.resync.done(now)
            self.move(BookState.LIVE, Reason.PROVEN, now)

    def prove_by_hash(self, now: float, *, thorough: bool) -> bool:
        """Compare the book with the newest announced hash. ``thorough`` also tries what is likely."""
        proven = self.proven
        stated = proven.stated
        if stated is None or not stated.hash:
            return False
        hashes, args = self.hashes, (self.asset_id, proven.stated_ms, proven.book, stated.hash)
        if hashes.prove(*args) or (thorough and hashes.try_likely(*args)):
            self._hash_fits(proven.stated_as_of, proven.stated_doubts, now)
            return True
        return False

    def prove_by_earlier(self, now: float) -> bool:
        """The batch is over: has the book a hash that came with an earlier change of its newest millisecond?

        Two messages of one millisecond may stand swapped: the one that came last has the hash of a book that never was
        here, the other one that of the end. This proves 68 of the 103 batches of a busy market that nothing else does.
        """
        proven = self.proven
        earlier = proven.announced_at(proven.last_ms)
        hashes = [undo.announced for undo in earlier]
        if not hashes or (found := self.hashes.which(self.asset_id, proven.stated_ms, proven.book, hashes)) is None:
            return False
        as_of = next(undo.as_of for undo in earlier if undo.announced == found)
        # What was proven at once keeps no date of its own.
        as_of = as_of or self.outbox.clock.date(proven.last_ms, now)
        # It may have come before the last doubt: then it clears none (D4).
        self._hash_fits(as_of, proven.stated_doubts if as_of >= self.doubted_at else -1, now)
        return True

    def _hash_fits(self, as_of: float, doubts: int, now: float) -> None:
        """The book has an announced hash of its newest millisecond, which speaks for ``as_of``."""
        self.proven.hash_fits()
        self.outbox.count(ProofKind.HASH, Verdict.MATCH)
        self.prove(Evidence(ProofKind.HASH, self.proven.last_ms, as_of, doubts), now)

    def hash_missed(self, now: float) -> None:
        """At the end of a batch the announced hash did not fit: watch it, and start the clock."""
        proven = self.proven
        stated = proven.stated
        if stated is None:
            return
        if not stated.hash or self.hashes.constants is None:
            self.outbox.count(ProofKind.HASH, Verdict.UNVERIFIABLE)
            return
        # Late hashes fit soon, and then all misses are forgotten.
        self.outbox.warn("hash form", self.hashes.stream_missed(now), now)
        if not self.hashes.verifiable:
            self.outbox.count(ProofKind.HASH, Verdict.UNVERIFIABLE)
            return
        self.calm = False
        self.misses.watch(stated, now)
        if not proven.unproven and (proven.proof is None or proven.proof.kind is not ProofKind.COMPLEMENT):
            return
        if proven.only_rest:
            # Nothing on the stream has confirmed this baseline yet, and now something contradicts it.
            self.doubt(Reason.HASH_MISMATCH, now, "the first change after a REST book")
        self.disagrees(Reason.HASH_MISMATCH, now)

    def disagrees(self, reason: Reason, now: float) -> None:
        """The venue states something else: SUSPECT if no proof comes within the grace."""
        self.disagreed_at = now
        if self.miss_since is None:
            self.miss_since, self.miss_reason, self.calm = now, reason, False
            self.outbox.rearm[self.asset_id] = self.outbox.dirty[self.asset_id] = None  # settled no more

    # ---- Time --------------------------------------------------------------------------------------

    @property
    def probe_interval(self) -> float:
        """Seconds after which a proof is followed by a probe: few for an empty book, which may be settled."""
        usual = self.config.max_proof_age * self.config.probe_fraction * self.jitter
        return min(usual, EMPTY_PROBE_INTERVAL) if self.proven.is_empty else usual

    @property
    def probe_due(self) -> float:
        """When REST is to be asked next, by the age of the proof, or because only the stream has proven it lately."""
        as_of, resync = self.proven.stale_from, self.resync
        asked_at = resync.probed_at
        by_age = (asked_at if as_of is None or as_of < asked_at else as_of) + self.probe_interval
        cross_check = max(resync.confirmed_at, asked_at) + CROSS_CHECK_SECONDS * self.jitter
        return min(by_age, cross_check, resync.again_at)

    def proof_is_old(self, now: float) -> bool:
        """Whether the proof is so old that a probe is needed."""
        proof = self.proven.proof
        return proof is None or now - proof.as_of >= self.probe_interval

    def next_due(self) -> float:
        """Return when :meth:`on_time` has something to do."""
        config, as_of = self.config, self.proven.stale_from
        if self.state is BookState.RETIRED:
            return self.resync.due
        if self.state is BookState.LIVE and as_of is not None:
            due = min(as_of + config.max_proof_age, self.refresh_at, self.probe_due)
            if self.miss_since is not None:
                due = min(due, self.miss_since + config.hash_grace)
        elif self.state is BookState.SUSPECT:
            due = self.since + config.suspect_grace
        else:
            due = self.resync.due
        return min(due, self.resync.held_until, self.resync.ask_at, self.misses.search_at)

    def on_time(self, now: float) -> None:
        """Do what is due."""
        self.proven.forget(now)
        self.misses.on_time(now)
        self.resync.on_time(now)
        as_of = self.proven.stale_from
        if self.state is BookState.LIVE and as_of is not None:
            self._on_time_live(now, as_of)
        elif self.state is BookState.SUSPECT and now >= self.since + self.config.suspect_grace:
            if self.lagging:
                # Building it anew would lag as much: wait until the socket has caught up.
                self.since = now
            else:
                self.start_resync(self.reason, now, gap=self.missed_deltas)

    def _on_time_live(self, now: float, as_of: float) -> None:
        if now >= as_of + self.config.max_proof_age:
            self.doubt(Reason.STALE, now, f"last proof {now - as_of:.3f} s ago")
        elif self.miss_since is not None and now >= self.miss_since + self.config.hash_grace:
            self.doubt(self.miss_reason, now, f"for {now - self.miss_since:.3f} s")
        elif now >= self.refresh_at:
            self.resync.refresh(now)
        elif now >= self.probe_due:
            self.probe(now)
            if (twin := self.twin) is not None and twin.is_calm() and now >= twin.probe_due - twin.probe_interval / 2:
                # One call for both, before long.
                twin.probe(now)

    def probe(self, now: float) -> None:
        """Ask REST soon, together with others."""
        self.resync.asked(now)
        self.outbox.want(self.asset_id, Want.ROUTINE)
        self.outbox.rearm[self.asset_id] = None

    # ---- The price grid ----------------------------------------------------------------------------

    def accept(self, explained: Explained | None, message: Snapshot, now: float) -> None:
        """A whole book was accepted: keep what it tells about the market (D5)."""
        self.hashes.accept(explained, message)
        if explained is None:
            self.grid.told(message.tick_size, message.timestamp_ms, now)

    @property
    def tick_size(self) -> int | None:
        """The price grid in 1/10,000; None until told."""
        return self.grid.tick

"""One token's machine: it buffers, primes, applies, doubts and heals.

The machine owns the token's book and its state. Its inputs are deltas and whole books;
:mod:`polymirror.core.market` decides when a batch is over and compares the two tokens of a market, and
:mod:`polymirror.core.upkeep` says what the passing of time does.

What can be read is never simply the current levels: it is the newest state that was *proven*, with the age
of that proof. Changes since then are kept in a journal, so the proven state can be rebuilt while newer
changes wait for theirs. A lost delta therefore cannot show: the state it spoils never gets proven.

Priming follows the venue's rules, as measured on recordings: buffer deltas until a baseline is here, drop
those older than the baseline, apply the others in order (sizes are absolute, so one that the baseline
contains already does no harm), and let the hash of the last one decide.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from polymirror.core.book import OrderBook, Undo
from polymirror.core.events import Transition
from polymirror.core.hashing import HEAL_CHANGES, MAX_PENDING_HASHES, MissedHash
from polymirror.core.outbox import Want
from polymirror.core.proofs import Proof, ProofKind, Verdict
from polymirror.core.resync import Resync
from polymirror.core.states import LEGAL_TRANSITIONS, BookState, Reason
from polymirror.core.units import PRICE_SCALE, PRICES
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from polymirror.core.book import Levels
    from polymirror.core.hashing import MarketHash
    from polymirror.core.messages import Change, Snapshot
    from polymirror.core.outbox import Outbox


class Token:
    """One token's book, state and proofs. All times in seconds on the mirror's monotonic clock."""

    # More attributes than a shared instance dict takes: slots save 2 KB a token, and the caches feel it.
    __slots__ = (
        "asset_id", "book", "buffer", "buffer_from", "calm", "config", "connected", "doubted_at", "epoch", "generation",
        "hash_proven", "hashes", "held_at", "jitter", "journal", "lagging", "last_at", "loaded", "miss_reason",
        "miss_since", "missed", "missed_deltas", "only_rest", "outbox", "past_levels", "probed_at", "proof",
        "proven_at_ms", "reason", "refresh_at", "resync", "since", "state", "stated", "stated_at", "tick",
        "tip_levels", "unproven",
    )  # fmt: skip

    def __init__(self, asset_id: str, hashes: MarketHash, outbox: Outbox) -> None:
        self.asset_id = asset_id
        self.hashes = hashes
        self.outbox = outbox
        self.config = outbox.config
        self.state = BookState.UNPRIMED
        self.reason = Reason.TRACKED
        self.since = 0.0
        self.epoch = 0
        # LIVE, and nothing is disputed or waited for; False may also mean that nobody has looked since.
        self.calm = False
        # Price grid in 1/10,000; None until told.
        self.tick: int | None = None
        # The socket that carries this token is open and subscribed.
        self.connected = False
        # Frames of this token's socket are applied too late: no proof makes it LIVE meanwhile.
        self.lagging = False
        # The book is loaded and follows the stream. In UNPRIMED and RESYNCING it waits for a proof.
        self.loaded = False
        self.book = OrderBook()
        # Exchange time of the newest change or baseline in the book, ms.
        self.last_at = 0
        # The newest delta: its hash and stated top are what the book must agree with.
        self.stated: Change | None = None
        # When that delta came: what it proves is as old as this.
        self.stated_at = 0.0
        # The baseline came from REST, and nothing on the stream has confirmed it yet.
        self.only_rest = False
        # The newest delta's own hash fitted.
        self.hash_proven = False
        # Exchange time of the newest buffered delta, ms.
        self.held_at = 0
        # When the book was doubted last, and whether deltas may be missing since it was LIVE.
        self.doubted_at = float("-inf")
        self.missed_deltas = False
        # Grows whenever the book is replaced or cleared, and with each subscription: what was asked
        # before belongs to another generation.
        self.generation = 0
        # Deltas received while there is no book, oldest first.
        self.buffer: list[tuple[int, Change]] = []
        # The buffer holds every delta with a timestamp above this (ms); None: from the subscription on.
        self.buffer_from: int | None = None
        # Changes applied to the book, oldest first.
        self.journal: deque[Undo] = deque(maxlen=self.config.max_journal)
        # How many of the journal's newest changes came after the proven state.
        self.unproven = 0
        # The proven levels, once built, while the book has moved on.
        self.past_levels: Levels | None = None
        # The book's levels, once copied, while nothing has changed.
        self.tip_levels: Levels | None = None
        self.proof: Proof | None = None
        # Exchange time of the proven state, ms.
        self.proven_at_ms = 0
        # When the current row of unproven batches began; None while the tip is proven.
        self.miss_since: float | None = None
        self.miss_reason = Reason.HASH_MISMATCH
        self.missed: list[MissedHash] = []
        # When this token's next planned refresh is due.
        self.refresh_at = float("inf")
        # When REST was last asked to prove this book.
        self.probed_at = float("-inf")
        # Spreads the probes of markets that were primed together; set by the market.
        self.jitter = 1.0
        self.resync = Resync(self)

    # ---- State -------------------------------------------------------------------------------------

    def move(self, new: BookState, reason: Reason, now: float, detail: str = "") -> None:
        """Change the state. A move that the table does not allow is a bug and raises RuntimeError."""
        if new not in LEGAL_TRANSITIONS[self.state]:
            raise RuntimeError(f"illegal transition {self.state.name} -> {new.name} ({reason.name})")
        self.outbox.events.append(Transition(self.asset_id, now, self.state, new, reason, self.epoch, detail))
        self.state, self.reason, self.since, self.calm = new, reason, now, False
        self.outbox.rearm[self] = None
        self.outbox.dirty[self.asset_id] = None

    def is_calm(self) -> bool:
        """Whether the book is LIVE, and nothing about it is disputed or waited for."""
        undisputed = self.miss_since is None and not self.missed and self.resync.held is None
        self.calm = undisputed and self.state is BookState.LIVE
        return self.calm

    def doubt(self, reason: Reason, now: float, detail: str = "") -> None:
        """Make a LIVE book SUSPECT; other states have no trust to lose."""
        self.doubted_at = now
        if self.state is BookState.LIVE:
            self.move(BookState.SUSPECT, reason, now, detail)
            self.outbox.want(self, Want.URGENT)

    def missed_input(self, reason: Reason, now: float, detail: str) -> None:
        """Input that may have been about this book could not be taken."""
        if self.state in (BookState.LIVE, BookState.SUSPECT):
            self.doubt(reason, now, detail)
            self.missed_deltas = True
        elif self.state is not BookState.RETIRED:
            # A baseline on its way may not know of it: only one that is newer counts.
            newest = self.buffer[-1][0] if self.buffer else 0
            self.buffer_from = max(self.last_at, self.buffer_from or 0, newest)
            self.buffer.clear()
            if self.loaded:
                self.start_resync(reason, now, gap=True, detail=detail)

    def retire(self, reason: Reason, now: float) -> None:
        """The market is over: drop everything. Final."""
        if self.state is not BookState.RETIRED:
            self.move(BookState.RETIRED, reason, now)
            self.clear()
            self.buffer.clear()

    def clear(self) -> None:
        """Forget the book; the epoch grows."""
        if self.loaded:
            self.resync.emptied = self.is_empty
        self.epoch += 1
        self.generation += 1
        self.loaded = False
        self.book = OrderBook()
        self.stated = None
        self.journal.clear()
        self.unproven = 0
        self.past_levels = self.tip_levels = None
        self.proof = self.miss_since = None
        self.missed_deltas = False
        self.missed.clear()
        self.resync.forget_probe()

    def start_resync(self, reason: Reason, now: float, *, gap: bool, detail: str = "") -> None:
        """Clear the book and ask for a baseline. ``gap`` says that deltas were missed up to now."""
        if self.state is BookState.RETIRED:
            return
        if self.state is BookState.LIVE:
            self.move(BookState.SUSPECT, reason, now, detail)
        self.outbox.resyncs[reason.name] = self.outbox.resyncs.get(reason.name, 0) + 1
        kept = [] if gap else self._journaled()[-self.config.max_buffered_deltas :]
        if self.loaded or gap:
            self.buffer = kept
            self.buffer_from = kept[0][0] if kept else self.last_at or None
        self.clear()
        self.move(BookState.RESYNCING, reason, now, detail)
        self.resync.begin(now)

    def _journaled(self) -> list[tuple[int, Change]]:
        """Return the journal's changes as deltas, the newest of them with all that the venue stated in it."""
        deltas = [(undo.at, undo.delta(self.asset_id)) for undo in self.journal]
        if (stated := self.stated) is not None:
            for i in range(len(deltas) - 1, -1, -1):
                at, delta = deltas[i]
                if (delta.price, delta.size, delta.side) == (stated.price, stated.size, stated.side):
                    deltas[i] = (at, stated)
                    return deltas
        # What is left would not end with what the venue stated last, so nothing could prove it.
        return []

    # ---- Inputs from the stream --------------------------------------------------------------------

    def subscribed(self, now: float) -> None:
        """The socket is open and the subscription sent: the opening book should arrive soon."""
        self.connected = True
        self.generation += 1
        self.resync.begin(now, await_stream=True)
        self.outbox.rearm[self] = None

    def disconnected(self, now: float, detail: str = "") -> None:
        """The socket is gone: whatever was known may be outdated."""
        self.connected = self.lagging = False
        if self.state is BookState.UNPRIMED and not self.loaded:
            # There was nothing to lose; the next connection primes it.
            self.resync.begin(now)
        else:
            self.start_resync(Reason.DISCONNECT, now, gap=True, detail=detail)
        self.buffer.clear()
        self.buffer_from = None

    def delta(self, change: Change, at: int, now: float) -> Undo | None:
        """Take one delta: apply it, or buffer it. Return what it replaced. Raises UnitError if it is bad."""
        if not self.loaded:
            if self.state is not BookState.RETIRED:
                self._hold(change, at, now)
            return None
        if at < self.last_at and self._superseded(change, at):
            return None
        undo = self.book.change(change, at)
        self.follow(undo, change, at, now)
        return undo

    def follow(self, undo: Undo, change: Change, at: int, now: float) -> None:
        """Note a change that was just made in the book: nothing proves it yet."""
        if self.unproven == 0:
            # Free when a reader copied the levels since the last change.
            self.past_levels = self.tip_levels
        elif self.unproven == self.journal.maxlen and self.past_levels is None:
            # The journal is about to lose the way back.
            self.past_levels = self.book_levels_before_unproven(including=undo)
        self.tip_levels = None
        self.journal.append(undo)
        self.unproven += 1
        if at >= self.last_at:
            # What repeats an exchange time is no newer evidence, however late it comes.
            if at > self.last_at:
                self.stated_at = now
            elif self.stated is None and self.proof is not None:
                self.stated_at = min(now, self.proof.at)
            self.last_at = at
            self.stated = change
            self.hash_proven = False

    def _superseded(self, change: Change, at: int) -> bool:
        """Whether an out-of-order delta must not be applied: in the book already, or overtaken."""
        if at < self.resync.baseline_at or self.hash_proven:
            return True
        is_bid, price = change.side == "BUY", PRICES[change.price]
        key = price if is_bid else PRICE_SCALE - price
        return any(undo.at > at and undo.key == key and undo.is_bid is is_bid for undo in self.journal)

    def _hold(self, change: Change, at: int, now: float) -> None:
        """Buffer a delta until there is a baseline. A full buffer starts over: nothing is lost silently."""
        if len(self.buffer) >= self.config.max_buffered_deltas:
            self.buffer.clear()
            self.resync.overflowed = True
            self.outbox.rearm[self] = None
            self.buffer_from = at
        if not self.buffer or at > self.held_at:
            self.held_at, self.stated_at = at, now
        self.buffer.append((at, change))

    def load(self, message: Snapshot, book: OrderBook, now: float, source: Proof, *, verifiable: bool) -> bool:
        """Take a baseline, roll the buffer forward over it, and become LIVE if that can be proven.

        ``verifiable`` says whether the baseline's own hash was explained. Return whether the baseline
        was acceptable: in order with the stream, or not older than the deltas that are missing.
        """
        in_order = source.kind is ProofKind.BOOK
        if not in_order and self.buffer_from is not None and message.timestamp_ms < self.buffer_from:
            return False
        self._start_from(message, book, source)
        crossed, baseline = book.crossed(), book.levels() if self.buffer else None
        held, self.buffer, self.buffer_from = self.buffer, [], None
        try:
            for at, change in held:
                self.delta(change, at, self.stated_at)
        except UnitError as error:
            self.start_resync(Reason.DECODE_ERROR, now, gap=True, detail=str(error))
            return False
        if self.stated is None:
            self.proven(now, source.kind, source.at)
        elif not verifiable or not self.stated.hash:
            # No hash to rely on: the baseline is the venue's own statement, and it is what can be read.
            if not crossed:
                self._become_live(now)
        elif not self.prove_by_hash(now, thorough=True):
            # The next deltas prove it, or resync.due runs out.
            self.outbox.rearm[self] = None
        elif book.levels() == baseline:
            # The baseline had the buffered deltas already, and it is the fresher evidence.
            self.proven(now, source.kind, source.at)
        return True

    def _start_from(self, message: Snapshot, book: OrderBook, source: Proof) -> None:
        """Replace the book and everything that is known relative to it."""
        self.book, self.loaded = book, True
        self.generation += 1
        self.past_levels = self.tip_levels = None
        self.last_at = self.proven_at_ms = self.resync.baseline_at = message.timestamp_ms
        self.stated = None
        self.hash_proven = False
        self.journal.clear()
        self.unproven = 0
        self.proof = source
        self.only_rest = source.kind is ProofKind.PROBE

    def restart_at(self, at: int) -> None:
        """Keep the proven levels as a baseline of exchange time ``at`` (ms), and forget what led to them."""
        self.last_at = self.proven_at_ms = self.resync.baseline_at = at
        self.stated = None
        self.hash_proven = False
        self.journal.clear()
        self.missed.clear()

    # ---- Proofs ------------------------------------------------------------------------------------

    def proven(self, now: float, kind: ProofKind, as_of: float) -> None:
        """The book as it stands equals the venue's, as of ``as_of``: when the evidence came, not when it was read.

        A crossed book is never taken as proven, whatever the venue says: nobody can trade on it.
        """
        if self.book.crossed():
            return
        if self.unproven or self.proof is None:
            # Newer levels can be read from now on.
            self.outbox.dirty[self.asset_id] = None
            self.proof = Proof(kind, as_of, self.epoch)
        elif as_of > self.proof.at:
            # The same levels, proven again: the newest proof counts.
            self.proof = Proof(kind, as_of, self.epoch)
        self.unproven = 0
        self.past_levels = None
        if kind is not ProofKind.PROBE:
            self.only_rest = False
        self.proven_at_ms = self.last_at
        self.miss_since = None
        if self.is_empty:
            # Perhaps settled: the next probe is due sooner.
            self.outbox.rearm[self] = None
        if self.state is not BookState.LIVE:
            self._become_live(now)

    def proven_past(self, undos: list[Undo], book: OrderBook, at: int, now: float, as_of: float) -> None:
        """A past state of the book, ``undos`` ago and changed last at ``at`` (ms), equals the venue's ``book``."""
        if book.crossed():
            return
        if len(undos) != self.unproven or self.proof is None:
            self.outbox.dirty[self.asset_id] = None
            self.proof = Proof(ProofKind.PROBE, as_of, self.epoch)
        elif as_of > self.proof.at:
            self.proof = Proof(ProofKind.PROBE, as_of, self.epoch)
        self.unproven = len(undos)
        self.past_levels = book.levels()
        self.proven_at_ms = at
        if self.state is not BookState.LIVE and self.miss_since is None:
            # While the newest state is in dispute, an older one says nothing about it.
            self._become_live(now)

    def _become_live(self, now: float) -> None:
        if not self.lagging:
            self.missed_deltas = False
            self.resync.done(now)
            self.move(BookState.LIVE, Reason.PROVEN, now)

    def prove_by_hash(self, now: float, *, thorough: bool) -> bool:
        """Compare the book with the newest announced hash. ``thorough`` also searches candidates."""
        stated = self.stated
        if stated is None or not stated.hash:
            return False
        hashes, args = self.hashes, (self.asset_id, self.last_at, self.book, stated.hash)
        if hashes.prove(*args) or (thorough and hashes.search(*args)):
            self.hash_proven = True
            self.outbox.count(ProofKind.HASH, Verdict.MATCH)
            self.proven(now, ProofKind.HASH, self.stated_at)
            return True
        return False

    def heal(self, now: float) -> None:
        """After a message: has the book as it stands a hash that was announced a change or two ago?"""
        healed: float | None = None
        for each in self.missed:
            each.left -= 1
            if self.hashes.search(self.asset_id, each.at, self.book, each.announced, wide=False):
                self.outbox.count(ProofKind.HASH, Verdict.HEALED)
                each.left = -1
                healed = each.heard_at
            elif each.left <= 0:
                self.outbox.count(ProofKind.HASH, Verdict.MISMATCH)
        self.missed = [each for each in self.missed if each.left > 0]
        if healed is not None:
            self.proven(now, ProofKind.HASH, healed)

    def hash_missed(self, now: float) -> None:
        """At the end of a batch the announced hash did not fit: watch it, and start the clock."""
        stated = self.stated
        if stated is None:
            return
        if not stated.hash or not self.hashes.verifiable:
            self.outbox.count(ProofKind.HASH, Verdict.UNVERIFIABLE)
            return
        if len(self.missed) >= MAX_PENDING_HASHES:
            self.missed.pop(0)
            self.outbox.count(ProofKind.HASH, Verdict.MISMATCH)
        self.calm = False
        self.missed.append(MissedHash(self.last_at, stated.hash, self.stated_at, HEAL_CHANGES))
        if not self.unproven and (self.proof is None or self.proof.kind is not ProofKind.COMPLEMENT):
            return
        if self.only_rest:
            # Nothing on the stream has confirmed this baseline yet, and now something contradicts it.
            self.doubt(Reason.HASH_MISMATCH, now, "the first change after a REST book")
        self.disagrees(Reason.HASH_MISMATCH, now)

    def disagrees(self, reason: Reason, now: float) -> None:
        """The venue states something else: SUSPECT if no proof comes within the grace."""
        if self.miss_since is None:
            self.miss_since, self.miss_reason, self.calm = now, reason, False
            self.outbox.rearm[self] = None

    # ---- What it is like ---------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether the book has no level at all: the venue empties a book when its market is settled."""
        return self.loaded and not self.book.bids.keys and not self.book.asks.keys

    @property
    def tick_size(self) -> int | None:
        """The price grid in 1/10,000: the finer of what was announced and what the hash shows."""
        return self.hashes.finer_tick(self.tick)

    # ---- Reading -----------------------------------------------------------------------------------

    def book_levels_before_unproven(self, including: Undo | None = None) -> Levels:
        """Rebuild the proven levels from the book and the journal."""
        undos = list(self.journal)[len(self.journal) - self.unproven :]
        return self.book.levels_before(undos if including is None else [*undos, including])

    def proven_levels(self) -> Levels:
        """Return the newest proven levels; copied once, then shared until the next change."""
        if self.unproven == 0:
            if self.tip_levels is None:
                self.tip_levels = self.book.levels()
            return self.tip_levels
        if self.past_levels is None:
            self.past_levels = self.book_levels_before_unproven()
        return self.past_levels

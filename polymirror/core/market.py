"""One market: its batches, and the agreement of its two tokens.

A *batch* is all messages of a market with the same timestamp; it is over when a message with a later
timestamp arrives, or a few milliseconds pass. Inside a batch the venue may already state the top and the
hash of its end, so disagreement means something only there. Agreement means something at once: the hash of
each message is tried as soon as its changes are applied, and most batches are proven that way before they
are over.

Both tokens of a market show the same orders: a bid for one at p is an ask for the other at 1 - p. Which
levels differ is kept up to date with each change, so the full-depth comparison costs almost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from polymirror.core.book import OrderBook
from polymirror.core.evidence import Evidence, by_answer, by_stream
from polymirror.core.mirrored import take_mirrored
from polymirror.core.outbox import Want
from polymirror.core.proofs import ProofKind, Verdict, bbo_agrees, complement_differences, violation
from polymirror.core.states import BookState, Reason
from polymirror.core.token import Token
from polymirror.core.units import parse_tick
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.book import Undo
    from polymirror.core.fees import FeeSchedule
    from polymirror.core.hashing import Explained, MarketHash
    from polymirror.core.lanes import Lane
    from polymirror.core.messages import PriceChange, Snapshot, TickSizeChange
    from polymirror.core.outbox import Outbox

PAIR = 2
"""Tokens of a market."""

_NEVER = float("-inf")


class Resent(NamedTuple):
    """A whole book that the stream sent for a token that has one."""

    message: Snapshot
    book: OrderBook
    evidence: Evidence
    explained: Explained | None


class Market:
    """The tokens of one condition id. Times in seconds on the mirror's monotonic clock."""

    def __init__(self, condition_id: str, hashes: MarketHash, outbox: Outbox) -> None:
        self.condition_id = condition_id
        self.hashes = hashes
        self.outbox = outbox
        self.tokens: dict[str, Token] = {}
        # The fee terms, for whoever reads; None: not known.
        self.fee: FeeSchedule | None = None
        # The socket that carries this market; None before it is assigned.
        self.socket: int | None = None
        # From the venue's timestamp of the newest price change to its application, in seconds, and when it was
        # measured; None: no change yet on this connection. Whether it is more than allowed.
        self.lag: float | None = None
        self.lag_at = _NEVER
        self.lagging = False
        # The newest exchange time of a price change on this connection, ms.
        self.newest_ms = 0
        # Exchange time of the open batch in ms; 0: none is open.
        self.batch_ms: int = 0
        # When the open batch's newest message came, how many it has, and how many came at all that were not usual.
        self.heard_at: float = 0.0
        self.messages: int = 0
        self.taken: int = 0
        # Tokens that are to be checked when the open batch is over.
        self.touched: dict[Token, None] = {}
        # Compared when the batch is over.
        self._resent: dict[Token, Resent] = {}
        # Levels at which the two tokens are no mirror images: (key, is a bid of the first token).
        self.differences: set[tuple[int, bool]] = set()
        # The sum of the tokens' generations for which the differences hold.
        self.compared: int = -1
        # Both tokens, once both are tracked.
        self.pair: tuple[Token, Token] | None = None
        # How the open batch was counted, if its last message was checked at once; else None.
        self.checked_as: Literal["proven_pairs", "proven_twice", "unhashed_pairs"] | None = None
        # Messages since the second token was proven by its own hash, and when it is to be again.
        self.turn = 0
        self.both_due = _NEVER
        # The share of the usual interval after which both tokens are probed.
        self._jitter = 1.0 - outbox.rng.random() / 4
        # When Gamma was asked last whether the market is closed, and how often in vain.
        self.asked_at: float = _NEVER
        self.denied: int = 0

    def add(self, asset_id: str) -> Token:
        """Add a token (a market has two)."""
        token = self.tokens[asset_id] = Token(asset_id, self.hashes, self.outbox)
        token.jitter = self._jitter
        if len(self.tokens) == PAIR:
            one, other = self.tokens.values()
            self.pair = (one, other)
            one.twin, other.twin = other, one
        return token

    # ---- Messages ----------------------------------------------------------------------------------

    def deltas(self, message: PriceChange, as_of: float, now: float, heard_at: float | None = None) -> bool:
        """Apply a price change that speaks for ``as_of`` (D1; minus infinity: it cannot be dated).

        It was read at ``heard_at``, if it had to wait since. Raises UnitError if an entry is bad; entries before it are
        applied. Return whether all is checked already: then nothing is left to be done when the batch is over.
        """
        changes, at_ms, heard_at = message.price_changes or [], message.at_ms, now if heard_at is None else heard_at
        if len(changes) == PAIR and at_ms >= self.batch_ms and as_of != _NEVER:
            first, second = changes
            if take_mirrored(self, first, second, at_ms, as_of, now):
                return self.checked_as is not None
        order_ms = at_ms
        if as_of == _NEVER:
            # One from the future comes now, but never before what was heard already: the clock may be wrong, not it.
            newest_ms = max(token.proven.last_ms for token in self.tokens.values())
            order_ms = max(self.outbox.clock.order_ms(at_ms, now), min(at_ms, newest_ms))
        self._join_batch(order_ms, now)
        self.messages += 1
        self.taken += 1
        undos: list[tuple[Token, Undo]] = []
        for change in changes:
            if (token := self.tokens.get(change.asset_id)) is None:
                self.outbox.counts["untracked"] += 1
            elif (undo := token.delta(change, order_ms, at_ms, as_of, now, heard_at, self.taken)) is not None:
                undos.append((token, undo))
                self.touched[token] = None
        self._mirror(undos)
        self.changed(dict.fromkeys([token for token, _ in undos]), now)
        return False

    def changed(self, tokens: Iterable[Token], now: float, *, prove: bool = True) -> None:
        """Books have changed, and are to be checked when the batch is over: try to ``prove`` them now."""
        dirty = self.outbox.dirty
        for token in tokens:
            self.touched[token] = None
            dirty[token.asset_id] = None
            if token.misses.watched:
                token.misses.heal(now)
            if prove:
                token.prove_by_hash(now, thorough=False)
            token.resync.recheck(now)

    @property
    def generation(self) -> int:
        """Grows whenever a book of this market is cleared, replaced or subscribed anew."""
        if (pair := self.pair) is None:
            return sum(token.proven.generation for token in self.tokens.values())
        return pair[0].proven.generation + pair[1].proven.generation

    def whole_book(self, message: Snapshot, heard_at: float, now: float, lane: Lane) -> None:
        """Take a book from the stream, read at ``heard_at`` on ``lane``: a baseline, or a chance to prove.

        Raises UnitError if it is bad.
        """
        token = self.tokens.get(message.asset_id)
        if token is None:
            self.outbox.counts["untracked"] += 1
            return
        if message.tick_size is not None:
            parse_tick(message.tick_size)
        elif token.proven.loaded and self._is_ours(token, message, heard_at, now, lane):
            return
        book = OrderBook.of(message, token.config.max_levels)
        evidence = self._date_book(token, message, heard_at, now, lane)
        explained = self._explain(message, book, now)
        if token.state is BookState.RETIRED:
            token.resync.shows_life(message, explained, now)
            return
        if not token.proven.loaded:
            self._prime(token, Resent(message, book, evidence, explained), now)
            return
        self._join_batch(evidence.since_ms, now)
        # The price changes of its millisecond come before it or after it, and more may follow.
        resent = Resent(message, book, evidence, explained)
        if self._equals(token, resent, now):
            self._resent.pop(token, None)
            token.pending = False
        else:
            self._resent[token] = resent
            token.pending = evidence.since_ms >= token.proven.floor_ms
            token.calm, token.outbox.dirty[token.asset_id] = False, None  # its view may be settled no more
            if token.pending and evidence.as_of != _NEVER:
                token.proven.superseded(evidence.since_ms, evidence.as_of)
                token.proven.hint(evidence.since_ms, now)

    def _is_ours(self, token: Token, message: Snapshot, heard_at: float, now: float, lane: Lane) -> bool:
        """Whether our book has the hash of one that is sent again: then it is that book, whose levels are only counted.

        It saves 4,100 of the 86,400 instructions that a change of a recorded busy market takes on the mean.
        """
        proven, at_ms, book = token.proven, message.timestamp_ms, token.proven.book
        if len(message.bids) != len(book.bids.keys) or len(message.asks) != len(book.asks.keys):
            return False
        # A book that waits for the end of its batch may become ours at it.
        if self._resent or not message.hash or self.outbox.clock.order_ms(at_ms, now) < proven.floor_ms:
            return False
        if not self.hashes.prove(token.asset_id, at_ms, book, message.hash):
            return False
        evidence = self._date_book(token, message, heard_at, now, lane)
        self._join_batch(evidence.since_ms, now)
        self.outbox.count(ProofKind.HASH, Verdict.MATCH)
        self.outbox.count(ProofKind.BOOK, Verdict.MATCH)
        token.prove(evidence, now)
        return True

    def _date_book(self, token: Token, message: Snapshot, heard_at: float, now: float, lane: Lane) -> Evidence:
        """Date a stream book (D1): the opening one also speaks for the moment of the subscription."""
        clock = self.outbox.clock
        if message.tick_size is None and not clock.has_backlog(now):
            # Books that are sent after a trade are as fresh as changes, unless they are late: one came before.
            first = clock.low is None and not token.proven.loaded
            (clock.frame if first else clock.book)(message.timestamp_ms, now if first else heard_at)
        order_ms = clock.order_ms(message.timestamp_ms, now)
        as_of = by_stream(message.timestamp_ms, clock, heard_at, now)
        if token.proven.mark.is_ahead(message.timestamp_ms, now, clock):
            as_of = _NEVER
        # Opening books tell the tick size; without it, it is one that nobody asked for, perhaps a late one.
        asked_at = token.questions.answered(lane.number) if message.tick_size is not None else None
        by_stamp = None if asked_at is None else as_of
        if asked_at is not None:
            as_of = min(heard_at, max(as_of, by_answer(asked_at, max(self.lag or 0.0, lane.behind))))
        doubts = token.doubts - (heard_at < token.doubted_at)
        return Evidence(ProofKind.BOOK, order_ms, as_of, doubts, by_stamp)

    def _prime(self, token: Token, opening: Resent, now: float) -> None:
        message, book, evidence, explained = opening
        if token.proven.mark.is_ahead(message.timestamp_ms, now, self.outbox.clock):
            # Whether it is newer than what was heard cannot be told; what is older than it, was said now.
            if explained is not None:
                token.proven.mark.rise(evidence.since_ms)
            token.resync.failed(now)
            return
        # Altered on the way, or its form is not known: it is followed, and read once a hash or REST has shown it.
        believed = explained is not None or self.hashes.constants is None
        # From before the connection was lost, for all that can be seen: nothing changed since, or it is a kept one.
        repeated = evidence.by_stamp is not None and evidence.since_ms <= token.proven.floor_ms
        if not token.admits(book, evidence):
            # Older than what was heard: REST may know more.
            asked, shown = evidence.by_stamp is not None, explained is not None
            token.proven.mark.stream_below(evidence.since_ms, now, asked=asked, proven=shown)
            token.resync.too_old(ProofKind.BOOK, now)
            return
        if believed:
            token.accept(explained, message, now)
            self.outbox.clock.book(message.timestamp_ms, now)
        if token.load(book, evidence, now, verifiable=explained is not None, believed=believed):
            if believed:
                self.outbox.count(ProofKind.BOOK, Verdict.MATCH)
            else:
                token.resync.wait_for_proof(now)
            if token.proven.stated is not None:
                # The newest buffered delta's batch may still be open: it is checked when it is over.
                self._join_batch(token.proven.last_ms, now)
                self.touched[token] = None
            if repeated or not believed or (explained is None and message.hash):
                # REST tells whether it still holds, or the constants that its hash needs, or confirms what no hash can.
                self.outbox.want(token.asset_id, Want.URGENT)

    def tick_size(self, message: TickSizeChange, now: float) -> None:
        """The grid changed: each book must be proven on the new one. A repeated event changes nothing."""
        tick = parse_tick(message.tick_size)
        self.hashes.tick_announced(message.tick_size)
        token = self.tokens.get(message.asset_id)
        if token is None or token.tick_size == tick:
            return
        known = token.tick_size
        token.grid.announce(tick, message.timestamp_ms, now)
        # The hash has the new tick before its event comes: a book proven on the new grid needs no doubt.
        constants = self.hashes.constants
        on_new_grid = constants is not None and constants.tick_size == message.tick_size and token.proven.unproven == 0
        if known is not None and token.proven.loaded and not on_new_grid:
            token.doubt(Reason.TICK_SIZE_CHANGE, now, f"{known} -> {tick}")

    def traded(self, price: int, now: float) -> None:
        """A trade price (1/10,000, either token's) was announced: a missed hash may have it already."""
        trades = self.hashes.traded(price)
        for token in self.tokens.values():
            if token.misses.watched:
                token.misses.traded(trades, now)

    # ---- Batches -----------------------------------------------------------------------------------

    def _join_batch(self, at_ms: int, now: float) -> None:
        """Take something into the open batch, or open one. A later time ends the open one; an older says nothing."""
        config = self.outbox.config
        if self.checked_as is not None and (at_ms > self.batch_ms or now > self.heard_at + config.batch_window):
            self.close(now, definite=True)
        self.reopen()
        if self.batch_ms and (at_ms > self.batch_ms or self.messages >= config.max_batch_messages):
            # A later message is proof that nothing more of the old batch is to come.
            self.close(now, definite=True)
        self.batch_ms = max(self.batch_ms, at_ms)
        self.heard_at = now

    def joinable(self, now: float) -> bool:
        """Whether a message of the open batch's time belongs to it: it is not over, not full, and has no whole book."""
        config = self.outbox.config
        in_time = now <= self.heard_at + config.batch_window
        return in_time and self.messages < config.max_batch_messages and not self._resent

    def reopen(self) -> None:
        """Take back what was counted for the open batch: more has come, so it is checked when it is over."""
        if self.checked_as is None:
            return
        proofs, counted = self.outbox.proofs, self.checked_as
        setattr(proofs, counted, getattr(proofs, counted) - 1)
        for _ in range({"proven_pairs": 1, "proven_twice": 2, "unhashed_pairs": 0}[counted]):
            # The hashes did fit.
            proofs.count(ProofKind.HASH, Verdict.MATCH)
        self.touched = dict.fromkeys(self.tokens.values())
        if counted == "proven_pairs" and self.pair is not None:
            # Proven as a mirror image only: its own hash may be of the end of the batch, and is tried there.
            self.pair[1].proven.distrust_hash()
        self.checked_as = None

    def close(self, now: float, *, definite: bool) -> None:
        """The batch is over: check what is not proven yet. ``definite``: by a message, not by time."""
        self.batch_ms = self.messages = 0
        self.checked_as = None
        touched, self.touched = self.touched, {}
        missed = False
        for token in touched:
            if token.proven.loaded:
                # What explains the hash of neither of two mirror images is looked for once, with the first of them.
                missed = not self._check(token, now, definite=definite, likely=not missed or bool(self.differences))
        if touched or self._resent:
            self._check_complement(now, definite=definite)
        if self._resent:
            resent, self._resent = self._resent, {}
            for token, book in resent.items():
                token.pending = False
                if token.proven.loaded and not self._equals(token, book, now):
                    self._check_resent(token, book, now)
            for token, book in resent.items():
                if token.proven.unproven == 0 and token.proven.proven_ms == book.evidence.since_ms:
                    token.tell_twin(now)

    def drop_batch(self) -> None:
        """Forget the open batch: its socket is gone, or it could not be read."""
        self.batch_ms = self.messages = 0
        self.checked_as = None
        self.touched.clear()
        for token in self._resent:
            token.pending = False
        self._resent.clear()
        # Changes before a bad entry were applied, and are not in the differences.
        self.compared = -1

    def _check(self, token: Token, now: float, *, definite: bool, likely: bool) -> bool:
        """Check a book at the end of its batch; return whether its hash was found, if ``likely`` by trying."""
        count, proven, stated = self.outbox.count, token.proven, token.proven.stated
        found = (
            proven.hash_proven
            or token.prove_by_hash(now, thorough=False)
            or token.prove_by_earlier(now)
            or (likely and token.prove_by_hash(now, thorough=True))
        )
        impossible = violation(proven.book, stated, token.tick_size, hash_proven=proven.hash_proven)
        if impossible:
            count(ProofKind.INVARIANTS, Verdict.MISMATCH)
            if definite or not proven.book.crossed():
                token.doubt(Reason.INVARIANT_FAIL, now, impossible)
            else:
                # What uncrosses it may be on its way: an order that eats and rests is told in two messages.
                token.disagrees(Reason.INVARIANT_FAIL, now)
        else:
            count(ProofKind.INVARIANTS, Verdict.MATCH)
        if not found:
            token.hash_missed(now)
        try:
            agrees = None if stated is None else bbo_agrees(proven.book, stated.best_bid, stated.best_ask)
        except UnitError as error:
            self.outbox.warn("malformed best_bid or best_ask", str(error), now)
            agrees = False
        if agrees:
            count(ProofKind.BBO, Verdict.MATCH)
        elif agrees is None:
            count(ProofKind.BBO, Verdict.UNVERIFIABLE)
        else:
            count(ProofKind.BBO, Verdict.MISMATCH)
            # A hash that fits proves the top too: then only the statement was wrong.
            if not proven.hash_proven:
                (token.doubt if definite else token.disagrees)(Reason.BBO_MISMATCH, now)
        return found

    # ---- Whole books of the stream -----------------------------------------------------------------

    def _explain(self, message: Snapshot, book: OrderBook, now: float) -> Explained | None:
        """Explain a stream book's own hash, and count the verdict."""
        hashes = self.hashes
        explained = hashes.explain(message, book, now)
        if explained is not None:
            verdict = Verdict.MATCH
        elif message.hash and hashes.constants is not None:
            verdict = Verdict.MISMATCH if hashes.verifiable else Verdict.UNVERIFIABLE
            self.outbox.warn("hash form", hashes.stream_missed(now), now)
        else:
            verdict = Verdict.UNVERIFIABLE
        self.outbox.count(ProofKind.HASH, verdict)
        return explained

    def _equals(self, token: Token, resent: Resent, now: float) -> bool:
        """Whether a book that the stream sent for a token that has one equals ours: then it is a proof."""
        if resent.evidence.since_ms < token.proven.floor_ms or not token.proven.book.same_levels(resent.book):
            return False
        if resent.explained is None and self.hashes.verifiable:
            # It says what we have, and its hash says something else: no witness.
            return False
        self.outbox.count(ProofKind.BOOK, Verdict.MATCH)
        token.accept(resent.explained, resent.message, now)
        token.prove(resent.evidence, now)
        return True

    def _check_resent(self, token: Token, resent: Resent, now: float) -> None:
        """The batch is over: the book that the stream sent in it must equal ours, or ours becomes it."""
        count, proven, since_ms = self.outbox.count, token.proven, resent.evidence.since_ms
        if since_ms < proven.floor_ms or proven.changes_since(resent.book, since_ms) is not None:
            # Older than what is known, if only inside its millisecond.
            count(ProofKind.BOOK, Verdict.BEHIND)
            proven.mark.stream_below(since_ms, now)
            return
        count(ProofKind.BOOK, Verdict.MISMATCH)
        ahead = proven.mark.is_ahead(resent.message.timestamp_ms, now, self.outbox.clock)
        if resent.explained is None or resent.book.crossed() or ahead:
            # Neither ours nor provably the venue's: REST decides.
            token.disagrees(Reason.HASH_MISMATCH, now)
            self.outbox.want(token.asset_id, Want.URGENT)
            return
        # Its own hash proves it, so it is a change like any other, only that the messages between are missing.
        token.accept(resent.explained, resent.message, now)
        token.adopt(resent.book, resent.evidence, now)
        self.compared = -1

    # ---- Complement --------------------------------------------------------------------------------

    def _comparable(self) -> tuple[Token, Token] | None:
        if len(self.tokens) != PAIR:
            return None
        one, other = self.tokens.values()
        return (one, other) if one.proven.loaded and other.proven.loaded else None

    def _mirror(self, undos: list[tuple[Token, Undo]]) -> None:
        """Keep the set of differing levels up to date with what was just applied."""
        pair = self._comparable()
        if pair is None:
            return
        one, other = pair
        generations = one.proven.generation + other.proven.generation
        if self.compared != generations:
            # Both only grow, so an equal sum means equal parts.
            self.compared = generations
            self.differences = complement_differences(one.proven.book, other.proven.book)
            return
        differences = self.differences
        if len(undos) == PAIR:
            (first, a), (second, b) = undos
            if first is not second and a.key == b.key and a.is_bid is not b.is_bid and a.new == b.new:
                # The usual message: an order and its mirror image. The level agrees afterwards.
                if differences:
                    differences.discard((a.key, a.is_bid is (first is one)))
                return
        for token, undo in undos:
            mirror = (other if token is one else one).proven.book
            side = mirror.asks if undo.is_bid else mirror.bids
            mine = token.proven.book.bids if undo.is_bid else token.proven.book.asks
            level = (undo.key, undo.is_bid is (token is one))
            if side.size_at(undo.key) == mine.size_at(undo.key):
                differences.discard(level)
            else:
                differences.add(level)

    def _check_complement(self, now: float, *, definite: bool) -> None:
        pair = self._comparable()
        if pair is None:
            return
        self._mirror([])
        if not self.differences:
            self.outbox.count(ProofKind.COMPLEMENT, Verdict.MATCH)
            return
        self.outbox.count(ProofKind.COMPLEMENT, Verdict.MISMATCH)
        doubtful = [token for token in pair if token.proven.unproven]
        older, newer = sorted(pair, key=lambda token: token.proven.last_ms)
        if not doubtful and older.proven.last_ms < newer.proven.last_ms and (proof := newer.proven.proof) is not None:
            # Both were proven, one of them before the other's newest change: it did not follow.
            doubtful = [older]
            older.overtaken_by_twin(newer.proven.proven_ms, proof.as_of, now)
        for token in doubtful:
            if definite:
                token.doubt(Reason.COMPLEMENT_MISMATCH, now, f"{len(self.differences)} levels")
            else:
                token.disagrees(Reason.COMPLEMENT_MISMATCH, now)

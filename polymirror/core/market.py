"""One market: its batches, and the agreement of its two tokens.

A *batch* is all messages of a market with the same timestamp; it is over when a message with another
timestamp arrives, or a few milliseconds pass. Inside a batch the venue may already state the top and the
hash of its end, so disagreement means something only there. Agreement means something at once: the hash of
each message is tried as soon as its changes are applied, and most batches are proven that way before they
are over.

Both tokens of a market show the same orders: a bid for one at p is an ask for the other at 1 - p. Which
levels differ is kept up to date with each change, so the full-depth comparison costs almost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from polymirror.core.book import OrderBook
from polymirror.core.events import Warned
from polymirror.core.mirrored import take_mirrored
from polymirror.core.outbox import Want
from polymirror.core.proofs import Proof, ProofKind, Verdict, bbo_agrees, complement_differences
from polymirror.core.states import BookState, Reason
from polymirror.core.token import Token
from polymirror.core.units import PRICES, parse_size, parse_tick
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.book import Undo
    from polymirror.core.hashing import MarketHash
    from polymirror.core.messages import PriceChange, Snapshot, TickSizeChange
    from polymirror.core.outbox import Outbox

PAIR = 2
"""Tokens of a market."""


class Market:
    """The tokens of one condition id. Times in seconds on the mirror's monotonic clock."""

    def __init__(self, condition_id: str, hashes: MarketHash, outbox: Outbox) -> None:
        self.condition_id = condition_id
        self.hashes = hashes
        self.outbox = outbox
        self.tokens: dict[str, Token] = {}
        # The socket that carries this market; None before it is assigned.
        self.socket: int | None = None
        # Exchange time of the open batch in ms; 0: none is open.
        self.batch_at = 0
        # When the open batch's newest message came.
        self.heard_at = 0.0
        # Messages of the open batch.
        self.messages = 0
        self._touched: dict[Token, None] = {}
        # Books the stream sent for tokens that have one, and when; compared when the batch is over.
        self._resent: dict[Token, tuple[Snapshot, OrderBook, float]] = {}
        # Levels at which the two tokens are no mirror images: (key, is a bid of the first token).
        self.differences: set[tuple[int, bool]] = set()
        # The sum of the tokens' generations for which the differences hold.
        self.compared = -1
        # Both tokens, once both are tracked.
        self.pair: tuple[Token, Token] | None = None
        # How the open batch was counted, if it was one message that was checked at once; else None.
        self.checked_as: Literal["proven_pairs", "proven_twice", "unhashed_pairs"] | None = None
        # Whose turn it is to be proven by its own hash.
        self.turn = 0
        # The share of the usual interval after which both tokens are probed.
        self._jitter = 1.0 - outbox.rng.random() / 4

    def add(self, asset_id: str) -> Token:
        """Add a token (a market has two)."""
        token = self.tokens[asset_id] = Token(asset_id, self.hashes, self.outbox)
        token.jitter = self._jitter
        if len(self.tokens) == PAIR:
            one, other = self.tokens.values()
            self.pair = (one, other)
        return token

    # ---- Messages ----------------------------------------------------------------------------------

    def deltas(self, message: PriceChange, now: float, read_at: float | None = None) -> bool:
        """Apply a price change. Raises UnitError if an entry is bad; entries before it are applied.

        ``read_at`` is when it was read from the socket, if it had to wait since: what it proves is proven as of then.
        Return whether all is checked already: then nothing is left to be done when the batch is over.
        """
        heard_at = now if read_at is None else read_at
        changes, at = message.price_changes or [], message.at_ms
        if len(changes) == PAIR and at > self.batch_at:
            first, second = changes
            if take_mirrored(self, first, second, at, heard_at, now):
                return self.checked_as is not None
        config = self.outbox.config
        if self.checked_as is not None and at == self.batch_at and now <= self.heard_at + config.batch_window:
            self._reopen()
        elif self.checked_as is not None or at != self.batch_at or self.messages >= config.max_batch_messages:
            self._open(at, now)
        self.messages += 1
        self.heard_at = now
        undos: list[tuple[Token, Undo]] = []
        for change in changes:
            token = self.tokens.get(change.asset_id)
            if token is None:
                self.outbox.counts["untracked"] += 1
                continue
            undo = token.delta(change, at, heard_at)
            if undo is not None:
                undos.append((token, undo))
                self._touched[token] = None
        self._mirror(undos)
        self.changed(dict.fromkeys([token for token, _ in undos]), now)
        return False

    def changed(self, tokens: Iterable[Token], now: float) -> None:
        """Books have changed, and are to be checked when the batch is over: try to prove them now."""
        dirty = self.outbox.dirty
        for token in tokens:
            self._touched[token] = None
            dirty[token.asset_id] = None
            if token.missed:
                token.heal(now)
            token.prove_by_hash(now, thorough=False)
            if (held := token.resync.held) is not None:
                token.resync.recheck(held, now)

    def whole_book(self, message: Snapshot, now: float, read_at: float | None = None) -> None:
        """Take a book from the stream: a baseline, or a chance to prove. Raises UnitError if it is bad."""
        heard_at = now if read_at is None else read_at
        token = self.tokens.get(message.asset_id)
        if token is None:
            self.outbox.counts["untracked"] += 1
            return
        if token.state is BookState.RETIRED:
            return
        if message.tick_size is not None:
            token.tick = parse_tick(message.tick_size)
        if token.loaded:
            book = OrderBook.of(message, token.config.max_levels)
            if message.timestamp_ms != self.batch_at:
                self._open(message.timestamp_ms, now)
            self._reopen()
            self.heard_at = now
            # The price changes of its millisecond come before it or after it, and more may follow.
            if self._equals_resent(token, message, book, heard_at, now):
                self._resent.pop(token, None)
            else:
                self._resent[token] = (message, book, heard_at)
        else:
            self._prime(token, message, heard_at, now)

    def _prime(self, token: Token, message: Snapshot, heard_at: float, now: float) -> None:
        book = OrderBook.of(message, token.config.max_levels)
        explained = self._count_own_hash(token, message, book)
        if explained is False:
            token.resync.failed(now)
            return
        source = Proof(ProofKind.BOOK, heard_at, token.epoch)
        if token.load(message, book, now, source, verifiable=explained is True):
            self.outbox.count(ProofKind.BOOK, Verdict.MATCH)
            if token.stated is not None:
                # The newest buffered delta's batch may still be open: it is checked when it is over.
                if token.last_at != self.batch_at:
                    self._open(token.last_at, now)
                self._reopen()
                self.heard_at = now
                self._touched[token] = None
            if explained is None and message.hash:
                # REST tells the constants that the hash needs.
                self.outbox.want(token, Want.URGENT)

    def tick_size(self, message: TickSizeChange, now: float) -> None:
        """The grid changed: each book must be proven on the new one. A repeated event changes nothing."""
        tick = parse_tick(message.tick_size)
        self.hashes.tick_announced(message.tick_size)
        token = self.tokens.get(message.asset_id)
        if token is None or token.tick == tick:
            return
        known, token.tick = token.tick, tick
        # The hash has the new tick before its event comes: a book proven on the new grid needs no doubt.
        constants = self.hashes.constants
        on_new_grid = constants is not None and constants.tick_size == message.tick_size and token.unproven == 0
        if known is not None and token.loaded and not on_new_grid:
            token.doubt(Reason.TICK_SIZE_CHANGE, now, f"{known} -> {tick}")

    # ---- Batches -----------------------------------------------------------------------------------

    def _open(self, at: int, now: float) -> None:
        if self.batch_at:
            # A later message is proof that nothing more of the old batch is to come.
            self.close(now, definite=True)
        self.batch_at = at

    def _reopen(self) -> None:
        """Take back what was counted for the open batch: more has come, so it is checked when it is over."""
        if self.checked_as is None:
            return
        proofs, counted = self.outbox.proofs, self.checked_as
        setattr(proofs, counted, getattr(proofs, counted) - 1)
        for _ in range({"proven_pairs": 1, "proven_twice": 2, "unhashed_pairs": 0}[counted]):
            # The hashes did fit.
            proofs.count(ProofKind.HASH, Verdict.MATCH)
        self._touched = dict.fromkeys(self.tokens.values())
        if counted == "proven_pairs" and self.pair is not None:
            # Proven as a mirror image only: its own hash may be of the end of the batch, and is tried there.
            self.pair[1].hash_proven = False
        self.checked_as = None

    def close(self, now: float, *, definite: bool) -> None:
        """The batch is over: check what is not proven yet. ``definite``: by a message, not by time."""
        self.batch_at = self.messages = 0
        self.checked_as = None
        touched, self._touched = self._touched, {}
        for token in touched:
            if token.loaded:
                self._check(token, now, definite=definite)
        if touched or self._resent:
            self._check_complement(now, definite=definite)
        if self._resent:
            resent, self._resent = self._resent, {}
            for token, (message, book, heard_at) in resent.items():
                self._check_resent(token, message, book, heard_at, now)

    def drop_batch(self) -> None:
        """Forget the open batch: its socket is gone, or it could not be read."""
        self.batch_at = self.messages = 0
        self.checked_as = None
        self._touched.clear()
        self._resent.clear()
        # Changes before a bad entry were applied, and are not in the differences.
        self.compared = -1

    def _check(self, token: Token, now: float, *, definite: bool) -> None:
        count, stated = self.outbox.count, token.stated
        if not token.hash_proven and not token.prove_by_hash(now, thorough=True):
            token.hash_missed(now)
        impossible = _violation(token)
        if impossible:
            count(ProofKind.INVARIANTS, Verdict.MISMATCH)
            token.doubt(Reason.INVARIANT_FAIL, now, impossible)
        else:
            count(ProofKind.INVARIANTS, Verdict.MATCH)
        try:
            agrees = None if stated is None else bbo_agrees(token.book, stated.best_bid, stated.best_ask)
        except UnitError as error:
            self.outbox.events.append(Warned(now, "malformed best_bid or best_ask", str(error)))
            agrees = False
        if agrees:
            count(ProofKind.BBO, Verdict.MATCH)
        elif agrees is None:
            count(ProofKind.BBO, Verdict.UNVERIFIABLE)
        else:
            count(ProofKind.BBO, Verdict.MISMATCH)
            # A hash that fits proves the top too: then only the statement was wrong.
            if not token.hash_proven and definite:
                token.doubt(Reason.BBO_MISMATCH, now)
            elif not token.hash_proven:
                token.disagrees(Reason.BBO_MISMATCH, now)

    def _equals_resent(self, token: Token, message: Snapshot, book: OrderBook, heard_at: float, now: float) -> bool:
        """Whether a book that the stream sent for a token that has one equals ours: then it is a proof."""
        if not token.loaded or message.timestamp_ms < token.last_at or not token.book.same_levels(book):
            return False
        self.outbox.count(ProofKind.BOOK, Verdict.MATCH)
        self._count_own_hash(token, message, book)
        token.proven(now, ProofKind.BOOK, heard_at)
        return True

    def _check_resent(self, token: Token, message: Snapshot, book: OrderBook, heard_at: float, now: float) -> None:
        """The batch is over: the book that the stream sent in it must equal ours."""
        if not token.loaded or self._equals_resent(token, message, book, heard_at, now):
            return
        count = self.outbox.count
        if message.timestamp_ms < token.last_at:
            count(ProofKind.BOOK, Verdict.BEHIND)
            return
        count(ProofKind.BOOK, Verdict.MISMATCH)
        if self._count_own_hash(token, message, book) is False:
            # Neither ours nor provably the venue's: REST decides.
            token.disagrees(Reason.HASH_MISMATCH, now)
            self.outbox.want(token, Want.URGENT)
            return
        token.start_resync(Reason.PROBE_MISMATCH, now, gap=False, detail="a re-sent book differs")
        source = Proof(ProofKind.BOOK, heard_at, token.epoch)
        token.load(message, book, now, source, verifiable=self.hashes.verifiable)

    def _count_own_hash(self, token: Token, message: Snapshot, book: OrderBook) -> bool | None:
        """Prove a stream book by its own hash, and count the verdict."""
        explained = self.hashes.learn(message, book)
        verdict = {None: Verdict.UNVERIFIABLE, True: Verdict.MATCH, False: Verdict.MISMATCH}[explained]
        token.outbox.count(ProofKind.HASH, verdict)
        # Once the venue's hashes are understood, a stream book without one is not taken at its word.
        return False if explained is None and self.hashes.verifiable else explained

    # ---- Complement --------------------------------------------------------------------------------

    def _comparable(self) -> tuple[Token, Token] | None:
        if len(self.tokens) != PAIR:
            return None
        one, other = self.tokens.values()
        return (one, other) if one.loaded and other.loaded else None

    def _mirror(self, undos: list[tuple[Token, Undo]]) -> None:
        """Keep the set of differing levels up to date with what was just applied."""
        pair = self._comparable()
        if pair is None:
            return
        one, other = pair
        if self.compared != one.generation + other.generation:
            # Both only grow, so an equal sum means equal parts.
            self.compared = one.generation + other.generation
            self.differences = complement_differences(one.book, other.book)
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
            mirror = other if token is one else one
            side = mirror.book.asks if undo.is_bid else mirror.book.bids
            mine = token.book.bids if undo.is_bid else token.book.asks
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
        doubtful = [token for token in pair if token.unproven]
        if not doubtful and pair[0].last_at != pair[1].last_at:
            # Both were proven, one of them before the other's newest change: it did not follow.
            doubtful = [min(pair, key=lambda token: token.last_at)]
        for token in doubtful:
            if definite:
                token.doubt(Reason.COMPLEMENT_MISMATCH, now, f"{len(self.differences)} levels")
            else:
                token.disagrees(Reason.COMPLEMENT_MISMATCH, now)


def _violation(token: Token) -> str:
    """Name what is impossible about a book at the end of a batch, or return "".

    Order and sizes above 0 hold by construction. A new price off the grid is impossible unless the hash fits:
    then only the news of a finer grid is missing.
    """
    if token.book.crossed():
        return "crossed"
    stated = token.stated
    if token.hash_proven or stated is None or not parse_size(stated.size):
        return ""
    tick = token.tick_size
    off_grid = tick is not None and PRICES[stated.price] % tick
    return f"price {stated.price} is off the grid of {tick}" if off_grid else ""

"""One token's book as one relay tells it: a copy, and until when it may be believed. Pure.

A copy follows the relay's numbered states without a gap, and holds its own digest against the relay's after each. What
does not fit is never repaired by guessing: the copy is broken until a whole book comes. Times are the relay's clock,
but for ``heard_at``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.core.book import Levels
from polymirror.core.states import BookState, Reason
from polymirror.relay.digest import Side, digest_of
from polymirror.relay.wire import Book, Change

if TYPE_CHECKING:
    from polymirror.relay.wire import Beat

EMPTY: Final = Levels((), (), (), ())

NEVER: Final = float("-inf")

_STATES: Final = BookState.__members__
_REASONS: Final = Reason.__members__


class Copy:
    """A copy of one token's book. It tells nothing until the first whole book."""

    def __init__(self, token: str, known_ms: int = 0) -> None:
        self.token = token
        self.seq: int = 0
        # The newest state as the relay told it; what is about levels is of that change alone.
        self.told: Change | None = None
        # The newest whole book: what is the market's.
        self.book: Book | None = None
        # The newest statement about the proof, and when it left the relay.
        self.proof: Beat | None = None
        self.sent: float = 0.0
        # When the newest of all that was heard of it left, whether or not it was of use.
        self.heard: float = NEVER
        # Why it is not to be believed although it was told; None: it is.
        self.broken: Reason | None = None
        self.why: str = ""
        # Grows by one with each whole book that mends what was broken: what was before does not connect to it.
        self.generation: int = 0
        # Grows by one whenever something comes after it was not to be believed for silence alone.
        self.lapses: int = 0
        # The time of the venue that the newest state told, in ms since 1970, or a later one that could not be taken.
        self.known_ms: int = known_ms
        self._bids, self._asks = Side(asks=False), Side(asks=True)
        self._levels: Levels | None = EMPTY

    @property
    def state(self) -> BookState:
        """The state that the relay told. One that is not known here is no LIVE one."""
        return BookState.UNPRIMED if self.told is None else _STATES.get(self.told.state, BookState.SUSPECT)

    @property
    def reason(self) -> Reason | None:
        """The reason that the relay told, if it is known here."""
        told = self.told
        return None if told is None or told.reason is None else _REASONS.get(told.reason)

    @property
    def digest(self) -> str:
        """The digest of the levels; "" before the first book."""
        return "" if self.told is None else self.told.digest

    @property
    def exchange_ms(self) -> int:
        """The venue's time of the newest change in the levels, in ms since 1970; 0 before the first book."""
        return 0 if self.told is None else self.told.exchange_ms

    @property
    def levels(self) -> Levels:
        """The levels, best last."""
        if self._levels is None:
            bids, asks = self._bids, self._asks
            self._levels = Levels(tuple(bids.keys), tuple(bids.sizes), tuple(asks.keys), tuple(asks.sizes))
        return self._levels

    def take(self, item: Beat, sent: float) -> bool:
        """Take what the relay says of this token; return whether the whole book must be asked for.

        ``sent`` is when it left. What is older than the copy, or comes again, changes nothing; a whole book that left
        before something that was heard of the book is no way back to what it was then.
        """
        late, runs_back = sent < self.heard, sent > self.heard and item.seq < self.seq
        self.heard = max(sent, self.heard)
        if isinstance(item, Change):
            self.known_ms = max(item.exchange_ms, self.known_ms)
        if runs_back and not isinstance(item, Book):
            self.breaks(Reason.GAP, f"the relay's numbers run back, from {self.seq} to {item.seq}")
        elif isinstance(item, Book) and self._is_news(item, runs_back=runs_back):
            if not late:
                self._replace(item, sent)
        elif self.told is None or self.broken is not None:
            return True
        elif item.seq == self.seq:
            if sent >= self.sent:
                self.proof, self.sent = item, sent
        elif item.seq > self.seq and isinstance(item, Change) and item.prev_seq == self.seq:
            self._follow(item, sent)
        elif item.seq > self.seq:
            self.breaks(Reason.GAP, f"what led to state {item.seq} has not come: {self.seq} was the last")
        return self.broken is not None or self.told is None

    def _is_news(self, item: Book, *, runs_back: bool) -> bool:
        return item.seq > self.seq or runs_back or self.broken is not None or self.told is None

    def breaks(self, reason: Reason, why: str) -> None:
        """Believe nothing until the next whole book."""
        if self.broken is None:
            self.broken, self.why = reason, why
        if reason is Reason.CLOCK_STEP:
            # What left when is told by another clock from here on.
            self.heard = NEVER

    def gone(self, sent: float) -> bool:
        """The relay says that it does not carry it; return whether that is news."""
        if sent < self.heard:
            return False
        self.heard = sent
        self.breaks(Reason.DISCONNECT, "the relay does not carry it")
        return True

    def _replace(self, item: Book, sent: float) -> None:
        if item.seq < self.seq:
            self.breaks(Reason.GAP, f"the relay's numbers run back, from {self.seq} to {item.seq}")
        self.generation += self.broken is not None
        self.broken, self.why = None, ""
        self.book = item
        self._bids, self._asks = Side(asks=False), Side(asks=True)
        self._follow(item, sent)

    def _follow(self, item: Change, sent: float) -> None:
        """Become a state, and hold the levels against its digest."""
        self.seq, self.known_ms = item.seq, item.exchange_ms
        self.told = self.proof = item
        self.sent = sent
        for side, differs in ((self._bids, item.bids), (self._asks, item.asks)):
            for price, size in differs:
                side.set(price, size)
        if item.bids or item.asks or isinstance(item, Book):
            self._levels = None
        if digest_of(self.token, self._bids.text, self._asks.text) != item.digest:
            self.breaks(Reason.HASH_MISMATCH, f"the copy is not the relay's state {item.seq}: their digests differ")

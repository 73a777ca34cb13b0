"""The books of a relay as they are sent: numbered states of each token, and what lies between them. Pure.

A line takes views of one token, as its mirror shows them, and gives every state of it a number. Whoever has seen one of
the last states gets what has changed since; everybody else the whole book. What is sent is the same for all who are
at the same place, so it is made once, and what nobody asks for is never made.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from polymirror.relay.digest import Side, digest_of
from polymirror.relay.wire import MAX_COUNT, MAX_TEXT, Beat, Book, Change, Fee, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.core.book import Levels
    from polymirror.core.fees import FeeSchedule
    from polymirror.core.view import BookView
    from polymirror.relay.wire import Format

MAX_CHANGES: Final = 64
"""States back to which a line can say what has changed."""


class Source(Protocol):
    """What a line needs of a mirror. Times in seconds on the mirror's monotonic clock."""

    def peek(self, token: str) -> BookView:
        """Return a token's book whatever its state. Raises UnknownToken, and NotLive for one that is looked for."""
        ...

    def readable_until(self, token: str) -> float | None:
        """Return when a LIVE book stops being readable unless something new is proven; None: it is not LIVE."""
        ...

    def venue_ms(self, at: float) -> int:
        """Return what the venue's clock showed at least at a time, in ms since 1970; 0: not known."""
        ...


class Line:
    """One token."""

    def __init__(self, token: str, after: int = 0) -> None:
        self.token = token
        # The number of the newest state. The first one's is greater than ``after``.
        self.seq: int = after
        self._bids, self._asks = Side(asks=False), Side(asks=True)
        self._levels: Levels | None = None
        self._view: BookView | None = None
        self._digest = ""
        # What differs in the newest states from the one before each: bids, asks.
        self._changes: deque[tuple[dict[int, int], dict[int, int]]] = deque(maxlen=MAX_CHANGES)
        self._proof: tuple[float | None, int, float | None, str | None] = (None, 0, None, None)
        # By the format, and the state that a consumer has; made when asked for.
        self._made: dict[tuple[Format, int], bytes] = {}

    def look(self, source: Source, clock_ahead: float) -> bool:
        """Take the newest view; return whether the proof, the levels or anything else is new.

        ``clock_ahead`` is how far the relay's clock is ahead of the mirror's, in seconds. Raises UnknownToken, and
        NotLive for a token that is still looked for.
        """
        view = source.peek(self.token)
        at, until = view.proven_at, source.readable_until(self.token)
        proof = (
            None if at is None else at + clock_ahead,
            0 if at is None else source.venue_ms(at),
            None if until is None else until + clock_ahead,
            None if view.last_proof is None else view.last_proof.kind.value,
        )
        renewed, self._proof = proof != self._proof, proof
        if self._takes(view):
            self.seq += 1
            self._made.clear()
            return True
        if renewed:
            self._made.clear()
        return renewed

    def _takes(self, view: BookView) -> bool:
        """Whether a view is another state than the last."""
        last, self._view = self._view, view
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        if view.levels is not self._levels:
            self._levels = raw = view.levels
            bids = self._bids.take(raw.bid_keys, raw.bid_sizes)
            asks = self._asks.take(raw.ask_keys, raw.ask_sizes)
        if last is not None and not bids and not asks and _standing(last) == _standing(view) and last.fee == view.fee:
            return False
        if bids or asks or last is None:
            self._digest = digest_of(self.token, self._bids.text, self._asks.text)
        if last is None or last.fee != view.fee:
            # Whole books alone say what is the market's.
            self._changes.clear()
        else:
            self._changes.append((bids, asks))
        return True

    @property
    def is_told(self) -> bool:
        """Whether there is anything to say."""
        return self._view is not None

    @property
    def until(self) -> float | None:
        """When the book stops being readable unless something new is proven, by the relay's clock; None: it is not."""
        return self._proof[2]

    def since(self, seq: int, format_: Format) -> bytes:
        """Return the newest state for somebody who has state ``seq`` (0: none), encoded: a beat, a change or a book."""
        made = self._made.get((format_, seq))
        if made is None:
            made = self._made[format_, seq] = encode(self._make(seq), format_)
        return made

    def _make(self, seq: int) -> Beat | Change | Book:
        as_of, as_of_ms, until, proof = self._proof
        if seq == self.seq:
            return Beat(token=self.token, seq=seq, as_of=as_of, as_of_ms=as_of_ms, until=until, proof=proof)
        view, steps = self._view, self.seq - seq
        assert view is not None  # noqa: S101 - a line is asked after it has looked
        if 0 < steps <= len(self._changes) and seq:
            changes = _merged(islice(self._changes, len(self._changes) - steps, None))
            bids, asks = (list(differs.items()) for differs in changes)
            kind: Callable[..., Change] = Change
        else:
            seq, bids, asks = 0, self._bids.pairs(), self._asks.pairs()
            kind = partial(Book, market=view.market, fee=_fee(view.fee))
        return kind(
            token=self.token, seq=self.seq, prev_seq=seq, as_of=as_of, as_of_ms=as_of_ms, until=until, proof=proof,
            epoch=view.epoch, doubts=view.doubts, state=view.state.name,
            reason=None if view.reason is None else view.reason.name, settled=view.settled,
            exchange_ms=view.exchange_ms, tick=view.tick_size_e4, apply_lag=view.apply_lag,
            clock_uncertainty=view.clock_uncertainty, bids=bids, asks=asks,
            digest=self._digest,
        )  # fmt: skip


def _standing(view: BookView) -> tuple[object, ...]:
    """What makes a state beside the levels."""
    return (view.state, view.reason, view.epoch, view.doubts, view.settled, view.exchange_ms, view.tick_size_e4)


def _merged(changes: Iterable[tuple[dict[int, int], dict[int, int]]]) -> tuple[dict[int, int], dict[int, int]]:
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    for one, other in changes:
        bids.update(one)
        asks.update(other)
    return bids, asks


def _fee(fee: FeeSchedule | None) -> Fee | None:
    if fee is None:
        return None
    rate, rebate = str(fee.rate), str(fee.rebate_rate)
    if max(len(rate), len(rebate)) > MAX_TEXT or not 0 <= fee.exponent <= MAX_COUNT:
        # Terms that the wire cannot carry are terms that are not known: a frame that nobody can read would be in the
        # way of all other books.
        return None
    return Fee(rate=rate, exponent=fee.exponent, taker_only=fee.taker_only, rebate_rate=rebate)

"""The recorded frames: a busy market of 10.5 seconds, as the venue sent it, and as a flow that can be repeated.

The recording lies beside the repository and is never part of it. Of its two markets the busy one is used.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from benchmarks.speed.book_text import SCALE, BookText
from benchmarks.speed.frames import Frames, Scenario, change_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

DENSE = Path(__file__).parents[3] / "shared" / "corpus" / "ws" / "btc5m_dense_20260421.jsonl"

ABSENT = "the recording is not at ../shared/corpus, beside the repository"

RECORDED = Scenario("recorded, 50 levels", "0.01", tuple(range(100, 5_100, 100)))

Step = tuple[int, tuple[int, str, bool] | str]
"""Milliseconds since the beginning, and a change of the first token as (price, size, is a bid), or another kind."""

PRICE_CHANGE, BOOK, TRADE = "price_change", "book", "last_trade_price"


@frozen
class _Event:
    raw: bytes
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content["event_type"])

    @property
    def stamp(self) -> int:
        return int(self.content["timestamp"])


def _events() -> tuple[str, tuple[str, str], list[_Event]]:
    """Return the busy market, its tokens, and its events from the first on for which both books are known."""
    lines = [line for line in DENSE.read_bytes().splitlines() if line]
    every = [_Event(line, json.loads(line)) for line in lines]
    market, _ = Counter(event.content["market"] for event in every).most_common(1)[0]
    # best_bid_ask comes only to those who ask for custom events, which other programs do not.
    own = [e for e in every if e.content["market"] == market and e.kind in (PRICE_CHANGE, BOOK, TRADE)]
    first = next(event for event in own if event.kind == PRICE_CHANGE).content["price_changes"]
    return str(market), (first[0]["asset_id"], first[1]["asset_id"]), own


def recorded_frames() -> Frames:
    """Return the recording with every byte as it was received. Raises FileNotFoundError where it is absent."""
    market, tokens, events = _events()
    books: dict[str, int] = {}
    for i, event in enumerate(events):
        if event.kind == BOOK:
            books.setdefault(event.content["asset_id"], i)
    start = max(books[token] for token in tokens)
    opening = b"[" + b",".join(events[books[token]].raw for token in tokens) + b"]"
    rest = events[start + 1 :]
    tops: list[tuple[int, int] | None] = []
    for event, later in zip(rest, [*rest[1:], None], strict=True):
        over = later is None or later.stamp != event.stamp
        tops.append(_stated(event, tokens[0]) if over else None)
    return Frames(
        RECORDED,
        opening,
        tuple(event.raw for event in rest),
        tuple(event.stamp for event in rest),
        tuple(tops),
        market=market,
        tokens=tokens,
    )


def _stated(event: _Event, token: str) -> tuple[int, int] | None:
    """Return the best prices that the last entry for a token states."""
    entries = [e for e in event.content.get("price_changes", ()) if e["asset_id"] == token and e.get("best_bid")]
    return (_units(entries[-1]["best_bid"]), _units(entries[-1]["best_ask"])) if entries else None


def _units(price: str) -> int:
    return round(float(price) * SCALE)


class RecordedFlow:
    """The recording as a flow: the same changes in the same rhythm, with stamps and hashes of the time of sending.

    At its end a few changes lead back to its beginning, and it starts again.
    """

    def __init__(self) -> None:
        self.market, self.tokens, events = _events()
        self.books = tuple(BookText(self.market, token, "0.01") for token in self.tokens)
        self.steps: list[Step] = []
        self._levels: dict[tuple[int, bool], str] = {}
        self._load(events)
        self._start = {level: size for level, size in self._levels.items() if size != "0"}

    def _load(self, events: list[_Event]) -> None:
        book = next(e for e in events if e.kind == BOOK and e.content["asset_id"] == self.tokens[0])
        for side, is_bid in (("bids", True), ("asks", False)):
            for level in book.content[side]:
                self.apply(_units(level["price"]), level["size"], is_bid=is_bid)
        rest = events[events.index(book) + 1 :]
        for event in rest:
            at = event.stamp - rest[0].stamp
            if event.kind == PRICE_CHANGE:
                change = next(e for e in event.content["price_changes"] if e["asset_id"] == self.tokens[0])
                self.steps.append((at, (_units(change["price"]), change["size"], change["side"] == "BUY")))
            else:
                self.steps.append((at, event.kind))
        self.duration_ms = self.steps[-1][0] + 1

    def apply(self, price: int, size: str, *, is_bid: bool) -> None:
        """Make ``size`` the first token's size at a price, and the second's at the mirror image."""
        one, other = self.books
        one.set(price, size, is_bid=is_bid)
        other.set(SCALE - price, size, is_bid=not is_bid)
        self._levels[price, is_bid] = size

    def opening(self, stamp: int) -> bytes:
        """Return the array with which a socket opens."""
        return f"[{','.join(book.whole(stamp) for book in self.books)}]".encode()

    def frames(self, what: tuple[int, str, bool] | str, stamp: int) -> Iterator[bytes]:
        """Take one step and yield what the venue sends about it."""
        if isinstance(what, tuple):
            price, size, is_bid = what
            self.apply(price, size, is_bid=is_bid)
            yield change_frame(self.books, price, size, stamp, is_bid=is_bid)
        elif what == BOOK:
            for book in self.books:
                # A re-sent book tells no tick size and no last trade.
                whole = json.loads(book.whole(stamp))
                yield json.dumps({key: whole[key] for key in RESENT}, separators=(",", ":")).encode()

    def round(self) -> Iterator[Step]:
        """Yield the whole recording once, then the changes that lead from its end back to its beginning."""
        yield from self.steps
        known, start = dict(self._levels), self._start
        gone = dict.fromkeys(sorted(known.keys() - start.keys()), "0")
        # Removals first: a book that is on its way from one price to another must not cross.
        for (price, is_bid), size in (gone | start).items():
            if known.get((price, is_bid), "0") != size:
                yield self.duration_ms, (price, size, is_bid)


RESENT = ("market", "asset_id", "timestamp", "hash", "bids", "asks", "event_type")

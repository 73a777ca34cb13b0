"""Faults of the past: what was sent once is sent again, as it was or as if it were new.

One small class each, with an id, what happens, and where it was seen. What they remember is bounded.
Listed in :mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field, frozen

from polymirror.core.units import PRICES, parse_size
from polymirror.simulator.exchange.history import digest
from polymirror.simulator.exchange.market import MIN_ORDER_SIZE
from polymirror.simulator.faults.base import Fault, Plan
from polymirror.simulator.faults.deltas import dumps
from polymirror.simulator.faults.openings import opening_text
from polymirror.simulator.faults.rest import BOOK_PATHS, parse_books, plain_hash, replace_books
from polymirror.simulator.frames import BOOK, LAST_TRADE_PRICE, OPENING, PRICE_CHANGE, REPLY, TICK_SIZE_CHANGE, Frame

if TYPE_CHECKING:
    from polymirror.simulator.exchange.history import Digest
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.frames import Answer, Call, Item

Book = dict[str, Any]

MAX_RECORDED = 2_000
"""A recording has no more frames than this."""

MAX_REPLAYS = 4
"""As many are remembered of each token."""

MAX_RECORDINGS = 16
"""No more connections than this are remembered: each of them by what it subscribed."""


class LateDuplicateBook(Fault):
    """A whole book that was sent before is delivered again later, every third time with a wrong hash.

    Seen for price changes only, 172 times in 45 minutes; a book is a message like any other.
    """

    id: ClassVar[str] = "late_duplicate_book"
    default_share: ClassVar[float] = 0.1
    default_length_ms: ClassVar[int] = 5_000

    @property
    def max_delay_ms(self) -> int:
        """Where another fault loses the first copy, the second one is all that comes."""
        return self.plan.length_ms

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Send some books a second time, up to the planned length later."""
        passed: list[Item] = [*self.release(link, now_ms), *items]
        for item in items:
            if isinstance(item, Frame) and item.kind == BOOK and self.concerns(item) and self.strikes(now_ms):
                again = item
                if self.rng.random() < 1 / 3:
                    stated = json.loads(item.text)["hash"]
                    again = item._replace(text=item.text.replace(stated, f"{self.rng.getrandbits(160):040x}"))
                self.hold(link, again, now_ms + self.rng.randint(1, max(1, self.plan.length_ms)))
        return passed


@define(eq=False)
class Recording:
    """What a connection got from its opening books on."""

    link: int
    began_ms: int
    frames: list[tuple[int, Frame]] = field(factory=list)


@frozen
class Replay:
    """A time in which a connection, and perhaps the calls too, show the past of some tokens as if it were now."""

    began_ms: int
    until_ms: int
    calls_too: bool
    states: dict[str, frozenset[Digest]] = field(factory=dict)
    """By token: the books that are shown."""

    def shows(self, token: str, state: Digest) -> bool:
        """Whether a book is of the past that is shown."""
        return state in self.states.get(token, ())


class ReplayedConnection(Fault):
    """A new connection is fed what an earlier one got, with new stamps and hashes that fit, for some seconds.

    Not reported; it is what an intermediary can do that rewrites everything consistently, because the hash has no
    key. Every second time the answers to calls are replaced too.
    """

    id: ClassVar[str] = "replayed_connection"
    default_share: ClassVar[float] = 0.3
    default_length_ms: ClassVar[int] = 5_000
    storm_lengths_ms: ClassVar[tuple[int, ...]] = (1_000, 3_000, 8_000)
    heal_seconds: ClassVar[float | None] = 25.0

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        super().__init__(plan, seed=seed)
        # By the subscribed tokens: what their newest connection got that was not a replay itself.
        self._recordings: dict[frozenset[str], Recording] = {}
        self._by_link: dict[int, Recording] = {}
        # The newest replays of each token, the newest last: somebody may still read what an earlier one showed.
        self.replays: defaultdict[str, deque[Replay]] = defaultdict(lambda: deque(maxlen=MAX_REPLAYS))
        # What calls show of a token: the books of the replay and from when on each of them.
        self._shown: dict[str, list[tuple[int, Book]]] = {}

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Record what passes; on some new connections let the past pass instead."""
        passed = self.release(link, now_ms)
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is not None and now_ms < spell.until_ms:
                if not isinstance(item, Frame) or item.kind == REPLY:
                    passed.append(item)
                continue
            if isinstance(item, Frame) and item.kind == OPENING and link.number not in self._by_link:
                past = self._earlier(link, item, now_ms)
                if past is not None and self.strikes(now_ms):
                    self._replay(link, past, now_ms)
                    passed += self.release(link, now_ms)
                    continue
            self._record(link, item, now_ms)
            passed.append(item)
        return passed

    def _record(self, link: Link, item: Item, now_ms: int) -> None:
        recording = self._by_link.get(link.number)
        if recording is None or not isinstance(item, Frame) or item.kind == REPLY:
            return
        if len(recording.frames) < MAX_RECORDED and now_ms < recording.began_ms + self.plan.length_ms:
            recording.frames.append((now_ms, item))

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """While calls are replaced too, the books of the replay."""
        if not self._shown or call.path not in BOOK_PATHS or answer.status != 200:
            return answer
        books = parse_books(answer)
        past = {book["asset_id"]: self._past_of(book, now_ms) for book in books}
        if all(past[book["asset_id"]] is book for book in books):
            return answer
        return replace_books(call, books, lambda book: past[book["asset_id"]])

    def _past_of(self, book: Book, now_ms: int) -> Book:
        token = book["asset_id"]
        if token not in self._shown:
            return book
        if now_ms >= self.replays[token][-1].until_ms:
            del self._shown[token]
            return book
        return next((past for at_ms, past in reversed(self._shown[token]) if at_ms <= now_ms), book)

    def _earlier(self, link: Link, opening: Frame, now_ms: int) -> Recording | None:
        """What an earlier connection with the same books got; if there is none, record this one."""
        tokens = frozenset(book["asset_id"] for book in json.loads(opening.text))
        past = self._recordings.get(tokens)
        if past is not None and past.link != link.number and self.is_due(now_ms):
            return past
        while len(self._recordings) >= MAX_RECORDINGS:
            del self._recordings[next(iter(self._recordings))]
        self._recordings[tokens] = Recording(link.number, now_ms)
        self._by_link = {recording.link: recording for recording in self._recordings.values()}
        return None

    def _replay(self, link: Link, past: Recording, now_ms: int) -> None:
        spell = self.begin(link, now_ms)
        calls_too = self.rng.random() < 0.5
        offset_ms = 0 if self.exchange is None else self.exchange.clock_offset_ms
        forger = Forger()
        shown: dict[str, list[tuple[int, Book]]] = {}
        for at_ms, frame in past.frames:
            due_ms = now_ms + at_ms - past.began_ms
            if due_ms >= spell.until_ms:
                break
            self.hold(link, frame._replace(text=forger.restamped(frame, due_ms + offset_ms)), due_ms)
            for token in forger.touched:
                shown.setdefault(token, []).append((due_ms, forger.books[token].copy()))
        states = {token: frozenset(_digest(book) for _, book in books) for token, books in shown.items()}
        replay = Replay(now_ms, spell.until_ms, calls_too, states)
        for token in forger.books:
            self.replays[token].append(replay)
        if calls_too:
            self._shown |= shown


def _digest(book: Book) -> Digest:
    """Return what :mod:`polymirror.simulator.exchange.history` knows a book by."""
    sides = [[(PRICES[each["price"]], parse_size(each["size"])) for each in book[side]] for side in ("bids", "asks")]
    return digest(*sides)


class Forger:
    """Gives frames of the past another time, and the hashes that fit it."""

    def __init__(self) -> None:
        # The REST form of each book, as it would be after what was restamped so far.
        self.books: dict[str, Book] = {}
        # The tokens of the last frame's books.
        self.touched: tuple[str, ...] = ()

    def restamped(self, frame: Frame, stamp: int) -> str:
        """The text of a frame as if it were sent at this time."""
        payload = json.loads(frame.text)
        if isinstance(payload, list):
            books = [self._book(book, stamp) for book in payload]
            self.touched = tuple(book["asset_id"] for book in books)
            return opening_text(books)
        self.touched = ()
        payload["timestamp"] = str(stamp)
        if frame.kind == BOOK:
            self.touched = (payload["asset_id"],)
            return json.dumps(self._book(payload, stamp), separators=(",", ":")) + "\n"
        if frame.kind == PRICE_CHANGE:
            self._change(payload, stamp)
        elif frame.kind == LAST_TRADE_PRICE:
            self._note(payload["market"], "last_trade_price", f"{float(payload['price']):.3f}")
        elif frame.kind == TICK_SIZE_CHANGE:
            self._note(payload["market"], "tick_size", payload["new_tick_size"])
        return dumps(payload)

    def _book(self, book: Book, stamp: int) -> Book:
        known = self.books.get(book["asset_id"], {})
        state = {
            "market": book["market"],
            "asset_id": book["asset_id"],
            "timestamp": str(stamp),
            "hash": "",
            "bids": book["bids"],
            "asks": book["asks"],
            "min_order_size": MIN_ORDER_SIZE,
            "tick_size": book.get("tick_size", known.get("tick_size", "0.01")),
            "neg_risk": False,
            "last_trade_price": book.get("last_trade_price", known.get("last_trade_price", "")),
        }
        self._rehash(state)
        self.books[book["asset_id"]] = state
        return book | {"timestamp": str(stamp), "hash": state["hash"]}

    def _change(self, payload: dict[str, Any], stamp: int) -> None:
        for change in payload["price_changes"]:
            book = self.books.get(change["asset_id"])
            if book is None:
                continue
            side, is_bid = ("bids", True) if change["side"] == "BUY" else ("asks", False)
            levels = {level["price"]: level["size"] for level in book[side]}
            levels[change["price"]] = change["size"]
            kept = sorted(levels, key=float, reverse=not is_bid)
            book[side] = [{"price": price, "size": levels[price]} for price in kept if levels[price] != "0"]
            book["timestamp"] = str(stamp)
        self.touched = tuple(each["asset_id"] for each in payload["price_changes"] if each["asset_id"] in self.books)
        for token in self.touched:
            self._rehash(self.books[token])
        for change in payload["price_changes"]:
            if change["asset_id"] in self.books:
                change["hash"] = self.books[change["asset_id"]]["hash"]

    def _note(self, market: str, key: str, value: str) -> None:
        for book in self.books.values():
            if book["market"] == market:
                book[key] = value

    def _rehash(self, book: Book) -> None:
        book["hash"] = plain_hash(book)

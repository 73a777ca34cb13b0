"""Faults of time between the calls and the stream: one of them is behind the other.

One small class each, with an id, what happens, and where it was seen. What they remember is bounded
by the number of tokens. Listed in :mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from polymirror.simulator.faults.base import Fault, Plan, Served, Servings
from polymirror.simulator.faults.pace import PaceFault
from polymirror.simulator.faults.rest import BOOK_PATHS, parse_books, replace_books
from polymirror.simulator.frames import PRICE_CHANGE, Frame

if TYPE_CHECKING:
    from polymirror.simulator.faults.base import Link, Spell
    from polymirror.simulator.frames import Answer, Call, Item

Book = dict[str, Any]


class OldBooks(Fault):
    """The base of faults that answer with an older state of a book."""

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        super().__init__(plan, seed=seed)
        # The old state of a token, since when and until when it is given out. At most one for each token.
        self._kept: dict[str, tuple[int, int, Book]] = {}
        self.served: Servings = Servings()

    @property
    def max_delay_ms(self) -> int:
        """How old an answer can be."""
        return self.plan.length_ms

    def keep(self, book: Book, now_ms: int) -> None:
        """From now on, and for the planned length, this is the token's book."""
        self._kept[book["asset_id"]] = (now_ms, now_ms + self.plan.length_ms, book)

    def is_kept(self, token: str, now_ms: int) -> bool:
        """Whether an old state of this token is given out."""
        return now_ms < self._kept.get(token, (0, 0, None))[1]

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Replace books by their old states; every book that differs is an occurrence."""
        if not self._kept or call.path not in BOOK_PATHS or answer.status != 200:
            return answer
        books = parse_books(answer)
        old = [self._old(book, now_ms) for book in books]
        changed = [after["asset_id"] for before, after in zip(books, old, strict=True) if before != after]
        if not changed:
            return answer
        self.injected += len(changed)
        for token in changed:
            since_ms, _, book = self._kept[token]
            self.served.note(token, Served(now_ms, since_ms, int(book["timestamp"])))
        by_token = {book["asset_id"]: book for book in old}
        return replace_books(call, books, lambda book: by_token[book["asset_id"]])

    def _old(self, book: Book, now_ms: int) -> Book:
        token = book["asset_id"]
        if self.is_kept(token, now_ms):
            return self._kept[token][2]
        self._kept.pop(token, None)
        return book

    def pick(self) -> None:
        """Take a chance without counting it: what counts is the old answer."""
        self.strike()
        self.injected -= 1


class RestStale(OldBooks):
    """Answers about a token are served from a cache: the same old state for the whole length.

    Seen in an issue of the venue's client as books that did not change while the market traded; one
    later study found none.
    """

    id: ClassVar[str] = "rest_stale"
    default_share: ClassVar[float] = 0.2
    default_length_ms: ClassVar[int] = 10_000

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Give out what is cached; sometimes begin to cache the books of this answer."""
        stale = super().answer(call, answer, now_ms)
        if call.path not in BOOK_PATHS or answer.status != 200 or not self.is_due(now_ms):
            return stale
        wanted = self.plan.tokens
        for book in parse_books(answer):
            token = book["asset_id"]
            if not self.is_kept(token, now_ms) and (not wanted or token in wanted):
                self.keep(book, now_ms)
        self.pick()
        return stale


class RestStaleLong(RestStale):
    """As ``rest_stale``, from a cache that keeps a book for minutes: older than any proof may be.

    Seen in the same issue; a cache in front of a service forgets when it likes.
    """

    id: ClassVar[str] = "rest_stale_long"
    default_length_ms: ClassVar[int] = 100_000
    storm_lengths_ms: ClassVar[tuple[int, ...]] = (60_000, 100_000, 150_000)
    heal_seconds: ClassVar[float | None] = 25.0


class RestBehind(OldBooks):
    """Answers about a market lack its newest changes, which the stream has delivered already.

    Seen in a study that found REST books up to 1.1 s behind the stream; a client of other venues waits
    two seconds before it asks, for this reason.
    """

    id: ClassVar[str] = "rest_behind"
    default_share: ClassVar[float] = 0.01
    default_length_ms: ClassVar[int] = 1_500

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Note the state of a market's books that answers will show for a while."""
        del link
        for item in items:
            if not isinstance(item, Frame) or item.kind != PRICE_CHANGE or self.exchange is None:
                continue
            market = self.exchange.market_by_condition(item.market)
            if market is not None and self.concerns(item) and self.is_due(now_ms):
                self.pick()
                for token in market.tokens:
                    text = self.exchange.rest_book(token)
                    if text is not None and not self.is_kept(token, now_ms):
                        self.keep(json.loads(text), now_ms)
        return items


class StreamBehind(PaceFault):
    """The stream is late for some time, so answers to calls are ahead of it.

    Seen in the same study, up to 1.1 s; on busy sockets messages wait for seconds in a send buffer
    while a call returns at once.
    """

    id: ClassVar[str] = "stream_behind_rest"
    default_length_ms: ClassVar[int] = 2_000

    @property
    def max_delay_ms(self) -> int:
        """How late the stream is at most."""
        return self.plan.length_ms // 2

    def delay_ms(self, item: Item, spell: Spell, now_ms: int) -> int:
        """The same for all of an occurrence, so that nothing is let go in a heap but its end."""
        del item, spell, now_ms
        return self.max_delay_ms

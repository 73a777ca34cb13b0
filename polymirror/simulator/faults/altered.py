"""Faults of what a book contains: levels or a price grid that somebody on the way altered.

One small class each, with an id, what happens, and where it was seen. The stated hash stays what it was,
so it does not fit any more. Listed in :mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from polymirror.simulator.faults.base import Fault
from polymirror.simulator.faults.rest import BOOK_PATHS, parse_books, replace_books
from polymirror.simulator.frames import BOOK, OPENING, TICK_SIZE_CHANGE, Frame

if TYPE_CHECKING:
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.frames import Answer, Call, Item

Book = dict[str, Any]

TICKS = ("0.1", "0.01", "0.001", "0.0001")


class AlteredBooks(Fault):
    """The base of faults that alter one book of a message or an answer."""

    kinds: ClassVar[frozenset[str]] = frozenset()
    """The kinds of frames that give a chance on a connection."""

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Alter some frames."""
        del link
        return [
            self._altered(item)
            if isinstance(item, Frame) and item.kind in self.kinds and self.concerns(item) and self.strikes(now_ms)
            else item
            for item in items
        ]

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Alter one book of some answers."""
        if call.path not in BOOK_PATHS or answer.status != 200 or not self.is_due(now_ms):
            return answer
        books = parse_books(answer)
        chosen = self._choose(books)
        if chosen is None:
            return answer
        self.strike()
        altered = self.alter(chosen)
        return replace_books(call, books, lambda book: altered if book is chosen else book)

    def alter(self, book: Book) -> Book:
        """What this book becomes."""
        raise NotImplementedError

    def _altered(self, frame: Frame) -> Frame:
        payload = json.loads(frame.text)
        if isinstance(payload, list):
            picked = self._choose(payload)
            if picked is not None:
                payload[payload.index(picked)] = self.alter(picked)
        else:
            payload = self.alter(dict(payload))
        return frame._replace(text=json.dumps(payload, separators=(",", ":")) + "\n")

    def _choose(self, books: list[Book]) -> Book | None:
        wanted = [book for book in books if not self.plan.tokens or book.get("asset_id") in self.plan.tokens]
        return self.rng.choice(wanted) if wanted else None


class AlteredLevels(AlteredBooks):
    """A level of a book is altered or missing, in a message or in an answer, while the stated hash stays.

    Not reported for the venue; a proxy or a parser on the way that drops or rounds a level does it.
    """

    id: ClassVar[str] = "altered_levels"
    default_share: ClassVar[float] = 0.02
    kinds: ClassVar[frozenset[str]] = frozenset({BOOK, OPENING})

    def alter(self, book: Book) -> Book:
        """The same book with another size at one level, or without it."""
        side = self.rng.choice([name for name in ("bids", "asks") if book[name]] or ["bids"])
        levels = list(book[side])
        if not levels:
            return book
        index = self.rng.randrange(len(levels))
        if self.rng.random() < 0.5:
            del levels[index]
        else:
            levels[index] = levels[index] | {"size": f"{levels[index]['size'].partition('.')[0]}.77"}
        return book | {side: levels}


class AlteredTick(AlteredBooks):
    """The price grid is stated wrongly: in opening books, in answers, and in the events of its change.

    Not reported for the venue; the grid enters the hash, so whoever believes a wrong one takes right hashes for
    wrong.
    """

    id: ClassVar[str] = "altered_tick"
    default_share: ClassVar[float] = 0.05
    kinds: ClassVar[frozenset[str]] = frozenset({OPENING, TICK_SIZE_CHANGE})

    def alter(self, book: Book) -> Book:
        """The same with another grid."""
        key = "new_tick_size" if "new_tick_size" in book else "tick_size"
        return book | {key: self.rng.choice([tick for tick in TICKS if tick != book.get(key)])}

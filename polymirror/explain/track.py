"""One token's book as a bundle lets it be followed, with the way back to every earlier state."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import define, field

from polymirror.explain.books import Book

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.explain.wire import Entry, Level, Whole

MAX_STEPS: Final = 20_000
"""Changes that can be taken back."""


@define
class Step:
    """One change that was applied: enough to take it back, and to apply it to another book."""

    at: float
    at_ms: int
    entry: Entry
    old: Level | None


@define(eq=False)
class Track:
    """A book and how it came to be. It begins with a whole one."""

    book: Book
    at_ms: int
    """The venue's time of its newest change."""
    began: float
    """When it began, in seconds on the mirror's clock."""
    steps: deque[Step] = field(factory=lambda: deque(maxlen=MAX_STEPS))
    _stamps: dict[tuple[bool, Decimal], int] = field(factory=dict)
    _base_ms: int = 0

    @classmethod
    def of(cls, whole: Whole, at: float, steps: Iterable[Step] = ()) -> Track:
        """Begin with a whole book, and with those of the changes that are not older than it."""
        made = cls(Book.of(whole.bids, whole.asks), whole.at_ms, at)
        made._base_ms = whole.at_ms
        for step in steps:
            if step.at_ms > whole.at_ms:
                made.apply(step.at, step.at_ms, step.entry)
        return made

    def apply(self, at: float, at_ms: int, entry: Entry) -> bool:
        """Apply a change unless a newer one of the same level is in the book; return whether it is applied."""
        key = (entry.is_bid, Decimal(entry.price))
        if at_ms < self._stamps.get(key, self._base_ms):
            return False
        self._stamps[key] = at_ms
        old = self.book.set(entry.is_bid, entry.price, entry.size)
        self.steps.append(Step(at, at_ms, entry, old))
        self.at_ms = max(self.at_ms, at_ms)
        return True

    def as_of(self, at_ms: int) -> Book:
        """Return the book as it was at a time of the venue, as far as the way back reaches."""
        book = self.book.copy()
        for step in reversed(self.steps):
            if step.at_ms <= at_ms:
                break
            book.put_back(step.entry.is_bid, step.entry.price, step.old)
        return book

    def ended(self, other: Book) -> float | None:
        """Return until when the book was like this, in seconds on the mirror's clock; None: it never was.

        Infinity: it still is.
        """
        mine, theirs = self.book.sizes(), other.sizes()
        wrong = {(side, p) for side in (0, 1) for p in mine[side].keys() | theirs[side].keys()
                 if mine[side].get(p) != theirs[side].get(p)}  # fmt: skip
        until = float("inf")
        for step in reversed(self.steps):
            if not wrong:
                return until
            until = step.at
            side, price = (0 if step.entry.is_bid else 1), Decimal(step.entry.price)
            was = None if step.old is None else Decimal(step.old[1])
            if was == theirs[side].get(price):
                wrong.discard((side, price))
            else:
                wrong.add((side, price))
        return None if wrong else until

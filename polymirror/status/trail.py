"""What became of each book lately: a strip of its states over fifteen minutes, and its newest changes of state.

Kept by the status server while it runs. A strip has sixty cells; each shows the worst state of its fifteen seconds, so
that a loss of a moment is seen as long as one of a quarter of a minute. Pure: times are the mirror's own.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final

from polymirror.core.states import BookState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.events import Transition

CELLS: Final = 60
"""Of one strip."""

CELL_SECONDS: Final = 15.0
"""Seconds that one of them stands for."""

MAX_MOVES: Final = 20
"""Changes of state of one book that are kept."""

UNKNOWN: Final = " "
"""The cell of a time of which nothing is known: before the server was started, or the book was there."""

LETTERS: Final = {
    BookState.RETIRED: "r",
    BookState.LIVE: "l",
    BookState.UNPRIMED: "u",
    BookState.RESYNCING: "y",
    BookState.SUSPECT: "s",
}
"""What stands for each state in a strip, the worst last."""

_RANK: Final = {letter: rank for rank, letter in enumerate((UNKNOWN, *LETTERS.values()))}


class _Book:
    """One book's strip and moves."""

    def __init__(self, letter: str, cell: int) -> None:
        self.letter = letter
        # The number of the newest cell since the clock's zero.
        self.cell = cell
        self.cells = deque([UNKNOWN] * (CELLS - 1) + [letter], CELLS)
        self.moves: deque[Transition] = deque(maxlen=MAX_MOVES)

    def advance(self, cell: int) -> None:
        """Fill the cells up to this one with the state that lasted."""
        for _ in range(min(cell - self.cell, CELLS)):
            self.cells.append(self.letter)
        self.cell = max(self.cell, cell)

    def come_into(self, letter: str) -> None:
        self.letter = letter
        self.cells[-1] = max(self.cells[-1], letter, key=_RANK.__getitem__)


class Trail:
    """The strips and moves of all books. Bounded by their number: :meth:`keep` forgets those that are gone."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}
        self._live: set[str] = set()
        # When the newest book left LIVE.
        self._left = -inf

    def note(self, event: Transition) -> None:
        """Take a change of state."""
        book = self._book(event.token, event.at, event.old)
        book.come_into(LETTERS[event.new])
        book.moves.append(event)
        if event.new is BookState.LIVE:
            self._live.add(event.token)
        elif event.token in self._live:
            self._live.discard(event.token)
            self._left = event.at

    def see(self, token: str, state: BookState, now: float) -> None:
        """Take a book that is in this state: one that was there before anybody looked."""
        book = self._book(token, now, state)
        if book.letter != LETTERS[state]:
            book.come_into(LETTERS[state])
        if state is BookState.LIVE:
            self._live.add(token)

    def keep(self, tokens: Iterable[str], now: float) -> None:
        """Forget all other books."""
        for token in self._books.keys() - set(tokens):
            del self._books[token]
            if token in self._live:
                self._live.discard(token)
                self._left = now

    def letters(self, token: str) -> str:
        """Return the letters of a book's cells up to the newest that was noted or seen, oldest first."""
        book = self._books.get(token)
        return UNKNOWN * CELLS if book is None else "".join(book.cells)

    def moves(self, token: str) -> list[Transition]:
        """Return the newest changes of state of a book, newest first."""
        book = self._books.get(token)
        return [] if book is None else list(reversed(book.moves))

    def dark_since(self, began: float) -> float | None:
        """Return since when no book is LIVE, not before ``began``; None while one is."""
        return None if self._live else max(self._left, began)

    def _book(self, token: str, now: float, state: BookState) -> _Book:
        cell = int(now // CELL_SECONDS)
        book = self._books.get(token)
        if book is None:
            book = self._books[token] = _Book(LETTERS[state], cell)
        book.advance(cell)
        return book

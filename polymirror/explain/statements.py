"""What one witness said at one moment."""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from polymirror.explain.books import Book, Difference


@unique
class Verdict(Enum):
    """Who was right, as what came later tells."""

    OPEN = "open"
    """Nothing told."""
    OURS_WRONG = "ours wrong"
    STATEMENT_WRONG = "statement wrong"
    OLD = "old"
    """It was true some time before."""
    BEGINS = "begins"
    """There was nothing to compare it with."""


@define(eq=False)
class Statement:
    """One thing that was said about a book, or happened to it."""

    n: int
    """The number of its line."""
    at: float
    """When it was heard, in seconds on the mirror's clock."""
    witness: str
    """``hash``, ``top``, ``mirror``, ``crossed``, ``book`` and ``rest`` compare; all others only happened."""
    token: str
    """Empty: both tokens of the market."""
    agrees: bool | None = None
    """None: it says nothing for or against the book."""
    full: bool = False
    """It is about all levels."""
    at_ms: int = 0
    """The venue's time, in ms since 1970; 0: it has none."""
    detail: str = ""
    ours: Book | None = None
    """The book as we had it for the time of a whole one that differs,"""
    theirs: Book | None = None
    """and that one."""
    verdict: Verdict = Verdict.OPEN
    own_hash: bool | None = None
    """Whether a whole book has the hash that it states; None: it states none."""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The levels at which a whole book differs from ours."""
        return () if self.ours is None or self.theirs is None else tuple(self.ours.differences(self.theirs))

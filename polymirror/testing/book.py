"""A token's book as plain data: what the venue really has, and what the strategies make up for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from polymirror.core.level import Level


@frozen
class Book:
    """Bids and asks, best first. A level unpacks into its price in pUSD and its size in shares, as in a view."""

    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, or None."""
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, or None."""
        return self.asks[0] if self.asks else None

    def __str__(self) -> str:
        return f"{self.best_bid or 'no bid'} | {self.best_ask or 'no ask'}"

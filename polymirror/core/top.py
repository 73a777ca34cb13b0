"""The best prices of a book: what follows from them, and the read that has nothing else.

:class:`Best` is the part that every read shares; :class:`~polymirror.core.view.BookView` is the other read.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from polymirror.core.level import Level
from polymirror.core.units import PRICE_SCALE

# Differences and halves are exact in it, quotients rounded to 28 digits, whatever the caller's decimal context is.
_CONTEXT: Final = Context(prec=28)
_HALF: Final = Decimal("0.5")


class Best(Struct, frozen=True, eq=False, gc=False):
    """What follows from the best bid and the best ask. Decimals in pUSD; what ends in ``_e4`` is a raw int."""

    if TYPE_CHECKING:

        @property
        def best_bid(self) -> Level | None:
            """The highest bid, or None."""

        @property
        def best_ask(self) -> Level | None:
            """The lowest ask, or None."""

    @property
    def spread(self) -> Decimal | None:
        """Best ask minus best bid in pUSD, or None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else _CONTEXT.subtract(ask.price, bid.price)

    @property
    def spread_e4(self) -> int | None:
        """The spread in 1/10,000 of a pUSD: an int, for speed."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else ask.price_e4 - bid.price_e4

    @property
    def mid(self) -> Decimal | None:
        """Half-way between the best prices, in pUSD, or None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None:
            return None
        return _CONTEXT.multiply(_CONTEXT.add(bid.price, ask.price), _HALF)

    @property
    def microprice(self) -> Decimal | None:
        """The best prices weighted by the opposite sizes, in pUSD, or None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None:
            return None
        weighted = bid.price_e4 * ask.size_e6 + ask.price_e4 * bid.size_e6
        return _CONTEXT.divide(Decimal(weighted), Decimal((bid.size_e6 + ask.size_e6) * PRICE_SCALE))


class Top(Best, frozen=True, eq=False, gc=False):
    """The best levels of one token's book as it was proven, and nothing else: what a decision at the top needs.

    Made by :meth:`polymirror.core.engine.Engine.top` without a copy of the book. Times in seconds.
    """

    token: str
    epoch: int
    doubts: int
    settled: bool
    exchange_ms: int
    read_at: float
    proven_at: float
    _bid_key: int
    _bid_size: int
    _ask_key: int
    _ask_size: int

    @property
    def verified_age(self) -> float:
        """Seconds from the proof of these levels to this read."""
        return max(0.0, self.read_at - self.proven_at)

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, or None."""
        return Level(self._bid_key, self._bid_size) if self._bid_size else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, or None."""
        return Level(PRICE_SCALE - self._ask_key, self._ask_size) if self._ask_size else None

    def __str__(self) -> str:
        return (
            f"{self.best_bid or 'no bid'} | {self.best_ask or 'no ask'} (proven {self.verified_age * 1000:.1f} ms ago)"
        )

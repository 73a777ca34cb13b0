"""The digest of a whole book: equal for equal levels, in every language. Pure.

It is SHA-1 over the token, a ``|``, the bids, a ``|`` and the asks, as ASCII text: each side best first, each level as
``price:size`` in whole wire units, with commas between. It finds what went wrong on the way; it is no signature.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha1
from itertools import compress, count
from operator import ne
from typing import TYPE_CHECKING, Final

from polymirror.core.units import PRICE_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY: Final = 2**62
"""More than any side has levels."""


def side_text(levels: Iterable[tuple[int, int]]) -> str:
    """Return one side as text: pairs of price and size, best first."""
    return ",".join([f"{price}:{size}" for price, size in levels])


def digest_of(token: str, bids: str, asks: str) -> str:
    """Return the digest of a book whose sides were made by :func:`side_text`, as 40 hex digits."""
    return sha1(f"{token}|{bids}|{asks}".encode(), usedforsecurity=False).hexdigest()


class Side:
    """One side of a book that changes level by level, and its text. An ask is kept by the complement of its price."""

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks
        # Best last, as everywhere else, so that what changes most is quick to change.
        self.keys: list[int] = []
        self.sizes: list[int] = []
        self._parts: list[str] = []
        self._text: str | None = ""

    def set(self, price: int, size: int) -> None:
        """Have this size at a price; 0 takes the level away."""
        key = PRICE_SCALE - price if self._asks else price
        keys, at = self.keys, bisect_left(self.keys, key)
        there = at < len(keys) and keys[at] == key
        self._text = None
        if not size:
            if there:
                del keys[at], self.sizes[at], self._parts[at]
        elif there:
            self.sizes[at] = size
            self._parts[at] = f"{price}:{size}"
        else:
            keys.insert(at, key)
            self.sizes.insert(at, size)
            self._parts.insert(at, f"{price}:{size}")

    @property
    def text(self) -> str:
        """The levels as :func:`side_text` writes them."""
        if self._text is None:
            self._text = ",".join(reversed(self._parts))
        return self._text

    def pairs(self) -> list[tuple[int, int]]:
        """Return price and size of each level, best first."""
        prices = [PRICE_SCALE - key for key in reversed(self.keys)] if self._asks else self.keys[::-1]
        return list(zip(prices, reversed(self.sizes), strict=True))

    def take(self, keys: tuple[int, ...], sizes: tuple[int, ...]) -> dict[int, int]:
        """Become these columns, best last; return what differs by price, with size 0 for what is gone."""
        old_keys, old_sizes = self.keys, self.sizes
        most = min(len(keys), len(old_keys))
        start = min(most, _alike(keys, old_keys), _alike(sizes, old_sizes))
        end = min(
            most - start,
            _alike(reversed(keys), reversed(old_keys)), _alike(reversed(sizes), reversed(old_sizes)),
        )  # fmt: skip
        new = dict(zip(keys[start : len(keys) - end], sizes[start : len(sizes) - end], strict=True))
        gone = dict.fromkeys(old_keys[start : len(old_keys) - end], 0)
        differs = {PRICE_SCALE - key if self._asks else key: size for key, size in (gone | new).items()}
        for price, size in differs.items():
            self.set(price, size)
        return differs


def _alike(one: Iterable[int], other: Iterable[int]) -> int:
    """Return how many of the first values are the same."""
    return next(compress(count(), map(ne, one, other)), MANY)

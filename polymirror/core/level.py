"""One price level as it is read: exact Decimals for whoever trades, the raw ints beside them for whoever is in a hurry.

Used by everything that shows or walks levels. ``_e4`` and ``_e6`` at the end of a name say that it holds a raw int: a
price in 1/10,000 of a pUSD, a size in 1/1,000,000 of a share. Whatever has no such ending is a Decimal.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from polymirror.core.units import price_to_decimal, price_to_wire, size_to_decimal, size_to_wire


class Priced:
    """What has a price and a size as raw ints, ``price_e4`` and ``size_e6``: both as Decimals, too."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def price_e4(self) -> int:
            """The price in 1/10,000 of a pUSD."""

        @property
        def size_e6(self) -> int:
            """The size in 1/1,000,000 of a share."""

    @property
    def price(self) -> Decimal:
        """The price in pUSD, exact."""
        return price_to_decimal(self.price_e4)

    @property
    def size(self) -> Decimal:
        """The size in shares, exact."""
        return size_to_decimal(self.size_e6)

    def __str__(self) -> str:
        return f"{price_to_wire(self.price_e4)} x {size_to_wire(self.size_e6)}"


class Level(Priced, Struct, frozen=True, order=True, gc=False):
    """One price level. It unpacks as ``price, size``, both Decimals, and is ordered by price, then size."""

    price_e4: int
    """The price in 1/10,000 of a pUSD: an int, for speed."""
    size_e6: int
    """The size in 1/1,000,000 of a share: an int, for speed."""

    def __iter__(self) -> Iterator[Decimal]:
        yield self.price
        yield self.size

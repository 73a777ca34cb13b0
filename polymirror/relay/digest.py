"""The digest of a whole book: equal for equal levels, in every language. Pure.

It is SHA-1 over the token, a ``|``, the bids, a ``|`` and the asks, as ASCII text: each side best first, each level as
``price:size`` in whole wire units, with commas between. It finds what went wrong on the way; it is no signature.
"""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def side_text(levels: Iterable[tuple[int, int]]) -> str:
    """Return one side as text: pairs of price and size, best first."""
    return ",".join([f"{price}:{size}" for price, size in levels])


def digest_of(token: str, bids: str, asks: str) -> str:
    """Return the digest of a book whose sides were made by :func:`side_text`, as 40 hex digits."""
    return sha1(f"{token}|{bids}|{asks}".encode(), usedforsecurity=False).hexdigest()

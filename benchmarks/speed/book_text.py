"""A plain book for made-up frames: levels by price, the venue's text of them, and the SHA-1 of that text.

Written apart from the library, straight from the definition of the hash, so that frames whose hashes the library
proves are proven by somebody else's arithmetic. Used by :mod:`benchmarks.speed.frames` alone.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha1

SCALE = 10_000
"""Prices are ints in 1/10,000."""


def price_text(price: int) -> str:
    """Spell a price as the venue does: ``0.48``, ``0.5``."""
    return f"{price / SCALE:.4f}".rstrip("0")


class BookText:
    """One token's book. Bids are kept in ascending order of price, asks in descending order, as the venue hashes."""

    def __init__(self, market: str, asset_id: str, tick_size: str) -> None:
        self.market = market
        self.asset_id = asset_id
        # As the hash spells it: three decimals.
        self.last_trade = "0.500"
        self._head = f'{{"market":"{market}","asset_id":"{asset_id}","timestamp":"'
        self._tail = f'],"min_order_size":"5","tick_size":"{tick_size}","neg_risk":false,"last_trade_price":"'
        # Both in an order in which the best level is the last: bids by price, asks by the negative of it.
        self._bid_keys: list[int] = []
        self._ask_keys: list[int] = []
        self._bids: list[str] = []
        self._asks: list[str] = []

    def set(self, price: int, size: str, *, is_bid: bool) -> None:
        """Make ``size`` the size at a price; "0" removes the level."""
        keys, texts = (self._bid_keys, self._bids) if is_bid else (self._ask_keys, self._asks)
        key = price if is_bid else -price
        at = bisect_left(keys, key)
        known = at < len(keys) and keys[at] == key
        if size == "0":
            if known:
                del keys[at], texts[at]
            return
        text = f'{{"price":"{price_text(price)}","size":"{size}"}}'
        if known:
            texts[at] = text
        else:
            keys.insert(at, key)
            texts.insert(at, text)

    @property
    def best_bid(self) -> int:
        """The highest bid in 1/10,000; 0 without bids."""
        return self._bid_keys[-1] if self._bid_keys else 0

    @property
    def best_ask(self) -> int:
        """The lowest ask in 1/10,000; 10,000 without asks."""
        return -self._ask_keys[-1] if self._ask_keys else SCALE

    def hashed_text(self, stamp: int) -> bytes:
        """Return the bytes that the venue hashes."""
        return (
            f'{self._head}{stamp}","hash":"","bids":[{",".join(self._bids)}],"asks":[{",".join(self._asks)}'
            f'{self._tail}{self.last_trade}"}}'
        ).encode()

    def digest(self, stamp: int) -> str:
        """Return the hash that the venue would announce."""
        return sha1(self.hashed_text(stamp), usedforsecurity=False).hexdigest()

    def rest(self, stamp: int) -> bytes:
        """Return the book as REST answers: what is hashed, with the hash in its place."""
        return self.hashed_text(stamp).replace(b'"hash":""', f'"hash":"{self.digest(stamp)}"'.encode(), 1)

    def whole(self, stamp: int) -> str:
        """Return the book as an opening ``book`` event."""
        fields, trade = self.rest(stamp).decode()[:-1].rsplit(',"last_trade_price":', 1)
        # Opening books on the stream tell the tick size but not the other constants.
        fields = fields.replace(',"min_order_size":"5"', "").replace(',"neg_risk":false', "")
        return f'{fields},"event_type":"book","last_trade_price":{trade}}}'

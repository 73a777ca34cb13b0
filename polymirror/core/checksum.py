"""The venue's book hash: SHA-1 over a JSON text of the whole book.

The venue serialises ten keys in a fixed order, with the hash itself empty, and hashes the text. Earlier
it hashed fewer keys; each such form is a :class:`Dialect`. Levels are written exactly as received, bids
ascending and asks descending. ``last_trade_price`` comes last in today's dialect, so many candidates
for it can be tried against one hashed prefix.

The order of the keys was recomputed on recorded books and deltas; the venue's page calls the hash of a
delta an order hash, which it is not. Pure text and SHA-1; what to try and when is decided in
:mod:`polymirror.core.hashing`.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from hashlib import sha1
from itertools import islice
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from hashlib import _Hash as HASH

    from polymirror.core.book import OrderBook, Texts


class Dialect(Enum):
    """Which keys are hashed, in order; today's form first."""

    TEN = ("market", "asset_id", "timestamp", "hash", "bids", "asks",
           "min_order_size", "tick_size", "neg_risk", "last_trade_price")  # fmt: skip
    """Since the end of 2025."""
    NINE = ("market", "asset_id", "timestamp", "hash", "bids", "asks", "min_order_size", "tick_size", "neg_risk")
    """October 2025."""
    SIX = ("market", "asset_id", "timestamp", "hash", "bids", "asks")
    """The same order without the market's constants."""
    TRAILING = ("market", "asset_id", "timestamp", "bids", "asks", "hash")
    """What the venue's own client computed until July 2025."""
    CONSTANTS_FIRST = ("market", "asset_id", "timestamp", "min_order_size", "neg_risk", "tick_size",
                       "bids", "asks", "hash")  # fmt: skip
    """What the venue's own client computed from July 2025 to January 2026."""

    @property
    def has_constants(self) -> bool:
        """Whether the market's constants are hashed."""
        return "neg_risk" in self.value

    @property
    def has_last_trade(self) -> bool:
        """Whether the last trade price is hashed."""
        return "last_trade_price" in self.value

    @property
    def begins_alike(self) -> bool:
        """Whether the constants come after the levels: then all tick sizes share one hashed beginning."""
        return self.has_constants and self.value.index("asks") < self.value.index("tick_size")


@frozen
class Constants:
    """What a market's hash covers beside its levels; wire strings, as the venue spells them."""

    min_order_size: str
    tick_size: str
    neg_risk: bool


@cache
def _layout(dialect: Dialect) -> str:
    """Return the text of a dialect: names for what a template knows, NUL for what varies with each book.

    NUL cannot occur in the venue's JSON.
    """
    values = {
        "market": '"{market}"',
        "asset_id": '"{asset_id}"',
        "timestamp": '"\0"',
        "hash": '""',
        "bids": "[\0",
        "asks": "\0]",
        "min_order_size": '"{min_order_size}"',
        "tick_size": '"{tick_size}"',
        "neg_risk": "{neg_risk}",
        "last_trade_price": '"\0"',
    }
    return "{{" + ",".join(f'"{key}":{values[key]}' for key in dialect.value) + "}}"


class HashTemplate:
    """The text that a token's books have in common: everything but timestamp, levels and last trade price."""

    __slots__ = ("_before_levels", "_before_trade", "_close", "_start", "has_last_trade")

    def __init__(self, dialect: Dialect, market: str, asset_id: str, constants: Constants) -> None:
        text = _layout(dialect).format(
            market=market,
            asset_id=asset_id,
            min_order_size=constants.min_order_size,
            tick_size=constants.tick_size,
            neg_risk="true" if constants.neg_risk else "false",
        )
        start, self._before_levels, _, rest = text.split("\0", 3)
        self.has_last_trade: bool = dialect.has_last_trade
        self._before_trade, _, self._close = rest.partition("\0")
        # Hashed once for the life of the template.
        self._start = sha1(start.encode(), usedforsecurity=False)

    def digest(self, timestamp: int, book: OrderBook, last_trade_price: str) -> str:
        """Return the hash of a book as 40 lower-case hex digits."""
        bids, asks = book.bids, book.asks
        if not self.has_last_trade:
            last_trade_price = ""
        state = self._start.copy()
        state.update(
            f"{timestamp}{self._before_levels}{bids.joined or bids.text()}"
            f'],"asks":[{asks.joined or asks.text()}{self._before_trade}'
            f"{last_trade_price}{self._close}".encode()
        )
        return state.hexdigest()

    def begin(self, timestamp: int, texts: Texts) -> HASH:
        """Hash everything up to the last level: what all candidates have in common."""
        bids, asks = texts
        begun = self._start.copy()
        begun.update(f'{timestamp}{self._before_levels}{bids}],"asks":[{asks}'.encode())
        return begun

    def fit(self, begun: HASH, announced: str, candidates: Iterable[str]) -> str | None:
        """Return the first candidate for the last trade price that gives the announced hash.

        The book was hashed once (:meth:`begin`) and the state is copied, so a candidate costs about half a microsecond.
        """
        prefix = begun.copy()
        prefix.update(self._before_trade.encode())
        close = self._close
        # Without a trade price in the text all candidates are the same.
        for candidate in candidates if self.has_last_trade else islice(candidates, 1):
            state = prefix.copy()
            state.update(f"{candidate if self.has_last_trade else ''}{close}".encode())
            if state.hexdigest() == announced:
                return candidate
        return None

    def find(self, announced: str, timestamp: int, book: OrderBook, candidates: Iterable[str]) -> str | None:
        """Return the first candidate for the last trade price with which the book has the announced hash."""
        return self.fit(self.begin(timestamp, book.texts()), announced, candidates)

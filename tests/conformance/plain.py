"""The venue's rules, written as plainly as they can be said: dictionaries, ``json.dumps`` and SHA-1.

The conformance tests ask this module what a recording says, and compare. It shares nothing with the library,
so that both cannot make the same mistake; it is slow, keeps no states and knows no doubt.
"""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha1
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TICKS = ("0.01", "0.001", "0.1", "0.005", "0.0025", "0.0001")
MIN_ORDER_SIZES = ("5", "15", "1", "10", "20", "50", "100")
TRADE_PRICES = ("", *(f"{price / 1000:.3f}" for price in range(1, 1000)))
"""Every last trade price there can be: none yet, or one on the finest grid in use."""


class Constants(NamedTuple):
    """What the hash covers and the stream does not tell."""

    min_order_size: str
    tick_size: str
    neg_risk: bool


class PlainBook:
    """One token's levels as wire strings by price."""

    def __init__(self, bids: dict[str, str] | None = None, asks: dict[str, str] | None = None) -> None:
        self.bids = bids or {}
        self.asks = asks or {}

    @classmethod
    def of(cls, message: dict[str, Any]) -> PlainBook:
        return cls(*({each["price"]: each["size"] for each in message[side]} for side in ("bids", "asks")))

    def apply(self, change: dict[str, str]) -> None:
        side = self.bids if change["side"] == "BUY" else self.asks
        if Decimal(change["size"]):
            side[change["price"]] = change["size"]
        else:
            side.pop(change["price"], None)

    def copy(self) -> PlainBook:
        return PlainBook(dict(self.bids), dict(self.asks))

    def top(self) -> tuple[Decimal, Decimal]:
        """Best bid and best ask; an empty side counts as 0 and 1, as the venue spells it."""
        return max(map(Decimal, self.bids), default=Decimal(0)), min(map(Decimal, self.asks), default=Decimal(1))

    def is_complement_of(self, other: PlainBook) -> bool:
        def mirrored(side: dict[str, str]) -> dict[Decimal, Decimal]:
            return {1 - Decimal(price): Decimal(size) for price, size in side.items()}

        def numbers(side: dict[str, str]) -> dict[Decimal, Decimal]:
            return {Decimal(price): Decimal(size) for price, size in side.items()}

        return numbers(self.bids) == mirrored(other.asks) and numbers(self.asks) == mirrored(other.bids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainBook) and (self.bids, self.asks) == (other.bids, other.asks)

    __hash__ = None  # type: ignore[assignment]


def trade_price_that_fits(
    market: str, asset_id: str, timestamp: str, book: PlainBook, constants: Constants, announced: str,
    candidates: Iterable[str],
) -> str | None:  # fmt: skip
    """The first last trade price with which the book has the announced hash."""

    def levels(side: dict[str, str], *, descending: bool) -> list[dict[str, str]]:
        return [{"price": price, "size": side[price]} for price in sorted(side, key=Decimal, reverse=descending)]

    text = json.dumps(
        {
            "market": market, "asset_id": asset_id, "timestamp": timestamp, "hash": "",
            "bids": levels(book.bids, descending=False), "asks": levels(book.asks, descending=True),
            "min_order_size": constants.min_order_size, "tick_size": constants.tick_size,
            "neg_risk": constants.neg_risk,
        },
        separators=(",", ":"),
    )  # fmt: skip
    prefix = sha1(text[:-1].encode(), usedforsecurity=False)
    for candidate in candidates:
        state = prefix.copy()
        state.update(f',"last_trade_price":"{candidate}"}}'.encode())
        if state.hexdigest() == announced:
            return candidate
    return None


def constants_that_fit(message: dict[str, Any]) -> tuple[Constants, str] | None:
    """A market's constants and last trade price, from one whole book and its hash."""
    if "min_order_size" in message:
        told: Iterable[Constants] = [Constants(message["min_order_size"], message["tick_size"], message["neg_risk"])]
    else:
        ticks = [message["tick_size"]] if "tick_size" in message else TICKS
        told = (Constants(size, tick, neg) for neg, size, tick in product((False, True), MIN_ORDER_SIZES, ticks))
    trades = [message["last_trade_price"]] if "last_trade_price" in message else TRADE_PRICES
    args = (message["market"], message["asset_id"], message["timestamp"], PlainBook.of(message))
    for constants in told:
        found = trade_price_that_fits(*args, constants, message["hash"], trades)
        if found is not None:
            return constants, found
    return None


def messages(text: str) -> Iterator[dict[str, Any]]:
    """The objects of a frame, one by one."""
    content = json.loads(text)
    yield from content if isinstance(content, list) else [content]

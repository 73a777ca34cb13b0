"""A model of the venue, written from its rules alone: nothing of the library's core is used here.

Books are SortedDicts of price to size, the two tokens of a market mirror each other, and the hash is the
SHA-1 of ``json.dumps``. Every state that a token's book ever had is kept with the time from which it held,
so that a reader can be asked whether what it shows was ever true, and when. Time is the exchange's own, in
seconds; the world around it (:mod:`world`) decides what reaches the mirror, when, and in what shape.
"""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha1
from typing import Any

from attrs import Factory, define, frozen
from sortedcontainers import SortedDict

EPOCH_MS = 1_790_000_000_000
ONE = 10_000

Sides = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]
"""Bids and asks, each as (price, size), best first: the shape in which a view is compared."""


def plain(number: int, scale: int) -> str:
    text = format((Decimal(number) / scale).normalize(), "f")
    return text if text != "-0" else "0"


def price_text(price: int) -> str:
    return plain(price, 10_000)


def size_text(size: int) -> str:
    return plain(size, 1_000_000)


def stamp(now: float) -> int:
    return EPOCH_MS + round(now * 1000)


@frozen
class Was:
    """A state of one token's book, and when it began."""

    since: float
    sides: Sides
    rest: dict[str, Any]


@define(eq=False)
class ModelBook:
    """One token's two sides: price (1/10,000) to size (1/1,000,000)."""

    asset_id: str
    bids: SortedDict = Factory(SortedDict)
    asks: SortedDict = Factory(SortedDict)
    history: list[Was] = Factory(list)

    def put(self, side: str, price: int, size: int) -> None:
        levels = self.bids if side == "BUY" else self.asks
        if size:
            levels[price] = size
        else:
            levels.pop(price, None)

    def sides(self) -> Sides:
        return tuple(reversed(self.bids.items())), tuple(self.asks.items())

    def best(self) -> tuple[str, str]:
        bid = price_text(self.bids.keys()[-1]) if self.bids else "0"
        ask = price_text(self.asks.keys()[0]) if self.asks else "1"
        return bid, ask

    def ended(self, sides: Sides) -> float | None:
        """Return when the book had exactly these levels last: infinity if it has them now, None if it never did."""
        until = float("inf")
        for was in reversed(self.history):
            if was.sides == sides:
                return until
            until = was.since
        return None

    def as_of(self, when: float) -> Was:
        return next((was for was in reversed(self.history) if was.since <= when), self.history[0])


@define(eq=False)
class ModelMarket:
    """Two mirrored tokens, one last trade price, one tick."""

    condition_id: str
    up: ModelBook
    down: ModelBook
    tick: int = 100
    last_trade: str = ""
    changed_ms: int = EPOCH_MS
    settled: bool = False

    @property
    def books(self) -> tuple[ModelBook, ModelBook]:
        return self.up, self.down

    def put(self, side: str, price: int, size: int) -> list[tuple[ModelBook, str, int, int]]:
        """Change a level of the first token and its mirror image of the second."""
        mirrored = "SELL" if side == "BUY" else "BUY"
        rows = [(self.up, side, price, size), (self.down, mirrored, ONE - price, size)]
        for book, each_side, each_price, each_size in rows:
            book.put(each_side, each_price, each_size)
        return rows

    def rest(self, book: ModelBook) -> dict[str, Any]:
        """Return the ten keys in the venue's order, with the hash of the book as it is."""
        bids, asks = book.sides()
        content: dict[str, Any] = {
            "market": self.condition_id,
            "asset_id": book.asset_id,
            "timestamp": str(self.changed_ms),
            "hash": "",
            "bids": [{"price": price_text(p), "size": size_text(s)} for p, s in reversed(bids)],
            "asks": [{"price": price_text(p), "size": size_text(s)} for p, s in reversed(asks)],
            "min_order_size": "5",
            "tick_size": price_text(self.tick),
            "neg_risk": False,
            "last_trade_price": self.last_trade,
        }
        content["hash"] = sha1(json.dumps(content, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()
        return content

    def remember(self, now: float) -> None:
        for book in self.books:
            book.history.append(Was(now, book.sides(), self.rest(book)))

    def commit(self, now: float) -> None:
        """End a batch: from now on the books are what they are."""
        self.changed_ms = stamp(now)
        self.remember(now)

    # ---- What the stream says ----------------------------------------------------------------------

    def opening(self, book: ModelBook) -> dict[str, Any]:
        rest = self.rest(book)
        keys = ("market", "asset_id", "timestamp", "hash", "bids", "asks", "tick_size")
        return {key: rest[key] for key in keys} | {
            "event_type": "book",
            "last_trade_price": rest["last_trade_price"],
        }

    def whole(self, book: ModelBook) -> dict[str, Any]:
        rest = self.rest(book)
        keys = ("market", "asset_id", "bids", "asks", "hash", "timestamp")
        return {key: rest[key] for key in keys} | {"event_type": "book"}

    def price_change(
        self,
        rows: list[tuple[ModelBook, str, int, int]],
        when_ms: int,
        tops: dict[str, tuple[str, str]] | None = None,
    ) -> dict[str, Any]:
        """Return a message for ``rows`` that states the books as they are now, or ``tops`` as their best prices."""
        entries = []
        for book, side, price, size in rows:
            bid, ask = (tops or {}).get(book.asset_id) or book.best()
            entries.append(
                {
                    "asset_id": book.asset_id,
                    "price": price_text(price),
                    "size": size_text(size),
                    "side": side,
                    "hash": self.rest(book)["hash"],
                    "best_bid": bid,
                    "best_ask": ask,
                }
            )
        return {
            "market": self.condition_id,
            "price_changes": entries,
            "timestamp": str(when_ms),
            "event_type": "price_change",
        }

    def trade_print(self, price: int, when_ms: int) -> dict[str, Any]:
        return {
            "market": self.condition_id,
            "asset_id": self.up.asset_id,
            "price": price_text(price),
            "size": "1",
            "side": "BUY",
            "fee_rate_bps": "0",
            "timestamp": str(when_ms),
            "event_type": "last_trade_price",
        }

    def tick_change(self, old: int, when_ms: int) -> list[dict[str, Any]]:
        return [
            {
                "market": self.condition_id,
                "asset_id": book.asset_id,
                "old_tick_size": price_text(old),
                "new_tick_size": price_text(self.tick),
                "timestamp": str(when_ms),
                "event_type": "tick_size_change",
            }
            for book in self.books
        ]

    def resolved(self, when_ms: int) -> dict[str, Any]:
        return {
            "id": "1",
            "market": self.condition_id,
            "assets_ids": [book.asset_id for book in self.books],
            "winning_asset_id": self.up.asset_id,
            "winning_outcome": "Up",
            "event_message": None,
            "timestamp": str(when_ms),
            "event_type": "market_resolved",
        }

    # ---- Orders ------------------------------------------------------------------------------------

    def fits(self, side: str, price: int) -> bool:
        """Whether an order would rest: on the grid, inside the prices, and not crossing."""
        if price % self.tick or not 0 < price < ONE:
            return False
        if side == "BUY":
            return not self.up.asks or price < self.up.asks.keys()[0]
        return not self.up.bids or price > self.up.bids.keys()[-1]


def make_market(number: int, now: float) -> ModelMarket:
    """Open a market with a few levels a side, changed last at ``now``."""
    market = ModelMarket(f"0x{number:064x}", ModelBook(f"{number}001"), ModelBook(f"{number}002"))
    for price, size in ((4700, 12_500_000), (4500, 100_000_000), (100, 2_540_000_000)):
        market.put("BUY", price, size)
    for price, size in ((5200, 33_330_000), (5500, 7_000_000), (9900, 1_000_000_000)):
        market.put("SELL", price, size)
    market.commit(now)
    return market

"""A client with no tricks at all: dict books and the venue's plain hash rule.

The independent check of the simulator's frames. It shares no code with the simulator or with the
library's core: it reads the wire texts only.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from decimal import Decimal
from typing import Any

from attrs import define, field


def plain_hash(
    book: Book, market: str, token: str, timestamp: str, tick: str, trade_price: str, min_order_size: str = "5"
) -> str:
    """SHA-1 of the compact JSON of the ten keys in the venue's order."""
    ten = {
        "market": market,
        "asset_id": token,
        "timestamp": timestamp,
        "hash": "",
        "bids": [{"price": p, "size": book.bids[p]} for p in sorted(book.bids, key=Decimal)],
        "asks": [{"price": p, "size": book.asks[p]} for p in sorted(book.asks, key=Decimal, reverse=True)],
        "min_order_size": min_order_size,
        "tick_size": tick,
        "neg_risk": False,
        "last_trade_price": trade_price,
    }
    text = json.dumps(ten, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@define
class Book:
    """Wire strings of price to wire strings of size."""

    bids: dict[str, str] = field(factory=dict)
    asks: dict[str, str] = field(factory=dict)

    def best(self) -> tuple[str, str]:
        bid = max(self.bids, key=Decimal) if self.bids else "0"
        ask = min(self.asks, key=Decimal) if self.asks else "1"
        return bid, ask

    def levels(self) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
        """As the simulator states its truth: ints, best first."""
        bids = sorted(((_price(p), _size(s)) for p, s in self.bids.items()), reverse=True)
        asks = sorted((_price(p), _size(s)) for p, s in self.asks.items())
        return tuple(bids), tuple(asks)


def _price(text: str) -> int:
    return int(Decimal(text) * 10_000)


def _size(text: str) -> int:
    return int(Decimal(text) * 1_000_000)


@define
class NaiveClient:
    """Applies frames in order; checks top, hash and complement at the end of every batch."""

    books: dict[str, Book] = field(factory=dict)
    ticks: dict[str, str] = field(factory=dict)
    trade_prices: dict[str, str] = field(factory=dict)
    markets: dict[str, str] = field(factory=dict)
    seen: Counter[str] = field(factory=Counter)
    _batch: dict[str, tuple[str, dict[str, dict[str, str]]]] = field(factory=dict)

    def feed(self, text: str) -> None:
        if not text.lstrip().startswith(("{", "[")):
            return
        payload = json.loads(text)
        for event in payload if isinstance(payload, list) else [payload]:
            self._event(event)

    def finish(self) -> None:
        for market in list(self._batch):
            self._end_batch(market)

    def _event(self, event: dict[str, Any]) -> None:
        kind, market = event["event_type"], event["market"]
        self.seen[kind] += 1
        if market in self._batch and self._batch[market][0] != event["timestamp"]:
            self._end_batch(market)
        if kind == "book":
            self._book(event)
        elif kind == "price_change":
            for change in event["price_changes"]:
                self._change(market, event["timestamp"], change)
        elif kind == "tick_size_change":
            self.ticks[event["asset_id"]] = event["new_tick_size"]
        elif kind == "last_trade_price":
            # Told after the hash on purpose, or before; either way it is the same for both tokens.
            self.trade_prices[market] = event["price"]

    def _book(self, event: dict[str, Any]) -> None:
        token = event["asset_id"]
        book = Book({x["price"]: x["size"] for x in event["bids"]}, {x["price"]: x["size"] for x in event["asks"]})
        assert event["bids"] == sorted(event["bids"], key=lambda x: Decimal(x["price"]))
        assert event["asks"] == sorted(event["asks"], key=lambda x: Decimal(x["price"]), reverse=True)
        if token in self.books and event["timestamp"] == self._batch.get(event["market"], ("",))[0]:
            self.seen["resent"] += 1
            self.seen["resent_equal"] += book == self.books[token]
        self.books[token] = book
        self.markets[token] = event["market"]
        if "tick_size" in event:
            self.ticks[token] = event["tick_size"]
            self.trade_prices[event["market"]] = event["last_trade_price"]
            self._check_hash(token, event["timestamp"], event["hash"])
        else:
            self._note(event["market"], event["timestamp"], token, {"hash": event["hash"]})

    def _change(self, market: str, timestamp: str, change: dict[str, str]) -> None:
        token = change["asset_id"]
        book = self.books[token]
        side = book.bids if change["side"] == "BUY" else book.asks
        if change["size"] == "0":
            side.pop(change["price"], None)
        else:
            side[change["price"]] = change["size"]
        self._note(market, timestamp, token, change)

    def _note(self, market: str, timestamp: str, token: str, claim: dict[str, str]) -> None:
        self._batch.setdefault(market, (timestamp, {}))[1].setdefault(token, {}).update(claim)

    def _end_batch(self, market: str) -> None:
        timestamp, claims = self._batch.pop(market)
        self.seen["batches"] += 1
        for token, claim in claims.items():
            if "best_bid" in claim:
                self.seen["top"] += 1
                self.seen["top_right"] += self.books[token].best() == (claim["best_bid"], claim["best_ask"])
            self._check_hash(token, timestamp, claim["hash"])
        pair = [token for token, owner in self.markets.items() if owner == market]
        if len(pair) == 2:
            first, second = (self.books[token].levels() for token in pair)
            self.seen["complement"] += 1
            self.seen["crossed"] += bool(first[0] and first[1] and first[0][0][0] >= first[1][0][0])
            mirrored = tuple((10_000 - p, s) for p, s in second[1]), tuple((10_000 - p, s) for p, s in second[0])
            self.seen["complement_right"] += first == mirrored

    def _check_hash(self, token: str, timestamp: str, stated: str) -> None:
        market = self.markets[token]
        self.seen["hash"] += 1
        known = self.trade_prices.get(market, "")
        candidates = [known]
        if known:
            price = Decimal(known)
            candidates = [f"{price:.3f}", f"{1 - price:.3f}"]
        right = any(
            plain_hash(self.books[token], market, token, timestamp, self.ticks[token], candidate) == stated
            for candidate in candidates
        )
        self.seen["hash_right"] += right

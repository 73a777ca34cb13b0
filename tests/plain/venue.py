"""A plain venue, written from the protocol alone: nothing of the library is used here, nor of its simulator.

Books are dicts of price to size, a hash is the SHA-1 of ``json.dumps``, and every state that a token's book ever had
is kept with the time from which it held. Prices are ints in 1/10,000, sizes ints in 1/1,000,000, times seconds of the
venue's own clock. What reaches a mirror, when and in what shape, is the business of :mod:`tests.plain.driver`.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from functools import lru_cache
from hashlib import sha1
from typing import Any

ONE = 10_000
SHARE = 1_000_000
BASE_MS = 1_777_000_000_000
"""Exchange time, in ms, at the venue's second 0."""

Side = tuple[tuple[int, int], ...]
Levels = tuple[Side, Side]
"""Bids and asks, each as (price, size), best first."""

Message = dict[str, Any]


@lru_cache(maxsize=100_000)
def trimmed(number: int, digits: int) -> str:
    """Write an int in units of 10**-digits as the wire does: no zeros at the end, one before the point."""
    whole, rest = divmod(number, 10**digits)
    return f"{whole}.{rest:0{digits}d}".rstrip("0") if rest else str(whole)


PRICE_TEXT = [trimmed(price, 4) for price in range(ONE + 1)]


def levels_of(view: Any) -> Levels:
    """Give the levels of a view in the shape in which the truth is kept."""
    bids, asks = ([(each.price_e4, each.size_e6) for each in side] for side in (view.bids, view.asks))
    return tuple(bids), tuple(asks)


class Truth:
    """Every state that one token's book had, and from when."""

    def __init__(self) -> None:
        self.since: list[float] = []
        self.states: list[Levels] = []
        # State -> which time books and changes state for it, for those that came with a time in the future.
        self.stated: dict[int, float] = {}
        self._newest: dict[Levels, int] = {}

    @property
    def now(self) -> Levels:
        return self.states[-1]

    def note(self, levels: Levels, now: float, stated: float | None = None) -> None:
        """Take the state that holds from now on. Several of one moment are all kept."""
        if not self.states or self.states[-1] != levels:
            if stated is not None:
                self.stated[len(self.states)] = stated
            self._newest[levels] = len(self.states)
            self.states.append(levels)
            self.since.append(now)

    def index(self, levels: Levels) -> int | None:
        """Return the number of the newest state with these levels, None if there never was one."""
        return self._newest.get(levels)

    def last_true(self, levels: Levels, now: float) -> float | None:
        """Return the last moment at which these levels were the book's, None if they never were."""
        index = self._newest.get(levels)
        if index is None:
            return None
        return now if index + 1 == len(self.since) else self.since[index + 1]

    def age(self, levels: Levels, now: float) -> float:
        """Return how long ago these levels were last true; infinite if they never were."""
        last = self.last_true(levels, now)
        return float("inf") if last is None else now - last

    def at(self, when: float) -> Levels:
        """Return the state that held at a moment."""
        return self.states[max(0, bisect_left(self.since, when + 1e-9) - 1)]


class PlainMarket:
    """One market: the levels of its first token. The second token is the mirror image, unless told otherwise."""

    def __init__(
        self,
        market: str = "0xm",
        tokens: tuple[str, str] = ("1001", "1002"),
        *,
        now: float = 0.0,
        tick: str = "0.01",
        known_form: bool = True,
        base_ms: int = BASE_MS,
    ) -> None:
        self.market, self.tokens = market, tokens
        self.tick, self.min_order_size, self.neg_risk, self.last_trade = tick, "5", False, ""
        # False: the venue hashes something that no client knows of.
        self.known_form = known_form
        self.base_ms = base_ms
        # First token's bids and asks.
        self.bids = {4800 - 100 * n: 10 * SHARE * (n + 1) for n in range(5)}
        self.asks = {5200 + 100 * n: 10 * SHARE * (n + 1) for n in range(5)}
        # Where a token differs from what the two dicts say: token -> (side, price) -> size, 0 for absent.
        self.differs: dict[str, dict[tuple[str, int], int]] = {}
        self.changed_ms = self.stamp(now)
        # The REST books as they were written last, and what they were written from.
        self._written: dict[str, tuple[Any, Message]] = dict.fromkeys(tokens, (None, {}))
        self.truth = {token: Truth() for token in tokens}
        self.note(now)

    def stamp(self, now: float) -> int:
        return self.base_ms + int(now * 1000 + 1e-6)

    # ---- The books ---------------------------------------------------------------------------------

    def side(self, token: str, side: str) -> dict[int, int]:
        """One side of one token's book: price to size."""
        first = token == self.tokens[0]
        source = self.bids if (side == "BUY") is first else self.asks
        levels = dict(source) if first else {ONE - price: size for price, size in source.items()}
        for (which, price), size in self.differs.get(token, {}).items():
            if which == side:
                levels.pop(price, None)
                if size:
                    levels[price] = size
        return levels

    def levels(self, token: str) -> Levels:
        bids, asks = self.side(token, "BUY"), self.side(token, "SELL")
        return tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items()))

    def note(self, now: float, stamp_ms: int | None = None) -> None:
        stated = None if stamp_ms is None else (stamp_ms - self.base_ms) / 1000
        for token in self.tokens:
            self.truth[token].note(self.levels(token), now, stated)

    def put(self, side: str, price: int, size: int) -> None:
        """Set one level of the first token, 0 for none, and tell nobody. The truth is noted by who calls."""
        levels = self.bids if side == "BUY" else self.asks
        levels.pop(price, None)
        if size:
            levels[price] = size

    def alter(self, token: str, side: str, price: int, size: int, now: float) -> None:
        """Make one token's book differ from its mirror image, and tell nobody."""
        self.differs.setdefault(token, {})[side, price] = size
        self.note(now)

    def best(self, token: str) -> tuple[str, str]:
        bids, asks = self.side(token, "BUY"), self.side(token, "SELL")
        return PRICE_TEXT[max(bids)] if bids else "0", PRICE_TEXT[min(asks)] if asks else "1"

    # ---- What goes over the wire -------------------------------------------------------------------

    def rest(self, token: str) -> Message:
        """The REST book: ten keys, in order, with their hash."""
        levels = self.levels(token)
        facts = (self.changed_ms, self.last_trade, self.tick, levels)
        if self._written[token][0] == facts:
            return dict(self._written[token][1])
        bids, asks = levels
        book = {
            "market": self.market, "asset_id": token, "timestamp": str(self.changed_ms), "hash": "",
            # Best last on both sides.
            "bids": [{"price": PRICE_TEXT[p], "size": trimmed(s, 6)} for p, s in reversed(bids)],
            "asks": [{"price": PRICE_TEXT[p], "size": trimmed(s, 6)} for p, s in reversed(asks)],
            "min_order_size": self.min_order_size, "tick_size": self.tick, "neg_risk": self.neg_risk,
            "last_trade_price": self.last_trade,
        }  # fmt: skip
        hashed = book if self.known_form else book | {"unheard_of": "1"}
        text = json.dumps(hashed, separators=(",", ":"), ensure_ascii=False)
        book["hash"] = sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._written[token] = facts, book
        return dict(book)

    def book(self, token: str, *, opening: bool = False) -> Message:
        """A ``book`` event; the one after a subscription says more."""
        rest = self.rest(token)
        message = {key: rest[key] for key in ("market", "asset_id", "timestamp", "hash", "bids", "asks")}
        if opening:
            message["tick_size"], message["last_trade_price"] = self.tick, self.last_trade
        message["event_type"] = "book"
        return message

    def entries(self, side: str, price: int, size: int) -> list[Message]:
        """What a ``price_change`` says of both tokens about one level, as the books are now."""
        other = "SELL" if side == "BUY" else "BUY"
        entries = []
        for token, own_side, own_price in zip(self.tokens, (side, other), (price, ONE - price), strict=True):
            bid, ask = self.best(token)
            entries.append({
                "asset_id": token, "price": PRICE_TEXT[own_price], "size": trimmed(size, 6), "side": own_side,
                "hash": self.rest(token)["hash"], "best_bid": bid, "best_ask": ask,
            })  # fmt: skip
        return entries

    def price_change(self, side: str, price: int, size: int) -> Message:
        return {
            "market": self.market, "price_changes": self.entries(side, price, size),
            "timestamp": str(self.changed_ms), "event_type": "price_change",
        }  # fmt: skip

    def change(self, side: str, price: int, size: int, now: float, *, stamp_ms: int | None = None) -> Message:
        """Set a level of the first token (0 removes it) and return the message that says so."""
        self.put(side, price, size)
        self.changed_ms = self.stamp(now) if stamp_ms is None else stamp_ms
        self.note(now, stamp_ms)
        return self.price_change(side, price, size)

    def trade(self, side: str, size: int | None, now: float) -> list[Message]:
        """Take from the best of a side of the first token ("SELL": its asks), all of the level for None.

        Gives what the venue sends for it: the change, both books anew, and the print. Nothing for an empty side.
        """
        levels = self.bids if side == "BUY" else self.asks
        if not levels:
            return []
        price = max(levels) if side == "BUY" else min(levels)
        taken = levels[price] if size is None else min(size, levels[price])
        self.last_trade = f"{price / ONE:.3f}"
        change = self.change(side, price, levels[price] - taken, now)
        return [change, *map(self.book, self.tokens), self.trade_print(price, taken, side)]

    def trade_print(self, price: int, size: int, side: str) -> Message:
        """``last_trade_price``: the taker's side is the other one than that of the order it met."""
        return {
            "market": self.market, "asset_id": self.tokens[0], "price": PRICE_TEXT[price], "size": trimmed(size, 6),
            "side": "BUY" if side == "SELL" else "SELL", "fee_rate_bps": "0", "timestamp": str(self.changed_ms),
            "transaction_hash": "0x1", "event_type": "last_trade_price",
        }  # fmt: skip

    def finer(self, tick: str, now: float) -> list[Message]:
        """Change the price grid; one message for each token."""
        old, self.tick = self.tick, tick
        return [
            {
                "market": self.market, "asset_id": token, "old_tick_size": old, "new_tick_size": tick,
                "timestamp": str(self.stamp(now)), "event_type": "tick_size_change",
            }
            for token in self.tokens
        ]  # fmt: skip

    def resolved(self, now: float) -> Message:
        return {
            "id": "1", "market": self.market, "assets_ids": list(self.tokens), "winning_asset_id": self.tokens[0],
            "winning_outcome": "Up", "event_message": None, "timestamp": str(self.stamp(now)), "tags": [],
            "event_type": "market_resolved",
        }  # fmt: skip

"""A small exchange and a driver for the engine, for the tests of the core.

:class:`Exchange` knows one market and writes its frames as the venue does. Its hashes come from the plain
rule (``json.dumps`` and SHA-1), not from :mod:`polymirror.core.checksum`. :class:`Rig` drives an engine with
time that only tests move.
"""

from __future__ import annotations

import hashlib
import json
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from polymirror.config import EngineConfig
from polymirror.core.book import OrderBook
from polymirror.core.checksum import Constants
from polymirror.core.effects import AskGamma, FetchBooks
from polymirror.core.engine import Engine
from polymirror.core.events import Transition, Warned
from polymirror.core.messages import Change, Snapshot, WireLevel, decode_books
from polymirror.core.states import BookState

if TYPE_CHECKING:
    from polymirror.core.effects import Effect
    from polymirror.core.token import Token
    from polymirror.core.view import BookView

START = 1_777_000_000_000
"""Exchange time, in ms, at which every test begins."""

BEGIN = 1_000.0
"""The monotonic clock, in seconds, at which every test begins."""

CONSTANTS = Constants(min_order_size="5", tick_size="0.01", neg_risk=False)

TEN_KEYS = (
    "market", "asset_id", "timestamp", "hash", "bids", "asks",
    "min_order_size", "tick_size", "neg_risk", "last_trade_price",
)  # fmt: skip

Pairs = list[tuple[str, str]]


def plain_hash(content: dict[str, Any], keys: tuple[str, ...] = TEN_KEYS) -> str:
    """The venue's rule in its plainest form: SHA-1 of compact JSON with an empty hash."""
    text = json.dumps({key: content[key] for key in keys} | {"hash": ""}, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def wire(levels: Pairs) -> list[dict[str, str]]:
    return [{"price": price, "size": size} for price, size in levels]


def complement(price: str) -> str:
    return format((1 - Decimal(price)).normalize(), "f")


def changed(book, side, price, size, at):
    """Apply one delta to a book and return what it replaced."""
    return book.change(Change("11", price, size, side), at)


def order_book(bids: Pairs = (), asks: Pairs = ()) -> OrderBook:
    """A book of the core with these levels."""
    message = Snapshot("0xm", "1", START, "", [WireLevel(p, s) for p, s in bids], [WireLevel(p, s) for p, s in asks])
    return OrderBook.of(message, 10_000)


class Exchange:
    """One market: levels of its first token; the second token is their mirror image."""

    def __init__(
        self,
        market: str = "0xm",
        up: str = "11",
        down: str = "22",
        *,
        bids: Pairs = (("0.40", "10"), ("0.45", "20"), ("0.48", "100")),
        asks: Pairs = (("0.60", "10"), ("0.55", "20"), ("0.52", "100")),
        trade: str = "0.480",
        keys: tuple[str, ...] = TEN_KEYS,
    ) -> None:
        self.market, self.up, self.down = market, up, down
        self.bids, self.asks = dict(bids), dict(asks)
        self.at = START
        self.trade = trade
        self.tick_size, self.min_order_size, self.neg_risk = "0.01", "5", False
        self.keys = keys

    @property
    def tokens(self) -> tuple[str, str]:
        return self.up, self.down

    def sides(self, token: str) -> tuple[Pairs, Pairs]:
        """Bids ascending and asks descending, as the venue sends and hashes them."""
        bids, asks = self.bids, self.asks
        if token == self.down:
            bids, asks = ({complement(p): s for p, s in side.items()} for side in (self.asks, self.bids))
        up = sorted(bids.items(), key=lambda level: Decimal(level[0]))
        down = sorted(asks.items(), key=lambda level: -Decimal(level[0]))
        return up, down

    def content(self, token: str, at: int | None = None) -> dict[str, Any]:
        """The REST book of a token, with its right hash."""
        bids, asks = self.sides(token)
        content = {
            "market": self.market, "asset_id": token, "timestamp": str(at or self.at), "hash": "",
            "bids": wire(bids), "asks": wire(asks), "min_order_size": self.min_order_size,
            "tick_size": self.tick_size, "neg_risk": self.neg_risk, "last_trade_price": self.trade,
        }  # fmt: skip
        return content | {"hash": plain_hash(content, self.keys)}

    def book(self, token: str, at: int | None = None, **changes: Any) -> dict[str, Any]:
        """A ``book`` message of the stream as it is sent after the opening one."""
        content = self.content(token, at)
        names = ("market", "asset_id", "bids", "asks", "hash", "timestamp")
        return {name: content[name] for name in names} | {"event_type": "book"} | changes

    def opening_book(self, token: str) -> dict[str, Any]:
        extra = {"tick_size": self.tick_size, "last_trade_price": self.trade}
        return self.book(token) | extra

    def opening(self) -> str:
        """The first frame after a subscription: one array."""
        return json.dumps([self.opening_book(token) for token in self.tokens], separators=(",", ":")) + "\n"

    def rest(self, token: str, at: int | None = None, **changes: Any) -> Snapshot:
        return decode_books(json.dumps(self.content(token, at) | changes).encode())[0]

    def entry(self, token: str, price: str, size: str, side: str, at: int | None = None) -> dict[str, str]:
        """One delta of a ``price_change``: hash and top describe the book as it is now."""
        bids, asks = self.sides(token)
        return {
            "asset_id": token, "price": price, "size": size, "side": side, "hash": self.content(token, at)["hash"],
            "best_bid": bids[-1][0] if bids else "0", "best_ask": asks[-1][0] if asks else "1",
        }  # fmt: skip

    def alter(self, side: str, price: str, size: str) -> None:
        """Change the first token's book, and say nothing."""
        levels = self.bids if side == "BUY" else self.asks
        key = next((known for known in levels if Decimal(known) == Decimal(price)), price)
        levels.pop(key, None)
        if Decimal(size):
            levels[price] = size

    def entries(self, side: str, price: str, size: str) -> list[dict[str, str]]:
        other = "SELL" if side == "BUY" else "BUY"
        return [self.entry(self.up, price, size, side), self.entry(self.down, complement(price), size, other)]

    def change(self, side: str, price: str, size: str, at: int | None = None) -> dict[str, Any]:
        """Change the first token's book; the message has an entry for each token."""
        self.at = self.at + 1 if at is None else at
        self.alter(side, price, size)
        return self.message(self.entries(side, price, size))

    def message(self, entries: list[dict[str, str]], at: int | None = None) -> dict[str, Any]:
        return {
            "market": self.market,
            "price_changes": entries,
            "timestamp": str(at or self.at),
            "event_type": "price_change",
        }


class Rig:
    """An engine, the time, and everything that came out of it so far."""

    def __init__(self, *exchanges: Exchange, seed: int = 7, constants: Constants | None = None, **config: Any) -> None:
        self.engine = Engine(EngineConfig(**config), random.Random(seed))
        self.now = BEGIN
        self.exchanges = exchanges
        self.transitions: list[Transition] = []
        self.warnings: list[Warned] = []
        self.effects: list[Effect] = []
        self.pending: list[FetchBooks] = []
        # Markets that Gamma was asked about, and is still to answer.
        self.asked_gamma: list[str] = []
        self.dirty: list[str] = []
        for exchange in exchanges:
            self.engine.track(exchange.market, exchange.tokens, self.now, constants=constants)
        self.drain()

    @classmethod
    def live(cls, *exchanges: Exchange, timed: bool = True, **config: Any) -> Rig:
        """A rig whose books are all LIVE. ``timed``: the venue has told the time."""
        rig = cls(*exchanges, constants=config.pop("constants", CONSTANTS), **config)
        if timed:
            rig.time()
        rig.connect()
        for exchange in exchanges:
            rig.send(exchange.opening())
        for exchange in exchanges:
            for token in exchange.tokens:
                assert rig.state(token) is BookState.LIVE
        rig.forget()
        return rig

    def connect(self, line: int = 1) -> None:
        self.engine.connected(line, self.now)
        self.drain()

    def disconnect(self, line: int = 1, **how: Any) -> None:
        self.engine.disconnected(line, self.now, "gone", **how)
        self.drain()

    def send(self, frame: Any, line: int = 1, *, read_at: float | None = None) -> None:
        """Hand a frame to the engine: text, bytes, or an object to write as JSON."""
        data = frame if isinstance(frame, (str, bytes)) else json.dumps(frame)
        self.engine.receive(line, data, self.now, read_at)
        self.drain()

    def advance(self, seconds: float) -> None:
        """Let time pass, tick by tick; the exchanges' clocks go along."""
        until = self.now + seconds
        for _ in range(10_000):
            due = self.engine.next_deadline()
            if due > until:
                break
            self.now = max(self.now, due)
            self.engine.tick(self.now)
            self.drain()
        else:
            raise AssertionError("the engine's deadline does not move")
        self.now = until
        for exchange in self.exchanges:
            exchange.at = max(exchange.at, START + round((until - BEGIN) * 1000))

    def settle(self) -> None:
        """Let the open batches run out."""
        self.advance(self.engine.config.batch_window)

    def answer(self, *without: str, **books: Snapshot) -> int:
        """Answer all REST requests from the exchanges' present books; return how many tokens were asked."""
        pending, self.pending = self.pending, []
        for effect in pending:
            given = {
                token: books.get(f"t{token}") or exchange.rest(token)
                for exchange in self.exchanges
                for token in exchange.tokens
                if token in effect.asset_ids and token not in without
            }
            self.engine.books(effect.request, given, self.now)
        self.drain()
        return sum(len(effect.asset_ids) for effect in pending)

    def fail(self) -> None:
        """Let all REST requests fail."""
        pending, self.pending = self.pending, []
        for effect in pending:
            self.engine.books_failed(effect.request, self.now)
        self.drain()

    def gamma(self, *, closed: bool | None) -> list[str]:
        """Answer all questions to Gamma alike; return the markets that were asked about."""
        asked, self.asked_gamma = self.asked_gamma, []
        for market in asked:
            self.engine.market_status(market, closed, self.now)
        self.drain()
        return asked

    def gap(self, seconds: float) -> None:
        """The machine was suspended: time goes on, the clock that the engine is given does not."""
        self.engine.gap(seconds, self.now)
        self.drain()

    def time(self, offset_ms: float = START - 1000 * BEGIN, round_trip: float = 0.0) -> None:
        """Answer ``/time`` as a venue with this offset of its clock does, right now."""
        made = self.now - round_trip / 2
        self.engine.server_time(int((offset_ms + 1000 * made) // 1000), self.now - round_trip, self.now)
        self.drain()

    def drain(self) -> None:
        for event in self.engine.events():
            (self.transitions if isinstance(event, Transition) else self.warnings).append(event)
        for effect in self.engine.effects():
            self.effects.append(effect)
            if isinstance(effect, FetchBooks):
                self.pending.append(effect)
            elif isinstance(effect, AskGamma):
                self.asked_gamma.append(effect.condition_id)
        self.dirty.extend(self.engine.dirty())

    def forget(self) -> None:
        """Forget what came out so far, requests included; they stay unanswered."""
        for record in (self.transitions, self.warnings, self.effects, self.dirty):
            record.clear()

    def token(self, asset_id: str) -> Token:
        return self.engine.tokens[asset_id]

    def state(self, asset_id: str) -> BookState:
        return self.token(asset_id).state

    def live_view(self, asset_id: str, max_proof_age: float | None = None) -> BookView:
        return self.engine.live(asset_id, self.now, max_proof_age)

    def path(self, asset_id: str) -> list[str]:
        """The reasons and states a token went through: ``["SUSPECT DISCONNECT", ...]``."""
        return [f"{each.new.name} {each.reason.name}" for each in self.transitions if each.token == asset_id]

    def verdicts(self, kind: str) -> dict[str, int]:
        return self.engine.outbox.proofs.as_dict().get(kind, {})

    def count(self, effect: type) -> int:
        return sum(isinstance(each, effect) for each in self.effects)


def shown(view: BookView) -> tuple[list[str], list[str]]:
    """A view's levels as text, best first."""
    return [str(level) for level in view.bids], [str(level) for level in view.asks]


def truth(exchange: Exchange, token: str) -> tuple[list[str], list[str]]:
    """What :func:`shown` gives for a right view."""
    bids, asks = exchange.sides(token)
    return [text(level) for level in reversed(bids)], [text(level) for level in reversed(asks)]


def text(level: tuple[str, str]) -> str:
    price, size = (format(Decimal(each).normalize(), "f") for each in level)
    return f"{price} x {size}"


def assert_right(rig, exchange):
    for asset_id in exchange.tokens:
        assert shown(rig.live_view(asset_id)) == truth(exchange, asset_id)


def unhashed(message):
    """The same deltas without their hashes."""
    for entry in message["price_changes"]:
        entry["hash"] = ""
    return message


def without_hashes(message):
    """The same deltas as in recordings that lack hash and top."""
    for entry in message["price_changes"]:
        entry["hash"] = ""
        del entry["best_bid"], entry["best_ask"]
    return message


def ask(rig):
    """Ask REST for a proof; the answer is still to come."""
    rig.engine.prove("11", rig.now)
    rig.drain()
    assert len(rig.pending) == 1

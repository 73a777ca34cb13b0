"""A mirror whose books a test sets, a relay that tells them, and consumers at the other end of a way without faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from polymirror.core.book import Levels
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.states import BookState, Reason
from polymirror.core.units import PRICE_SCALE
from polymirror.core.view import BookView
from polymirror.errors import NotLive, UnknownToken
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.replica import Replica
from polymirror.relay.wire import Ask, decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polymirror.relay.publisher import Consumer
    from polymirror.relay.wire import Format
    from polymirror.venue.market import Market

UP, DOWN = "1" * 77, "2" * 77
BIDS, ASKS = {4800: 10_000_000, 4700: 5_000_000}, {5200: 7_000_000, 5300: 1_000_000}

VENUE_MS = 1_790_000_000_000
"""What the venue's clock shows when a stub's does 0."""


def columns(side: Mapping[int, int], *, asks: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """One side as a view has it, best last."""
    keys = sorted((PRICE_SCALE - price if asks else price, size) for price, size in side.items())
    return tuple(key for key, _ in keys), tuple(size for _, size in keys)


class Stub:
    """A mirror without a venue. Its clock stands until a test moves it."""

    def __init__(self) -> None:
        self.at = 100.0
        self.views: dict[str, BookView] = {}
        self.looked_for: set[str] = set()
        self.until = 1_000.0
        self.markets: tuple[Market, ...] = ()

    def now(self) -> float:
        return self.at

    def venue_ms(self, at: float) -> int:
        return VENUE_MS + int(at * 1000)

    def readable_until(self, token: str) -> float | None:
        return self.until if self.views[token].state is BookState.LIVE else None

    def peek(self, token: str) -> BookView:
        if token in self.looked_for:
            raise NotLive(token, BookState.UNPRIMED, None, None, 0)
        if token not in self.views:
            raise UnknownToken(token)
        return self.views[token]

    def set(
        self, token: str, bids: Mapping[int, int] | None = None, asks: Mapping[int, int] | None = None, **others: object
    ) -> None:
        """Have a book, proven now; what is not given stays."""
        old = self.views.get(token)
        levels = Levels((), (), (), ()) if old is None else old.levels
        if bids is not None:
            levels = Levels(*columns(bids, asks=False), *levels[2:])
        if asks is not None:
            levels = Levels(*levels[:2], *columns(asks, asks=True))
        if old is None:
            old = BookView(
                token, "0xmarket", BookState.LIVE, Reason.PROVEN, 1, 0, True, VENUE_MS, 0.01, 0.05, self.at, self.at,
                Proof(ProofKind.HASH, self.at, 1), 100, levels,
            )  # fmt: skip
        changed = {"levels": levels, "proven_at": self.at, "read_at": self.at, **others}
        if "exchange_ms" not in changed and levels != old.levels:
            changed["exchange_ms"] = self.venue_ms(self.at)
        self.views[token] = msgspec.structs.replace(old, **changed)


class Wire:
    """One relay and one consumer's link to it; nothing is lost on the way unless a test loses it."""

    def __init__(self, stub: Stub, replica: Replica, link: Link, *, ahead: float = 0.0, run: str = "run 1") -> None:
        self.stub = stub
        self.replica = replica
        self.link = link
        self.clock_ahead = ahead
        # Another number: the relay's host has noticed that its clock was set.
        self.epoch = 0
        self.publisher = Publisher(stub, run, self)
        self.consumer: Consumer | None = None
        # What the stub's clock shows when the consumer's does 0: both go on together.
        self.base: float | None = None
        self.frames: list[bytes] = []

    def now(self) -> float:
        """What the relay's clock shows."""
        return self.stub.at + self.clock_ahead

    def open(self, now: float) -> None:
        self.consumer = self.publisher.join(self.link.format)
        self.link.opened(now)
        self.turn(now)

    def ask(self, now: float) -> None:
        """Carry what the consumer says."""
        ask = self.link.asks(now)
        if ask is not None:
            assert self.consumer is not None
            self.publisher.asked(self.consumer, decode(Ask, encode(ask, self.link.format), self.link.format))

    def fetch(self) -> list[bytes]:
        """Return the frames that the relay sends now."""
        assert self.consumer is not None
        frames = []
        while self.consumer.waits:
            frames.append(self.publisher.frame(self.consumer))
        self.frames += frames
        return frames

    def turn(self, now: float) -> None:
        """Let it be this time at both ends, and carry what either has to say until both are silent."""
        if self.base is None:
            self.base = self.stub.at - now
        self.stub.at = self.base + now
        for _ in range(4):
            self.ask(now)
            for data in self.fetch():
                self.replica.received(self.link, data, now)


def connected(
    stub: Stub,
    *tokens: str,
    now: float = 0.0,
    format_: Format = "json",
    max_proof_age: float = 30.0,
    ahead: float = 0.0,
) -> Wire:
    """A replica of one relay that follows these tokens."""
    link = Link("relay", format_)
    replica = Replica([link], max_proof_age)
    replica.want(tokens, now)
    wire = Wire(stub, replica, link, ahead=ahead)
    wire.open(now)
    return wire

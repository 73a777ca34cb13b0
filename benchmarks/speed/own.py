"""polymirror as a contestant, and the floors: bare decoders, and the decoder with the venue's SHA-1."""

from __future__ import annotations

from hashlib import sha1
from random import Random
from typing import TYPE_CHECKING

import msgspec

from benchmarks.speed.method import Contestant
from polymirror.config import EngineConfig
from polymirror.core.checksum import Constants
from polymirror.core.engine import Engine
from polymirror.core.units import PRICE_SCALE, SIZES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.speed.frames import Frames
    from benchmarks.speed.method import Top

LINE = 1
"""The one socket."""


def primed_engine(frames: Frames, now: float = 0.0) -> Engine:
    """Return an engine with both books of a stream LIVE: the opening array was taken and proven, at ``now``."""
    engine = Engine(EngineConfig(), Random(1))  # noqa: S311 - jitter of probes
    prime(engine, frames, now)
    return engine


def prime(engine: Engine, frames: Frames, now: float = 0.0) -> None:
    """Make both books of a stream LIVE in an engine that knows nothing yet."""
    constants = Constants(min_order_size="5", tick_size=frames.scenario.tick_size, neg_risk=False)
    engine.track(frames.market, frames.tokens, now, constants=constants)
    engine.effects()
    engine.connected(LINE, now)
    engine.receive(LINE, frames.opening, now)
    drain(engine)


def drain(engine: Engine) -> None:
    """Take what a shell would: effects, events, and whose view changed."""
    engine.effects()
    engine.events()
    engine.dirty()


class Mirrored(Contestant):
    """Frames into the engine; after each, the tokens whose view changed are drained, and perhaps read.

    With hashes, every frame is proven at full depth, so the best prices are those of the proven view. Without, the
    view stays at the last proof (nothing proves the changes), and the best prices checked are those of the books
    that the next proof would find.
    """

    def __init__(self, name: str, *, proven: bool, reads: bool = False, hedge: int = 1) -> None:
        self.name = name
        self._proven = proven
        self._reads = reads
        self._hedge = hedge
        self._now = 0.0

    def open(self, frames: Frames) -> None:
        """Prime the engine; forget the sizes that earlier streams taught its memo."""
        SIZES.clear()
        self.engine = primed_engine(frames)
        if self._hedge > 1:
            self.engine.connected(LINE, 0.0, lane=1)
        self._tokens = frames.tokens

    def take(self, slice_: Sequence[bytes], times: Sequence[float]) -> None:
        """One input each, and the drain that every shell makes after it."""
        receive, dirty, reads = self.engine.receive, self.engine.dirty, self._reads
        now, hedged = self._now, self._hedge > 1
        for frame, now in zip(slice_, times, strict=True):
            receive(LINE, frame, now)
            dirty()
            if hedged:
                # Equal, and another object: it came through another socket.
                receive(LINE, bytes(memoryview(frame)), now, None, 1)
                dirty()
            if reads:
                self._now = now
                self.tops()
        self._now = now

    def tops(self) -> tuple[Top, Top]:
        """The best prices of both tokens."""
        return self._top(self._tokens[0]), self._top(self._tokens[1])

    def _top(self, token: str) -> Top:
        if not self._proven:
            book = self.engine.tokens[token].proven.book
            return (book.bids.keys or [0])[-1], PRICE_SCALE - (book.asks.keys or [0])[-1]
        top = self.engine.top(token, self._now)
        bid, ask = top.best_bid, top.best_ask
        return 0 if bid is None else bid.price_e4, PRICE_SCALE if ask is None else ask.price_e4


class _Entry(msgspec.Struct, gc=False):
    asset_id: str
    price: str
    size: str
    side: str
    hash: str
    best_bid: str
    best_ask: str


class _Change(msgspec.Struct, gc=False):
    market: str
    price_changes: list[_Entry]
    timestamp: str
    event_type: str


CHANGES = msgspec.json.Decoder(_Change)


class MsgspecFloor(Contestant):
    """The fastest decode of these frames that we know in Python: typed, one kind, exactly the fields that are there."""

    name = "msgspec decode (floor)"
    keeps_books = False

    def open(self, frames: Frames) -> None:
        """Take the decoder."""
        self._decode: Callable[[bytes], object] = CHANGES.decode
        self._texts = frames.texts

    def take(self, slice_: Sequence[bytes], times: Sequence[float]) -> None:
        """Decode."""
        decode = self._decode
        for frame, _ in zip(slice_, times, strict=True):
            decode(frame)


class OrjsonFloor(MsgspecFloor):
    """orjson into dicts."""

    name = "orjson decode"

    def open(self, frames: Frames) -> None:
        """Import it where it is needed: it is an extra."""
        import orjson  # noqa: PLC0415

        super().open(frames)
        self._decode = orjson.loads


class Sha1Floor(MsgspecFloor):
    """The decode, and the SHA-1 of ready-made texts of books as deep as these: no text is built."""

    def __init__(self, books: int) -> None:
        self.name = f"msgspec decode + {books} SHA-1"
        self._books = books

    def take(self, slice_: Sequence[bytes], times: Sequence[float]) -> None:
        """Decode and hash."""
        decode, texts, size = self._decode, self._texts, len(self._texts)
        books = range(self._books)
        for i, (frame, _) in enumerate(zip(slice_, times, strict=True)):
            decode(frame)
            for _ in books:
                sha1(texts[i % size], usedforsecurity=False).hexdigest()

"""Recordings for the tests of the journal: a mirror in virtual time, and an engine whose lines are kept."""

from __future__ import annotations

import asyncio
import json
import random
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from attrs import asdict
from msgspec.structs import replace

from polymirror import JournalConfig, Mirror, MirrorConfig
from polymirror.config import EngineConfig
from polymirror.core.events import Transition
from polymirror.journal.disk import pack_lines
from polymirror.journal.format import FORMAT, Book, Header, Heard, Lost, Used
from polymirror.journal.recorder import RecordingEngine
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, make_faults
from polymirror.simulator.virtual import NetworkConfig, VirtualVenue, run_virtual
from tests.core.builders import BEGIN, CONSTANTS, Rig
from tests.core.builders import Exchange as OneMarket

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from polymirror.core.engine import Engine
    from polymirror.journal.format import Line

START_MS = ExchangeConfig().start_ms

CONFIG = EngineConfig()

STORM = (
    "disconnect", "lost_delta", "duplicated_delta", "frozen_token", "rest_503", "rest_hanging", "silent_socket",
    "close_1013", "wrong_hash", "garbage_frame", "rest_stale", "rest_truncated", "tick_change", "refused_connection",
)  # fmt: skip


class Seen(NamedTuple):
    """What a mirror was like at its end: a hash over its transitions, and its engine's status as JSON."""

    lines: int
    at: float
    transitions: str
    moves: int
    status: bytes
    tokens: tuple[str, ...]


def hash_of(events: Iterable[object]) -> tuple[str, int]:
    """A running hash over all transitions, to the last bit of their times."""
    digest, count = sha256(), 0
    for event in events:
        if isinstance(event, Transition):
            digest.update(repr(event).encode())
            count += 1
    return digest.hexdigest(), count


def status_of(engine: Engine, now: float) -> bytes:
    """All that an engine can tell of itself, but for the reads: these are not recorded."""
    status = engine.status(now).as_dict()
    for token in status["tokens"]:
        del token["refused_reads"]
    return msgspec.json.encode(status)


def record(
    folder: Path,
    *,
    seconds: float = 60.0,
    seed: int = 1,
    faults: tuple[str, ...] = STORM,
    rate: float = 5.0,
    markets: int = 3,
    hedge: int = 1,
    keep_up: bool = False,
    **journal: Any,
) -> Seen:
    """Record a mirror on the virtual venue."""
    config = ExchangeConfig(seed=seed, markets=markets, flow=FlowConfig(rate=rate), new_market_every_ms=None)

    async def main() -> Seen:
        async with VirtualVenue(
            Exchange(config),
            faults=make_faults(faults, seed=seed),
            seed=seed,
            network=NetworkConfig(latency_ms=20, jitter_ms=30),
        ) as venue:
            mirror = Mirror.for_slug(
                *venue.exchange.slugs,
                endpoints=venue.endpoints,
                network=venue.network,
                journal=folder,
                config=MirrorConfig(seed=seed, hedge=hedge, journal=JournalConfig(**journal)),
            )
            events: list[object] = []
            mirror.on_transition(events.append)
            async with mirror:
                await asyncio.sleep(seconds / 2)
                mirror.resync(mirror.tokens[0])
                await asyncio.sleep(seconds / 2 % 1)
                for _ in range(int(seconds / 2)):
                    await asyncio.sleep(1)
                    while keep_up and mirror._recording._journal._writer._queue:
                        # Virtual time passes quicker than any disk is.
                        time.sleep(0.001)  # noqa: ASYNC251 - it is to stand still
                tokens, status = mirror.tokens, status_of(mirror.engine, mirror.now())
                seen = Seen(mirror.engine.lines, mirror.now(), *hash_of(events), status, tokens)
        return seen

    return run_virtual(main, start_ms=START_MS)


def header_of(config: EngineConfig, seed: int = 7, **changes: Any) -> Header:
    return Header(
        n=0, t=0, w=0, format=FORMAT, session="20260101T000000Z-abcdef", file=1, polymirror="0", python="3",
        seed=seed, engine=asdict(config), **changes,
    )  # fmt: skip


def with_a_gap(exchange: OneMarket) -> bytes:
    """A journal in which a change is missing, and both books were recorded whole afterwards."""
    second = 10**9
    texts = [exchange.opening_book(token) for token in exchange.tokens]
    texts.append(exchange.change("BUY", "0.31", "7", at=exchange.at + 1000))
    exchange.change("BUY", "0.32", "8", at=exchange.at + 1000)
    books = [exchange.opening_book(token) for token in exchange.tokens]
    texts.append(exchange.change("BUY", "0.33", "9", at=exchange.at + 1000))
    heard = [Heard(n, n * second, n * second, 1, json.dumps(text)) for n, text in enumerate(texts, 1)]
    missing = Lost(4, 4 * second, 4 * second, 1, 4 * second, 4 * second, "the disk")
    whole = [
        Book(n, 5 * second, 5 * second, token, json.dumps(book))
        for n, (token, book) in enumerate(zip(exchange.tokens, books, strict=True), 5)
    ]
    last = replace(heard[-1], n=7, t=6 * second, w=6 * second)
    track = Used(0, 0, 0, "track", exchange.market, tuple(exchange.tokens))
    return pack_lines([header_of(CONFIG), track, *heard[:-1], missing, *whole, last])


class RecordedRig(Rig):
    """A rig of the core's tests, whose engine is recorded to a list."""

    def __init__(self, *exchanges: OneMarket, seed: int = 7, **config: Any) -> None:
        super().__init__(*exchanges, seed=seed, **config)
        self.lines: list[Line] = []
        rng = random.Random(f"engine:{seed}")
        self.engine = RecordingEngine(EngineConfig(**config), rng, self.lines.append, lambda: 1.7e9 + self.now - BEGIN)
        for exchange in exchanges:
            self.engine.track(exchange.market, exchange.tokens, self.now, constants=CONSTANTS)
        self.drain()

"""Thousands of tokens in one engine, in virtual time: the engine's own CPU is counted, the waiting is skipped.

The parts around the engine are the library's as far as they cost anything: REST answers are fetched by its client,
over a transport that answers from memory, and decoded by it. Sockets are not there; what they bring is handed over.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from contextlib import contextmanager
from random import Random
from time import process_time
from typing import TYPE_CHECKING, Self

import httpx
from attrs import evolve

from benchmarks.speed.openings import make_openings
from polymirror.config import Endpoints, EngineConfig, RestConfig
from polymirror.core.checksum import Constants
from polymirror.core.effects import FetchBooks
from polymirror.core.states import BookState
from polymirror.mirror import Mirror
from polymirror.venue.network import Network
from polymirror.venue.rest import Clob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polymirror.core.engine import Engine

ROUND_TRIP = 0.08
"""Seconds until REST answers."""


class Crowd:
    """An engine with ``tokens`` tokens, a clock, and a REST service that knows all their books."""

    def __init__(self, tokens: int, levels: int) -> None:
        self.openings = list(make_openings(levels, tokens // 2))
        self.bodies = {token: o.rest[i] for o in self.openings for i, token in enumerate(o.tokens)}
        self.mirror = Mirror()
        self.now = 0.0
        # CPU seconds by what they were spent on.
        self.spent: dict[str, float] = {}
        # Requests for books, each one call.
        self.calls = 0
        self.probed = 0
        self._answers: list[tuple[float, int, FetchBooks]] = []
        self._loop = asyncio.new_event_loop()
        network = Network(transport=lambda: httpx.MockTransport(self._serve))
        # The budget is for real time; here thousands of seconds pass in a few.
        rest = evolve(RestConfig(), calls_per_10s=9_000)
        self._clob = Clob(rest, Endpoints(), rng=Random(1), network=network)  # noqa: S311 - jitter

    @property
    def engine(self) -> Engine:
        """The engine under test."""
        return self.mirror.engine

    def __enter__(self) -> Self:
        """Open the REST client and track all markets."""
        self._loop.run_until_complete(self._clob.__aenter__())
        self.mirror.engine = type(self.engine)(EngineConfig(), Random(1))  # noqa: S311 - jitter of probes
        with self.counted("tracking"):
            for each in self.openings:
                constants = Constants(min_order_size="5", tick_size=each.tick_size, neg_risk=False)
                self.engine.track(each.market, each.tokens, self.now, constants=constants)
        self.drain()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client."""
        self._loop.run_until_complete(self._clob.__aexit__(None, None, None))
        self._loop.close()

    @contextmanager
    def counted(self, what: str) -> Iterator[None]:
        """Add the CPU time of the block to what was spent."""
        start = process_time()
        try:
            yield
        finally:
            self.spent[what] = self.spent.get(what, 0.0) + process_time() - start

    def connect(self) -> None:
        """Open all sockets."""
        with self.counted("connecting"):
            for line in self.engine.sockets.all():
                self.engine.connected(line.number, self.now)
        self.drain()

    def disconnect(self) -> None:
        """Lose all sockets."""
        with self.counted("connecting"):
            for line in self.engine.sockets.all():
                self.engine.disconnected(line.number, self.now, "lost")
        self.drain()

    def open_books(self) -> None:
        """Hand over the opening array of every socket."""
        events = {token: o.events[i] for o in self.openings for i, token in enumerate(o.tokens)}
        arrays = {
            line.number: b"[" + b",".join(events[token] for token in line.asset_ids) + b"]"
            for line in self.engine.sockets.all()
        }
        for number, array in arrays.items():
            with self.counted("opening books"):
                self.engine.receive(number, array, self.now)
            self.drain()

    def run(self, until: float, *, stop_when_live: bool = False) -> None:
        """Let time pass: timers, requests and their answers."""
        while self.now < until and not (stop_when_live and self.all_live()):
            answer_at = self._answers[0][0] if self._answers else float("inf")
            self.now = min(until, max(self.now, min(answer_at, self.engine.next_deadline())))
            if self._answers and self.now >= answer_at:
                self._answer(heapq.heappop(self._answers)[2])
            else:
                with self.counted("timers"):
                    self.engine.tick(self.now)
            self.drain()

    def drain(self) -> None:
        """Take effects and events; requests are answered after a round trip."""
        with self.counted("timers"):
            effects = self.engine.effects()
            self.engine.events()
            self.engine.dirty()
        for effect in effects:
            if isinstance(effect, FetchBooks):
                self.calls += 1
                self.probed += len(effect.asset_ids)
                heapq.heappush(self._answers, (self.now + ROUND_TRIP, effect.request, effect))

    def _answer(self, asked: FetchBooks) -> None:
        with self.counted("REST client and decoding"):
            answer = self._loop.run_until_complete(self._clob.books(asked.asset_ids))
        with self.counted("comparing with REST books"):
            self.engine.books(asked.request, answer.books, self.now, failed=answer.failed)

    def _serve(self, request: httpx.Request) -> httpx.Response:
        wanted = [each["token_id"] for each in json.loads(request.content)]
        return httpx.Response(200, content=b"[" + b",".join(self.bodies[token] for token in wanted) + b"]")

    def all_live(self) -> bool:
        """Whether every book is LIVE."""
        return all(state is BookState.LIVE for _, state in self.engine.states())

    @property
    def cpu(self) -> float:
        """CPU seconds spent so far, in all."""
        return sum(self.spent.values())

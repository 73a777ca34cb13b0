"""The client's connections and calls in a simulated world: what the shell does, as events on a timeline.

A line is what the engine knows as a socket, with one lane or two; a wire is one attempt of a lane to be connected,
from both ends. Frames pass the faults, take their time, and wait while the client is busy; so do the answers to calls.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from attrs import define

from polymirror.core.messages import decode_books, subscription
from polymirror.errors import DecodeError
from polymirror.simulator.faults.base import ClientFault
from polymirror.simulator.frames import REPLY, Answer, Call, Close, Frame
from polymirror.simulator.surface.rest import Desk
from polymirror.simulator.surface.session import ALL_RESOLVED, Session
from polymirror.torture.timeline import MICRO, Timeline
from polymirror.torture.witness import Witness

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.config import StreamConfig
    from polymirror.core.engine import Engine
    from polymirror.core.messages import Snapshot
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.faults.line import FaultLine
    from polymirror.simulator.frames import Item
    from polymirror.simulator.virtual import NetworkConfig

OK = 200
"""HTTP."""

REFUSAL = "HTTP 403: handshake refused"
"""What a client is told when it must not connect."""

CLOCK_EVERY = 20.0
"""A client asks for the venue's time so often at least, in seconds."""

CLOCK_LOOK = MICRO
"""How often a client looks at the latest when the engine wants the venue's time."""

WATCH_EVERY = MICRO
"""How often a client looks whether its socket is silent."""

CALL_TIMEOUT = 10 * MICRO
"""A call about a market or the time that is not answered within this time has failed."""


class End(NamedTuple):
    """Which line of the client, and which lane of it."""

    line: int
    lane: int


@define(eq=False)
class Wire:
    """One attempt of a lane to be connected. Times of the client's clock, in microseconds, unless said."""

    end: End
    session: Session
    link: Link
    is_open: bool = False
    opened_at: int = 0
    last_data: int = 0
    last_frame: int = 0
    pinged_at: int = 0
    # Frames of one connection never overtake each other, either way. True time.
    last_arrival: int = 0
    last_departure: int = 0
    next_release: int | None = None


@define(eq=False)
class Client:
    """What the shell keeps for one lane of a line."""

    wire: Wire | None = None
    failures: int = 0
    closed: bool = False


class Links(Timeline):
    """The network side of a world. What the engine asks for, and what is read of it, is up to the subclass."""

    def __init__(
        self,
        exchange: Exchange,
        faults: FaultLine,
        engine: Engine,
        network: NetworkConfig,
        stream: StreamConfig,
        rng: random.Random,
    ) -> None:
        super().__init__()
        self.exchange = exchange
        self.faults = faults
        self.engine = engine
        self.network = network
        self.stream_config = stream
        self.rng = rng
        self.desk: Desk = Desk(exchange)
        self.witness: Witness = Witness(network.latency_ms + network.jitter_ms)
        self._start_ms = exchange.config.start_ms
        self._clients: dict[End, Client] = {}
        self._is_busy_client = any(isinstance(fault, ClientFault) for fault in faults.faults)
        # Until when a call for the time is under way.
        self._asking_until = 0

    # ---- What a subclass does ----------------------------------------------------------------------

    def _drain(self) -> None:
        """Carry out what the engine asks for."""
        raise NotImplementedError

    def _was_read(self, wire: Wire, frame: Frame) -> None:
        """The engine took a frame."""
        raise NotImplementedError

    def _answers(self, books: Iterable[Snapshot]) -> None:
        """These books answer a call; the engine is about to be told."""
        raise NotImplementedError

    def _was_answered(self, asset_ids: Sequence[str]) -> None:
        """The engine took an answer about these books."""
        raise NotImplementedError

    def _awoke(self) -> None:
        """The client goes on after its process was suspended."""
        raise NotImplementedError

    def _wires(self, line: int) -> list[Wire]:
        """The lanes of a line that are connected."""
        wires = [client.wire for end, client in self._clients.items() if end.line == line]
        return [wire for wire in wires if wire is not None and wire.is_open]

    # ---- Frames ------------------------------------------------------------------------------------

    def exchange_ms(self) -> int:
        """The exchange's clock, by true time."""
        return self._start_ms + self.now // 1000

    def _latency(self) -> int:
        return self.network.latency_ms * 1000 + self.rng.randrange(self.network.jitter_ms * 1000 + 1)

    def _broadcast(self) -> None:
        now_ms = self.exchange_ms()
        frames = self.exchange.step(now_ms)
        self.witness.sent(frames, now_ms, self.exchange.clock_offset_ms)
        for client in self._clients.values():
            wire = client.wire
            if wire is not None and not wire.session.closed:
                self._send(wire, wire.session.outgoing(frames))

    def _send(self, wire: Wire, items: list[Item]) -> None:
        """Items leave the venue for a client."""
        for item in self.pass_faults(wire.link, items):
            wire.last_arrival = max(wire.last_arrival, self.now + self._latency() + item.delay_ms * 1000)
            self.at_client(wire.last_arrival, partial(self._arrive, wire, item, wire.last_arrival))
        release = self.faults.next_ms(wire.link)
        if release is not None and release != wire.next_release:
            wire.next_release = release
            self.at((release - self._start_ms) * 1000, lambda: self._send(wire, []))

    def pass_faults(self, link: Link, items: list[Item]) -> list[Item]:
        """Let items pass the faults."""
        return self.faults.outgoing(link, items, self.exchange_ms())

    def _arrive(self, wire: Wire, item: Item, arrived: int) -> None:
        client = self._clients[wire.end]
        if client.wire is not wire or not wire.is_open:
            return
        if not isinstance(item, Frame):
            self._lose(wire, f"{item.code} {item.reason}" if isinstance(item, Close) else "reset")
            return
        now = wire.last_frame = self.client_now
        if item.kind != REPLY:
            wire.last_data = now
        self.witness.arrived(item, self._start_ms + arrived // 1000, self.exchange_ms())
        self.engine.receive(wire.end.line, item.text, now / MICRO, None, wire.end.lane)
        self._drain()
        self._was_read(wire, item)
        if self._is_busy_client:
            self._be_busy()

    def _be_busy(self) -> None:
        """Ask whether user code blocks the event loop from now on, and whether the process is suspended."""
        stall = self.faults.stall_ms(self.exchange_ms())
        if stall:
            self.stall(stall * 1000)
        sleep = self.faults.sleep_ms(self.exchange_ms())
        if sleep:
            self.suspend(sleep * 1000, lambda: self._resume(sleep / 1000))

    def _resume(self, slept: float) -> None:
        self.engine.gap(slept, self.seconds)
        self._drain()
        self._awoke()

    # ---- Connections -------------------------------------------------------------------------------

    def _connect(self, end: End) -> None:
        client = self._clients[end]
        if client.closed:
            return
        if self.faults.refuses(self.exchange_ms()):
            client.failures += 1
            self.at_client(self.now + self._backoff(client), lambda: self._connect(end))
            self.engine.unreachable(end.line, REFUSAL, self.seconds, lane=end.lane)
            self._drain()
            return
        wire = Wire(end, Session(self.exchange), self.faults.open_link())
        client.wire = wire

        def opened() -> None:
            asset_ids = self.engine.carried_by(end.line)
            if client.wire is not wire or client.closed or not asset_ids:
                return
            wire.is_open = True
            wire.opened_at = wire.last_data = wire.last_frame = wire.pinged_at = self.client_now
            self._to_venue(wire, subscription(asset_ids, custom_features=True))
            self.engine.connected(end.line, self.seconds, lane=end.lane)
            self._drain()
            self.at_client(self.now + WATCH_EVERY, lambda: self._watch(wire))

        self.at_client(self.now + 2 * self._latency(), opened)

    def _to_venue(self, wire: Wire, text: str) -> None:
        def received() -> None:
            self._broadcast()
            self._send(wire, wire.session.receive(text, self.exchange_ms()))

        # The way to the venue keeps the order too.
        wire.last_departure = max(wire.last_departure, self.now + self._latency())
        self.at(wire.last_departure, received)

    def _watch(self, wire: Wire) -> None:
        if self._clients[wire.end].wire is not wire:
            return
        config, now = self.stream_config, self.client_now
        if now - wire.last_data > config.data_timeout * MICRO:
            self._lose(wire, "no data")
        elif now - wire.last_frame > config.transport_timeout * MICRO:
            self._lose(wire, "not even a PONG")
        else:
            if now - wire.pinged_at >= config.ping_interval * MICRO:
                wire.pinged_at = now
                self._to_venue(wire, "PING")
            self.at_client(self.now + WATCH_EVERY, lambda: self._watch(wire))

    def _lose(self, wire: Wire, why: str) -> None:
        client = self._clients[wire.end]
        client.wire = None
        wire.link.dead = True
        healthy = self.client_now - wire.opened_at > self.stream_config.healthy_after * MICRO
        client.failures = 0 if healthy else client.failures + 1
        self.engine.disconnected(
            wire.end.line, self.seconds, why, resolved=ALL_RESOLVED.reason in why, lane=wire.end.lane
        )
        self.at_client(self.now + self._backoff(client), lambda: self._connect(wire.end))
        self._drain()

    def _backoff(self, client: Client) -> int:
        config = self.stream_config
        bound = min(config.backoff_cap, config.backoff_base * 2 ** min(client.failures, 20))
        return int(self.rng.random() * bound * MICRO)

    # ---- Calls -------------------------------------------------------------------------------------

    def _ask(self, call: Call, answered: Callable[[Answer], None]) -> None:
        """Send a call; ``answered`` is told what arrives, if anything does."""

        def received() -> None:
            # The venue lives on between its events: what it answers is of now.
            self._broadcast()
            answer = self.faults.answer(call, self.desk.answer(call), self.exchange_ms())
            if not answer.hangs:
                arrives = self.now + self._latency() + answer.delay_ms * 1000
                self.at_client(arrives, lambda: answered(answer))

        self.at(self.now + self._latency(), received)

    def _call(self, request: int, asset_ids: Sequence[str]) -> None:
        body = json.dumps([{"token_id": token} for token in asset_ids]).encode()
        name = f"POST /books ({len(asset_ids)} tokens)"

        def answered(answer: Answer) -> None:
            books = _books(answer.body) if answer.status == OK else None
            if books is None:
                why = f"HTTP {answer.status}" if answer.status != OK else "an answer that is no list of books"
                self.engine.books_failed(request, self.seconds, f"{name}: {why}")
            else:
                self._answers(books.values())
                self.engine.books(request, books, self.seconds)
            self._drain()
            self._was_answered(asset_ids)

        self._ask(Call("POST", "/books", {}, body), answered)

    def _ask_status(self, condition_id: str) -> None:
        """Ask the discovery service whether a market is closed, and tell the engine; None: it did not say."""
        market, told = self.exchange.market_by_condition(condition_id), False

        def tell(closed: bool | None) -> None:  # noqa: FBT001 - three values
            nonlocal told
            if not told:
                told = True
                self.engine.market_status(condition_id, closed, self.seconds)
                self._drain()

        slug = "" if market is None else market.slug
        self._ask(Call("GET", f"/markets/slug/{slug}", {}), lambda answer: tell(_is_closed(answer)))
        self.at_client(self.now + CALL_TIMEOUT, lambda: tell(None))

    def _ask_time(self) -> None:
        """Sample the venue's clock, as the shell does."""
        sent = self.seconds

        def answered(answer: Answer) -> None:
            self._asking_until = 0
            if answer.status == OK and answer.body.strip().isdigit():
                self.engine.server_time(int(answer.body), sent, self.seconds)

        self._ask(Call("GET", "/time", {}, b""), answered)
        self._asking_until = self.now + CALL_TIMEOUT
        self.engine.time_asked(sent)

    def _watch_time(self) -> None:
        """Sample when the engine wants it."""
        if self.engine.next_time_sample(self.seconds, CLOCK_EVERY) <= self.seconds and self.now >= self._asking_until:
            self._ask_time()
        due = self.engine.next_time_sample(self.seconds, CLOCK_EVERY)
        latest = self.now + CLOCK_LOOK
        when = latest if math.isinf(due) else min(latest, math.ceil(self.true_at(due)))
        self.at_client(when if when > self.now else latest, self._watch_time)


def _books(text: str) -> dict[str, Snapshot] | None:
    """Read an answer as the shell does; None for what is no list of books."""
    try:
        return {book.asset_id: book for book in decode_books(text.encode())}
    except DecodeError:
        return None


def _is_closed(answer: Answer) -> bool | None:
    """What the discovery service says of a market; None for what is no market."""
    try:
        found = json.loads(answer.body) if answer.status == OK else None
    except ValueError:
        return None
    closed = found.get("closed") if isinstance(found, dict) else None
    return closed if isinstance(closed, bool) else None

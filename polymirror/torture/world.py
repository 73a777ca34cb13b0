"""One world: an engine, a simulated venue and the network between them, under a virtual clock.

Time is an int of microseconds since the start. The world is the engine's shell: it carries out the effects
as :mod:`polymirror.mirror` does, only that sockets and calls are events in a heap. After every frame that
arrives it reads the books concerned and compares each granted read with what the exchange really had.
"""

from __future__ import annotations

import json
import math
import random
from collections import deque
from hashlib import sha256
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from attrs import Factory, define, frozen

from polymirror.config import EngineConfig, StreamConfig
from polymirror.core.checksum import Constants
from polymirror.core.effects import CloseSocket, FetchBooks, OpenSocket, Reconnect, Subscribe, Unsubscribe, Vouch
from polymirror.core.engine import Engine
from polymirror.core.events import Transition
from polymirror.core.messages import decode_books, subscription, subscription_change
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState
from polymirror.core.units import PRICE_SCALE
from polymirror.errors import DecodeError, NotLive
from polymirror.simulator.exchange import Exchange
from polymirror.simulator.fault_base import ClientFault
from polymirror.simulator.faults import FaultLine
from polymirror.simulator.frames import BOOK, PRICE_CHANGE, REPLY, Call, Close, Frame
from polymirror.simulator.history import digest
from polymirror.simulator.market import MIN_ORDER_SIZE
from polymirror.simulator.rest import Desk
from polymirror.simulator.session import ALL_RESOLVED, Session
from polymirror.simulator.virtual import NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.core.book import Levels
    from polymirror.core.effects import Effect
    from polymirror.core.messages import Snapshot
    from polymirror.simulator.fault_base import Fault, Link
    from polymirror.simulator.frames import Item
    from polymirror.simulator.settings import ExchangeConfig

MICRO = 1_000_000
MAX_LOG = 100_000
"""Transitions kept for the trace of a violation."""

READ_AGES = (None, None, 1.0, 0.25)
"""The proof ages in seconds that reads ask for; None: the configured one."""

OK = 200
"""HTTP."""

CLOCK_EVERY = 20 * MICRO
"""How often a client asks for the venue's time."""

CLOCK_IN_DOUBT = 3 * MICRO
"""The same while a book is in doubt, as :mod:`polymirror.clockwatch` does."""

WATCH_EVERY = MICRO
"""How often a client looks whether its socket is silent."""


@frozen
class Violation:
    """A broken promise: what, when (seconds of virtual time) and about which token."""

    promise: str
    at: float
    token: str
    detail: str


@define(eq=False)
class _Wire:
    """One attempt of a line to be connected, from both ends."""

    line: int
    session: Session
    link: Link
    is_open: bool = False
    opened_at: int = 0
    last_data: int = 0
    last_frame: int = 0
    pinged_at: int = 0
    # Frames of one connection never overtake each other.
    last_arrival: int = 0
    last_departure: int = 0
    next_release: int | None = None


@define(eq=False)
class _Client:
    """What the shell keeps for one line."""

    wire: _Wire | None = None
    failures: int = 0
    closed: bool = False


@define
class Tally:
    """What a world counts."""

    reads: int = 0
    refused: int = 0
    transitions: int = 0
    wrong_live_seconds: float = 0.0
    violations: list[Violation] = Factory(list)


class World:
    """Runs one engine against one exchange. ``faults`` act on all connections and calls."""

    def __init__(
        self,
        exchange: ExchangeConfig,
        faults: Iterable[Fault] = (),
        *,
        seed: int = 0,
        engine: EngineConfig | None = None,
        stream: StreamConfig | None = None,
        network: NetworkConfig | None = None,
        engine_class: Callable[[EngineConfig, random.Random], Engine] = Engine,
    ) -> None:
        self.rng = random.Random(f"world:{seed}")  # noqa: S311 - a simulation
        self.exchange = Exchange(exchange)
        self.faults = FaultLine(faults)
        self.faults.attach(self.exchange)
        self.network = network or NetworkConfig()
        self.engine_config = engine or EngineConfig()
        self.stream_config = stream or StreamConfig()
        self.engine = engine_class(self.engine_config, random.Random(f"engine:{seed}"))  # noqa: S311
        self.desk = Desk(self.exchange)
        self.tally = Tally()
        # The newest transitions, and a running hash over all of them.
        self.log: deque[Transition] = deque(maxlen=MAX_LOG)
        self._trace = sha256()
        # Since when reads of a token have been wrong.
        self._wrong_since: dict[str, float] = {}
        self.now = 0
        # How late what arrives may be, in ms, by the stream and by REST; reckoned anew each second.
        self._delays = (0, 0)
        self._delays_until = -1
        self._can_stall = any(isinstance(fault, ClientFault) for fault in self.faults.faults)
        self._start_ms = exchange.start_ms
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        # Until when user code keeps the client's event loop busy.
        self._stalled_until = 0
        self._serial = 0
        self._clients: dict[int, _Client] = {}
        self._market_of = {token: market for market in self.exchange.markets for token in market.tokens}
        # The levels last found true, by token, and their digest: most reads see them again.
        self._known: dict[str, tuple[Levels, tuple[int, int]]] = {}
        for market in self.exchange.markets:
            constants = Constants(MIN_ORDER_SIZE, "0.01", neg_risk=False)
            self.engine.track(market.condition_id, market.tokens, 0.0, constants=constants)
        self._at(MICRO // 10, self._ask_time)
        self._drain()

    # ---- Time --------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """The engine's clock."""
        return self.now / MICRO

    def exchange_ms(self) -> int:
        """The exchange's clock."""
        return self._start_ms + self.now // 1000

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now + int(seconds * MICRO)
        while True:
            happens = self.exchange.next_event_ms()
            venue = math.inf if happens is None else (happens - self._start_ms) * 1000
            network = self._heap[0][0] if self._heap else math.inf
            due = self.engine.next_deadline()
            own = math.inf if due == math.inf else max(math.ceil(due * MICRO), self._stalled_until)
            upcoming = min(venue, network, own)
            if upcoming > end:
                self.now = end
                return
            self.now = max(self.now, int(upcoming))
            if venue <= upcoming:
                self._broadcast()
            elif network <= upcoming:
                heappop(self._heap)[2]()
            else:
                # A deadline that is no whole microsecond must not be missed by rounding.
                self.now += self.seconds < due
                self.engine.tick(self.seconds)
                self._drain()

    def _at(self, when: int, action: Callable[[], None]) -> None:
        self._serial += 1
        heappush(self._heap, (when, self._serial, action))

    def _at_client(self, when: int, action: Callable[[], None]) -> None:
        """Let something happen in the client's event loop: not before a stall is over, and then in order."""

        def happen() -> None:
            if self.now < self._stalled_until:
                self._at(self._stalled_until, action)
            else:
                action()

        self._at(when, happen)

    def _stall(self) -> None:
        """Ask whether user code blocks the client's event loop from now on."""
        stall = self.faults.stall_ms(self.exchange_ms())
        if stall:
            self._stalled_until = max(self._stalled_until, self.now + stall * 1000)

    def _latency(self) -> int:
        return self.network.latency_ms * 1000 + self.rng.randrange(self.network.jitter_ms * 1000 + 1)

    # ---- The network -------------------------------------------------------------------------------

    def _broadcast(self) -> None:
        frames = self.exchange.step(self.exchange_ms())
        for client in self._clients.values():
            wire = client.wire
            if wire is not None and not wire.session.closed:
                self._send(wire, wire.session.outgoing(frames))

    def _send(self, wire: _Wire, items: Sequence[Item]) -> None:
        """Items leave the venue for a client."""
        for item in self.pass_faults(wire.link, list(items)):
            wire.last_arrival = max(wire.last_arrival, self.now + self._latency() + item.delay_ms * 1000)
            self._at_client(wire.last_arrival, lambda item=item: self._arrive(wire, item))  # type: ignore[misc]
        release = self.faults.next_ms(wire.link)
        if release is not None and release != wire.next_release:
            wire.next_release = release
            self._at((release - self._start_ms) * 1000, lambda: self._send(wire, []))

    def pass_faults(self, link: Link, items: list[Item]) -> list[Item]:
        """Let items pass the faults."""
        return self.faults.outgoing(link, items, self.exchange_ms())

    def arrived(self, market: str) -> None:
        """A frame of a market arrived. For those who watch."""

    def doubted(self, token: str) -> None:
        """A book left LIVE. For those who watch."""

    def _arrive(self, wire: _Wire, item: Item) -> None:
        client = self._clients[wire.line]
        if client.wire is not wire or not wire.is_open:
            return
        if not isinstance(item, Frame):
            self._lose(wire, f"{item.code} {item.reason}" if isinstance(item, Close) else "reset")
            return
        wire.last_frame = self.now
        if item.kind != REPLY:
            wire.last_data = self.now
        if self._can_stall:
            self._stall()
        self.engine.receive(wire.line, item.text, self.seconds)
        self._drain()
        market = self.exchange.market_by_condition(item.market) if item.market else None
        if market is not None:
            if item.kind in {PRICE_CHANGE, BOOK}:
                self.arrived(item.market)
            age = self.rng.choice(READ_AGES)
            for token in market.tokens:
                self.read(token, age)

    def _connect(self, line: int) -> None:
        client = self._clients[line]
        if client.closed:
            return
        if self.faults.refuses(self.exchange_ms()):
            client.failures += 1
            self._at_client(self.now + self._backoff(client), lambda: self._connect(line))
            return
        wire = _Wire(line, Session(self.exchange), self.faults.open_link())
        client.wire = wire

        def opened() -> None:
            known = self.engine.sockets.get(line)
            if client.wire is not wire or client.closed or known is None:
                return
            wire.is_open = True
            wire.opened_at = wire.last_data = wire.last_frame = wire.pinged_at = self.now
            self._to_venue(wire, subscription(known.asset_ids, custom_features=True))
            self.engine.connected(line, self.seconds)
            self._drain()
            self._at_client(self.now + WATCH_EVERY, lambda: self._watch(wire))

        self._at_client(self.now + 2 * self._latency(), opened)

    def _to_venue(self, wire: _Wire, text: str) -> None:
        def received() -> None:
            self._send(wire, wire.session.receive(text, self.exchange_ms()))

        # The way to the venue keeps the order too.
        wire.last_departure = max(wire.last_departure, self.now + self._latency())
        self._at(wire.last_departure, received)

    def _watch(self, wire: _Wire) -> None:
        if self._clients[wire.line].wire is not wire:
            return
        config = self.stream_config
        if self.now - wire.last_data > config.data_timeout * MICRO:
            self._lose(wire, "no data")
        elif self.now - wire.last_frame > config.transport_timeout * MICRO:
            self._lose(wire, "not even a PONG")
        else:
            if self.now - wire.pinged_at >= config.ping_interval * MICRO:
                wire.pinged_at = self.now
                self._to_venue(wire, "PING")
            self._at_client(self.now + WATCH_EVERY, lambda: self._watch(wire))

    def _lose(self, wire: _Wire, why: str) -> None:
        client = self._clients[wire.line]
        client.wire = None
        wire.link.dead = True
        healthy = self.now - wire.opened_at > self.stream_config.healthy_after * MICRO
        client.failures = 0 if healthy else client.failures + 1
        self.engine.disconnected(wire.line, self.seconds, why, resolved=ALL_RESOLVED.reason in why)
        self._at_client(self.now + self._backoff(client), lambda: self._connect(wire.line))
        self._drain()

    def _backoff(self, client: _Client) -> int:
        config = self.stream_config
        bound = min(config.backoff_cap, config.backoff_base * 2 ** min(client.failures, 20))
        return int(self.rng.random() * bound * MICRO)

    def _call(self, request: int, asset_ids: Sequence[str]) -> None:
        body = json.dumps([{"token_id": token} for token in asset_ids]).encode()
        call = Call("POST", "/books", {}, body)

        def received() -> None:
            answer = self.faults.answer(call, self.desk.answer(call), self.exchange_ms())
            if answer.hangs:
                return
            arrives = self.now + self._latency() + answer.delay_ms * 1000
            self._at_client(arrives, lambda: answered(answer.status, answer.body))

        def answered(status: int, text: str) -> None:
            books = _books(text) if status == OK else None
            if books is None:
                self.engine.books_failed(request, self.seconds)
            else:
                self.engine.books(request, books, self.seconds)
            self._drain()

        self._at(self.now + self._latency(), received)

    def _ask_time(self) -> None:
        """Sample the venue's clock, as the shell does."""
        sent, call = self.seconds, Call("GET", "/time", {}, b"")

        def received() -> None:
            answer = self.faults.answer(call, self.desk.answer(call), self.exchange_ms())
            if not answer.hangs and answer.status == OK and answer.body.strip().isdigit():
                stated = int(answer.body)
                self._at_client(
                    self.now + self._latency() + answer.delay_ms * 1000,
                    lambda: self.engine.clock.server_time(stated, sent, self.seconds),
                )

        self._at(self.now + self._latency(), received)
        self._at(self.now + CLOCK_IN_DOUBT, lambda: self._recheck_time(self.now + CLOCK_EVERY - CLOCK_IN_DOUBT))

    def _recheck_time(self, due: int) -> None:
        """Sample again when it is time, or at once while a book is in doubt."""
        doubt = any(state in (BookState.SUSPECT, BookState.RESYNCING) for _, state in self.engine.states())
        if doubt or self.now >= due:
            self._ask_time()
        else:
            self._at(self.now + CLOCK_IN_DOUBT, lambda: self._recheck_time(due))

    # ---- The shell ---------------------------------------------------------------------------------

    def _drain(self) -> None:
        while effects := self.engine.effects():
            for effect in effects:
                self._carry_out(effect)
        for event in self.engine.events():
            if isinstance(event, Transition):
                self.tally.transitions += 1
                self._trace.update(str(event).encode())
                self.log.append(event)
                if event.old is BookState.LIVE:
                    self.doubted(event.token)
        self.engine.dirty()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case OpenSocket(line):
                self._clients[line] = _Client()
                self._connect(line)
            case Subscribe(line, ids) if (wire := self._clients[line].wire) is not None and wire.is_open:
                self._to_venue(wire, subscription_change("subscribe", ids, custom_features=True))
            case Unsubscribe(line, ids) if (wire := self._clients[line].wire) is not None and wire.is_open:
                self._to_venue(wire, subscription_change("unsubscribe", ids, custom_features=True))
            case Reconnect(line, why) if (wire := self._clients[line].wire) is not None and wire.is_open:
                self._lose(wire, why)
            case Vouch(line) if (wire := self._clients[line].wire) is not None:
                wire.last_data = self.now
            case CloseSocket(line):
                self._clients[line].closed = True
                self._clients[line].wire = None
            case FetchBooks(request, ids):
                self._call(request, ids)
            case _:
                pass

    # ---- The promise -------------------------------------------------------------------------------

    def read(self, token: str, max_proof_age: float | None = None) -> None:
        """Read a book for execution, and compare what is granted with the truth."""
        tally = self.tally
        tally.reads += 1
        since = self._wrong_since.pop(token, None)
        if since is not None:
            tally.wrong_live_seconds += self.seconds - since
        try:
            view = self.engine.live(token, self.seconds, max_proof_age)
        except NotLive:
            tally.refused += 1
            return
        levels = view.levels
        known = self._known.get(token)
        if known is None or known[0] is not levels:
            bids = zip(levels.bid_keys, levels.bid_sizes, strict=True)
            asks = ((PRICE_SCALE - key, size) for key, size in zip(levels.ask_keys, levels.ask_sizes, strict=True))
            known = self._known[token] = (levels, digest(bids, asks))
        by_rest = view.last_proof is not None and view.last_proof.kind is ProofKind.PROBE
        if self.now >= self._delays_until:
            self._reckon_delays()
        since_ms = self.exchange_ms() - math.ceil(view.verified_age * 1000) - self._delays[by_rest] - 1
        if not self.exchange.was_digest_true(token, known[1], since_ms):
            self._wrong_since[token] = self.seconds
            detail = f"{view} epoch {view.epoch}, proof {view.last_proof}"
            tally.violations.append(Violation("a granted read equals a real state", self.seconds, token, detail))

    def _reckon_delays(self) -> None:
        """Sum up what the network and the faults of this hour may delay: each may hold back what another did."""
        self._delays_until = self.now + MICRO
        latest = self.exchange_ms()
        stream = rest = self.network.latency_ms + self.network.jitter_ms
        for fault in self.faults.faults:
            plan = fault.plan
            # A read may rest on a proof as old as the configured age.
            forgotten = plan.end_ms + plan.length_ms + int(self.engine_config.max_proof_age * 1000)
            if not plan.start_ms <= latest + 1000 or latest > forgotten + fault.max_delay_ms:
                continue
            is_client, is_rest = isinstance(fault, ClientFault), fault.id.startswith("rest_")
            stream += fault.max_delay_ms if is_client or not is_rest else 0
            rest += fault.max_delay_ms if is_client or is_rest else 0
        self._delays = (stream, rest)

    def fault_counts(self) -> dict[str, int]:
        """How often each fault struck."""
        return self.faults.injected

    def trace(self) -> str:
        """A hash over all transitions so far: equal for equal runs, on every machine."""
        return self._trace.hexdigest()

    def trades(self, token: str) -> bool:
        """Whether the token's market still has an order book at the exchange."""
        return not self.exchange.is_over(token)

    def states(self) -> dict[BookState, int]:
        """How many books are in each state."""
        counts: dict[BookState, int] = {}
        for _, state in self.engine.states():
            counts[state] = counts.get(state, 0) + 1
        return counts


def _books(text: str) -> dict[str, Snapshot] | None:
    """Read an answer as the shell does; None for what is no list of books."""
    try:
        return {book.asset_id: book for book in decode_books(text.encode())}
    except DecodeError:
        return None

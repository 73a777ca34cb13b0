"""The simulated venue in virtual time: the same exchange, faults, feeds and services, on a network in memory.

The real mirror, streams and HTTP clients run against it: only sockets and clocks are replaced, by
:attr:`VirtualVenue.network`. Everything happens in the event loop of :func:`~polymirror.simulator.virtual.run_virtual`,
so a run depends on nothing but its seeds.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

import httpx
from attrs import define
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from polymirror.config import Endpoints
from polymirror.errors import VenueUnavailable
from polymirror.simulator.faults.base import Fault
from polymirror.simulator.faults.catalogue import make_faults
from polymirror.simulator.faults.line import FaultLine
from polymirror.simulator.frames import MAX_HANG
from polymirror.simulator.surface.rest import Desk
from polymirror.simulator.surface.services import MARKET_PATH, answer_call, feeds_by_path, made_for
from polymirror.simulator.surface.session import Session
from polymirror.simulator.virtual.loop import VirtualLoop, VirtualTimeError
from polymirror.simulator.virtual.transport import VirtualTransport
from polymirror.simulator.virtual.wire import NetworkConfig, VirtualWire
from polymirror.venue.failures import explain_status, unavailable
from polymirror.venue.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from polymirror.config import StreamConfig
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.frames import Answer, Call, Frame, Item
    from polymirror.simulator.surface.services import Feed, FeedSession, Makes, Service

HOST: Final = "venue.test"
"""A name that can belong to nobody (RFC 2606): what misses the virtual network must not reach anything."""

FORBIDDEN: Final = 403
"""How the venue refuses a handshake."""

MAX_CATCH_UP_MS: Final = 3_600_000
"""An exchange may be this far behind the time of day when the venue opens. It trades through it at once."""


@define(eq=False)
class _Market:
    """The venue's end of one connection to the market channel."""

    wire: VirtualWire
    session: Session
    link: Link
    # When a fault lets go of what it held back, in Unix milliseconds; None: nothing is planned.
    release_ms: int | None = None


@define(eq=False)
class _Fed:
    """The venue's end of one connection to a feed, and the timer for what it sends next."""

    wire: VirtualWire
    session: FeedSession
    timer: asyncio.TimerHandle | None = None


class VirtualVenue:
    """A venue for clients in the same virtual time. Use it with ``async with``, once.

    ``exchange`` may be stepped by nobody else from then on. ``faults`` are fault ids or fault objects, as of
    :class:`~polymirror.simulator.server.Simulator`, and so are ``feeds`` and ``services``; ``network`` is the way
    between venue and client, ``seed`` decides how long each thing takes on it.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        faults: Iterable[str | Fault] = (),
        seed: int = 0,
        network: NetworkConfig | None = None,
        feeds: Makes[Feed] = (),
        services: Makes[Service] = (),
    ) -> None:
        self.exchange = exchange
        self.line: FaultLine = FaultLine(f if isinstance(f, Fault) else make_faults([f], seed=seed)[0] for f in faults)
        self.endpoints: Endpoints = Endpoints.at(self.base_url)
        # False: nobody gets through any more, neither by socket nor by HTTP. What is open stays open.
        self.reachable = True
        self._rng = random.Random(f"network:{seed}")
        self._config = network or NetworkConfig()
        self._feeds = feeds_by_path(made_for(exchange, feeds))
        self._services = tuple(made_for(exchange, services))
        self._desk = Desk(exchange)
        # In order of opening: the order in which frames are handed out decides who draws which delay.
        self._markets: dict[_Market, None] = {}
        self._fed: dict[_Fed, None] = {}
        # When the exchange does something next, in Unix milliseconds, and the timer for it.
        self._planned_ms: int | None = None
        self._pump_timer: asyncio.TimerHandle | None = None
        # Calls that nobody answered yet.
        self._calls: dict[object, Callable[[Answer | Exception], None]] = {}
        # Inside the block only.
        self._loop: VirtualLoop | None = None

    @property
    def network(self) -> Network:
        """What a mirror, a stream or a bot needs to live here. Raises RuntimeError outside ``async with``."""
        loop = self._running()
        return Network(
            open_wire=self._open,
            # What the environment says about real sockets means nothing here.
            check=lambda _url: None,
            transport=lambda: VirtualTransport(self._submit),
            monotonic=loop.time,
            wall=loop.wall,
        )

    @property
    def base_url(self) -> str:
        """Where the HTTP services are."""
        return f"https://{HOST}"

    def stream_url(self, path: str) -> str:
        """Return where the feed with this path is."""
        return f"wss://{HOST}{path}"

    def wall_ms(self) -> int:
        """Return the time of day in Unix milliseconds. Raises RuntimeError outside ``async with``."""
        return self._running().wall_ms()

    async def __aenter__(self) -> Self:
        """Open. Raises VirtualTimeError outside virtual time, and when the exchange lives at another time of day."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise VirtualTimeError("a virtual venue needs virtual time: start the program with run_virtual")
        behind = loop.wall_ms() - self.exchange.now_ms
        if not 0 <= behind <= MAX_CATCH_UP_MS:
            raise VirtualTimeError(
                f"the exchange is at {self.exchange.now_ms}, virtual time at {loop.wall_ms()}: "
                "give run_virtual the start_ms of the exchange"
            )
        self._loop = loop
        self.line.attach(self.exchange)
        self._advance()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close: every connection is reset, every call fails."""
        self.hang_up()
        self._loop = None
        if self._pump_timer is not None:
            self._pump_timer.cancel()

    def hang_up(self) -> None:
        """Reset every connection and fail every call under way, at once."""
        for market in tuple(self._markets):
            self._lose_market(market)
            market.wire.cut()
        for fed in tuple(self._fed):
            self._lose_fed(fed)
            fed.wire.cut()
        calls, self._calls = self._calls, {}
        for reply in calls.values():
            reply(httpx.ReadError("connection reset by peer"))

    def refresh(self) -> None:
        """Bring everything up to the present. Call it after something was made to happen from outside.

        An order given to the broker, a book that was set, a fault that began or ended: until then nobody hears of it.
        Does nothing outside the block.
        """
        if self._loop is None:
            return
        now_ms = self._advance()
        for market in tuple(self._markets):
            self._send(market, [], now_ms)

    # Time.

    def _running(self) -> VirtualLoop:
        if self._loop is None:
            message = "the virtual venue is closed: use it with 'async with'"
            raise RuntimeError(message)
        return self._loop

    def _do(self, act: Callable[..., None], *args: Any) -> None:
        """Act as a callback of the loop. An error of the simulation ends the run: nobody else would hear of it."""
        if self._loop is None:
            return
        try:
            act(*args)
        except Exception as error:  # noqa: BLE001 - raised out of the run
            self._loop.fail(error)

    def _advance(self) -> int:
        """Bring the exchange up to the present; return the time of day in Unix milliseconds."""
        loop, exchange = self._running(), self.exchange
        now_ms = loop.wall_ms()
        # One event after the other, also when the loop was stalled: each is sent at its own time.
        while (due := exchange.next_event_ms()) is not None and due <= now_ms:
            self._hand_out(exchange.step(due), due)
        if exchange.now_ms < now_ms:
            # Nothing is due, but whatever is asked now is answered as of now.
            exchange.step(now_ms)
        self._plan()
        return now_ms

    def _plan(self) -> None:
        """Come back when the exchange does something next."""
        due = self.exchange.next_event_ms()
        if due == self._planned_ms:
            return
        if self._pump_timer is not None:
            self._pump_timer.cancel()
        self._planned_ms = due
        loop = self._running()
        self._pump_timer = None if due is None else loop.call_at(loop.when(due), self._do, self._pump)

    def _pump(self) -> None:
        self._planned_ms = self._pump_timer = None
        self._advance()

    def _travel(self) -> float:
        return self._config.draw(self._rng)

    # Sockets.

    async def _open(
        self, url: str, config: StreamConfig, headers: Mapping[str, str], _wall_now: Callable[[], float]
    ) -> VirtualWire:
        """Connect, as :func:`polymirror.venue.wire.open_wire` does."""
        try:
            async with asyncio.timeout(config.open_timeout):
                await asyncio.sleep(self._travel())
                opened = self._accept(url, config, headers)
                if isinstance(opened, VirtualWire):
                    try:
                        await asyncio.sleep(self._travel())
                    except BaseException:
                        opened.abort()
                        raise
                    return opened
                await asyncio.sleep(self._travel())
        except TimeoutError as error:
            raise unavailable(url, error, seconds=config.open_timeout) from error
        if isinstance(opened, OSError):
            raise unavailable(url, opened) from opened
        refusal = InvalidStatus(Response(opened, HTTPStatus(opened).phrase, Headers()))
        raise VenueUnavailable(url, opened, f"{explain_status(opened, (), url)} (handshake refused)") from refusal

    def _accept(self, url: str, config: StreamConfig, headers: Mapping[str, str]) -> VirtualWire | OSError | int:
        """Take an attempt to connect, or say why not: a socket that fails, or an HTTP status."""
        parts = urlsplit(url)
        if parts.hostname != HOST:
            return OSError(f"no such host in virtual time: {parts.hostname}")
        if self._loop is None or not self.reachable:
            return ConnectionRefusedError("connection refused")
        now_ms = self._advance()
        if parts.path == MARKET_PATH:
            return FORBIDDEN if self.line.refuses(now_ms) else self._open_market(config)
        feed = self._feeds.get(parts.path)
        if feed is None:
            return FORBIDDEN
        given = {name.lower(): value for name, value in headers.items()}
        session = feed.open(given, dict(parse_qsl(parts.query, keep_blank_values=True)), now_ms)
        return session if isinstance(session, int) else self._open_feed(config, session)

    def _open_market(self, config: StreamConfig) -> VirtualWire:
        def heard(text: str) -> None:
            now_ms = self._advance()
            self._send(market, market.session.receive(text, now_ms), now_ms)

        def left() -> None:
            self._lose_market(market)

        market = _Market(self._wire(config, heard, left), Session(self.exchange), self.line.open_link())
        self._markets[market] = None
        return market.wire

    def _open_feed(self, config: StreamConfig, session: FeedSession) -> VirtualWire:
        def heard(text: str) -> None:
            if not session.closed:
                self._launch(fed, session.receive(text, self._advance()), self._running().time())
                self._feed(fed)

        def left() -> None:
            self._lose_fed(fed)

        fed = _Fed(self._wire(config, heard, left), session)
        self._fed[fed] = None
        self._feed(fed)
        return fed.wire

    def _wire(self, config: StreamConfig, heard: Callable[[str], None], left: Callable[[], None]) -> VirtualWire:
        return VirtualWire(
            self._running(),
            self._travel,
            max_message=config.max_message,
            to_venue=partial(self._do, heard),
            left=partial(self._do, left),
            stall=self._stall,
        )

    def _stall(self) -> float:
        return self.line.stall_ms(self._running().wall_ms()) / 1000

    # The market channel.

    def _hand_out(self, frames: Sequence[Frame], now_ms: int) -> None:
        """Give every connection its part of what the exchange sent."""
        for market in self._markets:
            self._send(market, market.session.outgoing(frames), now_ms)

    def _send(self, market: _Market, items: list[Item], now_ms: int) -> None:
        """Let items pass the faults and set out."""
        loop = self._running()
        sent_at = loop.when(now_ms)
        for item in self.line.outgoing(market.link, items, now_ms):
            market.wire.launch(item, sent_at)
        release = self.line.next_ms(market.link)
        if release is not None and release != market.release_ms:
            market.release_ms = release
            loop.call_at(loop.when(release), self._do, self._release, market)

    def _release(self, market: _Market) -> None:
        self._send(market, [], self._running().wall_ms())

    def _lose_market(self, market: _Market) -> None:
        self._markets.pop(market, None)
        market.session.closed = market.link.dead = True

    # Feeds.

    def _feed(self, fed: _Fed) -> None:
        """Send what a feed has for a client, and come back for the next thing."""
        loop, session = self._running(), fed.session
        if fed.timer is not None:
            fed.timer.cancel()
            fed.timer = None
        now_ms, before = loop.wall_ms(), -1
        while not session.closed and (due := session.next_ms()) is not None and due <= now_ms:
            if due <= before:
                raise VirtualTimeError(f"{type(session).__name__} says again and again that something is due at {due}")
            before = due
            self._launch(fed, session.outgoing(due), loop.when(due))
        due = None if session.closed else session.next_ms()
        if due is not None:
            fed.timer = loop.call_at(loop.when(due), self._do, self._feed, fed)

    def _launch(self, fed: _Fed, items: list[Item], sent_at: float) -> None:
        for item in items:
            fed.wire.launch(item, sent_at)

    def _lose_fed(self, fed: _Fed) -> None:
        self._fed.pop(fed, None)
        fed.session.closed = True
        if fed.timer is not None:
            fed.timer.cancel()

    # HTTP.

    def _submit(self, host: str, call: Call, reply: Callable[[Answer | Exception], None]) -> None:
        """Let a call set out."""
        loop = asyncio.get_running_loop()
        if host != HOST:
            loop.call_later(self._travel(), reply, httpx.ConnectError(f"no such host in virtual time: {host}"))
        elif self._loop is None or not self.reachable:
            refused = httpx.ConnectError("connection refused")
            refused.__cause__ = ConnectionRefusedError("connection refused")
            loop.call_later(self._travel(), reply, refused)
        else:
            key = object()
            self._calls[key] = reply
            loop.call_later(self._travel(), self._do, self._answer, key, call)

    def _answer(self, key: object, call: Call) -> None:
        """Answer a call that arrived. What it does is done, even if nobody hears of it."""
        loop = self._running()
        answer = answer_call(self._services, self._desk, self.line, call, self._advance())
        # An order may have made something happen now.
        self._plan()
        if answer.hangs:
            loop.call_later(MAX_HANG, self._reply, key, httpx.ReadError("connection reset by peer"))
        else:
            loop.call_later(self._travel() + answer.delay_ms / 1000, self._reply, key, answer)

    def _reply(self, key: object, outcome: Answer | Exception) -> None:
        reply = self._calls.pop(key, None)
        if reply is not None:
            reply(outcome)

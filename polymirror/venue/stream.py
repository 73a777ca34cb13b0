"""A WebSocket that heals itself: connect, subscribe, watch, drop, wait with jitter, connect again.

It carries text frames and knows nothing of order books: the market channel and the price feeds of the
bots run on the same class. The first frame of every connection is the subscription, a text PING goes
out only after it, and every loss is announced: ``on_close`` is called exactly once for each ``on_open``,
before anything else is done about it, so that whatever was learnt from the connection can be doubted
at once. What happens inside one connection is in :mod:`polymirror.venue.connection`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from polymirror.errors import ConfigError, VenueUnavailable
from polymirror.harmless import harmless
from polymirror.venue.backoff import FullJitter
from polymirror.venue.closing import MAX_REASON, CloseCause, CloseKind, StreamCounters, cause_of
from polymirror.venue.groups import first_of
from polymirror.venue.losslog import LossLog
from polymirror.venue.network import REAL
from polymirror.venue.pieces import keep_whole
from polymirror.venue.watchdog import is_json_data

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from polymirror.config import StreamConfig
    from polymirror.venue.connection import Connection
    from polymirror.venue.network import Network
    from polymirror.venue.wires import AnyWire

__all__ = ["CloseCause", "CloseKind", "Stream", "StreamCounters", "is_json_data"]

PING: Final = "PING"
"""The heartbeat that the venue's documentation asks for, as a text frame every ten seconds."""

POLITE: Final = frozenset({CloseKind.STOPPED, CloseKind.REQUESTED, CloseKind.DATA_SILENCE})
"""Causes after which the closing handshake is tried; after the others it can only waste time."""


class _Lost(Exception):  # noqa: N818 - never leaves this module: tells tenacity to wait and try again
    def __init__(self, cause: CloseCause, retry_after: float | None = None) -> None:
        super().__init__(str(cause))
        self.retry_after = retry_after


class Stream:
    """One self-healing WebSocket. Nothing happens until :meth:`run` is awaited.

    ``first_frame()`` is asked for the subscription each time a connection opened; with ``None`` nothing is
    sent, and no PING before the first :meth:`send`. ``on_open(now)`` follows when the first frame is out,
    ``on_frame(data, received_at)`` for every frame in order of arrival (text frames as undecoded bytes),
    ``on_close(now, cause)`` exactly once per ``on_open``, ``on_failed(now, why)`` for every attempt that did not come
    to an ``on_open``. Callbacks run on the event loop and must be quick;
    an exception in one of them ends :meth:`run` with it. Times are seconds of the network's monotonic clock.

    ``is_data(data)`` tells data from heartbeats for the data watchdog. ``ping`` is the heartbeat's text, ``None``
    for none. ``headers()`` gives the handshake's extra headers, anew for each attempt since a signature may
    age. ``rng`` draws the jitter. ``cut(data)`` divides a frame of more than 64 KiB into what is handed on piece by
    piece, so that other work gets its turn between; by default nothing is divided. ``network`` opens the sockets
    and has the clocks: the real one by default. ``losses`` tells how connections end; streams that are lost together
    share one.
    """

    def __init__(
        self,
        url: str,
        *,
        first_frame: Callable[[], str | None],
        on_open: Callable[[float], None],
        on_frame: Callable[[bytes, float], None],
        on_close: Callable[[float, CloseCause], None],
        config: StreamConfig,
        rng: random.Random,
        on_failed: Callable[[float, str], None] | None = None,
        is_data: Callable[[bytes], bool] = is_json_data,
        cut: Callable[[bytes], Sequence[bytes]] = keep_whole,
        name: str = "stream",
        ping: str | None = PING,
        headers: Callable[[], Mapping[str, str]] | None = None,
        network: Network = REAL,
        losses: LossLog | None = None,
    ) -> None:
        self.name = name
        self.counters: StreamCounters = StreamCounters()
        self._url = url
        self._first_frame = first_frame
        self._on_open = on_open
        self._on_frame = on_frame
        self._on_close = on_close
        self._on_failed = on_failed
        self._config = config
        self._is_data = is_data
        self._cut = cut
        self._ping = ping
        self._headers = headers
        self._network = network
        self._clock = network.monotonic
        self._sleep = network.sleep
        # The wait for the next attempt, while there is one.
        self._rest: asyncio.Future[None] | None = None
        self._losses = losses or LossLog()
        # Attempts that failed since the last connection opened.
        self._failed = 0
        self._jitter = FullJitter(config.backoff_base, config.backoff_cap, rng)
        # The connection that takes texts to send; None while there is none, or its first frame is not known yet.
        self._connection: Connection | None = None
        # When the newest connection's subscription was handed to it: what answers it is not about an earlier moment.
        self.asked_at: float = float("-inf")
        # True between on_open and on_close.
        self._open = False
        # Guards against a second run(): two would share the callbacks and neither loss would be clear.
        self._running = False

    @property
    def connected(self) -> bool:
        """Whether a connection is open and subscribed: ``on_open`` was called and ``on_close`` not yet."""
        return self._open

    @property
    def waiting(self) -> int:
        """How many frames were received and not handed on yet."""
        return 0 if self._connection is None else self._connection.waiting

    async def run(self) -> None:
        """Keep a connection open until cancelled, however often it is lost.

        Returns never. Raises whatever a callback raised, and :class:`RuntimeError` when it runs already. Settings
        that allow no connection (a bad URL, an unusable proxy) end nothing any more once it runs: they are told as
        any other failed attempt. Ask ``network.check(url)`` before.
        When it is cancelled, ``on_close`` follows with STOPPED and the socket is gone within twice
        ``close_timeout``.
        """
        if self._running:
            message = f"{self.name} is running already"
            raise RuntimeError(message)
        # Not before one runs: what a stream needs of other libraries is an eighth of the time of importing this one.
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_never  # noqa: PLC0415

        self._running = True
        retrying = AsyncRetrying(
            sleep=self._wait, wait=self._jitter, stop=stop_never, retry=retry_if_exception_type(_Lost)
        )
        try:
            while True:
                await retrying(self._connect_and_serve)
                # The connection was healthy, so the backoff starts anew; but a venue that restarts drops
                # every client at the same moment, so the first attempt is jittered too.
                await self._wait(self._jitter.seconds(1))
        finally:
            self._running = False

    def send(self, text: str) -> None:
        """Queue a text frame, such as a change of the subscription, behind the first frame.

        A text that was queued when its connection ended is not sent again: ``first_frame`` speaks for the
        next connection. Raises :class:`~polymirror.errors.VenueUnavailable` when there is no connection, for
        the same reason harmless, and when too many texts wait, which also ends the connection.
        """
        if self._connection is None:
            raise VenueUnavailable(f"send on {self.name}", None, "not connected; the next first frame covers it")
        self._connection.send(text)

    def reconnect(self, why: str) -> None:
        """Give up the present connection with REQUESTED and open a new one, after the usual jitter.

        Does nothing when there is none: a new one is on its way already.
        """
        if self._connection is not None:
            self._connection.end(CloseCause(CloseKind.REQUESTED, why))

    def hurry(self) -> None:
        """Try again at once, if it waits for the next attempt: the network is back, as somebody else has seen."""
        if self._rest is not None:
            self._rest.cancel()

    async def _wait(self, seconds: float) -> None:
        self._rest = rest = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait({rest})
        finally:
            self._rest = None
            rest.cancel()
        if not rest.cancelled():
            rest.result()

    def vouch(self) -> None:
        """Declare the silence so far honest, on other evidence: restarts the data watchdog."""
        if self._connection is not None:
            self._connection.vouch()

    async def _connect_and_serve(self) -> None:
        """Live through one connection. Returns when it was a healthy one, raises _Lost when it was not."""
        try:
            headers = self._headers() if self._headers else {}
            wire = await self._network.open_wire(self._url, self._config, headers, self._network.wall)
        except VenueUnavailable as error:
            cause = CloseCause(CloseKind.OPEN_FAILED, error.cause[:MAX_REASON], error.status)
            self._note(cause)
            raise _Lost(cause, error.retry_after) from error
        except ConfigError as error:
            # It was good at the start: somebody changed the environment of a program that runs.
            cause = CloseCause(CloseKind.OPEN_FAILED, harmless(str(error), MAX_REASON))
            self._note(cause)
            raise _Lost(cause) from error
        # By now the module is there, unless the network is a virtual one.
        from polymirror.venue.wire import hang_up  # noqa: PLC0415

        opened_at = self._clock()
        # What stays true if the consumer fails or run() is cancelled at any point from here.
        cause = CloseCause(CloseKind.STOPPED, "cancelled")
        try:
            cause = await self._serve(wire)
        except ExceptionGroup as errors:
            raise first_of(errors) from None
        finally:
            await hang_up(wire, self._config.close_timeout, politely=cause.kind in POLITE)
        if cause.kind is CloseKind.OPEN_FAILED or self._clock() - opened_at < self._config.healthy_after:
            raise _Lost(cause)

    async def _serve(self, wire: AnyWire) -> CloseCause:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - as above

        from polymirror.venue.connection import Connection  # noqa: PLC0415

        connection = Connection(
            wire,
            config=self._config,
            network=self._network,
            is_data=self._is_data,
            on_frame=self._on_frame,
            cut=self._cut,
            ping=self._ping,
            counters=self.counters,
        )
        cause = CloseCause(CloseKind.STOPPED, "cancelled, or the consumer failed")
        try:
            first, self.asked_at = self._first_frame(), self._clock()
            # From here on send() is accepted: what it carries is not in the first frame.
            self._connection = connection
            try:
                async with asyncio.timeout(self._config.open_timeout):
                    await connection.greet(first)
            except (ConnectionClosed, TimeoutError) as error:
                why = str(cause_of(error)) if isinstance(error, ConnectionClosed) else "the first frame was not taken"
                cause = CloseCause(CloseKind.OPEN_FAILED, why)
                return cause
            self._open = True
            self.counters.connects += 1
            self._losses.opened(self.name, self._url, self._failed, self._clock())
            self._failed = 0
            self._on_open(self._clock())
            cause = await connection.serve()
            return cause
        finally:
            connection.end(cause)
            self._connection = None
            self._note(cause)
            if self._open:
                self._open = False
                self._on_close(self._clock(), cause)

    def _note(self, cause: CloseCause) -> None:
        self.counters.closes[cause.kind] += 1
        self.counters.last_cause = cause
        if cause.kind is CloseKind.OPEN_FAILED:
            self.counters.failures += 1
            self._failed += 1
            if self._on_failed is not None:
                self._on_failed(self._clock(), cause.reason)
        self._losses.lost(self.name, cause, self._clock())

"""One WebSocket in virtual time: the client's end, and the way between it and the far side.

The client's end behaves as :class:`polymirror.venue.wire.Wire` does, without bytes. What travels takes its time and
never overtakes. The far side is a session of the venue or of a feed; :mod:`polymirror.simulator.virtual.venue` joins
the two and decides what is sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from attrs import field, frozen
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close as CloseFrame

from polymirror.errors import ConfigError
from polymirror.simulator.faults.pace import SLOW_CONSUMER
from polymirror.simulator.frames import Close, Frame, Item

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attrs import Attribute

    from polymirror.simulator.virtual.loop import VirtualLoop

MAX_UNDER_WAY: Final = 20_000
"""Items on their way to a client, or unread by it. One more and the connection ends with 1013, as at the venue."""

NORMAL: Final = 1000
TOO_BIG: Final = 1009


def _check_delay(_self: object, attribute: Attribute[int], value: int) -> None:
    if not 0 <= value <= 60_000:
        raise ConfigError(attribute.name, value, "between 0 and 60000 milliseconds")


@frozen(kw_only=True)
class NetworkConfig:
    """The way between venue and client, in milliseconds, each way."""

    latency_ms: int = field(default=20, validator=_check_delay)
    """The least."""
    jitter_ms: int = field(default=30, validator=_check_delay)
    """What may be added, evenly spread."""

    def draw(self, rng: random.Random) -> float:
        """Return how long the next thing takes, in seconds."""
        return (self.latency_ms + rng.random() * self.jitter_ms) / 1000


class VirtualWire:
    """The client's end of an open WebSocket.

    ``to_venue(text)`` is called when a text arrives there, ``left()`` once when the venue learns, or would learn,
    that the client is gone. ``stall()`` is asked at each arrival for how many seconds the client's program does
    nothing.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        travel: Callable[[], float],
        *,
        max_message: int,
        to_venue: Callable[[str], None],
        left: Callable[[], None],
        stall: Callable[[], float] | None = None,
    ) -> None:
        self.on_bytes: Callable[[], None] | None = None
        # Called by deliver() only: what is launched is left to recv(), so that a program which does nothing for a
        # while can be shown.
        self.on_message: Callable[[bytes], None] | None = None
        self.on_overflow: Callable[[str], None] | None = None
        self._loop = loop
        self._travel = travel
        self._max_message = max_message
        self._to_venue = to_venue
        self._left = left
        self._stall = stall
        # Frames that arrived and were not read yet.
        self._inbox: deque[bytes] = deque()
        # Whoever waits for a frame.
        self._reader: asyncio.Future[None] | None = None
        # What is on its way here, with the time of its arrival: in order, since nothing overtakes.
        self._coming: deque[tuple[float, Item]] = deque()
        self._arrival: asyncio.TimerHandle | None = None
        self._last_arrival = self._last_departure = 0.0
        # True once the venue sent an ending: nothing follows it.
        self._ending = False
        # What reading and writing raise; None while the connection is open.
        self._over: ConnectionClosed | None = None
        # Set once the socket is gone.
        self._gone = asyncio.Event()

    # The client's side.

    async def send(self, message: str, /) -> None:
        """Let a text set out for the venue. Raises what websockets raises when the connection is over."""
        self._check_open()
        self._last_departure = max(self._last_departure, self._loop.time() + self._travel())
        # Also if the client hangs up meanwhile: what was sent arrives.
        self._loop.call_at(self._last_departure, self._to_venue, message)

    async def recv(self, decode: Literal[False] = False) -> bytes:  # noqa: FBT002 - as in websockets
        """Return the next frame. Raises what websockets raises when the connection is over and all was read."""
        del decode
        while not self._inbox:
            self._check_open()
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._inbox.popleft()

    async def close(self) -> None:
        """Do the closing handshake: there and back."""
        if self._over is None:
            frame = CloseFrame(NORMAL, "")
            self._finish(ConnectionClosedOK(frame, frame, rcvd_then_sent=False), self._travel() + self._travel())
        await self.wait_closed()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._finish(ConnectionClosedError(None, None), 0.0)
        self._gone.set()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await self._gone.wait()

    # The venue's side.

    def launch(self, item: Item, sent_at: float) -> None:
        """Let an item that the venue sent at this time (seconds of the loop) set out for the client."""
        if self._over is not None or self._ending:
            return
        if len(self._coming) + len(self._inbox) >= MAX_UNDER_WAY:
            self._coming.clear()
            item = SLOW_CONSUMER
        self._ending = not isinstance(item, Frame)
        self._last_arrival = max(self._last_arrival, sent_at + self._travel() + item.delay_ms / 1000)
        self._coming.append((self._last_arrival, item))
        if self._arrival is None:
            self._arrival = self._loop.call_at(self._last_arrival, self._arrive)

    def deliver(self, text: str) -> None:
        """Hand a text over now, without the way: for times that hold the way already.

        As the real wire does, it goes to ``on_message``, unless something before it is still to be read.
        """
        if self.on_message is None or self._coming or self._inbox or self._over is not None or self._ending:
            self.launch(Frame(text, ""), self._loop.time())
        else:
            self._take(Frame(text, ""), self.on_message)

    def cut(self) -> None:
        """Break the connection as seen from the client: a reset, now."""
        self._finish(_reset(), 0.0)
        self._gone.set()

    def _arrive(self) -> None:
        """Hand over everything that is there by now, and wait for the next thing."""
        self._arrival = None
        coming = self._coming
        while coming and coming[0][0] <= self._loop.time() and self._over is None:
            self._take(coming.popleft()[1])
        if coming and self._over is None and self._arrival is None:
            self._arrival = self._loop.call_at(coming[0][0], self._arrive)

    def _take(self, item: Item, reads: Callable[[bytes], None] | None = None) -> None:
        if isinstance(item, Frame):
            data = item.text.encode()
            if len(data) > self._max_message:
                frame = CloseFrame(TOO_BIG, f"over size limit ({len(data)} bytes)")
                self._finish(ConnectionClosedError(None, frame), 0.0)
                self._gone.set()
                return
            if self.on_bytes is not None:
                self.on_bytes()
            if reads is not None:
                reads(data)
                return
            self._inbox.append(data)
            self._wake()
            if self._stall is not None:
                self._loop.stall(self._stall())
            return
        if isinstance(item, Close):
            frame = CloseFrame(item.code, item.reason)
            kind = ConnectionClosedOK if item.code == NORMAL else ConnectionClosedError
            self._finish(kind(frame, frame, rcvd_then_sent=True), 0.0)
        else:
            self._finish(_reset(), 0.0)
        self._gone.set()

    # The end.

    def _check_open(self) -> None:
        if self._over is not None:
            # A fresh one each time: an exception that is raised twice grows its traceback.
            over = type(self._over)(self._over.rcvd, self._over.sent, self._over.rcvd_then_sent)
            raise over from self._over.__cause__

    def _finish(self, over: ConnectionClosed, until_gone: float) -> None:
        """Nothing is sent or received from now on; the socket is gone some seconds later."""
        if self._over is not None:
            return
        self._over = over
        self._coming.clear()
        if self._arrival is not None:
            self._arrival.cancel()
        self._wake()
        self._loop.call_at(max(self._last_departure, self._loop.time() + self._travel()), self._left)
        if until_gone:
            self._loop.call_later(until_gone, self._gone.set)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _reset() -> ConnectionClosedError:
    error = ConnectionClosedError(None, None)
    error.__cause__ = ConnectionResetError("connection reset by peer")
    return error

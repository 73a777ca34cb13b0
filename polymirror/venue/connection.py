"""One connection of a stream, from its first frame to the cause of its end.

Four small activities share it: a reader that empties the socket at once into the bounded inbox, a
writer, a timer for heartbeats and watchdogs, and the consumer that hands frames on in slices. While nothing
waits, a frame is handed on where it is read: that takes one turn of the event loop instead of three, measured at
half of the CPU of a frame. None of them reconnects and none knows what a frame means;
:mod:`polymirror.venue.stream` owns both ends.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final

from websockets.exceptions import ConnectionClosed

from polymirror.errors import VenueUnavailable
from polymirror.venue.closing import CloseCause, CloseKind, cause_of
from polymirror.venue.inbox import Inbox
from polymirror.venue.pieces import is_light
from polymirror.venue.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.config import StreamConfig
    from polymirror.venue.closing import StreamCounters
    from polymirror.venue.network import Network
    from polymirror.venue.wires import AnyWire

MAX_OUTBOX: Final = 1_000
"""Texts that wait to be sent. A writer this far behind has lost the other side."""

MAX_SLICE_FRAMES: Final = 256
"""Frames handed on before other tasks get their turn."""

MAX_SLICE_SECONDS: Final = 0.005
"""Seconds of handing on before other tasks get their turn."""

LARGE_FRAME: Final = 65_536
"""Bytes above which a frame is cut into pieces, if it can be: the work for one must not hold up other sockets."""

GRACE_TURNS: Final = 8
"""Turns of the event loop between an overdue watchdog and its verdict. After a stall of the whole
program the timers are overdue at once, while the bytes still wait unread in the socket."""

ABANDONING: Final = frozenset({CloseKind.OVERFLOW, CloseKind.REQUESTED, CloseKind.STOPPED})
"""Causes after which frames that still wait are discarded and counted: their connection is void by
our own decision, and the sooner the consumer hears of it the better. After any other cause the
frames that arrived before the end are handed on first."""


class Connection:
    """The life of one open socket."""

    def __init__(
        self,
        wire: AnyWire,
        *,
        config: StreamConfig,
        network: Network,
        is_data: Callable[[bytes], bool],
        on_frame: Callable[[bytes, float], None],
        cut: Callable[[bytes], Sequence[bytes]],
        ping: str | None,
        counters: StreamCounters,
    ) -> None:
        self._wire = wire
        self._config = config
        self._clock = clock = network.monotonic
        self._sleep = network.sleep
        self._is_data = is_data
        self._on_frame = on_frame
        self._cut = cut
        self._ping = ping
        self._counters = counters
        # Why the connection ends: the first cause wins, later ones are consequences.
        self.cause: CloseCause | None = None
        # True once any text went out: a PING as the first frame makes the venue close with 1008.
        self._greeted = False
        # True while a PING waits in the outbox: a stuck writer must not collect a queue of them.
        self._ping_waits = False
        self._inbox = Inbox(config.max_queue, config.max_queue_bytes)
        self._outbox: deque[str] = deque()
        # Set when the consumer has something to do: a frame, or the end.
        self._inbox_wake = asyncio.Event()
        # Set when the writer has something to do.
        self._outbox_wake = asyncio.Event()
        self._watchdog = Watchdog(config.data_timeout, config.transport_timeout, clock())
        # True once frames may be handed on: the owner was told that the connection is open.
        self._serving = False
        # Until then (seconds), and so many, frames may be handed on where they are read: renewed when bytes arrive.
        self._at_once_until = -math.inf
        self._at_once_left = 0
        # When the newest bytes came.
        self._heard_at = clock()
        # The largest of them, in bytes.
        self._at_once_bytes = min(LARGE_FRAME, config.max_queue_bytes)
        # What a callback raised where a frame was read; the consumer raises it.
        self._failure: Exception | None = None
        wire.on_bytes = self._heard_bytes
        wire.on_message = self._heard_message
        wire.on_overflow = self._overflow

    # What the owner may call at any time.

    def end(self, cause: CloseCause) -> None:
        """End the connection for ``cause``, unless it is ending already."""
        if self.cause is None:
            self.cause = cause
            self._inbox_wake.set()
            if cause.kind is CloseKind.OVERFLOW:
                # What was read and not taken yet would only take time.
                self._wire.abort()

    def send(self, text: str) -> None:
        """Queue ``text``; it goes out after the first frame and everything queued before it.

        Raises :class:`~polymirror.errors.VenueUnavailable` when the connection is ending, or when the
        queue is full: then the other side no longer reads, and the connection ends with OVERFLOW.
        """
        if self.cause is not None:
            raise VenueUnavailable("send", None, f"the connection is ending ({self.cause})")
        if len(self._outbox) >= MAX_OUTBOX:
            self.end(CloseCause(CloseKind.OVERFLOW, f"{MAX_OUTBOX} texts wait to be sent"))
            raise VenueUnavailable("send", None, f"{MAX_OUTBOX} texts wait already; the connection is dropped")
        self._outbox.append(text)
        self._outbox_wake.set()

    @property
    def waiting(self) -> int:
        """How many frames wait in the inbox."""
        return len(self._inbox)

    def vouch(self) -> None:
        """Accept the silence so far as honest."""
        self._watchdog.vouch(self._clock())

    # The life of the connection.

    async def greet(self, first: str | None) -> None:
        """Send the first frame, if there is one. Raises what the library raises."""
        if first is not None:
            await self._wire.send(first)
            self._greeted = True

    async def serve(self) -> CloseCause:
        """Read, write and watch until there is a cause to end, then return it.

        An exception of ``on_frame`` or ``is_data`` comes out in an :class:`ExceptionGroup`.
        """
        self._serving = True
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(work) for work in (self._read(), self._write(), self._watch())]
            cause = await self._consume()
            for helper in helpers:
                helper.cancel()
        return cause

    async def _consume(self) -> CloseCause:
        while True:
            if self._failure is not None:
                raise self._failure
            if self.cause is not None and (self.cause.kind in ABANDONING or not self._inbox):
                self._counters.discarded += self._inbox.discard()
                return self.cause
            if not self._inbox:
                self._inbox_wake.clear()
                await self._inbox_wake.wait()
                continue
            self._consume_slice()
            await asyncio.sleep(0)

    def _consume_slice(self) -> None:
        until = self._clock() + MAX_SLICE_SECONDS
        for _ in range(min(len(self._inbox), MAX_SLICE_FRAMES)):
            received_at, data = self._inbox.pop()
            self._on_frame(data, received_at)
            if self._clock() >= until or (self.cause is not None and self.cause.kind in ABANDONING):
                return

    async def _read(self) -> None:
        """Read what the wire does not hand over by itself, and notice its end."""
        try:
            while self.cause is None:
                self._take(await self._wire.recv(decode=False), self._clock(), at_once=False)
        except ConnectionClosed as closed:
            self.end(cause_of(closed))

    def _heard_message(self, data: bytes) -> None:
        """Take a message where it is read. Nothing may come out of here but into :meth:`serve`."""
        try:
            # All messages of one read were there when it began, however long the first ones take.
            self._take(data, self._heard_at, at_once=self._serving)
        except Exception as error:  # noqa: BLE001 - whatever a callback raises
            self._failure = error
            self.end(CloseCause(CloseKind.STOPPED, "the consumer failed"))

    def _take(self, data: bytes, heard_at: float, *, at_once: bool) -> None:
        counters = self._counters
        counters.frames += 1
        counters.bytes += len(data)
        if self.cause is not None:
            counters.discarded += 1
            return
        pieces: Sequence[bytes] = (data,)
        if len(data) > LARGE_FRAME:
            pieces = self._cut(data)
            if not all(map(is_light, pieces)):
                counters.discarded += 1
                self.end(CloseCause(CloseKind.OVERFLOW, f"a message of {len(data)} bytes that takes too long to read"))
                return
        if self._is_data(data):
            self._watchdog.heard_data(heard_at)
        if at_once and self._may_hand_on(data):
            self._on_frame(data, heard_at)
            return
        # A frame that fits is never lost for its pieces.
        for piece in pieces if len(pieces) <= self._inbox.room else (data,):
            if not self._inbox.put(heard_at, piece):
                counters.discarded += 1
                waiting = f"{len(self._inbox)} frames, {self._inbox.waiting_bytes} bytes wait to be applied"
                self.end(CloseCause(CloseKind.OVERFLOW, waiting))
                break
        counters.deepest_queue = max(counters.deepest_queue, self._inbox.deepest)
        self._inbox_wake.set()

    def _may_hand_on(self, data: bytes) -> bool:
        """Whether nothing waits, and what was handed on since the last bytes came took no more than a slice."""
        self._at_once_left -= 1
        return (
            not self._inbox
            and self._at_once_left >= 0
            and self._clock() < self._at_once_until
            and len(data) <= self._at_once_bytes
        )

    async def _write(self) -> None:
        try:
            while True:
                while self._outbox:
                    text = self._outbox.popleft()
                    if text is self._ping:
                        self._ping_waits = False
                    async with asyncio.timeout(self._config.send_timeout):
                        await self._wire.send(text)
                    self._greeted = True
                self._outbox_wake.clear()
                await self._outbox_wake.wait()
        except TimeoutError:
            self._overflow(f"a text was not taken for {self._config.send_timeout:g} s: the other side does not read")
        except ConnectionClosed as closed:
            # The reader sees the same end, unless it stopped at a full inbox.
            self.end(cause_of(closed))

    async def _watch(self) -> None:
        interval = self._config.ping_interval if self._ping is not None else math.inf
        next_ping = self._clock() + interval
        while self.cause is None:
            now = self._clock()
            if self._watchdog.verdict(now) is not None:
                for _ in range(GRACE_TURNS):
                    await asyncio.sleep(0)
                now = self._clock()
                silence = self._watchdog.verdict(now)
                if silence is not None:
                    self.end(CloseCause(silence, self._describe(silence)))
                    return
            if now >= next_ping:
                self._queue_ping()
                # Counted from now: a timer that comes late must not be made up for by a burst.
                next_ping = now + interval
            await self._sleep(max(0.0, min(next_ping, self._watchdog.deadline()) - now))

    def _queue_ping(self) -> None:
        if self._ping is not None and self._greeted and not self._ping_waits:
            self._ping_waits = True
            self._outbox.append(self._ping)
            self._outbox_wake.set()

    def _overflow(self, why: str) -> None:
        self.end(CloseCause(CloseKind.OVERFLOW, why))

    def _heard_bytes(self) -> None:
        self._heard_at = now = self._clock()
        self._watchdog.heard_bytes(now)
        self._at_once_until, self._at_once_left = now + MAX_SLICE_SECONDS, MAX_SLICE_FRAMES

    def _describe(self, silence: CloseKind) -> str:
        if silence is CloseKind.DATA_SILENCE:
            return f"no data for {self._config.data_timeout:g} s"
        return f"nothing at all for {self._config.transport_timeout:g} s"

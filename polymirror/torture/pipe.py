"""One direction of one proxied connection: what was read waits here until the toxics let it pass.

Also :class:`Peaks`, which remembers how late things were. Used by :mod:`polymirror.torture.proxy`.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from polymirror.torture.toxics import Counters, Toxics

CHUNK: Final = 65_536
"""The most bytes read at once."""

MAX_WAITING_BYTES: Final = 4 * 2**20
"""More than this waiting in one direction of a connection resets it."""

BANDWIDTH_STEPS: Final = 20
"""Pieces in which a second's worth of a narrow line passes."""

PEAK_SECONDS: Final = 0.1
"""How finely peaks are told apart in time."""

MAX_PEAKS: Final = 3_000
"""Peaks that are kept: five minutes and more."""


class Peaks:
    """The largest value of each tenth of a second, and their sum; bounded. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        # From the number of the tenth to its largest value and the sum of all its values, oldest first.
        self._slots: dict[int, tuple[float, float]] = {}

    def note(self, at: float, value: float) -> None:
        """Note a value."""
        slots, slot = self._slots, int(at / PEAK_SECONDS)
        largest, total = slots.get(slot, (0.0, 0.0))
        slots[slot] = max(value, largest), total + value
        if len(slots) > MAX_PEAKS:
            del slots[next(iter(slots))]

    def worst(self, begin: float, end: float) -> float:
        """Return the largest value noted from ``begin`` to ``end``; 0 when there is none."""
        return max((largest for largest, _ in self._within(begin, end)), default=0.0)

    def total(self, begin: float, end: float) -> float:
        """Return the sum of all values noted from ``begin`` to ``end``."""
        return sum(total for _, total in self._within(begin, end))

    def _within(self, begin: float, end: float) -> Iterator[tuple[float, float]]:
        first, last = int(begin / PEAK_SECONDS), int(end / PEAK_SECONDS)
        if last - first > len(self._slots):
            return (value for slot, value in self._slots.items() if first <= slot <= last)
        return (self._slots[slot] for slot in range(first, last + 1) if slot in self._slots)


class Broken(Exception):  # noqa: N818 - ends a connection, never leaves the proxy
    """The connection ends now: ``cut``, ``reset``, ``overflow``, or the ``peer`` reset it."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Owner(Protocol):
    """What a pipe needs of its proxy."""

    counters: Counters
    lateness: Peaks

    @property
    def toxics(self) -> Toxics:
        """What is done at present."""
        ...


class _Piece(NamedTuple):
    read_at: float
    draw: float
    data: bytes


class Pipe:
    """Carries bytes from ``source`` to ``target`` until the end of the source; then closes that half."""

    def __init__(
        self,
        owner: Owner,
        source: socket.socket,
        target: socket.socket,
        rng: random.Random,
        clock: Callable[[], float],
        *,
        down: bool,
    ) -> None:
        self._owner = owner
        self._source = source
        self._target = target
        self._rng = rng
        self._clock = clock
        self._down = down
        # What was read, in order; an empty piece stands for the end of the source.
        self._waiting: deque[_Piece] = deque()
        self._waiting_bytes = 0
        # Set when there is something new: data, or other toxics.
        self._news = asyncio.Event()
        # When a narrow line, or the pause between slices, lets the next piece pass.
        self._free_at = 0.0
        # Bytes passed under the present toxics.
        self._passed = 0

    def toxics_changed(self) -> None:
        """Look at the toxics again."""
        self._passed = 0
        self._free_at = 0.0
        self._news.set()

    async def read(self) -> None:
        """Read at once whatever comes. Raises :class:`Broken` when too much waits."""
        loop = asyncio.get_running_loop()
        data = b"nothing yet"
        while data:
            try:
                data = await loop.sock_recv(self._source, CHUNK)
            except OSError as error:
                raise Broken("peer") from error
            self._waiting.append(_Piece(self._clock(), self._rng.random(), data))
            self._waiting_bytes += len(data)
            self._news.set()
            if self._waiting_bytes > MAX_WAITING_BYTES:
                raise Broken("overflow")

    async def write(self) -> None:
        """Pass on what is due, until the end. Raises :class:`Broken` when the connection is to end before."""
        while True:
            self._news.clear()
            toxics = self._owner.toxics
            if toxics.reset:
                raise Broken("reset")
            if self._down and toxics.cut_after is not None and self._passed >= toxics.cut_after:
                raise Broken("cut")
            concerned = toxics.down if self._down else toxics.up
            if not self._waiting or (toxics.hang and concerned):
                await self._news.wait()
                continue
            pause = (self._due(toxics) if concerned else 0.0) - self._clock()
            if pause > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()
            elif not self._waiting[0].data:
                with suppress(OSError):
                    self._target.shutdown(socket.SHUT_WR)
                return
            else:
                await self._pass_on(self._take(toxics, concerned=concerned))

    def _due(self, toxics: Toxics) -> float:
        head = self._waiting[0]
        return max(self._free_at, head.read_at + toxics.latency + head.draw * toxics.jitter)

    def _take(self, toxics: Toxics, *, concerned: bool) -> _Piece:
        """Take the next piece: as much as may pass at once."""
        head = self._waiting.popleft()
        size = len(head.data)
        if concerned and toxics.bandwidth is not None:
            size = min(size, max(1, toxics.bandwidth // BANDWIDTH_STEPS))
            self._free_at = max(self._free_at, self._clock()) + size / toxics.bandwidth
        if concerned and toxics.slice_bytes is not None:
            size = min(size, self._rng.randint(1, toxics.slice_bytes))
            self._free_at = max(self._free_at, self._clock() + toxics.slice_pause)
        if self._down and toxics.cut_after is not None:
            size = min(size, toxics.cut_after - self._passed)
        if size < len(head.data):
            self._waiting.appendleft(head._replace(data=head.data[size:]))
        self._waiting_bytes -= size
        return head._replace(data=head.data[:size])

    async def _pass_on(self, piece: _Piece) -> None:
        # Counted before, so that a switch of the toxics while this waits starts from nothing.
        self._passed += len(piece.data)
        try:
            await asyncio.get_running_loop().sock_sendall(self._target, piece.data)
        except OSError as error:
            raise Broken("peer") from error
        # Sending may succeed at once, again and again: others must have their turn.
        await asyncio.sleep(0)
        if self._down:
            now = self._clock()
            self._owner.counters.bytes_down += len(piece.data)
            self._owner.lateness.note(now, now - piece.read_at)

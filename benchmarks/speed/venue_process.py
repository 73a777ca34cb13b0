"""A venue for loopback measurements, run as a process of its own so that its CPU is not counted as ours.

It sends what the exchange would: stamps are the wall clock's, hashes are those of the books at that moment. When each
frame was handed to the socket is written to a shared file, in nanoseconds of the system's monotonic clock. Run by
:mod:`benchmarks.speed.loopback`, with a plan as JSON in its arguments; it prints its two ports and serves until its
standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import struct
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from benchmarks.speed.frames import DENSE_48, MarketFlow
from benchmarks.speed.openings import make_openings
from benchmarks.speed.recordings import RecordedFlow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.asyncio.server import ServerConnection

HOST = "127.0.0.1"
PAUSE = 2.0
"""Seconds between the opening books and the first frame: by then a mirror has asked for the time often enough."""

BLOCK = 50
"""Frames made ahead of a send when there is no hurry."""


def now_ms() -> int:
    """Return the exchange's clock."""
    return time.time_ns() // 1_000_000


class Venue:
    """Books, and the frames about them, as a plan says.

    ``flow`` is "synthetic" or "recorded"; ``rate`` the frames a second of the former, 0 for all at once; ``count``
    how many; ``speed`` how many times faster than it was the latter is sent; ``crowd`` the number of quiet markets
    beside the busy one, with ``levels`` a side; ``clients`` how many must listen before the first frame is sent;
    ``log`` the file for the times of sending.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.flow: Any = RecordedFlow() if plan["flow"] == "recorded" else MarketFlow(DENSE_48)
        self.busy = {book.asset_id: book for book in self.flow.books}
        self.crowd = {
            token: (opening.events[i], opening.rest[i])
            for opening in make_openings(plan["levels"], plan["crowd"], seed=2)
            for i, token in enumerate(opening.tokens)
        }
        size = 8 * plan["count"]
        with Path(plan["log"]).open("r+b") as file:
            self._log = mmap.mmap(file.fileno(), size)
        # Frames back to back are a backlog: each has a time of its own, and none is from the future. So what comes
        # before them is older still.
        self._ago = 0 if plan["rate"] or plan["flow"] == "recorded" else plan["count"]
        # The sockets that get the frames about the busy market.
        self._listeners: list[ServerConnection] = []
        self._all_there = asyncio.Event()

    # ---- WebSocket ---------------------------------------------------------------------------------

    async def talk(self, connection: ServerConnection) -> None:
        """Serve one client: opening books for what it subscribes to, then the frames that all such clients get."""
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                if text == "PING":
                    await connection.send("PONG")
                    continue
                tokens = json.loads(text)["assets_ids"]
                self._opening(connection, tokens)
                if not self.busy.keys().isdisjoint(tokens):
                    self._listeners.append(connection)
                    if len(self._listeners) == self.plan["clients"]:
                        self._all_there.set()

    def _opening(self, connection: ServerConnection, tokens: list[str]) -> None:
        stamp = now_ms() - self._ago
        books = [self.busy[t].whole(stamp).encode() if t in self.busy else self.crowd[t][0] for t in tokens]
        _send(connection, b"[" + b",".join(books) + b"]")

    async def trade(self) -> None:
        """Send all frames, once everybody is there."""
        await self._all_there.wait()
        await asyncio.sleep(PAUSE)
        if self.plan["flow"] == "recorded":
            await self._replay()
        elif self.plan["rate"]:
            await self._pace()
        else:
            stamps = count(now_ms() - self._ago)
            frames = [self.flow.frame(next(stamps)) for _ in range(self.plan["count"])]
            for i, frame in enumerate(frames):
                self._send_to_all(i, frame)
                if i % BLOCK == 0:
                    # Let the sockets take what they can.
                    await asyncio.sleep(0)

    async def _pace(self) -> None:
        start = time.monotonic()
        for i in range(self.plan["count"]):
            due = start + i / self.plan["rate"]
            if (rest := due - time.monotonic()) > 0:
                await asyncio.sleep(rest)
            self._send_to_all(i, self.flow.frame(now_ms()))

    async def _replay(self) -> None:
        """Send the recording over and over, in its own rhythm, faster."""
        sent, start, speed = 0, time.monotonic(), self.plan["speed"]
        while True:
            batch, stamp = -1, 0
            for at, step in self.flow.round():
                due = start + at / speed / 1000
                if (rest := due - time.monotonic()) > 0:
                    await asyncio.sleep(rest)
                if at != batch:
                    # What had one stamp keeps one: inside a batch a book may be on its way.
                    batch, stamp = at, now_ms()
                for frame in self.flow.frames(step, stamp):
                    if sent == self.plan["count"]:
                        return
                    self._send_to_all(sent, frame)
                    sent += 1
            start += self.flow.duration_ms / speed / 1000

    def _send_to_all(self, i: int, frame: bytes) -> None:
        self._note(i)
        for connection in self._listeners:
            # A client leaves when it has seen enough; its transport then takes no more.
            with contextlib.suppress(RuntimeError):
                _send(connection, frame)

    def _note(self, i: int) -> None:
        struct.pack_into("<q", self._log, 8 * i, time.monotonic_ns())

    # ---- REST --------------------------------------------------------------------------------------

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one HTTP connection: ``GET /time`` and ``POST /books``."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                sizes = (line[15:] for line in head.split("\r\n") if line.lower().startswith("content-length:"))
                content = await reader.readexactly(int(next(sizes, "0")))
                if head.startswith("GET /time"):
                    body = str(int(time.time())).encode()
                elif head.startswith("POST /books"):
                    body = b"[" + b",".join(self._rest(json.loads(content))) + b"]"
                else:
                    body = b"{}"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    def _rest(self, asked: list[dict[str, str]]) -> Iterator[bytes]:
        for each in asked:
            token = each["token_id"]
            yield self.busy[token].rest(now_ms() - self._ago) if token in self.busy else self.crowd[token][1]


def _send(connection: ServerConnection, payload: bytes) -> None:
    """Write one text frame straight to the transport: nothing of the library is between the clock and the socket."""
    size = len(payload)
    if size < 126:  # noqa: PLR2004 - as RFC 6455, section 5.2
        head = struct.pack("!BB", 0x81, size)
    elif size < 65_536:  # noqa: PLR2004
        head = struct.pack("!BBH", 0x81, 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 127, size)
    connection.transport.write(head + payload)


async def main() -> None:
    """Serve until standard input ends."""
    venue = Venue(json.loads(sys.argv[1]))
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group, serve(venue.talk, HOST, 0, compression=None, ping_interval=None) as stream:
        trading = group.create_task(venue.trade())
        rest = await asyncio.start_server(venue.answer, HOST, 0)
        ports = [next(iter(each.sockets)).getsockname()[1] for each in (stream, rest)]
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        await loop.run_in_executor(None, sys.stdin.read)
        trading.cancel()
        stream.close()
        rest.close()


if __name__ == "__main__":
    asyncio.run(main())

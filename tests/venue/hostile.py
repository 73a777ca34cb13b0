"""A peer that sends raw bytes, whatever they are: for tests of what a venue, or anything on the way to it, may do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Any

from websockets.utils import accept_key

from polymirror.config import Endpoints, RestConfig, StreamConfig
from polymirror.venue.rest import Clob
from polymirror.venue.wire import Wire, hang_up, open_wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LATE = 60.0
"""Seconds after which something has no end; no verdict depends on them."""

QUICK = StreamConfig(open_timeout=LATE, close_timeout=0.1)
ONCE = RestConfig(attempts=1, connect_timeout=LATE, read_timeout=LATE, total_timeout=LATE)


class Hostile:
    """Answers each request, or handshake, with the next of some raw answers, the last one again and again.

    ``{accept}`` in an answer is replaced by what the handshake wants to see.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.port = 0

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Hostile]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            writer.write(self.agree(head))
            await writer.drain()
        writer.close()

    def agree(self, head: bytes) -> bytes:
        """Return the next answer to a request with this head."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        key = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")), b": ")
        return answer.replace(b"{accept}", accept_key(key.partition(b":")[2].strip().decode()).encode())

    @contextlib.asynccontextmanager
    async def clob(self, config: RestConfig = ONCE) -> AsyncIterator[Clob]:
        async with Clob(config, Endpoints(clob=self.http, gamma=self.http), rng=random.Random(1)) as clob:
            yield clob

    async def open(self, config: StreamConfig = QUICK) -> Wire:
        return await open_wire(self.ws, config, {}, time.time)


UPGRADE = b"HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
"""The answer to a handshake that agrees."""


def answer(status: int, *headers: bytes, body: bytes = b"") -> bytes:
    """An HTTP answer as bytes."""
    lines = [b"HTTP/1.1 %d Text" % status, *headers, b"Content-Length: %d" % len(body), b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def caught(work: Any) -> Exception:
    """Return what some work raises; what it opened, if it raises nothing, is closed."""
    try:
        opened = await work
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        return error
    if isinstance(opened, Wire):
        await hang_up(opened, 0.1, politely=False)
    raise AssertionError(f"nothing was raised: {opened}")

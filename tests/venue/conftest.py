"""What the tests of the venue edge share: a clock that stands still, a scripted server, a consumer."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import random
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from polymirror.config import Endpoints, RestConfig, StreamConfig
from polymirror.venue.gamma import Gamma
from polymirror.venue.network import Network
from polymirror.venue.rest import Clob
from polymirror.venue.stream import CloseCause, Stream

PATIENCE = 60.0
"""Seconds after which a test with a real socket gives up; nothing waits for them when all is well."""


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(
            ("asyncio", {"use_uvloop": True}),
            id="uvloop",
            marks=pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"),
        ),
    ],
)
def anyio_backend(request):
    return request.param


class FakeTime:
    """A monotonic clock that moves only when told, and the sleep that goes with it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        # Every sleep that was asked for, in seconds.
        self.slept: list[float] = []
        # When true, a sleep takes no time at all but moves the clock.
        self.instant = False
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._someone_sleeps = asyncio.Event()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.instant or seconds <= 0:
            self.now += max(0.0, seconds)
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        entry = (self.now + seconds, woken)
        self._sleepers.append(entry)
        self._someone_sleeps.set()
        try:
            await woken
        finally:
            self._sleepers.remove(entry)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for deadline, woken in self._sleepers:
            if deadline <= self.now + 1e-9 and not woken.done():
                woken.set_result(None)

    async def asleep(self) -> float:
        """Wait until somebody sleeps; return how long the next of them still has to sleep."""
        async with asyncio.timeout(PATIENCE):
            while not any(not woken.done() for _, woken in self._sleepers):
                self._someone_sleeps.clear()
                await self._someone_sleeps.wait()
        return min(deadline for deadline, woken in self._sleepers if not woken.done()) - self.now


class Peer:
    """A real WebSocket server on the loopback interface; the test speaks for it, connection by connection."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.everyone: list[ServerConnection] = []
        self.port = 0
        # When true, nothing is read from a connection once it is open.
        self.deaf = False

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def next(self) -> ServerConnection:
        """Wait for the next connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.accepted.get()

    async def _handle(self, connection: ServerConnection) -> None:
        self.everyone.append(connection)
        if self.deaf:
            connection.transport.pause_reading()
        self.accepted.put_nowait(connection)
        await connection.wait_closed()

    @contextlib.asynccontextmanager
    async def running(self, **options: Any):
        async with serve(
            self._handle, "127.0.0.1", self.port, ping_interval=None, close_timeout=0.2, **options
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                for connection in self.everyone:
                    connection.transport.abort()


class Consumer:
    """Records every callback of a stream, in order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []
        self.frames: list[bytes] = []
        self.received_at: list[float] = []
        self.causes: list[CloseCause] = []
        self.opens = 0
        self._changed = asyncio.Event()

    def on_open(self, now: float) -> None:
        self.opens += 1
        self._record("open", now)

    def on_frame(self, data: bytes, received_at: float) -> None:
        self.frames.append(data)
        self.received_at.append(received_at)
        self._record("frame", data)

    def on_close(self, _now: float, cause: CloseCause) -> None:
        self.causes.append(cause)
        self._record("close", cause)

    def _record(self, what: str, content: Any) -> None:
        self.log.append((what, content))
        self._changed.set()

    async def until(self, condition) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    @property
    def paired(self) -> bool:
        """Whether each open is followed by exactly one close, before the next open."""
        kinds = [what for what, _ in self.log if what != "frame"]
        return kinds == ["open", "close"] * (len(kinds) // 2)


SUBSCRIPTION = '{"assets_ids":["1","2"],"type":"market"}'


class Rig:
    """A stream, its consumer, its time and its server, ready to be run."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.peer = Peer()
        self.consumer = Consumer()
        # Real sockets on a clock that stands still; a test may replace it before it makes its stream.
        self.network = Network(monotonic=self.time.clock, sleep=self.time.sleep)

    def stream(self, *, config: StreamConfig | None = None, **options: Any) -> Stream:
        given: dict[str, Any] = {
            "first_frame": lambda: SUBSCRIPTION,
            "on_open": self.consumer.on_open,
            "on_frame": self.consumer.on_frame,
            "on_close": self.consumer.on_close,
            "rng": random.Random(7),
            "network": self.network,
        }
        return Stream(self.peer.url, config=config or StreamConfig(close_timeout=0.2), **{**given, **options})

    async def opened(self) -> ServerConnection:
        """Wait until one more connection is open and subscribed; return the server's end of it."""
        opens = self.consumer.opens
        server = await self.peer.next()
        await server.recv()
        await self.consumer.until(lambda: self.consumer.opens > opens or self.stream_is_open)
        return server

    @property
    def stream_is_open(self) -> bool:
        return self.consumer.opens > len(self.consumer.causes)

    @contextlib.asynccontextmanager
    async def running(self, stream: Stream):
        """Run the stream beside the test, then cancel it; nothing may be left of it."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(stream.run())
            try:
                yield stream
            finally:
                task.cancel()
        assert not stream.connected
        assert self.consumer.paired


@pytest.fixture
async def rig(anyio_backend):
    yield Rig()
    # Server side handlers end on their own a moment after their sockets; the test runner has tasks of its own.
    async with asyncio.timeout(PATIENCE):
        while left := {task for task in asyncio.all_tasks() if "TestRunner" not in task.get_coro().__qualname__}:
            await asyncio.wait(left)


class Desk:
    """A service on httpx's mock transport: answers from a queue, the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.time = FakeTime()
        self.time.instant = True
        self.transport: httpx.AsyncBaseTransport = httpx.MockTransport(self)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def options(self) -> dict[str, Any]:
        network = Network(
            monotonic=self.time.clock,
            sleep=self.time.sleep,
            wall=lambda: 1_790_000_000.0,
            transport=lambda: self.transport,
        )
        return {"rng": random.Random(7), "network": network}

    def clob(self, **settings: Any) -> Clob:
        return Clob(RestConfig(**settings), Endpoints(), **self.options())

    def gamma(self, **settings: Any) -> Gamma:
        return Gamma(RestConfig(**settings), Endpoints(), **self.options())


@pytest.fixture
def desk():
    """The class, so that each test says what its service answers."""
    return Desk

"""A connection to a NATS server is over as soon as anything is wrong with it, and nothing of it stays."""

from __future__ import annotations

import asyncio
import random

import pytest

from polymirror import NatsConfig
from polymirror.relay.broker.connection import BACKOFF, REFUSED, Connection, Lost, connected, keep
from polymirror.venue.network import Network
from tests.loopback import LOOPS, PATIENCE, open_sockets, turns_until
from tests.relay.broker.server import Listening, nats, with_nats

pytestmark = pytest.mark.anyio

HELLO = b'INFO {"server_id": "x", "max_payload": 1048576, "headers": true}\r\n'


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    return request.param


async def nothing(_data: bytes, _reply: str) -> None:
    """Take a message."""


@with_nats
async def test_what_is_said_on_a_subject_is_heard_in_order(tmp_path) -> None:
    heard: list[tuple[bytes, str]] = []
    over = asyncio.Event()

    async def took(data: bytes, reply: str) -> None:
        heard.append((data, reply))
        if data == b"99":
            over.set()

    async with nats(tmp_path) as broker, connected(broker.url, NatsConfig(), "a test", print) as connection:
        await connection.subscribe("a.b", took)
        await connection.subscribe("other", nothing)
        assert connection.subjects == {"a.b", "other"}
        await connection.unsubscribe("other")
        assert connection.subjects == {"a.b"}
        for number in range(100):
            await connection.publish("a.b", b"%d" % number, "reply.here")
        async with asyncio.timeout(PATIENCE):
            await over.wait()
    assert heard == [(b"%d" % number, "reply.here") for number in range(100)]


async def test_what_is_confirmed_was_heard_before(tmp_path) -> None:
    """The library's own ``flush`` overtakes a subscription, so that a refusal of it would come afterwards."""
    async with (
        Listening(HELLO, b"PONG\r\n") as server,
        connected(server.url("nats"), NatsConfig(), "a test", print) as connection,
    ):
        await connection.subscribe("a", nothing)
        await connection.confirm()
        assert b"SUB a" in server.heard
        assert server.heard.index(b"SUB a") < server.heard.rindex(b"PING")


async def test_a_server_that_takes_nothing_more_is_left_and_its_socket_dropped() -> None:
    """The library alone would wait a quarter of an hour, with the socket open."""
    lost: list[str] = []
    before = len(open_sockets())
    async with Listening(HELLO, b"PONG\r\n") as server:

        async def talk(connection: Connection) -> None:
            server.deaf = True
            while True:
                await connection.publish("a", b"x" * 2**20)

        async def stop(_: float) -> None:
            raise asyncio.CancelledError

        network = Network(sleep=stop)
        with pytest.raises(asyncio.CancelledError):
            await keep(
                server.url("nats"), NatsConfig(), "a test", network, network.monotonic, random.Random(1), talk,
                lost.append,
            )  # fmt: skip
        # Ours is gone while the other end still has its own, and the port.
        await turns_until(lambda: len(open_sockets()) == before + 2)
    assert len(lost) == 1


async def test_a_server_that_does_not_answer_is_lost_once_and_told_why() -> None:
    lost: list[str] = []
    async with (
        Listening(HELLO, b"PONG\r\n") as server,
        connected(server.url("nats"), NatsConfig(), "a test", lost.append) as connection,
    ):
        server.deaf = True
        with pytest.raises(Lost, match="not a word from the server for 2 s"):
            await connection.until_lost()
        for attempt in (connection.publish("a", b""), connection.subscribe("a", nothing)):
            with pytest.raises(Lost):
                await attempt
    assert lost == ["not a word from the server for 2 s"]


async def test_messages_that_the_library_drops_end_the_connection_at_once(monkeypatch) -> None:
    monkeypatch.setattr("polymirror.relay.broker.connection.PENDING_MESSAGES", 4)
    lost: list[str] = []
    flood = b"".join(b"MSG a 1 2\r\nhi\r\n" for _ in range(5))
    async with (
        Listening(HELLO, b"PONG\r\n") as server,
        connected(server.url("nats"), NatsConfig(), "a test", lost.append) as connection,
    ):
        await connection.subscribe("a", nothing)
        server.say(flood)
        with pytest.raises(Lost, match="quicker than they were read"):
            await connection.until_lost()
    assert lost == ["messages came quicker than they were read"]


async def test_messages_on_which_nobody_relies_may_be_dropped_and_that_is_told(monkeypatch) -> None:
    monkeypatch.setattr("polymirror.relay.broker.connection.PENDING_MESSAGES", 4)
    lost: list[str] = []
    heard: list[bytes] = []
    dropped: list[None] = []

    async def took(data: bytes, _: str) -> None:
        heard.append(data)

    async with (
        Listening(HELLO, b"PONG\r\n") as server,
        connected(server.url("nats"), NatsConfig(), "a test", lost.append) as connection,
    ):
        await connection.subscribe("a", took, lambda: dropped.append(None))
        server.say(b"".join(b"MSG a 1 2\r\nhi\r\n" for _ in range(7)))
        await turns_until(lambda: len(heard) == 4)
        assert (len(dropped), lost) == (3, [])


async def test_a_port_at_which_nobody_listens_is_tried_again_at_a_pace(tmp_path) -> None:
    async with Listening(HELLO) as server:
        url = server.url("nats")
    waits: list[float] = []
    said: list[str] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)
        if len(waits) == 200:
            raise asyncio.CancelledError

    async def talk(_: object) -> None:
        pytest.fail("there is nobody")

    network = Network(sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await keep(url, NatsConfig(), "a test", network, lambda: 0.0, random.Random(1), talk, said.append)
    assert len(said) == 200
    assert "Errno 111" in said[0] or "refused" in said[0]
    assert max(waits) <= BACKOFF[1] < REFUSED
    # Full jitter below a cap of a second: two a second, about.
    assert sum(waits) > 75


async def test_who_is_ended_while_an_attempt_fails_ends_though_the_library_swallows_that(monkeypatch) -> None:
    tried = asyncio.Event()

    async def connect(_self, *_server, **_options):
        tried.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionRefusedError("nobody is there") from None

    monkeypatch.setattr("polymirror.relay.broker.client.BrokerClient.connect", connect)
    network = Network()
    rng, told = random.Random(1), []
    work = asyncio.create_task(
        keep("nats://127.0.0.1:9", NatsConfig(), "a test", network, network.monotonic, rng, nothing, told.append)
    )
    async with asyncio.timeout(PATIENCE):
        await tried.wait()
    work.cancel()
    done, _ = await asyncio.wait([work], timeout=PATIENCE)
    try:
        assert done
        assert work.cancelled()
    finally:
        work.cancel()

"""A peer that is slow on purpose, byte by byte or not at all: each step of ours has an end all the same."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from attrs import evolve

from polymirror.config import RestConfig, StreamConfig
from polymirror.errors import VenueUnavailable
from polymirror.venue.stream import CloseKind
from polymirror.venue.wire import hang_up
from tests.venue.hostile import LATE, UPGRADE, Hostile, caught

pytestmark = pytest.mark.anyio

GAP = 0.005
"""Seconds between two bytes: far below every limit for one read."""

SHORT = StreamConfig(open_timeout=0.15, close_timeout=0.1)
CALL = RestConfig(attempts=3, read_timeout=5, total_timeout=0.15)


class Dribble(Hostile):
    """Sends ``start`` at once, and what follows it byte by byte without end; never reads again, never closes."""

    def __init__(self, start: bytes, endless: bytes) -> None:
        super().__init__(start)
        self.endless = endless
        self.held: list[asyncio.StreamWriter] = []

    async def _handle(self, reader, writer) -> None:
        self.held.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            writer.write(self.agree(head))
            await asyncio.sleep(GAP)
            sent = 0
            while not writer.is_closing():
                writer.write(self.endless[sent : sent + 1])
                await writer.drain()
                sent = (sent + 1) % max(1, len(self.endless))
                await asyncio.sleep(GAP)

    @contextlib.asynccontextmanager
    async def running(self):
        async with super().running():
            try:
                yield self
            finally:
                for writer in self.held:
                    writer.transport.abort()


SLOW = [
    pytest.param(b"", b"HTTP/1.1 200 Okkkkkkkk", id="status line"),
    pytest.param(b"HTTP/1.1 101 Ok\r\n", b"X: y\r\n", id="headers"),
    pytest.param(b"HTTP/1.1 200 Ok\r\nX: ", b"y", id="one header"),
    pytest.param(b"HTTP/1.1 200 Ok\r\nContent-Length: 100000\r\n\r\n", b"1", id="body"),
    pytest.param(b"HTTP/1.1 503 No\r\nContent-Length: 100000\r\n\r\n", b"1", id="body of a refusal"),
    pytest.param(b"HTTP/1.1 200 Ok\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n1\r\n", id="chunks"),
    pytest.param(b"HTTP/1.1 200 Ok\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x", id="a chunk's head"),
    pytest.param(b"HTTP/1.1 200 Ok\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n", id="trailers"),
    pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="again and again continue"),
    pytest.param(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 99999\r\n\r\n", b"1", id="body of a redirect"),
    pytest.param(b"", b"", id="nothing"),
]


@pytest.mark.parametrize(("start", "endless"), SLOW)
async def test_a_handshake_byte_by_byte_ends_in_its_time(start, endless):
    async with Dribble(start, endless).running() as peer, asyncio.timeout(LATE):
        error = await caught(peer.open(SHORT))
    assert isinstance(error, VenueUnavailable)


@pytest.mark.parametrize(("start", "endless"), SLOW)
async def test_a_call_byte_by_byte_ends_in_its_time(start, endless):
    async with Dribble(start, endless).running() as peer, peer.clob(CALL) as clob, asyncio.timeout(LATE):
        error = await caught(clob.time())
    assert isinstance(error, VenueUnavailable)


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"\x81\x7f\x00\x00\x00\x00\x00\x10\x00\x00" + b"x" * 1_000, id="body"),
        pytest.param(b"\x01\x01x" + b"\x00\x01x" * 1_000, id="parts"),
        pytest.param(b"\x8a\x00", id="pongs"),
        pytest.param(b"\x81\x04PONG", id="text PONGs"),
    ],
)
async def test_a_stream_byte_by_byte_is_silent(rig, endless):
    peer = Dribble(UPGRADE, endless)
    async with peer.running():
        stream = rig.stream(config=StreamConfig(close_timeout=0.1, data_timeout=30, transport_timeout=45))
        stream._url = peer.ws
        async with rig.running(stream), asyncio.timeout(LATE):
            await rig.consumer.until(lambda: rig.consumer.opens == 1)
            while not rig.consumer.causes:
                rig.time.advance(1.0)
                # Some bytes come in each of these seconds.
                await asyncio.sleep(2 * GAP)
    assert rig.consumer.causes[0].kind is CloseKind.DATA_SILENCE


@pytest.mark.parametrize(
    "endless", [b"\x89\x00", b'\x81\x07{"n":1}', b"\x8a\x00", b"\x81\x7f\x00\x00\x00\x00\x00\x10\x00\x00x"]
)
async def test_a_closing_handshake_that_is_never_answered_ends_in_its_time(rig, endless):
    peer = Dribble(UPGRADE, endless)
    async with peer.running():
        stream = rig.stream(config=StreamConfig(close_timeout=0.1))
        stream._url = peer.ws
        async with asyncio.timeout(LATE):
            async with rig.running(stream):
                await rig.consumer.until(lambda: rig.consumer.opens == 1)
                stream.reconnect("for the test")
                await rig.consumer.until(lambda: rig.consumer.causes)
                await rig.time.asleep()
                rig.time.advance(10)
                await rig.consumer.until(lambda: rig.consumer.opens == 2)
    assert [cause.kind for cause in rig.consumer.causes] == [CloseKind.REQUESTED, CloseKind.STOPPED]


async def test_hanging_up_politely_on_a_peer_that_never_reads_ends_in_its_time():
    async with Dribble(UPGRADE, b"").running() as peer, asyncio.timeout(LATE):
        wire = await peer.open(evolve(SHORT, open_timeout=LATE))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await wire.send("x" * (16 * 2**20))
        await hang_up(wire, 0.1, politely=True)
        assert wire.transport.is_closing()

"""A peer that sends without end and never reads, or cuts messages into dust, costs a bounded amount of memory."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from attrs import evolve

from polymirror.config import StreamConfig
from polymirror.venue.stream import CloseKind
from polymirror.venue.wire import MAX_PARTS, MAX_UNSENT, READ_SLICE, open_wire
from tests.venue.hostile import LATE, UPGRADE, Hostile

pytestmark = pytest.mark.anyio

QUIET = StreamConfig(close_timeout=0.1, data_timeout=1_000, transport_timeout=1_000)

PING = b"\x89\x7d" + b"p" * 125

LARGEST_READ = 2**20
"""More than any event loop reads at once."""


@pytest.fixture
def wires(rig):
    """Collects the client's end of every connection."""
    found = []

    async def remember(*arguments):
        found.append(await open_wire(*arguments))
        return found[-1]

    rig.network = evolve(rig.network, open_wire=remember)
    return found


async def flood(server, data: bytes, ended) -> None:
    """Write the same bytes again and again and read nothing, until the connection has ended."""
    server.transport.pause_reading()
    for _ in range(400):
        if ended() or server.transport.is_closing():
            return
        server.transport.write(data)
        await asyncio.sleep(0)


async def test_a_peer_that_pings_and_never_reads_is_given_up_with_a_bounded_buffer(rig, wires):
    worst = 0

    def measure() -> bool:
        nonlocal worst
        worst = max(worst, wires[0].transport.get_write_buffer_size())
        return bool(rig.consumer.causes)

    async with rig.peer.running(compression=None), rig.running(rig.stream(config=QUIET)):
        server = await rig.opened()
        await flood(server, PING * 2_000, measure)
        server.transport.abort()
        await rig.consumer.until(lambda: rig.consumer.causes)
    assert rig.consumer.causes[0].kind is CloseKind.OVERFLOW
    assert "does not read" in rig.consumer.causes[0].reason
    assert worst <= MAX_UNSENT + LARGEST_READ


async def test_pings_of_a_peer_that_reads_are_answered(rig):
    async with rig.peer.running(compression=None), rig.running(rig.stream(config=QUIET)):
        server = await rig.opened()
        for _ in range(50):
            await asyncio.wait_for(await server.ping(), LATE)
    assert [cause.kind for cause in rig.consumer.causes] == [CloseKind.STOPPED]


async def test_a_message_in_too_many_parts_is_given_up(rig):
    async with rig.peer.running(compression=None), rig.running(rig.stream(config=QUIET)):
        server = await rig.opened()
        with contextlib.suppress(OSError):
            server.transport.write(b"\x01\x00" + b"\x00\x00" * MAX_PARTS)
        await rig.consumer.until(lambda: rig.consumer.causes)
    assert str(rig.consumer.causes[0]).startswith("OVERFLOW")


async def test_large_reads_of_many_frames_are_handed_on_in_order(rig):
    async with rig.peer.running(compression=None), rig.running(rig.stream(config=QUIET)):
        server = await rig.opened()
        frames = [b'{"n":%d}' % number for number in range(20_000)]
        server.transport.write(b"".join(b"\x81%c" % len(each) + each for each in frames))
        await rig.consumer.until(lambda: len(rig.consumer.frames) == len(frames))
    assert rig.consumer.frames == frames
    assert len(frames) * 8 > 8 * READ_SLICE


async def test_a_text_that_is_never_taken_ends_the_connection_though_data_comes(rig):
    config = evolve(QUIET, send_timeout=0.1)
    async with rig.peer.running(compression=None), rig.running(rig.stream(config=config)) as stream:
        server = await rig.opened()
        server.transport.pause_reading()
        stream.send("x" * (16 * 2**20))
        await rig.consumer.until(lambda: rig.consumer.causes)
        server.transport.abort()
    assert rig.consumer.causes[0].kind is CloseKind.OVERFLOW
    assert "not taken for 0.1 s" in rig.consumer.causes[0].reason


async def test_a_flood_right_behind_the_handshake_is_bounded_too(anyio_backend):
    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        peer = Hostile(UPGRADE)
        writer.write(peer.agree(head))
        with contextlib.suppress(OSError):
            for _ in range(400):
                writer.write(PING * 2_000)
                await writer.drain()
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        peer = Hostile(UPGRADE)
        peer.port = server.sockets[0].getsockname()[1]
        wire, worst = await peer.open(), 0
        closed = asyncio.ensure_future(wire.wait_closed())
        async with asyncio.timeout(LATE):
            while not closed.done():
                worst = max(worst, wire.transport.get_write_buffer_size())
                await asyncio.sleep(0)
    assert worst <= MAX_UNSENT + LARGEST_READ

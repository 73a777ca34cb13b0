"""The proxy: each toxic does what it says to real sockets, can be switched, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from polymirror.errors import ConfigError
from polymirror.torture import pipe as pipes
from polymirror.torture import proxy as proxies
from polymirror.torture.pipe import Peaks
from polymirror.torture.proxy import NONE, Proxy, Toxics
from tests.loopback import LOOPS, nothing_left, turns_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds after which a test gives up; no verdict depends on them."""

ENDLESS = 3_600.0
"""Seconds that no test waits."""


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    return request.param


class Echo:
    """A server that sends back what it gets, or what it is told to."""

    def __init__(self) -> None:
        self.port = 0
        self.received = bytearray()
        self.ended = asyncio.Event()
        self.reset = False
        # Conversations under way: the server does not wait for them at its end.
        self.talking = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.talking += 1
        try:
            while data := await reader.read(65_536):
                self.received += data
                writer.write(data)
                await writer.drain()
        except OSError:
            self.reset = True
        finally:
            self.ended.set()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self.talking -= 1


@asynccontextmanager
async def through_a_proxy(seed: int = 0) -> AsyncIterator[tuple[Echo, Proxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.talk, HOST, 0)
    echo.port = server.sockets[0].getsockname()[1]
    try:
        async with Proxy(echo.port, seed=seed) as proxy:
            yield echo, proxy
    finally:
        server.close()
        await server.wait_closed()
        await turns_until(lambda: echo.talking == 0)
        await asyncio.sleep(0)


@asynccontextmanager
async def client_of(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> float:
    """Send and wait for it to come back; return how long it took."""
    began = time.monotonic()
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    return time.monotonic() - began


async def test_without_toxics_everything_passes_and_nothing_is_left() -> None:
    big = bytes(range(256)) * 4_000
    async with nothing_left(), through_a_proxy() as (echo, proxy), client_of(proxy) as (reader, writer):
        await echoed(reader, writer, b"hello")
        await echoed(reader, writer, big)
        assert bytes(echo.received) == b"hello" + big
        assert proxy.connections == 1
        assert proxy.counters.bytes_down == 5 + len(big)
        writer.write_eof()
        assert await reader.read() == b""
        await turns_until(lambda: proxy.connections == 0)
    assert proxy.port == 0


async def test_latency_and_jitter_hold_in_both_directions_and_end_when_switched_off() -> None:
    async with through_a_proxy() as (_, proxy), client_of(proxy) as (reader, writer):
        await echoed(reader, writer, b"x")
        proxy.toxics = Toxics(latency=0.05, jitter=0.02)
        took = await echoed(reader, writer, b"x")
        assert took >= 0.1
        now = time.monotonic()
        # What one direction held up is part of what both took.
        assert 0.05 <= proxy.lateness.worst(now - took, now) < took
        proxy.toxics = Toxics(latency=0.1, up=False)
        assert await echoed(reader, writer, b"x") >= 0.1


@pytest.mark.parametrize("up", [True, False])
async def test_latency_holds_where_it_is_wanted_until_it_is_switched_off(up: bool) -> None:
    async with through_a_proxy() as (echo, proxy), client_of(proxy) as (reader, writer):
        proxy.toxics = Toxics(latency=ENDLESS, up=up)
        writer.write(b"y")
        if not up:
            await turns_until(lambda: bytes(echo.received) == b"y")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.readexactly(1)
        assert bytes(echo.received) == (b"" if up else b"y")
        proxy.toxics = NONE
        assert await reader.readexactly(1) == b"y"
        await echoed(reader, writer, b"x")


async def test_a_bandwidth_limit_lets_so_many_bytes_pass_in_a_second() -> None:
    async with through_a_proxy() as (_, proxy), client_of(proxy) as (reader, writer):
        proxy.toxics = Toxics(bandwidth=100_000, up=False)
        assert await echoed(reader, writer, bytes(30_000)) > 0.2
        # This would take hours.
        proxy.toxics = Toxics(bandwidth=1, up=False)
        writer.write(bytes(30_000))
        proxy.toxics = NONE
        await reader.readexactly(30_000)
        await echoed(reader, writer, bytes(30_000))


async def test_a_hanging_connection_is_neither_closed_nor_served_until_it_heals() -> None:
    async with through_a_proxy() as (echo, proxy), client_of(proxy) as (reader, writer):
        await echoed(reader, writer, b"x")
        proxy.toxics = Toxics(hang=True)
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(4)
        assert not echo.ended.is_set()
        assert bytes(echo.received) == b"x"
        proxy.toxics = Toxics(hang=True, up=False)
        await turns_until(lambda: bytes(echo.received) == b"xlate")
        proxy.toxics = NONE
        assert await reader.readexactly(4) == b"late"


async def test_slices_are_small_and_nothing_is_lost() -> None:
    async with through_a_proxy() as (_, proxy), client_of(proxy) as (reader, writer):
        proxy.toxics = Toxics(slice_bytes=7, up=False)
        got = []
        writer.write(bytes(range(200)))
        while sum(map(len, got)) < 200:
            got.append(await reader.read(200))
        assert b"".join(got) == bytes(range(200))
        # Several segments may be read at once, but hardly all of them.
        assert len(got) > 3
        proxy.toxics = Toxics(slice_bytes=10, slice_pause=0.005, up=False)
        assert await echoed(reader, writer, bytes(100)) > 0.04


async def test_a_connection_is_cut_after_so_many_bytes() -> None:
    async with nothing_left(), through_a_proxy() as (echo, proxy), client_of(proxy) as (reader, writer):
        await echoed(reader, writer, bytes(500))
        proxy.toxics = Toxics(cut_after=10)
        writer.write(b"0123456789abcdef")
        assert await reader.read() == b"0123456789"
        await echo.ended.wait()
        assert proxy.counters.cuts == 1


async def test_a_reset_is_seen_by_both_sides_even_when_nothing_is_sent() -> None:
    async with nothing_left(), through_a_proxy() as (echo, proxy), client_of(proxy) as (reader, writer):
        await echoed(reader, writer, b"x")
        proxy.toxics = Toxics(reset=True)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        await echo.ended.wait()
        assert echo.reset
        assert proxy.counters.resets == 1
        with pytest.raises(ConnectionResetError):
            async with client_of(proxy) as (reader_too, _):
                await reader_too.read(1)


async def test_connections_are_refused_on_the_same_port_and_open_ones_live_on() -> None:
    async with nothing_left(), through_a_proxy() as (_, proxy), client_of(proxy) as (reader, writer):
        await echoed(reader, writer, b"x")
        port = proxy.port
        proxy.toxics = Toxics(refuse=True)
        assert proxy.port == port
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)
        await echoed(reader, writer, b"still here")
        proxy.toxics = NONE
        async with client_of(proxy) as (reader_too, writer_too):
            await echoed(reader_too, writer_too, b"back")


async def test_a_server_that_refuses_or_resets_is_passed_on_as_a_reset() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    async with nothing_left(), Proxy(port) as proxy, client_of(proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_a_connection_that_makes_it_keep_too_much_is_reset(monkeypatch) -> None:
    monkeypatch.setattr(pipes, "MAX_WAITING_BYTES", 100_000)
    async with nothing_left(), through_a_proxy() as (_, proxy), client_of(proxy) as (reader, writer):
        proxy.toxics = Toxics(hang=True)
        writer.write(bytes(300_000))
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        assert proxy.counters.overflows == 1


async def test_there_is_a_limit_to_connections(monkeypatch) -> None:
    monkeypatch.setattr(proxies, "MAX_CONNECTIONS", 1)
    async with through_a_proxy() as (_, proxy), client_of(proxy) as (reader, writer):
        await echoed(reader, writer, b"x")
        # The attempt itself may see it already.
        with pytest.raises(ConnectionResetError):
            async with client_of(proxy) as (reader_too, _):
                await reader_too.read(1)
        await echoed(reader, writer, b"x")
        assert proxy.counters.turned_away == 1


@pytest.mark.parametrize("toxics", [NONE, Toxics(hang=True), Toxics(latency=ENDLESS), Toxics(refuse=True)])
async def test_the_end_is_quick_and_complete_whatever_it_does_at_the_time(toxics: Toxics) -> None:
    async with nothing_left(), through_a_proxy() as (_, proxy), client_of(proxy) as (reader, writer):
        await echoed(reader, writer, b"x")
        proxy.toxics = toxics
        writer.write(bytes(1_000_000))
        await asyncio.sleep(0)
        # It waits for nothing: what is held up would take longer than this test may.
        await proxy.__aexit__(None, None, None)
        assert proxy.connections == 0


async def test_the_same_seed_slices_in_the_same_places() -> None:
    async def lengths(seed: int) -> list[int]:
        found = []
        async with through_a_proxy(seed) as (_, proxy), client_of(proxy) as (reader, writer):
            proxy.toxics = Toxics(slice_bytes=50, slice_pause=0.003, up=False)
            writer.write(bytes(400))
            while sum(found) < 400:
                found.append(len(await reader.read(400)))
        return found

    first = await lengths(1)
    # A busy machine may join two segments; the places where it does not must be the same.
    again = await lengths(1)
    cuts = [set(_sums(each)) for each in (first, again)]
    assert len(cuts[0] & cuts[1]) >= 0.7 * max(map(len, cuts))
    assert len(cuts[0] & set(_sums(await lengths(2)))) < 0.7 * len(cuts[0])


def _sums(lengths: list[int]) -> list[int]:
    return [sum(lengths[: end + 1]) for end in range(len(lengths))]


@pytest.mark.parametrize("wrong", [{"latency": -1}, {"bandwidth": 0}, {"slice_bytes": 0}, {"cut_after": -1}])
async def test_toxics_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        Toxics(**wrong)


async def test_peaks_are_kept_by_time_and_bounded(monkeypatch) -> None:
    peaks = Peaks()
    peaks.note(10.0, 0.5)
    peaks.note(10.01, 0.2)
    peaks.note(11.0, 0.1)
    assert peaks.worst(9.5, 10.5) == 0.5
    assert peaks.worst(10.5, 11.5) == 0.1
    assert peaks.worst(0, 10_000) == 0.5
    assert peaks.worst(12, 13) == 0.0
    monkeypatch.setattr(pipes, "MAX_PEAKS", 2)
    peaks.note(12.0, 0.3)
    assert peaks.worst(9.5, 10.5) == 0.0

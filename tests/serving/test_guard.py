"""Who may use a server of ours, such as the embedded exchange, and how long it waits for those who only hold it up."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import time

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from polymirror.serving import connections
from polymirror.serving.guard import Guard
from polymirror.simulator import Simulator

pytestmark = pytest.mark.anyio

PATIENCE = 60.0
EVERYWHERE = str(ipaddress.IPv4Address(0))


def headers(host="127.0.0.1:8000", **more):
    given = {"host": host} | {name.replace("_", "-"): value for name, value in more.items()}
    return [(name.encode(), value.encode("latin-1")) for name, value in given.items()]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1", "127.0.0.1:8000"), ("127.0.0.1", "LOCALHOST:8000"), ("127.0.0.1", "localhost"),
        ("127.0.0.1", "[::1]:8000"), ("127.0.0.1", "127.1.2.3"), ("127.0.0.1", "exchange:8000"),
        ("192.0.2.7", "192.0.2.7:8000"), ("mybox", "MyBox:8000"), (EVERYWHERE, "192.0.2.7:8000"),
        ("::", "[2001:db8::7]"),
    ],
)  # fmt: skip
async def test_a_client_that_knows_a_name_of_the_server_may_use_it(address, host):
    guard = Guard(address, ["Exchange"])
    assert guard.refusal(headers(host)) == ""
    assert guard.refusal(headers(host, origin=f"http://{host}", sec_fetch_site="same-origin")) == ""
    assert guard.refusal(headers(host, sec_fetch_site="none")) == ""


@pytest.mark.parametrize(
    ("address", "host", "more"),
    [
        ("127.0.0.1", "evil.test", {}), ("127.0.0.1", "localhost.evil.test:8000", {}),
        ("127.0.0.1", "127.0.0.1.evil.test", {}),
        ("127.0.0.1", "192.0.2.7:8000", {}), ("127.0.0.1", "0.0.0.0:8000", {}), ("127.0.0.1", "", {}),
        ("127.0.0.1", "[evil", {}), (EVERYWHERE, "evil.test:8000", {}), (EVERYWHERE, "mybox", {}),
        ("127.0.0.1", "localhost:8000", {"origin": "http://localhost:3000"}),
        ("127.0.0.1", "localhost:8000", {"origin": "null"}), ("127.0.0.1", "localhost:8000", {"origin": ""}),
        ("127.0.0.1", "localhost:8000", {"origin": "http://localhost:8000.evil.test"}),
        ("127.0.0.1", "localhost:8000", {"sec_fetch_site": "cross-site"}),
        ("127.0.0.1", "localhost:8000", {"sec_fetch_site": "same-site"}),
        ("127.0.0.1", "localhost:8000", {"sec_fetch_site": "\xff"}),
    ],
)  # fmt: skip
async def test_who_calls_it_by_another_name_or_is_the_page_of_another_origin_may_not(address, host, more):
    assert Guard(address, ["exchange"]).refusal(headers(host, **more))


async def test_two_names_are_none():
    assert Guard("127.0.0.1").refusal(headers() + headers())
    assert Guard("127.0.0.1").refusal([])
    assert Guard("127.0.0.1").refusal([*headers(origin="http://127.0.0.1:8000"), (b"Origin", b"http://evil.test")])


async def test_calls_and_websockets_are_refused_alike_and_told(caplog):
    async with Simulator(names=["exchange"]) as venue, httpx.AsyncClient(base_url=venue.base_url) as client:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"ws://evil.test:{venue.port}/ws/market", host="127.0.0.1")
        assert (await client.get("/time", headers={"Host": "evil.test"})).status_code == 403
        for more in ({"Origin": "http://evil.test[/x]"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = await client.get("/time", headers=more)
            assert answer.status_code == 403
            assert answer.json()["error"]
            with pytest.raises(InvalidStatus, match="403"):
                await connect(venue.endpoints.stream, additional_headers=more)
        assert [record.getMessage().isprintable() for record in caplog.records] == [True]
        for fine in ({}, {"Host": f"exchange:{venue.port}"}, {"Origin": venue.base_url}):
            assert (await client.get("/time", headers=fine)).status_code == 200
        async with connect(venue.endpoints.stream, origin=venue.base_url):
            pass


class Held:
    """Raw connections to a venue, and how long the other side keeps them."""

    def __init__(self, venue):
        self._port = venue.port

    async def open(self, sent=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(sent)
        return reader, writer

    async def until_cut(self, sent):
        reader, writer = await self.open(sent)
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                said = await reader.read()
        except ConnectionError:
            said = b""
        writer.close()
        return time.monotonic() - began, said


async def flood(writer, piece):
    """Send until the other side ends it; how many bytes that took."""
    sent = 0
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
    except ConnectionError:
        writer.close()
        return sent


HALVES = {
    "nothing": b"",
    "half a head": b"GET /time HTTP/1.1\r\nHos",
    "half a body": b"POST /order HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx",
    "half a body that nobody wants": b"OPTIONS /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx",
    "half of a second request": b"GET /time HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /time HTTP/1.1\r\nHo",
    "a body that is to be frames": (
        b"POST /ws/market HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Content-Length: 100\r\n\r\nx"
    ),
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_a_request_that_is_never_finished_is_cut(monkeypatch, half):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    async with Simulator() as venue:
        seconds, _ = await Held(venue).until_cut(half)
    # For the next request of a connection uvicorn itself waits 5 s.
    assert seconds < 8


async def test_five_hundred_half_requests_keep_nobody_out(monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 1.0)
    async with Simulator() as venue, httpx.AsyncClient(base_url=venue.base_url) as client:
        held = [await Held(venue).open(HALVES["half a head"]) for _ in range(500)]
        assert (await client.get("/time")).status_code == 200
        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(*(reader.read() for reader, _ in held), return_exceptions=True)
        assert len(ends) == 500
        for _, writer in held:
            writer.close()


async def test_more_connections_than_there_is_room_for_are_told_so_and_gone(monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    async with Simulator() as venue:
        async with connect(venue.endpoints.stream), connect(venue.endpoints.stream):
            _, said = await Held(venue).until_cut(b"")
            assert said.startswith(b"HTTP/1.1 503")
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(base_url=venue.base_url) as client:
            while True:
                if (await client.get("/time")).status_code == 200:
                    break


@pytest.mark.parametrize("form", ["Content-Length: 314572800", "Transfer-Encoding: chunked\r\n\r\n12c00000"])
async def test_a_body_without_end_is_not_read_to_its_end(form):
    async with Simulator() as venue:
        reader, writer = await Held(venue).open(f"POST /order HTTP/1.1\r\nHost: localhost\r\n{form}\r\n\r\n".encode())
        # What the sockets' own buffers take is on top of what the server reads.
        assert await flood(writer, b"x" * 65_536) < 32 * 2**20
        del reader


KEEPS_PARTS = "self.frames" in inspect.getsource(connections.WebSocketsSansIOProtocol)
"""Older versions of uvicorn join the parts of a message as they come, and there is nothing to bound."""


@pytest.mark.parametrize(
    ("message", "code"),
    [("x" * (connections.MAX_MESSAGE + 1), 1009), (["x"] + [""] * 10_000, None if KEEPS_PARTS else 1008)],
)
async def test_a_message_that_is_too_long_or_in_too_many_parts_ends_its_connection(message, code):
    async with Simulator() as venue, connect(venue.endpoints.stream, compression=None) as socket:
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionClosedError) as caught:  # noqa: PT012 - at which is a matter of time
                await socket.send(message)
                await socket.recv()
        assert (caught.value.rcvd and caught.value.rcvd.code) == code


async def test_a_websocket_that_says_nothing_stays_open(monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    async with Simulator() as venue, connect(venue.endpoints.stream) as socket:
        await asyncio.sleep(0.5)
        await (await socket.ping())


async def test_a_client_that_never_reads_is_cut(monkeypatch):
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.3)
    async with Simulator(markets=20) as venue:
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port, limit=1)
        await flood(writer, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        del reader

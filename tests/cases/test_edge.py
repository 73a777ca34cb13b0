"""Nothing that comes over the network ends a mirror, eats its memory or stays untold."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

import httpx
import pytest
from attrs import evolve

from polymirror import Endpoints, MarketNotFound, Mirror, NotLive
from polymirror.errors import VenueUnavailable
from polymirror.venue.network import Network
from polymirror.venue.stream import Stream
from tests.loopback import PATIENCE, SETTINGS, mirror_of, nothing_left, quiet_venue, until
from tests.venue.hostile import Hostile, answer

pytestmark = pytest.mark.anyio

PORTAL = b"HTTP/1.1 302 Found\r\nLocation: https://portal.example/login\r\nContent-Length: 0\r\n\r\n"


class Way:
    """What lies between a mirror and a venue's stream: passes bytes on, or answers by itself, or is cut."""

    def __init__(self, venue: str) -> None:
        self.parts = urlsplit(venue)
        self.answer: bytes | None = None
        self.asked = 0
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.stream = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}{self.parts.path}"
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _handle(self, reader, writer) -> None:
        self.asked += 1
        if self.answer is not None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self.answer)
                await writer.drain()
            writer.close()
            return
        to_reader, to_writer = await asyncio.open_connection(self.parts.hostname, self.parts.port)
        self._writers += [writer, to_writer]
        await asyncio.gather(self._pump(reader, to_writer), self._pump(to_reader, writer))

    async def _pump(self, reader, writer) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()


def mirror_by(way: Way, venue, **options) -> Mirror:
    endpoints = evolve(venue.endpoints, stream=way.stream)
    return Mirror.for_slug(*venue.slugs, config=SETTINGS, endpoints=endpoints, **options)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(PORTAL, id="portal"),
        pytest.param(answer(302, b"Location: https://a.example/", b"Location: /b"), id="two locations"),
        pytest.param(answer(301, b"Location: http://[::1"), id="odd location"),
        pytest.param(answer(503, b"Retry-After: 0", b"Retry-After: 0"), id="two waits"),
    ],
)
async def test_no_answer_to_a_reconnect_ends_a_live_mirror(sent):
    async with quiet_venue() as venue, Way(venue.endpoints.stream).running() as way, mirror_by(way, venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        way.answer = sent
        way.cut()
        asked = way.asked
        await until(mirror, lambda: way.asked > asked + 1)
        way.answer = None
        await mirror.wait_live(timeout=PATIENCE)


async def test_what_keeps_the_venue_away_is_told_with_every_refusal_and_in_the_status_until_it_is_over():
    async with quiet_venue() as venue, Way(venue.endpoints.stream).running() as way:
        way.answer = PORTAL
        async with mirror_by(way, venue) as mirror:
            await until(mirror, lambda: bool(mirror.status().sockets[0].trouble))
            with pytest.raises(NotLive, match=r"UNPRIMED \(TRACKED\), never proven.*portal\.example.*waited 0\.1 s"):
                await mirror.wait_live(timeout=0.1)
            for token in mirror.tokens:
                with pytest.raises(NotLive) as refused:
                    mirror.live(token)
                assert "HTTP 302: to another host" in refused.value.detail
            status = mirror.status()
            assert "portal.example" in status.sockets[0].trouble
            assert status.trouble.startswith("socket 1: HTTP 302")
            assert "portal.example" in status.as_dict()["sockets"][0]["trouble"]
            way.answer = None
            await mirror.wait_live(timeout=PATIENCE)
            assert mirror.status().sockets[0].trouble == ""
            way.answer = answer(403)
            way.cut()
            await until(mirror, lambda: mirror.status().sockets[0].trouble.startswith("HTTP 403: region refused?"))


class Altered(httpx.AsyncHTTPTransport):
    """Real HTTP, with headers added to each answer."""

    def __init__(self, *headers: tuple[str, str]) -> None:
        super().__init__()
        self.added = headers
        self.cookies: list[str] = []

    async def handle_async_request(self, request):
        self.cookies += request.headers.get_list("cookie")
        found = await super().handle_async_request(request)
        found.headers = httpx.Headers(
            [*found.headers.raw, *((name.encode(), text.encode("latin-1")) for name, text in self.added)]
        )
        return found


async def test_cookies_are_neither_kept_nor_sent():
    transport = Altered(("Set-Cookie", "session=caf\xe9; Path=/"), ("Set-Cookie", "plain=1; Path=/"))
    network = Network(transport=lambda: transport)
    async with quiet_venue() as venue:
        endpoints = venue.endpoints
        async with Mirror.for_slug(*venue.slugs, config=SETTINGS, endpoints=endpoints, network=network) as mirror:
            await mirror.wait_live(timeout=PATIENCE)
            for _ in range(3):
                await mirror.prove(mirror.tokens[0], timeout=PATIENCE)
            clients = (mirror.clob._http._client, mirror.gamma._http._client)
            assert [len(client.cookies.jar) for client in clients] == [0, 0]
    assert transport.cookies == []


async def test_rest_that_fails_is_told_in_the_status_until_it_answers():
    async def fail(*_arguments, **_options):
        raise httpx.ConnectError("x") from ConnectionRefusedError(111, "refused")

    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        client = mirror.clob._http._client
        whole, client.send = client.send, fail
        mirror.engine.prove(mirror.tokens[0], mirror.now())
        mirror._drain()
        await until(mirror, lambda: "connection refused" in mirror.status().rest.trouble)
        assert "REST: " in mirror.status().trouble
        client.send = whole
        await mirror.prove(mirror.tokens[0], timeout=PATIENCE)
        assert mirror.status().trouble == ""


async def test_look_ups_that_fail_are_told_in_the_status_until_they_are_answered():
    async def fail(*_arguments, **_options):
        raise httpx.ConnectError("x") from ConnectionRefusedError(111, "refused")

    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        client = mirror.gamma._http._client
        whole, client.send = client.send, fail
        with pytest.raises(VenueUnavailable):
            await mirror.add_slug("another")
        assert mirror.status().rest.trouble == "look-ups: GET /markets: no answer: connection refused"
        assert mirror.status().trouble == "REST: look-ups: GET /markets: no answer: connection refused"
        client.send = whole
        with pytest.raises(MarketNotFound):
            await mirror.add_slug("another")
        assert mirror.status().trouble == ""
        # One that is given up before there is an answer.
        never = asyncio.Event()
        client.send = lambda *_arguments, **_options: never.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await mirror.add_slug("another")
        assert mirror.status().rest.trouble == "look-ups: GET /markets: no answer in time"
        client.send = whole


@pytest.mark.parametrize("group", [ExceptionGroup, BaseExceptionGroup])
async def test_no_group_of_errors_comes_out_of_a_mirror(monkeypatch, group):
    class Stopped(BaseException):
        pass

    async def fail(self) -> None:
        error = ZeroDivisionError("bug") if group is ExceptionGroup else Stopped("bug")
        raise group("a", [group("b", [error]), OSError("another")])

    monkeypatch.setattr(Stream, "run", fail)
    async with quiet_venue() as venue, nothing_left():
        with pytest.raises((ZeroDivisionError, Stopped), match="bug") as raised:
            async with Mirror.for_slug(*venue.slugs, config=SETTINGS, endpoints=venue.endpoints) as mirror:
                await mirror.wait_live(timeout=PATIENCE)
        assert any("another" in note for note in raised.value.__notes__)


async def test_a_venue_that_cannot_be_reached_at_the_start_is_told_why():
    async with Hostile(b"").running() as peer:
        pass
    ends = Endpoints(stream=peer.ws, clob=peer.http, gamma=peer.http)
    async with Mirror.for_slug("x", config=SETTINGS, endpoints=ends) as mirror:
        with pytest.raises(NotLive, match=r"x is UNPRIMED.*not found yet.*connection refused"):
            await mirror.wait_live(timeout=0.01)

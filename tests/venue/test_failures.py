"""Whatever a peer, or the way to it, does is a VenueUnavailable whose cause a person understands."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import ssl
import time

import httpx
import pytest
from websockets.exceptions import InvalidProxyStatus
from websockets.http11 import Response

from polymirror.config import Endpoints, RestConfig
from polymirror.errors import BadResponse, ConfigError, RateLimited, VenueUnavailable
from polymirror.venue.failures import (
    MAX_CAUSE,
    MAX_REDIRECTS,
    explain,
    explain_status,
    follow,
    page_in,
    wish,
)
from polymirror.venue.groups import first_of
from polymirror.venue.rest import Clob
from polymirror.venue.wire import open_wire
from tests.venue.hostile import ONCE, QUICK, UPGRADE, Hostile, answer, caught

pytestmark = pytest.mark.anyio

TIME = answer(200, body=b"1790000000")


@pytest.fixture
def anyio_backend():
    return "asyncio"


def certificate(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = message
    return error


def tls(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] oh")
    error.reason = reason
    return error


def behind(outer: Exception, *inner: BaseException) -> Exception:
    outer.__cause__ = inner[0] if len(inner) == 1 else ExceptionGroup("several", inner)
    return outer


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")
MANY = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect call failed")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (certificate("certificate has expired"), "TLS: certificate has expired"),
        (certificate("Hostname mismatch for {x}"), "TLS: Hostname mismatch for {x}"),
        (ssl.SSLCertVerificationError(1, ""), "TLS: the certificate was refused"),
        (tls("WRONG_VERSION_NUMBER"), "TLS: wrong version number: does that port speak TLS?"),
        (tls("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS: tlsv1 alert protocol version"),
        (socket.gaierror(-2, "Name or service not known"), "DNS: no address for ws-x.y (name or service not known)"),
        (socket.gaierror(), "DNS: no address for ws-x.y (unknown)"),
        (REFUSED, "connection refused"),
        (MANY, "connection refused"),
        (ConnectionResetError(104, "reset"), "reset by the other side"),
        (BrokenPipeError(), "reset by the other side"),
        (TimeoutError("timed out"), "time-out after 5 s"),
        (httpx.ReadTimeout(""), "time-out after 5 s (ReadTimeout)"),
        (OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)), "network is unreachable (errno 101)"),
        (EOFError("stream ends"), "closed before the answer was complete"),
        (behind(httpx.ConnectError("All failed"), behind(OSError("All failed"), REFUSED)), "connection refused"),
        (behind(httpx.ConnectError("x"), TypeError("y"), behind(OSError("z"), REFUSED)), "connection refused"),
        (httpx.ProxyError("407 Proxy Authentication Required"), "proxy: 407 Proxy Authentication Required"),
        (InvalidProxyStatus(Response(407, "No", None)), "proxy: proxy rejected connection: HTTP 407"),
        (OSError(), "OSError"),
        (OSError("odd"), "OSError: odd"),
        (behind(KeyError("a"), ValueError("b")), "KeyError: 'a': b"),
        (ValueError("\ud800\x1b[2J"), "ValueError: \\ud800\\u001b[2J"),
    ],
)
def test_each_failure_is_told_in_words(error, text):
    assert explain(error, host="ws-x.y", seconds=5.0) == text


def test_a_cause_is_bounded_printable_and_can_be_encoded():
    deep = ValueError("x" * 10_000 + "\ud800")
    for _ in range(1_000):
        deep = behind(ValueError("\x00" * 500), deep)
    text = explain(deep)
    assert len(text) <= MAX_CAUSE
    assert text.isprintable()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "region"),
        (401, "proxy"),
        (407, "proxy"),
        (511, "portal"),
        (200, "portal"),
        (503, "Unavailable"),
        (799, "without"),
    ],
)
def test_a_status_is_told_in_words(status, words):
    assert words in explain_status(status, (), "wss://venue.test/ws")


HERE = "wss://venue.test/ws/market"
ODD = [
    "", " ", "https://portal.example/login", "ws://venue.test/ws", "wss://venue.test:444/", "//elsewhere.test/",
    "wss://user:secret@venue.test/", "wss://[::1", "wss://venue.test:99999/", "wss://venue.test:x/", "/a#b", "/a b",
    "/caf\xe9", "/\ud800", "/\x00", "wss://" + "a" * 300, "javascript:alert(1)", "x" * 3_000, "wss://venue.test@evil.test/",
]  # fmt: skip


@pytest.mark.parametrize("location", ODD)
def test_a_redirect_to_anywhere_else_is_not_followed_and_told_without_secrets(location):
    assert follow(HERE, [location]) is None
    text = explain_status(302, [location], HERE)
    assert "portal?" in text
    assert "secret" not in text
    assert text.isprintable()


def test_a_redirect_to_the_same_place_is_followed_and_a_doubled_one_is_not():
    assert follow(HERE, ["/v2?a=b"]) == "wss://venue.test/v2?a=b"
    assert follow(HERE, ["wss://VENUE.test:443/v2"]) == "wss://VENUE.test:443/v2"
    assert follow(HERE, ["/a", "/b"]) is None
    assert follow(HERE, []) is None
    assert "2 addresses" in explain_status(301, ["/a", "/b"], HERE)
    assert "portal.example/login:" in explain_status(302, ["https://u:p@portal.example/login?token=secret"], HERE)


def test_the_longest_wait_that_can_be_read_counts():
    assert wish(["5", "rubbish", "7", "x" * 5_000, "Mon, 99 Foo 2026 99:99:99 GMT"], 0.0) == 7.0
    assert wish(["nan", "inf", ""], 0.0) is None
    assert wish([], 0.0) is None


def test_a_group_of_errors_comes_to_its_first_one_with_notes_of_the_others():
    first = first_of(ExceptionGroup("a", [ExceptionGroup("b", [KeyError("one"), ValueError("two")]), OSError("three")]))
    assert repr(first) == "KeyError('one')"
    assert first.__notes__ == ["another failure: ValueError: two", "another failure: OSError: three"]


# ---- Handshakes --------------------------------------------------------------------------------


async def refused(*answers: bytes) -> VenueUnavailable:
    async with Hostile(*answers).running() as peer:
        error = await caught(peer.open())
    assert isinstance(error, VenueUnavailable), repr(error)
    return error


async def test_a_handshake_that_is_sent_to_a_portal_says_where_to():
    error = await refused(answer(302, b"Location: https://portal.example/login"))
    assert (
        error.cause
        == "HTTP 302: to another host or scheme, https://portal.example/login: is this network behind a portal?"
    )
    assert error.status == 302


async def test_a_handshake_with_odd_locations_is_refused():
    for location in ODD:
        header = b"Location: " + location.encode("utf-8", "surrogatepass")
        await refused(answer(302, header))
        await refused(answer(308, header, header))
    await refused(answer(302))


async def test_a_handshake_follows_redirects_to_the_same_place_a_few_times():
    async with Hostile(answer(307, b"Location: /elsewhere"), UPGRADE).running() as peer:
        wire = await peer.open()
        wire.abort()
        await wire.wait_closed()
    assert [each.split()[1] for each in peer.requests] == [b"/ws", b"/elsewhere"]
    async with Hostile(answer(307, b"Location: /again")).running() as peer:
        error = await caught(peer.open())
    assert isinstance(error, VenueUnavailable)
    assert "again after 3" in error.cause
    assert len(peer.requests) == MAX_REDIRECTS + 1


async def test_a_doubled_retry_after_is_read_from_a_handshake_and_from_an_answer():
    twice = (b"Retry-After: 5", b"Retry-After: 7")
    assert (await refused(answer(503, *twice))).retry_after == 7.0
    async with Hostile(answer(429, *twice)).running() as peer, peer.clob() as clob:
        error = await caught(clob.time())
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (answer(403), "region refused?"),
        (answer(200, body=b"<html>log in"), "portal"),
        (b"220 mail.example ESMTP\r\n\r\n", "HTTP"),
        (b"", "closed before the answer was complete"),
        (b"HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "InvalidHeader"),
        (UPGRADE.replace(b"{accept}", b"{accept}\r\nSec-WebSocket-Accept: {accept}"), "multiple values"),
        (UPGRADE.replace(b"{accept}", b"{accept}\r\nSec-WebSocket-Extensions: permessage-deflate; x=\xe9"), ""),
        (b"HTTP/1.1 200 Ok\r\n" + b"X: y\r\n" * 1_000 + b"\r\n", ""),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", ""),
    ],
)
async def test_a_handshake_that_comes_to_nothing_says_why(raw, words):
    assert words in (await refused(raw)).cause


async def test_a_port_that_speaks_no_tls_is_told_as_such():
    async with await asyncio.start_server(speak_no_tls, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        from_stream = await caught(open_secure(port))
        async with secure_clob(port) as clob:
            from_rest = await caught(clob.time())
    for error in (from_stream, from_rest):
        assert isinstance(error, VenueUnavailable)
        assert error.cause == "TLS: wrong version number: does that port speak TLS?"


async def speak_no_tls(_reader, writer):
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


def open_secure(port: int):
    return open_wire(f"wss://127.0.0.1:{port}/ws", QUICK, {}, time.time)


def secure_clob(port: int):
    address = f"https://127.0.0.1:{port}"
    return Clob(ONCE, Endpoints(clob=address, gamma=address), rng=random.Random(1))


@pytest.fixture
def no_proxy(monkeypatch):
    for name in tuple(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


async def test_a_name_without_an_address_is_told_by_name(monkeypatch, no_proxy):
    async def unknown(*_arguments, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    from_stream = await caught(open_wire("wss://ws-x.y/ws", QUICK, {}, time.time))
    async with Clob(ONCE, Endpoints(clob="https://ws-x.y"), rng=random.Random(1)) as clob:
        from_rest = await caught(clob.time())
    for error in (from_stream, from_rest):
        assert isinstance(error, VenueUnavailable)
        assert error.cause == "DNS: no address for ws-x.y (name or service not known)"


async def test_nobody_there_is_told_as_refused():
    async with Hostile(b"").running() as peer:
        pass
    error = await caught(peer.open())
    assert isinstance(error, VenueUnavailable)
    assert error.cause == "connection refused"
    async with peer.clob() as clob:
        error = await caught(clob.time())
    assert isinstance(error, VenueUnavailable)
    assert str(error) == "GET /time: no answer: connection refused"


async def test_a_peer_that_says_nothing_is_told_with_the_seconds():
    async def silent(_reader, writer):
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        peer = Hostile(b"")
        peer.port = server.sockets[0].getsockname()[1]
        async with peer.clob(RestConfig(attempts=1, read_timeout=0.1)) as clob:
            error = await caught(clob.time())
        for writer in held:
            writer.transport.abort()
    assert isinstance(error, VenueUnavailable)
    assert error.cause == "time-out after 0.1 s (ReadTimeout)"


# ---- HTTP --------------------------------------------------------------------------------------


async def test_an_answer_that_is_sent_elsewhere_says_where_to_and_is_asked_for_again():
    async with Hostile(answer(302, b"Location: https://portal.example/login?x=y"), TIME).running() as peer:
        async with peer.clob() as clob:
            error = await caught(clob.time())
        async with peer.clob() as clob:
            assert (await clob.time()).seconds == 1_790_000_000
    assert isinstance(error, VenueUnavailable)
    assert "https://portal.example/login: is this network behind a portal?" in error.cause


async def test_an_answer_follows_redirects_to_the_same_place_a_few_times():
    async with Hostile(answer(308, b"Location: /v2/time?x=1"), TIME).running() as peer, peer.clob() as clob:
        assert (await clob.time()).seconds == 1_790_000_000
        assert clob.counters.calls == 2
    assert [each.split()[1] for each in peer.requests] == [b"/time", b"/v2/time?x=1"]
    async with Hostile(answer(308, b"Location: /v2/time")).running() as peer, peer.clob() as clob:
        error = await caught(clob.time())
    assert isinstance(error, VenueUnavailable)
    assert len(peer.requests) == MAX_REDIRECTS + 1


async def test_an_answer_with_odd_locations_is_no_answer():
    for location in ODD:
        header = b"Location: " + location.encode("utf-8", "surrogatepass")
        for headers in ((header,), (header, header)):
            async with Hostile(answer(302, *headers)).running() as peer, peer.clob() as clob:
                error = await caught(clob.time())
            assert isinstance(error, VenueUnavailable), (location, error)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200\r\n\r\n",
        b"\x00" * 300,
        b"HTTP/1.1 200 Ok\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 Ok\r\nContent-Length: 5\r\n\r\n17",
        b"HTTP/1.1 200 Ok\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 Ok\r\n" + b"X: " + b"y" * 200_000,
        b"",
    ],
)
async def test_an_answer_that_is_no_http_is_no_answer(raw):
    async with Hostile(raw).running() as peer, peer.clob() as clob:
        error = await caught(clob.time())
    # The first one is HTTP of old, with an empty body.
    assert isinstance(error, (VenueUnavailable, BadResponse))


# ---- Our own settings --------------------------------------------------------------------------


async def test_a_proxy_that_cannot_be_used_is_an_error_at_the_start_that_shows_no_password(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "gopher://user:secret@proxy.invalid:1")
    with pytest.raises(ConfigError, match="proxy") as caught_error:
        async with secure_clob(1):
            pass
    assert "secret" not in str(caught_error.value)


def test_an_address_that_cannot_be_looked_up_is_an_error_of_the_settings():
    for host in ("a" * 64 + ".test", "a..b"):
        with pytest.raises(ConfigError):
            Endpoints(stream=f"wss://{host}/ws")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html><head><title>Just a moment...</title>", "looks like HTML, titled 'Just a moment...'"),
        (b"\xef\xbb\xbf\n <html><TITLE lang=en>\n 503  Busy\nnow </title>", "looks like HTML, titled '503 Busy now'"),
        (b"<html><title>Tom &amp; \x1b[2J", "looks like HTML, titled 'Tom & \\u001b[2J'"),
        (b"<html><title>" + b"x" * 5_000, f"looks like HTML, titled '{'x' * 78}..'"),
        (b"<html><title></title>", "looks like HTML"),
        (b"<" * 100_000, "looks like HTML"),
        (b"<html>" + b" " * 10_000 + b"<title>late</title>", "looks like HTML"),
        (b'<?xml version="1.0"?><title>no page</title>', ""),
        (b'{"error": "<title>"}', ""),
        (b"", ""),
    ],
)  # fmt: skip
def test_a_page_is_told_by_its_title(body, said):
    assert page_in(body) == said


async def test_a_page_instead_of_an_answer_is_told_by_its_title(desk):
    page = b"<!DOCTYPE html><title>Sign in to the network</title>"
    async with desk(httpx.Response(200, content=page)).clob() as clob:
        with pytest.raises(BadResponse, match="GET /clob-markets: not JSON: looks like HTML, titled 'Sign in to the"):
            await clob.clob_market("0x1")
        with pytest.raises(
            BadResponse, match=r"POST /books .*: not JSON: looks like HTML, titled 'Sign in to the netw"
        ):
            await clob.books(["1"])
    async with desk(httpx.Response(503, content=page)).clob() as clob:
        with pytest.raises(VenueUnavailable, match="HTTP 503: looks like HTML, titled 'Sign in"):
            await clob.clob_market("0x1")
    async with desk(httpx.Response(403, content=page)).gamma() as gamma:
        with pytest.raises(BadResponse, match=r"HTTP 403: region refused\?; looks like HTML, titled 'Sign in"):
            await gamma.market("x")
    # Whoever sends pages is not the service: its 404 says nothing about a market.
    async with desk(httpx.Response(404, content=page)).gamma() as gamma:
        with pytest.raises(BadResponse, match="HTTP 404"):
            await gamma.market("x")

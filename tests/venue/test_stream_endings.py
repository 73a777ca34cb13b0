"""How a stream ends, or never begins: cancellation, deaf servers, failing callbacks, TLS and proxies."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import ssl
import warnings

import pytest
from attrs import evolve

from polymirror.config import StreamConfig
from polymirror.venue.stream import CloseKind
from polymirror.venue.wire import open_wire
from tests.venue.hostile import LATE

pytestmark = pytest.mark.anyio

BOOK = '{"event_type":"book"}'
QUICK = StreamConfig(close_timeout=0.2, ping_interval=10, data_timeout=30, transport_timeout=45)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_a_server_that_closes_but_keeps_the_socket_is_cut_off(rig):
    async with rig.peer.running(), rig.running(rig.stream()):
        server = await rig.opened()
        # A close frame by hand: the server library would close the socket as well.
        server.transport.write(b"\x88\x02\x03\xe8")
        server.transport.pause_reading()
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert (rig.consumer.causes[0].kind, rig.consumer.causes[0].code) == (CloseKind.CLOSED, 1000)
        server.transport.abort()


async def test_cancelling_with_a_deaf_server_is_bounded(rig):
    async with rig.peer.running():
        async with rig.running(rig.stream()):
            server = await rig.opened()
            server.transport.pause_reading()
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 0.9
    assert rig.consumer.causes[0].kind is CloseKind.STOPPED


async def test_cancelling_at_any_moment_leaves_nothing_behind(rig):
    # Each round is cancelled some turns of the loop later than the one before, from before the connect on.
    async with rig.peer.running():
        for turns in range(60):
            stream = rig.stream()
            async with rig.running(stream):
                for _ in range(turns):
                    await asyncio.sleep(0)
    assert rig.consumer.paired
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


@pytest.fixture
def wires(rig):
    """Collects the client's end of every connection."""
    found = []

    async def remember(*arguments):
        found.append(await open_wire(*arguments))
        return found[-1]

    rig.network = evolve(rig.network, open_wire=remember)
    return found


async def test_a_second_cancellation_while_hanging_up_leaves_no_socket(rig, wires):
    async with rig.peer.running():
        task = asyncio.ensure_future(rig.stream().run())
        server = await rig.opened()
        server.transport.pause_reading()
        task.cancel()
        await rig.consumer.until(lambda: rig.consumer.causes)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert wires[0].transport.is_closing()
        server.transport.abort()


async def test_a_closing_handshake_that_ends_well_leaves_no_timer(rig, wires):
    async with rig.peer.running(), rig.running(rig.stream()):
        await (await rig.opened()).close(1000, "done")
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert wires[0]._cut_off is None or wires[0]._cut_off.cancelled()


async def test_a_stuck_writer_collects_no_pings(rig):
    config = StreamConfig(close_timeout=0.1, data_timeout=1_000, transport_timeout=1_000)
    async with rig.peer.running(compression=None), rig.running(rig.stream(config=config)) as stream:
        server = await rig.opened()
        server.transport.pause_reading()
        stream.send("x" * (16 * 2**20))
        for _ in range(5):
            await rig.time.asleep()
            rig.time.advance(10)
            for _ in range(5):
                await asyncio.sleep(0)
        assert list(stream._connection._outbox) == ["PING"]
        server.transport.abort()


@pytest.mark.parametrize("callback", ["on_open", "on_frame", "on_close", "is_data", "first_frame"])
async def test_an_exception_of_a_callback_ends_run_with_it(rig, callback):
    def fail(*_arguments):
        raise ZeroDivisionError(callback)

    async with rig.peer.running():
        stream = rig.stream(**{callback: fail})
        task = asyncio.ensure_future(stream.run())
        server = await rig.peer.next()
        if callback in {"on_frame", "is_data"}:
            await server.send(BOOK)
        if callback == "on_close":
            await server.recv()
            await rig.consumer.until(lambda: rig.consumer.opens == 1)
            await server.close()
        with pytest.raises(ZeroDivisionError, match=callback):
            await asyncio.wait_for(task, LATE)
        await asyncio.wait_for(server.wait_closed(), LATE)
    if callback in {"on_frame", "is_data"}:
        assert [cause.kind for cause in rig.consumer.causes] == [CloseKind.STOPPED]
    assert not stream.connected


async def test_a_url_or_proxy_that_turns_wrong_while_it_runs_ends_no_stream(rig, monkeypatch):
    monkeypatch.setenv("http_proxy", "gopher://user:secret@proxy.invalid:1")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda _host: False)
    for url, words in (("ftp://nowhere", "url="), ("ws://venue.invalid/ws", "http_proxy='gopher://proxy.invalid:1'")):
        why = []
        stream = rig.stream(on_failed=lambda _now, cause, why=why: why.append(cause))
        stream._url = url
        async with rig.running(stream):
            await rig.time.asleep()
        assert words in why[0]
        assert "secret" not in why[0]


async def test_running_twice_at_once_is_refused(rig):
    async with rig.peer.running(), rig.running(rig.stream()) as stream:
        await rig.consumer.until(lambda: rig.consumer.opens == 1)
        with pytest.raises(RuntimeError, match="running already"):
            await stream.run()


async def test_a_server_that_never_answers_the_handshake_is_given_up(rig):
    async def silent(_reader, writer):
        held.append(writer)

    held = []
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        rig.peer.port = server.sockets[0].getsockname()[1]
        async with rig.running(rig.stream(config=StreamConfig(open_timeout=0.1))) as stream:
            await rig.time.asleep()
            assert stream.counters.failures == 1
        for writer in held:
            writer.transport.abort()


async def test_a_connection_that_dies_before_its_first_frame_never_counts_as_open(rig):
    async def stillborn(*arguments):
        wire = await open_wire(*arguments)
        wire.transport.abort()
        await wire.wait_closed()
        return wire

    rig.network = evolve(rig.network, open_wire=stillborn)
    async with rig.peer.running(), rig.running(rig.stream()) as stream:
        await rig.time.asleep()
        assert stream.counters.last_cause.kind is CloseKind.OPEN_FAILED
        assert (stream.counters.connects, stream.counters.failures) == (0, 1)
    assert rig.consumer.log == []


async def test_a_first_frame_that_is_not_taken_in_time_is_a_failed_attempt(rig):
    rig.peer.deaf = True
    endless = "x" * (16 * 2**20)
    config = StreamConfig(close_timeout=0.1, open_timeout=0.3)
    async with rig.peer.running(compression=None):
        stream = rig.stream(first_frame=lambda: endless, config=config)
        async with rig.running(stream):
            await rig.time.asleep()
            # A busy machine may have been late with the handshake itself: the next attempt tells.
            while "handshake" in str(stream.counters.last_cause):
                rig.time.advance(100)
                await rig.time.asleep()
        assert str(stream.counters.last_cause) == "OPEN_FAILED: the first frame was not taken"
    assert rig.consumer.log == []


async def test_a_reconnect_asked_for_by_a_callback_discards_and_counts_what_waits(rig):
    async with rig.peer.running(compression=None):
        stream = rig.stream(on_frame=lambda *_: stream.reconnect("the consumer found it wanting"))
        async with rig.running(stream):
            server = await rig.opened()
            server.transport.write(b"".join(b"\x81\x07" + b'{"n":1}' for _ in range(50)))
            await rig.consumer.until(lambda: rig.consumer.causes)
            assert rig.consumer.causes[0].kind is CloseKind.REQUESTED
            assert stream.counters.discarded == 49


async def test_an_unknown_certificate_is_refused(rig, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    made = await asyncio.create_subprocess_exec(
        *command, "-keyout", key, "-out", certificate, stderr=asyncio.subprocess.DEVNULL
    )
    assert await made.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with rig.peer.running(ssl=context):
        stream = rig.stream()
        stream._url = f"wss://localhost:{rig.peer.port}"
        async with rig.running(stream):
            await rig.time.asleep()
            assert stream.counters.last_cause.kind is CloseKind.OPEN_FAILED
            assert "TLS: self-signed certificate" in stream.counters.last_cause.reason
    assert rig.consumer.log == []


async def test_the_proxy_of_the_environment_is_used(rig, monkeypatch):
    requests = asyncio.Queue()

    async def proxy(reader, writer):
        requests.put_nowait(await reader.readline())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    monkeypatch.setattr("urllib.request.proxy_bypass", lambda _host: False)
    monkeypatch.setenv("no_proxy", "")
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for name in ("https_proxy", "http_proxy", "wss_proxy", "ws_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        stream = rig.stream()
        stream._url = "wss://venue.invalid/ws/market"
        async with rig.running(stream):
            await rig.time.asleep()
    assert requests.get_nowait() == b"CONNECT venue.invalid:443 HTTP/1.1\r\n"

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import socket

import pytest

from polymirror.config import StreamConfig
from polymirror.errors import VenueUnavailable
from polymirror.venue import connection as connection_module
from polymirror.venue.pieces import cut_array
from polymirror.venue.stream import CloseKind

pytestmark = pytest.mark.anyio

BOOK = '{"event_type":"book"}'
QUICK = StreamConfig(close_timeout=0.2, ping_interval=10, data_timeout=30, transport_timeout=45)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_the_first_frame_is_the_subscription_and_a_ping_comes_only_after_it(rig):
    async with rig.peer.running(), rig.running(rig.stream(config=QUICK)):
        server = await rig.peer.next()
        assert await server.recv() == '{"assets_ids":["1","2"],"type":"market"}'
        await rig.consumer.until(lambda: rig.consumer.opens == 1)
        assert await rig.time.asleep() == 10
        rig.time.advance(10)
        assert await server.recv() == "PING"
        assert await rig.time.asleep() == 10
        rig.time.advance(10)
        assert await server.recv() == "PING"


async def test_every_new_connection_asks_for_its_first_frame_anew(rig):
    texts = iter(["first", "second"])
    async with rig.peer.running(), rig.running(rig.stream(first_frame=lambda: next(texts))):
        server = await rig.peer.next()
        assert await server.recv() == "first"
        await server.close(1013, "slow consumer: send buffer full")
        await rig.consumer.until(lambda: rig.consumer.causes)
        await rig.time.asleep()
        rig.time.advance(1)
        assert await (await rig.peer.next()).recv() == "second"


async def test_without_a_first_frame_nothing_is_sent_and_no_ping_before_the_first_text(rig):
    async with rig.peer.running(), rig.running(rig.stream(first_frame=lambda: None, config=QUICK)) as stream:
        server = await rig.peer.next()
        await rig.consumer.until(lambda: rig.consumer.opens == 1)
        await rig.time.asleep()
        rig.time.advance(10)
        await rig.time.asleep()
        stream.send("subscribe")
        assert await server.recv() == "subscribe"
        rig.time.advance(10)
        assert await server.recv() == "PING"


async def test_without_a_heartbeat_text_none_is_sent(rig):
    async with rig.peer.running(), rig.running(rig.stream(config=QUICK, ping=None)) as stream:
        server = await rig.opened()
        assert await rig.time.asleep() == 30
        stream.send("last")
        assert await server.recv() == "last"


async def test_frames_arrive_in_order_as_bytes_with_the_time_they_were_read(rig):
    async with rig.peer.running(), rig.running(rig.stream()):
        server = await rig.peer.next()
        for number in range(1_000):
            await server.send(f'{{"n":{number}}}')
        await server.send(b"\x00\xff")
        await rig.consumer.until(lambda: len(rig.consumer.frames) == 1_001)
    assert rig.consumer.frames[:1_000] == [b'{"n":%d}' % number for number in range(1_000)]
    assert rig.consumer.frames[-1] == b"\x00\xff"
    assert set(rig.consumer.received_at) == {1_000.0}


async def test_on_open_comes_before_frames_and_frames_before_a_regular_close(rig):
    flood = 5_000
    async with rig.peer.running(compression=None), rig.running(rig.stream()):
        server = await rig.opened()
        # One write, so that the end of the connection is known while most frames still wait.
        server.transport.write(b"".join([b"\x81\x07" + b'{"n":1}'] * flood))
        await server.close(1000, "all subscribed assets resolved")
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert [what for what, _ in rig.consumer.log] == ["open"] + ["frame"] * flood + ["close"]
        cause = rig.consumer.causes[0]
        assert (cause.kind, cause.code, cause.reason) == (CloseKind.CLOSED, 1000, "all subscribed assets resolved")


@pytest.mark.parametrize(
    ("code", "reason"), [(1013, "slow consumer: send buffer full"), (1008, "invalid subscription payload")]
)
async def test_a_close_frame_is_reported_with_its_code_and_reason(rig, code, reason):
    async with rig.peer.running(), rig.running(rig.stream()) as stream:
        await (await rig.opened()).close(code, reason)
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert str(rig.consumer.causes[0]) == f"CLOSED {code}: {reason}"
        assert stream.counters.closes[CloseKind.CLOSED] == 1


async def test_a_broken_connection_is_a_reset(rig):
    async with rig.peer.running(), rig.running(rig.stream()):
        server = await rig.opened()
        server.transport.abort()
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert rig.consumer.causes[0].kind is CloseKind.RESET
        assert rig.consumer.causes[0].code is None


async def test_silence_with_answered_pings_is_data_silence(rig):
    async with rig.peer.running(), rig.running(rig.stream(config=QUICK)):
        server = await rig.opened()
        for number in range(1, 4):
            await rig.time.asleep()
            rig.time.advance(10)
            if number < 3:
                assert await server.recv() == "PING"
                await server.send("PONG")
                await rig.consumer.until(lambda number=number: len(rig.consumer.frames) == number)
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert rig.consumer.causes[0].kind is CloseKind.DATA_SILENCE


async def test_a_late_pong_alone_is_not_death(rig):
    async with rig.peer.running(), rig.running(rig.stream(config=QUICK)):
        server = await rig.opened()
        for number in range(1, 21):
            await rig.time.asleep()
            rig.time.advance(10)
            assert await server.recv() == "PING"
            await server.send(BOOK)
            await rig.consumer.until(lambda number=number: len(rig.consumer.frames) == number)
        assert not rig.consumer.causes


async def test_vouching_makes_silence_honest_until_the_transport_is_silent_too(rig):
    async with rig.peer.running(), rig.running(rig.stream(config=QUICK)) as stream:
        await rig.opened()
        elapsed = 0.0
        while not rig.consumer.causes:
            step = await rig.time.asleep()
            stream.vouch()
            rig.time.advance(step)
            elapsed += step
            assert elapsed <= 45
            if elapsed == 45:
                await rig.consumer.until(lambda: rig.consumer.causes)
        assert rig.consumer.causes[0].kind is CloseKind.TRANSPORT_SILENCE


async def test_a_protocol_ping_shows_that_the_transport_lives(rig):
    config = StreamConfig(close_timeout=0.2, data_timeout=1000, transport_timeout=45, ping_interval=300)
    async with rig.peer.running(), rig.running(rig.stream(config=config)):
        server = await rig.opened()
        for _ in range(5):
            await rig.time.asleep()
            await (await server.ping())
            rig.time.advance(40)
            await (await server.ping())
        assert not rig.consumer.causes


async def test_a_stall_of_the_program_is_not_silence_of_the_socket(rig):
    async with rig.peer.running(), rig.running(rig.stream(config=QUICK)):
        server = await rig.opened()
        await rig.time.asleep()
        # The frame lies unread in the socket when all timers are overdue at once.
        sending = asyncio.ensure_future(server.send(BOOK))
        rig.time.advance(100)
        await sending
        await rig.consumer.until(lambda: rig.consumer.frames)
        await rig.time.asleep()
        assert not rig.consumer.causes


async def test_an_overflow_drops_the_connection_and_counts_every_frame_not_handed_on(rig):
    config = StreamConfig(close_timeout=0.2, max_queue=100)
    async with rig.peer.running(compression=None), rig.running(rig.stream(config=config)) as stream:
        server = await rig.peer.next()
        with contextlib.suppress(Exception):
            await server.send('{"opening":1}')
            await rig.consumer.until(lambda: rig.consumer.frames)
            # One write, so that one read brings more frames than the queue may hold.
            server.transport.write(b"".join(b"\x81\x07" + b'{"n":1}' for _ in range(1_000)))
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert rig.consumer.causes[0].kind is CloseKind.OVERFLOW
        assert stream.counters.deepest_queue == 100
        assert stream.counters.frames == len(rig.consumer.frames) + stream.counters.discarded
        assert stream.counters.discarded > 0


async def test_bytes_are_bounded_as_well_as_frames(rig):
    config = StreamConfig(close_timeout=0.2, max_queue_bytes=10_000)
    async with rig.peer.running(), rig.running(rig.stream(config=config)):
        await (await rig.opened()).send('{"x":"' + "y" * 20_000 + '"}')
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert rig.consumer.causes[0].kind is CloseKind.OVERFLOW


async def test_a_message_over_the_limit_is_an_overflow(rig):
    config = StreamConfig(close_timeout=0.2, max_message=2_000)
    async with rig.peer.running(), rig.running(rig.stream(config=config)):
        await (await rig.opened()).send("x" * 3_000)
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert (rig.consumer.causes[0].kind, rig.consumer.causes[0].code) == (CloseKind.OVERFLOW, 1009)


async def test_a_frame_of_several_mebibytes_is_accepted(rig):
    book = '{"event_type":"book","x":"' + "y" * 30_000 + '"}'
    text = "[" + ",".join([book] * 100) + "]"
    async with rig.peer.running(), rig.running(rig.stream(cut=cut_array)):
        await (await rig.peer.next()).send(text)
        await rig.consumer.until(lambda: len(rig.consumer.frames) == 100)
        assert set(rig.consumer.frames) == {book.encode()}


async def test_a_flood_does_not_starve_other_tasks(rig):
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    flood = 5_000
    async with rig.peer.running(compression=None), rig.running(rig.stream()):
        server = await rig.opened()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(other())
            server.transport.write(b"".join(b"\x81\x07" + b'{"n":1}' for _ in range(flood)))
            await rig.consumer.until(lambda: len(rig.consumer.frames) == flood)
            task.cancel()
    assert turns >= flood / connection_module.MAX_SLICE_FRAMES


async def test_texts_are_sent_in_order_behind_the_first_frame(rig):
    async with rig.peer.running(), rig.running(rig.stream()) as stream:
        await rig.consumer.until(lambda: rig.consumer.opens == 1)
        for number in range(50):
            stream.send(str(number))
        server = await rig.peer.next()
        await server.recv()
        assert [await server.recv() for _ in range(50)] == [str(number) for number in range(50)]


async def test_sending_without_a_connection_says_so(rig):
    stream = rig.stream()
    with pytest.raises(VenueUnavailable, match="not connected"):
        stream.send("x")
    stream.vouch()
    stream.reconnect("nothing to give up")


async def test_sending_more_than_the_bound_ends_the_connection(rig):
    async with rig.peer.running(), rig.running(rig.stream()) as stream:
        await rig.consumer.until(lambda: rig.consumer.opens == 1)
        for _ in range(connection_module.MAX_OUTBOX):
            stream.send("x")
        with pytest.raises(VenueUnavailable, match="wait already"):
            stream.send("x")
        with pytest.raises(VenueUnavailable, match="ending"):
            stream.send("x")
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert rig.consumer.causes[0].kind is CloseKind.OVERFLOW


async def test_a_requested_reconnect_closes_politely_and_opens_again(rig):
    async with rig.peer.running(), rig.running(rig.stream()) as stream:
        server = await rig.opened()
        stream.reconnect("the snapshot never came")
        stream.reconnect("twice is once")
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert str(rig.consumer.causes[0]) == "REQUESTED: the snapshot never came"
        await rig.time.asleep()
        assert server.close_code == 1000
        rig.time.advance(1)
        await rig.consumer.until(lambda: rig.consumer.opens == 2)
        assert stream.counters.connects == 2


async def test_failed_attempts_back_off_with_full_jitter_up_to_the_cap(rig):
    rig.peer.port = free_port()
    stream = rig.stream(config=StreamConfig(backoff_base=0.25, backoff_cap=4))
    async with rig.running(stream):
        for attempt in range(1, 12):
            delay = await rig.time.asleep()
            assert 0 <= delay <= min(4, 0.25 * 2 ** (attempt - 1))
            rig.time.advance(delay)
            await asyncio.sleep(0)
    assert stream.counters.failures >= 11
    assert stream.counters.connects == 0
    assert stream.counters.last_cause.kind is CloseKind.OPEN_FAILED
    assert len(set(rig.time.slept)) == len(rig.time.slept)
    assert max(rig.time.slept) > 1
    assert rig.consumer.log == []


async def test_a_venue_that_is_away_for_hours_is_a_few_lines_with_what_was_left_out(rig, caplog):
    caplog.set_level(logging.INFO)
    rig.peer.port = port = free_port()
    stream = rig.stream(config=StreamConfig(backoff_base=0.25, backoff_cap=4, close_timeout=0.2))
    async with rig.running(stream):
        start = rig.time.clock()
        while rig.time.clock() < start + 1_000:
            rig.time.advance(await rig.time.asleep())
            await asyncio.sleep(0)
        lines = [record.getMessage() for record in caplog.records if "OPEN_FAILED" in record.getMessage()]
        failures = stream.counters.failures
        assert failures > 200
        # Four in the first ten seconds, then one for each interval that is twice as long.
        assert len(lines) <= 4 + 7
        assert lines[0].startswith("stream: OPEN_FAILED: ")
        assert not any("more of this kind" in line for line in lines[:4])
        left_out = sum(int(line.split("(")[-1].split()[0]) for line in lines[4:])
        assert failures // 4 < left_out + len(lines) <= failures
        rig.peer.port = port
        async with rig.peer.running():
            rig.time.advance(await rig.time.asleep())
            await rig.consumer.until(lambda: rig.consumer.opens == 1)
    assert f"connected to {rig.peer.url}, after {stream.counters.failures} attempts that failed" in caplog.text


async def drop_after(rig, seconds: float, attempts: int) -> list[float]:
    """Let every connection last ``seconds``, and return the waits before the next ones."""
    waits = []
    for number in range(1, attempts + 1):
        server = await rig.opened()
        await rig.time.asleep()
        rig.time.advance(seconds)
        await server.close(1013, "slow consumer")
        await rig.consumer.until(lambda number=number: len(rig.consumer.causes) == number)
        waits.append(await rig.time.asleep())
        rig.time.advance(waits[-1])
    return waits


async def test_connections_that_do_not_last_keep_the_backoff_growing(rig):
    async with rig.peer.running(), rig.running(rig.stream()):
        waits = await drop_after(rig, 1.0, 9)
    assert max(waits) > 2


async def test_a_connection_that_lasted_resets_the_backoff(rig):
    async with rig.peer.running(), rig.running(rig.stream()):
        waits = await drop_after(rig, 10.0, 9)
    assert max(waits) <= 0.25


async def test_a_refused_handshake_is_retried_after_the_time_the_venue_asked_for(rig):
    def refuse(connection, _request):
        response = connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "busy\n")
        response.headers["Retry-After"] = "7"
        return response

    async with rig.peer.running(process_request=refuse), rig.running(rig.stream()) as stream:
        assert 7 <= await rig.time.asleep() <= 7.25
        assert stream.counters.last_cause.code == 503


async def test_handshake_headers_are_made_for_each_attempt(rig):
    numbers = iter(range(10))
    async with rig.peer.running(), rig.running(rig.stream(headers=lambda: {"X-Number": str(next(numbers))})):
        for number in range(2):
            server = await rig.opened()
            assert server.request.headers["X-Number"] == str(number)
            await server.close(1013, "again")
            await rig.consumer.until(lambda number=number: len(rig.consumer.causes) == number + 1)
            rig.time.advance(await rig.time.asleep())

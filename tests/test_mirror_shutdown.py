"""The mirror's end: quick, complete and quiet, whatever ends it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time

import pytest
from attrs import evolve

from polymirror import BookState, ConfigError, Endpoints, Mirror, MirrorClosed
from polymirror.shell.listing import Listing
from polymirror.simulator import Simulator
from polymirror.venue.stream import Stream
from tests.loopback import (
    AT_ONCE,
    LOOPS,
    PATIENCE,
    Hang,
    mirror_of,
    nothing_left,
    patient,
    quiet_venue,
    settings,
    turns_until,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    return request.param


@pytest.fixture(autouse=True)
def no_complaints(caplog):
    """Fail on what the event loop logs about forgotten tasks, futures and transports."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def nowhere() -> Endpoints:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    return Endpoints(stream=f"ws://127.0.0.1:{port}/ws/market", clob=base, gamma=base)


async def test_it_ends_at_once_and_leaves_no_task_socket_or_timer() -> None:
    async with Simulator(seed=1, markets=4, rate=100) as venue, nothing_left():
        config = patient(tokens_per_socket=2)
        async with Mirror.for_slug(*venue.slugs, config=config, endpoints=venue.endpoints) as mirror:
            await mirror.wait_live(timeout=PATIENCE)
            kept = mirror.updates()
            mirror.on_update(lambda _: None)
            started = time.monotonic()
        assert time.monotonic() - started < AT_ONCE
        assert mirror._alarm._handle is None or mirror._alarm._handle.cancelled()
        assert not mirror._waits._waiters
        mirror._alarm.set(mirror.now() + 60)
        assert mirror._alarm._handle is None or mirror._alarm._handle.cancelled()
        async for _ in kept:
            pass


async def test_an_error_of_the_body_comes_out_as_it_is() -> None:
    async with quiet_venue() as venue, nothing_left():
        error, cause = ZeroDivisionError("the body's own"), KeyError("its cause")
        with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012 - the block is what is tested
            async with mirror_of(venue) as mirror:
                await mirror.wait_live(timeout=PATIENCE)
                raise error from cause
        assert caught.value is error
        assert caught.value.__cause__ is cause
        assert caught.value.__context__ is None
        group = ExceptionGroup("the body's own group", [error])
        with pytest.raises(ExceptionGroup) as caught:
            async with mirror_of(venue):
                raise group
        assert caught.value is group


async def test_a_body_that_is_cancelled_ends_cancelled() -> None:
    async with quiet_venue() as venue, nothing_left():
        with pytest.raises(TimeoutError):  # noqa: PT012 - as above
            async with asyncio.timeout(0.2), mirror_of(venue) as mirror:
                await mirror.wait_live(timeout=PATIENCE)
                await asyncio.Event().wait()
        running = asyncio.Event()

        async def body() -> None:
            async with mirror_of(venue) as mirror:
                await mirror.wait_live(timeout=PATIENCE)
                running.set()
                await mirror.updates("no token").__anext__()

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(body())
            await running.wait()
            task.cancel()
        assert task.cancelled()


async def test_a_mirror_that_still_looks_for_its_markets_ends_and_leaves_nothing() -> None:
    async with quiet_venue() as venue:
        async with nothing_left():
            async with mirror_of(venue, venue.slugs[0], "no-such-market") as mirror:
                assert list(mirror.missing) == ["no-such-market"]
            with pytest.raises(MirrorClosed):
                await mirror.start()
        down = evolve(venue.endpoints, gamma=nowhere().gamma)
        async with nothing_left(), Mirror.for_slug(venue.slugs[0], config=settings(), endpoints=down) as mirror:
            assert "connection refused" in mirror.missing[venue.slugs[0]]


async def test_any_other_error_at_the_start_is_not_wrapped_either(monkeypatch) -> None:
    async with quiet_venue(markets=2) as venue, nothing_left():
        with pytest.raises(ConfigError, match="max_tokens=2"):
            async with mirror_of(venue, max_tokens=2):
                pytest.fail("the body must not run")
        monkeypatch.setattr(Listing, "add", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            async with mirror_of(venue):
                pytest.fail("the body must not run")


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    hang = Hang()
    hang.answer = lambda call, answer, _: answer._replace(hangs=call.path == "/markets")
    async with quiet_venue(faults=(hang,)) as venue, nothing_left():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.15), mirror_of(venue):
                pytest.fail("the body must not run")


async def test_a_venue_that_is_down_is_no_reason_to_wait_at_the_end() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as other:
        [market] = other.markets
    async with nothing_left():
        async with Mirror([market], config=patient(), endpoints=nowhere()) as mirror:
            [stream] = mirror._carrier.streams
            await turns_until(lambda: stream.counters.failures >= 3)
            assert mirror.peek(mirror.tokens[0]).state is BookState.UNPRIMED
            started = time.monotonic()
        assert time.monotonic() - started < AT_ONCE


async def test_a_venue_that_accepts_and_says_nothing_is_no_reason_to_wait_at_the_end() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as other:
        [market] = other.markets
    arrived = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        mute = Endpoints(stream=f"ws{base[4:]}/ws/market", clob=base, gamma=base)
        async with nothing_left():
            async with Mirror([market], config=patient(), endpoints=mute) as mirror:
                asyncio.get_running_loop().add_reader(listener, arrived.set)
                async with asyncio.timeout(PATIENCE):
                    await arrived.wait()
                asyncio.get_running_loop().remove_reader(listener)
                assert mirror.peek(mirror.tokens[0]).state is BookState.UNPRIMED
                started = time.monotonic()
            assert time.monotonic() - started < AT_ONCE


async def test_calls_under_way_are_given_up_at_the_end() -> None:
    hang = Hang()
    async with Simulator(seed=1, rate=50, faults=[hang]) as venue, nothing_left():
        async with Mirror.for_slug(*venue.slugs, config=patient(), endpoints=venue.endpoints) as mirror:
            await mirror.wait_live(timeout=PATIENCE)
            before = mirror.clob.counters.calls
            mirror.engine.prove(mirror.tokens[0], mirror.now())
            mirror._drain()
            await until(mirror, lambda: mirror.clob.counters.calls > before)
            started = time.monotonic()
        assert time.monotonic() - started < AT_ONCE


async def test_whoever_waits_when_it_stops_is_told() -> None:
    async with quiet_venue() as venue, nothing_left():
        told: list[str] = []

        async def wait(work) -> None:
            try:
                await work
            except MirrorClosed:
                told.append("closed")

        async def read(updates) -> None:
            async for _ in updates:
                pass
            told.append("ended")

        async with asyncio.TaskGroup() as tasks:
            async with mirror_of(venue) as mirror:
                await mirror.wait_live(timeout=PATIENCE)
                tasks.create_task(wait(until(mirror, lambda: False)))
                # Woken by the last input before the end, this one looks only after it.
                tasks.create_task(wait(until(mirror, lambda: False)))
                tasks.create_task(read(mirror.updates()))
                await asyncio.sleep(0)
                mirror._drain()
            await turns_until(lambda: len(told) == 3)
        assert sorted(told) == ["closed", "closed", "ended"]


async def test_the_end_is_a_transition_of_every_live_book() -> None:
    async with quiet_venue() as venue:
        seen = []
        async with mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=PATIENCE)
            mirror.on_transition(seen.append)
        assert [(each.token, each.new) for each in seen] == [
            (token, state) for token in venue.tokens for state in (BookState.SUSPECT, BookState.RESYNCING)
        ]


async def test_a_task_that_fails_for_good_raises_its_own_error_out_of_the_block(monkeypatch) -> None:
    async def fail(self) -> None:
        raise ConfigError("proxy", "socks", "a usable proxy, or none, in the environment")

    monkeypatch.setattr(Stream, "run", fail)
    async with quiet_venue() as venue, nothing_left():
        with pytest.raises(ConfigError, match="proxy"):
            async with mirror_of(venue) as mirror:
                await mirror.wait_live(timeout=PATIENCE)

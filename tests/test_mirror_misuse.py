"""Calls about being told that would come to nothing: each is refused at once, with a sentence that says what to do."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import pytest
from attrs import evolve

from polymirror import ConfigError, Mirror, UnknownToken, Update, WrongThread
from tests.loopback import LOOPS, PATIENCE, mirror_of, quiet_venue, settings, turns_until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS[:1])
def anyio_backend(request):
    return request.param


async def test_a_token_that_is_not_mirrored_is_refused_at_the_call() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        for ask in (mirror.updates, partial(mirror.on_update, print), partial(mirror.on_trade, print)):
            with pytest.raises(UnknownToken, match="typo is not tracked by this mirror: add it first"):
                ask(mirror.tokens[0], "typo")
            ask(*mirror.tokens)


async def test_a_token_is_known_while_it_is_looked_for_and_before_the_start() -> None:
    async with quiet_venue() as venue, Mirror(tokens=["7"], config=settings(), endpoints=venue.endpoints) as mirror:
        assert "7" in mirror.missing
        mirror.updates("7").close()
        mirror.on_update(print, "7")
        market = await mirror.add_slug(venue.slugs[0])
    given = Mirror([market], tokens=["8"])
    for token in (market.up.id, "8"):
        given.updates(token).close()
    with pytest.raises(UnknownToken):
        given.updates("9")


class Caller:
    async def __call__(self, update: Update) -> None:
        raise AssertionError(update)

    async def method(self, update: Update) -> None:
        raise AssertionError(update)

    async def numbers(self, update: Update):
        yield update


ASYNC = [Caller(), Caller().method, partial(Caller().method), Caller().numbers]


@pytest.mark.parametrize("callback", ASYNC, ids=["object", "method", "partial", "generator"])
async def test_an_async_callback_is_refused_with_what_to_use_instead(callback) -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        how = r"it must be a plain function of one argument, which is called and not awaited;.*'async for update in"
        for add in (mirror.on_update, mirror.on_transition, mirror.on_trade, mirror.on_frame):
            with pytest.raises(ConfigError, match=how):
                add(callback)


async def test_what_cannot_be_called_is_refused() -> None:
    mirror = Mirror()
    for add in (mirror.on_update, mirror.on_transition, mirror.on_trade, mirror.on_frame):
        with pytest.raises(ConfigError, match="callback='not a function' is not allowed"):
            add("not a function")


async def test_a_callback_that_returns_a_coroutine_is_told_once_and_nothing_is_left_unawaited(caplog) -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        mirror.on_update(lambda update: Caller().method(update))
        mirror.resync(mirror.tokens[0])
        await turns_until(lambda: mirror.status().failed_callbacks > 0)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "it returned a coroutine, which nobody awaits; to await, iterate instead: 'async for update in" in errors[0]


async def test_another_thread_is_refused_with_both_ways_to_do_it() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        token, market = mirror.tokens[0], mirror.markets[0]
        walk = mirror.follow("btc", "15m", ahead=0)
        calls = [
            lambda: mirror.resync(token),
            lambda: mirror.follow("btc", "15m"),
            walk.stop,
            lambda: mirror.add_event("x"),
            lambda: mirror.remove_event("x"),
            lambda: mirror.add_market(market),
            lambda: mirror.remove_market(market.condition_id),
            lambda: asyncio.run(mirror.add_slug(market.slug)),
            lambda: asyncio.run(mirror.add_token(token)),
            lambda: asyncio.run(mirror.prove(token)),
            lambda: asyncio.run(mirror.wait_live(token)),
            lambda: asyncio.run(mirror.wait_settled(token)),
            lambda: asyncio.run(mirror.until(lambda: True)),
            lambda: asyncio.run(mirror.stop()),
            mirror.updates,
            mirror.events,
            lambda: mirror.on_update(print),
            lambda: mirror.on_transition(print),
            lambda: mirror.on_trade(print),
            lambda: mirror.on_frame(print),
        ]
        how = r"runs in thread 'MainThread' and was called in thread 'asyncio_\d+'.*threadsafe.*BackgroundMirror"
        for call in calls:
            with pytest.raises(WrongThread, match=how):
                await asyncio.to_thread(call)
        assert mirror.markets == (market,)
        with pytest.raises(RuntimeError):
            await asyncio.to_thread(mirror.resync, token)
        assert mirror.status().running


async def test_the_debug_mode_of_asyncio_refuses_reads_of_another_thread_as_well() -> None:
    asyncio.get_running_loop().set_debug(True)
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        for read in (mirror.live, mirror.top, mirror.peek):
            read(mirror.tokens[0])
            with pytest.raises(WrongThread, match="BackgroundMirror"):
                await asyncio.to_thread(read, mirror.tokens[0])


async def test_a_callback_that_always_fails_is_one_traceback_and_a_count(caplog) -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)

        def fail(what: object) -> None:
            raise LookupError(f"nothing for {type(what).__name__}")

        mirror.on_update(fail)
        mirror.on_transition(fail)
        for _ in range(20):
            mirror.resync(mirror.tokens[0])
            await mirror.wait_live(timeout=PATIENCE)
        await turns_until(lambda: mirror.status().failed_callbacks >= 50)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage().partition(" raised ")[0].split(": ")[0] for record in errors] == [
        "a transition callback failed",
        "an update callback failed",
    ]
    assert all(record.exc_info and "fail raised LookupError: nothing for" in record.getMessage() for record in errors)
    assert mirror.status().failed_callbacks >= 50


async def test_the_number_of_callbacks_and_iterations_is_bounded() -> None:
    mirror = Mirror(config=evolve(settings(), max_subscribers=2))
    for add in (mirror.on_transition, mirror.on_trade, mirror.on_frame):
        removes = [add(print), add(print)]
        with pytest.raises(ConfigError, match="max_subscribers=2"):
            add(print)
        removes[0]()
        removes[0]()
        add(print)
    streams = [mirror.events(), mirror.events()]
    with pytest.raises(ConfigError, match="max_subscribers=2"):
        mirror.events()
    streams[0].close()
    mirror.events()

"""Calls about being told that would come to nothing: each is refused at once, with a sentence that says what to do."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from polymirror import ConfigError, Mirror, MirrorClosed, UnknownToken, Update, WrongThread
from tests.loopback import LOOPS, PATIENCE, mirror_of, quiet_venue, settings, turns_until

if TYPE_CHECKING:
    from collections.abc import Callable

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


async def test_what_can_be_no_name_is_refused_with_where_it_goes() -> None:
    token, condition = "8" * 77, "0x" + "a" * 64
    for make, how in [
        (lambda: Mirror(slugs=[token]), "a slug, and not an id; ids of tokens go into tokens="),
        (lambda: Mirror.for_slug(condition), "a slug, and not an id"),
        (lambda: Mirror(tokens=["btc-updown-15m-1790000100"]), "a text of digits; slugs go into slugs="),
        (lambda: Mirror(tokens=[int(token)]), "slugs are given as slugs="),
        (lambda: Mirror(["btc"]), "each a Market; slugs are given as slugs="),
        (lambda: Mirror("btc"), "several: a list, also for one; slugs are given as slugs="),
        (lambda: Mirror.for_event(["election"]), "a text: a slug, or the address of a page"),
        (Mirror.for_slug, "at least one; a mirror to which markets are added later is"),
        (Mirror.for_event, "at least one"),
    ]:
        with pytest.raises(ConfigError, match=how):
            make()
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        for add, how in [
            (lambda: mirror.add_slug(None), "slug=None is not allowed: it must be a text: a slug, or"),
            (lambda: mirror.add_slug(mirror.tokens[0]), "a slug, and not an id"),
            (lambda: mirror.add_token(int(token)), "the id of a token, a text of digits"),
            (lambda: mirror.add_token(venue.slugs[0]), "slugs go into slugs=.*, or to add_slug"),
        ]:
            with pytest.raises(ConfigError, match=how):
                await add()
        with pytest.raises(ConfigError, match="market='btc' is not allowed: it must be a Market"):
            mirror.add_market("btc")
        for wrong in (int(mirror.tokens[0]), mirror.markets[0].up, venue.slugs[0]):
            with pytest.raises(UnknownToken, match="tokens are named by text of digits, as in market"):
                mirror.live(wrong)


async def test_what_cannot_be_waited_for_is_refused() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        for timeout in (-1, float("nan"), "5", None):
            with pytest.raises(ConfigError, match="a finite number of seconds from 0 on"):
                await mirror.until(lambda: True, timeout=timeout)
        for holds in (True, Caller().method):
            with pytest.raises(ConfigError, match="it must be a plain function without arguments"):
                await mirror.until(holds)


async def test_a_mirror_that_was_stopped_says_so_and_one_that_never_ran_says_how() -> None:
    async with quiet_venue() as venue:
        mirror = mirror_of(venue)
        with pytest.raises(MirrorClosed, match=r"does not run yet: call start\(\) first, or use it in 'async with'"):
            mirror.resync("1")
        async with mirror:
            pass
        for call in (
            lambda: mirror.resync("1"),
            lambda: mirror.remove_market("0x"),
            lambda: mirror.follow("btc", "5m"),
        ):
            with pytest.raises(MirrorClosed, match="the mirror was stopped: make another one"):
                call()


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


async def _result(result: object) -> object:
    return await result if iscoroutine(result) else result


async def test_several_tokens_where_one_belongs_are_refused_with_how_to_name_one() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        up, down = mirror.tokens
        calls: list[Callable[[Any], Any]] = [
            mirror.live, mirror.top, mirror.peek, mirror.market_of, mirror.resync, mirror.remove_market,
            mirror.prove, mirror.wait_settled, mirror.wait_live,
        ]  # fmt: skip
        for given in ([up], [up, down], {up}, (up, down), {up: 1}):
            for call in calls:
                with pytest.raises(UnknownToken, match=r"no token: one is named at a time, .* as in market\.up\.id"):
                    await _result(call(given))
        for listen in (mirror.updates, partial(mirror.on_update, print), partial(mirror.on_trade, print)):
            with pytest.raises(ConfigError, match=r"name them one by one, as in updates\(up, down\)"):
                listen([up])


async def test_a_flag_that_is_neither_true_nor_false_is_refused() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        view = mirror.live(mirror.tokens[0])
        for walk in (view.cost_to_buy, view.proceeds_of_selling, view.buy_with, view.sell_for):
            for wrong in ("yes", "no", 1, None):
                with pytest.raises(ConfigError, match=r"fees=.* is not allowed: it must be True or False"):
                    walk(1, fees=wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="floats='yes' is not allowed: it must be True or False"):
            view.to_frame(floats="yes")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="retired_ok=0 is not allowed: it must be True or False"):
            await mirror.wait_live(retired_ok=0)  # type: ignore[arg-type]


def test_what_people_call_an_asset_is_refused_with_its_short_name() -> None:
    for asset, short in (("bitcoin", "btc"), ("Ethereum", "eth"), ("solana", "sol"), ("dogecoin", "doge")):
        for call in (Mirror.for_windows, Mirror().follow):
            for interval in ("15m", "1h"):
                with pytest.raises(ConfigError, match=f"the short name of an asset: {short} for this one"):
                    call(asset, interval)
    with pytest.raises(ConfigError, match="the short name of an asset, such as btc"):
        Mirror.for_windows(5, "15m")  # type: ignore[arg-type]

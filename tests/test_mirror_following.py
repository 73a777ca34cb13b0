"""Rolling windows are walked: the next market is LIVE before it opens, old ones go, nothing grows. In virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from polymirror import BookState, ConfigError, EngineConfig, Mirror, MirrorClosed, MirrorConfig, NotLive
from polymirror.shell import following
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.settings import DEFAULT_START_MS, RoundsConfig
from polymirror.simulator.virtual import VirtualVenue, run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from polymirror.venue.market import Market

START = DEFAULT_START_MS // 1000
WINDOW = 300


def rounds(**settings: object) -> ExchangeConfig:
    quiet = FlowConfig(rate=0.05, volatility=0.001)
    config = RoundsConfig(**({"assets": ("btc",), "window_s": WINDOW, "flow": quiet, "keep_s": 600.0} | settings))
    return ExchangeConfig(seed=3, new_market_every_ms=None, rounds=config)


def in_virtual_time(scenario: Callable[[VirtualVenue, Mirror], Awaitable[None]], **settings: object) -> None:
    """Run a scenario with a mirror, not started yet, of a venue with rolling windows of five minutes."""

    async def run() -> None:
        async with VirtualVenue(Exchange(rounds(**settings)), seed=1) as venue:
            config = MirrorConfig(seed=1, engine=EngineConfig(max_proof_age=60.0))
            await scenario(venue, Mirror(config=config, endpoints=venue.endpoints, network=venue.network))

    run_virtual(run, limit=10_000.0)


def unix(venue: VirtualVenue) -> float:
    return venue.wall_ms() / 1000


def starts(markets: tuple[Market, ...]) -> list[int]:
    return [market.window_start - START for market in markets]


async def sleep_until(venue: VirtualVenue, moment: float) -> None:
    await asyncio.sleep(moment - unix(venue))


def all_live(mirror: Mirror, market: Market) -> bool:
    return all(mirror.live(token).state is BookState.LIVE for token in market.token_ids)


def test_each_next_window_is_live_before_it_opens_and_old_ones_go() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        walk = mirror.follow("btc", "5m")
        seen: list[tuple[int, int, int]] = []
        async with mirror:
            await mirror.wait_live()
            assert starts(mirror.markets) == [0, WINDOW]
            for number in range(1, 13):
                opens = START + number * WINDOW
                await sleep_until(venue, opens - 1)
                coming = walk.next
                assert coming.window_start == opens
                assert all_live(mirror, coming)
                await sleep_until(venue, opens + 0.5)
                assert walk.current is mirror.current("BTC", "5m") is coming
                assert all_live(mirror, coming)
                # The last one is traded until it is settled, and then it goes.
                assert all_live(mirror, mirror.market_of(walk.markets[0].up.id))
                await sleep_until(venue, opens + WINDOW / 2 + 40)
                assert starts(walk.markets) == starts(mirror.markets) == [opens - START, opens - START + WINDOW]
                assert not mirror.missing
                seen.append((len(asyncio.all_tasks()), len(mirror.status().sockets), len(mirror.engine.tokens)))
            assert len(set(seen[1:])) == 1
            walk.stop()
            walk.stop()
            assert mirror.markets == ()
            with pytest.raises(NotLive, match="not followed any more"):
                _ = walk.current
            with pytest.raises(ConfigError, match=r"call follow\(\.\.\.\) first"):
                mirror.current("btc", "5m")

    in_virtual_time(scenario)


def test_without_windows_ahead_the_next_is_mirrored_a_minute_before_it_opens() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        walk = mirror.follow("btc", "5m", ahead=0, behind=1)
        async with mirror:
            await asyncio.sleep(1)
            assert starts(mirror.markets) == [0]
            assert list(mirror.missing) == [f"btc-updown-5m-{START - WINDOW}"]
            with pytest.raises(
                NotLive, match=f"btc-updown-5m-{START + WINDOW} is UNPRIMED.*0 windows ahead, and the next"
            ):
                _ = walk.next
            await sleep_until(venue, START + WINDOW - following.LEAD + following.STEP + 2)
            assert all_live(mirror, walk.next)
            # One behind stays, settled or not.
            await sleep_until(venue, START + 2 * WINDOW - following.LEAD - 2)
            assert starts(mirror.markets) == [0, WINDOW]
            assert mirror.peek(walk.markets[0].up.id).state is BookState.RETIRED
            await sleep_until(venue, START + 2 * WINDOW + following.STEP + 1)
            assert starts(mirror.markets) == [WINDOW, 2 * WINDOW]

    in_virtual_time(scenario, ahead=2)


def test_a_market_that_is_never_settled_goes_some_time_after_its_end() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        walk = mirror.follow("btc", "5m", ahead=0)
        async with mirror:
            ended = START + WINDOW
            await sleep_until(venue, ended + following.KEEP - 2)
            assert starts(walk.markets)[0] == 0
            assert all_live(mirror, walk.markets[0])
            await sleep_until(venue, ended + following.KEEP + following.STEP)
            assert 0 not in starts(mirror.markets)

    in_virtual_time(scenario, settle_delay_s=3_000.0)


def test_what_the_venue_does_not_list_is_told_with_its_cause_and_forgotten_when_it_is_over() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        walk = mirror.follow("doge", "5m")
        async with mirror:
            for number in range(4):
                await sleep_until(venue, START + number * WINDOW + 10)
                current = f"doge-updown-5m-{START + number * WINDOW}"
                assert list(mirror.missing) == [current, f"doge-updown-5m-{START + (number + 1) * WINDOW}"]
                with pytest.raises(NotLive, match=f"its market is not found yet: no market with slug {current}"):
                    _ = walk.current

    in_virtual_time(scenario)


def test_a_walk_begun_while_the_mirror_runs_and_two_that_share_windows() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        async with mirror:
            await asyncio.sleep(10)
            one, other = mirror.follow("btc", "5m"), mirror.follow("btc", "5m", ahead=0)
            await mirror.wait_live()
            assert (starts(one.markets), starts(other.markets)) == ([0, WINDOW], [0])
            one.stop()
            assert starts(mirror.markets) == [0]
            # What the user named stays, whoever walked past.
            kept = await mirror.add_slug(other.current.slug)
            other.stop()
            assert mirror.markets == (kept,)
            again = mirror.follow("btc", "5m")
            await mirror.wait_live()
            await sleep_until(venue, START + WINDOW + following.KEEP + 10)
            assert kept in mirror.markets
            assert again.current in mirror.markets
        with pytest.raises(MirrorClosed, match="make another one"):
            mirror.follow("btc", "5m")

    in_virtual_time(scenario)


def test_what_the_user_removed_does_not_come_back() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        walk = mirror.follow("btc", "5m")
        async with mirror:
            await mirror.wait_live()
            mirror.remove_market(walk.current.condition_id)
            await asyncio.sleep(3 * following.STEP)
            assert starts(mirror.markets) == [WINDOW]
            with pytest.raises(NotLive, match="its market was removed"):
                _ = walk.current

    in_virtual_time(scenario)


def test_windows_are_those_of_the_venues_clock_once_it_is_known() -> None:
    """This machine's clock is an hour late; the venue's first answers say so."""

    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        del mirror
        network = evolve(venue.network, wall=lambda: unix(venue) - 3_600)
        mirror = Mirror(endpoints=venue.endpoints, network=network)
        walk = mirror.follow("btc", "5m")
        async with mirror:
            await asyncio.sleep(2)
            assert starts(mirror.markets) == [0, WINDOW]
            assert all_live(mirror, walk.current)
            assert not mirror.missing

    in_virtual_time(scenario)


def test_a_mirror_for_windows() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        del mirror
        where = {"endpoints": venue.endpoints, "network": venue.network}
        async with Mirror.for_windows("btc", "5m", ahead=1, **where) as mirror:
            mirror.follow("eth", "5m", ahead=0)
            await mirror.wait_live()
            assert [market.slug for market in mirror.markets] == [
                f"{asset}-updown-5m-{START + after}" for asset, after in (("btc", 0), ("btc", WINDOW), ("eth", 0))
            ]
            assert mirror.current("eth", "5m").slug.startswith("eth")

    in_virtual_time(scenario, assets=("btc", "eth"))


def test_hours_have_names_of_their_own() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        walk = mirror.follow("sol", "1h")
        async with mirror:
            await mirror.wait_live()
            assert walk.current.slug.startswith("solana-up-or-down-")
            assert all_live(mirror, walk.next)
        assert repr(walk) == "<Following sol 1h, 1 ahead, 0 behind>"

    in_virtual_time(scenario, assets=("sol",), window_s=3_600)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"interval": "4h"}, "one of 5m, 15m, 1h, 1d; others have no formula"),
        ({"asset": "hype", "interval": "1h"}, "asset='hype' is not allowed"),
        ({"asset": "btc/usd"}, "the short name of an asset"),
        ({"ahead": -1}, "ahead=-1 is not allowed: it must be a whole number between 0 and 300 windows"),
        ({"behind": 1.5}, "behind=1.5 is not allowed"),
        ({"ahead": True}, "ahead=True is not allowed"),
    ],
)
def test_what_cannot_be_walked_is_refused_at_the_call(arguments, told) -> None:
    with pytest.raises(ConfigError, match=told):
        Mirror().follow(**({"asset": "btc", "interval": "5m"} | arguments))


def test_there_is_room_for_so_many_walks(monkeypatch) -> None:
    monkeypatch.setattr(following, "MAX_FOLLOWINGS", 2)
    mirror = Mirror()
    first = mirror.follow("btc", "5m")
    mirror.follow("eth", "5m")
    with pytest.raises(ConfigError, match="at most 2 at once: stop some"):
        mirror.follow("sol", "5m")
    first.stop()
    mirror.follow("sol", "5m")


def test_a_walk_that_was_named_long_before_the_start_begins_where_it_starts() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        mirror.follow("btc", "5m", ahead=0)
        await sleep_until(venue, START + 2 * WINDOW + 5)
        async with mirror:
            assert starts(mirror.markets) == [2 * WINDOW]

    in_virtual_time(scenario)


def test_two_hours_of_one_name_are_not_taken_for_each_other() -> None:
    """The clocks go back at 6 o'clock UTC: both hours from 5 to 7 are called 1 am."""
    first = 1_793_509_200

    async def run() -> None:
        config = evolve(rounds(window_s=3_600, ahead=0), start_ms=first * 1_000)
        async with VirtualVenue(Exchange(config), seed=1) as venue:
            where = {"endpoints": venue.endpoints, "network": venue.network}
            async with Mirror.for_windows("btc", "1h", ahead=0, **where) as mirror:
                await mirror.wait_live()
                assert mirror.current("btc", "1h").window_end == first + 3_600
                await sleep_until(venue, first + 3_600 + 1)
                with pytest.raises(NotLive, match=f"ends at {first + 3_600}, and not at {first + 7_200}"):
                    mirror.current("btc", "1h")

    run_virtual(run, start_ms=first * 1_000, limit=10_000.0)


def test_what_is_found_after_nobody_needs_it_any_more_is_not_mirrored() -> None:
    async def scenario(venue: VirtualVenue, mirror: Mirror) -> None:
        async with mirror:
            await asyncio.sleep(1)
            walk = mirror.follow("btc", "5m")
            # The question is under way: the way takes at least 20 ms.
            await asyncio.sleep(0.01)
            walk.stop()
            await asyncio.sleep(1)
            assert mirror.markets == ()
            assert not mirror.missing

    in_virtual_time(scenario)

"""Whole events: all open markets of each, found like slugs, and new ones now and then."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from polymirror import BookState, ConfigError, EngineConfig, Mirror, MirrorConfig, NotLive
from polymirror.shell.listing import EVENT_AGAIN, RETRY_UNKNOWN
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.frames import Answer
from polymirror.simulator.surface.gamma import market_object
from polymirror.simulator.virtual import VirtualVenue, run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from polymirror.simulator.frames import Call

ELECTION = "winner-2028"
MISSING = f"event {ELECTION}"


class Election:
    """A service that knows one event, of as many of the exchange's markets as it is told, each a neg-risk question."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.shown = len(exchange.markets)
        # What is different about a market, by its place; and whether the event is known at all.
        self.odd: dict[int, dict[str, Any]] = {}
        self.known = True
        self.asked = 0

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        del now_ms
        if call.path != "/events":
            return None
        self.asked += 1
        slug = call.query["slug"]
        if not self.known or slug != ELECTION or call.query.get("closed") == "true":
            return Answer(200, "[]")
        markets = [
            market_object(market) | {"outcomes": json.dumps(["Yes", "No"])} | self.odd.get(number, {})
            for number, market in enumerate(self.exchange.markets[: self.shown])
        ]
        return Answer(200, json.dumps([{"slug": slug, "negRisk": True, "markets": markets}]))


def in_virtual_time(scenario: Callable[[Election, Mirror], Awaitable[None]], *events: str, markets: int = 4) -> None:
    """Run a scenario with a mirror of events, not started yet."""

    async def run() -> None:
        quiet = FlowConfig(rate=0.1)
        exchange = Exchange(ExchangeConfig(seed=3, markets=markets, flow=quiet, new_market_every_ms=None))
        election = Election(exchange)
        async with VirtualVenue(exchange, seed=1, services=[election]) as venue:
            config = MirrorConfig(seed=1, engine=EngineConfig(max_proof_age=60.0))
            where = {"endpoints": venue.endpoints, "network": venue.network}
            mirror = Mirror.for_event(*events, config=config, **where) if events else Mirror(config=config, **where)
            await scenario(election, mirror)

    run_virtual(run)


def test_all_markets_of_an_event_are_mirrored_in_its_order() -> None:
    async def scenario(election: Election, mirror: Mirror) -> None:
        with pytest.raises(NotLive, match=f"{MISSING} is UNPRIMED.*it is not found yet: not looked up yet"):
            mirror.event_markets(ELECTION)
        async with mirror:
            await mirror.wait_live()
            markets = mirror.event_markets(ELECTION)
            assert [market.slug for market in markets] == list(election.exchange.slugs)
            assert mirror.markets == markets
            asks = [mirror.live(market.yes.id).best_ask for market in markets]
            assert len(asks) == 30
            assert sum(ask.price for ask in asks) > 0
            # The order stays, whatever the venue's is later.
            election.exchange.markets = election.exchange.markets[::-1]
            await asyncio.sleep(EVENT_AGAIN + 1)
            assert election.asked == 2
            assert mirror.event_markets(f"https://polymarket.com/event/{ELECTION}") == markets

    in_virtual_time(scenario, f"https://polymarket.com/event/{ELECTION}/some-market?tid=1", markets=30)


def test_an_event_that_is_not_known_yet_is_told_and_found_later() -> None:
    async def scenario(election: Election, mirror: Mirror) -> None:
        election.known = False
        async with mirror:
            assert mirror.missing == {MISSING: f"no event with slug {ELECTION} (yet)"}
            with pytest.raises(NotLive, match=rf"^{MISSING} is UNPRIMED.*no event with .* \(yet\); waited"):
                await mirror.wait_live(timeout=1)
            election.known = True
            await asyncio.sleep(RETRY_UNKNOWN)
            await mirror.wait_live()
            assert len(mirror.event_markets(ELECTION)) == 4
            assert not mirror.missing

    in_virtual_time(scenario, ELECTION)


def test_new_markets_of_an_event_are_picked_up() -> None:
    async def scenario(election: Election, mirror: Mirror) -> None:
        election.shown = 2
        election.odd[3] = {"clobTokenIds": "[]"}
        async with mirror:
            await mirror.wait_live()
            assert len(mirror.event_markets(ELECTION)) == 2
            election.shown = 4
            await asyncio.sleep(EVENT_AGAIN + 1)
            # The last one is announced and has no tokens yet: nobody waits for that.
            assert len(mirror.event_markets(ELECTION)) == 3
            assert not mirror.missing
            election.odd.clear()
            await asyncio.sleep(EVENT_AGAIN + 1)
            await mirror.wait_live()
            assert [market.slug for market in mirror.event_markets(ELECTION)] == list(election.exchange.slugs)

    in_virtual_time(scenario, ELECTION)


def test_closed_markets_are_left_out_and_an_event_with_no_other_is_missing() -> None:
    async def scenario(election: Election, mirror: Mirror) -> None:
        election.odd = {number: {"closed": True} for number in range(4)}
        async with mirror:
            assert mirror.missing == {MISSING: f"none of the 4 markets of event {ELECTION} is open"}
            del election.odd[1]
            await asyncio.sleep(RETRY_UNKNOWN + 1)
            await mirror.wait_live()
            assert [market.slug for market in mirror.event_markets(ELECTION)] == [election.exchange.slugs[1]]
            # One that closes while it is mirrored is not taken away: its books are RETIRED in their own time.
            election.odd[1] = {"closed": True}
            await asyncio.sleep(EVENT_AGAIN + 1)
            assert len(mirror.event_markets(ELECTION)) == 1

    in_virtual_time(scenario, ELECTION)


def test_an_event_of_which_a_market_cannot_be_read_is_not_whole() -> None:
    async def scenario(election: Election, mirror: Mirror) -> None:
        election.odd[1] = {"orderMinSize": "many"}
        async with mirror:
            await mirror.wait_live(*mirror.tokens)
            assert len(mirror.markets) == 3
            with pytest.raises(NotLive, match="orderMinSize"):
                mirror.event_markets(ELECTION)
            with pytest.raises(NotLive, match="orderMinSize"):
                await mirror.wait_live(timeout=1)
            election.odd.clear()
            await asyncio.sleep(RETRY_UNKNOWN + 1)
            assert len(mirror.event_markets(ELECTION)) == 4

    in_virtual_time(scenario, ELECTION)


def test_what_there_is_no_room_for_ends_the_start_and_is_told_later() -> None:
    async def run() -> None:
        exchange = Exchange(ExchangeConfig(seed=3, markets=3, flow=FlowConfig(rate=0.1), new_market_every_ms=None))
        election = Election(exchange)
        async with VirtualVenue(exchange, seed=1, services=[election]) as venue:
            config = MirrorConfig(seed=1, engine=EngineConfig(max_tokens=4))
            where = {"config": config, "endpoints": venue.endpoints, "network": venue.network}
            with pytest.raises(ConfigError, match="max_tokens=4"):
                await Mirror.for_event(ELECTION, **where).start()
            election.shown = 2
            async with Mirror.for_event(ELECTION, **where) as mirror:
                await mirror.wait_live()
                election.shown = 3
                await asyncio.sleep(EVENT_AGAIN + 1)
                assert "max_tokens=4" in mirror.missing[MISSING]
                assert all(mirror.live(token).state is BookState.LIVE for token in mirror.tokens)
                mirror.remove_event(ELECTION)
                assert mirror.markets == ()

    run_virtual(run)


def test_events_come_and_go_while_a_mirror_runs() -> None:
    async def scenario(election: Election, mirror: Mirror) -> None:
        async with mirror:
            mirror.add_event(ELECTION)
            kept = await mirror.add_slug(election.exchange.slugs[2])
            await mirror.wait_live()
            assert set(mirror.event_markets(ELECTION)) == set(mirror.markets)
            first = mirror.event_markets(ELECTION)[0]
            mirror.remove_market(first.condition_id)
            await asyncio.sleep(EVENT_AGAIN + 1)
            # What the user removed does not come back, and what the user added stays.
            assert first not in mirror.markets
            mirror.remove_event(ELECTION)
            assert mirror.markets == (kept,)
            for unknown in (mirror.event_markets, mirror.remove_event):
                with pytest.raises(ConfigError, match="an event of this mirror"):
                    unknown(ELECTION)
            asked = election.asked
            await asyncio.sleep(2 * EVENT_AGAIN)
            assert election.asked == asked

    in_virtual_time(scenario)


def test_a_market_and_an_event_of_the_same_name_do_not_get_mixed_up() -> None:
    async def run() -> None:
        exchange = Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=0.1), new_market_every_ms=None))
        async with VirtualVenue(exchange, seed=1) as venue:
            (slug,) = exchange.slugs
            where = {"endpoints": venue.endpoints, "network": venue.network}
            mirror = Mirror.for_slug(slug, **where)
            mirror.add_event(slug)
            assert list(mirror.missing) == [slug, f"event {slug}"]
            async with mirror:
                assert mirror.event_markets(slug) == mirror.markets
                mirror.remove_event(slug)
                assert [market.slug for market in mirror.markets] == [slug]

    run_virtual(run)


def test_what_is_no_event_is_refused_at_the_call() -> None:
    with pytest.raises(ConfigError, match="this is a market's"):
        Mirror.for_event("https://polymarket.com/market/m")
    with pytest.raises(ConfigError, match="a slug such as"):
        Mirror().add_event("")

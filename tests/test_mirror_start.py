"""A mirror starts whatever the venue does: what is missing is told with its cause, and looked for until it is found."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from attrs import evolve

from polymirror import BookState, ConfigError, Mirror, MirrorClosed, MirrorConfig, NotLive, UnknownToken
from polymirror.errors import VenueUnavailable
from polymirror.shell import listing
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.virtual import NetworkConfig, VirtualVenue, run_virtual
from tests.loopback import LOOPS, PATIENCE, Hang, mirror_of, nothing_left, quiet_venue, settings, turns_until

if TYPE_CHECKING:
    from polymirror.simulator.frames import Answer, Call
    from polymirror.venue.network import Network
    from polymirror.venue.wires import AnyWire

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS[:1])
def anyio_backend(request):
    return request.param


async def test_an_unknown_slug_is_told_with_its_cause_and_the_others_run() -> None:
    async with quiet_venue() as venue, mirror_of(venue, venue.slugs[0], "btc-typo") as mirror:
        assert list(mirror.missing) == ["btc-typo"]
        await mirror.wait_live(*venue.tokens, timeout=PATIENCE)
        told = r"^btc-typo is UNPRIMED.*no market with slug btc-typo \(yet\); waited"
        with pytest.raises(NotLive, match=told):
            await mirror.wait_live(timeout=0.01)


async def test_each_that_is_missing_is_named_and_what_keeps_all_away_is_told_once() -> None:
    async with quiet_venue() as venue:
        async with mirror_of(venue, "btc-typo", "eth-typo") as mirror:
            told = r"waited 0\.01 s; eth-typo is UNPRIMED: .*not found yet: no market with slug eth-typo \(yet\)$"
            with pytest.raises(NotLive, match=told):
                await mirror.wait_live(timeout=0.01)
        [slug] = venue.slugs[:1]
        nobody = evolve(venue.endpoints, stream="ws://127.0.0.1:9/ws/market")
        async with Mirror.for_slug(slug, config=settings(), endpoints=nobody) as mirror:
            await turns_until(lambda: mirror.status().trouble != "")
            told = rf": {slug} Up; connection refused; waited 0\.01 s; {slug} Down is UNPRIMED$"
            with pytest.raises(NotLive, match=told):
                await mirror.wait_live(timeout=0.01)


def test_a_market_that_was_over_before_is_retired_as_soon_as_that_is_known() -> None:
    exchange = Exchange(ExchangeConfig(seed=7, flow=FlowConfig(rate=10)))

    async def scene() -> None:
        async with VirtualVenue(exchange, seed=7) as venue:
            exchange.settle(exchange.slugs[0])
            await asyncio.sleep(600)
            mirror = Mirror.for_slug(exchange.slugs[0], endpoints=venue.endpoints, network=venue.network)
            async with mirror:
                started = mirror.now()
                with pytest.raises(NotLive, match=r"is RETIRED .*Up: its market is over"):
                    await mirror.wait_live(timeout=30)
                assert mirror.now() - started < 1
                # And stays so while its last book is all that the venue has.
                await asyncio.sleep(700)
                with pytest.raises(NotLive, match=r"is RETIRED .*Up: its market is over"):
                    await mirror.wait_live(timeout=30)

    run_virtual(scene)


async def test_a_token_is_known_before_its_market_is_found() -> None:
    async with quiet_venue() as venue, Mirror(tokens=["7"], config=settings(), endpoints=venue.endpoints) as mirror:
        assert mirror.tokens == ("7",)
        for read in (mirror.live, mirror.top, mirror.peek, mirror.market_of):
            with pytest.raises(NotLive, match="its market is not found yet: no market with token 7"):
                read("7")
        assert mirror.reads["refused"] == 2
        with pytest.raises(NotLive, match="not found yet"):
            await mirror.prove("7")
        with pytest.raises(UnknownToken):
            mirror.live("8")


async def test_markets_and_their_tokens_know_each_other() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        up, down = mirror.tokens
        market = mirror.market_of(up)
        assert market is mirror.market_of(down)
        assert (market.slug, market.up.id, market.down.id) == (venue.slugs[0], up, down)
        mirror.remove_market(market.condition_id)
        with pytest.raises(UnknownToken):
            mirror.market_of(up)


def hiding(slugs: set[str]) -> Hang:
    """A discovery service that does not know these markets yet."""

    def answer(call: Call, answer: Answer, _now_ms: int) -> Answer:
        if call.path != "/markets":
            return answer
        return answer._replace(body=json.dumps([each for each in json.loads(answer.body) if each["slug"] not in slugs]))

    fault = Hang()
    fault.answer = answer
    return fault


async def test_what_is_not_known_yet_is_looked_for_again(monkeypatch) -> None:
    monkeypatch.setattr(listing, "RETRY_UNKNOWN", 0.02)
    hidden: set[str] = set()
    async with quiet_venue(markets=2, faults=(hiding(hidden),)) as venue:
        hidden.add(venue.slugs[1])
        async with mirror_of(venue) as mirror:
            assert set(mirror.missing) == hidden
            hidden.clear()
            await mirror.wait_live(timeout=PATIENCE)
            assert not mirror.missing
            assert mirror.tokens == venue.tokens


async def test_start_and_stop_without_a_block() -> None:
    async with quiet_venue() as venue, nothing_left():
        mirror = mirror_of(venue)
        await mirror.stop()
        assert await mirror.start() is mirror
        await mirror.wait_live(timeout=PATIENCE)
        await mirror.stop()
        await mirror.stop()
        with pytest.raises(MirrorClosed, match="make another one"):
            await mirror.start()
        with pytest.raises(MirrorClosed, match="the mirror was stopped: make another one"):
            await mirror.wait_live()
        with pytest.raises(MirrorClosed, match=r"call start\(\) first, or use it in 'async with'"):
            await mirror_of(venue).wait_live()


async def test_what_the_settings_have_no_room_for_ends_the_start_and_no_mirror_that_runs(monkeypatch) -> None:
    monkeypatch.setattr(listing, "RETRY_UNKNOWN", 0.02)
    hidden: set[str] = set()
    async with quiet_venue(markets=2, faults=(hiding(hidden),)) as venue:
        with pytest.raises(ConfigError, match="max_tokens=2"):
            await mirror_of(venue, max_tokens=2).start()
        hidden.add(venue.slugs[1])
        async with mirror_of(venue, max_tokens=2) as mirror:
            await mirror.wait_live(*venue.tokens[:2], timeout=PATIENCE)
            hidden.clear()
            await turns_until(lambda: "max_tokens=2" in mirror.missing[venue.slugs[1]])
            assert mirror.live(venue.tokens[0]).state is BookState.LIVE


@pytest.mark.parametrize("known", ["slug", "token", "market"])
def test_a_mirror_that_starts_without_a_network_is_live_soon_after_it_is_back(known: str) -> None:
    """Three seconds of virtual time, whatever the outage taught the backoff."""

    async def scenario() -> None:
        exchange = Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=1.0), new_market_every_ms=None))
        async with VirtualVenue(exchange, seed=1) as venue:
            network, down = cut_off(venue.network)
            asked: dict[str, list[object]] = {"slug": [exchange.slugs[0]], "token": [exchange.tokens[1]]}
            if known == "market":
                async with Mirror.for_slug(*exchange.slugs, endpoints=venue.endpoints, network=venue.network) as first:
                    asked["market"] = list(first.markets)
            down.set()
            config = MirrorConfig(seed=1)
            named = {known + "s": asked[known]}
            async with Mirror(**named, config=config, endpoints=venue.endpoints, network=network) as mirror:
                with pytest.raises(NotLive, match="Network is unreachable") as caught:
                    await mirror.wait_live(timeout=300)
                assert str(caught.value).isprintable()
                down.clear()
                await mirror.wait_live(timeout=3)

    run_virtual(scenario)


def test_two_hundred_slugs_are_looked_up_in_four_calls_and_live_soon() -> None:
    """A call takes 100 ms; one for each slug, four at once, would take five seconds. In virtual time."""

    class Calls:
        paths: list[str] = []  # noqa: RUF012 - of this test alone

        def answer(self, call: Call, now_ms: int) -> None:
            del now_ms
            self.paths.append(call.path)

    async def scenario() -> None:
        quiet = FlowConfig(rate=0.01)
        exchange = Exchange(ExchangeConfig(seed=3, markets=200, flow=quiet, new_market_every_ms=None))
        calls, way = Calls(), NetworkConfig(latency_ms=50, jitter_ms=0)
        async with VirtualVenue(exchange, seed=1, services=[calls], network=way) as venue:
            began = venue.wall_ms()
            where = {"endpoints": venue.endpoints, "network": venue.network}
            async with Mirror.for_slug(*exchange.slugs, config=MirrorConfig(seed=1), **where) as mirror:
                assert venue.wall_ms() - began <= 200
                assert calls.paths.count("/markets") == 4
                await mirror.wait_live()
                assert venue.wall_ms() - began <= 1_500
                assert len(mirror.tokens) == 400
                assert len(calls.paths) <= 20

    run_virtual(scenario)


def cut_off(network: Network) -> tuple[Network, asyncio.Event]:
    """The same network, that reaches nobody while the event is set."""
    down = asyncio.Event()

    class Transport(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self._inner = network.transport()

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if down.is_set():
                raise httpx.ConnectError("[Errno 101] Network is unreachable")
            return await self._inner.handle_async_request(request)

    async def open_wire(*args: Any) -> AnyWire:
        if down.is_set():
            raise VenueUnavailable("connect", None, "Network is unreachable")
        return await network.open_wire(*args)

    return evolve(network, transport=Transport, open_wire=open_wire), down

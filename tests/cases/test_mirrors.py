"""A whole mirror in virtual time: callbacks that call back, tokens of two markets, a program or computer that stops."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from attrs import evolve

from polymirror import BookState, ConfigError, Mirror, MirrorConfig, NotLive
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.virtual import NetworkConfig, VirtualVenue, run_virtual
from polymirror.venue.network import Network

LATENCY_MS = 20
MS = 0.001
BOUND = 20


class TooOften(BaseException):
    """A callback was called without end."""


def exchange(rate: float, markets: int = 1) -> Exchange:
    config = ExchangeConfig(seed=3, markets=markets, flow=FlowConfig(rate=rate), new_market_every_ms=None)
    return Exchange(config)


def venue_of(rate: float, markets: int = 1) -> VirtualVenue:
    return VirtualVenue(exchange(rate, markets), seed=1, network=NetworkConfig(latency_ms=LATENCY_MS, jitter_ms=0))


def mirror_of(venue: VirtualVenue, network: Network | None = None, **settings) -> Mirror:
    config = MirrorConfig(seed=1, **settings)
    slugs, network = venue.exchange.slugs, network or venue.network
    return Mirror.for_slug(*slugs, config=config, endpoints=venue.endpoints, network=network)


# ---- Callbacks -----------------------------------------------------------------------------------------


def resync_again(mirror: Mirror, calls: list[str], bound: int) -> None:
    """Resync whatever is not LIVE, from inside the callback that tells of it."""

    def call_back(transition) -> None:
        calls.append(str(transition))
        if len(calls) > bound:
            raise TooOften
        if transition.new is not BookState.LIVE:
            mirror.resync(transition.token)

    mirror.on_transition(call_back)


@pytest.mark.parametrize("which", [0, 1])
def test_a_callback_that_resyncs_whatever_is_not_live_is_called_a_bounded_number_of_times(which):
    async def main():
        async with venue_of(5.0) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=20)
            calls: list[str] = []
            resync_again(mirror, calls, BOUND)
            mirror.resync(mirror.tokens[which])
            inside = len(calls)
            await mirror.wait_live(timeout=20)
            return inside, len(calls)

    inside, all_in_all = run_virtual(main)
    assert 1 <= inside <= BOUND
    assert all_in_all <= BOUND


def test_a_callback_that_resyncs_does_not_keep_books_from_coming_back_after_a_disconnect():
    async def main():
        async with venue_of(5.0, markets=2) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=20)
            calls: list[str] = []
            resync_again(mirror, calls, 10 * BOUND)
            venue.hang_up()
            await asyncio.sleep(5.0)
            await mirror.wait_live(timeout=30)
            return len(calls)

    assert run_virtual(main) <= 10 * BOUND


def test_a_resync_of_a_book_that_is_being_built_anew_already_does_nothing():
    async def main():
        async with venue_of(0.01) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=20)
            token = mirror.tokens[0]
            mirror.resync(token)
            epoch = mirror.peek(token).epoch
            for _ in range(10):
                mirror.resync(token)
            assert mirror.peek(token).state is BookState.RESYNCING
            assert mirror.peek(token).epoch == epoch
            await mirror.wait_live(timeout=20)
            return mirror.peek(token).epoch - epoch

    assert run_virtual(main) <= 1


# ---- Tokens of two markets -----------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [(0, 1), (0,), (1,)])
def test_a_market_that_names_a_token_of_another_market_is_refused_and_the_token_named(shared):
    async def main():
        async with venue_of(5.0) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=20)
            (market,), tokens = mirror.markets, mirror.tokens
            theirs = tuple(
                token if number in shared else evolve(token, id=f"333{number}")
                for number, token in enumerate(market.tokens)
            )
            with pytest.raises(ConfigError) as caught:
                mirror.add_market(evolve(market, condition_id="0xother", slug="other", tokens=theirs))
            assert any(market.tokens[number].id in str(caught.value) for number in shared)
            assert mirror.markets == (market,)
            assert mirror.tokens == tokens
            assert {mirror.peek(token).market for token in tokens} == {market.condition_id}
            await asyncio.sleep(2.0)
            assert all(mirror.live(token).state is BookState.LIVE for token in tokens)

    run_virtual(main)


def test_a_market_that_names_one_token_twice_is_refused():
    async def main():
        async with venue_of(5.0) as venue, mirror_of(venue) as mirror:
            (market,) = mirror.markets
            twice = tuple(evolve(token, id="333") for token in market.tokens)
            with pytest.raises(ConfigError, match="333"):
                mirror.add_market(evolve(market, condition_id="0xother", slug="other", tokens=twice))
            assert mirror.markets == (market,)

    run_virtual(main)


# ---- A program or a computer that stops ----------------------------------------------------------------


def judge(mirror: Mirror, venue: VirtualVenue, limit: float | None, wrong: list[str], *, sleep: float = 0.0) -> int:
    """Read every book once; return how many reads were granted."""
    granted = 0
    # What the venue did meanwhile is the truth too.
    venue._advance()
    for token in mirror.tokens:
        try:
            view = mirror.live(token, limit)
        except NotLive:
            continue
        granted += 1
        if not venue.exchange.confirms(view, (LATENCY_MS + 1) / 1000, now_ms=venue.wall_ms()):
            wrong.append(
                f"{mirror.now():.3f} {token[:6]}: not true within {view.verified_age:.3f} s, {view.last_proof}"
            )
    return granted


@pytest.mark.parametrize("seconds", [0.5, 1.5, 1.8, 4.0])
@pytest.mark.parametrize("limit", [0.25, None])
def test_a_mirror_whose_program_stood_still_reads_nothing_older_than_it_says(seconds, limit):
    async def main():
        wrong: list[str] = []
        async with venue_of(400.0) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=20)
            await asyncio.sleep(2.0)
            granted = 0
            for _ in range(2):
                asyncio.get_running_loop().stall(seconds)
                for turn in range(1500):
                    granted += judge(mirror, venue, limit, wrong)
                    await asyncio.sleep(0 if turn < 1000 else MS)
                await asyncio.sleep(1.0)
        return granted, wrong

    granted, wrong = run_virtual(main)
    assert granted
    assert not wrong, f"{len(wrong)} of {granted}: {wrong[0]}"


HAS_BOOT = "boot" in {field.name for field in attrs.fields(Network)}


@pytest.mark.parametrize("seconds", [5.0, 20.0])
@pytest.mark.parametrize("boot", [True, False], ids=["boot clock", "no boot clock"])
@pytest.mark.parametrize("rate", [20.0, 0.2])
def test_a_mirror_whose_computer_slept_reads_nothing_older_than_it_says(seconds, boot, rate):
    """CLOCK_MONOTONIC stands still while a computer sleeps; the boot clock and the time of day go on."""

    async def main():
        wrong: list[str] = []
        slept = 0.0
        async with venue_of(rate) as venue:
            loop = asyncio.get_running_loop()
            clocks = {"monotonic": lambda: loop.time() - slept}
            if HAS_BOOT:
                # None: a computer without such a clock.
                clocks["boot"] = loop.time if boot else None
            async with mirror_of(venue, evolve(venue.network, **clocks)) as mirror:
                await mirror.wait_live(timeout=20)
                await asyncio.sleep(2.0)
                granted = 0
                for _ in range(2):
                    loop.stall(seconds)
                    slept += seconds
                    for turn in range(600):
                        granted += judge(mirror, venue, None, wrong)
                        granted += judge(mirror, venue, 0.5, wrong)
                        await asyncio.sleep(0 if turn < 200 else 0.01)
                    await mirror.wait_live(timeout=20)
        return granted, wrong

    granted, wrong = run_virtual(main)
    assert granted
    assert not wrong, f"{len(wrong)} of {granted}: {wrong[0]}"

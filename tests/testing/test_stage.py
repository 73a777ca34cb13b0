"""What carries a test: the loop, the venue in it, and what is held open until the end."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from polymirror import BookState, ConfigError, MirrorConfig, MissingExtra, NotLive
from polymirror.simulator import ExchangeConfig, FlowConfig, Plan, make_faults
from polymirror.simulator.virtual import NetworkConfig, VirtualTimeError
from polymirror.testing import Stage, StageConfig, play

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_a_scene_has_a_venue_and_a_live_mirror_and_takes_no_time_of_its_own() -> None:
    async def scene(venue, mirror):
        began_ms = venue.wall_ms()
        assert [mirror.peek(token).state for token in venue.tokens] == [BookState.LIVE] * 2
        await asyncio.sleep(600)
        assert venue.wall_ms() - began_ms == 600_000
        return mirror.live(venue.tokens[0]).token

    assert play(scene).isdigit()


def test_the_same_seed_is_the_same_to_the_microsecond_and_another_one_is_not() -> None:
    async def scene(venue, mirror):
        seen = []
        mirror.on_transition(lambda move: seen.append(str(move)))
        with venue.fault("lost_delta", share=0.3):
            await asyncio.sleep(60)
        return seen

    one, same, other = (play(scene, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert len(one) > 3


def test_the_settings_reach_the_exchange_the_network_and_the_mirror() -> None:
    async def scene(venue, mirror):
        return len(venue.slugs), mirror.config, venue.exchange.config

    markets, config, exchange = play(scene, markets=3, seed=9, rate=2.0, settle_after=90)
    assert (markets, config.seed, exchange.seed) == (3, 9, 9)
    assert (exchange.flow.rate, exchange.settle_after_ms) == (2.0, 90_000)
    mine = ExchangeConfig(markets=2, flow=FlowConfig(rate=3.0), start_ms=1_800_000_000_000)
    markets, config, exchange = play(scene, exchange=mine, mirror=MirrorConfig(seed=4))
    assert (markets, config.seed, exchange) == (2, 4, mine)

    async def late(venue, mirror):
        began_ms = venue.wall_ms()
        await mirror.clob.time()
        return venue.wall_ms() - began_ms

    assert 2_000 <= play(late, network=NetworkConfig(latency_ms=1_000, jitter_ms=0), rate=0.1) <= 2_001


def test_a_mirror_that_cannot_be_live_is_told_at_once_unless_it_was_asked_for_as_it_is() -> None:
    async def scene(venue, mirror):
        return [mirror.peek(token).state for token in mirror.tokens]

    down = make_faults(["refused_connection"], plan=Plan(share=1.0))
    with pytest.raises(NotLive, match="UNPRIMED"):
        play(scene, faults=down)
    assert play(scene, faults=down, live=False) == [BookState.UNPRIMED] * 2


def test_a_test_that_waits_for_what_never_comes_is_ended_with_the_time_it_had() -> None:
    async def scene(venue, mirror):
        await asyncio.Event().wait()

    with pytest.raises(VirtualTimeError, match="not done after 100 s of virtual time"):
        play(scene, limit=100)


def test_what_is_held_is_left_in_its_own_task_the_last_thing_first() -> None:
    seen = []

    @asynccontextmanager
    async def thing(name: str) -> AsyncIterator[str]:
        task = asyncio.current_task()
        async with asyncio.TaskGroup():
            yield name
        assert asyncio.current_task() is task
        seen.append(name)

    with Stage() as stage:
        assert [stage.hold(thing("one")), stage.hold(thing("two"))] == ["one", "two"]
        stage.run(asyncio.sleep(1))
        assert seen == []
    assert seen == ["two", "one"]


def test_what_cannot_be_entered_is_raised_as_it_is_and_the_rest_is_left() -> None:
    seen = []

    @asynccontextmanager
    async def thing(error: Exception | None) -> AsyncIterator[None]:
        if error is not None:
            raise error
        yield
        seen.append("left")

    with Stage() as stage:
        stage.hold(thing(None))
        with pytest.raises(ZeroDivisionError, match="mine"):
            stage.hold(thing(ZeroDivisionError("mine")))
    assert seen == ["left"]


def test_what_fails_while_it_is_held_is_raised_at_the_end() -> None:
    @asynccontextmanager
    async def thing() -> AsyncIterator[None]:
        yield
        raise ZeroDivisionError("held")

    with pytest.raises(ZeroDivisionError, match="held"), Stage() as stage:
        stage.hold(thing())


def test_over_sockets_the_same_scene_runs_on_real_time() -> None:
    async def scene(venue, mirror):
        up = venue.tokens[0]
        venue.set_book(up, bids=[("0.47", 10)], asks=[("0.48", 5)])
        await venue.until_shown(mirror)
        return venue.truth(up), repr(venue)

    (book, words), (virtual_book, other_words) = play(scene, loopback=True), play(scene)
    assert str(book) == str(virtual_book) == "0.47 x 10 | 0.48 x 5"
    assert "real time" in words
    assert "virtual time" in other_words


def test_loopback_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polymirror.serving.server", None)
    with pytest.raises(MissingExtra, match=r"pip install 'polymirror\[simulator\]'"), Stage(StageConfig(loopback=True)):
        pass


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"market": 2}, r"setting='market' is not allowed: it must be markets, if that was meant, or another one of"),
        ({"nothing_like_it": 1}, r"it must be one of loopback, markets"),
        ({"faults": "lost_delta"}, r"faults='lost_delta' .*several, such as \['lost_delta'\]"),
        ({"loopback": "yes"}, r"loopback='yes' .*a bool"),
        ({"live": 1}, r"live=1 .*a bool"),
        ({"limit": 0}, r"limit=0 .*more than 0"),
        ({"limit": float("nan")}, r"limit=nan .*more than 0"),
        ({"exchange": {}}, r"exchange={} .*an? ExchangeConfig"),
        ({"network": None}, r"network=None .*a NetworkConfig"),
        ({"mirror": 1}, r"mirror=1 .*a MirrorConfig"),
        ({"markets": 0}, r"markets=0"),
        ({"seed": "7"}, r"seed='7'"),
        ({"rate": -1}, r"rate=-1"),
        ({"faults": ["lost_detla"]}, r"lost_delta, if that was meant"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_name(settings, sentence) -> None:
    with pytest.raises(ConfigError, match=sentence):
        play(None, **settings)

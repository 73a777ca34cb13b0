"""The life of rounds: noticed, listed, started, ended, settled, each once and in time."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from decimal import Decimal

import pytest

from bots.updown.rounds import (
    Ask,
    Lifecycle,
    Phase,
    RoundEnded,
    RoundListed,
    RoundSettings,
    RoundSettled,
    RoundSkipped,
    RoundStarted,
    keep_rounds,
)
from polymirror.errors import ConfigError, MarketNotFound, VenueUnavailable
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.market import Oracle, Token
from polymirror.venue.network import Network
from tests.bots.rounds_rig import QUARTER_MS, START, START_MS, Driver, market_of, window

LEAD_MS = RoundSettings().lead * 1000


def test_the_next_market_is_known_a_lead_before_its_window_opens():
    driver = Driver().run(START_MS + QUARTER_MS)
    listed = {event.round.slug: at for at, event in driver.events(RoundListed)}
    following = window(START + 900)
    assert listed[following.slug] == following.start * 1000 - LEAD_MS


def test_starts_and_ends_are_told_at_the_boundary_to_the_millisecond():
    driver = Driver().run(START_MS + 4 * QUARTER_MS)
    for kind in (RoundStarted, RoundEnded):
        events = [(at, event) for at, event in driver.events(kind) if not event.round.joined]
        assert [event.late_ms for _, event in events] == [0] * len(events)
        assert len(events) >= 3
    starts = [event.round.start_ms for _, event in driver.events(RoundStarted)]
    assert starts == [START_MS + each * QUARTER_MS for each in range(5)]


def test_each_event_of_a_round_is_told_once_and_in_order():
    driver = Driver().run(START_MS + QUARTER_MS)
    slug = window(START + 900).slug
    driver.run(START_MS + 2 * QUARTER_MS)
    driver.change(slug, winner="Down", closed=True)
    driver.run(START_MS + 3 * QUARTER_MS)
    kinds = [type(event) for _, event in driver.told if getattr(event, "round", None) and event.round.slug == slug]
    assert kinds == [RoundListed, RoundStarted, RoundEnded, RoundSettled]


def test_the_winner_is_told_as_a_token():
    driver = Driver().run(START_MS + QUARTER_MS)
    driver.change(window().slug, winner="Down", closed=True)
    driver.run(START_MS + 2 * QUARTER_MS)
    ((_, settled),) = driver.events(RoundSettled)
    assert settled.winner == f"btc-{START}-down"
    assert window().slug not in driver.life.rounds


def test_a_winner_named_before_the_end_is_not_believed():
    driver = Driver()
    driver.listed[window().slug] = market_of(window(), winner="Up", closed=True)
    driver.run(START_MS + QUARTER_MS - 1)
    assert driver.events(RoundSettled) == []
    driver.run(START_MS + QUARTER_MS + 60_000)
    assert len(driver.events(RoundSettled)) == 1


def test_a_bot_that_starts_within_a_window_joins_it():
    driver = Driver(now_ms=START_MS + 400_000).run(START_MS + 400_000)
    ((_, started),) = driver.events(RoundStarted)
    assert (started.late_ms, started.round.joined) == (400_000, True)


def test_a_market_that_is_listed_late_is_asked_for_until_it_is():
    driver = Driver(list_all=False).run(START_MS + 100_000)
    assert driver.events(RoundListed) == []
    driver.listed[window().slug] = market_of(window())
    driver.run(START_MS + 120_000)
    assert len(driver.events(RoundListed)) == 1
    gaps = [b - a for (a, _), (b, _) in zip(driver.asked, driver.asked[1:], strict=False)]
    assert min(gaps) >= 15_000


def test_a_market_that_is_never_listed_is_skipped_at_its_end():
    driver = Driver(list_all=False).run(START_MS + QUARTER_MS)
    ((at, skipped),) = driver.events(RoundSkipped)
    assert (at, skipped.slug) == (START_MS + QUARTER_MS, window().slug)
    assert window().slug not in driver.life.rounds


@pytest.mark.parametrize(
    ("oracle", "why"),
    [
        (Oracle("https://data.chain.link/streams/btc-usd", None, twap_enabled=False), "source is not recognised"),
        (Oracle(None), "none stated"),
        (Oracle("https://data.chain.link/streams/eth-usd-twap-60s-streams", None, True, 60), "of eth"),
        (Oracle("https://data.chain.link/streams/btc-usd-twap-60s-streams"), "not stated"),
        (Oracle("https://data.chain.link/streams/btc-usd-twap-60s-streams", None, True, 30), "look-back 30"),
        (Oracle("https://data.chain.link/streams/btc-usd-twap-60s-streams", None, False, 60), "enabled False"),
    ],
)
def test_a_market_whose_settlement_is_not_recognised_is_not_traded(oracle, why):
    driver = Driver()
    driver.listed[window().slug] = market_of(window(), oracle=oracle)
    driver.run(START_MS + 100_000)
    ((_, skipped),) = driver.events(RoundSkipped)
    assert why in skipped.why
    assert driver.events(RoundListed) == []


def test_a_window_from_before_the_averages_is_not_traded():
    old = window(1_786_665_600 - 900)
    driver = Driver(now_ms=old.start * 1000)
    driver.run(old.start * 1000 + 1000)
    ((_, skipped),) = driver.events(RoundSkipped)
    assert "another rule" in skipped.why


def test_a_market_with_other_times_than_its_slug_is_not_traded():
    driver = Driver()
    driver.listed[window().slug] = market_of(window(), window_start=START + 60)
    driver.run(START_MS + 1000)
    assert len(driver.events(RoundSkipped)) == 1


def test_a_later_answer_with_other_tokens_is_not_believed():
    driver = Driver().run(START_MS + QUARTER_MS)
    driver.change(window().slug, tokens=(Token("x", "Up"), Token("y", "Down")), winner="Up", closed=True)
    driver.run(START_MS + QUARTER_MS + 120_000)
    assert driver.events(RoundSettled) == []


def test_the_official_strike_is_asked_for_until_it_is_there_and_then_no_more():
    driver = Driver().run(START_MS + 60_000)
    current = driver.life.rounds[window().slug]
    assert current.official is None
    driver.change(window().slug, price_to_beat=Decimal("64000.5"))
    driver.run(START_MS + 90_000)
    assert current.official == Decimal("64000.5")
    asked = len(driver.asked)
    driver.run(START_MS + QUARTER_MS - LEAD_MS - 1)
    assert len(driver.asked) == asked


def test_an_unsettled_round_is_asked_for_ever_but_less_and_less_often():
    settings = RoundSettings(patience=60)
    driver = Driver(Lifecycle("btc", settings)).run(START_MS + QUARTER_MS + 3_600_000)
    asked = [at for at, slug in driver.asked if slug == window().slug and at > START_MS + QUARTER_MS]
    late = [b - a for a, b in itertools.pairwise(asked)][-5:]
    assert late == [150_000] * 5
    assert driver.life.rounds[window().slug].phase is Phase.ENDED


def test_a_position_of_an_earlier_run_is_followed_to_its_settlement_without_other_events():
    old = window(START - 3600)
    driver = Driver()
    driver.life.adopt(old)
    driver.run(START_MS + 1000)
    driver.change(old.slug, winner="Up", closed=True)
    driver.run(START_MS + 200_000)
    events = [event for _, event in driver.told if getattr(event, "round", None) and event.round.slug == old.slug]
    assert [type(event) for event in events] == [RoundSettled]


def test_a_window_adopted_while_it_runs_is_traded_on():
    driver = Driver(now_ms=START_MS + 100_000)
    driver.life.adopt(window())
    driver.run(START_MS + 100_000)
    assert [type(event) for _, event in driver.told] == [RoundListed, RoundStarted]


def test_a_clock_set_back_repeats_nothing():
    driver = Driver().run(START_MS + QUARTER_MS)
    driver.change(window().slug, winner="Up", closed=True)
    driver.run(START_MS + QUARTER_MS + 60_000)
    assert len(driver.events(RoundSettled)) == 1
    for back in (QUARTER_MS, 120_000, 5_000):
        driver.life.advance(driver.now_ms - back)
        assert [step for step in driver.life.take() if not isinstance(step, Ask)] == []
        assert window().slug not in driver.life.rounds


def test_several_lengths_run_side_by_side():
    driver = Driver(Lifecycle("btc", RoundSettings(intervals=("5m", "15m"))), list_all=False)
    for each in [window(START + 300 * n, interval="5m") for n in range(4)] + [window(), window(START + 900)]:
        driver.listed[each.slug] = market_of(each)
    driver.run(START_MS + QUARTER_MS)
    starts = [event.round.window.interval.value for _, event in driver.events(RoundStarted)]
    assert sorted(starts) == ["15m"] * 2 + ["5m"] * 4


@pytest.mark.parametrize("intervals", [(), ("15m", "15m"), ("7m",)])
def test_unknown_or_repeated_lengths_are_refused(intervals):
    with pytest.raises(ConfigError, match="intervals"):
        RoundSettings(intervals=intervals)


class Venue:
    """Answers look-ups; each may fail once."""

    def __init__(self):
        self.errors = [MarketNotFound("not yet"), VenueUnavailable("GET /events", 503)]

    async def event(self, slug):
        await asyncio.sleep(0.2)
        if self.errors:
            raise self.errors.pop()
        return (market_of(window(int(slug.rsplit("-", 1)[1]))),)


def test_the_shell_tells_every_boundary_at_once_whatever_the_venue_does():
    events = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        network = Network(monotonic=loop.time, wall=loop.wall)
        with suppress(TimeoutError):
            async with asyncio.timeout(2_000):
                await keep_rounds(Lifecycle("btc", RoundSettings()), Venue(), network, events.append)

    run_virtual(main, start_ms=START_MS)
    started = [event for event in events if isinstance(event, RoundStarted)]
    assert [event.round.start_ms for event in started] == [START_MS, START_MS + QUARTER_MS, START_MS + 2 * QUARTER_MS]
    # The first one was joined after two failed look-ups; the others were known before.
    assert started[0].late_ms > 15_000
    assert all(event.late_ms <= 2 for event in started[1:])


def test_a_listener_that_fails_ends_the_asset_and_nothing_else_is_told():
    told = []

    def listen(event: object) -> None:
        told.append(event)
        raise RuntimeError("a bug")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        network = Network(monotonic=loop.time, wall=loop.wall)
        await keep_rounds(Lifecycle("btc", RoundSettings()), Venue(), network, listen)

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(main, start_ms=START_MS)
    assert caught.group_contains(RuntimeError, match="a bug")
    assert len(told) == 1

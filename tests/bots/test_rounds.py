"""The life of rounds: noticed, listed, started, ended, settled, each once and in time."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.updown.rounds import (
    MAX_ROUNDS,
    SLEW_MS,
    Ask,
    Lifecycle,
    Phase,
    RoundEnded,
    RoundListed,
    RoundOverdue,
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
from tests.bots.rounds_rig import QUARTER_MS, START, START_MS, Driver, decided, market_of, window

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
    driver.change(slug, **decided("Down"))
    driver.run(START_MS + 3 * QUARTER_MS)
    kinds = [type(event) for _, event in driver.told if getattr(event, "round", None) and event.round.slug == slug]
    assert kinds == [RoundListed, RoundStarted, RoundEnded, RoundSettled]


def test_the_winner_is_told_as_a_token():
    driver = Driver().run(START_MS + QUARTER_MS)
    driver.change(window().slug, **decided("Down"))
    driver.run(START_MS + 2 * QUARTER_MS)
    ((_, settled),) = driver.events(RoundSettled)
    assert settled.winner == f"btc-{START}-down"
    assert settled.payouts == {f"btc-{START}-up": 0, f"btc-{START}-down": 1}
    assert window().slug not in driver.life.rounds


def test_a_winner_named_before_the_end_is_not_believed():
    driver = Driver().run(START_MS + 1_000)
    driver.change(window().slug, **decided("Up"))
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
    driver.change(window().slug, tokens=(Token("x", "Up"), Token("y", "Down")), **decided("Up"))
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
    gaps = [b - a for a, b in itertools.pairwise(asked)]
    assert gaps == sorted(gaps)
    assert len([at for at in asked if at > START_MS + QUARTER_MS + 600_000]) < 20
    assert driver.life.rounds[window().slug].phase is Phase.ENDED


def test_a_position_of_an_earlier_run_is_followed_to_its_settlement_and_told_of_while_nobody_decides_it():
    old = window(START - 3600)
    driver = Driver()
    driver.life.adopt(old)
    driver.run(START_MS + 1000)
    driver.change(old.slug, **decided("Up"))
    driver.run(START_MS + 400_000)
    events = [event for _, event in driver.told if getattr(event, "round", None) and event.round.slug == old.slug]
    assert [type(event) for event in events] == [RoundOverdue, RoundSettled]


def test_a_window_adopted_while_it_runs_is_traded_on():
    driver = Driver(now_ms=START_MS + 100_000)
    driver.life.adopt(window())
    driver.run(START_MS + 100_000)
    assert [type(event) for _, event in driver.told] == [RoundListed, RoundStarted]


def test_a_clock_set_back_repeats_nothing():
    driver = Driver().run(START_MS + QUARTER_MS)
    driver.change(window().slug, **decided("Up"))
    driver.run(START_MS + QUARTER_MS + 60_000)
    assert len(driver.events(RoundSettled)) == 1
    for back in (QUARTER_MS, 120_000, 5_000):
        driver.life.advance(driver.now_ms - back)
        assert [step for step in driver.life.take() if not isinstance(step, Ask)] == []
        assert window().slug not in driver.life.rounds


def test_a_market_that_pays_both_sides_a_half_is_settled_and_asked_for_no_more():
    driver = Driver().run(START_MS + QUARTER_MS)
    driver.change(window().slug, **decided(None))
    driver.run(START_MS + 2 * QUARTER_MS)
    ((_, settled),) = driver.events(RoundSettled)
    assert settled.winner is None
    assert settled.payouts == {f"btc-{START}-up": Decimal("0.5"), f"btc-{START}-down": Decimal("0.5")}
    asked = [slug for at, slug in driver.asked if slug == window().slug and at > START_MS + QUARTER_MS + 60_000]
    assert asked == []


def test_a_market_that_is_never_settled_is_asked_for_some_hundred_times_on_the_first_day_and_hourly_then():
    life, market, now_ms, asked = Lifecycle("btc", RoundSettings()), market_of(window()), START_MS + QUARTER_MS, []
    life.adopt(window())
    while now_ms < START_MS + 3 * 86_400_000:
        life.advance(now_ms)
        asked += [now_ms for step in life.take() if step == Ask(window().slug)]
        life.learn(window().slug, market, now_ms)
        now_ms = life.rounds[window().slug].ask_at_ms
    assert 50 < len([at for at in asked if at < START_MS + 86_400_000]) < 200
    assert 40 < len([at for at in asked if at >= START_MS + 86_400_000]) < 60


def test_a_market_that_is_not_listed_keeps_no_other_from_being_followed():
    driver = Driver(list_all=False)
    old, lost = window(START - 1800), window(START - 3600)
    driver.life.adopt(old)
    driver.life.adopt(lost)
    driver.listed[old.slug] = market_of(old, **decided("Up"))
    for each in (window(), window(START + 900)):
        driver.listed[each.slug] = market_of(each)
    driver.run(START_MS + 2 * QUARTER_MS - 1)
    assert [event.round.slug for _, event in driver.events(RoundSettled)] == [old.slug]
    assert len(driver.events(RoundStarted)) == 2
    assert driver.life.rounds[lost.slug].phase is Phase.AWAITED
    assert len([slug for _, slug in driver.asked if slug == lost.slug]) < 140


def test_a_position_in_a_market_that_cannot_be_traded_is_still_followed():
    driver = Driver(now_ms=START_MS + 100_000)
    driver.life.adopt(window())
    driver.listed[window().slug] = market_of(window(), oracle=Oracle(None))
    driver.run(START_MS + 200_000)
    assert driver.events(RoundSkipped) == driver.events(RoundListed) == []
    driver.change(window().slug, **decided("Up"))
    driver.run(START_MS + QUARTER_MS + 60_000)
    assert [event.round.slug for _, event in driver.events(RoundSettled)] == [window().slug]


def test_a_market_that_is_closed_already_is_not_begun():
    driver = Driver()
    driver.listed[window().slug] = market_of(window(), closed=True)
    driver.run(START_MS + 100_000)
    ((_, skipped),) = driver.events(RoundSkipped)
    assert skipped.why == "its market is closed"


# A clock that is set.


def test_a_clock_that_was_hours_ahead_once_keeps_no_round_from_being_noticed():
    """The next round is noticed at once when the clock is right again, and the running one is traded on."""
    driver = Driver().run(START_MS + 60_000)
    driver.now_ms += 3 * 3_600_000
    driver.run(driver.now_ms)
    driver.now_ms = START_MS + 65_000
    driver.run(START_MS + 70_000)
    assert driver.life.rounds[window().slug].phase is Phase.OPEN
    mine = [event for _, event in driver.told if event.round.slug == window().slug]
    assert [type(event) for event in mine] == [RoundListed, RoundStarted, RoundEnded, RoundOverdue, RoundStarted]
    driver.run(START_MS + QUARTER_MS)
    started = [(at, event.round.slug) for at, event in driver.events(RoundStarted)]
    assert started[-1] == (START_MS + QUARTER_MS, window(START + 900).slug)


def test_a_question_put_off_while_the_clock_was_ahead_is_asked_in_time():
    driver = Driver().run(START_MS + QUARTER_MS + 30_000)
    driver.now_ms += 3 * 3_600_000
    driver.run(driver.now_ms + 1_000)
    driver.now_ms = START_MS + QUARTER_MS + 40_000
    driver.change(window().slug, **decided("Up"))
    driver.run(driver.now_ms + 30_000)
    assert len(driver.events(RoundSettled)) == 1


def test_a_clock_years_ahead_leaves_nothing_behind():
    driver = Driver(list_all=False)
    driver.listed[window().slug] = market_of(window())
    driver.run(START_MS + 60_000)
    for years in range(1, 300):
        driver.life.advance(START_MS + years * 31_536_000_000)
        driver.life.take()
        driver.life.advance(START_MS + 70_000)
    assert list(driver.life.rounds) == [window().slug]


@given(
    st.lists(st.tuples(st.integers(-6 * 3_600_000, 6 * 3_600_000), st.integers(0, 900_000)), min_size=1, max_size=6),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_however_the_clock_is_set_the_rounds_are_right_once_it_is(steps, venue_settles):
    """Each step sets the clock off by some time and lets time pass; in the end it is right."""
    driver, true_ms = Driver(), START_MS
    for off_ms, passes_ms in [*steps, (0, 0)]:
        if venue_settles:
            driver.settle_before(true_ms)
        driver.now_ms = true_ms + off_ms
        driver.run(driver.now_ms + passes_ms)
        true_ms += passes_ms
        assert len(driver.life.rounds) <= MAX_ROUNDS
    current = window(true_ms // 900_000 * 900)
    last_second = current.end * 1000 - true_ms <= SLEW_MS
    assert driver.life.rounds[current.slug].phase is Phase.OPEN or last_second
    started = [event.round.slug for _, event in driver.events(RoundStarted)]
    driver.run(true_ms + QUARTER_MS)
    following = driver.life.rounds[window(current.end).slug]
    assert following.phase is Phase.OPEN
    assert (
        driver.life.rounds[current.slug].phase is Phase.ENDED if current.slug in driver.life.rounds else venue_settles
    )
    assert current.slug in started
    settled = [event.round.slug for _, event in driver.events(RoundSettled)]
    assert len(settled) == len(set(settled))
    for slug in settled:
        after = [event for _, event in driver.told[self_index(driver, slug) + 1 :]]
        assert not [event for event in after if getattr(event, "round", None) and event.round.slug == slug]


def self_index(driver: Driver, slug: str) -> int:
    """Where a round's settlement stands among what was told."""
    return next(
        number
        for number, (_, event) in enumerate(driver.told)
        if isinstance(event, RoundSettled) and event.round.slug == slug
    )


def test_several_lengths_run_side_by_side():
    driver = Driver(Lifecycle("btc", RoundSettings(intervals=("5m", "15m"))), list_all=False)
    for each in [window(START + 300 * n, interval="5m") for n in range(4)] + [window(), window(START + 900)]:
        driver.listed[each.slug] = market_of(each)
    driver.run(START_MS + QUARTER_MS)
    starts = [event.round.window.interval.value for _, event in driver.events(RoundStarted)]
    assert sorted(starts) == ["15m"] * 2 + ["5m"] * 4


@pytest.mark.parametrize("intervals", [(), ("15m", "15m"), ("7m",), "15m"])
def test_unknown_or_repeated_lengths_are_refused(intervals):
    with pytest.raises(ConfigError, match="intervals"):
        RoundSettings(intervals=intervals)


@pytest.mark.parametrize("interval", ["1h", "1d"])
def test_lengths_that_no_oracle_settles_are_refused_with_the_reason(interval):
    with pytest.raises(ConfigError, match="settle by the candle of another exchange"):
        RoundSettings(intervals=("15m", interval))


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


def test_a_market_that_nobody_decides_is_told_of_once_when_the_patience_is_over():
    driver = Driver(Lifecycle("btc", RoundSettings(patience=600)))
    driver.run(START_MS + QUARTER_MS + 599_000)
    assert driver.events(RoundOverdue) == []
    driver.run(START_MS + QUARTER_MS + 640_000)
    ((_, event),) = driver.events(RoundOverdue)
    assert event.round.slug == window().slug
    driver.run(START_MS + QUARTER_MS + 800_000)
    assert len(driver.events(RoundOverdue)) == 1


def test_a_market_that_is_decided_in_time_is_never_overdue():
    driver = Driver(Lifecycle("btc", RoundSettings(patience=600)))
    driver.run(START_MS + QUARTER_MS + 100_000)
    driver.settle_before(driver.now_ms)
    driver.run(START_MS + QUARTER_MS + 899_000)
    assert driver.events(RoundOverdue) == []

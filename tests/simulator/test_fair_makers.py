"""What makers think a round is worth: right on average, and as late as configured."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from polymirror.simulator import FlowConfig, PriceProcess, Round
from polymirror.simulator.exchange.fair import FairFlow, probability_up
from polymirror.simulator.settings import DEFAULT_START_MS as START

WINDOW = 900_000


def a_round(start_ms: int = START, twap_s: int = 60) -> Round:
    return Round(
        asset="btc",
        slug="",
        condition_id="0x",
        tokens=("1", "2"),
        window_s=900,
        start_ms=start_ms,
        end_ms=start_ms + WINDOW,
        twap_s=twap_s,
    )


def makers(this: Round, oracle: PriceProcess, *, lag_ms: int = 0, volatility: float = 0.0) -> FairFlow:
    return FairFlow(
        config=FlowConfig(rate=1.0, volatility=volatility),
        rng=random.Random(0),
        start_ms=this.start_ms - WINDOW,
        round=this,
        oracle=oracle,
        lag_ms=lag_ms,
        quiet_share=0.1,
    )


def test_the_chance_of_up_grows_with_the_price_and_is_even_at_the_strike() -> None:
    chances = [probability_up(price, 100.0, 300.0, deviation=0.0001) for price in (99.0, 99.9, 100.0, 100.1, 101.0)]
    assert all(low < high for low, high in pairwise(chances))
    assert chances[2] == 0.5
    assert chances[1] + chances[3] == pytest.approx(1.0, abs=0.001)


def test_the_nearer_the_end_the_surer_it_is() -> None:
    chances = [
        probability_up(100.05, 100.0, left, deviation=0.0001, average_s=60.0, so_far=100.0)
        for left in (800.0, 300.0, 60.0)
    ]
    assert all(low < high for low, high in pairwise(chances))


def test_in_the_last_minute_the_part_of_the_average_that_has_passed_counts() -> None:
    def chance(so_far: float) -> float:
        return probability_up(100.0, 100.0, 10.0, deviation=0.0001, average_s=60.0, so_far=so_far)

    assert chance(99.9) < 0.001
    assert chance(100.0) == 0.5
    assert chance(100.1) > 0.999


def test_at_the_end_it_is_certain_and_a_tie_is_up() -> None:
    assert probability_up(90.0, 100.0, 0.0, deviation=0.0001, average_s=60.0, so_far=100.0) == 1.0
    assert probability_up(110.0, 100.0, 0.0, deviation=0.0001, average_s=60.0, so_far=99.99) == 0.0
    assert probability_up(100.0, 100.0, 0.0, deviation=0.0001) == 1.0


def test_without_a_lag_makers_are_right_as_often_as_they_think() -> None:
    oracle = PriceProcess(11)
    thought: list[float] = []
    came: list[int] = []
    for number in range(600):
        this = a_round(START + number * WINDOW)
        thought.append(makers(this, oracle).worth(this.start_ms + 300_000) / 10_000)
        this.decide(oracle)
        came.append(this.winner == "1")
    for low, high in ((0.0, 0.35), (0.35, 0.65), (0.65, 1.0)):
        chosen = [index for index, chance in enumerate(thought) if low <= chance < high]
        assert len(chosen) > 100
        expected = sum(thought[index] for index in chosen) / len(chosen)
        assert sum(came[index] for index in chosen) / len(chosen) == pytest.approx(expected, abs=0.08)


def test_after_the_end_they_know_who_has_won() -> None:
    oracle = PriceProcess(12)
    for number in range(50):
        this = a_round(START + number * WINDOW)
        this.decide(oracle)
        for later_ms in (0, 120_000):
            assert makers(this, oracle).worth(this.end_ms + later_ms) == (10_000 if this.winner == "1" else 0)


def test_makers_with_a_lag_think_now_what_was_right_before() -> None:
    oracle, this = PriceProcess(13), a_round()
    prompt, late = makers(this, oracle), makers(this, oracle, lag_ms=55_000)
    times = range(START - 100_000, START + WINDOW + 100_000, 7_000)
    assert [late.worth(at + 55_000) for at in times] == [prompt.worth(at) for at in times]
    assert late.worth(START + 54_999) == 5_000
    assert len({prompt.worth(at) for at in times}) > 100


def test_disagreement_stays_small_and_the_extremes_are_left_out() -> None:
    oracle, this = PriceProcess(14), a_round()
    flow = makers(this, oracle, volatility=0.001)
    off = []
    for at in range(START, START + WINDOW, 1_000):
        flow.move(at)
        assert 200 <= flow.fair <= 9_800
        off.append(abs(flow.fair - flow.worth(at)))
    assert 5 < sum(off) / len(off) < 150


def test_before_the_window_opens_makers_are_quiet() -> None:
    oracle, this = PriceProcess(15), a_round()
    flow = makers(this, oracle)
    flow.move(START - 1)
    before = sum(flow.next_delay_ms() for _ in range(300))
    flow.move(START)
    assert 6 < before / sum(flow.next_delay_ms() for _ in range(300)) < 16

"""Each test of the suite on purchases that are made up: it refutes what it must, and says so when it cannot know."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bots.research.falsify import rerun, resampling
from bots.research.falsify.findings import Verdict
from bots.research.falsify.suite import conclude
from tests.research.builders import DAY_MS, HOUR_MS, trade, trades

GOOD, BAD, FAIR = trades(200, 150), trades(200, 50), trades(200, 100)
FEW = trades(10, 9)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [(GOOD, Verdict.SURVIVED), (BAD, Verdict.REFUTED), (FAIR, Verdict.UNDECIDED), (FEW, Verdict.UNDECIDED)],
)
def test_bootstrap_and_fees_say_the_same_where_there_are_no_fees(found: list, verdict: Verdict) -> None:
    assert resampling.bootstrapped(found, seed=1).verdict is verdict
    assert resampling.doubled_fees(found).verdict is verdict


def test_fees_that_eat_the_profit_twice_over_refute_it() -> None:
    costly = trades(200, 150, fee="2.5")
    assert resampling.judge(resampling.net(costly)) is Verdict.UNDECIDED
    assert resampling.doubled_fees(costly).verdict is Verdict.REFUTED


def test_shuffling_tells_a_picker_from_a_lucky_side() -> None:
    picks = [trade(each, won=each % 10 != 0, up=each % 2 == 0) for each in range(100)]
    always_up = [trade(each, won=each % 10 != 0, up=True) for each in range(100)]
    assert resampling.shuffled_outcomes(picks, seed=1).verdict is Verdict.SURVIVED
    assert resampling.shuffled_outcomes(always_up, seed=1).verdict is Verdict.UNDECIDED


def test_a_profit_of_one_day_is_not_one() -> None:
    one_day = [trade(each, won=True, apart_ms=HOUR_MS // 2) for each in range(18)]
    rest = [trade(each, won=each % 7 < 3, apart_ms=DAY_MS // 4) for each in range(4, 60)]
    assert resampling.net([*one_day, *rest]).mean > 0
    assert resampling.leave_one_day_out([*one_day, *rest]).verdict is Verdict.UNDECIDED
    assert resampling.leave_one_day_out(trades(200, 150)).verdict is Verdict.SURVIVED


def test_what_was_chosen_early_is_judged_late() -> None:
    # Best in the first 60 %, worst afterwards.
    fitted = [trade(each, won=each < 120) for each in range(200)]
    found = resampling.out_of_sample({"fitted": fitted, "fair": FAIR})
    assert (found.figures["chosen"], found.verdict) == ("fitted", Verdict.REFUTED)
    assert resampling.out_of_sample({"good": GOOD, "fair": FAIR}).verdict is Verdict.SURVIVED
    assert resampling.out_of_sample({"none": ()}).verdict is Verdict.UNDECIDED


def test_a_spike_is_told_from_a_plateau() -> None:
    names = {(row, column): f"{row}{column}" for row in range(3) for column in range(3)}
    spike = dict.fromkeys(names, FAIR) | {(1, 1): GOOD}
    assert rerun.parameter_grid(spike, names).verdict is Verdict.UNDECIDED
    assert rerun.parameter_grid(dict.fromkeys(names, GOOD), names).verdict is Verdict.SURVIVED
    assert rerun.parameter_grid(dict.fromkeys(names, BAD), names).verdict is Verdict.REFUTED


def test_a_profit_that_stays_when_the_oracle_is_late_is_not_the_oracles() -> None:
    assert rerun.shifted_oracle(GOOD, {60: FAIR}).verdict is Verdict.SURVIVED
    assert rerun.shifted_oracle(GOOD, {60: GOOD}).verdict is Verdict.REFUTED
    assert rerun.shifted_oracle(FAIR, {60: FAIR}).verdict is Verdict.UNDECIDED


def test_a_profit_at_a_price_that_was_gone_is_refuted() -> None:
    assert rerun.stale_print(FAIR, GOOD, 300, 4).verdict is Verdict.REFUTED
    assert rerun.stale_print(GOOD, GOOD, 300, 200).verdict is Verdict.SURVIVED
    assert rerun.stale_print((), FEW, 20, 0).verdict is Verdict.UNDECIDED
    assert rerun.stale_print((), GOOD, 200, 0).verdict is Verdict.REFUTED


def test_one_decision_that_needs_the_future_is_enough() -> None:
    assert rerun.look_ahead(GOOD, 1, GOOD, receives=True, sampled_ms=1_000).verdict is Verdict.REFUTED
    assert rerun.look_ahead(GOOD, 0, GOOD, receives=True, sampled_ms=1_000).verdict is Verdict.SURVIVED
    assert rerun.look_ahead(FAIR, 0, GOOD, receives=True, sampled_ms=1_000).verdict is Verdict.REFUTED
    unknown = rerun.look_ahead(FAIR, 0, GOOD, receives=False, sampled_ms=60_000)
    assert (unknown.verdict, "were not recorded" in unknown.sentence) == (Verdict.SURVIVED, True)


def test_random_entry_asks_for_more_than_the_same_price_at_random() -> None:
    assert rerun.random_entry(GOOD, [[0.0]] * len(GOOD)).verdict is Verdict.SURVIVED
    assert rerun.random_entry(GOOD, [[0.25]] * len(GOOD)).verdict is Verdict.UNDECIDED
    assert rerun.random_entry(GOOD, [[0.6]] * len(GOOD)).verdict is Verdict.REFUTED


def test_the_delay_sweep_says_until_when_a_profit_is_seen() -> None:
    found = rerun.delay_sweep({0: GOOD, 5: GOOD, 10: BAD})
    assert "up to 5 s" in found.sentence
    assert "no profit at any delay" in rerun.delay_sweep({0: BAD}).sentence


def findings(base: list, *, stale: list, cheats: int = 0, grid: list | None = None) -> list:
    return [
        rerun.stale_print(base, stale, 300, 100),
        rerun.look_ahead(base, cheats, base, receives=True, sampled_ms=1_000),
        resampling.bootstrapped(base, seed=1),
        resampling.deflated_for_trials(base, {"a": FAIR, "b": grid or FAIR}),
        rerun.random_entry(base, [[0.0]] * len(base)),
    ]


@pytest.mark.parametrize(
    ("base", "more", "verdict"),
    [
        (GOOD, {"stale": GOOD}, "supported"),
        (BAD, {"stale": BAD}, "refuted"),
        (FAIR, {"stale": FAIR}, "not decidable"),
        (FAIR, {"stale": GOOD}, "refuted"),
        (FEW, {"stale": FEW}, "not decidable"),
        (GOOD, {"stale": GOOD, "cheats": 1}, "refuted"),
    ],
)
def test_one_refutation_is_enough_and_support_needs_everything(base: list, more: dict, verdict: str) -> None:
    found = conclude(base, findings(base, **more))
    assert found.verdict == verdict
    assert found.why.endswith(".")


def test_purchases_that_all_came_out_alike_say_nothing_of_luck() -> None:
    alike = resampling.deflated_for_trials(trades(40, 40), {"a": FAIR})
    assert alike.verdict is Verdict.UNDECIDED
    assert "alike" in alike.sentence


def test_all_of_a_profit_that_turns_into_a_loss_stood_on_the_old_price() -> None:
    assert "All of the profit" in rerun.stale_print(BAD, GOOD, 300, 4).sentence
    assert "100% of the profit" not in rerun.stale_print(FAIR, GOOD, 300, 4).sentence


def test_money_is_never_a_float() -> None:
    assert all(isinstance(value, Decimal) for value in (GOOD[0].net, GOOD[0].gross, GOOD[0].fee))

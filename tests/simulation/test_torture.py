"""The torture: it is deterministic, it holds the promises, and it can fail."""

import os
import subprocess
import sys

import pytest

from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.torture import verdict
from polymirror.torture.report import Report, quantiles
from polymirror.torture.run import run_storm
from polymirror.torture.session import Torture
from polymirror.torture.shrink import shrink
from polymirror.torture.storm import SLOT, draw_storm
from tests.simulation.dating_mutants import DATING_MUTANTS
from tests.simulation.mutants import MUTANTS

MAX_SEEDS = 16
"""A mutant must be caught within this many seeds."""

TRACE = """
from polymirror.torture.run import run_storm
from polymirror.torture.storm import draw_storm
print(run_storm(draw_storm(5, 1.0, 8)).trace)
"""


def test_a_seed_gives_the_same_trace_whatever_the_hash_seed_of_the_process() -> None:
    traces = {
        subprocess.run(  # noqa: S603 - our own interpreter and text
            [sys.executable, "-c", TRACE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "77")
    }
    assert len(traces) == 1
    assert len(traces.pop().strip()) == 64


@pytest.mark.slow
@pytest.mark.parametrize("seed", [12, 110, 177, 197, 199, 292, 404])
def test_seeds_whose_judge_or_venue_was_wrong_once_break_no_promise(seed: int) -> None:
    """Ten minutes each: a venue that told the time of its last event, frames that were on their way, silent changes."""
    result = run_storm(draw_storm(seed, 10.0, 20))
    assert not result.violations, f"seed {seed}: {result.violations[0]}"


def test_different_seeds_give_different_traces() -> None:
    assert run_storm(draw_storm(1, 1.0, 4)).trace != run_storm(draw_storm(3, 1.0, 4)).trace


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_storm_breaks_a_promise(seed: int) -> None:
    result = run_storm(draw_storm(seed * 7 + 1, 2.0, 10))
    assert not result.violations, f"seed {result.seed}: {result.violations[0]}"
    assert result.reads > result.refused
    assert result.wrong_live_seconds == 0


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_strikes_and_breaks_no_promise(fault: str) -> None:
    struck = 0
    for seed in range(0, 60, 2):
        result = run_storm(draw_storm(seed, 2.0, 8, [fault]))
        assert not result.violations, f"seed {seed}: {result.violations[0]}"
        struck += result.faults[fault]
        if struck:
            break
    assert struck, f"{fault} never struck"


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_broken_engine_is_caught_where_the_right_one_is_not(name: str) -> None:
    mutant, faults = MUTANTS[name]
    for seed in range(MAX_SEEDS):
        storm = draw_storm(seed, 3.0, 6, faults)
        with mutant():
            caught = run_storm(storm).violations
        if caught and not run_storm(storm).violations:
            return
    pytest.fail(f"{name} breaks no promise in {MAX_SEEDS} seeds")


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(DATING_MUTANTS))
def test_an_engine_that_breaks_a_rule_of_dating_is_caught_where_the_right_one_is_not(rule: str) -> None:
    engine_class, faults = DATING_MUTANTS[rule]
    for seed in range(MAX_SEEDS):
        storm = draw_storm(seed, 2.0, 6, faults)
        if run_storm(storm, engine_class=engine_class).violations and not run_storm(storm).violations:
            return
    pytest.fail(f"without {rule} no promise is broken in {MAX_SEEDS} seeds that the right engine survives")


def test_what_lasts_is_over_when_the_calm_begins_unless_nobody_can_see_its_end() -> None:
    for seed in range(0, 2 * len(FAULTS), 2):
        storm = draw_storm(seed, 2.0, 8)
        kind = FAULTS[storm.solo]
        for (start, end), slot in zip(storm.calms(), (0, 60), strict=True):
            assert slot < start < end == slot + 60
            mine = [each for each in storm.episodes if slot <= each.start < end]
            assert all(each.over <= start or FAULTS[each.fault].heal_seconds is not None for each in mine)
            if kind.heal_seconds is not None:
                assert storm.solo in storm.unseen(start)
            else:
                assert not storm.unseen(start)


def test_a_cache_that_outlives_its_storm_matters_in_the_calms_after_it() -> None:
    storm = draw_storm(0, 5.0, 8, ["rest_stale_long"])
    longest = max(each.length_ms for each in storm.episodes)
    assert longest >= 60_000
    assert max(storm.unseen(storm.calms()[0][0]).values()) > SLOT


def test_every_fault_has_its_turn_alone_and_storms_have_all_of_them() -> None:
    assert {draw_storm(seed, 1.0, 8).solo for seed in range(0, 2 * len(FAULTS), 2)} == set(FAULTS)
    storms = [draw_storm(seed, 5.0, 8) for seed in range(1, 201, 2)]
    assert {each.fault for storm in storms for each in storm.episodes} == set(FAULTS)


def test_the_report_tells_what_nobody_could_know_what_never_struck_and_what_healed_unseen() -> None:
    report = Report()
    result = run_storm(draw_storm(0, 1.0, 4, ["no_time"]))
    result.unknowable["second_token"] += 2
    report.add(result)
    summary = report.as_dict(1.0, ["lost_delta", "no_time"])
    assert summary["never_struck"] == ["lost_delta"]
    assert summary["unknowable"]["second_token"] == 2
    assert set(summary["unknowable"]) == {*verdict.ALLOWANCES}
    assert summary["recover_unseen"]["no_time"]["bound"] == 25.0
    assert summary["recover_seconds"] == {}


def test_a_violation_shrinks_to_the_faults_that_matter() -> None:
    mutant, _ = MUTANTS["serve_the_tip"]
    ids = ["lost_delta", "rest_503", "rest_429"]
    storms = (draw_storm(seed, 2.0, 6, ids) for seed in range(1, 40, 2))
    storm = next(storm for storm in storms if {each.fault for each in storm.episodes} == set(ids))
    with mutant():
        assert run_storm(storm).violations
        told: list[int] = []
        episodes = shrink(storm, tell=told.append)
        assert run_storm(storm, episodes).violations
    assert [each.fault for each in episodes] == ["lost_delta"]
    assert told == list(range(1, len(told) + 1))


def test_seeds_are_spread_over_processes_and_summed_up_in_order() -> None:
    torture, told = Torture(seeds=4, start=2, minutes=2.0, tokens=4, jobs=2), list[float]()
    assert [result.seed for result in torture.run(told.append)] == [2, 3, 4, 5]
    # How far they are is told on the way, in virtual seconds of all of them together.
    assert told == sorted(told)
    assert told[-1] == pytest.approx(4 * 120, abs=1)
    summary = torture.report.as_dict(torture.elapsed, list(FAULTS))
    assert summary["seeds"] == 4
    assert summary["violations"] == 0
    assert summary["virtual_hours"] == pytest.approx(8 / 60, abs=0.001)
    assert set(summary["faults_by_id"]) == set(FAULTS)
    assert summary["speedup_over_real_time"] > 1


def test_a_violation_is_explained_by_seed_faults_and_transitions() -> None:
    torture = Torture(seeds=1, minutes=3.0, tokens=6, faults=("lost_delta",))
    mutant, _ = MUTANTS["serve_the_tip"]
    with mutant():
        result = run_storm(draw_storm(0, 3.0, 6, ["lost_delta"]))
        text = torture.explain(result)
    assert "seed=0" in text
    assert "lost_delta" in text
    assert "UNPRIMED -> LIVE" in text


def test_quantiles_of_nothing_are_nothing() -> None:
    assert quantiles([]) == {}
    assert quantiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p99": 3.0, "max": 3.0}
    assert Report().as_dict(0.0, [])["speedup_over_real_time"] == 0.0

"""A guard against the hot path getting slower unnoticed: instructions, which are exact, and a ratio with much slack.

Both run in processes of their own: a tracer, such as one that measures coverage, would change them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

SLACK = 1.1 if sys.version_info[:2] == (3, 11) else 1.5
"""The bounds are those of Python 3.11, and a little more; other versions have other instructions."""

INSTRUCTIONS = {"without_hash": 857, "with_proof": 981}
"""Bytecode instructions that a frame (two changes) takes. Lower them when the hot path gets better."""

CONTAINERS = 2
"""Objects for the collector that a frame may leave behind."""

RATIOS = {"hot_path_vs_decode_48_levels": 15.0, "proven_path_vs_decode_and_sha1_48_levels": 3.5}
"""Twice what a good run shows: what passes here may still be slow, what fails is broken."""

TRIES = 8


def run(*arguments: str) -> dict:
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, capture_output=True, check=False, text=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def counted() -> dict:
    return run("benchmarks.speed.instructions")


@pytest.mark.parametrize("way", INSTRUCTIONS)
def test_a_frame_takes_no_more_instructions_than_it_did(counted, way):
    assert counted[way]["instructions"] <= INSTRUCTIONS[way] * SLACK, counted[way]["by_function"]


@pytest.mark.parametrize("way", INSTRUCTIONS)
def test_a_frame_leaves_the_collector_nothing_to_do(counted, way):
    assert counted[way]["containers_kept"] <= CONTAINERS


def test_the_hot_path_is_within_a_multiple_of_the_decoder():
    # Whatever else the machine does can only make a ratio worse: the best of several runs counts.
    best = dict.fromkeys(RATIOS, float("inf"))
    for _ in range(TRIES):
        rows = run("benchmarks", "--only", "hot_path", "--quick", "--json")
        best = {name: min(ratio, rows[name]["ratio"]) for name, ratio in best.items()}
        assert not any(rows[name].get("wrong") for name in RATIOS)
        if all(best[name] <= most for name, most in RATIOS.items()):
            return
    pytest.fail(f"{best} in {TRIES} runs, allowed: {RATIOS}")


def test_groups_that_drive_a_mirror_measure_something():
    # They reach for what a mirror is made of, so a change of the mirror may break them unseen.
    rows = run("benchmarks", "--only", "fan_out", "reading", "snapshot", "starting", "--quick", "--json")
    assert all(rows[name]["ratio"] > 0 for name in ("fan_out_100_subscribers", "live_read", "cold_start_cpu"))
    assert rows["fan_out_100_subscribers"]["us_per_delivered_update"] > 0

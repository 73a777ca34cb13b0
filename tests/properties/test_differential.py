"""No read that was granted is older than it says, whatever happens: seeded runs against a venue that shares nothing.

Each kind of REST is played with everything that goes wrong, on a few seeds that are always the same and on fresh ones,
until enough reads were judged. How many that is does not depend on how quick the machine is. A failure prints its seed
and how to repeat it; millions more are played by ``python -m tests.properties.differential [--stale-rest]``.
"""

from __future__ import annotations

import secrets
from itertools import chain, count

import pytest

from tests.plain.run import FAULTS
from tests.properties.differential import Result, judged, told
from tests.simulation.dating_mutants import DATING_MUTANTS

SHRINKING = 20.0
"""How long the failing seeds are shrunk, in seconds, at most."""

FIXED = (*range(1, 7), 1897532016)
"""Seeds that are played every time; the last one found the judge unjust: what was heard was newer than the question."""

ENOUGH = 400_000
"""Granted reads after which no more seeds are played: about a quarter of a minute."""


@pytest.mark.slow
@pytest.mark.timeout(900)  # So that a slow machine changes no verdict.
@pytest.mark.parametrize("stale_rest", [False, True], ids=["honest REST", "stale REST"])
def test_no_granted_read_is_older_than_it_says(stale_rest):
    total, first = Result(), secrets.randbits(32)
    for seed in chain(FIXED, count(first)):
        total.add(judged(seed, stale_rest=stale_rest))
        if total.failures or total.granted >= ENOUGH:
            break
    told_of = [told(each, seconds=SHRINKING / len(total.failures)) for each in total.failures]
    assert not total.failures, "\n".join([f"fresh seeds from {first}", str(total), *told_of])


def test_a_run_repeats_itself_and_leaving_out_a_kind_leaves_the_others():
    first, second = judged(11), judged(11)
    assert (first.granted, first.refused, first.excused) == (second.granted, second.refused, second.excused)
    calm = judged(11, without=frozenset(FAULTS))
    assert calm.granted > first.granted / 4
    assert not calm.wrong


@pytest.mark.parametrize(("rule", "stale_rest"), [("D1 for answers", False), ("D2 for answers", True)])
def test_an_engine_that_dates_answers_wrongly_is_found_out(rule, stale_rest, monkeypatch):
    monkeypatch.setattr("tests.plain.driver.Engine", DATING_MUTANTS[rule][0])
    assert any(judged(seed, stale_rest=stale_rest).wrong for seed in FIXED)

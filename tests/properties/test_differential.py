"""No read that was granted is older than it says, whatever happens: random runs against a venue that shares nothing.

Fresh seeds in each run. A failure prints its seed and how to repeat it.
"""

from __future__ import annotations

import secrets
import time

import pytest

from tests.plain.run import FAULTS
from tests.properties.differential import Result, judged, told

SECONDS = 25.0
"""How long the random runs of one test take."""

KNOWN = (1, 2, 3, 4, 5, 6, 7, 8)
"""Seeds that are always played."""


@pytest.mark.parametrize("stale_rest", [False, True], ids=["honest REST", "stale REST"])
def test_no_granted_read_is_older_than_it_says(stale_rest):
    first, until = secrets.randbits(32), time.monotonic() + SECONDS
    total = Result()
    seeds = iter([*KNOWN, *range(first, first + 10_000)])
    while time.monotonic() < until and not total.failures:
        total.add(judged(next(seeds), stale_rest=stale_rest))
    assert not total.failures, "\n".join([str(total), *(told(each, seconds=20.0) for each in total.failures)])
    assert total.granted > 20_000


def test_a_run_repeats_itself_and_leaving_out_a_kind_leaves_the_others():
    first, second = judged(11), judged(11)
    assert (first.granted, first.refused, first.excused) == (second.granted, second.refused, second.excused)
    calm = judged(11, without=frozenset(FAULTS))
    assert calm.granted > first.granted / 4
    assert not calm.wrong

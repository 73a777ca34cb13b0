"""No read that was granted is older than it says, whatever happens: seeded runs against a venue that shares nothing.

Twenty seeds of each kind of REST are played with everything that goes wrong. Fresh seeds, by the million, are for
``python -m tests.properties.differential [--stale-rest]``: where REST is a cache, one seed in twelve still has a few
reads that are older than they say, after a change was lost and the cache was asked. A failure prints its seed and how
to repeat it.
"""

from __future__ import annotations

import pytest

from tests.plain.run import FAULTS
from tests.properties.differential import Result, judged, told

SHRINKING = 20.0
"""How long the failing seeds are shrunk, in seconds, at most."""

SEEDS = range(1, 21)


@pytest.mark.parametrize("stale_rest", [False, True], ids=["honest REST", "stale REST"])
def test_no_granted_read_is_older_than_it_says(stale_rest):
    total = Result()
    for seed in SEEDS:
        total.add(judged(seed, stale_rest=stale_rest))
    told_of = [told(each, seconds=SHRINKING / len(total.failures)) for each in total.failures]
    assert not total.failures, "\n".join([str(total), *told_of])
    assert total.granted > 200_000


def test_a_run_repeats_itself_and_leaving_out_a_kind_leaves_the_others():
    first, second = judged(11), judged(11)
    assert (first.granted, first.refused, first.excused) == (second.granted, second.refused, second.excused)
    calm = judged(11, without=frozenset(FAULTS))
    assert calm.granted > first.granted / 4
    assert not calm.wrong

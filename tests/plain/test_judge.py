"""What the judge of the differential tests excuses, and what it does not: fed by hand, without an engine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.plain.judge import MISDATED, UNHEARD, Judge
from tests.plain.venue import Truth

A, B, C = ((((4800, size),), ((5200, size),)) for size in (1, 2, 3))
OLDER = "older than what was heard, proven by nothing"


def judged(states, heard, *, asked=(), stated=(), now, age):
    """Show A with an age, after ``states`` [(when, levels)], heard and asked {state: when}, stated {state: time}."""
    truth = Truth()
    for when, levels in states:
        truth.note(levels, when)
    engine = SimpleNamespace(clock=SimpleNamespace(uncertainty=0.0))
    judge = Judge(
        SimpleNamespace(now=now, market_of={"t": None}, truth=lambda _: truth, engine=engine), honest_delay=0.05
    )
    known = judge.known["t"]
    known.heard.update(heard)
    known.newest = max(heard)
    known.asked.update(asked)
    known.stated.update(stated)
    known.shown, known.levels, known.index, known.seen = 0, A, truth.index(A), len(states)
    view = SimpleNamespace(levels=0, verified_age=age, settled=True, epoch=1, last_proof=None, clock_uncertainty=0.0)
    judge.judge("t", known, view, None)
    return [*judge.excused, *judge.wrong]


AGAIN = [(0.0, A), (1.0, B), (5.0, A), (6.0, C)]
HEARD = {0: 0.0, 1: 1.0, 2: 5.0, 3: 6.1}


@pytest.mark.parametrize(
    ("stated", "found"),
    [({}, OLDER), ({0: 5.9}, OLDER), ({0: 10.0}, MISDATED), ({2: 10.0}, MISDATED)],
    ids=["nothing", "earlier than what was heard", "later, before it was another state", "later"],
)
def test_a_time_in_the_future_excuses_levels_that_by_it_came_after_all_that_was_heard(stated, found):
    assert judged(AGAIN, HEARD, stated=stated, now=8.0, age=1.0) == [found]


@pytest.mark.parametrize(
    ("heard", "asked", "now", "age", "excused"),
    [
        ({0: 0.0, 2: 6.1}, 5.0, 6.2, 1.2, True),
        ({0: 0.0, 2: 6.1}, 4.0, 6.2, 1.2, False),
        ({0: 0.0, 1: 6.1}, 5.0, 6.2, 1.2, False),
        ({0: 0.0, 2: 6.1}, 5.0, 14.0, 9.0, False),
    ],
    ids=["newer than the question", "the question is older", "older than the question", "heard long ago"],
)
def test_a_stale_answer_is_excused_for_as_long_as_what_is_newer_is_new(heard, asked, now, age, excused):
    found = judged([(0.0, A), (1.0, B), (6.0, C)], heard, asked={0: asked}, now=now, age=age)
    assert (found == [UNHEARD]) == excused
    assert len(found) == 1

from __future__ import annotations

import pytest

from polymirror.commands.reads import ALLOWANCE, Ages, Reads
from polymirror.core.states import BookState, Reason
from polymirror.errors import NotLive


class View:
    token, epoch, verified_age, apply_lag, last_proof = "1", 0, 0.5, 0.1, None
    bids = ((4_800, 1),)
    asks = ((4_900, 1),)


class Mirror:
    def __init__(self, view=None):
        self.view = view

    def live(self, token, max_proof_age=None):
        if self.view is None:
            raise NotLive(token, BookState.SUSPECT, Reason.STALE, 1.0, 0)
        return self.view


class Truth:
    def __init__(self, *, true_within):
        self.true_within = true_within
        self.asked = []

    def confirms(self, view, slack):
        self.asked.append(view.verified_age + slack)
        return view.verified_age + slack >= self.true_within


def test_a_true_read_is_granted_and_its_age_counted():
    reads = Reads(Mirror(View()), Truth(true_within=0))
    reads.read("1")
    assert (reads.granted, reads.wrong, reads.examples) == (1, 0, [])
    assert reads.ages.quantile(0.5) == pytest.approx(0.5)


def test_a_read_older_than_it_claims_is_wrong_and_told():
    reads = Reads(Mirror(View()), Truth(true_within=0.5 + 0.1 + ALLOWANCE + 0.001))
    reads.read("1")
    assert reads.wrong == 1
    assert "was true before that age only" in reads.examples[0]


def test_a_read_that_never_was_true_is_wrong_and_told():
    reads = Reads(Mirror(View()), Truth(true_within=float("inf")))
    reads.read("1")
    assert "was never true" in reads.examples[0]


def test_a_busy_event_loop_is_allowed_for_but_an_early_one_gives_no_credit():
    truth = Truth(true_within=0)
    reads = Reads(Mirror(View()), truth)
    reads.stalled(-1.0)
    reads.read("1")
    reads.stalled(2.0)
    reads.read("1")
    assert truth.asked == [pytest.approx(0.6 + ALLOWANCE), pytest.approx(2.6 + ALLOWANCE)]


def test_refused_reads_are_counted_by_state():
    reads = Reads(Mirror(), Truth(true_within=0))
    reads.read("1")
    assert reads.refused == {"SUSPECT": 1}
    assert reads.granted == 0


def test_quantiles_of_ages_are_those_of_the_counted_ages():
    ages = Ages()
    assert ages.quantile(0.5) is None
    for each in range(1, 101):
        ages.add(each / 1000)
    assert ages.quantile(0.5) == pytest.approx(0.05)
    assert ages.quantile(0.99) == pytest.approx(0.099)
    ages.add(float(10**9))
    assert ages.quantile(1) == pytest.approx(60)

"""How speed is compared: round by round, by medians, and only among those who show the right prices."""

from __future__ import annotations

import gc

import pytest

from benchmarks.speed.frames import DENSE_48, make_frames
from benchmarks.speed.method import RAISED, Contestant, Costs, Lane, no_collections, percentile, quartiles, race
from benchmarks.speed.own import Mirrored, MsgspecFloor
from benchmarks.speed.rows import Options, Row, missing

FRAMES = make_frames(DENSE_48, 120)


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_the_medians():
    mine, theirs = Costs((2.0, 40.0, 6.0)), Costs((1.0, 10.0, 6.0))
    assert mine.over(theirs).rounds == (2.0, 4.0, 1.0)
    assert mine.over(theirs).median == 2.0
    assert mine.median == 6.0
    assert mine.plus(theirs).rounds == (3.0, 50.0, 12.0)


def test_the_spread_is_the_quartiles():
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0)


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_measured(share, value):
    assert percentile(list(range(100, 0, -1)), share) == value


def test_races_run_without_the_collector_and_leave_it_as_it_was():
    with no_collections():
        assert not gc.isenabled()
    assert gc.isenabled()


class Wrong(Mirrored):
    """Is right until its twentieth frame."""

    taken = 0

    def take(self, slice_, times):
        self.taken += len(slice_)
        super().take(slice_, times)

    def tops(self):
        one, other = super().tops()
        return ((one[0] - 100, one[1]), other) if self.taken >= 20 else (one, other)


class Raising(Contestant):
    name = "raising"

    def open(self, frames):
        raise ValueError("no such book")


def own(name: str = "own") -> Mirrored:
    return Mirrored(name, proven=True)


def test_who_shows_other_prices_is_marked_wrong_at_the_frame_where_it_begins():
    lanes = {"own": Lane(own, FRAMES), "wrong": Lane(lambda: Wrong("wrong", proven=True), FRAMES)}
    done = race(lanes, rounds=2, checked=50)
    assert set(done.wrong) == {"wrong"}
    assert done.wrong["wrong"].startswith("after frame 19:")
    assert set(done.costs) == {"own", "wrong"}


def test_who_is_wrong_only_at_the_end_is_marked_too():
    lanes = {"wrong": Lane(lambda: Wrong("wrong", proven=True), FRAMES)}
    assert race(lanes, rounds=2, checked=10).wrong["wrong"].startswith("after frame 119:")


def test_who_raises_is_left_out_and_stops_nobody():
    done = race({"own": Lane(own, FRAMES), "raising": Lane(Raising, FRAMES)}, rounds=2, checked=10)
    assert done.wrong["raising"] == f"{RAISED} ValueError: no such book"
    assert set(done.costs) == {"own"}


def test_every_round_is_a_slice_of_its_own_and_the_first_is_not_counted():
    seen = []

    class Noting(MsgspecFloor):
        def take(self, slice_, times):
            seen.append((slice_[0], len(slice_)))

    done = race({"noting": Lane(Noting, FRAMES)}, rounds=3, checked=0)
    assert [size for _, size in seen] == [30] * 4
    assert len({first for first, _ in seen}) == 4
    assert len(done.costs["noting"].rounds) == 3
    assert done.frames == 90


@pytest.mark.parametrize(
    ("ratio", "at_least", "reason", "ok"),
    [(2.0, False, "", True), (2.1, False, "", False), (2.0, True, "", True), (1.9, True, "", False),
     (1.0, False, "dropped 3 frames", False), (None, False, "", False)],
)  # fmt: skip
def test_a_row_is_ok_only_when_its_target_is_met_and_nothing_speaks_against_it(ratio, at_least, reason, ok):
    row = Row("name", "title", ratio, 2.0, at_least=at_least, reason=reason)
    assert row.ok is ok
    assert row.as_json()["ok"] is ok


def test_what_was_not_measured_is_never_ok_and_says_why():
    row = missing("name", "title", 1.0, "not installed", at_least=True)
    assert row.as_json() == {
        "ratio": None, "target": 1.0, "ok": False, "unit": "x", "bound": "at least", "title": "title",
        "reason": "not installed",
    }  # fmt: skip


def test_quick_runs_choose_the_small_counts():
    assert [Options(quick=quick).choose(10, 1) for quick in (False, True)] == [10, 1]

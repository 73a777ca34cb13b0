"""The measuring itself: the grid, what counts as wrong or unavailable, and the run without a fault."""

from __future__ import annotations

import pytest

from benchmarks import arena as module
from benchmarks.arena import GRID, LATENCY_MS, LIMITS, WARM_UP, Arena, Order
from benchmarks.peers import HEDGED, OWN, SUBJECTS, Absent, load
from benchmarks.peers.naive_script import NaiveScript
from benchmarks.schedule import NO_FAULT
from polymirror.simulator.faults.catalogue import FAULTS

SECONDS = 60.0


def measure(fault, subject, seconds=SECONDS):
    return Arena(Order(fault, subject, 7, seconds)).measure()


def worst(cell):
    return max([*cell.wrong_full.values(), *cell.wrong_top.values()])


@pytest.mark.parametrize("subject", SUBJECTS)
def test_nobody_is_wrong_without_a_fault(subject):
    try:
        _ = subject in OWN or load(subject)
    except Absent as error:
        pytest.skip(str(error))
    cells = measure(NO_FAULT, subject)
    assert [worst(cell) for cell in cells] == [0.0] * len(cells)
    assert cells[0].unavailable == 0.0


def test_polymirror_is_never_wrong_beyond_its_promise_when_a_token_freezes_and_the_script_is():
    default, quarter = measure("frozen_token", "", 120.0)
    (script,) = measure("frozen_token", "naive_script", 120.0)
    assert script.wrong_full[15.0] > 1.0
    assert default.wrong_full[15.0] == default.wrong_top[15.0] == 0.0
    assert quarter.wrong_full[0.25] == quarter.wrong_top[0.25] == 0.0
    assert default.unavailable > script.unavailable == 0.0
    assert default.strikes == script.strikes > 0


def test_a_token_that_goes_its_own_way_is_judged_by_its_own_book():
    (script,) = measure("asymmetric_market", "naive_script", 120.0)
    default, quarter = measure("asymmetric_market", "", 120.0)
    assert default.strikes > 0
    assert default.wrong_full[15.0] == quarter.wrong_full[15.0] == 0.0
    assert script.unavailable == 0.0


def test_the_same_order_gives_the_same_cell():
    assert measure("lost_delta", "naive_script") == measure("lost_delta", "naive_script")


def patch_script(monkeypatch, sides):
    class Script(NaiveScript):
        def sides(self, token):
            self.touch(token)
            return sides(self, token)

    monkeypatch.setattr(module, "load", lambda _: Script)


def test_a_book_that_never_was_is_wrong_at_every_point_of_the_grid(monkeypatch):
    patch_script(monkeypatch, lambda *_: ([(4_000, 77)], [(4_100, 77)]))
    (cell,) = measure(NO_FAULT, "naive_script")
    whole = pytest.approx(SECONDS - WARM_UP, abs=GRID)
    assert cell.wrong_full == dict.fromkeys(LIMITS, whole)
    assert cell.wrong_top == dict.fromkeys(LIMITS, whole)
    assert cell.unavailable == 0.0


def test_a_book_that_is_wrong_only_below_the_top_is_not_wrong_at_the_top(monkeypatch):
    def sides(script, token):
        bids, asks = NaiveScript.sides(script, token)
        return [(price, size + (price == min(bids)[0])) for price, size in bids], asks

    patch_script(monkeypatch, sides)
    (cell,) = measure(NO_FAULT, "naive_script")
    assert cell.wrong_full[0.25] == pytest.approx(SECONDS - WARM_UP, abs=GRID)
    assert cell.wrong_top[0.25] == 0.0


@pytest.mark.parametrize("reading", [None, ([], [])])
def test_no_reading_and_an_empty_one_are_unavailable_and_not_wrong(monkeypatch, reading):
    patch_script(monkeypatch, lambda *_: reading)
    (cell,) = measure(NO_FAULT, "naive_script")
    assert cell.unavailable == pytest.approx(SECONDS - WARM_UP, abs=GRID)
    assert worst(cell) == 0.0


def test_an_old_book_is_wrong_only_after_the_limit_and_the_delay(monkeypatch):
    first = {}

    def sides(script, token):
        # The first book, for ever.
        return first.setdefault(token, NaiveScript.sides(script, token))

    patch_script(monkeypatch, sides)
    (cell,) = measure(NO_FAULT, "naive_script")
    # The last books from before the first reading were replaced soon after it.
    late = 15.0 - 0.25
    assert cell.wrong_full[0.25] - cell.wrong_full[15.0] == pytest.approx(late, abs=2 * GRID)
    assert cell.wrong_full[15.0] == pytest.approx(SECONDS - WARM_UP - 15.0, abs=1.0)


def test_a_settled_market_is_not_counted_as_unavailable():
    (cell,) = measure("settlement", "naive_script", 120.0)
    assert cell.strikes > 0
    assert cell.unavailable == 0.0


def test_the_delay_allows_for_the_network_and_for_what_the_fault_holds_back():
    (quick,) = measure("lost_delta", "naive_script", 12.0)
    (slow,) = measure("latency", "naive_script", 12.0)
    assert quick.delay_ms == LATENCY_MS
    assert slow.delay_ms == LATENCY_MS + FAULTS["latency"].max_latency_ms


def test_nobody_is_blamed_for_what_the_fault_still_holds_back():
    (cell,) = measure("latency", "naive_script", 120.0)
    assert cell.strikes > 0
    assert worst(cell) == 0.0


def test_a_second_connection_makes_a_lagging_one_cost_nothing():
    alone, _ = measure("lagging_market", "", 180.0)
    hedged, quarter = measure("lagging_market", HEDGED, 180.0)
    assert alone.strikes == hedged.strikes > 0
    assert alone.unavailable > 10 * hedged.unavailable
    assert worst(hedged) == quarter.wrong_full[0.25] == 0.0

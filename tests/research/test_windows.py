"""Windows: what counts from when, and what cannot be known yet."""

from __future__ import annotations

import pytest

from bots.research.windows import Quotes, Ticks, e4, e8, strike_from
from tests.research.builders import START_MS, quotes, ticks, window


def test_a_tick_counts_from_its_receipt_not_from_its_own_time() -> None:
    told = ticks((0, "50000"), (10, "50100"), lag_ms=1_500)
    assert told.newest(START_MS + 11_499) == 0
    assert told.newest(START_MS + 11_500) == 1
    assert told.newest(START_MS) is None


def test_the_next_price_is_one_that_came_strictly_later() -> None:
    seen = quotes((1, "0.5"), (2, "0.6"))
    assert seen.first_after(START_MS + 1_000) == 1
    assert seen.first_after(START_MS + 999) == 0
    assert seen.first_after(START_MS + 2_000) is None


def test_a_window_without_its_future_has_no_later_values_and_no_outcome() -> None:
    whole = window(ticks((0, "50000"), (10, "50100")), quotes((1, "0.5"), (12, "0.6")))
    now = whole.until(START_MS + 11_000)
    assert (len(now.oracle.at_ms), now.up_won) == (2, None)
    assert now.up is not None
    assert list(now.up.ask_e4) == [5_000]
    assert now.strike_e8 == whole.strike_e8
    assert whole.until(START_MS - 1).strike_e8 is None


def test_the_other_side_costs_what_is_paid_for_this_one() -> None:
    down = quotes((1, "0.6")).complement()
    assert (list(down.ask_e4), list(down.bid_e4), down.derived) == ([4_100], [4_000], True)
    nobody = Quotes(received_ms=[1], bid_e4=[0], ask_e4=[0]).complement()
    assert (list(nobody.ask_e4), list(nobody.bid_e4)) == ([0], [0])


def test_the_opening_price_is_the_nearest_tick_and_known_from_its_receipt() -> None:
    told = ticks((-1, "49900"), (0, "50000"), (1, "50100"), lag_ms=1_300)
    assert strike_from(told, START_MS) == (e8("50000"), START_MS + 1_300)
    assert strike_from(ticks((2, "50000")), START_MS) is None


@pytest.mark.parametrize(
    "columns",
    [
        {"at_ms": [1, 2], "received_ms": [1], "price_e8": [1, 2]},
        {"at_ms": [1, 2], "received_ms": [2, 1], "price_e8": [1, 2]},
    ],
)
def test_series_that_do_not_fit_together_are_refused(columns: dict[str, list[int]]) -> None:
    with pytest.raises(ValueError, match="series"):
        Ticks(**columns)


def test_texts_become_whole_numbers_without_a_float_in_between() -> None:
    assert (e8("65048.078902260626"), e4("0.445"), e4("0.0005")) == (6_504_807_890_226, 4_450, 5)

"""Intervals and what chance explains, against known values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bots.research.stats import block_bootstrap, blocks_of, deflated, interval_of, mean_interval, sharpe, wilson
from tests.research.builders import DAY_MS, HOUR_MS, START_MS


def test_wilson_gives_the_textbooks_range() -> None:
    found = wilson(8, 10)
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10).low == 0
    assert math.isnan(wilson(0, 0).mean)


def test_with_one_value_a_block_the_range_is_students() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = mean_interval(values, range(5))
    # The mean 3, its standard error sqrt(2.5 / 5), Student's quantile for four degrees of freedom.
    assert (found.low, found.high) == pytest.approx(
        (3 - 2.7764 * math.sqrt(0.5), 3 + 2.7764 * math.sqrt(0.5)), abs=1e-3
    )


def test_values_that_hang_together_count_as_one() -> None:
    rng = np.random.default_rng(1)
    days = rng.normal(0, 1, 20).repeat(50)
    apart = mean_interval(list(days), range(len(days)))
    together = mean_interval(list(days), [each // 50 for each in range(len(days))])
    assert together.high - together.low > 4 * (apart.high - apart.low)
    drawn = block_bootstrap(list(days), [each // 50 for each in range(len(days))], seed=1)
    assert drawn.high - drawn.low > 3 * (apart.high - apart.low)


def test_one_block_gives_a_mean_and_no_range() -> None:
    for found in (mean_interval([1.0, 2.0], [0, 0]), block_bootstrap([1.0, 2.0], [0, 0], seed=1)):
        assert found.mean == 1.5
        assert math.isnan(found.low)
        assert not found.is_positive
        assert not found.is_negative


def test_few_days_are_cut_into_hours() -> None:
    assert blocks_of([START_MS + each * DAY_MS for each in range(5)]) == [
        START_MS // DAY_MS + each for each in range(5)
    ]
    assert blocks_of([START_MS, START_MS + HOUR_MS]) == [START_MS // HOUR_MS, START_MS // HOUR_MS + 1]


def test_the_more_was_tried_the_less_a_result_counts() -> None:
    rng = np.random.default_rng(3)
    values = list(rng.normal(0.2, 1, 200))
    few, many = ([sharpe(list(rng.normal(0, 1, 50))) for _ in range(count)] for count in (2, 200))
    assert deflated(values, few) > deflated(values, many)
    assert deflated(values, [sharpe(values)]) > 0.95
    assert math.isnan(deflated([1.0, 2.0], few))


def test_anything_can_have_an_interval_and_the_same_seed_gives_the_same() -> None:
    data = np.arange(100.0)
    first, second = (interval_of(lambda drawn: float(np.median(data[drawn])), 100, seed=5) for _ in range(2))
    assert first == second
    assert first.low < 49.5 < first.high
    assert interval_of(lambda _: 0.0, 0, seed=5).count == 0

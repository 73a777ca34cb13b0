"""Fees: exact, on the venue's grid, and only on terms that can be computed with."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymirror.core.fees import FEE_STEP, NO_FEE, FeeSchedule, charged_fee, exact_fee, highest_fee

CRYPTO = FeeSchedule(Decimal("0.07"), 1)

prices = st.integers(1, 9_999).map(lambda units: Decimal(units).scaleb(-4))
sizes = st.integers(1, 10**12).map(lambda units: Decimal(units).scaleb(-6))
schedules = st.builds(
    FeeSchedule, st.integers(0, 10_000).map(lambda units: Decimal(units).scaleb(-4)), st.integers(0, 8)
)


@pytest.mark.parametrize(
    ("price", "fee"), [("0.50", "1.75"), ("0.90", "0.63"), ("0.97", "0.2037"), ("0.001", "0.00699")]
)
def test_the_fee_of_a_hundred_shares_is_what_the_venue_publishes(price, fee):
    assert charged_fee(CRYPTO, Decimal(price), Decimal(100)) == Decimal(fee)


def test_the_older_terms_with_exponent_two_are_computed_too():
    assert exact_fee(FeeSchedule(Decimal("0.25"), 2), Decimal("0.5"), Decimal(100)) == Decimal("1.5625")


@given(schedules, prices, sizes)
def test_the_fee_is_exact_whatever_the_callers_precision(schedule, price, size):
    with localcontext(prec=3):
        fee, charged = exact_fee(schedule, price, size), charged_fee(schedule, price, size)
    p = Fraction(price)
    # 60 digits hold every product up to exponent 6; beyond, the rest is far below the venue's grid.
    assert abs(
        Fraction(fee) - Fraction(size) * Fraction(schedule.rate) * (p * (1 - p)) ** schedule.exponent
    ) < Fraction(1, 10**30)
    with localcontext(prec=60):
        assert charged == fee.quantize(FEE_STEP, ROUND_HALF_UP)


@given(schedules, prices, st.lists(sizes, min_size=1, max_size=6))
def test_what_is_reserved_covers_the_fill_however_it_is_cut_and_rounded(schedule, price, parts):
    reserved = highest_fee(schedule, price, sum(parts, Decimal(0)), fills=len(parts))
    assert reserved >= sum((charged_fee(schedule, price, part) for part in parts), Decimal(0))
    assert reserved >= sum((highest_fee(schedule, price, part) for part in parts), Decimal(0))
    assert reserved >= exact_fee(schedule, price, sum(parts, Decimal(0)))


@given(schedules, prices, prices)
def test_a_dearer_share_never_costs_less_with_its_fee(schedule, one, other):
    low, high = sorted((one, other))
    assert low + exact_fee(schedule, low, Decimal(1)) <= high + exact_fee(schedule, high, Decimal(1))


@pytest.mark.parametrize(
    ("rate", "exponent"), [("1.5", 1), ("-0.1", 1), ("NaN", 1), ("Infinity", 1), ("0.07", 9), ("0.07", -1)]
)
def test_terms_that_cannot_be_computed_with_say_so(rate, exponent):
    assert "not believable (rate 0 to 1, exponent 0 to 8)" in FeeSchedule(Decimal(rate), exponent).problem


def test_terms_that_can_be_computed_with_have_no_problem():
    assert CRYPTO.problem == NO_FEE.problem == ""
    assert charged_fee(NO_FEE, Decimal("0.5"), Decimal(100)) == 0


def test_terms_as_plain_objects():
    assert CRYPTO.to_dict() == {"rate": "0.07", "exponent": 1, "taker_only": True, "rebate_rate": "0"}

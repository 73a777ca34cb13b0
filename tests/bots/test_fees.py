"""Fees: exact, on the venue's grid, and never assumed."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bots.common.errors import FeeUnknown
from bots.common.fees import FEE_STEP, charged_fee, exact_fee, highest_fee, schedule_of
from bots.common.orders import NO_FEE
from polymirror.venue.market import ClobMarket, FeeSchedule, Market, Oracle, Token

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


MARKET = Market(
    slug="btc-updown-15m-1", question="?", condition_id="0xm", tokens=(Token("1", "Up"), Token("2", "Down")),
    window_start=1, window_end=2, tick_size="0.01", min_order_size="5", neg_risk=False, fees_enabled=True,
    fee=CRYPTO, oracle=Oracle(None), active=True, closed=False, accepting_orders=True, winner=None,
    price_to_beat=None, final_price=None,
)  # fmt: skip
CLOB = ClobMarket("0xm", MARKET.tokens, "0.01", "5", neg_risk=False, fee=CRYPTO, taker_delay=True)


def test_terms_that_both_services_state_alike_are_used():
    assert schedule_of(MARKET, CLOB) == CRYPTO
    assert schedule_of(MARKET) == CRYPTO
    assert schedule_of(evolve(MARKET, fee=None), CLOB) == CRYPTO


def test_a_market_without_fees_has_none():
    free = evolve(MARKET, fees_enabled=False, fee=None)
    assert schedule_of(free, evolve(CLOB, fee=None)) == NO_FEE
    assert schedule_of(free, CLOB) == CRYPTO


@pytest.mark.parametrize(
    ("market", "clob", "why"),
    [
        (evolve(MARKET, fee=None), evolve(CLOB, fee=None), "no terms are stated"),
        (evolve(MARKET, fee=None), None, "no terms are stated"),
        (MARKET, evolve(CLOB, fee=FeeSchedule(Decimal("0.072"), 1)), r"0\.07\^1 and 0\.072\^1"),
        (evolve(MARKET, fee=FeeSchedule(Decimal("1.5"), 1)), None, "not believable"),
        (evolve(MARKET, fee=FeeSchedule(Decimal("0.07"), 9)), None, "not believable"),
        (evolve(MARKET, fee=FeeSchedule(Decimal("NaN"), 1)), None, "not believable"),
    ],
)
def test_terms_that_are_missing_contradictory_or_absurd_are_refused(market, clob, why):
    with pytest.raises(FeeUnknown, match=why):
        schedule_of(market, clob)

"""Orders: only such as the venue takes can exist, and each survives being written down."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from bots.common.errors import OrderInvalid
from bots.common.money.amounts import ASKED_STEP, TICKS, decimal_of, is_multiple, keeps_price, money_for, shares_for
from bots.common.orders.order import Order, Outcome, Result, Side
from tests.bots.execution_rig import buy, d, sell

ticks = st.sampled_from(TICKS)
cents = st.integers(100, 10_000_000).map(lambda units: Decimal(units).scaleb(-2))


@st.composite
def priced(draw):
    tick = draw(ticks)
    return tick, tick * draw(st.integers(1, int(1 / tick) - 1))


def implied_price_is_the_limit(order: Order) -> bool:
    """Whether the price that the venue reads off the amounts is below the next price of its finest grid."""
    implied, limit = Fraction(order.money) / Fraction(order.shares), Fraction(order.price)
    step = Fraction(1, 10_000)
    return limit <= implied < limit + step if order.side is Side.BUY else limit - step < implied <= limit


@given(priced(), cents)
def test_every_market_order_to_buy_obeys_the_venues_decimals(grid, money):
    tick, price = grid
    assume(keeps_price(money, shares_for(money, price, tick), price))
    order = buy(money, price, tick=tick)
    assert order.offered == money
    assert is_multiple(order.offered, d("0.01"))
    assert is_multiple(order.asked, ASKED_STEP[tick])
    assert is_multiple(order.asked, d("0.0001"))
    assert implied_price_is_the_limit(order)
    assert Fraction(order.asked) <= Fraction(money) / Fraction(price) < Fraction(order.asked + ASKED_STEP[tick])


@given(priced(), st.integers(1_000, 10_000_000).map(lambda units: Decimal(units).scaleb(-2)))
def test_every_market_order_to_sell_obeys_the_venues_decimals(grid, shares):
    tick, price = grid
    assume(keeps_price(money_for(shares, price, tick), shares, price))
    order = sell(shares, price, tick=tick)
    assert order.offered == shares
    assert is_multiple(order.asked, ASKED_STEP[tick])
    assert implied_price_is_the_limit(order)


@pytest.mark.parametrize("outcome", Outcome)
def test_only_an_unknown_order_is_not_decided(outcome):
    assert Result(outcome=outcome).decided == (outcome is not Outcome.UNKNOWN)


def test_cash_counts_the_fee_against_us_on_both_sides():
    result = Result(outcome=Outcome.FILLED, shares=d(10), money=d("5.2"), fee=d("0.17"))
    assert result.cash(Side.BUY) == d("-5.37")
    assert result.cash(Side.SELL) == d("5.03")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"price": "0.525"}, "price"),
        ({"price": "0"}, "price"),
        ({"price": "1"}, "price"),
        ({"price": "0.52", "tick": d("0.02")}, "tick"),
        ({"money": "10.405"}, "money"),
        ({"money": "0"}, "money"),
        ({"money": "1000000.01"}, "money"),
        ({"money": "NaN"}, "money"),
        ({"money": "Infinity"}, "money"),
        ({"price": "sNaN"}, "price"),
        ({"client_id": "a b"}, "client_id"),
        ({"client_id": "x" * 81}, "client_id"),
        ({"token": ""}, "token"),
        ({"created_ms": 0}, "created_ms"),
    ],
)
def test_an_order_the_venue_would_refuse_cannot_be_made(changes, field):
    with pytest.raises(OrderInvalid, match=field):
        buy(**changes)


def test_an_order_too_small_to_state_its_price_cannot_be_made():
    with pytest.raises(OrderInvalid, match=r"money=1\.00 .* 1\.666 shares are worth at 0\.6"):
        buy("1.00", "0.6", tick=d("0.1"))


@pytest.mark.parametrize(
    "changes", [{"shares": d("20.1")}, {"shares": d("20.0001")}, {"shares": d("19.9")}, {"money": d("10.41")}]
)
def test_amounts_that_stand_for_another_price_are_refused(changes):
    with pytest.raises(OrderInvalid):
        evolve(buy(), **changes)


@pytest.mark.parametrize("value", [0.5, True, None, "1,5", "inf", Decimal("sNaN"), [1]])
def test_no_float_becomes_an_amount(value):
    with pytest.raises(OrderInvalid):
        decimal_of("money", value)


def test_the_salt_follows_from_the_client_id_and_fits_a_double():
    assert buy().salt == buy(money="20").salt != buy(client_id="c2").salt
    assert 0 <= buy().salt < 2**53

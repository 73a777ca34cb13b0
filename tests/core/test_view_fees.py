"""Walks that count fees: exact, on top of the money, and never on terms that nobody knows."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from polymirror.core.fees import NO_FEE, FeeSchedule, charged_fee
from polymirror.errors import FeeUnknown, UnitError
from tests.core.builders import Rig

if TYPE_CHECKING:
    from polymirror.core.view import BookView

CRYPTO = FeeSchedule(Decimal("0.07"), 1)
CALLS = ("cost_to_buy", "proceeds_of_selling", "buy_with", "sell_for")


@pytest.fixture
def view(rig: Rig) -> BookView:
    """0.48 x 100, 0.45 x 20, 0.40 x 10 | 0.52 x 100, 0.55 x 20, 0.60 x 10."""
    return replace(rig.live_view("11"), fee=CRYPTO)


def test_the_fee_of_a_purchase_is_that_of_each_level(view):
    fill = view.cost_to_buy(110, fees=True)
    fees = charged_fee(CRYPTO, Decimal("0.52"), Decimal(100)) + charged_fee(CRYPTO, Decimal("0.55"), Decimal(10))
    assert fill.fee == fees == Decimal("1.92045")
    assert fill.total == fill.money + fees
    assert (fill.money, fill.average) == (view.cost_to_buy(110).money, view.cost_to_buy(110).average)


def test_the_fee_of_a_sale_is_taken_from_what_is_received(view):
    fill = view.proceeds_of_selling(100, fees=True)
    assert (fill.money, fill.fee, fill.total) == (48, Decimal("1.7472"), Decimal("46.2528"))


def test_a_fee_comes_on_top_of_the_money_that_is_offered(view):
    bought, sold = view.buy_with(52, fees=True), view.sell_for(48, fees=True)
    assert (bought.shares, bought.money, bought.total) == (100, 52, Decimal("53.7472"))
    assert (sold.shares, sold.money, sold.total) == (100, 48, Decimal("46.2528"))


def test_a_fee_of_less_than_half_a_step_is_none(view):
    fill = view.cost_to_buy("0.0001", fees=True)
    assert (fill.fee, fill.total) == (0, fill.money)


@pytest.mark.parametrize("call", CALLS)
def test_nothing_traded_costs_no_fee(view, call):
    assert getattr(view, call)(0, fees=True).fee == 0


@pytest.mark.parametrize("call", CALLS)
def test_a_market_without_fees_has_a_fee_of_nothing(view, call):
    fill = getattr(replace(view, fee=NO_FEE), call)(10, fees=True)
    assert (fill.fee, fill.total) == (0, fill.money)


@pytest.mark.parametrize("call", CALLS)
def test_a_fee_that_was_not_asked_for_is_no_zero(view, call):
    fill = getattr(view, call)(10)
    with pytest.raises(FeeUnknown, match="read without fees: ask for them with fees=True"):
        fill.fee  # noqa: B018 - reading is what is refused
    with pytest.raises(FeeUnknown, match="read without fees"):
        fill.total  # noqa: B018


@pytest.mark.parametrize("call", CALLS)
def test_a_fee_on_unknown_terms_is_refused(view, call):
    with pytest.raises(FeeUnknown, match="the fee terms of market 0xm are not known: add the market by its slug"):
        getattr(replace(view, fee=None), call)(10, fees=True)


def test_a_fee_on_terms_that_cannot_be_believed_is_refused(view):
    odd = replace(view, fee=FeeSchedule(Decimal("1.5"), 1))
    with pytest.raises(FeeUnknown, match=r"rate 1\.5 and exponent 1 are not believable"):
        odd.cost_to_buy(10, fees=True)
    assert odd.cost_to_buy(10).money == Decimal("5.2")


def test_an_amount_that_is_none_is_refused_with_fees_too(view):
    with pytest.raises(UnitError):
        view.cost_to_buy(1.5, fees=True)


def test_fees_do_not_depend_on_the_callers_decimal_context(view):
    before = view.cost_to_buy(110, fees=True)
    with localcontext(prec=3):
        again = view.cost_to_buy(110, fees=True)
        assert (again, again.total) == (before, before.total)


def test_the_engine_keeps_a_markets_terms_and_its_views_carry_them(rig, exchange):
    assert rig.live_view("11").fee is None
    rig.engine.track("0xm", exchange.tokens, rig.now, fee=CRYPTO)
    assert rig.live_view("11").fee is None, "nothing new was tracked"
    other = Rig()
    other.engine.track("0xm", ["11"], other.now, fee=CRYPTO)
    other.engine.track("0xm", ["22"], other.now)
    assert [other.engine.peek(token, other.now).fee for token in ("11", "22")] == [CRYPTO, CRYPTO]

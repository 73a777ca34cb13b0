"""The fee terms of a market are what the venue states, and never assumed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.errors import FeeUnknown
from bots.common.money.fees import schedule_of
from polymirror.core.fees import NO_FEE, FeeSchedule
from polymirror.venue.market import ClobMarket, Market, Oracle, Token

CRYPTO = FeeSchedule(Decimal("0.07"), 1)

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

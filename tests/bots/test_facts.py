"""A market of which the venue's two services say different things is not traded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.errors import FactsDiffer
from bots.common.orders.intents import Terms
from bots.testing.liars import measure
from polymirror.core.fees import NO_FEE
from polymirror.venue.market import ClobMarket, Token
from tests.bots.rounds_rig import market_of, window

MARKET = market_of(window())
CLOB = ClobMarket(MARKET.condition_id, MARKET.tokens, "0.01", "5", neg_risk=False, fee=MARKET.fee, taker_delay=True)
UP, DOWN = MARKET.tokens


def test_what_both_say_alike_is_joined_whatever_the_order_and_the_letters():
    other = (Token(DOWN.id, "DOWN"), Token(UP.id, "up"))
    assert Terms.of(MARKET, evolve(CLOB, tokens=other, tick_size="0.010"), "btc").fee == MARKET.fee


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tokens": (Token(UP.id, "Down"), Token(DOWN.id, "Up"))}, "tokens"),
        ({"tokens": (UP, Token("another", "Down"))}, "tokens"),
        ({"neg_risk": True}, "neg-risk"),
        ({"tick_size": "0.001"}, "tick"),
        ({"fee": None}, "fees"),
        ({"fee": NO_FEE}, "fees"),
    ],
)
def test_what_they_say_differently_is_named_and_nothing_is_joined(changes, what):
    with pytest.raises(FactsDiffer, match=what):
        Terms.of(MARKET, evolve(CLOB, **changes), "btc")


def test_fees_that_discovery_denies_are_not_believed():
    with pytest.raises(FactsDiffer, match=r"fees \(False and True\)"):
        Terms.of(evolve(MARKET, fees_enabled=False, fee=None), CLOB, "btc")
    free = Terms.of(evolve(MARKET, fees_enabled=False, fee=None), evolve(CLOB, fee=None), "btc")
    assert free.fee.rate == Decimal(0)


@pytest.mark.slow
@pytest.mark.parametrize("liar", ["labels", "tokens", "no fee"])
def test_nothing_is_bought_where_discovery_lies_and_that_is_told_within_a_minute(liar):
    found = measure([liar], rounds=4, seed=7)
    assert found.loss == 0
    assert found.told.startswith("not traded: ")
    assert found.after_s <= 60

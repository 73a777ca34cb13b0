"""The fill model: the next price after the delay, never the one that was seen."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bots.research.fills import Bought, FillModel, buy
from bots.research.windows import QuoteKind, Quotes
from polymirror.core.fees import NO_FEE, FeeSchedule, charged_fee
from tests.research.builders import START_MS, quotes

SEEN = quotes((0, "0.50"), (1, "0.55"), (5, "0.60"))
DECIDED_MS = START_MS + 900


def order(model: FillModel, seen: Quotes = SEEN, limit: str = "0.62", delay_ms: int = 0) -> Bought | str:
    return buy(model, seen, DECIDED_MS, delay_ms, Decimal(limit), Decimal(11), NO_FEE)


def price_of(found: Bought | str) -> Decimal:
    assert isinstance(found, Bought)
    return found.price


def test_an_order_trades_at_the_first_price_after_it_matches() -> None:
    assert price_of(order(FillModel(latency_ms=50))) == Decimal("0.55")


def test_latency_taker_delay_and_what_a_test_adds_come_on_top_of_each_other() -> None:
    assert price_of(order(FillModel(latency_ms=50), delay_ms=49)) == Decimal("0.55")
    assert price_of(order(FillModel(latency_ms=50), delay_ms=50)) == Decimal("0.60")
    assert price_of(order(FillModel(latency_ms=0, extra_delay_ms=100))) == Decimal("0.60")


def test_the_old_price_is_paid_only_where_that_is_asked_for() -> None:
    found = order(FillModel(price="stale"))
    assert isinstance(found, Bought)
    assert (found.price, found.at_ms) == (Decimal("0.50"), START_MS)


@pytest.mark.parametrize(
    ("model", "seen", "limit", "why"),
    [
        (FillModel(), SEEN, "0.54", "above the limit"),
        (FillModel(extra_delay_ms=10_000), SEEN, "0.62", "no price after it"),
        (FillModel(latency_ms=200, max_wait_ms=3_000), SEEN, "0.62", "next price too late"),
        (FillModel(), quotes((1, "0")), "0.62", "nobody sells"),
        (FillModel(), quotes((1, "0.55"), sizes=[19]), "0.62", "too few shares"),
        (FillModel(assumed_shares=Decimal(19)), SEEN, "0.62", "too few shares"),
    ],
)
def test_what_could_not_be_had_is_not_bought(model: FillModel, seen: Quotes, limit: str, why: str) -> None:
    assert order(model, seen, limit) == why


def test_the_money_is_spent_so_a_better_price_brings_more_shares() -> None:
    found = order(FillModel())
    assert isinstance(found, Bought)
    assert (found.money, found.shares) == (Decimal(11), Decimal(20))


def test_what_is_no_ask_costs_half_the_spread_more() -> None:
    prints = quotes((1, "0.55"), kind=QuoteKind.PRINT)
    assert price_of(order(FillModel(slippage=Decimal("0.005")), prints)) == Decimal("0.555")


def test_the_fee_is_that_of_the_market_at_the_price_that_is_paid() -> None:
    terms = FeeSchedule(Decimal("0.07"), 1)
    found = buy(FillModel(), SEEN, DECIDED_MS, 0, Decimal("0.62"), Decimal(11), terms)
    assert isinstance(found, Bought)
    assert found.fee == charged_fee(terms, Decimal("0.55"), Decimal(20)) > 0

"""A FOK or FAK order to buy offers money and a worst price: the venue spends the money, at whatever is cheaper."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polymirror.simulator import ExchangeConfig, FlowConfig
from polymirror.simulator.orders.rules import FeeTerms, Refused
from tests.simulator.order_rig import ONE_PUSD, Rig, rig

Asks = list[tuple[str, int]]


def selling(asks: Asks) -> Rig:
    """A quiet exchange whose first token is offered at these prices only, in so many shares."""
    trader = rig(pusd=10_000, delay_ms=0, exchange=ExchangeConfig(seed=1, flow=FlowConfig(rate=0.001)))
    market = trader.exchange.markets[0]
    for ladder in market.ladders:
        for price in list(ladder.prices):
            ladder.set(price, 0)
    market.ladders[0].set(100, ONE_PUSD)
    for price, shares in asks:
        market.ladders[1].set(10_000 - int(Decimal(price) * 10_000), shares * ONE_PUSD)
    return trader


def buy(trader: Rig, limit: str, money: str, kind: str) -> tuple[Decimal, Decimal]:
    """Buy for this money; the shares and the money of what was matched."""
    shares = int(Decimal(money) / Decimal(limit) * 10_000) * 100
    order = trader.broker.place(trader.ticket(int(Decimal(money) * ONE_PUSD), shares, kind=kind, name=kind), 0)
    trader.ledger.audit()
    return Decimal(order.shares).scaleb(-6), Decimal(order.money).scaleb(-6)


@pytest.mark.parametrize("kind", ["FOK", "FAK"])
@pytest.mark.parametrize(
    ("asks", "limit", "money", "shares"),
    [
        ([("0.98", 100)], "0.99", "4.95", "5.051020"),
        ([("0.20", 100)], "0.99", "5.00", "25"),
        ([("0.20", 10), ("0.50", 10), ("0.90", 10)], "0.95", "7.90", "21"),
        ([("0.62", 100)], "0.62", "62.00", "100"),
    ],
)
def test_the_money_is_spent_and_better_prices_give_more_shares(
    asks: Asks, limit: str, money: str, shares: str, kind: str
) -> None:
    assert buy(selling(asks), limit, money, kind) == (Decimal(shares), Decimal(money))


@pytest.mark.parametrize(
    ("asks", "limit", "money"),
    [
        ([("0.50", 100)], "0.62", "62.00"),
        ([("0.40", 20)], "0.52", "10.40"),
        ([("0.40", 20), ("0.53", 1_000)], "0.52", "10.40"),
    ],
)
def test_a_fok_order_whose_money_cannot_be_spent_within_its_limit_is_killed(asks: Asks, limit: str, money: str) -> None:
    trader = selling(asks)
    with pytest.raises(Refused, match="couldn't be fully filled"):
        buy(trader, limit, money, "FOK")
    assert trader.cash == 10_000 * ONE_PUSD
    best, size = asks[0][0], asks[0][1]
    assert buy(trader, limit, money, "FAK") == (size, Decimal(best) * size)


def test_a_sale_sells_its_shares_whatever_they_bring() -> None:
    trader = selling([("0.20", 100)])
    buy(trader, "0.99", "10.00", "FOK")
    market = trader.exchange.markets[0]
    market.ladders[0].set(1_500, 30 * ONE_PUSD)
    order = trader.broker.place(trader.ticket(20 * ONE_PUSD, 20 * 10_000, side="SELL", name="two"), 0)
    assert (order.shares, order.money) == (20 * ONE_PUSD, 3 * ONE_PUSD)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
@pytest.mark.parametrize("limit", [100, 2_000, 5_000, 9_900])
def test_what_is_reserved_for_the_fee_is_enough_at_every_price_up_to_the_limit(limit: int, exponent: int) -> None:
    terms = FeeTerms(exponent=exponent)
    most = terms.most_for(50 * ONE_PUSD, limit, 100)
    assert all(terms.fee(price, 50 * ONE_PUSD * 10_000 // price) <= most for price in range(100, limit + 1, 50))

"""An order that cost more than could be reserved for it: what it was judged by was not true, and buying stops."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.execution.fates import beyond
from bots.common.money.fees import highest_cost
from bots.common.orders.order import Outcome, Result
from bots.testing.liars import measure
from polymirror.core.fees import NO_FEE
from tests.bots.books_rig import FILLED, World, a_trade
from tests.bots.crash_rig import FEE, a_sale, an_order
from tests.bots.execution_rig import d, in_virtual_time
from tests.bots.test_order_manager import UNKNOWN, WISH, Mirror, Venue, dealing

DEAR = Decimal("0.9")


def dear(order):
    return Result(outcome=Outcome.FILLED, shares=order.shares, money=order.money, fee=DEAR, order_id="0x1")


@pytest.mark.parametrize("answers", [{"submits": [dear]}, {"submits": [UNKNOWN], "resolves": [dear]}])
def test_a_fill_that_cost_more_than_was_reserved_is_booked_and_stops_buying_and_is_told(answers):
    async def main():
        venue = Venue(**answers)
        async with dealing(venue) as manager:
            free = evolve(WISH, terms=evolve(WISH.terms, fee=NO_FEE))
            assert manager.consider(Mirror(), free)
            await asyncio.sleep(10)
            (position,) = manager.account.positions.values()
            (why,) = manager.stopped
            most = highest_cost(NO_FEE, d("0.53"), position.cost - DEAR)
            assert f"cost {position.cost} pUSD" in why
            assert f"at most {most}" in why
            assert "fee" in why

    in_virtual_time(main)


def test_a_fill_within_what_was_reserved_stops_nothing():
    async def main():
        async with dealing(Venue([lambda order: evolve(dear(order), fee=d("0.1"))])) as manager:
            assert manager.consider(Mirror(), WISH)
            await asyncio.sleep(10)
            assert manager.account.positions
            assert manager.stopped == []

    in_virtual_time(main)


def test_a_list_that_makes_a_fill_dearer_later_stops_it_too():
    world = World(trades=[[a_trade(fee="0.7")]])
    world.start()
    world.begin(an_order(), FILLED)
    world.check()
    assert len(world.stopped) == 1
    assert world.account.totals.fees == Decimal("0.7")


def test_an_order_of_an_earlier_run_is_judged_at_the_start():
    world = World(resolve=[evolve(FILLED, fee=Decimal(1))])
    world.begin(an_order())
    world.start()
    assert len(world.stopped) == 1


def test_what_a_sale_pays_in_fees_is_no_doubt():
    world = World()
    world.start()
    world.begin(an_order(), FILLED, final=True)
    sold = Result(outcome=Outcome.FILLED, shares=Decimal(5), money=Decimal(4), fee=FEE, order_id="0xb")
    world.begin(a_sale(), evolve(sold, outcome=Outcome.UNKNOWN))
    world.venue.answers["resolve"] = [sold]
    world.start()
    assert world.stopped == []


@pytest.mark.parametrize("fee", ["-0.01", "10.01"])
def test_a_fee_that_pays_us_or_is_more_than_the_shares_can_bring_is_none(fee):
    assert f"fee of {fee}" in beyond(an_order(), [a_trade(fee=fee)])
    assert beyond(an_order(), [a_trade(fee="10")]) == ""


@pytest.mark.parametrize("shares", ["10000", "1000000", "10.02", "9.98"])
def test_shares_that_the_money_does_not_buy_at_the_price_are_not_booked(shares):
    assert f"of {shares} shares at 0.6 is said to be for 6 pUSD" in beyond(
        an_order(), [a_trade(shares, price=Decimal("0.6"))]
    )
    assert beyond(an_order(), [a_trade("10.016", price=Decimal("0.6"))]) == ""


@pytest.mark.slow
def test_fees_that_both_services_deny_are_told_by_the_first_fill():
    found = measure(["no fee", "clob no fee"], rounds=8, seed=7)
    assert "reserved" in found.told
    assert found.after_s <= 60

"""Nobody's word frees money: what was signed counts as spent until cash and shares show that it was not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.execution.base import ChainStatus
from bots.common.orders.order import Outcome, Result
from bots.common.risk.limits import RiskReason
from bots.testing.liars import measure
from tests.bots.books_rig import FILLED, NO_MATCH, WON, World, a_trade
from tests.bots.crash_rig import FEE, LIMITS, UP, a_sale, an_order

COST = Decimal(6) + FEE


def begun(world, result, **order):
    """An opened ledger, and an order that has ended in this way."""
    world.start()
    world.risk.advance(int(world.clock.seconds * 1000))
    world.begin(an_order(**order), result, final=not result.traded)
    return world


def left(world):
    """What counts as spent: so much less may another order cost on this day."""
    now_ms = world.risk.advance(int(world.clock.seconds * 1000))
    held = sum((entry.money for entry in world.risk._counted()), Decimal(0))
    world.risk.limits = evolve(LIMITS, max_daily_loss=held + 5)
    for money, refused in ((Decimal(5), False), (Decimal("5.01"), True)):
        refusal = world.risk.allow(now_ms, market="0xother", asset="eth", money=money)
        assert (refusal is not None and refusal.reason is RiskReason.DAILY_LOSS) is refused
    return held


def test_an_order_that_is_said_to_be_killed_counts_until_cash_shows_that_nothing_was_spent():
    world = begun(World(), NO_MATCH)
    assert left(world) == COST
    world.check()
    assert left(world) == COST  # too early: the chain may be behind
    world.check()
    assert left(world) == 0
    assert world.stopped == []


def test_what_never_left_counts_no_more_at_once():
    world = begun(World(), Result(outcome=Outcome.REFUSED))
    assert left(world) == 0


def test_an_order_that_was_killed_and_is_missing_in_cash_frees_nothing_and_stops_it():
    world = begun(World(), NO_MATCH)
    world.venue.cash -= COST
    left(world)
    world.check(2, every=20)
    assert left(world) == COST
    assert world.stopped == []
    world.check(2, every=20)
    assert len(world.stopped) == 1
    assert f"{COST.normalize()} pUSD are missing" in world.stopped[0].replace("0 pUSD", " pUSD")


@pytest.mark.parametrize(("gone", "lost"), [(COST, COST), (Decimal(500), COST), (Decimal(2), Decimal(2))])
def test_what_was_in_doubt_and_is_given_up_as_missing_is_lost_on_that_day(gone, lost):
    world = begun(World(), NO_MATCH)
    world.venue.cash -= gone
    world.check(6, every=20)
    assert any("paid in or out by hand" in line for line in world.told)
    assert world.profit_today == -lost


def test_what_is_paid_out_by_hand_while_nothing_is_in_doubt_is_no_loss():
    world = World()
    world.start()
    world.venue.cash -= 500
    world.check(6, every=20)
    assert any("paid in or out by hand" in line for line in world.told)
    assert world.profit_today == 0


def test_an_order_that_was_killed_and_whose_shares_are_there_frees_nothing_and_stops_it():
    world = begun(World(holdings=[{}, {UP: "10"}]), NO_MATCH)
    left(world)
    world.check(4, every=20)
    assert left(world) == COST
    assert len(world.stopped) == 1
    assert "which our orders did not buy" in world.stopped[0]


def test_shares_that_nobody_ordered_stop_nothing():
    world = World(holdings=[{}, {"77": "1000"}])
    world.start()
    world.check(4, every=20)
    assert any("never ordered" in line for line in world.told)
    assert world.stopped == []


def test_a_fill_that_is_smaller_than_what_was_signed_frees_the_rest_only_when_cash_shows_it():
    half = evolve(FILLED, shares=Decimal(5), money=Decimal(3), fee=FEE, outcome=Outcome.PARTIAL)
    trade = a_trade("5", "3", status=ChainStatus.CONFIRMED)
    world = begun(World(trades=[[trade]], holdings=[{}, {UP: "5"}]), half)
    assert left(world) == COST
    world.check()
    left(world)
    world.check()
    assert left(world) == Decimal(3) + FEE


def test_money_that_an_open_order_may_have_spent_is_not_missing():
    world = World()
    world.start()
    world.begin(an_order())
    world.venue.cash -= COST
    world.check(6, every=20)
    assert world.stopped == []
    world.venue.cash -= Decimal("0.01")
    world.check(5, every=20)
    assert len(world.stopped) == 1


@pytest.mark.parametrize("pays", [True, False])
def test_a_redemption_is_booked_when_its_money_is_there_and_told_when_it_is_not(pays):
    paid = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10))
    world = World(redeem=[paid])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    world.venue.pays = pays
    world.settle(WON, seconds=60)
    assert world.venue.names().count("redeem") == 1
    if pays:
        assert world.account.totals.profit == Decimal("3.9825")
        assert world.told == []
        return
    assert world.account.totals.payouts == 0
    assert world.account.positions
    assert any("said to be redeemed for 10 pUSD" in line for line in world.told)
    world.venue.cash += 10
    world.settle(WON, seconds=120)
    assert world.account.totals.profit == Decimal("3.9825")


def test_a_redemption_that_pays_less_than_was_decided_is_told():
    world = World(redeem=[Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(0))])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    world.settle(WON, seconds=20)
    assert any("redeemed for 0 pUSD, and 10" in line for line in world.told)
    assert world.account.totals.profit == -COST


def test_what_a_sale_brings_may_be_missing_until_the_chain_has_confirmed_it():
    world = World(holdings=[{UP: "10"}, {}])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    world.begin(a_sale(shares="10.00"), Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(5)))
    world.venue.cash -= 5
    world.check(6, every=20)
    assert world.stopped == []


@pytest.mark.slow
@pytest.mark.parametrize("liars", [["killed"], ["stolen"]])
def test_a_whole_bot_among_liars_loses_no_more_than_its_bound_and_says_so(liars):
    found = measure(liars, rounds=8, seed=7)
    assert found.held
    assert found.told
    assert found.after_s <= 60

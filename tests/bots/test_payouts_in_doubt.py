"""Who won is discovery's word: what our own prices, the chain's payout and cash say otherwise stops buying."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.orders.order import Outcome, Result
from bots.testing.liars import measure
from tests.bots.books_rig import FILLED, LOST, NO_MATCH, REFUSED, WON, World
from tests.bots.crash_rig import UP, an_order

DOUBT = "the venue says that down won, our prices went from 1 to 2"


def redeemed(money, *, exact=True, shares="10"):
    return Result(outcome=Outcome.FILLED, shares=Decimal(shares), money=Decimal(money), exact=exact)


def held(**answers):
    """Ten shares in the wallet, bought and confirmed."""
    world = World(**{"holdings": [{UP: "10"}], **answers})
    world.venue.cash = Decimal(1000)
    world.start()
    world.begin(an_order(), FILLED, final=True)
    return world


@pytest.mark.parametrize("says", ["0", "5"])
def test_a_redemption_that_pays_less_than_was_decided_stops_buying(says):
    world = held(redeem=[redeemed(says)])
    world.settle(WON, seconds=20)
    assert len(world.stopped) == 1
    assert f"redeemed for {says} pUSD, and 10" in world.stopped[0]


def test_a_payout_that_cash_does_not_show_in_time_stops_buying():
    world = held(redeem=[redeemed("10")])
    world.venue.pays = False
    world.settle(WON, seconds=25)
    assert world.stopped == []
    world.settle(WON, seconds=20)
    assert len(world.stopped) == 1
    assert "not to be seen" in world.stopped[0]


@pytest.mark.parametrize(("holdings", "within"), [({}, 45), ({UP: "10"}, 700)])
def test_what_is_gone_without_its_money_or_cannot_be_redeemed_because_it_did_not_win_stops_buying(holdings, within):
    world = held(redeem=[NO_MATCH], holdings=[{UP: "10"}, holdings])
    world.settle(WON, seconds=within)
    assert len(world.stopped) == 1


def test_a_redemption_that_is_refused_for_long_stops_nothing():
    world = held(redeem=[REFUSED])
    world.settle(WON, seconds=3_600)
    assert world.told
    assert world.stopped == []


def test_a_doubt_that_is_over_when_a_person_is_told_stops_nothing():
    world = held(redeem=[NO_MATCH, REFUSED])
    world.settle(WON, seconds=700)
    assert world.told
    assert world.stopped == []


def test_money_that_was_there_before_is_no_payout():
    world = held(redeem=[redeemed("10")])
    world.venue.pays = False
    world.venue.cash += 500
    world.settle(WON, seconds=60)
    assert world.account.positions
    assert len(world.stopped) == 1
    world.venue.cash += 10
    world.settle(WON, seconds=60)
    assert world.account.positions == {}


def test_money_of_one_payout_is_not_that_of_another():
    world = held(redeem=[redeemed("10")], holdings=[{UP: "10"}, {UP: "10", "201": "10"}])
    world.begin(an_order("0xm2", "201", client_id="b"), evolve(FILLED, order_id="0xb"), final=True)
    world.venue.pays = False
    world.settle(WON, seconds=5)
    world.settle({"201": Decimal(1)}, market="0xm2", seconds=5)
    world.venue.cash += 10
    world.settle({"201": Decimal(1)}, market="0xm2", seconds=60)
    assert len(world.account.positions) == 1


def test_a_winner_that_our_own_prices_contradict_stops_buying_at_once():
    world = held(redeem=[redeemed("0")])
    world.settle(LOST, doubt=DOUBT)
    assert world.stopped == [f"0xm1: {DOUBT}"]


@pytest.mark.parametrize("exact", [True, False])
def test_shares_that_are_said_to_be_worthless_and_are_not_are_redeemed_and_booked(exact):
    world = held(redeem=[redeemed("10", exact=exact)])
    world.settle(LOST, doubt=DOUBT, seconds=60)
    assert world.account.totals.profit == Decimal("3.9825")
    assert any("was worth 10.0000 pUSD" in line for line in world.told)


def test_what_they_paid_may_be_seen_late():
    world = held(redeem=[redeemed("10"), NO_MATCH])
    world.venue.pays = False
    world.settle(LOST, doubt=DOUBT, seconds=10)
    world.venue.cash += 10
    world.settle(LOST, seconds=60)
    assert world.account.totals.profit == Decimal("3.9825")


@pytest.mark.parametrize("answer", [redeemed("0"), redeemed("0", exact=False), NO_MATCH])
def test_shares_that_the_chain_calls_worthless_too_are_booked_as_that(answer):
    world = held(redeem=[answer])
    world.settle(LOST, doubt=DOUBT, seconds=60)
    assert world.account.positions == {}
    assert world.account.totals.payouts == 0
    assert world.store.read("SELECT how FROM redemptions") == [("worthless",)]


def test_shares_in_doubt_are_kept_while_the_chain_has_not_decided_and_not_for_ever():
    world = held(redeem=[REFUSED])
    world.settle(LOST, doubt=DOUBT, seconds=300)
    assert world.account.positions
    world.settle(LOST, seconds=7_200)
    assert world.account.positions == {}


def test_what_our_own_prices_do_not_confirm_is_redeemed_before_it_is_called_worthless_and_stops_nothing():
    world = held(redeem=[redeemed("10")])
    world.settle(LOST, confirmed=False, seconds=60)
    assert world.account.totals.profit == Decimal("3.9825")
    assert world.stopped == []
    world = held(redeem=[redeemed("0")])
    world.settle(LOST, confirmed=False, seconds=60)
    assert world.account.positions == {}
    assert world.told == []


def test_money_of_something_else_is_not_what_worthless_shares_paid():
    world = held(redeem=[redeemed("0", exact=False), NO_MATCH])
    world.venue.cash += 10
    world.settle(LOST, confirmed=False, seconds=60)
    assert world.account.positions == {}
    assert world.account.totals.payouts == 0


def test_without_a_doubt_nobody_redeems_what_is_worthless():
    world = held()
    world.settle(LOST, seconds=60)
    assert "redeem" not in world.venue.names()
    assert world.stopped == []


@pytest.mark.slow
def test_a_bot_whose_discovery_names_each_loser_the_winner_stops_and_has_what_it_won():
    found = measure(["loser"], rounds=8, seed=7)
    assert found.told
    assert found.after_s <= 60
    assert found.loss == -found.believed

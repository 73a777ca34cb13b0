"""Decided markets: what is paid, what is stuck, what is found, and how an order that stayed unknown ends."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.errors import Unanswered
from bots.common.execution.base import ChainStatus
from bots.common.ledger.database import Database
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from bots.common.orders.settling import TELL_AFTER
from tests.bots.books_rig import FILLED, HALF, LOST, REFUSED, UNKNOWN, WON, World, a_trade
from tests.bots.crash_rig import UP, a_sale, an_order, drive

# Decided markets.


@pytest.mark.parametrize(
    ("payouts", "paid", "profit"), [(WON, 10, "3.9825"), (LOST, None, "-6.0175"), (HALF, 5, "-1.0175")]
)
@pytest.mark.parametrize("told", [True, False], ids=["told", "computed"])
def test_a_decided_position_is_booked_by_what_its_token_pays(payouts, paid, profit, told):
    redeemed = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10 if told else 1), exact=told)
    if told and paid == 5:
        redeemed = evolve(redeemed, money=Decimal(5))
    world = World(holdings=[{UP: "10"}], redeem=[redeemed])
    world.begin(an_order(), FILLED, final=True)
    world.settle(payouts)
    assert world.account.positions == {}
    assert world.account.totals.profit == world.profit_today == Decimal(profit)
    assert ("redeem" in world.venue.names()) is (paid is not None)
    assert world.settler.payouts("0xm1") is None


@pytest.mark.parametrize("shares", ["4", "15"])
def test_a_redemption_of_another_number_of_shares_than_is_booked_is_told_and_kept(shares):
    paid = Result(outcome=Outcome.FILLED, shares=Decimal(shares), money=Decimal(shares))
    world = World(holdings=[{UP: shares}], redeem=[paid])
    world.begin(an_order(), FILLED, final=True)
    world.settle(WON)
    assert world.told == [f"our books had 10 shares of 101, and {shares} were redeemed"]
    drive(world.ledger.flush())
    kept = world.store.read("SELECT what, ours_e6, theirs_e6 FROM differences")
    assert kept == [("shares", 10_000_000, int(shares) * 1_000_000)]


def test_a_refused_redemption_is_tried_with_growing_waits_and_told_after_ten_minutes_and_once_a_day():
    world = World(holdings=[{UP: "10"}], redeem=[REFUSED])
    world.begin(an_order(), FILLED, final=True)
    world.settle(WON, seconds=12 * 3600)
    assert 10 <= world.venue.names().count("redeem") <= 30
    assert len(world.told) == 1
    assert "401 invalid key" in world.told[0]
    assert world.settler.stuck
    world.settle(WON, seconds=30 * 3600)
    assert len(world.told) == 2
    # And when it is mended it is booked within the hour.
    world.venue.answers["redeem"] = [Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10))]
    world.settle(WON, seconds=3700)
    assert world.account.totals.profit == Decimal("3.9825")
    assert not world.settler.stuck


def test_what_nobody_answered_for_hours_is_settled_within_minutes_of_the_first_answer():
    world = World(holdings=[{UP: "10"}], redeem=[Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10))])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    world.venue.answers["holdings"] = [Unanswered("positions", "HTTP 429")]
    world.settle(WON, seconds=3 * 3_600)
    assert world.account.positions
    assert len(world.told) == 1
    world.venue.answers["holdings"] = [{UP: "10"}]
    world.settle(WON, seconds=180)
    assert world.account.totals.profit == Decimal("3.9825")


@pytest.mark.parametrize("days", [0, 4, 60])
def test_a_redemption_by_hand_is_booked_as_paid_however_long_ago(days):
    world = World(holdings=[{UP: "10"}])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    again = World(world.store)
    again.clock.seconds = world.clock.seconds + days * 86_400
    again.venue.cash = world.venue.cash + 10
    again.settler.decide("0xm1", WON)
    again.start()
    again.settle(WON)
    assert again.account.totals.profit == Decimal("3.9825")
    assert again.told == []
    assert again.store.read("SELECT how FROM redemptions") == [("found redeemed",)]


def test_shares_that_are_gone_without_their_money_are_told_and_not_booked_as_a_loss():
    world = World(holdings=[{}])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    world.settle(WON, seconds=1_000)
    assert world.account.positions[UP].shares == 10
    assert len(world.told) == 1
    assert "not to be seen" in world.told[0]


@pytest.mark.parametrize("payouts", [WON, LOST])
def test_a_purchase_that_the_chain_has_not_confirmed_is_neither_won_nor_lost(payouts):
    world = World(trades=[[]], holdings=[{}])
    world.begin(an_order(), FILLED)
    world.settle(payouts, seconds=300)
    assert world.account.positions[UP].shares == 10
    assert world.account.totals.profit == 0
    world.venue.answers["trades"] = [[a_trade(status=ChainStatus.FAILED)]]
    world.settle(payouts, seconds=600)
    assert (world.account.positions, world.account.totals.profit) == ({}, 0)
    assert world.settler.payouts("0xm1") is None


def test_shares_that_come_back_from_a_sale_after_their_market_was_decided_are_redeemed():
    paid = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10))
    world = World(holdings=[{}], redeem=[paid])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    sold = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(5), order_id="0xs")
    world.begin(a_sale(shares="10.00"), sold)
    world.settle(WON, seconds=60)
    never = a_trade("10", "5", Side.SELL, "0", status=ChainStatus.FAILED, order_id="0xs")
    world.venue.answers.update(trades=[[never]], holdings=[{UP: "10"}])
    world.check()
    assert world.account.positions[UP].shares == 10
    # Nobody tells a second time that the market is decided.
    for _ in range(20):
        drive(world.settler.look())
        world.clock.seconds += 5
    assert world.account.positions == {}
    assert world.account.totals.profit == Decimal("3.9825")


def test_a_market_that_waits_for_the_chain_alone_is_looked_at_no_more_once_it_has_spoken():
    world = World(holdings=[{}])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    sold = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(5), order_id="0xs")
    world.begin(a_sale(shares="10.00"), sold)
    world.settle(WON, seconds=10)
    assert world.settler.payouts("0xm1")
    world.venue.answers["trades"] = [[a_trade("10", "5", Side.SELL, "0", order_id="0xs")]]
    world.settle(WON, seconds=60)
    assert world.settler.payouts("0xm1") is None


def test_shares_held_long_after_their_market_was_decided_were_bought_whatever_the_list_says():
    world = World(trades=[[a_trade(status=ChainStatus.MATCHED)]], holdings=[{UP: "10"}])
    world.begin(an_order(), FILLED)
    world.settle(LOST, seconds=TELL_AFTER + 700)
    assert world.account.totals.profit == Decimal("-6.0175")
    assert world.account.claims == {}, "it would keep pUSD from being compared for ever"


# Orders that stayed unknown end by what the wallet says once their market is decided.


def unknown_world(**answers):
    world = World(**answers)
    world.start()
    world.begin(an_order(), UNKNOWN)
    return world


def test_an_unknown_order_ends_as_nothing_when_nothing_is_held_and_no_money_is_missing():
    world = unknown_world()
    world.settle(WON, seconds=20)
    assert world.account.open, "two readings must agree"
    world.settle(WON, seconds=120)
    assert world.account.open == {}
    assert (world.account.totals.profit, world.risk.entries) == (0, ())
    assert "ended by settlement" in world.told[0]


def test_an_unknown_order_does_not_end_as_nothing_while_trades_are_listed_that_may_be_its_own():
    # The chain is behind: neither shares nor money have moved yet.
    pending = a_trade(status=ChainStatus.RETRYING, order_id="0xq", shares="4", money="2.4")
    world = unknown_world(trades=[[pending]])
    world.settle(WON, seconds=300)
    assert list(world.account.open) == ["buy:0xm1"]
    world.venue.answers.update(trades=[[evolve(pending, status=ChainStatus.FAILED)]])
    world.settle(WON, seconds=120)
    assert (world.account.open, world.account.totals.profit) == ({}, 0)


def test_an_unknown_order_ends_as_a_trade_when_its_shares_are_there():
    paid = Result(outcome=Outcome.FILLED, shares=Decimal("10.5"), money=Decimal("10.5"))
    world = unknown_world(holdings=[{UP: "10.5"}], redeem=[paid])
    world.venue.cash -= Decimal("6.01")
    world.settle(WON, seconds=120)
    assert world.account.open == {}
    assert world.account.totals.fees == Decimal("0.01")
    assert world.account.totals.profit == Decimal("10.5") - Decimal("6.01")


def test_an_unknown_order_stays_open_while_money_is_missing_without_shares_and_a_person_is_told():
    world = unknown_world()
    world.venue.cash -= 6
    world.settle(WON, seconds=900)
    assert list(world.account.open) == ["buy:0xm1"]
    assert world.risk.open_money == Decimal("6.0175")
    assert any("is not settled" in line for line in world.told)


def test_more_shares_than_an_order_could_buy_end_it_as_nothing_of_the_kind():
    world = unknown_world(holdings=[{UP: "5000"}])
    world.settle(WON, seconds=120)
    assert list(world.account.open) == ["buy:0xm1"]


def test_nothing_is_settled_while_an_order_on_it_is_unknown():
    world = World(holdings=[{UP: "20"}])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    world.begin(an_order(client_id="second"), UNKNOWN)
    world.venue.cash -= 40
    world.settle(LOST, seconds=20)
    assert world.settled == []


def test_unknown_orders_of_two_markets_that_never_arrived_do_not_keep_each_other_open():
    world = unknown_world()
    world.begin(an_order("0xm2", "202", client_id="other"), UNKNOWN)
    world.settle(WON, seconds=120)
    world.settle({"202": Decimal(1)}, seconds=120, market="0xm2")
    assert world.account.open == {}
    assert world.account.totals.profit == 0


@pytest.mark.parametrize(
    ("gap", "payouts", "ends"),
    [
        ("100", LOST, True), ("-100", LOST, True), ("-0.05", LOST, True), ("-6.01", LOST, False), ("-6", LOST, False),
        ("0.05", WON, True), ("-0.05", WON, True), ("-6.01", WON, False), ("3.99", WON, False), ("100", WON, False),
    ],
)  # fmt: skip
def test_money_that_no_fate_of_an_unknown_order_explains_does_not_keep_it_open_for_ever(gap, payouts, ends):
    """Such as a deposit by hand: pUSD are not compared, and it is not told, before the order has ended."""
    world = unknown_world()
    world.venue.cash += Decimal(gap)
    world.settle(payouts, seconds=TELL_AFTER - 60)
    assert world.account.open
    world.settle(payouts, seconds=3 * TELL_AFTER)
    assert (world.account.open == {}) is ends
    world.check(5)
    assert (world.account.totals.moved == 1000 + Decimal(gap)) is ends


def test_of_two_unknown_orders_one_that_traded_does_not_keep_the_other_open():
    world = unknown_world(holdings=[{"202": "10"}])
    world.begin(an_order("0xm2", "202", client_id="other"), UNKNOWN)
    world.venue.cash -= Decimal("6.05")  # another fee than its terms said
    world.settler.decide("0xm2", {"203": Decimal(1)})
    world.settle(LOST, seconds=2 * TELL_AFTER)
    assert world.account.open == {}


def test_an_unknown_sale_ends_by_the_shares_that_are_gone_and_the_money_that_came():
    sold = a_sale(shares="4.00", tif=TimeInForce.FAK)
    world = World(holdings=[{}])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    world.begin(sold, UNKNOWN)
    world.venue.answers["holdings"] = [{UP: "6"}]
    world.venue.cash += Decimal("2.4")
    world.settle(LOST, seconds=120)
    assert world.account.open == {}
    assert world.account.totals.profit == Decimal("2.4") - Decimal("6.0175")
    assert world.account.totals.received == Decimal("2.4")


def test_two_redemptions_by_hand_are_found_together():
    world = World()
    world.start()
    for number, market in enumerate(("0xm1", "0xm2")):
        world.begin(an_order(market, f"20{number}", client_id=market), FILLED, final=True)
        world.settler.decide(market, {f"20{number}": Decimal(1)})
    world.venue.cash += 20
    world.settle({}, seconds=30, market="0xm3")
    assert world.account.positions == {}
    assert world.account.totals.profit == 2 * Decimal("3.9825")
    assert world.told == []


def test_a_full_disk_ends_nothing_and_loses_nothing():
    class Full(Database):
        full = False

        def write(self, statements):
            if self.full:
                raise OSError(28, "No space left on device")
            super().write(statements)

    paid = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10))
    world = World(Full(), holdings=[{UP: "10"}], redeem=[paid], trades=[[a_trade(status=ChainStatus.MINED)]])
    world.begin(an_order(), FILLED)
    world.store.full = True
    world.check()
    world.venue.answers["trades"] = [[a_trade()]]
    world.settle(WON, seconds=30)
    assert world.account.totals.profit == Decimal("3.9825")
    world.store.full = False
    world.settle(WON, seconds=10)
    drive(world.ledger.flush())
    assert World(world.store).account.totals == world.account.totals

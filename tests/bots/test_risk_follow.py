"""The risk follows the ledger's rows: the legs of a group count together, and a pair ends as one."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from bots.common.ledger.account import Account
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.orders.order import Outcome, Result
from bots.common.risk.follow import RiskFollower
from bots.common.risk.groups import Group, Leg
from bots.common.risk.limits import Risk, RiskLimits, RiskReason
from tests.bots.crash_rig import Clock, a_sale, an_order, drive

LIMITS = RiskLimits(max_losses_in_a_row=1, cooldown_ms=0)
YES, NO = an_order("0xm", "101", client_id="yes"), an_order("0xm", "102", client_id="no")
CHEAP = Result(outcome=Outcome.FILLED, shares=Decimal("10.00"), money=Decimal("4.90"), fee=Decimal(0), order_id="0xa")


@pytest.fixture
def world():
    """A ledger and its risk, with both legs of a pair begun."""
    clock, account = Clock(), Account()
    risk = Risk(LIMITS)
    ledger = Ledger(Database(), clock.network(), account=account, followers=(RiskFollower(risk, account),))
    drive(ledger.open())
    drive(ledger.begin(YES, NO, asset="btc", reserves=[Decimal("6.02")] * 2))
    return ledger, risk, int(clock.seconds * 1000)


def reason(risk, now_ms, group_id):
    leg = Leg(client_id="x", market="0xm", asset="btc", money=Decimal(5), token=NO.token, shares=Decimal(10))
    refusal = risk.allow_group(now_ms, Group(group_id=group_id, legs=(leg,)))
    return None if refusal is None else refusal.reason


def test_the_legs_of_a_group_count_as_what_both_can_lose(world):
    ledger, risk, now_ms = world
    assert risk.open_money == Decimal("6.02")
    assert reason(risk, now_ms, "yes") is None
    assert reason(risk, now_ms, "other") is RiskReason.SECOND_ENTRY
    for name in ("yes", "no"):
        drive(ledger.finish(name, CHEAP))
    assert risk.open_money == Decimal("4.90")
    for name in ("yes", "no"):
        drive(ledger.finish(name, CHEAP, final=True))
    assert risk.open_money == 0


def test_a_leg_that_fails_on_the_chain_leaves_the_other_at_its_cost(world):
    ledger, risk, _ = world
    drive(ledger.finish("yes", CHEAP, final=True))
    drive(ledger.finish("no", CHEAP))
    drive(ledger.finish("no", Result(outcome=Outcome.NO_MATCH), final=True))
    assert [(entry.client_id, entry.money) for entry in risk.entries] == [("yes", Decimal("4.90"))]
    assert risk.open_money == Decimal("4.90")


def test_a_pair_that_wins_is_no_loss_although_one_of_its_tokens_is_worth_nothing(world):
    ledger, risk, now_ms = world
    for name in ("yes", "no"):
        drive(ledger.finish(name, CHEAP, final=True))
    drive(ledger.settle(ledger.account.positions["102"], Decimal(0), "worthless"))
    assert len(risk.entries) == 2
    drive(ledger.settle(ledger.account.positions["101"], Decimal(10), "redeemed"))
    assert risk.entries == ()
    assert risk.profit_today(now_ms) == ledger.account.totals.profit == Decimal("0.20")
    leg = Leg(client_id="x", market="0xother", asset="eth", money=Decimal(5))
    assert risk.allow_group(now_ms, Group(group_id="g", legs=(leg,))) is None  # no pause


def test_what_is_left_of_both_tokens_after_a_sale_is_still_at_risk(world):
    ledger, risk, _ = world
    for name in ("yes", "no"):
        drive(ledger.finish(name, CHEAP, final=True))
    sale = attrs.evolve(a_sale("0xm", "101", shares="4.00"), client_id="sale")
    drive(ledger.begin(sale, asset="btc", group_id="yes"))
    drive(ledger.finish("sale", Result(outcome=Outcome.FILLED, shares=Decimal(4), money=Decimal(1), fee=Decimal(0))))
    held = {position.token: (position.cost, position.shares) for position in ledger.account.positions.values()}
    assert {entry.token: (entry.money, entry.shares) for entry in risk.entries} == held
    assert held.keys() == {"101", "102"}


NEVER = Result(outcome=Outcome.NO_MATCH, detail="failed on the chain")


@pytest.mark.parametrize("end", ["failed", "sold", "gone"])
def test_a_pair_of_which_one_token_lost_is_a_loss_however_the_other_ends(world, end):
    ledger, risk, now_ms = world
    drive(ledger.finish("yes", CHEAP, final=True))
    drive(ledger.finish("no", CHEAP, final=end != "failed"))
    drive(ledger.settle(ledger.account.positions["101"], Decimal(0), "worthless"))
    assert risk.entries
    if end == "failed":
        drive(ledger.finish("no", NEVER, final=True))
    elif end == "sold":
        drive(ledger.begin(attrs.evolve(a_sale("0xm", "102", shares="10.00"), client_id="sale"), group_id="yes"))
        drive(ledger.finish("sale", Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(5)), final=True))
    else:
        drive(ledger.correct(attrs.evolve(ledger.account.positions["102"], shares=Decimal(0), cost=Decimal(0)), "gone"))
    assert risk.entries == ()
    assert risk.profit_today(now_ms) == ledger.account.totals.profit < 0


def test_shares_that_are_gone_are_a_loss_of_the_day_also_when_others_are_left(world):
    ledger, risk, now_ms = world
    drive(ledger.finish("yes", CHEAP, final=True))
    left = attrs.evolve(ledger.account.positions["101"], shares=Decimal(5), cost=Decimal("2.45"))
    drive(ledger.correct(left, "half of it is gone"))
    assert risk.profit_today(now_ms) == Decimal("-2.45")
    assert Decimal("2.45") in [entry.money for entry in risk.entries]


def test_a_purchase_that_fails_when_a_part_of_it_was_sold_leaves_nothing_at_risk(world):
    ledger, risk, now_ms = world
    drive(ledger.finish("no", NEVER, final=True))
    drive(ledger.finish("yes", CHEAP))
    sale = attrs.evolve(a_sale("0xm", "101", shares="4.00"), client_id="sale")
    drive(ledger.begin(sale, group_id="yes"))
    drive(ledger.finish("sale", Result(outcome=Outcome.FILLED, shares=Decimal(4), money=Decimal("1.96"))))
    drive(ledger.finish("sale", NEVER, final=True))
    drive(ledger.finish("yes", NEVER, final=True))
    assert (ledger.account.positions, risk.entries) == ({}, ())
    assert risk.profit_today(now_ms) == ledger.account.totals.profit == 0

"""The limit of an hour: what was signed counts, whatever is said to have become of it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.orders.order import Outcome, Result
from bots.common.risk import signed
from bots.common.risk.limits import RiskChange, RiskReason
from bots.common.risk.signed import HOUR_MS, Signed
from tests.bots.books_rig import FILLED, NO_MATCH, World
from tests.bots.crash_rig import FEE, LIMITS, UP, an_order

COST = Decimal(6) + FEE
HOURLY = evolve(LIMITS, max_hourly=Decimal(13))


def now_of(world):
    return world.risk.advance(int(world.clock.seconds * 1000))


def asked(world, money="1"):
    refusal = world.risk.allow(now_of(world), market="0xother", asset="eth", money=Decimal(money))
    return refusal and refusal.reason


def world_with(result, count=2, **answers):
    """A ledger in which so many orders, each in a market of its own, ended like this."""
    world = World(**answers)
    world.risk.limits = HOURLY
    world.start()
    now_of(world)
    for number in range(count):
        world.begin(an_order(f"0xm{number}", client_id=f"c{number}"), result, final=True)
    return world


@pytest.mark.parametrize("result", [FILLED, NO_MATCH, evolve(NO_MATCH, outcome=Outcome.REJECTED), None])
def test_orders_of_an_hour_may_not_cost_more_together_whatever_became_of_them(result):
    world = world_with(result, holdings=[{UP: "20"}] if result is FILLED else [{}])
    assert asked(world, "0.965") is None
    assert asked(world, "0.966") is RiskReason.HOURLY
    world.clock.seconds += 3_599
    assert asked(world) is RiskReason.HOURLY
    world.clock.seconds += 1
    assert asked(world) is None


def test_what_was_bought_counts_for_the_whole_hour_and_what_was_seen_not_to_be_spent_does_not():
    bought, killed = (world_with(each, holdings=[{UP: "20"}]) for each in (FILLED, NO_MATCH))
    killed.venue.answers["holdings"] = [{}]
    for world, refused in ((bought, RiskReason.HOURLY), (killed, None)):
        assert asked(world) is RiskReason.HOURLY
        world.clock.seconds += 30
        now_of(world)
        world.check()
        assert asked(world) is refused


def test_what_never_left_counts_in_no_hour():
    assert asked(world_with(Result(outcome=Outcome.REFUSED), count=20)) is None


def test_the_hour_is_known_again_after_a_restart():
    first = world_with(FILLED)
    again = World(store=first.store, holdings=[{UP: "20"}])
    again.risk.limits, again.clock.seconds = HOURLY, first.clock.seconds
    assert asked(again) is RiskReason.HOURLY
    again.clock.seconds += 3_600
    assert asked(again) is None


def test_the_limit_of_an_hour_is_told_once_when_it_begins_and_when_it_ends():
    world, told = world_with(FILLED), []
    world.risk.on_change = lambda change, detail: told.append((change, detail))
    for _ in range(3):
        asked(world)
    assert [change for change, _ in told] == [RiskChange.HOUR_FULL]
    assert f"{2 * COST} of 13 pUSD" in told[0][1]
    world.clock.seconds += 3_600
    now_of(world)
    assert [change for change, _ in told] == [RiskChange.HOUR_FULL, RiskChange.RESUMED]


def test_a_clock_that_was_ahead_makes_no_hour_longer():
    each = Signed()
    each.sign(10 * HOUR_MS, "a", Decimal(5))
    each.advance(HOUR_MS)
    assert each.money == 5
    each.advance(2 * HOUR_MS)
    assert each.money == 0


def test_so_many_orders_within_an_hour_are_enough(monkeypatch):
    monkeypatch.setattr(signed, "MOST", 2)
    world = world_with(evolve(FILLED, shares=Decimal(1), money=Decimal("0.01"), fee=Decimal(0)), count=2)
    world.risk.limits = LIMITS
    assert asked(world) is RiskReason.HOURLY

"""An order without a fate in a market that still trades: ended once the wallet, twice, shows that it did nothing."""

from __future__ import annotations

import pytest
from attrs import evolve

from bots.common.orders.reconcile import Reconciler
from bots.common.orders.settling import TWICE
from tests.bots.books_rig import FILLED, World, a_trade
from tests.bots.crash_rig import UP, an_order, drive


def world_of(**answers):
    """Return books with one order without a fate, minutes later."""
    world = World(**answers)
    world.start()
    world.begin(an_order())
    world.clock.seconds += 600
    return world


def end(world, times=2, every=TWICE):
    """Look so often; return why it is not ended, or nothing."""
    why = ""
    for _ in range(times):
        (begun,) = world.account.open.values()
        why = drive(world.settler.end(begun))
        world.clock.seconds += every
    return why


def test_two_looks_at_a_wallet_in_which_nothing_has_changed_end_it():
    world = world_of()
    assert "not clear" in end(world, times=1)
    assert world.account.open
    assert end(world, times=1) == ""
    assert not world.account.open
    assert "was ended by what the wallet shows" in world.told[-1]
    assert world.account.totals.fills == 0


def test_two_looks_at_once_are_one():
    assert "again" in end(world_of(), times=9, every=3)


@pytest.mark.parametrize("cash", ["-6.02", "-0.01", "5"])
def test_cash_that_is_not_what_it_must_be_ends_nothing(cash):
    world = world_of()
    world.venue.cash += type(world.venue.cash)(cash)
    assert "not clear" in end(world, times=20)
    assert world.account.open


def test_shares_that_were_not_booked_end_nothing_though_no_cash_is_missing():
    world = world_of()
    world.venue.answers["holdings"] = [{UP: "10"}]
    assert "not clear" in end(world, times=20)


def test_a_trade_that_could_be_its_ends_nothing():
    world = world_of(trades=[[a_trade(order_id="0xz")]])
    assert "not clear" in end(world, times=20)


def test_one_of_two_orders_on_a_token_is_not_told_from_the_other():
    world = world_of()
    world.begin(evolve(an_order(), client_id="second"))
    first, _ = world.account.open.values()
    for _ in range(20):
        assert "not clear" in drive(world.settler.end(first))
        world.clock.seconds += TWICE


def test_a_wallet_that_changes_between_two_looks_begins_anew():
    world = world_of()
    assert end(world, times=1)
    world.venue.cash -= 6
    assert end(world, times=1)
    world.venue.cash += 6
    assert end(world, times=1)
    assert end(world, times=1) == ""


def test_what_a_merge_made_of_shares_that_are_booked_is_no_cash_that_differs():
    world = world_of()
    for client_id, token in (("first", "201"), ("second", "202")):
        order = evolve(an_order(), client_id=client_id, market="0xm2", token=token)
        world.begin(order, evolve(FILLED, order_id=f"0x{token}"), final=True)
    world.venue.answers["holdings"] = [{"201": "3", "202": "3"}]
    world.venue.cash += 7
    assert "not clear" in end(world, times=2)
    world.reconciler.merging.add("0xm2")
    assert end(world, times=1)
    assert end(world, times=1) == ""


@pytest.mark.parametrize(("cash", "free"), [(7, True), (0, False), (1, False)])
def test_money_in_doubt_is_freed_beside_a_merge_that_the_wallet_shows_whole_and_no_other(cash, free):
    world, seen = World(), []
    world.start()
    world.reconciler = Reconciler(world.ledger, world.venue, world.clock.network(), seen=seen.append)
    for client_id, token in (("first", "201"), ("second", "202")):
        order = evolve(an_order(), client_id=client_id, market="0xm2", token=token)
        world.begin(order, evolve(FILLED, order_id=f"0x{token}"), final=True)
    world.reconciler.merging.add("0xm2")
    world.venue.answers["holdings"] = [{"201": "3", "202": "3"}]
    world.venue.cash += cash
    world.check(4)
    assert bool(seen) is free

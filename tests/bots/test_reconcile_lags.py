"""How late the venue's books may be: an honest delay is no difference, and what no delay explains is told in time."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import pairwise

import pytest

from bots.common.errors import Unanswered
from bots.common.execution.base import Holdings
from bots.common.orders.found import MOST_LOOKS, Lately
from bots.common.orders.manager import RECONCILE_EVERY, SOON, SOON_FOR
from bots.common.orders.order import Side
from tests.bots.books_rig import FILLED, World
from tests.bots.crash_rig import UP, an_order
from tests.bots.execution_rig import in_virtual_time
from tests.bots.test_order_manager import WISH, Mirror, Venue, dealing, filled

PAID = FILLED.cash(Side.BUY)


def buying(world, numbers, shown):
    """Buy every ten seconds, and look every five; ``shown`` says what the wallet has after so many orders."""
    for number in numbers:
        world.begin(an_order(client_id=f"o{number}"), FILLED, final=True)
        world.venue.cash = shown(number + 1)
        world.venue.answers["holdings"] = [{UP: str(10 * (number + 1))}]
        world.check(2, every=5)


def test_a_balance_that_shows_no_order_is_told_though_each_order_changes_by_how_much():
    world = World()
    world.check(2)
    buying(world, range(4), lambda _: Decimal(1000))
    assert world.told == []
    buying(world, range(4, 6), lambda _: Decimal(1000))
    assert "more than our books explain" in world.told[0]


def test_a_balance_that_is_behind_by_the_last_orders_is_no_difference():
    world = World()
    world.check(2)
    buying(world, range(12), lambda number: 1000 + max(number - 3, 0) * PAID)
    assert (world.told, world.account.totals.moved) == ([], 1000)


def test_a_balance_is_beyond_what_ours_were_by_no_more_than_that():
    lately = Lately()
    for now, ours in ((0, 100), (10, 90), (50, 80)):
        lately.note(now, Decimal(ours), 40)
    # At the second 10, where these 40 seconds begin, it was 90.
    assert [lately.beyond(Decimal(each)) for each in (95, 90, 85, 80, 78)] == [5, 0, 0, 0, -2]
    for now in range(1_000):
        lately.note(100.0, Decimal(now), 40)
    assert lately.beyond(Decimal(0)) == MOST_LOOKS - 1_000


def test_a_venue_that_does_not_tell_its_books_is_told_of_after_four_minutes_and_again_when_it_does():
    world = World()
    world.check()
    world.venue.answers["holdings"] = [Unanswered("balance", "HTTP 503")]
    world.check(5)
    assert (world.told, world.reconciler.silent) == ([], "")
    world.check(2)
    said = "the venue has not told its books for 4 minutes (balance: HTTP 503)"
    assert world.told == [f"{said}: nothing is bought until it does"]
    assert world.reconciler.silent == said
    world.venue.answers["holdings"] = [{}]
    world.check()
    assert (world.told[1:], world.reconciler.silent) == (["the venue tells its books again: buying goes on"], "")


def test_nothing_is_bought_while_the_venue_does_not_tell_its_books():
    class Silent(Venue):
        async def holdings(self):
            self.calls.append("holdings")
            if len(self.calls) > 1:
                raise Unanswered("balance", "HTTP 503")
            return await super().holdings()

    async def main():
        async with dealing(Silent([filled])) as manager:
            await asyncio.sleep(300)
            assert not manager.consider(Mirror(), WISH)
            assert manager.counts["venue silent"] == 1

    in_virtual_time(main)


def test_what_was_booked_is_unsure_until_the_venue_shows_it():
    world = World(holdings=[{}])
    world.check(2)
    assert not world.reconciler.unsure
    world.begin(an_order(), FILLED, final=True)
    assert world.reconciler.unsure
    world.check()
    assert world.reconciler.unsure
    world.venue.answers["holdings"] = [{UP: "10"}]
    world.check()
    assert not world.reconciler.unsure


class Shown(Venue):
    """A venue that shows what was bought, or nothing of it; the times of its looks are kept."""

    def __init__(self, *, shows):
        super().__init__([filled])
        self.shows, self.looks, self.held = shows, [], {}

    async def submit(self, order, lease, stopped):
        result = await super().submit(order, lease, stopped)
        self.held[order.token] = result.shares
        return result

    async def holdings(self):
        self.looks.append(asyncio.get_running_loop().time())
        return Holdings(cash=self.cash if self.shows else Decimal(0), positions=self.held)


@pytest.mark.parametrize(("shows", "most"), [(True, 31.0), (False, SOON_FOR + 60)])
def test_the_books_are_read_within_seconds_until_an_order_is_seen_and_no_longer_than_a_lag_lasts(shows, most):
    async def main():
        venue = Shown(shows=shows)
        async with dealing(venue) as manager:
            await asyncio.sleep(100)
            begun = asyncio.get_running_loop().time()
            assert manager.consider(Mirror(), WISH)
            for _ in range(1_000):
                manager.risk.advance(manager.now_ms())
                await asyncio.sleep(1)
            looks = [at - begun for at in venue.looks if at >= begun]
            assert looks[0] <= SOON
            waits = [(before, then - before) for before, then in pairwise(looks)]
            assert {wait for at, wait in waits if at < 15} == {SOON}
            assert min(wait for at, wait in waits if at > most) >= RECONCILE_EVERY

    in_virtual_time(main)


def test_a_difference_that_stays_is_looked_at_for_two_minutes_and_then_as_seldom_as_ever():
    async def main():
        venue = Shown(shows=True)
        async with dealing(venue) as manager:
            assert manager.consider(Mirror(), WISH)
            await asyncio.sleep(100)
            venue.held.clear()
            first = len(venue.looks)
            await asyncio.sleep(3_600)
            looks = len(venue.looks) - first
            assert SOON_FOR / SOON <= looks <= 3_600 / RECONCILE_EVERY + 2 * SOON_FOR / SOON

    in_virtual_time(main)

"""Pairs become pUSD: once, when it is certain what is held, and booked when the wallet shows it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.errors import Unanswered
from bots.common.ledger.database import Database
from bots.common.orders.merging import LONGEST_FAILED, NEVER_CAME, TELL_AFTER, Merger, MergeSettings
from bots.common.orders.order import Outcome, Result
from tests.bots.books_rig import FILLED, REFUSED, UNKNOWN, WON, World
from tests.bots.crash_rig import FEE, UP, an_order, drive

DOWN = "102"
MERGED = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10))
BOTH = {UP: "10", DOWN: "10"}
COST = 2 * (Decimal(6) + FEE)


class Pair(World):
    """Ten shares of each token, bought for 6 and the fee each, and a venue with a list of answers to a merge."""

    def __init__(self, store=None, *, merge=(MERGED,), happens=True, least="5", **answers):
        super().__init__(store, **{"holdings": [dict(BOTH)], "merge": list(merge), **answers})
        self.happens = happens
        self.merged = []
        self.venue.merge = self._merge
        network = self.clock.network()
        self.merger = Merger(
            self.ledger, self.venue, self.reconciler, network, Counter(), MergeSettings(least=Decimal(least)),
            self.merged.append, self.told.append,
        )  # fmt: skip

    async def _merge(self, market, token, other, shares):
        try:
            result = self.venue._next("merge", market, token, other, shares)
        except Exception:
            self._move(shares)
            raise
        if result.outcome is not Outcome.REJECTED:
            self._move(shares)
        return result

    def _move(self, shares):
        if self.happens:
            held = self.venue.answers["holdings"][0]
            self.venue.answers["holdings"] = [{token: str(Decimal(n) - shares) for token, n in held.items()}]
            self.venue.cash += shares if self.venue.pays else 0

    def buy(self, *, final=True, down="10"):
        self.start()
        self.begin(evolve(an_order(), client_id="up"), FILLED, final=final)
        second = evolve(FILLED, shares=Decimal(down), order_id="0xb")
        self.begin(evolve(an_order(), client_id="down", token=DOWN), second, final=final)

    def look(self, seconds=0.0, *, decided=False):
        ends = self.clock.seconds + seconds
        while True:
            drive(self.merger.look(lambda _market: decided))
            if self.clock.seconds >= ends:
                return
            self.clock.seconds += 5

    @property
    def profit(self):
        return self.account.totals.profit


def test_a_confirmed_pair_is_merged_and_booked():
    world = Pair()
    world.buy()
    world.look()
    assert world.account.positions == {}
    assert world.profit == world.profit_today == 10 - COST
    assert world.account.totals.received == 10
    assert [row.shares for row in world.merged] == [10]
    assert world.risk.entries == ()
    world.look(60)
    assert world.venue.names().count("merge") == 1


def test_what_is_more_of_one_token_stays_and_still_counts_as_money_at_risk():
    world = Pair(holdings=[{UP: "10", DOWN: "12"}])
    world.buy(down="12")
    world.look()
    assert {token: held.shares for token, held in world.account.positions.items()} == {DOWN: Decimal(2)}
    (rest,) = world.risk.entries
    assert (rest.token, rest.shares, rest.money) == (DOWN, 2, world.account.positions[DOWN].cost)


@pytest.mark.parametrize(("least", "merges"), [("10", 1), ("10.01", 0)])
def test_too_few_pairs_wait_for_settlement(least, merges):
    world = Pair(least=least)
    world.buy()
    world.look(60)
    assert world.venue.names().count("merge") == merges


def test_a_purchase_that_the_chain_has_not_confirmed_is_not_merged():
    world = Pair()
    world.buy(final=False)
    world.look(60)
    assert "merge" not in world.venue.names()


def test_a_decided_market_is_left_to_its_settlement():
    world = Pair()
    world.buy()
    world.look(60, decided=True)
    assert "merge" not in world.venue.names()


def test_a_refused_merge_is_tried_again_with_growing_waits():
    world = Pair(merge=[REFUSED])
    world.buy()
    world.look(3_600)
    assert 5 <= world.venue.names().count("merge") <= 15
    assert len(world.account.positions) == 2


@pytest.mark.parametrize("lost", [UNKNOWN, Unanswered("merge", "gone")], ids=["unknown", "raised"])
def test_a_merge_whose_answer_is_lost_is_booked_by_what_the_wallet_shows_and_not_sent_again(lost):
    world = Pair(merge=[lost])
    world.buy()
    world.look(30)
    assert world.profit == 10 - COST
    assert world.venue.names().count("merge") == 1


def test_a_venue_that_was_silent_for_long_is_asked_again_within_a_quarter_of_a_minute():
    world = Pair(merge=[UNKNOWN], happens=False)
    world.buy()
    world.venue.answers["holdings"] = [dict(BOTH), Unanswered("holdings", "gone")]
    world.look(320)
    assert world.merger.is_pending("0xm1")
    assert world.venue.names().count("holdings") < 40
    world.venue.answers["holdings"] = [{UP: "0", DOWN: "0"}]
    world.venue.cash += 10
    world.look(LONGEST_FAILED)
    assert world.profit == 10 - COST


def test_a_merge_that_never_came_is_sent_again_only_after_a_while():
    world = Pair(merge=[UNKNOWN, MERGED], happens=False)
    world.buy()
    world.look(NEVER_CAME - 10)
    assert world.venue.names().count("merge") == 1
    assert world.merger.is_pending("0xm1")
    world.happens = True
    world.look(NEVER_CAME)
    assert world.venue.names().count("merge") == 2
    assert world.profit == 10 - COST


def test_a_merge_that_pays_nothing_is_not_booked_and_told():
    world = Pair()
    world.venue.pays = False
    world.buy()
    world.look(TELL_AFTER + 60)
    assert len(world.account.positions) == 2
    assert len(world.told) == 1
    assert "is not seen" in world.told[0]
    assert world.merger.stuck
    # Meanwhile nobody takes the shares for lost, and the cash is missing all the same.
    assert world.reconciler.merging == {"0xm1"}


@pytest.mark.parametrize("arrived", [True, False], ids=["it arrived", "it did not"])
def test_after_a_crash_the_wallet_says_whether_a_merge_happened(arrived):
    store = Database()
    world = Pair(store, happens=arrived)
    world.venue.merge = _die_in(world)
    world.buy()
    with pytest.raises(KeyboardInterrupt):
        world.look()
    again = Pair(store)
    again.clock.seconds = world.clock.seconds + 3
    again.venue.answers["holdings"] = [world.venue.answers["holdings"][0]]
    again.venue.cash = world.venue.cash
    drive(again.merger.open())
    assert again.merger.is_pending("0xm1")
    again.look(60)
    assert again.venue.names().count("merge") == 0, "not sent again as long as it may be on its way"
    again.look(NEVER_CAME)
    assert again.venue.names().count("merge") == (0 if arrived else 1)
    assert again.profit == 10 - COST
    assert again.told == []


def _die_in(world):
    async def merge(_market, _token, _other, shares):
        world._move(shares)
        raise KeyboardInterrupt

    return merge


def test_shares_of_somebody_else_in_the_wallet_are_never_merged():
    world = Pair(holdings=[{UP: "25", DOWN: "25"}])
    world.buy()
    world.look(60)
    (asked,) = [each for each in world.venue.asked if each[0] == "merge"]
    assert asked[-1] == 10
    assert world.profit == 10 - COST


def test_a_pair_that_was_merged_by_hand_is_booked_as_that():
    world = Pair(holdings=[{}])
    world.buy()
    world.venue.cash += 10
    world.look(60)
    assert world.venue.names().count("merge") == 0
    assert world.profit == 10 - COST


def test_a_wallet_that_lacks_one_token_alone_is_the_reconcilers_affair():
    world = Pair(holdings=[{UP: "10", DOWN: "4"}])
    world.buy()
    world.look(60)
    assert "merge" not in world.venue.names()
    assert not world.merger.is_pending("0xm1")


def test_while_a_merge_is_under_way_its_shares_are_not_missed():
    world = Pair(merge=[UNKNOWN])
    world.venue.pays = False
    world.buy()
    world.look()
    world.check(5)
    assert world.stopped == []
    assert world.told == []


def test_a_settlement_waits_for_a_merge_that_has_left():
    world = Pair(merge=[UNKNOWN])
    world.venue.pays = False
    world.buy()
    world.look()
    world.settler.decide("0xm1", WON)
    drive(world.settler.look(world.merger.is_pending))
    assert len(world.account.positions) == 2
    world.venue.cash += 10
    world.look(30, decided=True)
    assert world.profit == 10 - COST


def test_no_order_is_begun_in_its_market_from_before_it_is_written_down():
    world = Pair()
    world.buy()
    seen = []
    begin = world.ledger.begin_merge

    async def watched(*given):
        seen.append(world.merger.is_pending("0xm1"))
        return await begin(*given)

    world.ledger.begin_merge = watched
    world.look()
    assert seen == [True]


def test_a_merge_that_the_disk_does_not_take_never_leaves():
    world = Pair()
    world.buy()

    async def full(*_given):
        raise OSError(28, "No space left on device")

    world.ledger.begin_merge = full
    world.look(30)
    assert "merge" not in world.venue.names()
    assert not world.merger.is_pending("0xm1")

"""The books held against the venue's: what confirms, what is taken back, what is told, and what changes nothing."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.errors import BadCredentials, Unanswered
from bots.common.execution.base import ChainStatus
from bots.common.execution.live import LiveExecutor
from bots.common.ledger import account as account_module
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.orders.order import Outcome, Result, Side
from bots.common.orders.reconcile import Reconciler
from tests.bots.books_rig import FILLED, LOST, NO_MATCH, UNKNOWN, Scripted, World, a_trade
from tests.bots.crash_rig import UP, Clock, a_sale, an_order, drive
from tests.bots.execution_rig import ScriptedClient, buy, in_virtual_time, network

pytestmark = pytest.mark.anyio


# The start.


def test_a_start_without_a_past_notes_what_the_wallet_holds_and_nothing_else():
    world = World()
    assert world.start().lines() == ()
    assert world.account.totals.moved == 1000
    assert world.told == []


def test_an_order_that_was_on_its_way_is_looked_up_and_booked():
    world = World(resolve=[FILLED], holdings=[{UP: "10"}], trades=[[a_trade()]])
    world.begin(an_order())
    found = world.start()
    assert found.resolved == ((an_order(), FILLED),)
    assert world.account.positions[UP].cost == Decimal("6.0175")
    assert world.account.claims == {}
    assert [entry.money for entry in world.risk.entries] == [Decimal("6.0175")]
    assert found.lines() == ("order buy:0xm1 was on its way: filled",)


def test_an_order_that_stays_unknown_keeps_its_money_reserved_and_is_named():
    world = World(resolve=[Unanswered("look-up", "time-out"), UNKNOWN])
    world.begin(an_order())
    found = world.start()
    assert [order.client_id for order in found.unresolved] == ["buy:0xm1"]
    assert world.risk.open_money == Decimal("6.0175")
    assert world.venue.names().count("resolve") == 1
    assert "is still unknown" in found.lines()[0]


def test_an_order_that_stays_unknown_holds_no_start_up_for_longer_than_one_look_at_it():
    async def main():
        ledger = Ledger(Database(), network())
        await ledger.open()
        await ledger.begin(buy())
        executor, began = LiveExecutor(ScriptedClient(states=[None]), network()), asyncio.get_running_loop().time()
        found = await Reconciler(ledger, executor, network()).start()
        return len(found.unresolved), asyncio.get_running_loop().time() - began

    unresolved, took = in_virtual_time(main)
    assert unresolved == 1
    # What was killed every ten seconds never came to trade any market, for one order that nothing showed.
    assert took <= 9


def test_what_one_look_up_learned_helps_the_next_and_outlives_a_crash():
    known = Result(outcome=Outcome.UNKNOWN, order_id="0xabc")
    world = World(resolve=[known])
    world.begin(an_order())
    world.start()
    again = World(world.store, resolve=[FILLED], holdings=[{UP: "10"}])
    again.start()
    asked = [each[-1] for each in (*world.venue.asked, *again.venue.asked) if each[0] == "resolve"]
    assert asked == [None, "0xabc"]


@pytest.mark.parametrize(("moved", "nap"), [(2, 3), (-100_000, 5)])
async def test_an_order_that_may_still_be_on_its_way_is_not_looked_up_yet_and_a_clock_set_back_costs_seconds(
    monkeypatch, moved, nap
):
    clock, naps = Clock(), []
    ledger = Ledger(Database(), clock.network())
    await ledger.open()
    await ledger.begin(an_order())
    clock.seconds += moved

    async def sleep(seconds):
        naps.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Reconciler(ledger, Scripted(), clock.network()).resolve()
    assert naps == [nap]


def test_a_start_waits_for_what_is_held_and_fails_when_it_is_not_told():
    world = World(holdings=[Unanswered("holdings", "time-out"), {}])
    world.start()
    world = World(holdings=[Unanswered("holdings", "time-out")])
    with pytest.raises(Unanswered, match="time-out"):
        world.start()


def test_wrong_credentials_are_not_tried_again():
    world = World(holdings=[BadCredentials("holdings", 401, "Unauthorized")])
    with pytest.raises(BadCredentials):
        world.start()
    assert world.venue.names().count("holdings") == 1


# Trades: provisional until the chain has them.


@pytest.mark.parametrize("status", [ChainStatus.MATCHED, ChainStatus.MINED, ChainStatus.RETRYING])
def test_what_the_chain_has_not_confirmed_stays_a_claim_and_is_told_once_when_it_takes_long(status):
    world = World(trades=[[a_trade(status=status)]], holdings=[{UP: "10"}])
    world.begin(an_order(), FILLED)
    world.check(5)
    assert list(world.account.claims) == ["buy:0xm1"]
    assert world.told == []
    world.check(20)
    assert world.told == ["the chain has not confirmed what order buy:0xm1 traded for ten minutes"]


def test_each_status_of_a_fill_is_kept():
    steps = [ChainStatus.MATCHED, ChainStatus.MINED, ChainStatus.RETRYING, ChainStatus.MINED, ChainStatus.CONFIRMED]
    world = World(trades=[[a_trade(status=status)] for status in steps for _ in range(2)], holdings=[{UP: "10"}])
    world.begin(an_order(), FILLED)
    world.check(12)
    drive(world.ledger.flush())
    rows = world.store.read("SELECT status FROM fills ORDER BY seq")
    assert [status for (status,) in rows] == [status.value for status in steps]
    assert world.store.read("SELECT status FROM fills_now") == [("CONFIRMED",)]
    assert world.account.claims == {}


@pytest.mark.parametrize("before", [[], [ChainStatus.MATCHED], [ChainStatus.MATCHED, ChainStatus.MINED]])
def test_a_trade_that_fails_on_the_chain_is_taken_back_whenever_it_fails(before):
    steps = [*before, ChainStatus.FAILED]
    world = World(trades=[[a_trade(status=status)] for status in steps])
    world.begin(an_order(), FILLED)
    world.check(len(steps))
    assert (world.account.positions, world.account.claims) == ({}, {})
    assert world.account.totals.profit == world.account.totals.cash == 0
    assert world.risk.entries == ()
    assert len(world.told) == 1
    assert "failed on the chain" in world.told[0]


def test_one_of_two_fills_that_fails_leaves_the_other():
    two = [a_trade("4", "2.4", "0.60", fee="0.01", id="t1"), a_trade("6", "3.6", fee="0.0075", id="t2")]
    two[0] = a_trade("4", "2.4", fee="0.01", id="t1")
    failed = a_trade("6", "3.6", fee="0.0075", id="t2", status=ChainStatus.FAILED)
    world = World(trades=[two, [two[0], failed]])
    world.venue.answers["trades"] = [
        [two[0], a_trade("6", "3.6", fee="0.0075", id="t2", status=ChainStatus.MINED)],
        [two[0], failed],
    ]
    world.begin(an_order(), FILLED)
    world.check(2)
    assert world.account.positions[UP].shares == 4
    assert world.account.positions[UP].cost == Decimal("2.41")
    assert world.account.claims == {}


def test_a_trade_that_fails_after_its_position_was_booked_as_lost_gives_the_loss_back():
    world = World(trades=[[a_trade(status=ChainStatus.FAILED)]], holdings=[{UP: "10"}])
    world.begin(an_order(), FILLED)
    drive(world.ledger.settle(world.account.positions[UP], Decimal(0), "worthless"))
    assert world.profit_today == Decimal("-6.0175")
    world.check()
    assert world.account.totals.profit == world.account.totals.cash == 0
    assert world.profit_today == 0


def test_numbers_that_the_list_says_otherwise_are_believed_and_told():
    world = World(trades=[[a_trade("10.5", "6", fee="0.02")]], holdings=[{UP: "10.5"}])
    world.begin(an_order(), FILLED)
    world.check()
    assert world.account.positions[UP].shares == Decimal("10.5")
    assert world.account.positions[UP].cost == Decimal("6.02")
    assert "traded 10.5 for 6 pUSD, not 10 for 6" in world.told[0]


def test_fills_beyond_what_the_order_offered_are_not_booked():
    world = World(trades=[[a_trade("100", "60")]], holdings=[{UP: "10"}])
    world.begin(an_order(), FILLED)
    world.check(5)
    assert world.account.positions[UP].shares == 10
    assert list(world.account.claims) == ["buy:0xm1"]


@pytest.mark.parametrize("status", [ChainStatus.MATCHED, ChainStatus.CONFIRMED, ChainStatus.FAILED])
def test_a_trade_of_an_order_that_was_booked_as_nothing_is_told_unless_it_failed(status):
    world = World(trades=[[a_trade(status=status)]])
    world.begin(an_order(), evolve(NO_MATCH, order_id="0xa"))
    world.check(5)
    lines = [line for line in world.told if "was booked as one that traded nothing" in line]
    assert len(lines) == (status is not ChainStatus.FAILED)
    assert len(world.told) == len(lines)


def test_a_trade_that_failed_is_not_told_as_one_when_a_later_list_calls_it_otherwise():
    world = World(trades=[[a_trade(status=status)] for status in (ChainStatus.FAILED, ChainStatus.MATCHED)])
    world.begin(an_order(), evolve(NO_MATCH, order_id="0xa"))
    for _ in range(3):
        world.check(5)
    assert not world.told


def test_fills_that_cannot_be_the_order_s_are_told_with_the_reason():
    world = World(trades=[[a_trade("100", "60")]], holdings=[{UP: "10"}])
    world.begin(an_order(), FILLED)
    world.check(5)
    (line,) = world.told
    assert "buy:0xm1" in line
    assert "not booked, because its trades use 60 pUSD of 6 offered" in line


def test_an_order_that_stays_unknown_for_ever_does_not_make_the_list_of_trades_longer_and_longer():
    class Asked(Scripted):
        async def trades(self, since_ms):
            self.asked.append(("since", since_ms))
            return self._next("trades")

    world = World()
    world.venue.__class__ = Asked
    world.begin(an_order(), UNKNOWN)
    world.clock.seconds += 30 * 86_400
    world.check()
    (since,) = [each[1] for each in world.venue.asked if each[0] == "since"]
    assert since > (world.clock.seconds - 2 * 86_400) * 1000


def test_a_trade_is_confirmed_however_many_orders_came_after_it(monkeypatch):
    monkeypatch.setattr(account_module, "MAX_REMEMBERED", 2)
    world = World(holdings=[{UP: "10"}])
    world.begin(an_order(), FILLED)
    for number in range(3):
        world.begin(an_order("0xm2", "202", client_id=f"later{number}"), NO_MATCH)
    world.venue.answers["trades"] = [[a_trade()]]
    world.check()
    assert world.account.claims == {}


def test_a_trade_of_nobody_s_order_is_named_once():
    world = World(trades=[[a_trade(order_id="0xother")]])
    world.check(5)
    assert len(world.told) == 1
    assert "a trade that is not ours" in world.told[0]


# Shares and pUSD: what differs is told, and changes nothing.


def test_a_difference_that_stays_is_told_once_and_kept_and_nothing_is_changed():
    world = World(holdings=[{UP: "7"}])
    world.begin(an_order(), FILLED, final=True)
    world.check(2)
    assert world.told == []
    world.check(8)
    (line,) = [each for each in world.told if "shares" in each]
    assert "our books have 10 shares of 101, the venue says 7" in line
    assert world.account.positions[UP].shares == 10
    assert world.reconciler.differing == (UP,)
    drive(world.ledger.flush())
    assert world.store.read("SELECT what, ours_e6, theirs_e6 FROM differences") == [("shares", 10_000_000, 7_000_000)]
    world.venue.answers["holdings"] = [{UP: "10"}]
    world.check()
    assert world.told[-1] == "books agree again on 101"
    assert world.reconciler.differing == ()


def test_lists_that_are_behind_for_a_while_are_no_difference():
    world = World(holdings=[{}, {}, {UP: "10"}])
    world.begin(an_order(), FILLED, final=True)
    world.check(6)
    assert world.told == []


def test_looks_that_follow_each_other_in_seconds_make_no_difference_of_a_list_that_is_behind():
    world = World(holdings=[{}])
    world.start()
    world.begin(an_order(), FILLED, final=True)
    world.venue.cash += 6
    # A start looks several times within seconds, and so does a person who asks for it again and again.
    world.start(later=2)
    world.check(6, every=2)
    assert (world.told, world.account.totals.moved) == ([], 1000)
    world.check(3)
    assert len(world.told) == 1


async def test_two_looks_at_once_book_each_trade_once():
    class Slow(Scripted):
        async def trades(self, since_ms):
            await asyncio.sleep(0)
            return self._next("trades")

    async def offload(call):
        await asyncio.sleep(0)
        return call()

    clock, trades = Clock(), [a_trade(), a_trade(order_id="0xb", id="t2")]
    ledger = Ledger(Database(), clock.network(), offload=offload)
    await ledger.open()
    for order, name in ((an_order(), "0xa"), (an_order("0xm2", "202"), "0xb")):
        await ledger.begin(order)
        await ledger.finish(order.client_id, evolve(FILLED, order_id=name))
    reconciler = Reconciler(ledger, Slow(trades=[trades], holdings=[{UP: "10", "202": "10"}]), clock.network())
    await asyncio.gather(reconciler.check(), reconciler.check(), reconciler.confirm())
    assert ledger.account.claims == {}


def test_shares_that_somebody_sold_are_corrected_when_the_trades_say_so_too():
    trades = [a_trade(), a_trade("3", "2", Side.SELL, fee=None, order_id="0xhand", at_ms=1)]
    world = World(holdings=[{UP: "7"}], trades=[trades])
    world.begin(an_order(), FILLED, final=True)
    world.check(3)
    assert world.account.positions[UP].shares == 7
    assert world.account.positions[UP].cost == Decimal("4.21225")
    assert "corrected" in world.told[-1]


def test_a_list_of_the_last_minutes_says_nothing_of_shares_that_were_bought_before():
    class Recent(Scripted):
        async def trades(self, since_ms):
            return [trade for trade in self._next("trades") if trade.at_ms >= since_ms]

    early = a_trade(order_id="0xa")
    late = a_trade(order_id="0xb", id="t2", at_ms=early.at_ms + 3_600_000)
    world = World(holdings=[{UP: "10"}], trades=[[early, late]])
    world.venue.__class__ = Recent
    world.begin(an_order(), FILLED, final=True)
    world.clock.seconds += 3_600
    world.begin(an_order(client_id="second"), evolve(FILLED, order_id="0xb"), final=True)
    world.check(5)
    assert world.account.positions[UP].shares == 20
    assert ["books differ" in line for line in world.told] == [True]


def test_a_foreign_holding_is_named_once_and_left_alone():
    world = World(holdings=[{"999": "3"}])
    world.check(9)
    assert [line for line in world.told if "999" in line] == [
        "the wallet holds 3 of 999, which was never ordered: left alone"
    ]
    assert world.account.positions == {}


def test_what_thousands_of_lost_markets_left_in_the_wallet_costs_a_look_no_question_each():
    class Counting(Database):
        reads = 0

        def read(self, sql, values=()):
            self.reads += 1
            return super().read(sql, values)

    world = World(Counting(), holdings=[{str(number): "10" for number in range(1_000, 1_200)}])
    for number in range(1_000, 1_200):
        order = an_order(f"0x{number}", str(number))
        world.begin(order, evolve(FILLED, order_id=f"0x{number}"), final=True)
        drive(world.ledger.settle(world.account.positions[order.token], Decimal(0), "worthless"))
    before = world.store.reads
    world.check(4)
    assert world.told == []
    assert world.store.reads - before < 20


def test_what_was_seen_once_and_ended_keeps_nothing_else_from_being_looked_at():
    world = World(holdings=[{}, {"999": "3"}, {}])
    world.begin(an_order(), FILLED, final=True)
    world.check(2)
    drive(world.ledger.settle(world.account.positions[UP], Decimal(0), "worthless"))
    world.check()
    assert world.reconciler.differing == ()
    world.venue.cash += 50
    world.check(4)
    assert [line for line in world.told if "pUSD" in line]
    assert world.reconciler.differing == ()


def test_a_foreign_holding_is_no_lasting_worry():
    world = World(holdings=[{"999": "3"}])
    world.check(6)
    assert world.reconciler.differing == ()


def test_dust_and_what_a_decided_market_left_are_no_difference():
    world = World(holdings=[{UP: "9.995"}])
    world.begin(an_order(), FILLED, final=True)
    world.check(5)
    world.settle(LOST)
    world.check(5)
    assert world.told == []


def test_money_that_nothing_explains_is_told_and_kept_as_moved():
    world = World()
    world.check()
    world.venue.cash += 250
    world.check(2)
    assert world.told == []
    world.check(4)
    assert ["250 more than our books explain" in line for line in world.told] == [True]
    assert world.account.totals.moved == 1250
    assert world.store.read("SELECT kind FROM cash") == [("opening",), ("unexplained",)]


# The risk hears of all of it.


def test_the_risk_follows_sales_too():
    world = World()
    world.begin(an_order(), FILLED, final=True)
    part = Result(outcome=Outcome.FILLED, shares=Decimal(4), money=Decimal(2))
    world.begin(a_sale(client_id="s1", shares="4"), part)
    assert [entry.money for entry in world.risk.entries] == [world.account.positions[UP].cost]
    rest = Result(outcome=Outcome.FILLED, shares=Decimal(6), money=Decimal(3))
    world.begin(a_sale(client_id="s2", shares="6"), rest)
    assert world.risk.entries == ()
    assert world.profit_today == world.account.totals.profit == Decimal("-1.0175")


def test_a_sale_that_found_nobody_leaves_the_position_at_risk():
    world = World()
    world.begin(an_order(), FILLED)
    world.begin(a_sale(), NO_MATCH)
    assert [entry.money for entry in world.risk.entries] == [Decimal("6.0175")]

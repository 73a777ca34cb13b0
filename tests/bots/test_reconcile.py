"""The books held against the venue's: what confirms, what is taken back, what is told, and what changes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import pytest

from bots.common.errors import BadCredentials, Unanswered
from bots.common.execution.base import ChainStatus, Holdings, Trade
from bots.common.ledger.account import Account
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.orders.order import Outcome, Result, Side
from bots.common.orders.reconcile import Patience, Reconciler
from bots.common.orders.settling import TELL_AFTER, Settler
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk
from tests.bots.crash_rig import FEE, LIMITS, START, UP, Clock, a_sale, an_order, drive

pytestmark = pytest.mark.anyio

FILLED = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(6), fee=FEE, order_id="0xa")
UNKNOWN = Result(outcome=Outcome.UNKNOWN)
NO_MATCH = Result(outcome=Outcome.NO_MATCH)
REFUSED = Result(outcome=Outcome.REJECTED, detail="relayer: HTTP 401 invalid key")
WON = {UP: Decimal(1)}
LOST = {"102": Decimal(1)}
HALF = {UP: Decimal("0.5"), "102": Decimal("0.5")}


class Scripted:
    """A venue that answers each question from a list, and the last answer ever after."""

    def __init__(self, **answers):
        self.answers = {"resolve": [NO_MATCH], "redeem": [NO_MATCH], "holdings": [{}], "trades": [[]], **answers}
        self.asked = []
        self.cash = Decimal(1000)

    def _next(self, name, *about):
        self.asked.append((name, *about))
        answers = self.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def resolve(self, order, order_id):
        return self._next("resolve", order.client_id, order_id)

    async def redeem(self, market, token):
        return self._next("redeem", market, token)

    async def holdings(self):
        held = self._next("holdings")
        return Holdings(cash=self.cash, positions={token: Decimal(shares) for token, shares in held.items()})

    async def trades(self, since_ms):
        return self._next("trades")

    def names(self):
        return [name for name, *_ in self.asked]


class World:
    """One life of a bot's books, on a clock that is moved by hand."""

    def __init__(self, store=None, **answers):
        self.clock = Clock()
        self.venue = Scripted(**answers)
        self.store = store or Database()
        self.account, self.risk = Account(), Risk(LIMITS)
        self.told, self.settled = [], []
        follower = RiskFollower(self.risk, self.account)
        network = self.clock.network()
        self.ledger = Ledger(self.store, network, account=self.account, followers=(follower,))
        drive(self.ledger.open())
        patience = Patience(quiet=5, pause=0, attempts=3)
        self.reconciler = Reconciler(self.ledger, self.venue, network, self.told.append, patience)
        self.settler = Settler(
            self.ledger, self.venue, self.reconciler, network, Counter(), self.book, self.settled.append,
            self.told.append,
        )  # fmt: skip

    async def book(self, order, result, final):
        await self.ledger.finish(order.client_id, result, final=final)

    def begin(self, order, result=None, *, final=False):
        drive(self.ledger.begin(order, asset="btc", reserves=[order.money + FEE]))
        if result is not None:
            drive(self.ledger.finish(order.client_id, result, final=final))
            self.venue.cash += result.cash(order.side)

    def start(self, *, later=60):
        self.clock.seconds += later
        return drive(self.reconciler.start())

    def check(self, times=1, every=45):
        for _ in range(times):
            drive(self.reconciler.check())
            self.clock.seconds += every

    def settle(self, payouts, *, seconds=0.0, market="0xm1"):
        """Tell what a market pays, and look every five seconds for so long."""
        self.settler.decide(market, payouts)
        ends = self.clock.seconds + seconds
        while True:
            drive(self.settler.look())
            if self.clock.seconds >= ends:
                return
            self.clock.seconds += 5

    @property
    def profit_today(self):
        return self.risk.profit_today(int(self.clock.seconds * 1000))


def a_trade(shares="10", money="6", side=Side.BUY, fee="0.0175", status=ChainStatus.CONFIRMED, order_id="0xa", **rest):
    return Trade(
        **{
            "id": "t", "order_id": order_id, "market": "0xm1", "token": UP, "side": side, "price": Decimal("0.6"),
            "shares": Decimal(shares), "money": Decimal(money), "at_ms": int(START * 1000) + 500,
            "fee": None if fee is None else Decimal(fee), "status": status, **rest,
        }
    )  # fmt: skip


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
    assert world.venue.names().count("resolve") == 3
    assert "is still unknown" in found.lines()[0]


def test_what_one_look_up_learned_helps_the_next_and_outlives_a_crash():
    known = Result(outcome=Outcome.UNKNOWN, order_id="0xabc")
    world = World(resolve=[known, Unanswered("look-up", "time-out"), UNKNOWN])
    world.begin(an_order())
    world.start()
    again = World(world.store, resolve=[FILLED], holdings=[{UP: "10"}])
    again.start()
    asked = [each[-1] for each in (*world.venue.asked, *again.venue.asked) if each[0] == "resolve"]
    assert asked == [None, "0xabc", "0xabc", "0xabc"]


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


def test_shares_that_somebody_sold_are_corrected_when_the_trades_say_so_too():
    trades = [a_trade(), a_trade("3", "2", Side.SELL, fee=None, order_id="0xhand", at_ms=1)]
    world = World(holdings=[{UP: "7"}], trades=[trades])
    world.begin(an_order(), FILLED, final=True)
    world.check(3)
    assert world.account.positions[UP].shares == 7
    assert world.account.positions[UP].cost == Decimal("4.21225")
    assert "corrected" in world.told[-1]


def test_a_foreign_holding_is_named_once_and_left_alone():
    world = World(holdings=[{"999": "3"}])
    world.check(9)
    assert [line for line in world.told if "999" in line] == [
        "the wallet holds 3 of 999, which was never ordered: left alone"
    ]
    assert world.account.positions == {}


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


# Decided markets.


@pytest.mark.parametrize(
    ("payouts", "paid", "profit"), [(WON, 10, "3.9825"), (LOST, None, "-6.0175"), (HALF, 5, "-1.0175")]
)
def test_a_decided_position_is_booked_by_what_its_token_pays(payouts, paid, profit):
    redeemed = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10))
    world = World(holdings=[{UP: "10"}], redeem=[redeemed])
    world.begin(an_order(), FILLED, final=True)
    world.settle(payouts)
    assert world.account.positions == {}
    assert world.account.totals.profit == world.profit_today == Decimal(profit)
    assert ("redeem" in world.venue.names()) is (paid is not None)
    assert world.settler.payouts("0xm1") is None


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


def test_shares_held_long_after_their_market_was_decided_were_bought_whatever_the_list_says():
    world = World(trades=[[a_trade(status=ChainStatus.MATCHED)]], holdings=[{UP: "10"}])
    world.begin(an_order(), FILLED)
    world.settle(LOST, seconds=TELL_AFTER + 700)
    assert world.account.totals.profit == Decimal("-6.0175")


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

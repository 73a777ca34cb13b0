"""A start: what the files say, what the venue says, and which of them is believed."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from bots.common.errors import BadCredentials, Unanswered
from bots.common.execution.base import Holdings, Trade
from bots.common.ledger.account import Account, Position
from bots.common.ledger.files import Memory
from bots.common.ledger.intents import IntentLog
from bots.common.orders.order import Outcome, Result, Side
from bots.common.orders.reconcile import Patience, Reconciler, cost_of, settle
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk
from polymirror.errors import MarketNotFound
from tests.bots.crash_rig import FEE, LIMITS, OTHER, START, UP, Clock, a_sale, an_order, drive

pytestmark = pytest.mark.anyio

FILLED = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(6), fee=FEE)
UNKNOWN = Result(outcome=Outcome.UNKNOWN)
NO_MATCH = Result(outcome=Outcome.NO_MATCH)


class Scripted:
    """A venue that answers each question from a list, and the last answer ever after."""

    def __init__(self, **answers):
        self.answers = {"resolve": [NO_MATCH], "redeem": [NO_MATCH], "holdings": [{}], "trades": [[]], **answers}
        self.asked = []

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
        return Holdings(cash=Decimal(0), positions={token: Decimal(shares) for token, shares in held.items()})

    async def trades(self, since_ms):
        return self._next("trades")

    def names(self):
        return [name for name, *_ in self.asked]


class World:
    def __init__(self, **answers):
        self.clock = Clock()
        self.venue = Scripted(**answers)
        self.files = Memory()
        self.account = Account()
        self.risk = Risk(LIMITS)
        follower = RiskFollower(self.risk, self.account)
        self.log = IntentLog(self.files, self.account, self.clock.network(), followers=(follower,))
        drive(self.log.open())
        self.winners = {}

    async def winner_of(self, market):
        winner = self.winners.get(market)
        if isinstance(winner, Exception):
            raise winner
        return winner

    def begin(self, order, result=None):
        drive(self.log.begin(order, asset="btc", reserve=order.money + FEE))
        if result is not None:
            drive(self.log.finish(order.client_id, result))

    def start(self, *, later=60):
        self.clock.seconds += later
        patience = Patience(quiet=5, pause=0, attempts=3)
        reconciler = Reconciler(self.log, self.venue, self.winner_of, self.clock.network(), patience)
        return drive(reconciler.run())


def a_trade(token=UP, shares="10", money="6", side=Side.BUY, fee="0.0175"):
    return Trade(
        id="t", order_id="0xa", market="0xm1", token=token, side=side, price=Decimal("0.6"), shares=Decimal(shares),
        money=Decimal(money), at_ms=1, fee=None if fee is None else Decimal(fee),
    )  # fmt: skip


def test_a_start_without_a_past_finds_nothing_and_leaves_strangers_alone():
    world = World(holdings=[{"999": "3"}])
    found = world.start()
    assert found.lines() == ()
    assert found.foreign == {"999": 3}
    assert world.account.positions == {}


def test_an_order_that_was_on_its_way_is_looked_up_and_booked():
    world = World(resolve=[FILLED], holdings=[{"101": "10"}])
    world.begin(an_order())
    found = world.start()
    assert found.resolved == ((an_order(), FILLED),)
    assert world.account.positions["101"].cost == Decimal("6.0175")
    assert [entry.money for entry in world.risk.entries] == [Decimal("6.0175")]
    assert found.lines() == ("order buy:0xm1 was on its way: filled",)


def test_an_order_the_venue_never_heard_of_is_over_and_the_market_may_be_entered():
    world = World()
    world.begin(an_order())
    assert world.start().unresolved == ()
    assert world.account.open == {}
    assert world.risk.allow(int(START * 1000) + 100_000, market="0xm1", asset="btc", money=Decimal(5)) is None


def test_an_order_that_stays_unknown_blocks_its_market_and_keeps_its_money_reserved():
    world = World(resolve=[Unanswered("look-up", "time-out"), UNKNOWN])
    world.begin(an_order())
    found = world.start()
    assert [order.client_id for order in found.unresolved] == ["buy:0xm1"]
    assert found.blocked == {"0xm1"}
    assert world.risk.open_money == Decimal("6.0175")
    assert world.venue.names().count("resolve") == 3
    assert "is still unknown" in found.lines()[0]


def test_a_name_that_was_learned_is_known_after_a_crash():
    world = World(resolve=[Result(outcome=Outcome.UNKNOWN, order_id="0xabc")])
    world.begin(an_order())
    world.start()
    again = World(resolve=[FILLED], holdings=[{"101": "10"}])
    again.log = IntentLog(world.files, again.account, again.clock.network())
    drive(again.log.open())
    again.start()
    assert again.venue.asked[0] == ("resolve", "buy:0xm1", "0xabc")
    assert again.account.order_ids == ("0xabc",)
    assert Account.restore(again.account.snapshot()).order_ids == ("0xabc",)


def test_what_one_look_up_learned_helps_the_next():
    known = Result(outcome=Outcome.UNKNOWN, order_id="0xabc")
    world = World(resolve=[known, Unanswered("look-up", "time-out"), FILLED], holdings=[{"101": "10"}])
    world.begin(an_order())
    world.start()
    assert [asked[-1] for asked in world.venue.asked if asked[0] == "resolve"] == [None, "0xabc", "0xabc"]


async def test_an_order_that_may_still_be_on_its_way_is_not_looked_up_yet(monkeypatch):
    world, naps = World(), []
    await world.log.begin(an_order())
    world.clock.seconds += 2

    async def sleep(seconds):
        naps.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    reconciler = Reconciler(world.log, world.venue, world.winner_of, world.clock.network())
    await reconciler.resolve()
    assert naps == [3]


async def test_a_clock_that_was_set_back_does_not_make_a_start_wait_for_ever(monkeypatch):
    world, naps = World(), []
    await world.log.begin(an_order())
    world.clock.seconds -= 100_000

    async def sleep(seconds):
        naps.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Reconciler(world.log, world.venue, world.winner_of, world.clock.network()).resolve()
    assert naps == [5]


@pytest.mark.parametrize(("winner", "profit"), [("101", "3.9825"), ("102", "-6.0175")])
def test_a_market_that_was_decided_meanwhile_is_settled(winner, profit):
    redeemed = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(10))
    world = World(holdings=[{"101": "10"}], redeem=[redeemed])
    world.begin(an_order(), FILLED)
    world.winners["0xm1"] = winner
    found = world.start()
    assert len(found.settled) == 1
    assert world.account.positions == {}
    assert world.account.totals.profit == Decimal(profit)
    assert world.risk.entries == ()
    assert world.risk.profit_today(int(world.clock.seconds * 1000)) == Decimal(profit)
    assert ("redeem" in world.venue.names()) is (winner == "101")


def test_what_was_redeemed_just_before_the_crash_is_booked_once_as_paid():
    world = World(holdings=[{}], trades=[[a_trade()]])
    world.begin(an_order(), FILLED)
    world.winners["0xm1"] = "101"
    found = world.start()
    assert [each.payout for each in found.settled] == [10]
    assert found.corrected == ()
    assert world.start().settled == ()


@pytest.mark.parametrize(("listed", "payout"), [([], 0), ([a_trade(shares="4")], 4)])
def test_a_trade_that_failed_on_the_chain_is_not_booked_as_paid(listed, payout):
    world = World(holdings=[{}], trades=[listed])
    world.begin(an_order(), FILLED)
    world.winners["0xm1"] = "101"
    assert [each.payout for each in world.start().settled] == [payout]


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.UNKNOWN, Outcome.NO_MATCH])
def test_what_cannot_be_redeemed_now_stays_a_position(outcome):
    world = World(holdings=[{"101": "10"}], redeem=[Result(outcome=outcome)])
    world.begin(an_order(), FILLED)
    world.winners["0xm1"] = "101"
    assert world.start().settled == ()
    assert world.account.positions["101"].shares == 10


def test_a_market_whose_end_cannot_be_asked_about_is_left_as_it_is():
    world = World(holdings=[{"101": "10"}])
    world.begin(an_order(), FILLED)
    world.winners["0xm1"] = MarketNotFound("no such market")
    assert world.start().settled == ()
    assert world.account.positions["101"].shares == 10


def test_nothing_is_settled_while_an_order_on_it_is_unknown():
    world = World(resolve=[UNKNOWN], holdings=[{"101": "10"}])
    world.begin(an_order(), FILLED)
    world.begin(an_order(client_id="second"))
    world.winners["0xm1"] = "102"
    assert world.start().settled == ()
    position = world.account.positions["101"]
    assert drive(settle(world.log, world.venue, position, "102")) is None


def test_the_venue_is_believed_when_it_says_the_same_to_the_end():
    world = World(holdings=[{"101": "7"}])
    world.begin(an_order(), FILLED)
    found = world.start()
    assert [each.shares for each in found.corrected] == [7]
    assert world.account.positions["101"].cost == Decimal("4.212250")
    assert world.venue.names().count("holdings") == 3
    assert "our books said 10, the venue says 7" in found.lines()[0]
    assert [entry.money for entry in world.risk.entries] == [Decimal("4.212250")]


def test_a_position_that_is_gone_counts_as_lost_for_the_day():
    world = World(holdings=[{}])
    world.begin(an_order(), FILLED)
    world.start()
    assert world.account.positions == {}
    assert world.risk.profit_today(int(world.clock.seconds * 1000)) == Decimal("-6.0175")


def test_holdings_that_lag_behind_the_trade_correct_nothing():
    world = World(holdings=[{}, {}, {"101": "10"}])
    world.begin(an_order(), FILLED)
    assert world.start().corrected == ()
    assert world.account.positions["101"].shares == 10


def test_our_books_stand_when_the_trades_explain_them_and_only_the_holdings_lag():
    world = World(holdings=[{}], trades=[[a_trade()]])
    world.begin(an_order(), FILLED)
    assert world.start().corrected == ()
    assert world.account.positions["101"].shares == 10


def test_holdings_that_change_each_time_decide_nothing_and_block_the_market():
    world = World(holdings=[{"101": "7"}, {"101": "8"}, {"101": "9"}])
    world.begin(an_order(), FILLED)
    found = world.start()
    assert found.corrected == ()
    assert found.blocked == {"0xm1"}
    assert world.account.positions["101"].shares == 10
    assert "does not say how much" in found.lines()[0]


def test_a_fill_that_the_look_up_denied_is_found_in_the_wallet_and_priced_by_the_trades():
    world = World(resolve=[NO_MATCH], holdings=[{"101": "10"}], trades=[[a_trade(), a_trade(token=OTHER)]])
    world.begin(an_order())
    found = world.start()
    assert [each.cost for each in found.corrected] == [Decimal("6.0175")]
    assert world.account.positions["101"].shares == 10
    assert [entry.money for entry in world.risk.entries] == [Decimal("6.0175")]


def test_dust_is_no_difference():
    world = World(holdings=[{"101": "9.995"}])
    world.begin(an_order(), FILLED)
    assert world.start().corrected == ()
    assert world.venue.names().count("holdings") == 1


def test_a_start_waits_for_what_is_held_and_fails_when_it_is_not_told():
    world = World(holdings=[Unanswered("holdings", "time-out"), {"101": "10"}])
    world.begin(an_order(), FILLED)
    assert world.start().corrected == ()
    world = World(holdings=[Unanswered("holdings", "time-out")])
    with pytest.raises(Unanswered, match="time-out"):
        world.start()


def test_wrong_credentials_are_not_tried_again():
    world = World(holdings=[BadCredentials("holdings", 401, "Unauthorized")])
    with pytest.raises(BadCredentials):
        world.start()
    assert world.venue.names().count("holdings") == 1


@pytest.mark.parametrize(
    ("trades", "cost"),
    [
        ([a_trade(shares="7", money="4")], "4.0175"),
        ([a_trade(), a_trade(side=Side.SELL, shares="3", money="2", fee=None)], "4.0175"),
        ([a_trade(shares="6", money="4")], "4.2"),
        ([], "4.2"),
    ],
)
def test_shares_cost_what_the_trades_say_or_else_our_average(trades, cost):
    position = Position(market="0xm1", token=UP, shares=Decimal(10), cost=Decimal(6))
    assert cost_of(position, Decimal(7), trades) == Decimal(cost)


def test_shares_nobody_can_explain_cost_the_most_a_share_can_cost():
    nothing = Position(market="0xm1", token=UP, shares=Decimal(0), cost=Decimal(0))
    assert cost_of(nothing, Decimal(7), []) == 7


def test_the_risk_follows_sales_too():
    world = World()
    world.begin(an_order(), FILLED)
    part = Result(outcome=Outcome.FILLED, shares=Decimal(4), money=Decimal(2))
    world.begin(a_sale(client_id="s1", shares="4"), part)
    assert [entry.money for entry in world.risk.entries] == [world.account.positions["101"].cost]
    rest = Result(outcome=Outcome.FILLED, shares=Decimal(6), money=Decimal(3))
    world.begin(a_sale(client_id="s2", shares="6"), rest)
    assert world.risk.entries == ()
    assert world.risk.profit_today(int(START * 1000)) == world.account.totals.profit == Decimal("-1.0175")


def test_a_sale_that_found_nobody_leaves_the_position_at_risk():
    world = World()
    world.begin(an_order(), FILLED)
    world.begin(a_sale(), NO_MATCH)
    assert [entry.money for entry in world.risk.entries] == [Decimal("6.0175")]


def test_a_snapshot_and_what_came_later_give_the_same_risk_as_a_life_without_a_crash():
    world = World()
    world.begin(an_order())
    account, risk = world.account.snapshot(), world.risk.snapshot()
    drive(world.log.finish("buy:0xm1", FILLED))
    world.begin(an_order("0xm2", "102"))
    restored = Account.restore(account)
    again = Risk.restore(LIMITS, risk)
    log = IntentLog(world.files, restored, world.clock.network(), followers=(RiskFollower(again, restored),))
    drive(log.open())
    assert again.snapshot() == world.risk.snapshot()
    assert restored.snapshot() == world.account.snapshot()

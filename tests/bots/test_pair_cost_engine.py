"""One market's engine: when it asks for a pair, and every way out of half of one."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import pytest
from attrs import evolve

from bots.common.ledger.account import Account, Claim, Position
from bots.common.ledger.rows import Begun
from bots.common.money.sizing import SizeLimits, SizeRefusal
from bots.common.orders.intents import Terms
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from bots.pair_cost.engine import PairEngine, Shared
from bots.pair_cost.strategy import PairSettings
from bots.supervisor.turns import Turns, TurnSettings
from polymirror import BookState, NotLive, Reason
from polymirror.core.fees import NO_FEE
from polymirror.core.level import Level
from tests.bots.execution_rig import buy, d, view_of
from tests.bots.test_supervisor_universe import MARKET

YES, NO = MARKET.token_ids
TERMS = Terms(
    market=MARKET.condition_id, slug=MARKET.slug, asset=MARKET.slug, fee=NO_FEE, min_shares=d(5), neg_risk=False,
    taker_delay=True,
)  # fmt: skip
ELSEWHERE = "77"
LIMITS = SizeLimits(max_money=d(25), max_price=d("0.99"))
QUICK = PairSettings(hedge_step_s=d(2), hedge_steps=2, hedge_limit=d("1.01"), max_one_legged=d(20))


class Market:
    """An engine whose mirror, manager and clock are made up."""

    def __init__(self, settings=QUICK, **books):
        self.now, self.intents, self.told, self.taken, self.takes = 100.0, [], [], False, True
        self.books = {YES: (0, 0), NO: (0, 0)}
        self.account = Account()
        manager = SimpleNamespace(
            account=self.account, under_way=0, is_taken=lambda _market: self.taken, enter=self.enter,
            risk=SimpleNamespace(entries=[SimpleNamespace(market=MARKET.condition_id, group_id="the.group")]),
        )  # fmt: skip
        self.counts = Counter()
        shared = Shared(
            settings=settings, mirror=self, manager=manager, turns=Turns(TurnSettings(interval_ms=0)),
            counts=self.counts, clock=lambda: self.now, tell=self.told.append, is_over=lambda: False,
        )  # fmt: skip
        self.engine = PairEngine(MARKET, TERMS, shared)

    def enter(self, _books, intent):
        self.intents.append(intent)
        return self.takes

    def top(self, token):
        if self.books[token] is None:
            raise NotLive(token, BookState.SUSPECT, Reason.DISCONNECT, 0.4, 1, None)
        bid, ask = self.books[token]
        return SimpleNamespace(best_bid=Level(bid, 10**7) if bid else None, best_ask=Level(ask, 10**7) if ask else None)

    def hold(self, token, shares, cost, market=MARKET.condition_id):
        self.account.through += 1
        self.account.positions[token] = Position(market=market, token=token, shares=Decimal(shares), cost=Decimal(cost))

    def begin(self, order, reserve):
        self.account.through += 1
        begun = Begun(
            seq=1, at_ms=1, group_id=order.client_id, asset="btc", reserve=reserve, worst=reserve, order=order
        )
        self.account.open[order.client_id] = begun
        return begun

    def claim(self, token, shares, market=MARKET.condition_id):
        """Leave what is held of a token unconfirmed."""
        order = buy(token=token, market=market)
        begun = self.begin(order, d(10))
        del self.account.open[order.client_id]
        result = Result(outcome=Outcome.FILLED, shares=d(shares), money=d(1))
        self.account.claims[order.client_id] = Claim(begun=begun, result=result)

    def look(self, seconds=0.0, yes=None, no=None):
        self.now += seconds
        self.books[YES] = yes or self.books[YES]
        self.books[NO] = no or self.books[NO]
        before = len(self.intents)
        self.engine.look()
        return self.intents[before:]


def view(token, asks, bids):
    return view_of(asks, bids, token=token)


def test_a_pair_is_asked_for_when_both_tops_leave_something_and_not_otherwise():
    market = Market()
    assert market.look(yes=(4_500, 5_000), no=(4_800, 5_000)) == []
    (intent,) = market.look(yes=(4_500, 4_900), no=(4_700, 4_900))
    assert intent.tokens == (YES, NO)
    books = view(YES, [("0.49", "40")], []), view(NO, [("0.49", "30")], [])
    group = intent.size(books, LIMITS)
    assert [(leg.side, leg.price, leg.amount) for leg in group.legs] == [(Side.BUY, d("0.49"), d("13.23"))] * 2
    assert group.worst == group.legs[0].reserve
    assert isinstance(intent.size((books[0], view(NO, [("0.50", "30")], [])), LIMITS), SizeRefusal)


def test_a_book_that_is_not_live_is_waited_for():
    market = Market()
    market.books = {YES: None, NO: (4_700, 4_900)}
    market.engine.look()
    assert market.intents == []


def test_a_market_in_which_something_is_under_way_waits():
    market = Market()
    market.taken = True
    assert market.look(yes=(4_500, 4_900), no=(4_700, 4_900)) == []
    market.hold(YES, 20, 10)
    assert market.look() == []


def test_after_orders_that_found_nothing_it_waits_longer_and_longer():
    market = Market()
    cheap = {"yes": (4_500, 4_900), "no": (4_700, 4_900)}
    waits = []
    for _ in range(5):
        market.engine.heard(buy(), Result(outcome=Outcome.NO_MATCH))
        waited = 0.0
        while not market.look(0.5, **cheap):
            waited += 0.5
        waits.append(waited + 0.5)
    assert waits == [1, 2, 4, 8, 16]
    market.engine.heard(buy(), Result(outcome=Outcome.FILLED, shares=d(20)))
    market.engine.heard(buy(), Result(outcome=Outcome.NO_MATCH))
    assert market.look(1.0, **cheap)


def test_a_leg_alone_is_hedged_up_the_ladder_within_its_group():
    market = Market()
    market.hold(YES, 20, "9.60")  # 0.48 each
    assert market.look(yes=(4_000, 4_900), no=(4_700, 5_300)) == []  # 1.01, and 0.99 is allowed
    assert market.engine.is_mending
    assert market.told == [f"{MARKET.slug}: 20 Yes have no counterpart"]
    assert market.look(1.0) == []
    (intent,) = market.look(3.0)
    assert (intent.tokens, intent.tif, intent.group_id) == ((NO,), TimeInForce.FAK, "the.group")
    (leg,) = intent.size((view(NO, [("0.53", "40")], []),), LIMITS).legs
    assert (leg.side, leg.price, leg.amount) == (Side.BUY, d("0.53"), d("10.60"))
    assert market.told[-1].endswith("the other token is bought late")
    market.engine.heard(buy(tif=TimeInForce.FAK), Result(outcome=Outcome.FILLED, shares=d(20)))
    market.hold(NO, 20, "10.6")
    market.look(1.0)
    assert not market.engine.is_mending
    assert market.counts["hedged"] == market.counts["one_legged"] == 1


def test_a_leg_alone_is_sold_where_that_loses_less():
    market = Market()
    market.hold(NO, "20.005", "9.6024")
    market.look(yes=(4_700, 5_600), no=(4_750, 4_900))
    (intent,) = market.look(4.0)
    assert intent.tokens == (NO,)
    (leg,) = intent.size((view(NO, [], [("0.47", "40")]),), LIMITS).legs
    assert (leg.side, leg.price, leg.amount) == (Side.SELL, d("0.47"), d("20.00"))
    assert market.told[-1].endswith("it is sold again")


@pytest.mark.parametrize("budget", [20, 19])
def test_at_the_end_of_the_ladder_it_is_held_within_half_of_its_budget_and_sold_beyond_it(budget):
    market = Market(evolve(QUICK, max_one_legged=d(budget)))
    market.hold(YES, 20, "9.60")  # of 10, and of 9.5
    dear = {"yes": (3_000, 4_900), "no": (4_700, 7_500)}
    market.look(**dear)
    found = market.look(10.0)
    if budget == 20:
        assert found == []
        assert market.told[-1].endswith("it is kept as a position that can lose all it cost")
        assert not market.engine.is_mending
        assert market.counts["held alone"] == 1
        # And mended all the same, once that loses little.
        assert market.look(1.0, no=(4_700, 5_200))
    else:
        (intent,) = found
        assert intent.size((view(YES, [], [("0.30", "40")]),), LIMITS).legs[0].side is Side.SELL


def test_too_little_to_buy_is_sold_or_kept():
    market = Market(evolve(QUICK, max_one_legged=d(0)))
    market.hold(YES, "1.5", "0.72")
    market.look(yes=(4_600, 4_900), no=(4_700, 5_200))
    (intent,) = market.look(10.0)
    assert intent.tokens == (YES,)


def test_no_new_pair_is_begun_while_what_is_held_alone_has_used_up_its_budget():
    cheap = {"yes": (4_500, 4_900), "no": (4_700, 4_900)}
    for cost, begun in (("18", 1), ("19", 0)):
        market = Market()
        elsewhere = Position(market="0xother", token=ELSEWHERE, shares=d(20), cost=d(cost))
        market.account.positions[ELSEWHERE] = elsewhere
        assert len(market.look(**cheap)) == begun
    assert market.counts["waits for its budget"] == 1


CHEAP = {"yes": (4_500, 4_900), "no": (4_700, 4_900)}
BOOKS = view(YES, [("0.49", "200")], []), view(NO, [("0.49", "200")], [])


def test_what_pairs_under_way_could_leave_alone_counts_before_it_is():
    market = Market(evolve(QUICK, max_one_legged=d(30)))
    (intent,) = market.look(**CHEAP)
    groups = []
    while not isinstance(group := intent.size(BOOKS, LIMITS), SizeRefusal):
        groups.append(group)
        for number, leg in enumerate(group.legs):
            elsewhere = evolve(TERMS, market=f"0x{len(groups)}")
            order = leg.order(f"{len(groups)}.{number}", elsewhere, TimeInForce.FOK, 1)
            market.begin(order, leg.reserve)
    # Of each of these pairs one leg may find nothing.
    assert len(groups) == 2
    assert sum(group.worst for group in groups) <= 30
    assert market.look() == []
    assert market.counts["waits for its budget"] == 1


def test_a_trade_that_the_chain_may_still_fail_leaves_its_counterpart_alone():
    market = Market()
    market.hold("77", 40, "19.5", market="0xother")
    market.hold("78", 40, "19.5", market="0xother")
    assert len(market.look(**CHEAP)) == 1
    market.claim("78", 40, market="0xother")
    assert market.look() == []


def test_a_late_second_token_waits_while_the_first_may_fail_and_leave_more_alone():
    market = Market()
    market.hold(YES, 20, "6")
    dear = {"yes": (2_500, 3_100), "no": (6_700, 7_000)}
    market.hold("77", 40, "9", market="0xother")
    market.look(**dear)
    (intent,) = market.look(10.0)
    book = (view(NO, [("0.70", "40")], []),)
    assert intent.size(book, LIMITS).legs[0].amount == 14  # 6 and 9 are alone, and 6 get their counterpart
    market.claim(YES, 20)
    assert "23" in intent.size(book, LIMITS).detail  # 14 and 9, if the first is not there


def test_less_than_the_tolerance_is_left_as_it_is():
    market = Market()
    market.hold(YES, "20.9", "10")
    market.hold(NO, "20", "10")
    assert market.look(yes=(4_500, 5_000), no=(4_800, 5_000)) == []
    assert market.told == []

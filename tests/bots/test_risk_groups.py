"""Groups: the worst case of a pair, limits over groups, and no sequence of events that loses more than was allowed."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import pytest
from attrs import define, evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bots.common.risk.groups import Entry, Group, Leg, worst_case
from bots.common.risk.limits import DAY_MS, Risk, RiskLimits, RiskReason
from tests.bots.execution_rig import START_MS, d

NOON = START_MS // DAY_MS * DAY_MS + DAY_MS // 2
LIMITS = RiskLimits()


def leg(name: str, token: str, money: str, shares: str = "0", market: str = "m", asset: str = "btc") -> Leg:
    return Leg(client_id=name, market=market, asset=asset, token=token, money=d(money), shares=d(shares))


def pair(group: str = "g", money: str = "12.25", shares: str = "25", market: str = "m", asset: str = "btc") -> Group:
    """Both tokens of a market, twice 0.49 for what is worth 1."""
    sides = (leg(f"{group}.{side}", f"{market}-{side}", money, shares, market, asset) for side in ("yes", "no"))
    return Group(group_id=group, legs=tuple(sides))


def held(each: Leg, **changes) -> Entry:
    return evolve(Entry.of(each, "g"), **changes)


YES, NO = pair().legs


@pytest.mark.parametrize(
    ("entries", "worst"),
    [
        ([], "0"),
        ([held(YES)], "12.25"),
        ([held(YES), held(NO)], "12.25"),  # one of them may find nothing
        ([held(YES, filled=True), held(NO, filled=True)], "12.25"),  # one of them may fail on the chain
        ([held(YES, filled=True, final=True), held(NO, filled=True)], "12.25"),
        ([held(YES, filled=True, final=True), held(NO, filled=True, final=True)], "0"),
        ([held(YES, filled=True, final=True), held(NO, filled=True, final=True, shares=d(20))], "4.5"),
        ([held(YES, filled=True, final=True), held(leg("x", "m-yes", "5", "9"), filled=True, final=True)], "17.25"),
        ([held(YES), held(leg("x", "", "5"))], "17.25"),  # which side it is on is not known
        ([held(YES), held(leg("x", "m2-no", "12.25", "25", market="m2"))], "24.50"),
        ([held(leg("x", "m-yes", "26", "25")), held(leg("y", "m-no", "1", "25"))], "26"),
        ([held(leg("x", "m-yes", "26", "25")), held(leg("y", "m-no", "2", "1"))], "27"),
    ],
)
def test_the_worst_case_is_over_every_winner_and_every_order_that_may_still_fail(entries, worst):
    assert worst_case(entries) == d(worst)


def test_a_pair_is_allowed_up_to_its_worst_case_and_not_up_to_what_it_costs():
    risk = Risk(LIMITS)
    assert risk.enter_group(NOON, pair()) is None
    assert risk.open_money == d("12.25")
    again = Risk(LIMITS).enter_group(NOON, pair(money="25.01", shares="60"))
    assert (again.reason, again.detail) == (RiskReason.TRADE, "25.01 against 25 pUSD")


def test_the_second_leg_of_a_group_is_no_second_entry_and_heeds_no_cooldown():
    risk = Risk(LIMITS)
    assert risk.enter_group(NOON, Group(group_id="g", legs=(YES,))) is None
    risk.filled("g.yes", d(12), d(25))
    assert risk.enter_group(NOON + 100, Group(group_id="g", legs=(NO,))) is None
    other = risk.allow_group(NOON + 200, Group(group_id="h", legs=(evolve(NO, client_id="h"),)))
    assert other.reason is RiskReason.SECOND_ENTRY
    elsewhere = risk.allow_group(NOON + 200, pair("h", market="m2"))
    assert (elsewhere.reason, elsewhere.detail) == (RiskReason.COOLDOWN, "btc: 100 of 60000 ms")


def test_a_pause_keeps_no_group_from_being_completed_and_a_stop_does():
    risk = Risk(evolve(LIMITS, max_losses_in_a_row=1))
    assert risk.enter_group(NOON, Group(group_id="g", legs=(YES,))) is None
    risk.closed(NOON, "elsewhere", d(-1))
    assert risk.allow_group(NOON, pair("h", market="m2", asset="eth")).reason is RiskReason.PAUSED
    assert risk.allow_group(NOON, Group(group_id="g", legs=(NO,))) is None
    risk.stop("a test")
    assert risk.allow_group(NOON, Group(group_id="g", legs=(NO,))).reason is RiskReason.STOPPED


def test_pairs_without_risk_are_limited_by_the_number_of_markets_alone():
    risk = Risk(evolve(LIMITS, max_positions=100, cooldown_ms=0, max_hourly=d(10_000)))
    for number in range(100):
        group = pair(f"g{number}", market=f"m{number}")
        assert risk.enter_group(NOON + number, group) is None
        for each in group.legs:
            risk.filled(each.client_id, each.money, each.shares)
            risk.filled(each.client_id, each.money, each.shares, final=True)
    refusal = risk.allow_group(NOON + 100, pair("last", market="last"))
    assert (refusal.reason, refusal.detail) == (RiskReason.POSITIONS, "100 of 100 are open")


def test_a_leg_that_fails_on_the_chain_leaves_no_more_than_was_allowed():
    risk = Risk(evolve(LIMITS, max_daily_loss=d("12.25")))
    assert risk.enter_group(NOON, pair()) is None
    risk.filled("g.yes", d("12.25"), d(25))
    risk.filled("g.no", d("12.25"), d(25), final=True)
    risk.dropped("g.yes")
    assert risk.open_money == d("12.25")
    assert risk.allow(NOON, market="m2", asset="eth", money=d("0.01")).reason is RiskReason.DAILY_LOSS


def test_a_group_that_adds_nothing_to_what_can_be_lost_is_allowed_over_the_limits():
    risk = Risk(LIMITS)
    risk.hold(NOON, held(leg("big", "m-yes", "150", "300"), filled=True, final=True))
    assert risk.allow_group(NOON, Group(group_id="g", legs=(leg("x", "m-no", "24", "300"),))) is None
    refusal = risk.allow_group(NOON, Group(group_id="g", legs=(leg("x", "m-yes", "24", "300"),)))
    assert (refusal.reason, refusal.detail) == (RiskReason.MARKET, "174 against 25 pUSD")


@pytest.mark.parametrize("money", ["0", "-1", "NaN"])
def test_a_group_with_a_leg_that_costs_nothing_or_is_empty_is_refused(money):
    risk = Risk(LIMITS)
    for legs in ((), (YES, leg("x", "m-no", money, "5"))):
        assert risk.allow_group(NOON, Group(group_id="g", legs=legs)).reason is RiskReason.TRADE


@define
class Order:
    """What the model knows of one order, in fractions."""

    market: str
    token: str
    group: str
    cost: Fraction
    shares: Fraction
    traded: bool = False
    final: bool = False


class Groups(RuleBasedStateMachine):
    """Any sequence of groups, fills, failures on the chain, settlements and midnights.

    The model reckons for itself, by trying everything that may happen.
    """

    @initialize(
        daily=st.integers(5, 60), trade=st.integers(2, 30), positions=st.integers(1, 4), market=st.integers(2, 40)
    )
    def begin(self, daily, trade, positions, market):
        self.limits = RiskLimits(
            max_trade=Decimal(trade), max_market=Decimal(market), max_positions=positions,
            max_daily_loss=Decimal(daily), max_losses_in_a_row=1_000, cooldown_ms=0, second_entry=True,
            day_zone="Asia/Kolkata",
        )  # fmt: skip
        self.risk = Risk(self.limits)
        self.now = NOON
        self.count = 0
        self.orders: dict[str, Order] = {}
        self.days: dict[int, Fraction] = {}

    @property
    def day(self) -> int:
        return (self.now + 19_800_000) // DAY_MS

    @rule(
        data=st.data(),
        legs=st.lists(
            st.tuples(
                st.sampled_from("abcd"), st.sampled_from(("yes", "no")), st.integers(1, 99), st.integers(1, 2_500)
            ),
            min_size=1,
            max_size=3,
        ),
    )
    def order(self, data, legs):
        if len(self.orders) + len(legs) > 8:
            return
        known = sorted({order.group for order in self.orders.values()})
        group = data.draw(st.sampled_from([*known, f"new-{self.count}"]))
        wanted = []
        for market, side, limit, cents in legs:
            self.count += 1
            money, price = Decimal(cents).scaleb(-2), Decimal(limit).scaleb(-2)
            shares = (money / price).quantize(Decimal("0.0001"), rounding="ROUND_DOWN")
            wanted.append(leg(f"{self.count}", f"{market}-{side}", str(money), str(shares), market))
        if self.risk.enter_group(self.now, Group(group_id=group, legs=tuple(wanted))) is None:
            for each in wanted:
                cost, shares = Fraction(each.money), Fraction(each.shares)
                self.orders[each.client_id] = Order(each.market, each.token, group, cost, shares)

    @precondition(lambda self: any(not order.traded for order in self.orders.values()))
    @rule(data=st.data(), percent=st.integers(0, 100), better=st.integers(0, 50))
    def decide(self, data, percent, better):
        """Trade a part of the money, maybe at a better price."""
        name = data.draw(st.sampled_from([name for name, order in self.orders.items() if not order.traded]))
        self.decide_one(name, percent, better)

    def decide_one(self, name, percent, better):
        if not percent:
            del self.orders[name]
            self.risk.dropped(name)
            return
        order = self.orders[name]
        order.cost *= Fraction(percent, 100)
        order.shares *= Fraction(percent * (100 + better), 10_000)
        order.traded = True
        self.risk.filled(name, decimal(order.cost), decimal(order.shares))

    @precondition(lambda self: any(order.traded and not order.final for order in self.orders.values()))
    @rule(data=st.data(), fails=st.booleans())
    def confirm(self, data, fails):
        """Have the chain confirm a trade, or lose it."""
        open_ = [name for name, order in self.orders.items() if order.traded and not order.final]
        self.confirm_one(data.draw(st.sampled_from(open_)), fails)

    def confirm_one(self, name, fails):
        if fails:
            del self.orders[name]
            self.risk.dropped(name)
            return
        order = self.orders[name]
        order.final = True
        self.risk.filled(name, decimal(order.cost), decimal(order.shares), final=True)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), winner=st.sampled_from(("yes", "no", "both")))
    def settle(self, data, winner):
        """Decide what is undecided in a market, and then the market."""
        market = data.draw(st.sampled_from(sorted({order.market for order in self.orders.values()})))
        for name in [name for name, order in self.orders.items() if order.market == market]:
            if not self.orders[name].traded:
                self.decide_one(name, data.draw(st.integers(0, 100)), 0)
            if name in self.orders and not self.orders[name].final:
                self.confirm_one(name, data.draw(st.booleans()))
        ended = [self.orders.pop(name) for name in list(self.orders) if self.orders[name].market == market]
        profit = sum(
            (pays(order.token, f"{market}-{winner}") * order.shares - order.cost for order in ended), Fraction(0)
        )
        if ended:
            self.days[self.day] = self.days.get(self.day, Fraction(0)) + profit
            self.risk.closed(self.now, market, decimal(profit))

    @rule(hours=st.integers(0, 30))
    def wait(self, hours):
        self.now += hours * 3_600_000

    def worst(self, market: str) -> Fraction:
        """Try every winner, and for each order that is not final all, half and nothing."""
        orders = [order for order in self.orders.values() if order.market == market]
        parts = [(Fraction(1),) if order.final else (Fraction(0), Fraction(1, 2), Fraction(1)) for order in orders]
        return max(
            sum(
                (part * (order.cost - pays(order.token, f"{market}-{winner}") * order.shares)
                 for order, part in zip(orders, chosen, strict=True)), Fraction(0),
            )
            for chosen in itertools.product(*parts)
            for winner in ("yes", "no", "both")
        )  # fmt: skip

    @invariant()
    def no_day_loses_more_than_its_limit_whatever_may_happen(self):
        limit = Fraction(self.limits.max_daily_loss)
        assert all(profit >= -limit for profit in self.days.values())
        at_risk = sum((max(self.worst(market), Fraction(0)) for market in "abcd"), Fraction(0))
        assert min(self.days.get(self.day, Fraction(0)), Fraction(0)) - at_risk >= -limit - CUT
        assert abs(Fraction(self.risk.open_money) - at_risk) < CUT

    @invariant()
    def no_market_and_no_number_of_markets_passes_its_limit(self):
        assert all(self.worst(market) <= Fraction(self.limits.max_market) + CUT for market in "abcd")
        assert len({order.market for order in self.orders.values()}) <= self.limits.max_positions


CUT = Fraction(1, 10**12)


def decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def pays(token: str, winner: str) -> Fraction:
    return Fraction(1, 2) if winner.endswith("-both") else Fraction(token == winner)


TestGroups = Groups.TestCase
TestGroups.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

"""The strategy of pairs: the largest below the limit, never one above it, and the cheaper way out of half a pair."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import event, given, settings
from hypothesis import strategies as st

from bots.common.money.pairs import Cost, Legs, can_trade, prices_with_fee, size_pair
from bots.pair_cost.strategy import PairSettings, Way, begin_alone, mend
from polymirror.core.book import Levels
from polymirror.core.fees import NO_FEE, FeeSchedule, charged_fee, exact_fee
from polymirror.errors import ConfigError

CRYPTO = FeeSchedule(Decimal("0.07"), 1)
FEES = [CRYPTO, NO_FEE, FeeSchedule(Decimal("0.03"), 1), FeeSchedule(Decimal("0.25"), 2), FeeSchedule(Decimal(1), 0)]
DEEP = PairSettings(max_depth=Decimal(1), max_shares=200)
MUCH = 10**12


def book(*asks: tuple[int, int]) -> Levels:
    """Asks as (price in 1/10,000, shares in 1/1,000,000)."""
    levels = sorted(asks, reverse=True)
    return Levels((), (), tuple(10_000 - price for price, _ in levels), tuple(size for _, size in levels))


@st.composite
def books(draw, tick: int) -> Levels:
    prices = draw(st.lists(st.integers(1, 9_900 // tick), min_size=1, max_size=6, unique=True))
    return book(*((price * tick, draw(st.integers(1, 80_000_000))) for price in prices))


@st.composite
def situations(draw):
    tick = draw(st.sampled_from([1000, 100, 100, 10]))
    fee = draw(st.sampled_from(FEES))
    limit = Decimal(draw(st.integers(5_000, 10_000))).scaleb(-4)
    chosen = evolve(
        DEEP, max_pair_cost=limit, edge_buffer=Decimal(draw(st.integers(0, 100))).scaleb(-4), hedge_limit=limit
    )
    return chosen, fee, (draw(books(tick)), draw(books(tick))), tick


def decide(chosen, costs, pair, tick, least_e6, most_e6):
    limits = chosen.limits(Decimal(least_e6).scaleb(-6), Decimal(most_e6).scaleb(-6))
    return size_pair(limits, costs, pair, tick)


def limit_of(levels: Levels, shares: int) -> int | None:
    """The price up to which one has to go for so many shares, by walking level by level."""
    for key, size in zip(reversed(levels.ask_keys), reversed(levels.ask_sizes), strict=True):
        shares -= size
        if shares <= 0:
            return 10_000 - key
    return None


def largest(settings: PairSettings, fee: FeeSchedule, pair: tuple[Levels, Levels], tick: int) -> int:
    """The largest whole number of pairs that costs no more than the limit at both limits, by trying every one."""
    wanted = settings.max_pair_cost - settings.edge_buffer
    best = 0
    for shares in range(1, settings.max_shares + 1):
        limits = [limit_of(levels, shares * 1_000_000) for levels in pair]
        if None in limits:
            break
        prices = [Decimal(limit).scaleb(-4) for limit in limits if limit is not None]
        each = sum(price + exact_fee(fee, price, Decimal(1)) for price in prices)
        rounding = sum(int(price / Decimal(tick).scaleb(-4)) for price in prices) * Decimal("0.00001")
        if each * shares + rounding <= wanted * shares:
            best = shares
    return best


@given(situations())
@settings(max_examples=400, deadline=None)
def test_it_is_the_largest_pair_below_the_limit(case) -> None:
    chosen, fee, pair, tick = case
    found = decide(chosen, prices_with_fee(fee), pair, tick, 1_000_000, MUCH)
    best = largest(chosen, fee, pair, tick)
    if isinstance(found, Cost):
        event(found.name)
        # One leg below the venue's least money is no pair; and what is rounded up by a unit may cost the last one.
        small = [limit_of(levels, best * 1_000_000) for levels in pair]
        assert best == 0 or min(best * (price or 0) for price in small) < 20_000 or found is Cost.TOO_SMALL
        return
    event("pair")
    assert found.shares_e6 == best * 1_000_000


@given(situations(), st.data())
@settings(max_examples=400, deadline=None)
def test_no_pair_costs_more_than_the_limit_whatever_the_books_have_become(case, data) -> None:
    chosen, fee, pair, tick = case
    found = decide(chosen, prices_with_fee(fee), pair, tick, 1_000_000, MUCH)
    if not isinstance(found, Legs):
        return
    paid = Decimal(0)
    for limit, money in zip(found.limits_e4, found.money_e6, strict=True):
        # The venue spends the money at any prices up to the limit, and rounds each fill's fee.
        left, got, cost = Decimal(money).scaleb(-6), Decimal(0), Decimal(0)
        for _ in range(3):
            price = Decimal(data.draw(st.integers(1, limit // tick)) * tick).scaleb(-4)
            spent = left * data.draw(st.integers(0, 100)) / 100
            got, cost, left = got + spent / price, cost + spent + charged_fee(fee, price, spent / price), left - spent
        price = Decimal(limit).scaleb(-4)
        got, cost = got + left / price, cost + left + charged_fee(fee, price, left / price)
        paid += cost / got
    shares = Decimal(found.shares_e6).scaleb(-6)
    assert paid <= chosen.max_pair_cost - chosen.edge_buffer + Decimal("0.00008") / shares


def test_both_legs_buy_the_same_number_and_offer_whole_cents() -> None:
    pair = book((4_700, 30_550_000), (4_800, 50_000_000)), book((4_600, 80_000_000))
    found = decide(DEEP, prices_with_fee(CRYPTO), pair, 100, 5_000_000, MUCH)
    assert isinstance(found, Legs)
    assert found.shares_e6 == 80_000_000
    assert found.money_e6 == (38_090_000, 36_800_000)
    assert found.limits_e4 == (4_800, 4_600)


@pytest.mark.parametrize(
    ("pair", "given", "why"),
    [
        ((book((4_700, 10**7)), book()), {}, Cost.NO_OFFER),
        ((book((5_000, 10**7)), book((5_000, 10**7))), {}, Cost.TOO_DEAR),
        ((book((4_700, 4 * 10**6)), book((4_700, 10**7))), {}, Cost.TOO_SMALL),
        ((book((200, 10**7)), book((4_700, 10**7))), {}, Cost.TOO_SMALL),
        ((book((4_700, 10**7)), book((4_700, 10**7))), {"most_e6": 2_000_000}, Cost.TOO_SMALL),
    ],
)
def test_why_there_is_no_pair(pair, given, why) -> None:
    terms = {"least_e6": 5_000_000, "most_e6": MUCH} | given
    assert decide(DEEP, prices_with_fee(CRYPTO), pair, 100, **terms) is why


def test_a_part_of_the_depth_is_left_to_others() -> None:
    pair = book((4_700, 100_000_000)), book((4_700, 50_000_000))
    found = decide(evolve(DEEP, max_depth=Decimal("0.9")), prices_with_fee(CRYPTO), pair, 100, 5_000_000, MUCH)
    assert isinstance(found, Legs)
    assert found.shares_e6 == 45_000_000


@given(st.sampled_from(FEES), st.integers(0, 9_999), st.integers(0, 9_999))
def test_the_quick_look_refuses_only_what_the_decision_refuses(fee, first, second) -> None:
    costs, tick = prices_with_fee(fee), 1
    offers = [book((price, 10**9)) if price else book() for price in (first, second)]
    found = decide(DEEP, costs, (offers[0], offers[1]), tick, 1_000_000, MUCH)
    if not can_trade(costs, DEEP.limit_e8, first, second):
        assert isinstance(found, Cost)


def test_the_cheaper_way_out_is_taken_as_far_as_the_ladder_goes() -> None:
    costs, chosen = prices_with_fee(NO_FEE), PairSettings(hedge_step_s=Decimal(2), hedge_steps=3)
    bought = 47_000_000  # at 0.47

    def found(bid: int, ask: int, waited: float, *, over: bool = False) -> tuple[Way, int]:
        way = mend(chosen, costs, bought, bid, ask, waited, over_budget=over)
        return way.way, way.limit_e4

    assert found(4_500, 5_200, 0) == (Way.HEDGE, 5_200)  # a pair of 0.99
    assert found(4_500, 5_400, 0) == (Way.WAIT, 0)
    assert found(4_500, 5_400, 2.1) == (Way.WAIT, 0)  # up to 1.003 by now
    assert found(4_500, 5_400, 4.1) == (Way.HEDGE, 5_400)  # 1.016
    assert found(4_600, 5_400, 4.1) == (Way.HEDGE, 5_400)  # both lose a cent
    assert found(4_600, 5_500, 4.1) == (Way.UNWIND, 4_600)
    assert found(4_700, 0, 0) == (Way.WAIT, 0)  # it would lose nothing, and 0.99 allows that only later
    assert found(3_000, 7_000, 60) == (Way.HOLD, 0)
    assert found(3_000, 7_200, 60, over=True) == (Way.UNWIND, 3_000)
    assert found(0, 0, 60, over=True) == (Way.HOLD, 0)


def test_the_fee_of_a_sale_counts() -> None:
    costs = prices_with_fee(CRYPTO)
    paid = costs[4_700]
    way = mend(PairSettings(hedge_step_s=Decimal(0)), costs, paid, 4_600, 0, 0, over_budget=True)
    price = Decimal("0.46")
    lost = Decimal(paid).scaleb(-8) - (price - exact_fee(CRYPTO, price, Decimal(1)))
    assert way.way is Way.UNWIND
    assert abs(Decimal(way.lost_e8).scaleb(-8) - lost) <= Decimal("0.00000002")


def test_one_after_the_other_begins_with_the_cheaper_one() -> None:
    costs = prices_with_fee(NO_FEE)
    assert begin_alone(PairSettings(), costs, 6_100, 3_900) == 1
    assert begin_alone(PairSettings(), costs, 3_900, 6_100) == 0
    assert begin_alone(PairSettings(), costs, 4_900, 5_000) is None
    assert begin_alone(PairSettings(), costs, 3_900, 7_000) is None
    assert begin_alone(PairSettings(), costs, 0, 3_900) is None


def test_settings_that_leave_no_price_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_pair_cost"):
        PairSettings(max_pair_cost=Decimal("0.4"))
    with pytest.raises(ConfigError, match="hedge_limit"):
        PairSettings(hedge_limit=Decimal("0.9"))

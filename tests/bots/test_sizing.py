"""Sizing: within the limits, on the venue's grids, and worth it on the depth that is there."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from attrs import evolve
from hypothesis import event, given, settings
from hypothesis import strategies as st

from bots.common.errors import FeeUnknown, OrderInvalid
from bots.common.money.amounts import TICKS, is_multiple
from bots.common.money.fees import affordable, highest_cost
from bots.common.money.sizing import NoSize, SizeLimits, SizeRefusal, Stake, edge, size_buy
from bots.common.orders.order import Order
from polymirror.core.fees import FeeSchedule, charged_fee, exact_fee, highest_fee
from polymirror.errors import ConfigError
from tests.bots.execution_rig import CRYPTO, START_MS, d, view_of

LIMITS = SizeLimits(max_money=d(25), max_price=d("0.62"), min_edge=d("0.01"))


@st.composite
def situations(draw):
    """A book on some grid, a part of it older than the grid, a fair value that often is above it, a fee and limits."""
    tick = draw(st.sampled_from(TICKS))
    grid = draw(st.sampled_from([tick, tick, d("0.0001")]))
    steps = draw(st.lists(st.integers(1, int(d("0.8") / grid)), min_size=1, max_size=12, unique=True))
    sizes = st.integers(500_000, 400_000_000).map(lambda units: Decimal(units).scaleb(-6))
    asks = [(str(grid * step), str(draw(sizes))) for step in sorted(steps, reverse=True)]
    best = int(grid * min(steps) * 10_000)
    fee = draw(st.sampled_from([CRYPTO, CRYPTO, FeeSchedule(d("0.25"), 2), FeeSchedule(d(1), 3), FeeSchedule(d(0), 0)]))
    limits = SizeLimits(
        max_money=Decimal(draw(st.integers(100, 100_000))).scaleb(-2),
        max_price=Decimal(draw(st.integers(min(best + 1, 9_999), 9_999))).scaleb(-4),
        min_edge=Decimal(draw(st.integers(0, 200))).scaleb(-4),
        max_depth=draw(st.sampled_from([d(1), d(1), d("0.5"), d("0.03")])),
        min_shares=draw(st.sampled_from([d("0.01"), d(5)])),
    )
    fair = Decimal(draw(st.integers(min(best, 9_000), 10_000))).scaleb(-4)
    return view_of(asks, [], str(tick)), fair, fee, limits


def spent_on(asks, money):
    """What the venue makes of an order to buy for this money, best price first: prices and shares."""
    for price, size in asks:
        shares = min(size, (money / price).quantize(d("0.000001"), ROUND_FLOOR))
        money -= price * shares
        if shares:
            yield price, shares


@st.composite
def paths(draw):
    """Prices up to any limit, as parts of it, with the part of what is left of the money that each one takes."""
    part = st.integers(1, 10_000).map(lambda number: Decimal(number).scaleb(-4))
    return draw(st.lists(st.tuples(part, part), min_size=1, max_size=30))


@settings(max_examples=300)
@given(situations())
def test_a_stake_keeps_every_limit_and_is_worth_more_than_it_costs(situation):
    view, fair, fee, limits = situation
    stake = size_buy(view, fair, fee, limits)
    event(stake.reason.name if isinstance(stake, SizeRefusal) else "bought")
    if not isinstance(stake, Stake):
        return
    fills = list(spent_on(view.asks, stake.money))
    # All of it is there, at the limit or better.
    bought = sum(shares for _, shares in fills)
    assert bought >= stake.shares
    assert all(price <= stake.price <= limits.max_price for price, _ in fills)
    # It is never more than allowed, however the venue rounds.
    cost = sum(price * shares for price, shares in fills)
    assert cost == stake.cost
    assert stake.money - d("0.000001") < cost <= stake.money
    assert cost + sum(highest_fee(fee, price, shares) for price, shares in fills) <= stake.reserve <= limits.max_money
    assert stake.money >= limits.min_money
    assert stake.shares >= limits.min_shares
    assert stake.money <= limits.max_depth * sum(price * size for price, size in view.asks)
    # No share is bought that is not worth its own price and fee, and neither is the whole.
    assert all(edge(fair, fee, price) >= limits.min_edge for price, _ in fills)
    charged = sum(charged_fee(fee, price, shares) for price, shares in fills)
    assert fair * bought - cost - charged >= stake.value > 0
    assert fair * stake.shares - stake.money - exact_fee(fee, stake.price, stake.shares) >= stake.worst_value > 0


@settings(max_examples=300)
@given(situations(), paths())
def test_no_path_of_prices_costs_more_than_the_reserve(situation, path):
    view, fair, fee, limits = situation
    stake = size_buy(view, fair, fee, limits)
    if not isinstance(stake, Stake):
        return
    left, cost = stake.money, Decimal(0)
    for of_limit, of_money in [*path, (Decimal(1), Decimal(1))]:
        price = max((stake.price * of_limit).quantize(d("0.0001"), ROUND_FLOOR), d("0.0001"))
        # Rounded up: not even a venue that gives a unit too much may make it more.
        shares = (left * of_money / price).quantize(d("0.000001"), ROUND_CEILING)
        cost += left * of_money + highest_fee(fee, price, shares)
        left -= left * of_money
    assert left == 0
    assert cost <= stake.reserve <= limits.max_money


@pytest.mark.parametrize("limit", ["0.0001", "0.05", "0.3", "0.4285", "0.62", "0.9999"])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 8])
@pytest.mark.parametrize("rate", ["0", "0.07", "1"])
def test_the_highest_cost_is_that_of_the_dearest_price_of_all(limit, exponent, rate):
    fee, money = FeeSchedule(d(rate), exponent), d(25)
    every = [Decimal(number).scaleb(-4) for number in range(1, int(d(limit) * 10_000) + 1)]
    dearest = max(money + exact_fee(fee, price, money / price) for price in every)
    highest = highest_cost(fee, d(limit), money)
    assert dearest <= highest
    # It is not much more either: rounding, and what a peak between two prices of the grid is higher.
    assert highest - dearest < d("0.0101")
    assert affordable(fee, d(limit), highest, d("0.01")) == money
    assert affordable(fee, d(limit), highest - d("0.000001"), d("0.01")) == money - d("0.01")


def test_cheaper_fills_do_not_cost_more_than_the_limit_on_money():
    """Money-bound fills pay ``rate * (1 - price)`` for each pUSD: more, the better the price."""
    view = view_of([("0.61", "1000"), ("0.30", "20"), ("0.25", "10")], [])
    stake = size_buy(view, d("0.90"), CRYPTO, LIMITS)
    assert isinstance(stake, Stake)
    assert stake.price == d("0.61")
    assert stake.reserve <= 25
    assert stake.money > d("23.3")
    for price in map(d, ("0.50", "0.30", "0.10", "0.0001")):
        assert stake.money + charged_fee(CRYPTO, price, stake.money / price) <= stake.reserve


def test_what_is_bought_is_judged_by_the_money_spent():
    stake = size_buy(view_of([("0.52", "100"), ("0.40", "20")], []), d("0.70"), CRYPTO, evolve(LIMITS, max_money=d(12)))
    assert isinstance(stake, Stake)
    assert stake.price == d("0.52")
    assert stake.money - d("0.000001") < stake.cost <= stake.money
    # Twenty at 0.40, and the rest of the money at 0.52: more than the limit's shares.
    bought = 20 + (stake.money - 8) / d("0.52")
    assert stake.shares < 23 < bought
    assert stake.value == pytest.approx(d("0.70") * bought - stake.money - stake.fee, abs=d("0.00001"))


@given(situations())
def test_every_stake_is_an_order_the_venue_takes(situation):
    view, fair, fee, limits = situation
    stake = size_buy(view, fair, fee, limits)
    if not isinstance(stake, Stake):
        return
    order = Order.buy(
        client_id="c", market="0xm", token="11", price=stake.price, money=stake.money, tick=stake.tick,
        created_ms=START_MS, fee=fee,
    )  # fmt: skip
    assert (order.shares, order.money) == (stake.shares, stake.money)
    assert is_multiple(order.price, stake.tick)


def test_the_depth_that_is_worth_it_is_taken_up_to_the_money():
    stake = size_buy(view_of(), d("0.70"), CRYPTO, evolve(LIMITS, max_money=d(40)))
    assert isinstance(stake, Stake)
    # 50.5 at 0.52 and 20 at 0.55 cost 37.26 before fees; 0.60 is still worth it at 0.70.
    assert stake.price == d("0.60")
    assert d("39.98") < stake.reserve <= d(40)
    assert stake.money - d("0.000001") < stake.cost <= stake.money


def test_the_walk_ends_where_the_next_level_is_not_worth_its_price_and_fee():
    stake = size_buy(view_of(), d("0.57"), CRYPTO, evolve(LIMITS, max_money=d(100)))
    assert isinstance(stake, Stake)
    assert stake.price == d("0.52")
    assert stake.money == d("26.26")
    assert stake.shares == d("50.5")


def test_the_walk_ends_at_the_price_limit():
    stake = size_buy(view_of(), d("0.99"), CRYPTO, evolve(LIMITS, max_money=d(100), max_price=d("0.5599")))
    assert isinstance(stake, Stake)
    assert stake.price == d("0.55")


def test_a_cent_is_given_back_when_rounding_the_fee_would_pass_the_limit():
    # 10.01 pUSD, the exact fee of 0.70062993 at 0.0001 and a cent for rounding are just allowed; five decimals are not.
    stake = size_buy(view_of(), d("0.6"), CRYPTO, evolve(LIMITS, max_money=d("10.72061993")))
    assert isinstance(stake, Stake)
    assert stake.money == d("10.00")


def test_a_share_that_is_worth_exactly_its_price_and_fee_is_not_bought():
    refusal = size_buy(view_of(), d("0.537472"), CRYPTO, evolve(LIMITS, min_edge=d(0)))
    assert isinstance(refusal, SizeRefusal)
    assert refusal.reason is NoSize.NO_EDGE


def test_a_part_of_the_depth_is_left_if_so_wished():
    stake = size_buy(
        view_of([("0.5", "100")], []), d("0.7"), CRYPTO, evolve(LIMITS, max_money=d(100), max_depth=d("0.25"))
    )
    assert isinstance(stake, Stake)
    assert stake.shares == d(25)


def test_a_level_between_two_ticks_is_asked_for_at_the_next_one_up():
    stake = size_buy(view_of([("0.525", "100")], [], "0.01"), d("0.7"), CRYPTO, LIMITS)
    assert isinstance(stake, Stake)
    assert stake.price == d("0.53")
    assert stake.worst_value < stake.value


@pytest.mark.parametrize(
    ("view", "fair", "limits", "reason"),
    [
        (view_of([], []), "0.7", LIMITS, NoSize.NO_ASKS),
        (view_of(tick=None), "0.7", LIMITS, NoSize.NO_TICK),
        (view_of([("0.63", "100")], []), "0.9", LIMITS, NoSize.TOO_DEAR),
        (view_of(), "0.547", LIMITS, NoSize.NO_EDGE),
        (view_of([("0.52", "4")], []), "0.9", LIMITS, NoSize.TOO_SMALL),
        (view_of([("0.05", "10")], []), "0.9", LIMITS, NoSize.TOO_SMALL),
        (view_of(), "0.9", evolve(LIMITS, max_money=d("0.99")), NoSize.TOO_SMALL),
        (view_of([("0.525", "100")], []), "0.556", LIMITS, NoSize.NO_EDGE),
        (
            view_of([("0.6", "100")], [], "0.1"),
            "0.9",
            evolve(LIMITS, max_money=d("1.1"), min_shares=d(1)),
            NoSize.TOO_SMALL,
        ),
    ],
)
def test_nothing_is_bought_and_the_reason_is_told(view, fair, limits, reason):
    refusal = size_buy(view, d(fair), CRYPTO, limits)
    assert isinstance(refusal, SizeRefusal)
    assert refusal.reason is reason
    assert str(refusal).startswith(reason.value)


@pytest.mark.parametrize("fair", ["-0.01", "1.01", "NaN"])
def test_a_fair_value_that_is_no_probability_is_refused(fair):
    with pytest.raises(OrderInvalid, match="fair"):
        size_buy(view_of(), d(fair), CRYPTO, LIMITS)


def test_terms_that_cannot_be_believed_are_refused():
    with pytest.raises(FeeUnknown):
        size_buy(view_of(), d("0.7"), FeeSchedule(d(2), 1), LIMITS)


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_money", d(0)), ("max_money", 25.0), ("max_price", d(1)), ("min_edge", d("-0.1")), ("max_depth", d("1.1"))],
)
def test_a_limit_out_of_range_is_named(field, value):
    with pytest.raises(ConfigError, match=field):
        SizeLimits(**{field: value})

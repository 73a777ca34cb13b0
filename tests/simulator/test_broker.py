"""Orders are accepted, held back, matched, charged and settled as the venue does it, to the unit."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymirror.errors import ConfigError
from polymirror.simulator import ExchangeConfig, FlowConfig
from polymirror.simulator.exchange.market import Ending
from polymirror.simulator.orders import broker as broker_module
from polymirror.simulator.orders.broker import BrokerConfig, OrderState
from polymirror.simulator.orders.rules import FeeTerms, Refused
from polymirror.simulator.settings import RoundsConfig
from tests.simulator.order_rig import ONE_PUSD, Rig, rig


def buy_best(trader: Rig, shares: int = 10) -> tuple[int, int]:
    return trader.dollars_at(trader.asks()[0][0], shares)


def refusal(trader: Rig, maker: int, taker: int, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        trader.broker.place(trader.ticket(maker, taker, **more), trader.exchange.now_ms)
    assert trader.ledger.account(trader.account.address).reserved == {}
    return caught.value


# The taker delay.


def test_an_order_is_held_back_for_the_taker_delay_and_then_matched_against_the_book_as_it_is_then() -> None:
    trader = rig(exchange=ExchangeConfig(seed=5, flow=FlowConfig(rate=80.0, volatility=0.05)))
    trader.wait(1_000)
    before = trader.asks()
    order = trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 30), kind="FAK"), trader.exchange.now_ms)
    trader.wait(249)
    assert order.state is OrderState.DELAYED
    assert trader.broker.open_orders() == [order]
    then = trader.asks()
    assert then[0] != before[0]
    trader.wait(1)
    assert order.state is OrderState.MATCHED
    assert trader.broker.open_orders() == []
    assert order.fills[0].price == then[0][0]
    assert order.fills[0].at_ms == order.accepted_ms + 250
    trader.ledger.audit()


def test_a_trade_is_broadcast_like_any_other_and_its_shares_are_gone_from_the_book() -> None:
    trader = rig(exchange=ExchangeConfig(flow=FlowConfig(rate=0.001)))
    (price, size), *_ = trader.asks()
    maker, taker = trader.dollars_at(price, 10)
    trader.broker.place(trader.ticket(maker, taker), trader.exchange.now_ms)
    sent = trader.wait(300)
    assert '"event_type":"price_change"' in sent
    assert '"event_type":"last_trade_price"' in sent
    left = dict(trader.asks()).get(price, 0)
    assert left == size - min(size, taker)
    assert trader.shares() == taker


def test_without_a_delay_an_order_is_matched_at_once() -> None:
    trader = rig(delay_ms=0)
    order = trader.broker.place(trader.ticket(*buy_best(trader)), trader.exchange.now_ms)
    assert order.state is OrderState.MATCHED
    assert order.shares == trader.shares() > 0


def test_every_level_is_paid_at_its_own_price_and_its_fee_is_rounded_by_itself() -> None:
    trader = rig(pusd=100_000, delay_ms=0, exchange=ExchangeConfig(flow=FlowConfig(rate=0.001)))
    levels = trader.asks()[:3]
    limit = levels[-1][0]
    total = sum(size for _, size in levels)
    maker, taker = trader.dollars_at(limit, total // ONE_PUSD + 1)
    order = trader.broker.place(trader.ticket(maker, taker, kind="FAK"), trader.exchange.now_ms)
    assert [fill.price for fill in order.fills] == [price for price, _ in levels]
    assert order.shares == total
    money = fees = Decimal(0)
    for fill in order.fills:
        price, shares = Decimal(fill.price).scaleb(-4), Decimal(fill.shares).scaleb(-6)
        exact = shares * Decimal("0.07") * price * (1 - price)
        assert abs(Decimal(fill.fee).scaleb(-6) - exact) <= Decimal("0.000005")
        assert fill.fee % 10 == 0
        money += price * shares
        fees += Decimal(fill.fee).scaleb(-6)
    assert Decimal(100_000 * ONE_PUSD - trader.cash).scaleb(-6) == money + fees
    trader.ledger.audit()


@pytest.mark.parametrize(("price", "fee"), [(5_000, "1.75"), (9_000, "0.63"), (9_700, "0.2037")])
def test_fees_are_those_of_the_examples_in_the_venues_description(price: int, fee: str) -> None:
    assert Decimal(FeeTerms().fee(price, 100 * ONE_PUSD)).scaleb(-6) == Decimal(fee)


def test_a_fee_below_half_of_the_smallest_charge_is_none() -> None:
    terms = FeeTerms(rate=Decimal("0.07"))
    assert terms.fee(5_000, 285) == 0
    assert terms.fee(5_000, 286) == 10


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9_999), st.integers(1, 10**9)), min_size=1, max_size=20))
def test_what_is_reserved_for_fees_is_never_less_than_what_is_charged(fills: list[tuple[int, int]]) -> None:
    terms = FeeTerms()
    limit = max(price for price, _ in fills)
    distinct = dict(fills)
    charged = sum(terms.fee(price, shares) for price, shares in distinct.items())
    assert charged <= terms.most(limit, sum(distinct.values()))


# Fill or kill, fill and kill.


def test_a_fok_order_that_the_book_cannot_fill_gets_nothing_and_its_money_is_free_again() -> None:
    trader = rig(pusd=900_000)
    price, size = trader.asks()[0]
    order = trader.broker.place(trader.ticket(*trader.dollars_at(price, size // ONE_PUSD * 50)), 0)
    assert trader.ledger.account(trader.account.address).reserved_cash > 0
    trader.wait(250)
    assert order.state is OrderState.UNMATCHED
    assert (trader.cash, trader.shares()) == (900_000 * ONE_PUSD, 0)
    assert trader.ledger.account(trader.account.address).reserved_cash == 0


def test_a_fak_order_takes_what_is_there_and_drops_the_rest() -> None:
    trader = rig(pusd=900_000, delay_ms=0)
    price, size = trader.asks()[0]
    order = trader.broker.place(trader.ticket(*trader.dollars_at(price, size // ONE_PUSD * 50), kind="FAK"), 0)
    assert [(fill.price, fill.shares) for fill in order.fills] == [(price, size)]
    assert order.state is OrderState.MATCHED


@pytest.mark.parametrize(("kind", "words"), [("FOK", "couldn't be fully filled"), ("FAK", "no orders found to match")])
def test_an_order_that_finds_nothing_at_once_is_a_400_and_is_known_as_unmatched(kind: str, words: str) -> None:
    trader = rig(delay_ms=0)
    ticket = trader.ticket(*trader.dollars_at(100, 200), kind=kind)
    with pytest.raises(Refused, match=words) as caught:
        trader.broker.place(ticket, 0)
    assert caught.value.status == 400
    known = trader.broker.order(ticket.id)
    assert known is not None
    assert known.state is OrderState.UNMATCHED
    assert trader.cash == 1_000 * ONE_PUSD


def test_shares_can_be_sold_again_and_bring_the_bids_price_less_the_fee() -> None:
    trader = rig(delay_ms=0, exchange=ExchangeConfig(flow=FlowConfig(rate=0.001)))
    trader.broker.place(trader.ticket(*buy_best(trader, 20)), 0)
    paid = trader.cash
    bid, _ = trader.exchange.truth(trader.token)[0][0]
    order = trader.broker.place(trader.ticket(5 * ONE_PUSD, 5 * bid * 100, side="SELL", name="two"), 0)
    assert order.money == 5 * bid * 100
    assert trader.cash == paid + order.money - order.fills[0].fee
    trader.ledger.audit()


def test_an_order_on_the_other_token_meets_the_same_makers_in_the_mirror() -> None:
    trader = rig(delay_ms=0, exchange=ExchangeConfig(flow=FlowConfig(rate=0.001)))
    other = trader.exchange.tokens[1]
    bid, size = trader.exchange.truth(trader.token)[0][0]
    maker, taker = trader.dollars_at(10_000 - bid, 7)
    trader.broker.place(trader.ticket(maker, taker, token=other), 0)
    assert trader.shares(other) == taker
    assert dict(trader.exchange.truth(trader.token)[0])[bid] == size - taker


# What is refused.


def test_the_same_order_is_accepted_once() -> None:
    trader = rig()
    ticket = trader.ticket(*buy_best(trader))
    trader.broker.place(ticket, 0)
    with pytest.raises(Refused, match=rf"order {ticket.id} is invalid\. Duplicated\."):
        trader.broker.place(ticket, 0)
    trader.wait(300)
    with pytest.raises(Refused, match="Duplicated"):
        trader.broker.place(ticket, 0)
    assert trader.broker.duplicates_refused == 2
    assert trader.judge.verdict().accepted == 1


@pytest.mark.parametrize(
    ("maker", "taker", "side", "words"),
    [
        (10_000_001, 20_000_000, "BUY", "the market buy orders maker amount supports a max accuracy of 2 decimals"),
        (10_000_000, 20_000_010, "BUY", "taker amount a max of 4 decimals"),
        (10_001_000, 5_000_000, "SELL", "the sell orders maker amount supports a max accuracy of 2 decimals"),
        (10_000_000, 19_000_000, "BUY", r"Price \(0\.526\d+\) breaks minimum tick size rule: 0\.01"),
        (10_000_000, 10_000_000, "BUY", "breaks minimum tick size rule"),
        (10_000_000, 2_000_000_000, "BUY", "breaks minimum tick size rule"),
        (990_000, 1_980_000, "BUY", r"invalid amount for a marketable BUY order \(\$0\.99\), min size: \$1"),
        (900_000_000, 1_000_000_000, "BUY", None),
        (1_000_000_000, 2_000_000_000, "BUY", "balance: 1000000000, sum of active orders: 0, order amount"),
        (1_000_000, 500_000, "SELL", "not enough balance / allowance: the balance is not enough -> balance: 0"),
    ],
)
def test_orders_that_break_a_rule_are_refused_in_the_venues_words(
    maker: int, taker: int, side: str, words: str | None
) -> None:
    trader = rig()
    if words is None:
        trader.broker.place(trader.ticket(maker, taker, side=side), 0)
        return
    refused = refusal(trader, maker, taker, side=side)
    assert refused.status == 400
    with pytest.raises(Refused, match=words):
        raise refused
    assert trader.broker.order(trader.ticket(maker, taker, side=side).id) is None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([1_000, 100, 50, 25, 10, 1]), st.integers(1, 9_999), st.integers(100, 10**8), st.booleans())
def test_amounts_rounded_as_clients_round_them_stand_for_the_limit_price(
    tick: int, raw: int, cents: int, buys: bool
) -> None:
    price = min(max(raw // tick, 1) * tick, 10_000 - tick)
    step = 1_000 if tick == 1_000 else 100
    offered = cents * 10_000
    asked = (offered * 10_000 // price if buys else offered * price // 10_000) // step * step
    if not asked:
        return
    ticket = rig(pusd=0).ticket(offered, asked, side="BUY" if buys else "SELL")
    found = ticket.price(tick)
    assert found is not None
    # Few shares on a fine grid may stand for a neighbour as well, never for a worse price than was meant.
    assert (ticket.limit >= price) if buys else (ticket.limit <= price)


@pytest.mark.parametrize(
    ("maker", "taker", "side", "limit"),
    [
        (10_000_000, 16_129_000, "BUY", 6_200),
        (5_010_000, 1_669_800, "SELL", 3_333),
        (5_000_000, 1_650_000, "SELL", 3_300),
    ],
)
def test_rounded_amounts_do_not_carry_the_limit_to_a_worse_price(maker: int, taker: int, side: str, limit: int) -> None:
    assert rig().ticket(maker, taker, side=side).limit == limit


def test_money_that_an_order_in_flight_may_spend_cannot_be_spent_twice() -> None:
    trader = rig(pusd=100)
    trader.broker.place(trader.ticket(60 * ONE_PUSD, 120 * ONE_PUSD), 0)
    with pytest.raises(Refused, match="sum of active orders: 6"):
        trader.broker.place(trader.ticket(60 * ONE_PUSD, 120 * ONE_PUSD, name="two"), 0)


def test_nothing_is_accepted_while_the_engine_is_away_or_only_resting_orders_are() -> None:
    trader = rig()
    now = trader.exchange.now_ms
    trader.exchange.paused_until_ms = now + 100
    assert (refusal(trader, 10_000_000, 20_000_000).status, trader.broker.open_orders()) == (425, [])
    trader.exchange.paused_until_ms, trader.exchange.post_only_until_ms = now, now + 100
    refused = refusal(trader, 10_000_000, 20_000_000)
    assert (refused.status, refused.code) == (503, "post_only_mode")
    trader.wait(101)
    trader.broker.place(trader.ticket(10_000_000, 20_000_000), now)


def test_a_market_that_ended_takes_no_orders_and_an_unknown_token_has_no_book() -> None:
    trader, unknown = rig(), "123"
    assert "the orderbook 123 does not exist" in refusal(trader, 10_000_000, 20_000_000, token=unknown).text
    trader.exchange.settle()
    trader.wait(1_000)
    assert "not yet ready" in refusal(trader, 10_000_000, 20_000_000).text
    trader.wait(60_000)
    assert "does not exist" in refusal(trader, 10_000_000, 20_000_000).text


def test_an_order_whose_market_ends_while_it_is_held_back_gets_nothing() -> None:
    trader = rig()
    order = trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10)), trader.exchange.now_ms)
    trader.wait(100)
    trader.exchange.settle()
    trader.wait(200)
    assert order.state is OrderState.MARKET_RESOLVED
    assert trader.cash == 1_000 * ONE_PUSD
    trader.ledger.audit()


def test_a_doomed_order_finds_no_match_in_a_full_book() -> None:
    trader = rig()
    order = trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10)), 0, doomed=True)
    trader.wait(300)
    assert order.state is OrderState.UNMATCHED


def test_a_full_broker_refuses_instead_of_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    trader = rig()
    monkeypatch.setattr(broker_module, "MAX_ORDERS", 1)
    trader.broker.place(trader.ticket(10_000_000, 20_000_000), 0)
    with pytest.raises(Refused, match="keeps no more orders"):
        trader.broker.place(trader.ticket(10_000_000, 20_000_000, name="two"), 0)


@pytest.mark.parametrize("wrong", [{"taker_delay_ms": -1}, {"taker_delay_ms": 1.5}, {"least_money": -1}])
def test_terms_outside_their_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BrokerConfig(**wrong)


def test_a_fee_rate_outside_its_range_is_refused() -> None:
    for wrong in ({"rate": Decimal(2)}, {"exponent": 9}):
        with pytest.raises(ConfigError, match="fee"):
            FeeTerms(**wrong)  # type: ignore[arg-type]


# Settlement.


def test_a_resolved_market_pays_its_winners_once_and_its_losers_nothing() -> None:
    trader = rig(delay_ms=0)
    up, down = trader.exchange.tokens
    trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10), name="u"), 0)
    trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10), name="d", token=down), 0)
    with pytest.raises(Refused, match="not resolved"):
        trader.broker.redeem(trader.account.address, trader.condition, 0)
    trader.exchange.settle(ending=Ending(resolve_delay_ms=10))
    trader.wait(60_000)
    winner = trader.exchange.outcome(trader.condition)
    before, held = trader.cash, trader.shares(winner)
    done = trader.broker.redeem(trader.account.address, trader.condition, 0)
    assert {each.token: each.payout for each in done} == {winner: held, ({up, down} - {winner}).pop(): 0}
    assert trader.cash == before + held
    assert trader.broker.redeem(trader.account.address, trader.condition, 0) == []
    trader.ledger.audit()


def test_a_market_that_never_was_cannot_be_redeemed() -> None:
    with pytest.raises(Refused, match="market not found") as caught:
        rig().broker.redeem("0x1", "0xnone", 0)
    assert caught.value.status == 404


def test_a_round_can_be_redeemed_long_after_its_market_is_gone() -> None:
    rounds = RoundsConfig(assets=("btc",), window_s=300, ahead=0, settle_delay_s=5, publish_delay_s=1, keep_s=1)
    trader = rig(exchange=ExchangeConfig(seed=2, rounds=rounds))
    token, condition = trader.token, trader.condition
    trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10), token=token), trader.exchange.now_ms)
    trader.wait(700_000)
    assert trader.exchange.market_by_condition(condition) is None
    held = trader.shares(token)
    assert held > 0
    [done] = trader.broker.redeem(trader.account.address, condition, 0)
    assert done.payout == (held if trader.exchange.outcome(condition) == token else 0)
    trader.ledger.audit()


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 5),
    st.lists(
        st.tuples(
            st.sampled_from(["BUY", "SELL"]),
            st.sampled_from(["FOK", "FAK"]),
            st.integers(0, 1),
            st.integers(1, 99),
            st.integers(1, 400),
            st.integers(0, 600),
        ),
        max_size=15,
    ),
    st.booleans(),
)
def test_after_any_orders_on_a_moving_book_the_ledger_balances(
    seed: int, orders: list[tuple[str, str, int, int, int, int]], ends: bool
) -> None:
    trader = rig(seed=seed, pusd=500, exchange=ExchangeConfig(seed=seed, flow=FlowConfig(rate=30.0, volatility=0.03)))
    for number, (side, kind, index, cents, shares, pause) in enumerate(orders):
        price = cents * 100
        amounts = trader.dollars_at(price, shares) if side == "BUY" else (shares * ONE_PUSD, shares * price * 100)
        token = trader.exchange.tokens[index]
        with suppress(Refused):
            trader.broker.place(trader.ticket(*amounts, side=side, kind=kind, name=str(number), token=token), 0)
        trader.wait(pause)
        trader.ledger.audit()
    if ends:
        trader.exchange.settle(ending=Ending(resolve_delay_ms=10))
    trader.wait(20_000)
    assert trader.broker.open_orders() == []
    if ends:
        trader.broker.redeem(trader.account.address, trader.condition, 0)
        assert trader.ledger.account(trader.account.address).positions == {}
    trader.ledger.audit()
    assert trader.ledger.account(trader.account.address).reserved == {}

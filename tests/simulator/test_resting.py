"""Orders of accounts that rest: in the book of both tokens, in line by price and time, met by accounts and the flow."""

from __future__ import annotations

import pytest

from polymirror.simulator import FlowConfig
from polymirror.simulator.exchange.flow import Change, Group, Trade
from polymirror.simulator.exchange.market import Ending
from polymirror.simulator.orders.broker import OrderState
from polymirror.simulator.orders.config import MarketTerms
from polymirror.simulator.orders.rules import FeeTerms, Refused
from polymirror.simulator.orders.trades import Course
from tests.simulator.resting_rig import ME, SHARE, THEM, YOU, Trader, traders

UP, DOWN = 0, 1


def flow_does(trader: Trader, *changes: Change, trade: Trade | None = None) -> None:
    """Let the order flow do this in a millisecond from now."""
    trader.market.planned = Group(changes, trade)
    now_ms = trader.exchange.now_ms + 1
    trader.exchange.agenda.add(now_ms, trader.market.trade)
    trader.wait(1)


# In the book.


def test_a_resting_order_is_in_the_book_of_both_tokens_and_in_the_hash() -> None:
    trader = traders()
    trader.empty()
    order = trader.place(ME, "BUY", UP, 40, 10)
    assert order.state is OrderState.LIVE
    assert trader.wait() == ["price_change", "best_bid_ask", "best_bid_ask"]
    assert trader.size(UP, "BUY", 40) == trader.size(DOWN, "SELL", 60) == 10
    other = trader.place(YOU, "BUY", DOWN, 30, 7)
    assert trader.size(UP, "SELL", 70) == trader.size(DOWN, "BUY", 30) == 7
    assert (order.size_matched, other.size_matched) == (0, 0)
    trader.checked()


def test_its_size_is_added_to_what_the_flow_has_there_and_goes_when_it_is_cancelled() -> None:
    trader = traders()
    (price, size), *_ = trader.exchange.truth(trader.tokens[UP])[0]
    order = trader.place(ME, "BUY", UP, price / 100, 5)
    assert trader.exchange.truth(trader.tokens[UP])[0][0] == (price, size + 5 * SHARE)
    assert trader.broker.cancel(ME, order.id) is None
    assert trader.exchange.truth(trader.tokens[UP])[0][0] == (price, size)
    assert order.state is OrderState.CANCELED
    assert trader.market.queues is None
    trader.checked()


def test_what_it_may_spend_is_reserved_without_a_fee_and_free_again_when_it_ends() -> None:
    trader = traders(pusd=4)
    trader.empty()
    order = trader.place(ME, "BUY", UP, 40, 10)
    assert trader.free(ME) == 0
    with pytest.raises(Refused, match="not enough balance"):
        trader.place(ME, "BUY", UP, 10, 10)
    trader.broker.cancel(ME, order.id)
    assert trader.free(ME) == 4 * SHARE


# Price, then time.


def test_at_one_price_whoever_came_first_is_served_first() -> None:
    trader = traders()
    trader.empty()
    first = trader.place(ME, "BUY", UP, 40, 10)
    second = trader.place(YOU, "BUY", UP, 40, 10)
    trader.broker.split(THEM, trader.market.condition_id, 100 * SHARE)
    trader.place(THEM, "SELL", UP, 40, 15)
    assert (first.size_matched, second.size_matched) == (10 * SHARE, 5 * SHARE)
    assert (first.state, second.state) == (OrderState.MATCHED, OrderState.LIVE)
    assert trader.size(UP, "BUY", 40) == 5
    trader.checked()


def test_a_better_price_is_served_before_an_older_order() -> None:
    trader = traders()
    trader.empty()
    old, better = trader.place(ME, "BUY", UP, 40, 10), trader.place(YOU, "BUY", UP, 41, 10)
    trader.broker.split(THEM, trader.market.condition_id, 100 * SHARE)
    taken = trader.place(THEM, "SELL", UP, 39, 12, "FAK")
    assert (better.size_matched, old.size_matched) == (10 * SHARE, 2 * SHARE)
    assert [(fill.price, fill.shares) for fill in taken.fills] == [(4_100, 10 * SHARE), (4_000, 2 * SHARE)]
    trader.checked()


def test_orders_wait_behind_what_the_flow_had_there_and_before_what_it_adds() -> None:
    trader = traders()
    trader.empty()
    trader.market.ladders[UP].set(4_000, 20 * SHARE)
    trader._subscribe()
    mine = trader.place(ME, "BUY", UP, 40, 10)
    flow_does(trader, Change(UP, 4_000, 50 * SHARE))
    assert trader.size(UP, "BUY", 40) == 60
    trader.broker.split(THEM, trader.market.condition_id, 100 * SHARE)
    trader.place(THEM, "SELL", UP, 40, 20, "FAK")
    assert mine.size_matched == 0
    trader.place(THEM, "SELL", UP, 40, 12, "FAK")
    assert mine.size_matched == 10 * SHARE
    assert trader.size(UP, "BUY", 40) == 28
    trader.checked()


def test_what_the_flow_takes_away_are_its_youngest_pieces() -> None:
    trader = traders()
    trader.empty()
    trader.market.ladders[UP].set(4_000, 20 * SHARE)
    trader._subscribe()
    mine = trader.place(ME, "BUY", UP, 40, 10)
    flow_does(trader, Change(UP, 4_000, 50 * SHARE))
    flow_does(trader, Change(UP, 4_000, 15 * SHARE))
    trader.broker.split(THEM, trader.market.condition_id, 100 * SHARE)
    trader.place(THEM, "SELL", UP, 40, 16, "FAK")
    assert mine.size_matched == SHARE
    trader.checked()


# The flow meets them.


@pytest.mark.parametrize("bought", [True, False])
def test_a_taker_of_the_flow_meets_who_is_first_in_line(bought: bool) -> None:
    trader = traders()
    trader.empty()
    trader.market.ladders[UP].set(3_000, 20 * SHARE)
    trader._subscribe()
    mine = trader.place(ME, "BUY", UP, 40, 10)
    flow_does(trader, Change(UP, 3_000, 5 * SHARE), trade=Trade(UP, 3_000, 15 * SHARE, bought, False))
    assert mine.state is OrderState.MATCHED
    assert trader.size(UP, "BUY", 30) == 15
    assert (trader.shares(ME, UP), trader.cash(ME)) == (10, 996 * SHARE)
    [trade] = trader.broker.trades.of(ME)
    assert (trade.taker_address, trade.shares, trade.buys) == ("", 10 * SHARE, bought)
    [maker] = trade.makers
    assert (maker.order_id, maker.price, maker.buys) == (mine.id, 4_000, True)
    trader.checked()


def test_the_flow_trades_with_an_order_that_it_would_cross_and_the_rest_of_it_stays() -> None:
    trader = traders()
    trader.empty()
    mine = trader.place(ME, "BUY", UP, 55, 10)
    flow_does(trader, Change(DOWN, 4_800, 25 * SHARE))
    assert mine.state is OrderState.MATCHED
    assert trader.size(UP, "SELL", 52) == 15
    assert trader.cash(ME) == 1_000 * SHARE - 55 * SHARE // 10
    assert trader.market.trade_price in {"0.550", "0.450"}
    trader.checked()


@pytest.mark.parametrize("fails", [False, True])
def test_the_flow_may_meet_one_order_twice_in_a_batch(fails: bool) -> None:
    trader = traders()
    trader.broker.trades.course_of = lambda _: Course(fails=fails)
    trader.empty()
    order = trader.place(ME, "BUY", UP, 99, 10)
    # With none of its own orders left on a side, a burst of the flow states the same level more than once.
    flow_does(trader, Change(DOWN, 100, 6 * SHARE), Change(DOWN, 100, 7 * SHARE))
    assert order.state is OrderState.MATCHED
    assert order.size_matched == 10 * SHARE
    assert trader.shares(ME, UP) == (0 if fails else 10)
    assert not trader.ledger.account(ME).reserved
    trader.checked()


def test_without_takers_the_flow_does_not_place_what_would_cross() -> None:
    trader = traders()
    trader.empty()
    mine = trader.place(ME, "BUY", UP, 55, 10)
    trader.exchange.post_only_until_ms = trader.exchange.now_ms + 100
    flow_does(trader, Change(DOWN, 4_800, 25 * SHARE))
    assert (mine.state, trader.size(UP, "SELL", 52)) == (OrderState.LIVE, 0)
    trader.checked()


def test_a_lively_flow_fills_orders_near_the_touch_and_nothing_is_ever_wrong() -> None:
    flow = FlowConfig(rate=60.0, volatility=0.02)
    trader = traders(seed=4, flow=flow, pusd=100_000)
    trader.broker.split(ME, trader.market.condition_id, 20_000 * SHARE)
    filled = 0
    for number in range(60):
        bids, asks = trader.exchange.truth(trader.tokens[UP])
        if not bids or not asks:
            break
        inside = (bids[0][0] + 100) / 100
        orders = [
            trader.ticket(ME, "BUY", UP, bids[0][0] / 100, 20),
            trader.ticket(ME, "SELL", UP, asks[0][0] / 100, 20),
        ]
        if inside * 100 < asks[0][0]:
            orders.append(trader.ticket(YOU, "BUY", UP, inside, 20))
        placed = [trader.broker.place(order, trader.exchange.now_ms) for order in orders]
        for _ in range(10):
            trader.wait(50)
        trader.broker.cancel_all(ME)
        filled += sum(order.size_matched > 0 for order in placed)
        if number % 20 == 0:
            trader.checked()
    trader.checked()
    assert filled > 20
    assert trader.client.seen["hash"] > 1_000


# Mirror images, mints and merges.


def test_two_buyers_of_the_two_tokens_pay_for_a_pair_together() -> None:
    trader = traders()
    trader.empty()
    mine = trader.place(ME, "BUY", DOWN, 45, 10)
    taken = trader.place(YOU, "BUY", UP, 60, 10, "FAK")
    assert taken.fills[0].price == 5_500
    # The money of 10 shares at 0.60 buys more at 0.55, as far as there are any.
    assert (mine.size_matched, taken.size_matched) == (10 * SHARE, 10 * SHARE)
    assert trader.cash(ME) == 1_000 * SHARE - 4_500_000
    assert trader.cash(YOU) == 1_000 * SHARE - 5_500_000 - taken.fills[0].fee
    assert trader.ledger.collateral[trader.market.condition_id] == 10 * SHARE
    trader.checked()


def test_two_sellers_of_the_two_tokens_share_what_a_pair_is_worth() -> None:
    trader = traders()
    trader.empty()
    for who in (ME, YOU):
        trader.broker.split(who, trader.market.condition_id, 10 * SHARE)
    trader.place(ME, "SELL", DOWN, 45, 10)
    assert trader.size(UP, "BUY", 55) == 10
    taken = trader.place(YOU, "SELL", UP, 50, 10, "FOK")
    assert trader.cash(ME) == 990 * SHARE + 4_500_000
    assert trader.cash(YOU) == 990 * SHARE + 5_500_000 - taken.fills[0].fee
    assert trader.ledger.collateral[trader.market.condition_id] == 10 * SHARE
    trader.checked()


def test_makers_pay_no_fee_and_takers_that_of_the_market() -> None:
    trader = traders()
    trader.broker.terms[trader.market.condition_id] = MarketTerms(fee=FeeTerms(exponent=2))
    trader.empty()
    trader.broker.split(ME, trader.market.condition_id, 100 * SHARE)
    trader.place(ME, "SELL", UP, 50, 100)
    taken = trader.place(YOU, "BUY", UP, 50, 100, "FOK")
    # 100 * 0.07 * 0.25 ** 2
    assert (taken.fills[0].fee, trader.ledger.account(ME).fees) == (437_500, 0)
    assert trader.ledger.fees == 437_500
    trader.checked()


def test_an_account_may_trade_with_itself() -> None:
    trader = traders()
    trader.empty()
    mine = trader.place(ME, "BUY", UP, 50, 10)
    trader.broker.split(ME, trader.market.condition_id, 10 * SHARE)
    again = trader.place(ME, "SELL", UP, 50, 10)
    assert (mine.state, again.state) == (OrderState.MATCHED, OrderState.MATCHED)
    assert trader.cash(ME) == 990 * SHARE - again.fills[0].fee
    assert [trade.addresses for trade in trader.broker.trades.of(ME)] == [(ME,)]
    trader.checked()


# Kinds.


def test_a_gtc_order_takes_what_it_can_and_the_rest_rests() -> None:
    trader = traders()
    trader.empty()
    trader.broker.split(ME, trader.market.condition_id, 100 * SHARE)
    trader.place(ME, "SELL", UP, 50, 10)
    taken = trader.place(YOU, "BUY", UP, 55, 30)
    assert (taken.state, taken.size_matched) == (OrderState.LIVE, 10 * SHARE)
    assert (trader.size(UP, "BUY", 55), trader.size(UP, "SELL", 50)) == (20, 0)
    # Shares bound it: what was cheaper is not spent on more of them.
    assert trader.ledger.account(YOU).reserved_cash == 11 * SHARE
    trader.checked()


def test_a_post_only_order_that_crosses_is_refused_and_only_gtc_and_gtd_can_be_one() -> None:
    trader = traders()
    trader.empty()
    trader.place(ME, "BUY", UP, 50, 10, post_only=True)
    trader.broker.split(YOU, trader.market.condition_id, 100 * SHARE)
    with pytest.raises(Refused, match=r"^invalid post-only order: order crosses book$"):
        trader.place(YOU, "SELL", UP, 50, 10, post_only=True)
    with pytest.raises(Refused, match="invalid post-only order"):
        trader.place(YOU, "SELL", UP, 40, 10, "FAK", post_only=True)
    assert trader.place(YOU, "SELL", UP, 51, 10, post_only=True).state is OrderState.LIVE
    trader.checked()


def test_in_post_only_mode_only_post_only_orders_and_cancels_are_taken() -> None:
    trader = traders()
    trader.empty()
    trader.exchange.post_only_until_ms = trader.exchange.now_ms + 1_000
    with pytest.raises(Refused, match="post-only mode"):
        trader.place(ME, "BUY", UP, 50, 10)
    order = trader.place(ME, "BUY", UP, 50, 10, post_only=True)
    assert trader.broker.cancel(ME, order.id) is None


def test_a_gtd_order_ends_a_minute_before_its_expiration() -> None:
    trader = traders()
    trader.empty()
    now_s = trader.exchange.now_ms // 1_000
    with pytest.raises(Refused, match=r"^invalid expiration$"):
        trader.place(ME, "BUY", UP, 40, 10, "GTD", expiration_s=now_s + 59)
    with pytest.raises(Refused, match=r"^invalid expiration$"):
        trader.place(ME, "BUY", UP, 40, 10, "GTC", expiration_s=now_s + 500)
    with pytest.raises(Refused, match=r"^invalid expiration$"):
        trader.place(ME, "BUY", UP, 40, 10, "GTD")
    with pytest.raises(Refused, match=r"^invalid expiration$"):
        trader.place(ME, "BUY", UP, 40, 10, "GTD", expiration_s=60)
    order = trader.place(ME, "BUY", UP, 40, 10, "GTD", expiration_s=now_s + 100)
    trader.wait(39_999 - trader.exchange.now_ms % 1_000)
    assert order.state is OrderState.LIVE
    trader.wait(1)
    assert (order.state, trader.size(UP, "BUY", 40), trader.free(ME)) == (OrderState.EXPIRED, 0, 1_000 * SHARE)
    assert trader.told()[-1] == f"{ME} CANCELLATION CANCELED_EXPIRED_ORDER"
    trader.checked()


@pytest.mark.parametrize(
    ("cents", "shares", "words"),
    [
        (40, 4.99, r"Size \(4.99\) lower than the minimum: 5"),
        (40, 10.001, "max accuracy of 2 decimals"),
        (40.5, 10, r"Price \(0.405\) breaks minimum tick size rule: 0.01"),
        (100, 10, "breaks minimum tick size rule"),
    ],
)
def test_what_may_rest_follows_the_rules_of_form(cents: float, shares: float, words: str) -> None:
    with pytest.raises(Refused, match=words):
        traders().place(ME, "BUY", UP, cents, shares)


def test_a_gtc_order_that_takes_is_held_back_and_one_that_does_not_rests_at_once() -> None:
    trader = traders()
    trader.broker.terms[trader.market.condition_id] = MarketTerms(taker_delay_ms=150)
    trader.empty()
    mine = trader.place(ME, "BUY", UP, 40, 10)
    trader.broker.split(YOU, trader.market.condition_id, 100 * SHARE)
    taken = trader.place(YOU, "SELL", UP, 40, 30)
    assert (mine.state, taken.state) == (OrderState.LIVE, OrderState.DELAYED)
    assert trader.broker.cancel(YOU, taken.id) == "order is delayed and can't be canceled"
    assert trader.broker.cancel_all(YOU) == ([], {taken.id: "order is delayed and can't be canceled"})
    trader.wait(149)
    assert taken.state is OrderState.DELAYED
    trader.wait(1)
    assert (mine.state, taken.state, taken.size_matched) == (OrderState.MATCHED, OrderState.LIVE, 10 * SHARE)
    assert trader.size(UP, "SELL", 40) == 20
    trader.checked()


def test_a_held_back_order_that_rests_waits_for_the_engine() -> None:
    trader = traders(taker_delay_ms=100)
    trader.empty()
    mine = trader.place(ME, "BUY", UP, 40, 10)
    trader.broker.split(YOU, trader.market.condition_id, 100 * SHARE)
    taken = trader.place(YOU, "SELL", UP, 40, 30)
    trader.exchange.paused_until_ms = trader.exchange.now_ms + 500
    with pytest.raises(Refused, match="Too Early"):
        trader.broker.cancel(ME, mine.id)
    trader.wait(499)
    assert taken.state is OrderState.DELAYED
    trader.wait(1)
    assert taken.size_matched == 10 * SHARE
    trader.checked()


# Ends.


def test_cancels_are_by_order_by_market_by_token_and_all_and_only_of_ones_own() -> None:
    trader = traders()
    trader.empty()
    orders = [trader.place(ME, "BUY", index, cents, 10) for index in (UP, DOWN) for cents in (20, 30)]
    yours = trader.place(YOU, "BUY", UP, 20, 10)
    gone = "order can't be found - already canceled or matched"
    assert trader.broker.cancel(ME, yours.id) == trader.broker.cancel(ME, "0x1") == gone
    assert trader.broker.cancel_market(ME, token=trader.tokens[UP]) == ([order.id for order in orders[:2]], {})
    assert trader.broker.cancel_market(ME, market="0x1") == ([], {})
    assert trader.broker.open_orders(ME) == orders[2:]
    assert trader.broker.cancel_all(ME) == ([order.id for order in orders[2:]], {})
    assert trader.broker.cancel_all(ME) == ([], {})
    assert trader.broker.open_orders() == [yours]
    assert trader.broker.cancel(ME, orders[0].id) == gone
    trader.checked()


@pytest.mark.parametrize("empties", [True, False])
def test_the_end_of_a_market_cancels_what_rests(empties: bool) -> None:
    trader = traders()
    order = trader.place(ME, "BUY", UP, 20, 10)
    trader.exchange.settle(ending=Ending(empties=empties, resolve_delay_ms=100))
    trader.wait(50)
    assert (order.state, trader.free(ME)) == (OrderState.MARKET_RESOLVED, 1_000 * SHARE)
    if empties:
        assert trader.exchange.truth(trader.tokens[UP]) == ((), ())
    trader.wait(1_000)
    trader.ledger.audit()


def test_whoever_listens_hears_of_every_order_and_trade_in_order() -> None:
    trader = traders()
    trader.empty()
    trader.place(ME, "BUY", UP, 40, 10)
    assert trader.told() == [f"{ME} PLACEMENT LIVE"]
    trader.broker.split(YOU, trader.market.condition_id, 100 * SHARE)
    trader.place(YOU, "SELL", UP, 40, 30)
    trades = [f"{who} {status}" for status in ("MATCHED", "MINED", "CONFIRMED") for who in (YOU, ME)]
    assert trader.told() == [f"{YOU} PLACEMENT LIVE", *trades, f"{ME} UPDATE MATCHED", f"{YOU} UPDATE LIVE"]
    trader.broker.cancel_all(YOU)
    assert trader.told() == [f"{YOU} CANCELLATION CANCELED"]

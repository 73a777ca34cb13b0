"""Trades are mined, confirmed, tried again or fail; splits, merges and redemptions use only what is settled."""

from __future__ import annotations

from typing import Any

import pytest

from polymirror.errors import ConfigError
from polymirror.simulator import ExchangeConfig
from polymirror.simulator.exchange.market import Ending
from polymirror.simulator.orders.broker import OrderState
from polymirror.simulator.orders.config import MarketTerms
from polymirror.simulator.orders.rules import Refused
from polymirror.simulator.orders.trades import Course, SettlementConfig, Trade, TradeStatus
from polymirror.simulator.settings import RoundsConfig
from tests.simulator.order_rig import rig
from tests.simulator.resting_rig import ME, SHARE, THEM, YOU, Trader, traders

UP, DOWN = 0, 1
SLOW = SettlementConfig(mine_ms=300, confirm_ms=1_000, retry_ms=500)


def traded(course: Course | None = None, *, settlement: SettlementConfig = SLOW) -> tuple[Trader, Trade]:
    """ME has bought 10 shares at 0.50 from YOU, who split for 100."""
    trader = traders(settlement=settlement)
    trader.empty()
    trader.broker.trades.course_of = None if course is None else lambda _trade: course
    trader.broker.split(YOU, trader.market.condition_id, 100 * SHARE)
    trader.place(YOU, "SELL", UP, 50, 10)
    trader.place(ME, "BUY", UP, 50, 10)
    trader.broker.trades.course_of = None
    [trade] = trader.broker.trades.of(ME)
    trader.told()
    return trader, trade


def now(trader: Trader, trade: Trade) -> Trade:
    found = trader.broker.trades.get(trade.id)
    assert found is not None
    return found


def test_a_trade_is_matched_then_mined_with_a_hash_and_then_confirmed() -> None:
    trader, trade = traded()
    assert (trade.status, trade.transaction_hash) == (TradeStatus.MATCHED, "")
    trader.wait(299)
    assert now(trader, trade) == trade
    trader.wait(1)
    mined = now(trader, trade)
    assert (mined.status, len(mined.transaction_hash)) == (TradeStatus.MINED, 66)
    assert mined.updated_ms == trade.matched_ms + 300
    trader.wait(1_000)
    assert now(trader, trade).status is TradeStatus.CONFIRMED
    assert trader.told() == [f"{who} {word}" for word in ("MINED", "CONFIRMED") for who in (ME, YOU)]
    trader.checked()


def test_by_default_trades_are_final_at_once() -> None:
    trader, trade = traded(settlement=SettlementConfig())
    assert (trade.status, len(trade.transaction_hash)) == (TradeStatus.CONFIRMED, 66)
    assert trader.ledger.account(ME).claims == {}


def test_a_trade_may_be_tried_again_before_it_is_mined() -> None:
    trader, trade = traded(Course(retries=2, mine_ms=100))
    for wait_ms, status in ((100, "RETRYING"), (500, "RETRYING"), (500, "MINED"), (1_000, "CONFIRMED")):
        trader.wait(wait_ms)
        assert trader.told() == [f"{ME} {status}", f"{YOU} {status}"]
    assert now(trader, trade).status.final
    trader.checked()


def test_a_trade_that_fails_after_minutes_never_moved_anything() -> None:
    trader, trade = traded(Course(fails=True, mine_ms=180_000))
    before = (trader.cash(ME), trader.shares(ME, UP), trader.cash(YOU), trader.shares(YOU, UP))
    assert before == (995 * SHARE - trade.fee, 10, 905 * SHARE, 90)
    trader.checked()
    trader.wait(180_000)
    assert now(trader, trade).status is TradeStatus.FAILED
    assert now(trader, trade).transaction_hash == ""
    assert (trader.cash(ME), trader.shares(ME, UP)) == (1_000 * SHARE, 0)
    assert (trader.cash(YOU), trader.shares(YOU, UP)) == (900 * SHARE, 100)
    assert trader.ledger.fees == 0
    order = trader.broker.order(trade.taker_order_id)
    assert order is not None
    # The venue's order stays matched: the order book has forgotten it.
    assert (order.state, order.size_matched) == (OrderState.MATCHED, 10 * SHARE)
    trader.checked()


def test_what_a_failed_trade_brought_cannot_pay_for_orders_any_more() -> None:
    trader, _ = traded(Course(fails=True, mine_ms=1_000))
    mine = [trader.place(ME, "SELL", UP, cents, 5) for cents in (60, 70)]
    yours = trader.place(YOU, "BUY", DOWN, 10, 10)
    trader.wait(1_000)
    assert [order.state for order in mine] == [OrderState.NOT_ENOUGH_BALANCE] * 2
    assert yours.state is OrderState.LIVE
    assert trader.size(UP, "SELL", 60) == 0
    trader.checked()


def test_the_youngest_orders_that_cannot_be_paid_go_first_and_no_more_than_need() -> None:
    trader, _ = traded(Course(fails=True, mine_ms=1_000))
    trader.broker.split(ME, trader.market.condition_id, 5 * SHARE)
    old, young = (trader.place(ME, "SELL", UP, cents, 5) for cents in (70, 60))
    trader.wait(1_000)
    assert (old.state, young.state) == (OrderState.LIVE, OrderState.NOT_ENOUGH_BALANCE)
    trader.checked()


def test_a_held_back_order_is_not_paid_with_what_a_failed_trade_brought() -> None:
    trader, _ = traded(Course(fails=True, mine_ms=1_000))
    trader.place(THEM, "BUY", UP, 40, 10)
    trader.broker.terms[trader.market.condition_id] = MarketTerms(taker_delay_ms=2_000)
    order = trader.place(ME, "SELL", UP, 40, 10, "FAK")
    trader.wait(1_000)
    assert (order.state, trader.shares(ME, UP)) == (OrderState.DELAYED, 0)
    trader.wait(1_000)
    assert (order.state, trader.shares(ME, UP)) == (OrderState.NOT_ENOUGH_BALANCE, 0)
    assert not trader.ledger.account(ME).reserved
    trader.checked()


def test_nothing_that_is_redeemed_is_still_to_be_sold_by_an_order_that_is_held_back() -> None:
    trader, _ = traded(None)
    trader.broker.terms[trader.market.condition_id] = MarketTerms(taker_delay_ms=60_000)
    trader.place(THEM, "BUY", UP, 40, 10)
    order = trader.place(ME, "SELL", UP, 40, 10)
    trader.exchange.settle(payouts=(1, 1))
    trader.wait(10_000)
    assert order.state is OrderState.MARKET_RESOLVED
    trader.broker.redeem(ME, trader.market.condition_id, trader.exchange.now_ms)
    trader.ledger.audit()
    trader.wait(60_000)
    assert order.state is OrderState.MARKET_RESOLVED
    trader.ledger.audit()


def test_who_sold_on_what_a_failed_trade_brought_owes_it_until_it_is_made_good() -> None:
    trader, _ = traded(Course(fails=True, mine_ms=1_000))
    trader.place(THEM, "BUY", UP, 40, 10)
    trader.place(ME, "SELL", UP, 40, 10)
    trader.wait(1_000)
    assert trader.shares(ME, UP) == -10
    trader.checked()
    with pytest.raises(Refused, match="not enough balance"):
        trader.place(ME, "SELL", UP, 40, 5)
    trader.broker.split(ME, trader.market.condition_id, 10 * SHARE)
    assert trader.shares(ME, UP) == 0
    trader.checked()


def test_a_failed_match_of_two_buyers_undoes_their_pair() -> None:
    trader = traders(settlement=SettlementConfig(mine_ms=100))
    trader.empty()
    trader.broker.trades.course_of = lambda _: Course(fails=True)
    trader.place(ME, "BUY", UP, 40, 10)
    trader.place(YOU, "BUY", DOWN, 60, 10)
    condition = trader.market.condition_id
    assert trader.ledger.collateral[condition] == 10 * SHARE
    trader.wait(100)
    assert trader.ledger.collateral[condition] == 0
    assert (trader.cash(ME), trader.cash(YOU)) == (1_000 * SHARE, 1_000 * SHARE)
    trader.checked()


@pytest.mark.parametrize("wrong", [{"mine_ms": -1}, {"confirm_ms": 1.5}, {"retry_ms": 10**9}])
def test_times_of_settlement_outside_their_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SettlementConfig(**wrong)


# The chain.


def test_a_dollar_splits_into_one_share_of_each_and_merges_again() -> None:
    trader = traders()
    condition = trader.market.condition_id
    trader.broker.split(ME, condition, 30 * SHARE)
    assert (trader.cash(ME), trader.shares(ME, UP), trader.shares(ME, DOWN)) == (970 * SHARE, 30, 30)
    trader.ledger.audit()
    trader.broker.merge(ME, condition, 10 * SHARE)
    assert (trader.cash(ME), trader.shares(ME, UP), trader.shares(ME, DOWN)) == (980 * SHARE, 20, 20)
    assert trader.ledger.collateral[condition] == 20 * SHARE
    trader.ledger.audit()
    for amount in (0, -5, 1.5, True):
        with pytest.raises(Refused, match="invalid amount"):
            trader.broker.merge(ME, condition, amount)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="market not found"):
        trader.broker.split(ME, "0x1", SHARE)
    with pytest.raises(Refused, match="not enough balance"):
        trader.broker.split(ME, condition, 1_000 * SHARE)


def test_only_what_is_free_and_settled_can_be_merged() -> None:
    trader, _ = traded()
    condition = trader.market.condition_id
    trader.place(ME, "BUY", DOWN, 60, 10)
    trader.place(YOU, "SELL", DOWN, 60, 10)
    with pytest.raises(Refused, match="not enough balance"):
        trader.broker.merge(ME, condition, 10 * SHARE)
    trader.wait(300)
    trader.place(ME, "SELL", UP, 70, 5)
    with pytest.raises(Refused, match="not enough balance"):
        trader.broker.merge(ME, condition, 10 * SHARE)
    trader.broker.merge(ME, condition, 5 * SHARE)
    trader.checked()


def test_what_is_not_settled_when_a_market_resolves_is_redeemed_later() -> None:
    trader, _ = traded(Course(mine_ms=60_000))
    trader.exchange.settle(payouts=(1, 0), resolve_delay_ms=10)
    trader.wait(5_000)
    assert trader.broker.redeem(ME, trader.market.condition_id, 0) == []
    trader.wait(60_000)
    [done] = trader.broker.redeem(ME, trader.market.condition_id, 0)
    assert done.payout == 10 * SHARE
    trader.ledger.audit()


def test_a_market_may_resolve_fifty_fifty_and_both_tokens_pay_half() -> None:
    trader = traders()
    condition = trader.market.condition_id
    trader.broker.split(ME, condition, 3)
    trader.place(YOU, "BUY", UP, 90, 10, "FAK")
    before, held = trader.cash(YOU), trader.ledger.account(YOU).shares(trader.tokens[UP])
    trader.exchange.settle(payouts=(1, 1), resolve_delay_ms=10)
    sent = "".join(frame.text for frame in trader.exchange.step(trader.exchange.now_ms + 5_000))
    assert '"winning_outcome":""' in sent
    assert trader.exchange.payouts(condition) == (1, 1)
    assert trader.exchange.outcome(condition) is None
    trader.broker.redeem(YOU, condition, 0)
    assert trader.cash(YOU) == before + held // 2
    # Three units of each are worth one unit and a half each: the halves stay with the contract.
    assert [each.payout for each in trader.broker.redeem(ME, condition, 0)] == [1, 1]
    assert trader.broker.redeem(ME, condition, 0) == []
    with pytest.raises(Refused, match="market is resolved"):
        trader.broker.split(ME, condition, SHARE)
    trader.ledger.audit()


@pytest.mark.parametrize("payouts", [(1, 0), (0, 1)])
def test_an_ending_may_say_who_wins(payouts: tuple[int, int]) -> None:
    trader = traders()
    trader.exchange.settle(ending=Ending(payouts=payouts, resolve_delay_ms=10))
    trader.wait(5_000)
    assert trader.exchange.outcome(trader.market.condition_id) == trader.tokens[payouts.index(1)]


def test_payouts_are_two_numbers_of_which_one_is_positive() -> None:
    for wrong in ((0, 0), (-1, 1)):
        with pytest.raises(ConfigError, match="payouts"):
            Ending(payouts=wrong)


def test_a_round_may_end_fifty_fifty_and_is_redeemed_when_its_market_is_gone() -> None:
    rounds = RoundsConfig(assets=("btc",), window_s=300, ahead=0, settle_delay_s=5, publish_delay_s=1, keep_s=1)
    trader = rig(exchange=ExchangeConfig(seed=2, rounds=rounds), delay_ms=0)
    condition, market = trader.condition, trader.exchange.markets[0]
    trader.broker.split(trader.account.address, condition, 10 * SHARE)
    trader.exchange.settle(market.slug, payouts=(1, 1), resolve_delay_ms=10)
    trader.wait(30_000)
    assert trader.exchange.market_by_condition(condition) is None
    assert trader.exchange.outcome(condition) is None
    assert sum(each.payout for each in trader.broker.redeem(trader.account.address, condition, 0)) == 10 * SHARE
    assert trader.cash == 1_000 * SHARE
    trader.ledger.audit()

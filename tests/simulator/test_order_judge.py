"""The judge counts every accepted order that rested on a wrong, a refused or an old book, and every second one."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define

from polymirror.core.level import Level
from polymirror.core.states import BookState
from polymirror.errors import ConfigError
from polymirror.simulator import ExchangeConfig, FlowConfig
from polymirror.simulator.orders import judge as judge_module
from polymirror.simulator.orders.judge import OrderJudge, Verdict, salt_of
from polymirror.simulator.orders.trades import Course
from tests.simulator.order_rig import Rig, rig


@define
class Seen:
    """A view as a bot would have it."""

    token: str
    bids: list[Level]
    asks: list[Level]
    state: BookState = BookState.LIVE
    verified_age: float = 0.0


def seen(trader: Rig, **changed: Any) -> Seen:
    bids, asks = [[Level(*pair) for pair in side] for side in trader.exchange.truth(trader.token)]
    return Seen(**{"token": trader.token, "bids": bids, "asks": asks, **changed})


def bought_with(trader: Rig, view: Seen, name: str = "one") -> Verdict:
    trader.judge.before_submit(name, trader.token, view)
    trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10), name=name), trader.exchange.now_ms)
    return trader.judge.verdict()


def test_an_order_on_a_live_and_true_book_is_clean() -> None:
    trader = rig()
    verdict = bought_with(trader, seen(trader))
    assert verdict == Verdict(announced=1, accepted=1)
    assert verdict.clean


@pytest.mark.parametrize("state", [state for state in BookState if state is not BookState.LIVE])
def test_an_order_on_a_book_that_is_not_live_is_counted(state: BookState) -> None:
    trader = rig()
    verdict = bought_with(trader, seen(trader, state=state))
    assert (verdict.orders_on_non_live, verdict.orders_on_wrong_book, verdict.clean) == (1, 0, False)
    assert state.name in verdict.details[0]


def test_an_order_on_levels_that_never_were_is_counted() -> None:
    trader = rig()
    view = seen(trader)
    best, *rest = view.asks
    view.asks = [Level(best.price_e4, best.size_e6 + 1), *rest]
    verdict = bought_with(trader, view)
    assert (verdict.orders_on_non_live, verdict.orders_on_wrong_book) == (0, 1)


def test_an_order_on_a_book_without_any_proof_is_counted() -> None:
    trader = rig()
    assert bought_with(trader, seen(trader, verified_age=float("inf"))).orders_on_wrong_book == 1


def test_a_view_of_another_token_is_no_evidence_even_if_its_levels_fit() -> None:
    trader = rig()
    assert bought_with(trader, seen(trader, token=trader.exchange.tokens[1])).orders_on_wrong_book == 1


@pytest.mark.parametrize(("age", "wrong"), [(0.0, 1), (2.0, 0)])
def test_an_outdated_book_is_right_only_as_long_as_its_age_says_so(age: float, wrong: int) -> None:
    trader = rig(exchange=ExchangeConfig(flow=FlowConfig(rate=50.0)))
    view = seen(trader, verified_age=age)
    trader.wait(2_500)
    assert bought_with(trader, view).orders_on_wrong_book == wrong


def test_an_order_that_nobody_announced_is_counted() -> None:
    trader = rig()
    trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10)), 0)
    trader.judge.before_submit("two", trader.exchange.tokens[1], seen(trader))
    trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10), name="two"), 0)
    assert trader.judge.verdict().unannounced == 2


def test_an_order_that_was_announced_and_never_accepted_is_no_violation() -> None:
    trader = rig()
    trader.judge.before_submit("one", trader.token, seen(trader, state=BookState.SUSPECT))
    assert trader.judge.verdict().clean


def test_the_same_name_accepted_twice_is_a_duplicate_even_if_the_first_got_nothing() -> None:
    trader = rig()
    trader.judge.before_submit("one", trader.token, seen(trader))
    trader.broker.place(trader.ticket(*trader.dollars_at(100, 200)), trader.exchange.now_ms)
    trader.wait(1_000)
    assert trader.judge.verdict().clean
    assert bought_with(trader, seen(trader)).duplicates == 1


def test_a_second_entry_into_a_market_is_a_duplicate_while_the_first_is_in_flight_and_after_it_traded() -> None:
    trader = rig()
    bought_with(trader, seen(trader))
    assert bought_with(trader, seen(trader), "two").duplicates == 1
    trader.wait(1_000)
    assert bought_with(trader, seen(trader), "three").duplicates == 2


@pytest.mark.parametrize(("fails", "duplicates"), [(True, 0), (False, 1)])
def test_an_entry_after_one_whose_trade_failed_on_the_chain_is_none(fails: bool, duplicates: int) -> None:
    trader = rig()
    trader.broker.trades.course_of = lambda _: Course(fails=fails)
    bought_with(trader, seen(trader))
    trader.wait(10_000)
    assert bought_with(trader, seen(trader), "two").duplicates == duplicates


def test_an_entry_after_one_that_got_nothing_is_none() -> None:
    trader = rig()
    trader.judge.before_submit("one", trader.token, seen(trader))
    trader.broker.place(trader.ticket(*trader.dollars_at(100, 200)), trader.exchange.now_ms)
    trader.wait(1_000)
    assert bought_with(trader, seen(trader), "two").clean


def test_a_strategy_that_buys_both_tokens_may_enter_twice() -> None:
    trader = rig(one_entry=False)
    bought_with(trader, seen(trader))
    assert bought_with(trader, seen(trader), "two").clean


def test_what_is_remembered_is_bounded_and_what_is_forgotten_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "MAX_EVIDENCE", 1)
    monkeypatch.setattr(judge_module, "MAX_DETAILS", 1)
    trader = rig()
    trader.judge.before_submit("one", trader.token, seen(trader))
    verdict = bought_with(trader, seen(trader), "two")
    assert verdict.clean
    for name in ("one", "three"):
        trader.broker.place(trader.ticket(*trader.dollars_at(9_900, 10), name=name), 0)
    assert verdict.unannounced == 2
    assert len(verdict.details) == 1


def test_the_salt_is_the_bots_own() -> None:
    assert salt_of("ol-btc-1790000100-1") < 2**53
    assert salt_of("a") != salt_of("b")


def test_an_allowance_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="allowed_ms"):
        OrderJudge(rig().exchange, allowed_ms=-1)

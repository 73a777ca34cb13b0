"""The truth that readings are judged by: at full depth, at the top, and after a settlement."""

from __future__ import annotations

import pytest

from benchmarks.truth import MarketTruth, mark
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.exchange.flow import Change
from polymirror.simulator.exchange.market import Ending
from polymirror.simulator.settings import ExchangeConfig, FlowConfig

HORIZON_MS = 20_000


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=5.0), settle_after_ms=20_000, resolve_delay_ms=500))


@pytest.fixture
def truth(exchange):
    market = exchange.markets[0]
    market.history = MarketTruth(market, HORIZON_MS)
    return market.history


def seen(exchange, index=0):
    marks = mark(exchange.truth(exchange.tokens[index]))
    return marks.swapped() if index else marks


def run_until_another_book(exchange, marks):
    while mark(exchange.truth(exchange.tokens[0])) == marks:
        exchange.step(exchange.next_event_ms())
    return exchange.now_ms


def test_the_order_of_the_levels_does_not_matter():
    bids, asks = [(4_800, 5), (4_700, 6)], [(4_900, 7), (5_000, 8)]
    assert mark((bids, asks)) == mark((bids[::-1], asks[::-1]))


def test_another_size_below_the_top_changes_the_depth_and_not_the_top():
    one, other = mark(([(4_800, 5), (4_700, 6)], [])), mark(([(4_800, 5), (4_700, 7)], []))
    assert one.full != other.full
    assert one.top == other.top


def test_another_size_at_the_top_changes_both():
    one, other = mark(([(4_800, 5)], [(4_900, 1)])), mark(([(4_800, 6)], [(4_900, 1)]))
    assert one.full != other.full
    assert one.top != other.top


def test_a_reading_without_any_level_has_no_marks():
    assert mark(([], [])) is None
    assert mark(([(4_800, 5)], [])) is not None


@pytest.mark.parametrize("index", [0, 1])
def test_both_books_of_a_market_are_true_now(exchange, truth, index):
    exchange.step(exchange.now_ms + 5_000)
    assert truth.was_full(seen(exchange, index), exchange.now_ms)
    assert truth.was_top(seen(exchange, index), exchange.now_ms)


def test_a_book_is_true_until_it_is_replaced_and_not_after(exchange, truth):
    exchange.step(exchange.now_ms + 1_000)
    marks = mark(exchange.truth(exchange.tokens[0]))
    replaced_ms = run_until_another_book(exchange, marks)
    assert truth.was_full(marks, replaced_ms)
    assert not truth.was_full(marks, replaced_ms + 1)


def test_the_top_stays_true_while_only_deeper_levels_change(exchange, truth):
    exchange.step(exchange.now_ms + 1_000)
    for _ in range(100):
        marks = mark(exchange.truth(exchange.tokens[0]))
        replaced_ms = run_until_another_book(exchange, marks)
        if mark(exchange.truth(exchange.tokens[0])).top == marks.top:
            break
    exchange.step(replaced_ms)
    assert not truth.was_full(marks, replaced_ms + 1)
    assert truth.was_top(marks, replaced_ms + 1)


def test_a_settled_market_has_no_book_and_nothing_else_is_true(exchange, truth):
    exchange.step(exchange.now_ms + 10_000)
    marks = seen(exchange)
    assert truth.look(exchange.now_ms)
    exchange.step(exchange.now_ms + 15_000)
    assert not truth.look(exchange.now_ms)
    assert not truth.was_full(marks, exchange.now_ms)
    assert not truth.was_top(marks, exchange.now_ms)


def test_a_market_that_is_settled_without_a_word_has_no_book_either(exchange, truth):
    exchange.settle(ending=Ending(empties=False, resolve_delay_ms=100))
    exchange.step(exchange.now_ms + 1_000)
    marks = seen(exchange)
    assert not truth.look(exchange.now_ms)
    assert not truth.was_full(marks, exchange.now_ms + 1)
    assert not truth.was_top(marks, exchange.now_ms + 1)


@pytest.mark.parametrize("index", [0, 1])
def test_a_token_that_goes_its_own_way_has_a_truth_of_its_own(exchange, truth, index):
    exchange.step(exchange.now_ms + 1_000)
    market, before = exchange.markets[0], seen(exchange, index)
    side = market.ladders[index]
    market.set_alone(index, Change(index, side.prices[-1], side.sizes[-1] + 5), exchange.now_ms, exchange.now_ms)
    own, other = MarketTruth.of(market, index), MarketTruth.of(market, 1 - index)
    assert other is truth
    assert own is not truth
    alone = seen(exchange, index)
    assert own.was_full(alone, exchange.now_ms)
    assert own.was_top(alone, exchange.now_ms)
    assert own.was_full(before, exchange.now_ms)
    assert not own.was_full(before, exchange.now_ms + 1)
    assert not own.was_top(before, exchange.now_ms + 1)
    assert not truth.was_full(alone, 0)
    assert not truth.was_top(alone, 0)
    assert truth.was_full(seen(exchange, 1 - index), exchange.now_ms + 1)

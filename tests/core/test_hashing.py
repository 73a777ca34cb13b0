from __future__ import annotations

import json

import pytest

from polymirror.core import hashing
from polymirror.core.checksum import Constants, Dialect, HashTemplate
from polymirror.core.hashing import DialectBook, MarketHash, trade_price_wire
from polymirror.core.messages import decode_frame
from tests.core.builders import CONSTANTS, START, Exchange, order_book


class Market:
    """An exchange, and what its mirror knows of its hash."""

    def __init__(self, *, told=True, **exchange):
        self.exchange = Exchange(**exchange)
        self.dialects = DialectBook()
        self.hashes = MarketHash("0xm", self.dialects)
        if told:
            assert self.learn(self.exchange.rest("11")) is True

    def book(self):
        return order_book(*self.exchange.sides("11"))

    def learn(self, message, asked_at=None):
        return self.hashes.learn(message, self.book(), asked_at)

    def opening(self, **changes):
        return decode_frame(json.dumps(self.exchange.opening_book("11") | changes))[0]

    def later(self, **changes):
        return decode_frame(json.dumps(self.exchange.book("11") | changes))[0]

    def prove(self, announced=None):
        return self.hashes.prove("11", START, self.book(), announced or self.exchange.content("11")["hash"])

    def search(self, announced=None):
        return self.hashes.search("11", START, self.book(), announced or self.exchange.content("11")["hash"])


@pytest.mark.parametrize(
    ("price", "wire"), [(4800, "0.480"), (5, "0.0005"), (10, "0.001"), (9999, "0.9999"), (0, "0.000")]
)
def test_a_trade_price_is_spelled_with_three_decimals_or_four_where_needed(price, wire):
    assert trade_price_wire(price) == wire


# ---- Whole books ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_dialect_in_use_is_learnt_from_a_rest_book_and_proves_deltas(dialect):
    market = Market(keys=dialect.value)
    assert market.dialects.current is dialect
    assert market.hashes.verifiable
    market.exchange.alter("BUY", "0.30", "1")
    assert market.prove()
    assert not market.prove("0" * 40)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_an_opening_book_alone_is_enough_to_learn_the_dialect(dialect):
    market = Market(told=False, keys=dialect.value)
    assert not market.hashes.verifiable
    assert market.learn(market.opening()) is True
    assert market.dialects.current is dialect
    assert market.prove()


@pytest.mark.parametrize("size", ["5", "15", "100"])
@pytest.mark.parametrize("tick", ["0.01", "0.001", "0.0001"])
@pytest.mark.parametrize("neg_risk", [False, True])
def test_the_markets_constants_are_found_when_no_one_tells_them(size, tick, neg_risk):
    market = Market(told=False)
    market.exchange.min_order_size, market.exchange.tick_size, market.exchange.neg_risk = size, tick, neg_risk
    assert market.learn(market.opening()) is True
    assert market.hashes.constants == Constants(size, tick, neg_risk=neg_risk)


def test_a_later_book_without_tick_and_trade_price_is_explained_by_the_grid():
    market = Market(told=False, trade="0.613")
    assert market.learn(market.later()) is True
    assert market.hashes.last_trade_price == "0.613"


def test_a_book_without_a_hash_says_nothing():
    market = Market()
    assert market.learn(market.later(hash="")) is None
    assert market.prove()


def test_a_book_with_a_wrong_hash_is_wrong_once_the_dialect_is_known():
    market = Market()
    assert market.learn(market.later(hash="0" * 40)) is False
    assert market.learn(market.exchange.rest("11", hash="0" * 40)) is False


def test_a_book_with_a_wrong_hash_is_unverifiable_while_no_dialect_is_known():
    market = Market(told=False)
    assert market.learn(market.opening(hash="0" * 40)) is None
    assert not market.hashes.verifiable


def test_constants_that_come_with_a_wrong_hash_are_not_believed():
    market = Market()
    altered = market.exchange.rest("11", min_order_size="999", hash="0" * 40)
    assert market.learn(altered) is False
    assert market.prove()


def test_a_rest_book_without_tick_size_keeps_the_known_tick():
    market = Market()
    market.exchange.tick_size = "0.001"
    assert market.learn(market.exchange.rest("11")) is True
    assert market.learn(market.exchange.rest("11", tick_size=None)) is True
    assert market.hashes.constants.tick_size == "0.001"
    assert Market(told=False).learn(Exchange().rest("11", tick_size=None)) is True


def test_a_few_unexplained_rest_books_make_hashes_unverifiable_loudly_and_one_match_restores_them():
    market = Market()
    verdicts = [market.learn(market.exchange.rest("11", hash="0" * 40), float(n)) for n in range(hashing.MAX_DISTRUST)]
    assert verdicts == [False] * hashing.MAX_DISTRUST
    assert market.learn(market.exchange.rest("11", hash="0" * 40), 99.0) is None
    assert not market.hashes.verifiable
    assert not market.prove()
    assert not market.search()
    assert market.learn(market.exchange.rest("11")) is True
    assert market.prove()


def test_one_broken_answer_with_many_books_does_not_end_the_dialect():
    market = Market()
    for _ in range(3 * hashing.MAX_DISTRUST):
        assert market.learn(market.exchange.rest("11", hash="0" * 40), 7.0) is False
    assert market.hashes.verifiable


def test_unexplained_stream_books_do_not_end_the_dialect():
    market = Market()
    for _ in range(3 * hashing.MAX_DISTRUST):
        assert market.learn(market.later(hash="0" * 40)) is False
    assert market.hashes.verifiable


def test_a_match_in_between_starts_the_count_of_unexplained_books_anew():
    market = Market()
    for _ in range(3):
        for n in range(hashing.MAX_DISTRUST - 1):
            assert market.learn(market.exchange.rest("11", hash="0" * 40), float(n)) is False
        assert market.learn(market.exchange.rest("11")) is True


def test_a_venue_that_changes_its_dialect_is_followed():
    market = Market()
    market.exchange.keys = Dialect.NINE.value
    assert market.learn(market.exchange.rest("11")) is True
    assert market.dialects.current is Dialect.NINE
    assert market.prove()


# ---- Changes -------------------------------------------------------------------------------------------


def test_nothing_is_proven_before_dialect_and_constants_are_known():
    market = Market(told=False)
    assert not market.prove()
    assert not market.search()
    market.hashes.constants = CONSTANTS
    assert not market.prove()
    assert not market.search()


def test_a_trade_price_announced_for_either_token_is_tried_and_then_known():
    for price in (3330, 6670):
        market = Market()
        market.exchange.trade = "0.333"
        assert not market.prove()
        market.hashes.traded(price)
        assert market.search()
        assert market.prove()


def test_a_trade_price_that_was_never_announced_is_found_on_the_grid():
    market = Market()
    market.exchange.trade = "0.019"
    assert market.search()
    assert market.hashes.last_trade_price == "0.019"
    assert market.prove()


def test_a_trade_price_off_the_grid_is_found_once_announced():
    market = Market()
    market.exchange.trade = "0.0185"
    assert not market.search()
    market.hashes.traded(185)
    assert market.search()


def test_old_trade_prices_are_forgotten():
    market = Market()
    for price in range(10, 10 + 10 * 50, 10):
        market.hashes.traded(price)
    assert len(market.hashes._recent) == 2 * hashing.MAX_RECENT_TRADES


def test_a_tick_size_that_is_in_the_hash_before_its_event_is_found_and_learnt():
    market = Market()
    market.exchange.tick_size = "0.001"
    assert not market.prove()
    assert market.search()
    assert market.hashes.constants.tick_size == "0.001"
    assert market.prove()


def test_an_announced_tick_size_is_tried_first_and_only_a_match_makes_it_known():
    market = Market()
    market.hashes.tick_announced("0.0025")
    assert market.hashes._other_ticks("0.01")[0] == "0.0025"
    assert market.prove()
    market.exchange.tick_size = "0.0025"
    assert market.search()
    assert market.hashes.constants.tick_size == "0.0025"


def test_the_tick_size_of_an_opening_book_is_taken_over():
    market = Market()
    market.exchange.tick_size = "0.0001"
    assert market.learn(market.opening()) is True
    assert market.hashes.constants.tick_size == "0.0001"


def test_a_wrong_level_is_never_found():
    market = Market()
    announced = market.exchange.content("11")["hash"]
    market.exchange.alter("BUY", "0.01", "1")
    assert not market.search(announced)
    assert market.hashes.last_trade_price == "0.480"
    assert market.hashes.constants == CONSTANTS


@pytest.mark.parametrize("dialect", [Dialect.SIX, Dialect.NINE])
def test_a_dialect_without_a_trade_price_needs_no_grid(dialect):
    market = Market(keys=dialect.value)
    assert not market.search("0" * 40)
    assert market.hashes._failed_grids == 0


def test_searches_of_the_grid_are_rationed_while_they_fail_and_free_again_after_a_match():
    market = Market()
    for _ in range(hashing.MAX_FAILED_GRIDS):
        assert not market.search("0" * 40)
    market.exchange.trade = "0.123"
    tries = next(n for n in range(1, 100) if market.search())
    assert 1 < tries <= hashing.GRID_RATION
    market.exchange.trade = "0.321"
    assert market.search()


def test_trades_on_the_markets_own_grid_are_found_at_once_however_many_searches_failed():
    market = Market()
    for _ in range(2 * hashing.MAX_FAILED_GRIDS):
        assert not market.search("0" * 40)
    market.exchange.trade = "0.310"
    assert market.search()


def test_misses_on_a_coarse_grid_with_matches_in_between_do_not_ration_the_searches_of_a_finer_one():
    market = Market()
    for n in range(2 * hashing.MAX_FAILED_GRIDS):
        assert not market.search("0" * 40)
        market.exchange.trade = f"0.{10 + n}0"
        assert market.search()
    for _ in range(2 * hashing.MAX_FAILED_GRIDS):
        assert not market.search("0" * 40)
    market.exchange.tick_size = "0.001"
    assert market.search()
    market.exchange.trade = "0.123"
    assert market.search()


def test_a_fine_grid_costs_as_much_as_a_full_search_and_is_rationed_with_it(monkeypatch):
    market = Market(told=False)
    market.exchange.tick_size = "0.001"
    assert market.learn(market.exchange.rest("11"))
    searched = []
    find = HashTemplate.find

    def noting(self, announced, timestamp, book, candidates):
        searched.append(len(tuple(candidates)))
        return find(self, announced, timestamp, book, candidates)

    monkeypatch.setattr(HashTemplate, "find", noting)
    for _ in range(hashing.MAX_FAILED_GRIDS + 10):
        assert not market.search("0" * 40)
    assert searched.count(1_000) == hashing.MAX_FAILED_GRIDS
    assert max(n for n in searched if n != 1_000) < 20


def test_a_narrow_search_tries_recent_trade_prices_alone():
    market = Market()
    market.exchange.trade = "0.310"
    announced = market.exchange.content("11")["hash"]
    assert not market.hashes.search("11", START, market.book(), announced, wide=False)
    market.hashes.traded(3100)
    assert market.hashes.search("11", START, market.book(), announced, wide=False)

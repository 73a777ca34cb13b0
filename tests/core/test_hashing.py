from __future__ import annotations

import json

import pytest
from attrs import evolve

from polymirror.core import hashing
from polymirror.core.checksum import Constants, Dialect, HashTemplate
from polymirror.core.hashing import DialectBook, Explained, MarketHash, trade_price_wire
from polymirror.core.messages import decode_frame
from tests.core.builders import CONSTANTS, START, Exchange, order_book


class Market:
    """An exchange, and what its mirror knows of its hash."""

    def __init__(self, *, told=True, **exchange):
        self.exchange = Exchange(**exchange)
        self.dialects = DialectBook()
        self.hashes = MarketHash("0xm", self.dialects)
        if told:
            assert self.learn(self.exchange.rest("11"))

    def book(self):
        return order_book(*self.exchange.sides("11"))

    def explain(self, message):
        return self.hashes.explain(message, self.book())

    def learn(self, message):
        """Accept a whole book if its hash is explained; return whether it was."""
        explained = self.explain(message)
        if explained is not None:
            self.hashes.accept(explained, message)
        return explained is not None

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
    assert market.learn(market.opening())
    assert market.dialects.current is dialect
    assert market.prove()


@pytest.mark.parametrize("size", ["5", "15", "100"])
@pytest.mark.parametrize("tick", ["0.01", "0.001", "0.0001"])
@pytest.mark.parametrize("neg_risk", [False, True])
def test_the_markets_constants_are_found_when_no_one_tells_them(size, tick, neg_risk):
    market = Market(told=False)
    market.exchange.min_order_size, market.exchange.tick_size, market.exchange.neg_risk = size, tick, neg_risk
    assert market.learn(market.opening())
    assert market.hashes.constants == Constants(size, tick, neg_risk=neg_risk)


def test_a_later_book_without_tick_and_trade_price_is_explained_by_the_grid():
    market = Market(told=False, trade="0.613")
    assert market.learn(market.later())
    assert market.hashes.last_trade_price == "0.613"


def test_what_explains_a_book_is_not_known_before_the_book_is_accepted():
    market = Market()
    market.exchange.tick_size, market.exchange.trade = "0.001", "0.613"
    message = market.exchange.rest("11")
    before = (market.hashes.constants, market.hashes.last_trade_price, market.dialects.current)
    explained = market.explain(message)
    assert explained == Explained(Dialect.TEN, evolve(CONSTANTS, tick_size="0.001"), "0.613")
    assert (market.hashes.constants, market.hashes.last_trade_price, market.dialects.current) == before
    market.hashes.accept(explained, message)
    assert (market.hashes.constants, market.hashes.last_trade_price) == (explained.constants, "0.613")


def test_a_book_without_a_hash_is_explained_by_nothing():
    market = Market()
    assert market.explain(market.later(hash="")) is None
    assert market.prove()


def test_a_book_with_a_wrong_hash_is_explained_by_nothing_and_changes_nothing():
    market = Market()
    assert market.explain(market.later(hash="0" * 40)) is None
    altered = market.exchange.rest("11", min_order_size="999", hash="0" * 40)
    assert market.explain(altered) is None
    market.hashes.accept(None, altered)
    assert market.hashes.constants == CONSTANTS
    assert market.prove()


def test_a_book_with_a_wrong_hash_does_not_make_hashes_verifiable():
    market = Market(told=False)
    assert market.explain(market.opening(hash="0" * 40)) is None
    assert not market.hashes.verifiable


def test_where_hashes_are_unverifiable_what_an_accepted_book_tells_is_kept():
    market = Market(told=False)
    told = market.exchange.rest("11", hash="0" * 40, tick_size="0.001")
    market.hashes.accept(None, told)
    assert market.hashes.constants == evolve(CONSTANTS, tick_size="0.001")


@pytest.mark.parametrize("tick", [None, "0.02"])
def test_a_tick_size_that_is_missing_or_impossible_is_not_kept(tick):
    market = Market(told=False)
    market.hashes.accept(None, market.opening(hash="0" * 40, tick_size=tick))
    assert market.hashes.constants is None
    market.hashes.accept(None, market.exchange.rest("11", hash="0" * 40, tick_size=tick))
    assert market.hashes.constants == (CONSTANTS if tick is None else None)


def test_the_tick_size_of_an_opening_book_is_kept_where_hashes_are_unverifiable():
    market = Market()
    distrust(market)
    market.hashes.accept(None, market.opening(tick_size="0.001"))
    assert market.hashes.constants.tick_size == "0.001"


def test_constants_that_differ_in_more_than_the_grid_leave_the_rationing_of_searches_as_it_is():
    market = Market()
    for _ in range(hashing.MAX_FAILED_GRIDS + 1):
        assert not market.search("0" * 40)
    failed = market.hashes._failed_grids
    market.hashes.constants = evolve(CONSTANTS, min_order_size="15")
    assert market.hashes._failed_grids == failed


def test_a_book_that_tells_another_grid_than_the_known_one_is_tried_with_all_of_them():
    market = Market()
    assert market.explain(market.exchange.rest("11", tick_size="0.001", hash="0" * 40)) is None
    market.exchange.tick_size = "0.005"
    told = market.exchange.rest("11", tick_size="0.001")
    assert market.explain(told).constants.tick_size == "0.005"


def test_a_grid_never_gets_coarser_by_an_accepted_book():
    market = Market()
    old = market.exchange.rest("11")
    explained = market.explain(old)
    market.hashes.constants = evolve(CONSTANTS, tick_size="0.001")
    market.hashes.accept(explained, old)
    assert market.hashes.constants.tick_size == "0.001"
    distrust(market)
    market.hashes.accept(None, old)
    assert market.hashes.constants.tick_size == "0.001"


def test_a_rest_book_without_tick_size_keeps_the_known_tick():
    market = Market()
    market.exchange.tick_size = "0.001"
    assert market.learn(market.exchange.rest("11"))
    assert market.learn(market.exchange.rest("11", tick_size=None))
    assert market.hashes.constants.tick_size == "0.001"
    assert Market(told=False).learn(Exchange().rest("11", tick_size=None))


# ---- Distrust (D7) -------------------------------------------------------------------------------------


def test_a_market_that_is_alone_is_unverifiable_after_misses_over_a_longer_time():
    market = Market()
    misses = [market.hashes.stream_missed(10.0 + n) for n in (0.0, 1.0, 9.9)]
    assert misses == ["", "", ""]
    assert market.hashes.verifiable
    assert "no known form explains" in market.hashes.stream_missed(10.0 + hashing.DISTRUST_ALONE_SECONDS)
    assert not market.hashes.verifiable
    assert market.hashes.stream_missed(99.0) == "", "it is told once"


def test_few_misses_however_far_apart_are_no_distrust():
    market = Market()
    for n in range(hashing.DISTRUST_MISSES - 1):
        market.hashes.stream_missed(100.0 * n)
    assert market.hashes.verifiable


def test_among_several_markets_it_takes_misses_of_two_over_a_while():
    market = Market()
    other = MarketHash("0xn", market.dialects)
    quiet = MarketHash("0xq", market.dialects)
    other.constants = quiet.constants = CONSTANTS
    for n in range(20):
        market.hashes.stream_missed(float(n))
    assert market.hashes.verifiable, "one market is not enough"
    for at in (20.0, 21.0, 24.9):
        other.stream_missed(at)
    assert market.hashes.verifiable
    assert "0xn" in other.stream_missed(20.0 + hashing.DISTRUST_SECONDS)
    assert not other.verifiable
    assert not market.hashes.verifiable
    assert quiet.verifiable, "it has no hash of the stream since"


def test_a_market_that_is_mirrored_no_more_is_not_waited_for():
    market = Market()
    other = MarketHash("0xn", market.dialects)
    other.forget()
    distrust(market)


def test_the_misses_of_a_market_that_is_mirrored_no_more_count_against_no_other():
    gone = Market()
    for n in range(hashing.DISTRUST_MISSES):
        gone.hashes.stream_missed(float(n))
    left = MarketHash("0xn", gone.dialects)
    left.constants = CONSTANTS
    gone.hashes.forget()
    assert left.stream_missed(60.0) == ""
    assert left.verifiable


def test_a_hash_that_fits_in_between_starts_the_count_of_misses_anew():
    market = Market()
    for n in range(20):
        market.hashes.stream_missed(2.0 * n)
        market.hashes.stream_missed(2.0 * n)
        assert market.prove()
    assert market.hashes.verifiable


def test_an_unverifiable_form_is_tried_all_the_same_and_one_hash_that_fits_restores_it():
    market = Market()
    distrust(market)
    assert market.prove()
    assert market.hashes.verifiable


def distrust(market):
    for n in range(hashing.DISTRUST_MISSES):
        market.hashes.stream_missed(n * hashing.DISTRUST_ALONE_SECONDS)
    assert not market.hashes.verifiable


def test_a_venue_that_changes_its_dialect_is_followed():
    market = Market()
    market.exchange.keys = Dialect.NINE.value
    assert market.learn(market.exchange.rest("11"))
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
    assert market.learn(market.opening())
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

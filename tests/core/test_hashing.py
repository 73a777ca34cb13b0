from __future__ import annotations

import json

import pytest
from attrs import evolve

from polymirror.core import dialects, hashing
from polymirror.core.checksum import Constants, Dialect, HashTemplate
from polymirror.core.dialects import BURST_SECONDS, DIGESTS_PER_SECOND, DialectBook
from polymirror.core.hashing import Explained, MarketHash, trade_price_wire, trade_prices
from polymirror.core.messages import decode_frame
from polymirror.core.units import TICK_SIZES
from tests.core.builders import BEGIN, CONSTANTS, START, Exchange, order_book


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
        return self.hashes.explain(message, self.book(), now=BEGIN)

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

    def try_likely(self, announced=None):
        return self.hashes.try_likely("11", START, self.book(), announced or self.exchange.content("11")["hash"])

    def search(self, announced=None, now=BEGIN):
        texts = self.book().texts()
        return self.hashes.search("11", START, texts, announced or self.exchange.content("11")["hash"], now)


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


def test_a_later_book_is_explained_though_tick_size_and_trade_price_are_both_unknown():
    market = Market()
    market.exchange.tick_size, market.exchange.trade = "0.001", "0.013"
    assert market.explain(market.later()) == Explained(Dialect.TEN, evolve(CONSTANTS, tick_size="0.001"), "0.013")


def test_a_search_for_a_whole_book_is_paid_from_the_budget_and_not_made_without_it():
    market = Market()
    market.dialects.budget.spend(2 * DIGESTS_PER_SECOND, BEGIN)
    market.exchange.trade = "0.013"
    assert market.explain(market.later()) is None
    market.exchange.trade = "0.480"
    assert market.explain(market.later()) is not None, "what is likely is always tried"
    market = Market()
    assert market.explain(market.later(hash="0" * 40)) is None
    assert market.dialects.budget.free_at == BEGIN - BURST_SECONDS + 6 * 1002 / DIGESTS_PER_SECOND


@pytest.mark.parametrize("trade", ["0.540", "0.460", "0.530"])
def test_a_trade_price_next_to_the_best_prices_of_a_whole_book_costs_no_search(trade):
    market = Market(trade=trade)
    assert market.explain(market.later()).last_trade_price == trade
    assert market.dialects.budget.free_at == float("-inf")


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
    assert "no known form explains" in market.hashes.stream_missed(10.0 + dialects.DISTRUST_ALONE_SECONDS)
    assert not market.hashes.verifiable
    assert market.hashes.stream_missed(99.0) == "", "it is told once"


def test_few_misses_however_far_apart_are_no_distrust():
    market = Market()
    for n in range(dialects.DISTRUST_MISSES - 1):
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
    assert "0xn" in other.stream_missed(20.0 + dialects.DISTRUST_SECONDS)
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
    for n in range(dialects.DISTRUST_MISSES):
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
    for n in range(dialects.DISTRUST_MISSES):
        market.hashes.stream_missed(n * dialects.DISTRUST_ALONE_SECONDS)
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
    for _ in range(2):
        assert not market.prove()
        assert not market.try_likely()
        assert not market.search()
        assert not market.hashes.fits("11", START, market.book().texts(), "0" * 40)
        assert market.hashes.which("11", START, market.book(), ["0" * 40]) is None
        market.hashes.constants = CONSTANTS


def test_a_trade_price_announced_for_either_token_is_tried_and_then_known():
    for price in (3330, 6670):
        market = Market()
        market.exchange.trade = "0.333"
        assert not market.prove()
        assert not market.try_likely()
        assert market.hashes.traded(price) == (trade_price_wire(price), trade_price_wire(10_000 - price))
        assert market.try_likely()
        assert market.prove()


def test_a_trade_price_that_was_never_announced_is_found_by_the_search_alone():
    market = Market()
    market.exchange.trade = "0.019"
    assert not market.try_likely()
    assert market.search()
    assert market.hashes.last_trade_price == "0.019"
    assert market.prove()


@pytest.mark.parametrize("trade", ["", "0.480", "0.530", "0.470", "0.540", "0.460"])
def test_no_trade_and_the_prices_at_the_top_of_the_book_are_likely(trade):
    market = Market()
    market.exchange.trade = trade
    assert market.try_likely()
    assert market.hashes.last_trade_price == trade


def test_what_is_likely_is_no_more_than_fifty_three_tries(monkeypatch):
    market, tried = Market(bids=[("0.31", "5")], asks=[("0.53", "5")]), []
    fit = HashTemplate.fit

    def counted(self, begun, announced, candidates):
        tried.extend(candidates)
        return fit(self, begun, announced, candidates)

    monkeypatch.setattr(HashTemplate, "fit", counted)
    for n in range(50):
        market.hashes.traded(10 * (100 + n))
    market.hashes.last_trade_price = "0.777"
    assert not market.try_likely("0" * 40)
    # 18 known ones, 20 at the top, and 3 under each of 5 other tick sizes.
    assert len(tried) == 53


def test_an_empty_side_has_no_top_and_no_price_outside_of_the_book_is_tried():
    book = order_book([("0.01", "5")])
    assert list(hashing.near_top(book, 100)) == ["0.010", "0.990", "0.020", "0.980", "0.030", "0.970"]


def test_a_trade_price_off_the_grid_is_found_once_announced():
    market = Market()
    market.exchange.trade = "0.0185"
    assert not market.search()
    market.hashes.traded(185)
    assert market.try_likely()


@pytest.mark.parametrize(("tick", "trade"), [("0.0025", "0.0175"), ("0.0001", "0.0173")])
def test_a_market_with_a_finer_grid_is_searched_on_its_own_prices_too(tick, trade):
    market = Market()
    market.exchange.tick_size = tick
    assert market.try_likely()
    market.exchange.trade = trade
    assert market.search()


def test_the_trade_prices_are_all_of_three_decimals_and_none():
    assert len(set(trade_prices())) == len(trade_prices()) == 1002
    assert {"", "0.000", "0.001", "1.000"} <= set(trade_prices())
    assert len(set(trade_prices(25))) == 1002 + 200


@pytest.mark.parametrize("trade", ["", "0.000", "0.001", "0.431", "0.999", "1.000"])
@pytest.mark.parametrize("tick", TICK_SIZES)
def test_any_pair_of_tick_size_and_trade_price_is_found_within_one_search(tick, trade):
    market = Market()
    market.exchange.tick_size, market.exchange.trade = tick, trade
    assert market.search()
    assert (market.hashes.constants.tick_size, market.hashes.last_trade_price) == (tick, trade)
    assert market.prove()


def test_old_trade_prices_are_forgotten():
    market = Market()
    for price in range(10, 10 + 10 * 50, 10):
        market.hashes.traded(price)
    assert len(market.hashes._recent) == 2 * hashing.MAX_RECENT_TRADES


def test_a_tick_size_that_is_in_the_hash_before_its_event_is_found_and_learnt():
    market = Market()
    market.exchange.tick_size = "0.001"
    assert not market.prove()
    assert market.try_likely()
    assert market.hashes.constants.tick_size == "0.001"
    assert market.prove()


def test_an_announced_tick_size_is_tried_first_and_only_a_match_makes_it_known():
    market = Market()
    market.hashes.tick_announced("0.0025")
    assert market.hashes._other_ticks("0.01")[0] == "0.0025"
    assert market.prove()
    market.exchange.tick_size = "0.0025"
    assert market.try_likely()
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
    assert not market.try_likely(announced)
    assert not market.search(announced)
    assert market.hashes.last_trade_price == "0.480"
    assert market.hashes.constants == CONSTANTS


@pytest.mark.parametrize("dialect", [Dialect.SIX, Dialect.NINE, Dialect.CONSTANTS_FIRST])
def test_a_dialect_without_a_trade_price_tries_each_book_once(dialect, monkeypatch):
    market = Market(keys=dialect.value)
    market.exchange.tick_size = "0.001"
    assert market.try_likely() is dialect.has_constants or market.prove()
    assert not market.search("0" * 40)


def test_one_digest_tells_which_of_several_hashes_a_book_has():
    market = Market()
    right = market.exchange.content("11")["hash"]
    assert market.hashes.which("11", START, market.book(), ["0" * 40, right]) == right
    assert market.hashes.which("11", START, market.book(), ["0" * 40]) is None


def test_a_book_is_tried_with_given_trade_prices_or_the_known_one_and_they_are_learnt():
    market = Market()
    texts, announced = market.book().texts(), market.exchange.content("11")["hash"]
    assert market.hashes.fits("11", START, texts, announced)
    market.exchange.trade = "0.310"
    announced = market.exchange.content("11")["hash"]
    assert not market.hashes.fits("11", START, texts, announced)
    assert market.hashes.fits("11", START, texts, announced, ("0.690", "0.310"))
    assert market.prove()


# ---- The budget ----------------------------------------------------------------------------------------


def test_a_search_costs_all_that_it_may_try():
    market = Market()
    assert market.hashes.next_search() == float("-inf")
    assert not market.search("0" * 40)
    assert market.hashes.next_search() == BEGIN - BURST_SECONDS + 6 * 1002 / DIGESTS_PER_SECOND

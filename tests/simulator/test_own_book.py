"""A token that stops being its pair's mirror image: its truth, its hash and its texts are its own from then on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.exchange.flow import Change
from polymirror.simulator.exchange.history import digest

if TYPE_CHECKING:
    from polymirror.simulator.exchange.market import Market

AT = 5_000


def broken() -> tuple[Exchange, Market, Change]:
    """An exchange whose second token has lost one of its bids, without a word."""
    exchange = Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=5.0)))
    exchange.step(exchange.now_ms + AT)
    market = exchange.markets[0]
    lost = Change(1, market.ladders[1].prices[0], 0)
    market.set_alone(1, lost, exchange.now_ms, exchange.now_ms)
    return exchange, market, lost


def mirrored(market: Market) -> bool:
    (bids, asks), (other_bids, other_asks) = market.levels(0), market.levels(1)
    return digest(bids, asks) == digest(other_bids, other_asks)[::-1]


def test_only_the_token_that_lost_a_level_has_lost_it() -> None:
    exchange, market, lost = broken()
    first, second = exchange.tokens
    assert lost.price in [price for price, _ in market.ladders[1].bids()]
    assert lost.price not in [price for price, _ in exchange.truth(second)[0]]
    assert 10_000 - lost.price in [price for price, _ in exchange.truth(first)[1]]
    assert not mirrored(market)


def test_what_was_true_before_is_true_until_then_for_both() -> None:
    exchange = Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=5.0)))
    exchange.step(exchange.now_ms + AT)
    first, second = exchange.tokens
    before = [exchange.truth(token) for token in exchange.tokens]
    market, at_ms = exchange.markets[0], exchange.now_ms
    market.set_alone(1, Change(1, market.ladders[1].prices[0], 0), at_ms, at_ms)
    assert exchange.was_digest_true(first, digest(*before[0]), at_ms + 1)
    assert exchange.was_digest_true(second, digest(*before[1]), at_ms)
    assert not exchange.was_digest_true(second, digest(*before[1]), at_ms + 1)
    assert exchange.was_digest_true(second, digest(*exchange.truth(second)), at_ms + 1)


def test_rest_and_opening_state_its_own_levels_hash_and_time() -> None:
    exchange, market, lost = broken()
    first, second = exchange.tokens
    books = [json.loads(exchange.rest_book(token) or "") for token in (first, second)]
    assert lost.price not in [round(float(level["price"]) * 10_000) for level in books[1]["bids"]]
    assert int(books[1]["timestamp"]) == exchange.now_ms >= int(books[0]["timestamp"])
    assert books[1]["hash"] == market.book_hash(1, exchange.now_ms)
    opening = json.loads(exchange.opening_books([second]))[0]
    assert {key: opening[key] for key in ("bids", "asks", "hash")} == {k: books[1][k] for k in ("bids", "asks", "hash")}


def test_later_changes_reach_both_and_the_lost_level_may_come_back() -> None:
    exchange, market, lost = broken()
    second = exchange.tokens[1]
    exchange.step(exchange.now_ms + 2_000)
    assert exchange.was_digest_true(second, digest(*exchange.truth(second)), exchange.now_ms)
    assert int(json.loads(exchange.rest_book(second) or "")["timestamp"]) == market.changed_ms
    back = Change(1, lost.price, market.ladders[1].size_at(lost.price))
    market.set_alone(1, back, exchange.now_ms, exchange.now_ms)
    assert mirrored(market)


def test_it_is_known_when_it_had_changed_alone_last_at_any_moment() -> None:
    _, market, lost = broken()
    own = market.own[1]
    assert own is not None
    first_ms = own.alone_ms[0]
    market.set_alone(1, lost, first_ms + 1_000, first_ms + 1_000)
    assert own.alone_by(first_ms + 2_000) == first_ms + 1_000
    assert own.alone_by(first_ms + 999) == first_ms
    assert own.alone_by(first_ms - 1) == first_ms


def test_a_hash_of_what_comes_next_leaves_both_books_as_they_are() -> None:
    exchange, market, _ = broken()
    before = [exchange.truth(token) for token in exchange.tokens]
    now = [market.book_hash(index, AT) for index in (0, 1)]
    later = market.hashes_after([Change(0, market.ladders[0].prices[-1], 7_000_000)], AT)
    assert set(later).isdisjoint(now)
    assert [exchange.truth(token) for token in exchange.tokens] == before
    assert [market.book_hash(index, AT) for index in (0, 1)] == now

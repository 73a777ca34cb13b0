"""Moments in which both tokens of a market together cost less than a dollar, and markets of many kinds."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from polymirror.errors import ConfigError, NotLive
from polymirror.mirror import Mirror
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.exchange.queue import Resting
from polymirror.simulator.orders.broker import Broker
from polymirror.simulator.orders.ledger import Ledger
from polymirror.simulator.settings import DEFAULT_START_MS, ExchangeConfig, PairsConfig, RoundsConfig
from polymirror.simulator.virtual import VirtualVenue, run_virtual

if TYPE_CHECKING:
    from polymirror.simulator.exchange.market import Market

QUIET = PairsConfig(every_s=0)


def exchange_of(pairs: PairsConfig = QUIET, *, markets: int = 12, seed: int = 3) -> Exchange:
    config = ExchangeConfig(seed=seed, markets=markets, pairs=pairs, new_market_every_ms=None)
    exchange = Exchange(config)
    exchange.step(exchange.now_ms + 20_000)
    return exchange


def begin(exchange: Exchange) -> tuple[Market, list[str]]:
    """Let one begin, in the first market that allows it, and return what is sent."""
    assert exchange.dislocations is not None
    for market in exchange.markets:
        out: list[object] = []
        if exchange.dislocations.begin(market, exchange.now_ms, out):  # type: ignore[arg-type]
            return market, [frame.text for frame in out]  # type: ignore[attr-defined]
    raise AssertionError("no market allowed one")


def cost_of_pair(market: Market) -> int:
    return sum(market.levels(index)[1][0][0] for index in (0, 1))


def is_mirrored(market: Market) -> bool:
    first, second = market.levels(0), market.levels(1)
    return all([(10_000 - p, s) for p, s in a] == list(b) for a, b in ((first[0], second[1]), (second[0], first[1])))


def test_at_rest_a_pair_costs_a_dollar_and_the_spread() -> None:
    exchange = exchange_of()
    assert exchange.markets
    assert all(cost_of_pair(market) > 10_000 and is_mirrored(market) for market in exchange.markets)


def test_in_a_dislocation_a_pair_costs_less_than_a_dollar_after_both_fees() -> None:
    market, _ = begin(exchange_of())
    first, second = (market.levels(index)[1][0][0] for index in (0, 1))
    fees = sum(market.kind.fee * price * (10_000 - price) / 10_000 / 10_000 for price in (first, second))
    assert first + second + fees < 10_000
    for index in (0, 1):
        bids, asks = market.levels(index)
        assert bids[0][0] < asks[0][0], "no book is crossed by itself"


def test_what_is_sent_of_it_has_the_hash_and_the_top_of_each_book() -> None:
    exchange = exchange_of()
    market, sent = begin(exchange)
    lone = [json.loads(text) for text in sent if '"price_change"' in text][-2:]
    for message in lone:
        for change in message["price_changes"]:
            index = market.tokens.index(change["asset_id"])
            assert change["hash"] == market.book_hash(index, int(message["timestamp"]))
            assert (change["best_bid"], change["best_ask"]) == market.best(index)
    assert {change["asset_id"] for message in lone for change in message["price_changes"]} == set(market.tokens)


def test_after_it_the_books_are_mirror_images_again() -> None:
    exchange = exchange_of()
    market, _ = begin(exchange)
    assert not is_mirrored(market)
    assert exchange.dislocations is not None
    exchange.dislocations.end(market, exchange.now_ms + 5, [])
    assert is_mirrored(market)
    exchange.step(exchange.now_ms + 60_000)
    assert is_mirrored(market)
    assert cost_of_pair(market) > 10_000


def test_a_taker_gets_both_tokens_at_what_is_offered_and_no_more_than_that() -> None:
    exchange = exchange_of()
    market, _ = begin(exchange)
    for index in (0, 1):
        (price, size), (after, _) = market.levels(index)[1][:2]
        got = exchange.take(market.tokens[index], "BUY", after - 1, size * 2, exchange.now_ms, all_or_nothing=False)
        assert got == [(price, size)]
    assert market.lone == [None, None]
    assert is_mirrored(market)


def test_an_order_that_comes_to_rest_ends_it() -> None:
    exchange = exchange_of()
    market, _ = begin(exchange)
    exchange.rest(market.tokens[0], Resting("mine", 0, 100, 5_000_000, 0), exchange.now_ms)
    assert market.lone == [None, None]


def test_they_are_rare_short_and_met_by_others() -> None:
    exchange = exchange_of(PairsConfig(every_s=60), markets=20)
    exchange.step(exchange.now_ms + 1_800_000)
    assert exchange.dislocations is not None
    counts = exchange.dislocations.counts
    assert 300 < counts.begun < 900
    assert counts.begun * 0.2 < counts.rivals < counts.begun
    # By now all are over but those of the last two seconds.
    assert sum(any(market.lone) for market in exchange.markets) <= 2


def test_a_seed_plays_the_same_again() -> None:
    def played() -> list[str]:
        exchange = exchange_of(PairsConfig(every_s=30), markets=5)
        return [frame.text for frame in exchange.step(exchange.now_ms + 300_000)]

    assert played() == played()


def test_no_market_has_them_unless_they_are_asked_for() -> None:
    assert Exchange(ExchangeConfig(markets=2)).dislocations is None


def test_pairs_and_rounds_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="pairs"):
        Exchange(ExchangeConfig(pairs=PairsConfig(), rounds=RoundsConfig()))


def test_markets_of_many_kinds_differ_in_fee_volume_tags_and_end() -> None:
    exchange = exchange_of(markets=200)
    kinds = [market.kind for market in exchange.markets]
    assert {kind.fee for kind in kinds} == {0, 300, 700}
    assert len({kind.volume for kind in kinds}) > 150
    assert {kind.neg_risk for kind in kinds} == {False, True}
    lasts = sorted(market.window_end_ms - exchange.config.start_ms for market in exchange.markets)
    assert lasts[0] < 3_600_000
    assert lasts[-1] > 86_400_000
    broker = Broker(exchange, Ledger())
    for market in exchange.markets:
        assert broker.fee_terms(market.condition_id).rate == Decimal(market.kind.fee) / 10_000


def test_markets_end_at_their_time_and_others_come() -> None:
    exchange = exchange_of(PairsConfig(every_s=0, shortest_s=60, longest_s=120, listed_every_s=20), markets=5)
    exchange.step(exchange.now_ms + 180_000)
    assert [market.closed for market in exchange.markets[:5]] == [True] * 5
    assert len(exchange.markets) > 8


def test_a_mirror_reads_a_dislocation_as_proven_and_it_is_the_truth() -> None:
    seen: Counter[str] = Counter()

    async def play() -> None:
        exchange = exchange_of(PairsConfig(every_s=20), markets=4)
        venue = VirtualVenue(exchange, seed=3)
        async with venue, Mirror(slugs=exchange.slugs, endpoints=venue.endpoints, network=venue.network) as mirror:
            await mirror.wait_live(timeout=30)
            pairs = {token: market.token_ids for market in mirror.markets for token in market.token_ids}

            def look(token: str) -> None:
                try:
                    views = [mirror.live(each) for each in pairs[token]]
                except NotLive:
                    seen["not live"] += 1
                    return
                asks = [view.best_ask for view in views if view.best_ask is not None and view.settled]
                if len(asks) == 2 and sum(ask.price_e4 for ask in asks) < 10_000:
                    seen["cheap"] += 1
                    seen["true"] += all(exchange.confirms(view, 0.5) for view in views)

            mirror.on_update(lambda update: look(update.token))
            await asyncio.sleep(120)

    run_virtual(play, start_ms=DEFAULT_START_MS + 20_000, limit=600.0)
    assert seen["cheap"] >= 10
    assert seen["true"] == seen["cheap"]
    assert not seen["not live"]

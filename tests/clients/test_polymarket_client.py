"""``polymarket-client`` without credentials: books, prices, discovery, the market stream and the price relays."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from tests.clients.sdk import events, public, sdk, streams
from tests.clients.venue import QUIET, open_venue

pytestmark = pytest.mark.anyio
NAME = "polymarket-client"


@pytest.mark.client(NAME, "get_order_book, get_order_books")
async def test_books_are_the_exchange_s():
    async with open_venue() as venue, public(venue) as client:
        one = await client.get_order_book(asset_id=venue.tokens[0])
        books = await client.get_order_books(asset_ids=venue.tokens)
    assert [book.asset_id for book in books] == list(venue.tokens)
    for book in (one, *books):
        bids, asks = ([(level.price, level.size) for level in side] for side in (book.bids, book.asks))
        assert venue.had_lately(book.asset_id, bids, asks)
        assert (book.min_order_size, book.tick_size, book.neg_risk) == (5, Decimal("0.01"), False)


@pytest.mark.client(NAME, "get_midpoint(s), get_price(s), get_spread(s), estimate_market_price")
async def test_prices_agree_with_one_another():
    async with open_venue(rate=QUIET) as venue, public(venue) as client:
        token, *_ = venue.tokens
        bid, ask = (
            await client.get_price(asset_id=token, side="BUY"),
            await client.get_price(asset_id=token, side="SELL"),
        )
        assert await client.get_spread(asset_id=token) == ask - bid
        assert await client.get_midpoint(asset_id=token) == (bid + ask) / 2
        sides = [sdk.PriceRequest(token, side) for side in ("BUY", "SELL")]
        assert await client.get_prices(requests=sides) == {token: {"BUY": bid, "SELL": ask}}
        assert set(await client.get_midpoints(asset_ids=venue.tokens)) == set(venue.tokens)
        assert set(await client.get_spreads(asset_ids=venue.tokens)) == set(venue.tokens)
        assert await client.estimate_market_price(asset_id=token, side="BUY", amount=1) == ask


@pytest.mark.client(NAME, "get_last_trade_price")
async def test_the_last_trade_of_a_token_is_told_in_its_own_price():
    async with open_venue(rate=5) as venue, public(venue) as client:
        handle = await client.subscribe(streams.MarketSpec(asset_ids=venue.tokens[:2]))
        async with asyncio.timeout(60):
            trade = await anext(event.payload async for event in handle if event.type == "last_trade_price")
        taken, other = [
            await client.get_last_trade_price(asset_id=token)
            for token in sorted(venue.tokens[:2], key=lambda token: token != trade.asset_id)
        ]
    assert (taken.price, taken.side) == (trade.price, trade.side)
    assert (other.price, other.side) == (1 - trade.price, "SELL" if trade.side == "BUY" else "BUY")


@pytest.mark.client(NAME, "get_last_trade_price of a market without a trade")
async def test_a_market_without_a_trade_has_no_last_price():
    async with open_venue(rate=QUIET) as venue, public(venue) as client:
        assert await client.get_last_trade_price(asset_id=venue.tokens[0]) is None


@pytest.mark.client(NAME, "get_last_trade_prices")
async def test_last_trades_of_many_tokens_come_at_once():
    async with open_venue() as venue, public(venue) as client:
        found = []
        async with asyncio.timeout(20):
            while not found:
                found = await client.get_last_trade_prices(asset_ids=venue.tokens)
                await asyncio.sleep(0.1)
    assert {each.asset_id for each in found} <= set(venue.tokens)


@pytest.mark.client(NAME, "get_market by slug")
async def test_a_market_is_found_by_its_slug():
    async with open_venue() as venue, public(venue) as client:
        market = await client.get_market(slug=venue.slugs[0])
    assert market.condition_id == venue.condition(venue.tokens[0])
    assert (market.outcomes.yes.token_id, market.outcomes.no.token_id) == venue.tokens[:2]
    assert (market.trading.minimum_tick_size, market.trading.fee_schedule.rate) == (Decimal("0.01"), Decimal("0.07"))


@pytest.mark.client(NAME, "get_market by id")
async def test_a_market_is_found_by_its_id():
    async with open_venue() as venue, public(venue) as client:
        by_slug = await client.get_market(slug=venue.slugs[0])
        assert await client.get_market(id=by_slug.id) == by_slug


@pytest.mark.client(NAME, "outcome prices of a trading market")
async def test_outcome_prices_follow_the_book():
    async with open_venue(rate=QUIET) as venue, public(venue) as client:
        market = await client.get_market(slug=venue.slugs[0])
        middle = await client.get_midpoint(asset_id=venue.tokens[0])
    assert abs(market.outcomes.yes.price - middle) <= Decimal("0.015")
    assert market.outcomes.yes.price + market.outcomes.no.price == 1


@pytest.mark.client(NAME, "get_event by slug")
async def test_an_event_is_found_by_its_slug():
    async with open_venue() as venue, public(venue) as client:
        event = await client.get_event(slug=venue.slugs[0])
    assert [market.condition_id for market in event.markets] == [venue.condition(venue.tokens[0])]
    assert event.series[0].id


@pytest.mark.client(NAME, "get_event by id, get_event_tags, get_market_tags")
async def test_an_event_is_found_by_its_id():
    async with open_venue() as venue, public(venue) as client:
        event = await client.get_event(slug=venue.slugs[0])
        assert await client.get_event(id=event.id) == event
        assert isinstance(await client.get_event_tags(event.id), tuple)
        assert isinstance(await client.get_market_tags(event.markets[0].id), tuple)


@pytest.mark.client(NAME, "list_markets: pages, and by condition_ids, clob_token_ids, slug")
async def test_markets_are_listed_page_by_page_and_by_what_is_asked_for():
    async with open_venue(markets=5) as venue, public(venue) as client:
        listed = [market async for page in client.list_markets(page_size=2) for market in page.items]
        assert {market.slug for market in listed} == set(venue.slugs)
        assert len(listed) == 5
        wanted = [venue.condition(token) for token in venue.tokens[:4:2]]
        for chosen in (
            {"condition_ids": wanted},
            {"clob_token_ids": [venue.tokens[0], venue.tokens[2]]},
            {"slug": venue.slugs[:2]},
        ):
            page = await client.list_markets(**chosen).first_page()
            assert {market.condition_id for market in page.items} == set(wanted), chosen


@pytest.mark.client(NAME, "list_events, list_series, get_series, list_tags")
async def test_events_and_series_are_listed():
    async with open_venue(markets=3) as venue, public(venue) as client:
        events_page = await client.list_events().first_page()
        assert {event.slug for event in events_page.items} == set(venue.slugs)
        series = await client.list_series().first_page()
        known = {each.id for event in events_page.items for each in event.series}
        assert {each.id for each in series.items} == known
        assert (await client.get_series(series.items[0].id)).id in known
        await client.list_tags().first_page()


@pytest.mark.client(NAME, "search")
async def test_a_search_finds_events_by_words_of_their_title():
    async with open_venue() as venue, public(venue) as client:
        page = await client.search(q="bitcoin").first_page()
    (found,) = page.items
    assert {event.slug for event in found.events} == {slug for slug in venue.slugs if slug.startswith("btc")}


@pytest.mark.client(NAME, "list_price_history")
async def test_prices_of_the_past_are_told():
    async with open_venue() as venue, public(venue) as client:
        page = await client.list_price_history(asset_id=venue.tokens[0], interval="1d").first_page()
    assert all(0 < point.price < 1 for point in page.items)


def kept(books: dict, event) -> None:
    """Keep books from the events of the stream, as any user of the SDK has to."""
    if event.type == "book":
        sides = [{level.price: level.size for level in side} for side in (event.payload.bids, event.payload.asks)]
        books[event.payload.asset_id] = sides
    elif event.type == "price_change":
        for change in event.payload.price_changes:
            books[change.asset_id][change.side == "SELL"][change.price] = change.size


@pytest.mark.client(NAME, "subscribe(MarketSpec)")
async def test_books_kept_from_the_market_stream_are_the_exchange_s():
    async with open_venue(rate=40) as venue, public(venue) as client:
        books = {}
        for event in await events(client, streams.MarketSpec(asset_ids=venue.tokens), 200, seconds=30):
            kept(books, event)
        assert client._get_market_manager().dropped_events == 0
        for token in venue.tokens:
            assert venue.had_lately(token, *(side.items() for side in books[token])), token


@pytest.mark.client(NAME, "subscribe(MarketSpec, custom_feature_enabled)")
async def test_the_stream_of_best_prices_comes_when_it_is_asked_for():
    spec = streams.MarketSpec
    async with open_venue(rate=40) as venue, public(venue) as client:
        found = await events(client, spec(asset_ids=venue.tokens, custom_feature_enabled=True), 200, seconds=30)
    kinds = {event.type for event in found}
    assert {"book", "price_change", "best_bid_ask"} <= kinds


@pytest.mark.client(NAME, "subscribe(CryptoPricesSpec, CryptoPricesChainlinkTwapSpec): RTDS")
async def test_the_first_relay_tells_prices_and_averages():
    wanted = [
        streams.CryptoPricesSpec(topic="prices.crypto.binance", symbols=["btcusdt"]),
        streams.CryptoPricesSpec(topic="prices.crypto.chainlink", symbols=["btc/usd"]),
        streams.CryptoPricesChainlinkTwapSpec(window_seconds=60, symbols=["btc/usd"]),
    ]
    async with open_venue(rate=1) as venue, public(venue) as client:
        found = await asyncio.gather(*(events(client, spec, 3, seconds=20) for spec in wanted))
        assert client._get_rtds_manager().dropped_events == 0
    for spec, told in zip(wanted, found, strict=True):
        assert {event.topic for event in told} == {spec.topic}
        assert all(event.payload.value > 1_000 for event in told)

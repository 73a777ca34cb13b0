"""ccxt's ``prediction.polymarket``. (Its ``ccxt.polymarket`` is another service of the venue, the perpetuals.)"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from tests.clients.venue import ADDRESS, KEY, QUIET, need, open_venue

module = need("ccxt.prediction.polymarket")
errors = need("ccxt.base.errors")

pytestmark = pytest.mark.anyio
NAME = "ccxt"
LOW = 0.02


@asynccontextmanager
async def ccxt(*, trades=False, **options):
    account = {"privateKey": KEY, "walletAddress": ADDRESS} if trades else {}
    async with open_venue(**options) as venue:
        exchange = module.polymarket({"enableRateLimit": False, **account})
        exchange.options["signatureType"] = 0
        exchange.urls["api"].update(
            gamma=venue.http, clob=venue.http, data=venue.http, ws=venue.market, wsUser=venue.user
        )
        try:
            yield venue, exchange
        finally:
            await exchange.close()


def sides(book):
    return [list(levels) for levels in (book["bids"], book["asks"])]


@pytest.mark.client(NAME, "fetch_order_book, fetch_ticker, fetch_time, fetch_trading_fee")
async def test_books_and_tickers_are_the_exchange_s():
    async with ccxt() as (venue, exchange):
        for token in venue.tokens:
            book = await exchange.fetch_order_book(token)
            assert venue.had_lately(token, *sides(book))
            ticker = await exchange.fetch_ticker(token)
            assert 0 < ticker["bid"] < ticker["ask"] < 1
            # Its middle comes from another call than its book.
            assert ticker["average"] == pytest.approx((ticker["bid"] + ticker["ask"]) / 2, abs=0.05)
        assert abs(await exchange.fetch_time() - time.time() * 1_000) < 3_000
        assert (await exchange.fetch_trading_fee(venue.tokens[0]))["taker"] == 0.1


@pytest.mark.client(NAME, "fetch_events by slug, fetch_event")
async def test_an_event_is_found_by_its_slug():
    async with ccxt() as (venue, exchange):
        (event,) = await exchange.fetch_events({"slug": venue.slugs[0]})
        assert (await exchange.fetch_event(venue.slugs[0]))["id"] == event["id"]
    (market,) = event["markets"]
    assert market["id"] == venue.condition(venue.tokens[0])
    assert [outcome["outcomeId"] for outcome in market["outcomes"]] == list(venue.tokens[:2])
    assert market["limits"]["amount"]["min"] == 5


@pytest.mark.client(NAME, "load_markets")
async def test_all_markets_are_loaded():
    async with ccxt(markets=3) as (venue, exchange):
        await exchange.load_markets()
        assert {market["id"] for market in exchange.markets.values()} == {venue.condition(t) for t in venue.tokens}
        assert set(exchange.outcomes_by_id) == set(venue.tokens)


@pytest.mark.client(NAME, "fetch_tickers")
async def test_tickers_of_many_outcomes_come_at_once():
    async with ccxt() as (venue, exchange):
        tickers = await exchange.fetch_tickers(list(venue.tokens))
    assert {ticker["outcomeId"] for ticker in tickers.values()} == set(venue.tokens)


@pytest.mark.client(NAME, "fetch_status, fetch_ohlcv, fetch_event by id, fetch_events by query")
async def test_status_candles_and_search():
    async with ccxt() as (venue, exchange):
        assert (await exchange.fetch_status())["status"] == "ok"
        assert isinstance(await exchange.fetch_ohlcv(venue.tokens[0]), list)
        (event,) = await exchange.fetch_events({"slug": venue.slugs[0]})
        assert (await exchange.fetch_event(event["id"]))["slug"] == venue.slugs[0]
        assert [each["slug"] for each in await exchange.fetch_events({"query": "bitcoin"})] == [venue.slugs[0]]


@pytest.mark.client(
    NAME,
    "fetch_trades, fetch_open_interest, fetch_positions",
    note="refused with 404: it asks paths of the data API that the venue retired on 2026-10-24",
)
async def test_the_retired_data_api_is_not_there():
    async with ccxt(trades=True) as (venue, exchange):
        for call in (exchange.fetch_trades, exchange.fetch_open_interest):
            with pytest.raises(errors.BaseError, match="404"):
                await call(venue.tokens[0])
        with pytest.raises(errors.BaseError, match="404"):
            await exchange.fetch_positions()


@pytest.mark.client(NAME, "watch_order_book, watch_ticker, watch_trades")
async def test_a_watched_book_is_the_exchange_s():
    async with ccxt(rate=40) as (venue, exchange):
        token = venue.tokens[0]
        async with asyncio.timeout(30):
            for _ in range(60):
                book = await exchange.watch_order_book(token)
            assert venue.had_lately(token, *sides(book))
            ticker = await exchange.watch_ticker(token)
            assert 0 < ticker["bid"] < ticker["ask"] < 1
            (trade, *_) = await exchange.watch_trades(token)
    assert 0 < trade["price"] < 1


@pytest.mark.client(
    NAME,
    "watch_order_book of a second market",
    note="waits for ever: its second `type:market` frame is answered by INVALID OPERATION, as at the venue",
)
async def test_a_second_market_is_not_opened_on_the_same_connection():
    async with ccxt(rate=40) as (venue, exchange):
        await exchange.watch_order_book(venue.tokens[0])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(exchange.watch_order_book(venue.tokens[2]), 3)


@pytest.mark.client(NAME, "create_order (limit), fetch_open_orders, fetch_order, cancel_order, cancel_all_orders")
async def test_a_resting_order_lives_until_it_is_cancelled():
    async with ccxt(trades=True, rate=QUIET) as (venue, exchange):
        token = venue.tokens[0]
        placed = await exchange.create_order(token, "limit", "buy", 10, LOW)
        assert placed["status"] == "open"
        (found,) = await exchange.fetch_open_orders(token)
        assert (found["id"], found["price"], found["amount"]) == (placed["id"], LOW, 10)
        assert (await exchange.cancel_order(placed["id"]))["status"] == "canceled"
        assert (await exchange.fetch_order(placed["id"]))["filled"] == 0
        again = await exchange.create_order(token, "limit", "buy", 10, LOW, {"postOnly": True})
        assert [order["id"] for order in await exchange.cancel_all_orders()] == [again["id"]]


@pytest.mark.client(NAME, "create_market_buy_order_with_cost, fetch_my_trades, fetch_order_trades, fetch_balance")
async def test_a_market_order_spends_its_money():
    async with ccxt(trades=True, rate=QUIET) as (venue, exchange):
        token = venue.tokens[0]
        before = (await exchange.fetch_balance())["USDC"]["total"]
        ask = (await exchange.fetch_ticker(token))["ask"]
        bought = await exchange.create_order(
            token, "market", "buy", 5, round(ask + 0.02, 2), {"cost": 5, "orderType": "FAK"}
        )
        assert bought["status"] == "closed"
        trades = await exchange.fetch_order_trades(bought["id"])
        assert sum(trade["price"] * trade["amount"] for trade in trades) == pytest.approx(5, abs=0.01)
        assert 0 < before - (await exchange.fetch_balance())["USDC"]["total"] - 5 < 0.4


@pytest.mark.client(NAME, "watch_orders, watch_my_trades")
async def test_the_user_channel_tells_of_orders_and_trades():
    async with ccxt(trades=True, rate=QUIET) as (venue, exchange):
        token = venue.tokens[0]
        await exchange.create_or_derive_api_key()
        orders = asyncio.create_task(exchange.watch_orders())
        trades = asyncio.create_task(exchange.watch_my_trades())
        await asyncio.sleep(1)
        placed = await exchange.create_order(token, "limit", "buy", 10, LOW)
        async with asyncio.timeout(10):
            assert placed["id"] in [order["id"] for order in await orders]
            ask = (await exchange.fetch_ticker(token))["ask"]
            await exchange.create_order(token, "limit", "buy", 10, ask)
            assert [trade["takerOrMaker"] for trade in await trades] == ["taker"]


@pytest.mark.client(NAME, "derive_api_key, create_api_key")
async def test_logging_in_again_gives_the_same_credentials():
    async with ccxt(trades=True) as (_, exchange):
        first = await exchange.create_or_derive_api_key()
        assert await exchange.derive_api_key() == first
        assert first["apiKey"]

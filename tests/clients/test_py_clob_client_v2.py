"""``py-clob-client-v2``, the older Python client of the order book service: public calls, orders, look-ups."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager

import pytest

from tests.clients.venue import CHAIN, KEY, QUIET, need, open_venue

module = need("py_clob_client_v2.client")
types = need("py_clob_client_v2.clob_types")
errors = need("py_clob_client_v2.exceptions")

pytestmark = pytest.mark.anyio
NAME = "py-clob-client-v2"
LOW = 0.02


logging.getLogger("py_clob_client_v2").setLevel(logging.CRITICAL)


@asynccontextmanager
async def reader(**options):
    """The client, and a way to call it: it is synchronous, so its calls run in threads."""
    async with open_venue(**options) as venue:
        yield venue, module.ClobClient(venue.http, CHAIN), asyncio.to_thread


@asynccontextmanager
async def trader():
    async with open_venue(rate=QUIET) as venue:
        client = module.ClobClient(venue.http, CHAIN, key=KEY)
        client.set_api_creds(await asyncio.to_thread(client.create_or_derive_api_key))
        yield venue, client, asyncio.to_thread


@pytest.mark.client(NAME, "get_order_book, get_order_books, get_order_book_hash")
async def test_books_have_the_hash_that_the_client_computes():
    async with reader() as (venue, client, call):
        one = await call(client.get_order_book, venue.tokens[0])
        many = await call(client.get_order_books, [types.BookParams(token) for token in venue.tokens])
    assert [book["asset_id"] for book in many] == list(venue.tokens)
    for book in (one, *many):
        stated = book["hash"]
        assert client.get_order_book_hash(dict(book)) == stated
        sides = ([(level["price"], level["size"]) for level in book[side]] for side in ("bids", "asks"))
        assert venue.had_lately(book["asset_id"], *sides)


@pytest.mark.client(
    NAME,
    "get_midpoint(s), get_price(s), get_spread(s), calculate_market_price, get_tick_size, get_neg_risk, "
    "get_fee_rate_bps, get_fee_exponent, get_clob_market_info, get_server_time, get_ok",
)
async def test_prices_and_terms_of_a_market():
    async with reader(rate=QUIET) as (venue, client, call):
        token = venue.tokens[0]
        bid, ask = [float((await call(client.get_price, token, side))["price"]) for side in ("BUY", "SELL")]
        assert float((await call(client.get_spread, token))["spread"]) == pytest.approx(ask - bid)
        assert float((await call(client.get_midpoint, token))["mid"]) == pytest.approx((bid + ask) / 2)
        assert await call(client.calculate_market_price, token, "BUY", 1) == ask
        asked = [types.BookParams(each, "BUY") for each in venue.tokens]
        for many in (client.get_midpoints, client.get_prices, client.get_spreads):
            assert set(await call(many, asked)) == set(venue.tokens)
        assert await call(client.get_tick_size, token) == "0.01"
        assert await call(client.get_neg_risk, token) is False
        assert await call(client.get_fee_rate_bps, token) == 1_000
        assert await call(client.get_fee_exponent, token) == 1
        assert (await call(client.get_clob_market_info, venue.condition(token)))["c"] == venue.condition(token)
        assert abs(await call(client.get_server_time) - time.time()) < 3
        assert await call(client.get_ok) == "OK"


@pytest.mark.client(NAME, "get_version")
async def test_the_version_of_the_service_is_two():
    async with reader() as (venue, client, call):
        assert await call(client._get, venue.http + "/version") == {"version": 2}
        assert await call(client.get_version) == 2


@pytest.mark.client(NAME, "get_last_trades_prices")
async def test_last_trades_of_many_tokens_come_at_once():
    async with reader() as (venue, client, call):
        found = await call(client.get_last_trades_prices, [types.BookParams(token) for token in venue.tokens])
    assert {each["token_id"] for each in found} <= set(venue.tokens)


@pytest.mark.client(NAME, "get_market")
async def test_a_market_is_found_by_its_condition():
    async with reader() as (venue, client, call):
        market = await call(client.get_market, venue.condition(venue.tokens[0]))
    assert [token["token_id"] for token in market["tokens"]] == list(venue.tokens[:2])
    assert market["accepting_orders"] is True
    assert market["minimum_tick_size"] == 0.01


@pytest.mark.client(NAME, "get_markets, get_simplified_markets, get_sampling_markets, get_sampling_simplified_markets")
async def test_markets_come_in_pages():
    async with reader(markets=3) as (venue, client, call):
        wanted = {venue.condition(token) for token in venue.tokens}
        for listed in (
            client.get_markets,
            client.get_simplified_markets,
            client.get_sampling_markets,
            client.get_sampling_simplified_markets,
        ):
            page = await call(listed)
            assert {market["condition_id"] for market in page["data"]} == wanted
            assert page["next_cursor"] == "LTE="


@pytest.mark.client(NAME, "get_prices_history")
async def test_prices_of_the_past_are_told():
    async with reader() as (venue, client, call):
        asked = types.PricesHistoryParams(market=venue.tokens[0], interval="1h")
        told = await call(client.get_prices_history, asked)
    assert all(0 < point["p"] < 1 and point["t"] > 1_700_000_000 for point in told["history"])


@pytest.mark.client(NAME, "create_or_derive_api_key, get_api_keys, get_closed_only_mode")
async def test_logging_in_again_gives_the_same_credentials():
    async with trader() as (_, client, call):
        assert await call(client.create_or_derive_api_key) == client.creds
        assert client.creds.api_key in (await call(client.get_api_keys))["apiKeys"]
        assert (await call(client.get_closed_only_mode)) == {"closed_only": False}


@pytest.mark.client(NAME, "create_and_post_order (GTC), get_open_orders, get_order, cancel_order")
async def test_a_resting_order_lives_until_it_is_cancelled():
    async with trader() as (venue, client, call):
        token = venue.tokens[0]
        order = types.OrderArgs(token_id=token, price=LOW, size=10, side="BUY")
        placed = await call(client.create_and_post_order, order)
        assert (placed["success"], placed["status"]) == (True, "live")
        (found,) = await call(client.get_open_orders, types.OpenOrderParams(asset_id=token))
        assert (found["id"], found["original_size"], found["status"]) == (placed["orderID"], "10", "LIVE")
        done = await call(client.cancel_order, types.OrderPayload(orderID=placed["orderID"]))
        assert done["canceled"] == [placed["orderID"]]
        assert await call(client.get_open_orders) == []
        assert (await call(client.get_order, placed["orderID"]))["status"].startswith("CANCELED")


@pytest.mark.client(NAME, "the id of an order")
async def test_the_id_of_an_order_is_the_hash_that_was_signed():
    async with trader() as (venue, client, call):
        args = types.OrderArgs(token_id=venue.tokens[0], price=LOW, size=10, side="BUY")
        order = await call(client.create_order, args)
        config = need("py_clob_client_v2.config").get_contract_config(CHAIN)
        made = need("py_clob_client_v2.order_utils.exchange_order_builder_v2").ExchangeOrderBuilderV2
        builder = made(config.exchange_v2, CHAIN, client.signer)
        signed = builder.build_order_hash(builder.build_order_typed_data(order))
        assert (await call(client.post_order, order))["orderID"] == signed


@pytest.mark.client(NAME, "create_and_post_market_order, get_trades, get_balance_allowance")
async def test_a_matched_order_returns_with_its_hash_in_less_than_two_seconds():
    async with trader() as (venue, client, call):
        order = types.MarketOrderArgs(token_id=venue.tokens[0], amount=5, side="BUY", order_type="FAK")
        started = time.monotonic()
        bought = await call(client.create_and_post_market_order, order, None, "FAK")
        took = time.monotonic() - started
        assert (bought["status"], float(bought["makingAmount"])) == ("matched", 5)
        assert bought["transactionsHashes"]
        assert took < 2
        trades = [trade for trade in await call(client.get_trades) if trade["id"] in bought["tradeIDs"]]
        assert {trade["transaction_hash"] for trade in trades} == set(bought["transactionsHashes"])
        asked = types.BalanceAllowanceParams(asset_type="CONDITIONAL", token_id=venue.tokens[0])
        held = int((await call(client.get_balance_allowance, asked))["balance"])
        assert held == pytest.approx(float(bought["takingAmount"]) * 1e6, abs=1)


@pytest.mark.client(NAME, "post_orders, cancel_orders, cancel_market_orders, cancel_all, post_heartbeat")
async def test_orders_are_placed_and_cancelled_by_the_many():
    async with trader() as (venue, client, call):

        async def place(token, *sizes):
            args = [types.OrderArgs(token_id=token, price=LOW, size=size, side="BUY") for size in sizes]
            signed = [types.PostOrdersV2Args(await call(client.create_order, each)) for each in args]
            return [answer["orderID"] for answer in await call(client.post_orders, signed)]

        ids = await place(venue.tokens[0], 5, 6) + await place(venue.tokens[2], 7)
        assert (await call(client.cancel_orders, ids[:1]))["canceled"] == ids[:1]
        market = types.OrderMarketCancelParams(asset_id=venue.tokens[2])
        assert (await call(client.cancel_market_orders, market))["canceled"] == ids[2:]
        assert (await call(client.cancel_all))["canceled"] == ids[1:2]
        assert (await call(client.post_heartbeat))["heartbeat_id"]


@pytest.mark.client(NAME, "an order that is refused")
async def test_an_order_off_the_grid_is_refused_in_the_venue_s_words():
    async with trader() as (venue, client, call):
        order = await call(
            client.create_order, types.OrderArgs(token_id=venue.tokens[0], price=LOW, size=10, side="BUY")
        )
        order.makerAmount = str(int(order.makerAmount) + 12_345)
        with pytest.raises(errors.PolyApiException) as refused:
            await call(client.post_order, order)
    assert refused.value.status_code == 400
    assert "error" in refused.value.error_msg

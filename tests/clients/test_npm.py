"""The clients from npm: two of the order book service, one that keeps books, one of the first price relay.

Each is used by a script in ``node/``, which runs in a Node of its own and tells what it was told.
"""

from __future__ import annotations

import pytest

from tests.clients.venue import QUIET, need_npm, open_venue, run_node

pytestmark = pytest.mark.anyio
OLD, NEW = "@polymarket/clob-client", "@polymarket/clob-client-v2"
BOOKS, RELAY = "@nevuamarkets/poly-websockets", "@polymarket/real-time-data-client"

for package in (OLD, NEW, BOOKS, RELAY):
    need_npm(package)


def failed(found, *names):
    """Which of these calls failed: these clients return errors instead of raising them."""
    return {name: found.get(name) for name in names if isinstance(found.get(name), dict) and "error" in found[name]}


async def told_by(script, **options):
    async with open_venue(**options) as venue:
        return venue, await run_node(script, venue)


@pytest.mark.client(
    OLD,
    "getOk, getServerTime, getOrderBook(s), getOrderBookHash, getMidpoint(s), getPrice(s), getSpread(s), "
    "getLastTradePrice, getTickSize, getNegRisk, getFeeRateBps",
)
async def test_the_public_calls_of_the_old_client():
    venue, found = await told_by("clob_client.mjs")
    asked = [
        "ok",
        "time",
        "book",
        "books",
        "midpoint",
        "midpoints",
        "price",
        "prices",
        "spread",
        "spreads",
        "tick",
        "negRisk",
        "feeRate",
        "lastTrade",
    ]
    assert failed(found, *asked) == {}
    assert found["hash"] is True
    assert [book["asset_id"] for book in found["books"]] == list(venue.tokens)
    assert set(found["midpoints"]) == set(found["prices"]) == set(found["spreads"]) == set(venue.tokens)
    assert (found["tick"], found["negRisk"], found["feeRate"]) == ("0.01", False, 1_000)


@pytest.mark.client(OLD, "getMarket, getMarkets, getLastTradesPrices, getPricesHistory")
async def test_the_lists_of_the_old_client():
    venue, found = await told_by("clob_client.mjs")
    assert failed(found, "market", "markets", "lastTrades", "history") == {}
    assert found["market"]["condition_id"] == venue.condition(venue.tokens[0])
    assert {market["condition_id"] for market in found["markets"]["data"]} == {venue.condition(t) for t in venue.tokens}


@pytest.mark.client(OLD, "createOrDeriveApiKey, getApiKeys, getOpenOrders, getTrades, getBalanceAllowance")
async def test_the_old_client_logs_in_and_looks_things_up():
    _, found = await told_by("clob_client.mjs", rate=QUIET)
    assert failed(found, "keys", "apiKeys", "openOrders", "trades", "balance") == {}
    assert found["keys"]["key"] in found["apiKeys"]["apiKeys"]
    assert (found["openOrders"], found["trades"]) == ([], [])
    assert int(found["balance"]["balance"]) > 0


@pytest.mark.client(
    OLD,
    "createAndPostOrder",
    note="refused with order_version_mismatch: it signs version 1, which the venue refuses since 2026-04-28",
)
async def test_an_order_of_the_old_client_is_refused_as_at_the_venue():
    _, found = await told_by("clob_client.mjs", rate=QUIET)
    assert "order_version_mismatch" in found["order"]["error"]


@pytest.mark.client(NEW, "getOrderBook, getClobMarketInfo, getVersion")
async def test_the_public_calls_of_the_new_client():
    venue, found = await told_by("clob_client_v2.mjs")
    assert failed(found, "book", "market") == {}
    assert found["version"] == 2
    assert found["market"]["c"] == venue.condition(venue.tokens[0])


@pytest.mark.client(NEW, "createOrDeriveApiKey, postOrder (GTC), getOpenOrders, cancelOrder, cancelAll, postHeartbeat")
async def test_a_resting_order_of_the_new_client():
    _, found = await told_by("clob_client_v2.mjs", rate=QUIET)
    assert failed(found, *found) == {}
    placed = found["placed"]["orderID"]
    assert found["placed"]["status"] == "live"
    assert [order["id"] for order in found["open"]] == [placed]
    assert (found["cancelled"]["canceled"], found["left"]) == ([placed], [])
    assert len(found["all"]["canceled"]) == 1
    assert found["beat"]["heartbeat_id"]


@pytest.mark.client(NEW, "createMarketOrder, postOrder (FAK), getTrades")
async def test_a_matched_order_of_the_new_client_has_its_hash_soon():
    _, found = await told_by("clob_client_v2.mjs", rate=QUIET)
    bought = found["bought"]
    assert (bought["status"], float(bought["makingAmount"])) == ("matched", 5)
    assert bought["transactionsHashes"]
    assert bought["took"] < 2_000
    assert set(bought["tradeIDs"]) <= {trade["id"] for trade in found["trades"]}


@pytest.mark.client(BOOKS, "addSubscriptions, onBook, onPriceChange, onPolymarketPriceUpdate, bookCache")
async def test_kept_books_are_the_exchange_s():
    async with open_venue(rate=40) as venue:
        found = await run_node("poly_websockets.cjs", venue)
        for token, book in found["books"].items():
            sides = ([(level["price"], level["size"]) for level in book[side]] for side in ("bids", "asks"))
            assert venue.had_lately(token, *sides, seconds=5)
    assert found["errors"] == []
    assert set(found["books"]) == set(venue.tokens)
    assert found["counts"]["price_change"] > 50
    assert found["counts"]["price_update"] > 0


@pytest.mark.client(
    RELAY,
    "connect, subscribe, onMessage",
    note="it pings once only (its `onPong` is never called), so data stops after some six minutes, as at the venue",
)
async def test_the_first_relay_tells_prices():
    _, found = await told_by("real_time_data_client.mjs", rate=1)
    assert found["counts"]["crypto_prices update"] >= 4
    assert found["counts"]["crypto_prices_chainlink update"] >= 2
    assert found["counts"]["crypto_prices_twap_sixty update"] >= 4
    # The first answer to a filter names the topic of Binance, whatever was asked for.
    assert len(found["last"]["crypto_prices subscribe"]["data"]) > 30
    assert found["last"]["crypto_prices_twap_sixty update"]["window_s"] == 60
    assert found["states"] == ["CONNECTING", "CONNECTED"]

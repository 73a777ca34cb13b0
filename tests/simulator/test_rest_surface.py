"""What clients of the venue ask besides books: markets in pages and by name, prices of the past, search."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Simulator
from polymirror.simulator.frames import Answer, Call
from polymirror.simulator.settings import RoundsConfig
from polymirror.simulator.surface.app import MAX_BODY
from polymirror.simulator.surface.rest import Desk

pytestmark = pytest.mark.anyio
QUIET = FlowConfig(rate=0.001)


def venue(markets: int = 2, **options: Any) -> tuple[Exchange, Desk]:
    exchange = Exchange(ExchangeConfig(seed=5, markets=markets, **{"flow": QUIET, **options}))
    return exchange, Desk(exchange)


def get(desk: Desk, path: str, *pairs: tuple[str, str], **query: str) -> Answer:
    every = (*pairs, *query.items())
    return desk.answer(Call("GET", path, dict(every), pairs=every))


def body(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return json.loads(answer.body)


def post(desk: Desk, path: str, entries: Any) -> Any:
    return body(desk.answer(Call("POST", path, {}, json.dumps(entries).encode())))


async def test_calls_that_clients_were_seen_to_make_are_answered_as_at_the_venue() -> None:
    """The case ``rest_surface``, over real sockets."""
    async with Simulator(seed=5, markets=2, rate=0.01) as served, httpx.AsyncClient(base_url=served.base_url) as client:
        first, second = served.tokens[0], served.tokens[2]
        condition = served.exchange.market_of(first).condition_id

        async def ask(path: str, method: str = "GET", **more: Any) -> Any:
            answer = await client.request(method, path, **more)
            assert answer.status_code == 200, (path, answer.text)
            return answer.json()

        assert await ask(f"/last-trade-price?token_id={first}") == {"price": "0.5", "side": ""}
        assert await ask("/last-trades-prices", "POST", json=[{"token_id": first}]) == []
        full = await ask(f"/markets/{condition}")
        assert (full["condition_id"], full["question"] != "", full["tokens"][0]["token_id"]) == (condition, True, first)
        assert await ask("/version") == {"version": 2}
        assert (await ask("/events/800000"))["slug"] == served.slugs[0]
        assert (await ask("/markets/3000000"))["slug"] == served.slugs[0]
        assert [each["slug"] for each in await ask("/markets?limit=5&closed=false")] == list(served.slugs)
        assert [each["slug"] for each in await ask(f"/markets?condition_ids={condition}")] == [served.slugs[0]]
        both = await ask(f"/markets?clob_token_ids={first}&clob_token_ids={second}")
        assert [each["slug"] for each in both] == list(served.slugs)
        [market] = await ask(f"/markets?slug={served.slugs[0]}")
        prices = [float(price) for price in json.loads(market["outcomePrices"])]
        assert market["bestBid"] < prices[0] < market["bestAsk"]
        assert sum(prices) == pytest.approx(1)


@pytest.mark.parametrize("path", ["/books", "/prices", "/last-trades-prices"])
def test_a_body_that_is_nested_too_deep_is_refused(path: str) -> None:
    assert venue()[1].answer(Call("POST", path, {}, b"[" * 100_000)).status == 400


async def test_a_body_that_is_too_long_is_not_read() -> None:
    async with Simulator(seed=5) as served, httpx.AsyncClient(base_url=served.base_url) as client:
        assert (await client.post("/books", content=b" " * (MAX_BODY + 1))).status_code == 413
        assert (await client.get("/time")).status_code == 200


def test_builders_take_no_fee() -> None:
    _, desk = venue()
    fees = body(get(desk, f"/fees/builder-fees/0x{'0' * 64}"))
    assert fees == {"builder_maker_fee_rate_bps": 0, "builder_taker_fee_rate_bps": 0}


def test_the_last_price_is_the_token_s_own() -> None:
    exchange, desk = venue(markets=1, flow=FlowConfig(rate=50.0, trade_share=0.2))
    first, other = exchange.tokens
    for _ in range(20):
        frames = exchange.step(exchange.now_ms + 500)
        told = [json.loads(frame.text) for frame in frames if frame.kind == "last_trade_price"]
        exchange.step(exchange.now_ms)
        if told:
            break
    while True:
        # A print may come a moment after the book knows of the trade.
        ahead = [json.loads(f.text) for f in exchange.step(exchange.now_ms + 1) if f.kind == "last_trade_price"]
        told += ahead
        last = told[-1]
        answers = {token: body(get(desk, "/last-trade-price", token_id=token)) for token in (first, other)}
        taken = answers[last["asset_id"]]
        if (taken["price"], taken["side"]) == (last["price"], last["side"]):
            break
        assert exchange.now_ms < 1_790_000_100_000 + 60_000
    mirror = answers[other if last["asset_id"] == first else first]
    assert float(mirror["price"]) == pytest.approx(1 - float(last["price"]))
    assert {taken["side"], mirror["side"]} == {"BUY", "SELL"}
    many = post(desk, "/last-trades-prices", [{"token_id": token} for token in (first, other, "12")])
    assert many == [{"token_id": token, **answers[token]} for token in (first, other)]
    assert desk.answer(Call("POST", "/last-trades-prices", {}, b"[1]")).status == 400


def test_markets_come_in_pages_with_the_venue_s_cursors() -> None:
    exchange, desk = venue(markets=1_200)
    conditions = [market.condition_id for market in exchange.markets]
    for path in ("/markets", "/simplified-markets", "/sampling-markets", "/sampling-simplified-markets"):
        page = body(get(desk, path, next_cursor="MA=="))
        assert (page["limit"], page["count"]) == (1_000, 1_000)
        rest = body(get(desk, path, next_cursor=page["next_cursor"]))
        assert [market["condition_id"] for market in page["data"] + rest["data"]] == conditions
        assert rest["next_cursor"] == "LTE="
        assert body(get(desk, path, next_cursor="LTE="))["data"] == []
        assert get(desk, path, next_cursor="?").status == 400
        assert get(desk, path, next_cursor=base64.b64encode(b"x").decode()).status == 400
    # Without a word of Gamma's it is the page of the order book service, too.
    assert body(get(desk, "/markets"))["count"] == 1_000


def test_a_full_market_tells_its_winner_when_it_is_over() -> None:
    exchange, desk = venue()
    market = exchange.markets[0]
    full = body(get(desk, f"/markets/{market.condition_id}"))
    assert (full["accepting_orders"], full["closed"], full["minimum_tick_size"]) == (True, False, 0.01)
    assert [token["winner"] for token in full["tokens"]] == [False, False]
    assert {"question_id", "market_slug", "seconds_delay", "rewards", "tags", "icon"} <= set(full)
    exchange.settle(market.slug, resolve_delay_ms=0)
    exchange.step(exchange.now_ms + 100)
    full = body(get(desk, f"/markets/{market.condition_id}"))
    assert (full["accepting_orders"], full["closed"]) == (False, True)
    assert sorted(token["winner"] for token in full["tokens"]) == [False, True]
    assert sorted(token["price"] for token in full["tokens"]) == [0, 1]
    assert get(desk, "/markets/0x12").status == 404


def test_keyset_lists_go_on_where_the_cursor_says() -> None:
    exchange, desk = venue(markets=5)
    for kind in ("markets", "events"):
        slugs, cursor = [], None
        for size in (2, 2, 1):
            page = body(get(desk, f"/{kind}/keyset", limit="2", **({"after_cursor": cursor} if cursor else {})))
            slugs += [entry["slug"] for entry in page[kind]]
            assert len(page[kind]) == size
            cursor = page.get("next_cursor")
        assert (slugs, cursor) == (list(exchange.slugs), None)
        assert get(desk, f"/{kind}/keyset", after_cursor="soon").status == 422
        assert get(desk, f"/{kind}/keyset", limit="many").status == 422


@pytest.mark.parametrize("path", ["/markets", "/events"])
def test_plain_lists_take_limits_offsets_orders_and_repeated_names(path: str) -> None:
    exchange, desk = venue(markets=9)
    slugs = list(exchange.slugs)

    def listed(*pairs: tuple[str, str], **query: str) -> list[str]:
        return [entry["slug"] for entry in body(get(desk, path, *pairs, **query))]

    assert listed(limit="4", offset="2") == slugs[2:6]
    assert listed(("slug", slugs[3]), ("slug", slugs[1]), ("slug", "nothing")) == [slugs[1], slugs[3]]
    ids = [entry["id"] for entry in body(get(desk, path, limit="2"))]
    assert listed(*(("id", number) for number in ids)) == slugs[:2]
    assert listed(order="endDate", ascending="false", limit="2") == slugs[7:]
    assert listed(order="volume", ascending="false", limit="2") == slugs[:2]
    assert listed(order="id", ascending="false", limit="1") == slugs[8:]
    assert listed(active="false", limit="2") == []
    [series] = body(get(desk, path.replace("markets", "events"), slug=slugs[0], limit="1"))[0]["series"]
    assert listed(series_id=series["id"], limit="9") == [slugs[0], slugs[7]]
    assert listed(tag_slug="crypto", limit="1") == slugs[:1]
    assert listed(tag_id="7", limit="1") == []
    exchange.settle(slugs[0], resolve_delay_ms=0)
    exchange.step(exchange.now_ms + 100)
    assert listed(limit="1") == slugs[1:2]
    assert listed(closed="true", limit="5") == slugs[:1]
    assert get(desk, path, limit="-1").status == 422


def test_a_market_and_its_event_are_found_by_number_and_have_tags() -> None:
    exchange, desk = venue()
    slug = exchange.slugs[1]
    for kind, number in (("markets", "3000001"), ("events", "800001")):
        assert body(get(desk, f"/{kind}/{number}")) == body(get(desk, f"/{kind}/slug/{slug}"))
        tags = body(get(desk, f"/{kind}/{number}/tags"))
        assert body(get(desk, f"/tags/{tags[0]['id']}")) == tags[0]
        assert body(get(desk, f"/tags/slug/{tags[0]['slug']}")) == tags[0]
        for path in (f"/{kind}/9", f"/{kind}/9/tags", f"/{kind}/slug/x", f"/{kind}/x", "/tags/9", "/tags/slug/x"):
            assert get(desk, path).status == 404, path
    assert tags[0] in body(get(desk, "/tags"))
    event = body(get(desk, f"/events/slug/{slug}"))
    assert [tag["id"] for tag in event["tags"]] == [tag["id"] for tag in tags]
    [series] = event["series"]
    assert body(get(desk, f"/series/{series['id']}"))["slug"] == event["seriesSlug"]
    assert series["id"] in [each["id"] for each in body(get(desk, "/series"))]
    assert [each["slug"] for each in body(get(desk, "/series", slug=series["slug"]))] == [series["slug"]]
    assert get(desk, "/series/0").status == 404
    assert body(get(desk, "/teams")) == body(get(desk, "/comments")) == []
    assert get(desk, "/status") == Answer(200, "OK", content_type="text/plain; charset=utf-8")


def test_a_search_looks_for_words_in_titles() -> None:
    exchange, desk = venue(markets=9)
    found = body(get(desk, "/public-search", q="bitcoin UP", limit_per_type="1"))
    assert [event["slug"] for event in found["events"]] == [exchange.slugs[0]]
    assert found["pagination"] == {"hasMore": True, "totalResults": 2}
    second = body(get(desk, "/public-search", q="bitcoin UP", limit_per_type="1", page="2"))
    assert [event["slug"] for event in second["events"]] == [exchange.slugs[7]]
    assert second["pagination"]["hasMore"] is False
    assert body(get(desk, "/public-search", q="weather"))["events"] == []
    assert get(desk, "/public-search").status == 422


def test_prices_of_the_past_are_the_middles_that_were() -> None:
    exchange, desk = venue(markets=1, flow=FlowConfig(rate=5.0))
    first, other = exchange.tokens
    began = exchange.now_ms // 1000
    for _ in range(30):
        exchange.step(exchange.now_ms + 10_000)
        desk.note()
    history = body(get(desk, "/prices-history", market=first, interval="1h", fidelity="1"))["history"]
    assert len(history) in range(4, 8)
    assert [point["t"] for point in history] == sorted({point["t"] for point in history})
    assert all(began <= point["t"] <= exchange.now_ms // 1000 and 0 < point["p"] < 1 for point in history)
    mirror = body(get(desk, "/prices-history", market=other, interval="max"))["history"]
    assert [1 - point["p"] for point in mirror] == pytest.approx([point["p"] for point in history])
    some = body(get(desk, "/prices-history", market=first, startTs=str(began + 60), endTs=str(began + 200)))["history"]
    assert [point["t"] for point in some] == [p["t"] for p in history if began + 60 <= p["t"] <= began + 200]
    data = body(get(desk, "/v2/prices-history", token_id=first, interval="1d"))
    assert data["pagination"] == {"has_more": False, "next_cursor": None}
    assert [(row["timestamp"], float(row["price"])) for row in data["data"]] == [(p["t"], p["p"]) for p in history]
    assert {row["resolution_seconds"] for row in data["data"]} == {60}
    assert body(get(desk, "/prices-history", market="12"))["history"] == []
    assert get(desk, "/prices-history", market="12", startTs="x").status == 400
    assert get(desk, "/prices-history", market="12", interval="2y").status == 400


def test_trades_of_a_market_are_told_to_everybody() -> None:
    exchange, desk = venue(markets=2, flow=FlowConfig(rate=50.0, trade_share=0.2))
    desk.hear(exchange.step(exchange.now_ms + 5_000))
    market = exchange.markets[1]
    rows = body(get(desk, "/v2/trades", condition_id=market.condition_id))["data"]
    assert rows
    assert {row["condition_id"] for row in rows} == {market.condition_id}
    assert {row["token_id"] for row in rows} <= set(market.tokens)
    assert body(get(desk, "/v2/trades", condition_id=market.condition_id, limit="1"))["data"] == rows[:1]
    assert body(get(desk, "/v2/trades", condition_id="0x0"))["data"] == []


def test_rounds_are_listed_like_other_markets() -> None:
    config = ExchangeConfig(seed=1, rounds=RoundsConfig(assets=("btc", "eth"), window_s=300))
    exchange = Exchange(config)
    listed = body(get(Desk(exchange), "/events", limit="50"))
    assert {event["slug"] for event in listed} == set(exchange.slugs)
    assert {each["id"] for event in listed for each in event["series"] if "btc" in each["slug"]} == {"10684"}

"""The HTTP answers of the simulated venue, without HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.frames import Answer, Call
from polymirror.simulator.surface.rest import Desk
from tests.simulator.naive import Book, plain_hash

if TYPE_CHECKING:
    from pathlib import Path


UNKNOWN = "12"


def venue() -> tuple[Exchange, Desk]:
    exchange = Exchange(ExchangeConfig(seed=1, markets=2, flow=FlowConfig(rate=50.0, trade_share=0.2)))
    exchange.step(exchange.now_ms + 3_000)
    return exchange, Desk(exchange)


def get(desk: Desk, path: str, **query: str) -> Answer:
    return desk.answer(Call("GET", path, query))


def body(answer: Answer) -> Any:
    assert answer.status == 200
    return json.loads(answer.body)


def error(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["error"]


def post_books(desk: Desk, tokens: Any) -> Answer:
    return desk.answer(Call("POST", "/books", {}, json.dumps([{"token_id": t} for t in tokens]).encode()))


def test_a_book_has_the_ten_keys_in_order_and_its_hash_is_right(corpus: Path) -> None:
    recorded = json.loads((corpus / "ws" / "rest_book_202606.json").read_text(encoding="utf-8"))
    exchange, desk = venue()
    for token in exchange.tokens:
        book = body(get(desk, "/book", token_id=token))
        assert [type(book[key]) for key in recorded if key in book] == [
            type(v) for k, v in recorded.items() if k in book
        ]
        assert list(book) == [
            "market", "asset_id", "timestamp", "hash", "bids", "asks",
            "min_order_size", "tick_size", "neg_risk", "last_trade_price",
        ]  # fmt: skip
        levels = Book({x["price"]: x["size"] for x in book["bids"]}, {x["price"]: x["size"] for x in book["asks"]})
        ltp = book["last_trade_price"]
        assert ltp
        stated = plain_hash(levels, book["market"], token, book["timestamp"], book["tick_size"], ltp)
        assert book["hash"] == stated
        assert levels.levels() == exchange.truth(token)


def test_books_leaves_out_what_is_unknown_or_settled() -> None:
    exchange, desk = venue()
    assert [b["asset_id"] for b in body(post_books(desk, [*exchange.tokens, "7"]))] == list(exchange.tokens)
    exchange.settle(exchange.slugs[0], resolve_delay_ms=0)
    exchange.step(exchange.now_ms + 100)
    assert [b["asset_id"] for b in body(post_books(desk, exchange.tokens))] == list(exchange.tokens[2:])


def test_small_calls_agree_with_the_truth() -> None:
    exchange, desk = venue()
    token = exchange.tokens[1]
    bids, asks = exchange.truth(token)
    bid, ask = bids[0][0] / 10_000, asks[0][0] / 10_000
    assert float(body(get(desk, "/price", token_id=token, side="BUY"))["price"]) == bid
    assert float(body(get(desk, "/price", token_id=token, side="SELL"))["price"]) == ask
    assert float(body(get(desk, "/midpoint", token_id=token))["mid"]) == pytest.approx((bid + ask) / 2)
    assert float(body(get(desk, "/spread", token_id=token))["spread"]) == pytest.approx(ask - bid)
    assert body(get(desk, "/last-trade-price", token_id=token))["side"] in {"BUY", "SELL"}
    assert body(get(desk, "/tick-size", token_id=token)) == {"minimum_tick_size": 0.01}
    assert body(get(desk, f"/tick-size/{token}")) == {"minimum_tick_size": 0.01}
    assert body(get(desk, "/neg-risk", token_id=token)) == {"neg_risk": False}
    assert body(get(desk, "/fee-rate", token_id=token)) == {"base_fee": 1000}
    assert body(get(desk, "/time")) == exchange.now_ms // 1000
    assert body(get(desk, "/ok")) == "OK"
    condition = exchange.markets[0].condition_id
    assert body(get(desk, f"/markets-by-token/{token}")) == {"condition_id": condition}
    compact = body(get(desk, f"/clob-markets/{condition}"))
    assert [entry["t"] for entry in compact["t"]] == list(exchange.tokens[:2])
    assert compact["fd"] == {"r": 0.07, "e": 1, "to": True}


def test_calls_about_many_tokens_say_what_the_calls_about_one_say() -> None:
    exchange, desk = venue()

    def post(path: str, *entries: dict[str, str]) -> Answer:
        return desk.answer(Call("POST", path, {}, json.dumps(entries).encode()))

    tokens = [{"token_id": token} for token in (*exchange.tokens, UNKNOWN)]
    for many, one, key in (("/midpoints", "/midpoint", "mid"), ("/spreads", "/spread", "spread")):
        singles = {token: body(get(desk, one, token_id=token))[key] for token in exchange.tokens}
        assert body(post(many, *tokens)) == singles
    token = exchange.tokens[0]
    sides = {side: body(get(desk, "/price", token_id=token, side=side))["price"] for side in ("BUY", "SELL")}
    asked = [{"token_id": token, "side": side} for side in ("BUY", "sell")]
    assert body(post("/prices", *asked, {"token_id": UNKNOWN, "side": "BUY"})) == {token: sides}
    assert error(post("/prices", {"token_id": token})) == (400, "Invalid side")
    assert error(post("/midpoints", {"token_id": "x"})) == (400, "Invalid token id")
    assert error(post("/spreads", *[{"token_id": token}] * 501)) == (400, "Payload exceeds the limit")
    assert error(post("/spreads", {"token": token})) == (400, "Invalid payload")


def test_discovery_finds_the_market_of_a_token_open_or_settled() -> None:
    exchange, desk = venue()
    token, other = exchange.tokens[1], exchange.tokens[2]
    [market] = body(get(desk, "/markets", clob_token_ids=token))
    assert token in json.loads(market["clobTokenIds"])
    assert body(get(desk, "/markets", clob_token_ids=token, closed="true")) == []
    assert body(get(desk, "/markets", clob_token_ids=UNKNOWN)) == []
    exchange.settle(exchange.slugs[0], resolve_delay_ms=0)
    exchange.step(exchange.now_ms + 100)
    assert body(get(desk, "/markets", clob_token_ids=token)) == []
    [closed] = body(get(desk, "/markets", clob_token_ids=token, closed="true"))
    assert (closed["slug"], closed["closed"]) == (market["slug"], True)
    assert body(get(desk, "/markets", clob_token_ids=other))[0]["slug"] == exchange.slugs[1]


def test_errors_have_the_venues_status_and_text() -> None:
    exchange, desk = venue()
    missing = (404, "No orderbook exists for the requested token id")
    assert error(get(desk, "/book", token_id=UNKNOWN)) == missing
    assert error(get(desk, "/book")) == (400, "Invalid token id")
    assert error(get(desk, "/price", token_id=exchange.tokens[0], side="UP")) == (400, "Invalid side")
    for payload in (b"", b"7", b"[1]", b'[{"token":"1"}]', b'[{"token_id":1}]', b"\xff"):
        assert error(desk.answer(Call("POST", "/books", {}, payload))) == (400, "Invalid payload")
    assert error(post_books(desk, ["1"] * 501)) == (400, "Payload exceeds the limit")
    assert get(desk, "/clob-markets/0x00").status == get(desk, "/markets-by-token/1").status == 404
    assert get(desk, "/markets/slug/nothing").status == get(desk, "/no/such/path").status == 404
    assert desk.answer(Call("POST", "/book", {})).status == 405
    exchange.settle(resolve_delay_ms=0)
    exchange.step(exchange.now_ms + 100)
    assert error(get(desk, "/book", token_id=exchange.tokens[0])) == missing
    assert error(get(desk, "/midpoint", token_id=exchange.tokens[0])) == missing


def test_discovery_objects_have_the_recorded_fields_and_types(corpus: Path) -> None:
    recorded = json.loads((corpus / "gamma" / "hugompt_gamma_market_updown.json").read_text(encoding="utf-8"))
    exchange, desk = venue()
    slug = exchange.slugs[0]
    [market] = body(get(desk, "/markets", slug=slug))
    assert market == body(get(desk, f"/markets/slug/{slug}"))
    [event] = body(get(desk, "/events", slug=slug))
    assert event == body(get(desk, f"/events/slug/{slug}"))
    assert event["markets"] == [market]
    for key in market.keys() & recorded.keys():
        numbers = isinstance(market[key], (int, float)) and isinstance(recorded[key], (int, float))
        assert numbers or type(market[key]) is type(recorded[key]), key
    assert json.loads(market["clobTokenIds"]) == list(exchange.tokens[:2])
    assert json.loads(market["outcomes"]) == ["Up", "Down"]
    assert market["eventStartTime"] == "2026-09-21T14:15:00Z"


def test_a_settled_market_is_hidden_unless_closed_ones_are_asked_for() -> None:
    exchange, desk = venue()
    slug = exchange.slugs[0]
    assert body(get(desk, "/markets", slug=slug, closed="true")) == []
    exchange.settle(slug, resolve_delay_ms=0)
    exchange.step(exchange.now_ms + 100)
    assert body(get(desk, "/markets", slug=slug)) == []
    [market] = body(get(desk, "/markets", slug=slug, closed="true"))
    assert market["closed"]
    assert sorted(json.loads(market["outcomePrices"])) == ["0", "1"]
    assert body(get(desk, "/events", slug="nothing")) == []

"""What the venue answers on a connection, and who receives what."""

from __future__ import annotations

import json

import pytest

from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Session
from polymirror.simulator.frames import Close, Frame, Item
from polymirror.simulator.settings import RoundsConfig


def exchange(**settings: object) -> Exchange:
    config: dict[str, object] = {"seed": 1, "markets": 2, "flow": FlowConfig(rate=50.0), **settings}
    return Exchange(ExchangeConfig(**config))  # type: ignore[arg-type]


def first(tokens: object, **more: object) -> str:
    return json.dumps({"assets_ids": tokens, "type": "market", **more})


def operation(name: str, tokens: object, **more: object) -> str:
    return json.dumps({"operation": name, "assets_ids": tokens, **more})


def texts(items: list[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, Frame)]


def test_a_subscription_is_answered_by_one_array_of_the_known_books() -> None:
    venue = exchange()
    [answer] = texts(Session(venue).receive(first([*venue.tokens, "123"]), 0))
    books = json.loads(answer)
    assert [book["asset_id"] for book in books] == list(venue.tokens)
    assert answer.endswith("\n")
    assert list(books[0]) == [
        "market", "asset_id", "timestamp", "hash", "bids", "asks", "tick_size", "event_type", "last_trade_price",
    ]  # fmt: skip
    assert Session(venue).receive(first(["123"]), 0) == [Frame("[]\n", "opening")]


@pytest.mark.parametrize(
    "text",
    ["PING", "[" * 100_000, "", "x", "[]", "7", '{"type":"market"}',
     '{"type":"user","assets_ids":[]}', '{"assets_ids":[1],"type":"market"}',
     '{"operation":"subscribe","assets_ids":["1"]}'],
)  # fmt: skip
def test_anything_before_a_subscription_ends_the_connection(text: str) -> None:
    session = Session(exchange())
    assert session.receive(text, 0) == [Close(1008, "invalid subscription payload")]
    assert session.closed
    assert session.receive(first([]), 0) == []
    assert session.outgoing([Frame("x", "price_change", "m")]) == []


def test_ping_is_answered_by_pong_after_the_subscription() -> None:
    session = Session(exchange())
    session.receive(first([]), 0)
    assert texts(session.receive("PING", 5)) == ["PONG"]
    assert texts(session.receive("ping?", 5)) == ["INVALID MESSAGE"]


def test_a_second_subscription_frame_and_active_tokens_are_invalid_operations() -> None:
    venue = exchange()
    session = Session(venue)
    session.receive(first(venue.tokens[:2]), 0)
    assert texts(session.receive(first(venue.tokens), 0)) == ["INVALID OPERATION"]
    assert texts(session.receive(operation("subscribe", venue.tokens[:2]), 0)) == ["INVALID OPERATION"]
    assert texts(session.receive(operation("subscribe", []), 0)) == ["NO NEW ASSETS"]
    assert texts(session.receive(operation("dance", []), 0)) == ["INVALID OPERATION"]


def test_operations_that_are_no_words_are_invalid() -> None:
    venue = exchange()
    session = Session(venue)
    session.receive(first(venue.tokens), 0)
    assert texts(session.receive(json.dumps({"operation": [], "assets_ids": ["1"]}), 0)) == ["INVALID OPERATION"]
    assert texts(session.receive("[" * 100_000, 0)) == ["INVALID MESSAGE"]


def test_an_added_token_gets_its_book_at_once() -> None:
    venue = exchange()
    session = Session(venue)
    session.receive(first(venue.tokens[:2]), 0)
    [answer] = texts(session.receive(operation("subscribe", venue.tokens[1:]), 0))
    assert [book["asset_id"] for book in json.loads(answer)] == list(venue.tokens[2:])
    assert session.tokens == venue.tokens


def test_traffic_is_per_market_and_stops_when_both_tokens_are_removed() -> None:
    venue = exchange()
    session = Session(venue)
    session.receive(first([venue.tokens[0]]), 0)
    market = venue.markets[0].condition_id
    frames = venue.step(venue.now_ms + 1_000)
    received = [item for item in session.outgoing(frames) if isinstance(item, Frame)]
    assert {frame.market for frame in received} == {market}
    assert all(venue.tokens[1] in frame.text for frame in received if frame.kind == "price_change")
    session.receive(operation("subscribe", [venue.tokens[1]]), 0)
    session.receive(operation("unsubscribe", [venue.tokens[0], "unknown"]), 0)
    assert session.outgoing(venue.step(venue.now_ms + 1_000))
    session.receive(operation("unsubscribe", [venue.tokens[1]]), 0)
    assert session.outgoing(venue.step(venue.now_ms + 1_000)) == []


def test_a_token_of_a_market_that_the_exchange_forgot_can_be_removed_and_leaves_nothing() -> None:
    venue = exchange()
    session = Session(venue)
    session.receive(first(venue.tokens), 0)
    gone, kept = venue.markets
    venue.remove_market(gone)
    assert session.receive(operation("unsubscribe", list(gone.tokens)), 0) == []
    assert session.tokens == kept.tokens
    assert set(session._markets) == {kept.condition_id}
    session.receive(operation("unsubscribe", list(kept.tokens)), 0)
    assert session._markets == {}


def test_a_token_that_was_unknown_when_it_was_subscribed_can_be_removed_when_it_is_known() -> None:
    rounds = RoundsConfig(assets=("btc",), window_s=300, ahead=0)
    token = min(round_tokens(rounds, minutes=10) - round_tokens(rounds, minutes=0))
    venue = exchange(rounds=rounds)
    session = Session(venue)
    session.receive(first([token]), 0)
    venue.step(venue.now_ms + 600_000)
    assert venue.knows(token)
    assert session.receive(operation("unsubscribe", [token]), 0) == []
    assert session.tokens == ()


def round_tokens(rounds: RoundsConfig, *, minutes: int) -> set[str]:
    venue = exchange(rounds=rounds)
    venue.step(venue.now_ms + 60_000 * minutes)
    return set(venue.tokens)


def test_custom_kinds_need_the_flag_and_each_subscribing_frame_sets_it_again() -> None:
    venue = exchange()
    session = Session(venue)
    custom = {"best_bid_ask", "new_market", "market_resolved"}

    def kinds() -> set[str]:
        items = session.outgoing(venue.step(venue.now_ms + 5_000))
        return {item.kind for item in items if isinstance(item, Frame)} & custom

    session.receive(first(venue.tokens[:2]), 0)
    assert kinds() == set()
    session.receive(operation("subscribe", venue.tokens[2:3], custom_feature_enabled=True), 0)
    assert kinds() == {"best_bid_ask", "new_market"}
    session.receive(operation("unsubscribe", venue.tokens[2:3]), 0)
    assert kinds() == {"best_bid_ask", "new_market"}
    session.receive(operation("subscribe", venue.tokens[:1]), 0)
    assert kinds() == set()


def test_more_than_500_tokens_in_a_frame_get_no_snapshot_but_updates() -> None:
    venue = exchange(markets=251, flow=FlowConfig(rate=0.1, density=0.05))
    session = Session(venue)
    assert session.receive(first(venue.tokens), 0) == []
    assert session.outgoing(venue.step(venue.now_ms + 1_000))
    assert len(Session(venue).receive(first(venue.tokens[:500]), 0)) == 1


def test_the_dump_can_be_declined() -> None:
    venue = exchange()
    assert Session(venue).receive(first(venue.tokens, initial_dump=False), 0) == []


def test_the_connection_is_closed_when_all_its_markets_are_resolved() -> None:
    venue = exchange(resolve_delay_ms=10)
    sessions = Session(venue), Session(venue)
    sessions[0].receive(first(venue.tokens[:2]), 0)
    sessions[1].receive(first(venue.tokens), 0)
    venue.settle(venue.slugs[0])
    frames = venue.step(venue.now_ms + 1_000)
    assert sessions[0].outgoing(frames)[-1] == Close(1000, "all subscribed assets resolved")
    assert not any(isinstance(item, Close) for item in sessions[1].outgoing(frames))
    venue.settle()
    assert sessions[1].outgoing(venue.step(venue.now_ms + 1_000))[-1] == Close(1000, "all subscribed assets resolved")

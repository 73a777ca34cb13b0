"""The exchange's frames, judged by a client that shares no code with it, and its memory of the truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from polymirror.errors import ConfigError, UnknownToken
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Session
from polymirror.simulator.exchange.history import digest
from polymirror.simulator.frames import Frame
from tests.simulator.naive import NaiveClient
from tests.simulator.statistics_of_flow import describe

if TYPE_CHECKING:
    from pathlib import Path

PUNCTUAL: dict[str, Any] = {"late_trade_price": False, "late_tick_size": False, "hash_one_change_late": 0.0}
RESTLESS = FlowConfig(rate=60.0, volatility=0.03, trade_share=0.05, delete_share=0.05)
NEAR_THE_EDGE = FlowConfig(rate=30.0, fair=0.95, volatility=0.02, trade_share=0.05)
THIN = FlowConfig(rate=5.0, density=0.1, delete_share=0.3, trade_share=0.1, volatility=0.02)


def subscribed(exchange: Exchange, client: NaiveClient) -> Session:
    session = Session(exchange)
    text = json.dumps({"assets_ids": list(exchange.tokens), "type": "market", "custom_feature_enabled": True})
    for item in session.receive(text, exchange.now_ms):
        assert isinstance(item, Frame)
        client.feed(item.text)
    return session


def run(exchange: Exchange, seconds: float, *, stride_ms: int = 1) -> list[Frame]:
    end = exchange.now_ms + int(seconds * 1000)
    frames: list[Frame] = []
    while (at := exchange.next_event_ms()) is not None and at <= end:
        frames += exchange.step(at + stride_ms - 1)
    return frames


def follow(exchange: Exchange, seconds: float) -> NaiveClient:
    client = NaiveClient()
    session = subscribed(exchange, client)
    for item in session.outgoing(run(exchange, seconds)):
        if isinstance(item, Frame):
            client.feed(item.text)
    client.finish()
    return client


@pytest.mark.parametrize(
    "flow", [RESTLESS, NEAR_THE_EDGE, THIN, FlowConfig()], ids=["restless", "edge", "thin", "usual"]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_without_delays_every_hash_top_and_complement_is_right_at_the_end_of_every_batch(
    flow: FlowConfig, seed: int
) -> None:
    exchange = Exchange(ExchangeConfig(seed=seed, markets=2, flow=flow, settle_after_ms=9_000, **PUNCTUAL))
    seen = follow(exchange, 12).seen
    assert seen["hash_right"] == seen["hash"] > 100
    assert seen["top_right"] == seen["top"] > 100
    assert seen["complement_right"] == seen["complement"] > 50
    assert seen["resent_equal"] == seen["resent"]
    assert seen["crossed"] == 0
    assert seen["market_resolved"] == 2


def test_no_batch_ends_crossed_even_when_prices_jump() -> None:
    flow = FlowConfig(rate=20.0, density=0.05, volatility=0.4, delete_share=0.5, burst_share=1.0)
    seen = follow(Exchange(ExchangeConfig(seed=7, markets=3, flow=flow)), 20).seen
    assert seen["crossed"] == 0
    assert seen["complement"] > 1_000


def test_the_rest_book_has_the_time_and_the_hash_of_the_last_change() -> None:
    exchange = Exchange(ExchangeConfig(seed=7, flow=FlowConfig(rate=20.0), **PUNCTUAL))
    changes = [json.loads(f.text) for f in run(exchange, 2) if f.kind == "price_change"]
    claims = {change["asset_id"]: change["hash"] for change in changes[-1]["price_changes"]}
    for token in exchange.tokens:
        book = json.loads(exchange.rest_book(token) or "")
        assert (book["timestamp"], book["hash"]) == (changes[-1]["timestamp"], claims[token])


def test_a_finer_tick_is_announced_for_both_tokens_when_the_price_passes_96_cents() -> None:
    exchange = Exchange(ExchangeConfig(seed=1, flow=FlowConfig(rate=30.0, fair=0.98, volatility=0.005), **PUNCTUAL))
    assert exchange.markets[0].tick_text == "0.01"
    events = [json.loads(frame.text) for frame in run(exchange, 20) if frame.kind == "tick_size_change"]
    assert {event["asset_id"] for event in events} == set(exchange.tokens)
    assert {(e["old_tick_size"], e["new_tick_size"]) for e in events} == {("0.01", "0.001")}
    assert len(events) in {2, 4}
    assert exchange.markets[0].tick_text == "0.001"


def test_with_the_venues_delays_almost_every_hash_is_right_and_the_top_always() -> None:
    seen = follow(Exchange(ExchangeConfig(seed=5, flow=FlowConfig(rate=200.0))), 10).seen
    assert seen["top_right"] == seen["top"] > 1_000
    assert seen["complement_right"] == seen["complement"]
    assert 0.9 * seen["hash"] < seen["hash_right"] < seen["hash"]


def test_a_hash_that_is_one_change_late_is_the_next_books_hash_at_its_own_timestamp() -> None:
    flow = FlowConfig(rate=50.0, trade_share=0.0, burst_share=0.0, volatility=0.0)
    exchange = Exchange(ExchangeConfig(seed=2, flow=flow, hash_one_change_late=0.2))
    market = exchange.markets[0]
    stated: list[tuple[int, str]] = []
    late = 0
    for _ in range(400):
        at = exchange.next_event_ms()
        assert at is not None
        for frame in exchange.step(at):
            if frame.kind == "price_change" and frame.market == market.condition_id:
                change = next(c for c in json.loads(frame.text)["price_changes"] if c["asset_id"] == market.tokens[0])
                if stated and stated[-1][0] < frame.at_ms and stated[-1][1]:
                    late += market.book_hash(0, stated[-1][0]) == stated[-1][1]
                right = market.book_hash(0, frame.at_ms) == change["hash"]
                stated.append((frame.at_ms, "" if right else change["hash"]))
    wrong = sum(1 for _, text in stated if text)
    assert wrong > 20
    assert late in {wrong, wrong - 1}


def test_the_trade_price_is_in_the_hash_before_it_is_announced() -> None:
    exchange = Exchange(ExchangeConfig(seed=4, flow=FlowConfig(rate=50.0, trade_share=0.3)))
    frames = run(exchange, 10)
    books = [frame.at_ms for frame in frames if frame.kind == "book"][::2]
    prints = [frame.at_ms for frame in frames if frame.kind == "last_trade_price"]
    assert len(prints) > 20
    for printed in prints:
        traded = max(at for at in books if at <= printed)
        assert min(printed - at for at in books if at <= printed) <= 30
        assert traded <= printed
    assert any(printed not in books for printed in prints)


def test_a_trade_sends_the_change_and_then_both_full_books_in_one_millisecond() -> None:
    exchange = Exchange(ExchangeConfig(seed=4, flow=FlowConfig(rate=20.0, trade_share=1.0, volatility=0.0), **PUNCTUAL))
    exchange.step(exchange.now_ms + 2_000)
    at = exchange.next_event_ms()
    while at is not None:
        frames = [f for f in exchange.step(at) if f.kind in {"price_change", "book", "last_trade_price"}]
        if any(f.kind == "book" for f in frames):
            break
        at = exchange.next_event_ms()
    assert [f.kind for f in frames] == ["last_trade_price", "price_change", "book", "book"]
    assert len({f.at_ms for f in frames}) == 1
    assert list(json.loads(frames[2].text)) == [
        "market", "asset_id", "bids", "asks", "hash", "timestamp", "event_type",
    ]  # fmt: skip


def test_a_burst_states_its_end_in_every_message() -> None:
    exchange = Exchange(ExchangeConfig(seed=6, flow=FlowConfig(rate=50.0, burst_share=1.0), **PUNCTUAL))
    frames = [f for f in run(exchange, 5) if f.kind == "price_change"]
    bursts: dict[int, list[Any]] = {}
    for frame in frames:
        bursts.setdefault(frame.at_ms, []).append(json.loads(frame.text)["price_changes"])
    several = [burst for burst in bursts.values() if len(burst) > 1]
    assert len(several) > 50
    for burst in several:
        claims = {(c["asset_id"], c["hash"], c["best_bid"], c["best_ask"]) for changes in burst for c in changes}
        assert len(claims) == 2


def test_the_same_seed_sends_the_same_bytes_whatever_the_steps() -> None:
    config = ExchangeConfig(seed=9, markets=3, flow=RESTLESS, settle_after_ms=3_000)
    one = [f.text for f in run(Exchange(config), 6)]
    other = [f.text for f in run(Exchange(config), 6, stride_ms=37)]
    assert one[: len(other)] == other[: len(one)]
    assert len(one) > 500
    assert [f.text for f in run(Exchange(ExchangeConfig(seed=10, markets=3, flow=RESTLESS)), 1)] != one


def test_the_simulated_flow_looks_like_the_recorded_one(corpus: Path) -> None:
    lines = (corpus / "ws" / "btc5m_dense_20260421.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    busiest = next(event["market"] for event in events if event["event_type"] == "last_trade_price")
    recorded = describe(events, busiest)
    exchange = Exchange(ExchangeConfig(seed=11, flow=FlowConfig.busy()))
    frames = (json.loads(frame.text) for frame in exchange.step(exchange.now_ms + 10_000))
    simulated = describe(frames, exchange.markets[0].condition_id)
    for share in ("touch", "edge", "buy_first", "single_batches", "deletes"):
        assert simulated[share] == pytest.approx(recorded[share], abs=0.08), share
    assert simulated["trades_per_change"] == pytest.approx(recorded["trades_per_change"], abs=0.006)
    assert simulated["books_per_trade"] == recorded["books_per_trade"] == 2
    assert simulated["largest_batch"] <= recorded["largest_batch"]
    assert simulated["levels"] == pytest.approx(recorded["levels"], rel=0.25)
    assert simulated["changes_a_second"] == pytest.approx(recorded["changes_a_second"], rel=0.25)


def test_frames_are_written_like_the_recorded_ones(corpus: Path) -> None:
    lines = (corpus / "ws" / "golden_frames.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = [json.loads(line)["frame"] for line in lines]
    exchange = Exchange(ExchangeConfig(seed=1, flow=FlowConfig(rate=100.0)))
    opening = exchange.opening_books(exchange.tokens)
    change = next(f.text for f in run(exchange, 2) if f.kind == "price_change")
    for mine, theirs in ((opening, recorded[0]), (change, recorded[1])):
        assert shape(mine) == shape(theirs)


def shape(text: str) -> tuple[list[str], list[str], bool, bool]:
    payload = json.loads(text)
    first = payload[0] if isinstance(payload, list) else payload
    inner = first.get("price_changes") or first["bids"]
    return list(first), list(inner[0]), ", " in text, text.endswith("\n")


def test_the_truth_is_remembered_from_the_moment_asked_for_and_no_longer() -> None:
    exchange = Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=20.0), history_ms=5_000))
    token = exchange.tokens[0]
    old = exchange.truth(token)
    start = exchange.now_ms
    assert exchange.was_digest_true(token, digest(*old), start)
    run(exchange, 3)
    new = exchange.truth(token)
    assert new != old
    assert exchange.was_digest_true(token, digest(*new), exchange.now_ms)
    assert exchange.was_digest_true(token, digest(*old), start)
    assert not exchange.was_digest_true(token, digest(*old), exchange.now_ms)
    run(exchange, 10)
    assert not exchange.was_digest_true(token, digest(*old), start)
    assert len(exchange.markets[0].history) < 5 * 20 * 3
    assert not exchange.was_digest_true(token, digest(*exchange.truth(exchange.tokens[1])), exchange.now_ms)


def test_every_message_makes_a_true_state_inside_a_batch_too() -> None:
    exchange = Exchange(ExchangeConfig(seed=8, flow=FlowConfig(rate=50.0, burst_share=1.0, volatility=0.02)))
    client = NaiveClient()
    session = subscribed(exchange, client)
    checked = 0
    while checked < 500:
        at = exchange.next_event_ms()
        assert at is not None
        for item in session.outgoing(exchange.step(at)):
            assert isinstance(item, Frame)
            client.feed(item.text)
            for token in exchange.tokens:
                assert exchange.was_digest_true(token, digest(*client.books[token].levels()), at)
            checked += 1
    bids, asks = exchange.truth(exchange.tokens[0])
    (price, size), *rest = bids
    assert not exchange.was_digest_true(exchange.tokens[0], digest([(price, size + 1), *rest], asks), 0)
    assert not exchange.was_digest_true(exchange.tokens[0], digest(asks, bids), 0)


def test_a_caller_may_sum_levels_once_and_ask_by_the_digest() -> None:
    exchange = Exchange(ExchangeConfig(flow=FlowConfig.thin()))
    token = exchange.tokens[1]
    assert exchange.was_digest_true(token, digest(*exchange.truth(token)), exchange.now_ms)
    # Nobody ever saw the book empty or half full, not even at the start.
    assert not exchange.was_digest_true(token, (0, 0), 0)
    bids, _ = exchange.truth(token)
    assert not exchange.was_digest_true(token, digest(bids, ()), 0)
    assert len(exchange.markets[0].history) == 0


def test_truth_is_best_first_and_uncrossed() -> None:
    exchange = Exchange(ExchangeConfig(seed=3, flow=FlowConfig(fair=0.5)))
    bids, asks = exchange.truth(exchange.tokens[0])
    assert list(bids) == sorted(bids, reverse=True)
    assert list(asks) == sorted(asks)
    assert bids[0][0] < asks[0][0]
    assert 40 <= len(bids) <= 60
    assert 40 <= len(asks) <= 60


def test_settlement_empties_the_books_then_resolves_and_removes_them() -> None:
    exchange = Exchange(ExchangeConfig(seed=1, settle_after_ms=1_000, resolve_delay_ms=500))
    token = exchange.tokens[0]
    start = exchange.now_ms
    frames = exchange.step(start + 1_200)
    last = json.loads([f for f in frames if f.kind == "price_change"][-1].text)
    assert {(c["size"], c["best_bid"], c["best_ask"]) for c in last["price_changes"]} == {("0", "0", "1")}
    assert exchange.truth(token) == ((), ())
    assert exchange.rest_book(token) is not None
    frames = exchange.step(start + 3_000)
    assert exchange.is_resolved(token)
    assert exchange.rest_book(token) is None
    assert exchange.opening_books(exchange.tokens) == "[]\n"
    resolved = json.loads(next(f.text for f in frames if f.kind == "market_resolved"))
    assert resolved["winning_asset_id"] in exchange.tokens
    assert [f for f in exchange.step(start + 60_000) if f.market == exchange.markets[0].condition_id] == []


def test_time_never_runs_backwards() -> None:
    exchange = Exchange()
    exchange.step(exchange.now_ms + 1_000)
    now = exchange.now_ms
    assert exchange.step(now - 500) == []
    assert exchange.now_ms == now


def test_an_unknown_token_has_no_truth() -> None:
    exchange = Exchange()
    with pytest.raises(UnknownToken):
        exchange.truth("1")
    assert exchange.rest_book("1") is None
    assert not exchange.knows("1")


@pytest.mark.parametrize(
    "make",
    [
        lambda: FlowConfig(rate=0),
        lambda: FlowConfig(fair=1.5),
        lambda: ExchangeConfig(markets=0),
        lambda: ExchangeConfig(markets=True),
        lambda: ExchangeConfig(settle_after_ms=-1),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()

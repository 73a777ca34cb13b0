"""Each fault of the venue and of its markets does what it says, for as long as it says."""

from __future__ import annotations

import json
from hashlib import sha1
from itertools import pairwise

import pytest

from polymirror.simulator import Ending, Exchange, ExchangeConfig, FlowConfig, Plan
from polymirror.simulator.exchange.history import digest
from polymirror.simulator.frames import Call, Close, Frame
from polymirror.simulator.surface.rest import Desk
from tests.simulator.fault_rig import Rig, client_of, frames, rig

PUNCTUAL = {"late_trade_price": False, "late_tick_size": False, "hash_one_change_late": 0.0}


def stop(venue: Rig) -> None:
    venue.line.faults[0].plan = Plan(share=0.0)


def seconds_between(venue: Rig) -> list[float]:
    stamps = [frame.at_ms for frame in frames(venue.sent, "price_change")]
    return [(after - before) / 1000 for before, after in pairwise(stamps)]


def test_an_engine_restart_stops_the_stream_and_the_books_then_trades_only_later() -> None:
    venue = rig("engine_restart", Plan(length_ms=12_000)).run(5.5)
    assert venue.line.injected == {"engine_restart": 1}
    answers = []
    for _ in range(11):
        answers.append(venue.call().status)
        venue.run(1)
    assert answers == [425] * 6 + [503] * 5
    assert [f.text for f in frames(venue.say("PING"))] == ["PONG"]
    stop(venue)
    venue.run(2)
    assert venue.call().status == 200
    assert 12 < max(seconds_between(venue)) < 13.1
    resumed = venue.exchange.paused_until_ms
    assert venue.exchange.post_only_until_ms == resumed + 2_000
    venue.run(10)
    prints = [f.at_ms for f in frames(venue.sent, "last_trade_price") if f.at_ms > resumed]
    assert prints
    assert min(prints) >= resumed + 2_000
    seen = client_of(venue.arrived).seen
    assert seen["top_right"] == seen["top"]


def test_a_hash_dialect_is_spoken_by_stream_and_calls_alike_and_ends() -> None:
    venue = rig("hash_dialect", Plan(length_ms=4_500), **PUNCTUAL).run(4.9)
    ten = client_of(venue.arrived).seen
    assert ten["hash_right"] == ten["hash"]
    venue.run(1)
    assert venue.line.injected == {"hash_dialect": 1}
    keys = venue.exchange.markets[0].hashed_keys
    assert keys in {6, 9}
    stop(venue)
    for book in venue.books():
        assert len(book) == 10
        hashed = dict(list((book | {"hash": ""}).items())[:keys])
        text = json.dumps(hashed, separators=(",", ":"))
        assert sha1(text.encode(), usedforsecurity=False).hexdigest() == book["hash"]
    venue.run(1)
    last = frames(venue.sent, "price_change")[-1]
    claims = {change["asset_id"]: change["hash"] for change in json.loads(last.text)["price_changes"]}
    assert any(book["hash"] == claims.get(book["asset_id"]) for book in venue.books())
    venue.run(4)
    assert venue.exchange.markets[0].hashed_keys == 10
    again = client_of([*venue.arrived[:1], *frames(venue.arrived[1:])]).seen
    assert ten["hash"] < again["hash_right"] < again["hash"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_clock_step_shifts_every_timestamp_and_keeps_the_truth(seed: int) -> None:
    venue = rig("clock_step", Plan(length_ms=2_000), seed=seed, **PUNCTUAL).run(5.5)
    offset = venue.exchange.clock_offset_ms
    assert venue.line.injected == {"clock_step": 1}
    assert 0 < abs(offset) <= 1_000
    venue.run(2)
    time = json.loads(Desk(venue.exchange).answer(Call("GET", "/time", {})).body)
    assert time == (venue.now + offset) // 1000
    for item, at in list(zip(venue.arrived, venue.times, strict=True))[-50:]:
        assert isinstance(item, Frame)
        assert int(json.loads(item.text)["timestamp"]) - at == offset
    client = client_of(venue.arrived)
    assert client.seen["hash_right"] == client.seen["hash"]
    for token in venue.exchange.tokens:
        assert venue.exchange.was_digest_true(token, digest(*client.books[token].levels()), venue.now)


def test_a_clock_skew_is_in_the_stated_time_only_and_steady_while_it_lasts() -> None:
    venue = rig("clock_skew", Plan(length_ms=3_000))

    def skew() -> int:
        call = Call("GET", "/time", {})
        answer = venue.line.answer(call, Desk(venue.exchange).answer(call), venue.now)
        return int(answer.body) - venue.now // 1000

    skews = set()
    for _ in range(5):
        skews.add(skew())
        venue.run(0.5)
    assert len(skews) == 1
    assert 0 < abs(skews.pop()) <= 5
    assert venue.line.injected == {"clock_skew": 1}
    stop(venue)
    venue.run(1)
    assert skew() == 0
    assert all(abs(int(book["timestamp"]) - venue.now) < 2_000 for book in venue.books())


def ticks(venue: Rig) -> list[tuple[str, str, str]]:
    events = [json.loads(frame.text) for frame in frames(venue.arrived, "tick_size_change")]
    return [(event["asset_id"], event["old_tick_size"], event["new_tick_size"]) for event in events]


CALM = FlowConfig(rate=25.0, fair=0.5, volatility=0.001)


def test_a_tick_change_is_announced_for_both_tokens_once_or_twice_or_not_at_all() -> None:
    for fault_id, times in (("tick_change", 1), ("tick_change_repeated", 2), ("tick_change_unannounced", 0)):
        venue = rig(fault_id, Plan(), flow=CALM, **PUNCTUAL).run(5.5)
        assert venue.line.injected == {fault_id: 2}
        assert {market.tick_text for market in venue.exchange.markets} == {"0.001"}
        assert sorted(ticks(venue)) == sorted([(t, "0.01", "0.001") for t in venue.exchange.tokens] * times)
        seen = client_of(venue.run(1).arrived).seen
        assert (seen["hash_right"] == seen["hash"]) == bool(times)
        # There are two finer grids; afterwards it cannot happen any more.
        venue.run(15)
        assert venue.line.injected == {fault_id: 4}
        assert {book["tick_size"] for book in venue.books()} == {"0.0001"}


def test_a_tick_event_without_a_change_names_the_tick_in_force() -> None:
    venue = rig("tick_change_without_change", Plan(), flow=CALM, **PUNCTUAL).run(5.5)
    assert sorted(ticks(venue)) == sorted((t, "0.01", "0.01") for t in venue.exchange.tokens)
    assert venue.line.injected == {"tick_change_without_change": 2}
    seen = client_of(venue.arrived).seen
    assert seen["hash_right"] == seen["hash"]


@pytest.mark.parametrize(
    ("fault_id", "emptied", "announced", "closed"),
    [
        ("settlement", True, True, True),
        ("settlement_unannounced", True, False, True),
        ("settlement_late", True, True, True),
        ("settlement_unclosed", True, True, False),
        ("settlement_silent", False, False, False),
    ],
)
def test_a_settlement_ends_as_its_variant_says(fault_id: str, *, emptied: bool, announced: bool, closed: bool) -> None:
    venue = rig(fault_id, Plan(length_ms=1_000)).run(5.2)
    assert venue.line.injected == {fault_id: 2}
    truths = [venue.exchange.truth(token) for token in venue.exchange.tokens]
    assert [truth == ((), ()) for truth in truths] == [emptied] * 4
    at_once = fault_id == "settlement_late"
    assert (venue.call().status, len(venue.books())) == ((404, 0) if at_once else (200, 4))
    assert not frames(venue.arrived, "market_resolved")
    venue.run(2)
    assert (venue.call().status, venue.books()) == (404, [])
    assert len(frames(venue.arrived, "market_resolved")) == 2 * announced
    ends = Close(1000, "all subscribed assets resolved")
    assert (venue.arrived[-1] == ends) == closed
    assert venue.line.injected == {fault_id: 2}
    if not closed:
        assert [f.text for f in frames(venue.say("PING"))] == ["PONG"]


def test_a_plan_about_a_token_settles_its_market_only() -> None:
    token = Exchange(ExchangeConfig(seed=1, markets=2)).tokens[3]
    venue = rig("settlement", Plan(tokens=frozenset({token}), length_ms=10)).run(6)
    assert [venue.exchange.is_resolved(t) for t in venue.exchange.tokens] == [False, False, True, True]
    assert venue.line.injected == {"settlement": 1}


def test_a_market_may_be_told_how_to_end_and_ends_once() -> None:
    exchange = Exchange(ExchangeConfig(seed=1))
    exchange.settle(ending=Ending(empties=False, resolve_delay_ms=50, announced=False))
    exchange.settle()
    sent = exchange.step(exchange.now_ms + 10_000)
    assert exchange.is_resolved(exchange.tokens[0])
    assert exchange.is_over(exchange.tokens[0])
    assert {frame.kind for frame in sent} <= {"new_market"}
    assert exchange.truth(exchange.tokens[0]) != ((), ())


def test_the_faults_of_a_venue_strike_each_exchange_they_are_attached_to_once() -> None:
    venue = rig("tick_change", Plan())
    venue.line.attach(venue.exchange)
    venue.run(5.5)
    assert venue.line.injected == {"tick_change": 2}
    venue.line.attach(Exchange(ExchangeConfig(seed=2, markets=2)))
    assert venue.line.faults[0].exchange is not venue.exchange

"""Faults that alter, repeat or replay what the venue said, and those that make one of two tokens differ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from polymirror.simulator import Plan
from polymirror.simulator.exchange.history import digest
from polymirror.simulator.faults.replay import ReplayedConnection
from polymirror.simulator.faults.rest import plain_hash
from polymirror.simulator.frames import Call, Close
from polymirror.simulator.surface.rest import Desk
from tests.simulator.fault_rig import Rig, client_of, frames, levels, rig

if TYPE_CHECKING:
    from polymirror.simulator.frames import Item

PUNCTUAL = {"late_trade_price": False, "late_tick_size": False, "hash_one_change_late": 0.0}
TICKS = {"0.1", "0.01", "0.001", "0.0001"}


def stop(venue: Rig) -> None:
    venue.line.faults[0].plan = Plan(share=0.0)


def books_of(items: list[Item]) -> list[dict[str, Any]]:
    payloads = [json.loads(frame.text) for frame in frames(items, "opening", "book")]
    return [book for payload in payloads for book in (payload if isinstance(payload, list) else [payload])]


def test_altered_levels_keep_the_hash_of_what_they_were() -> None:
    venue = rig("altered_levels", Plan(share=0.3)).run(6)
    assert venue.line.injected["altered_levels"] > 5
    pairs = list(zip(books_of(venue.sent), books_of(venue.arrived), strict=True))
    altered = [(was, now) for was, now in pairs if was != now]
    assert len(altered) == venue.line.injected["altered_levels"]
    for was, now in altered:
        assert levels(was) != levels(now)
        assert was | {"bids": 0, "asks": 0} == now | {"bids": 0, "asks": 0}
    venue.line.faults[0].plan = Plan(share=1.0)
    wrong = [book for book in venue.books() if plain_hash(book) != book["hash"]]
    assert len(wrong) == 1


def test_an_altered_tick_is_in_opening_books_answers_and_events() -> None:
    venue = rig(["altered_tick", "tick_change"], Plan(share=1.0)).run(5.5)
    pairs = list(zip(books_of(venue.sent)[:4], books_of(venue.arrived)[:4], strict=True))
    assert sum(was["tick_size"] != now["tick_size"] for was, now in pairs) == 1
    events = [json.loads(frame.text) for frame in frames(venue.arrived, "tick_size_change")]
    assert events
    assert {event["new_tick_size"] for event in events} <= TICKS - {"0.001"}
    told = [book["tick_size"] for book in venue.books()]
    assert sum(tick != "0.001" for tick in told) == 1


def test_a_late_duplicate_is_a_book_that_was_sent_before_and_sometimes_has_a_wrong_hash() -> None:
    venue = rig("late_duplicate_book", Plan(share=0.5, length_ms=3_000)).run(10)
    sent = [json.loads(frame.text) for frame in frames(venue.sent, "book")]
    arrived = [json.loads(frame.text) for frame in frames(venue.arrived, "book")]
    again = len(arrived) - len(sent)
    assert again > 5
    known = {json.dumps(book) for book in sent}
    wrong = [book for book in arrived if json.dumps(book) not in known]
    assert 0 < len(wrong) < again
    assert all(json.dumps(book | {"hash": ""}) in {json.dumps(b | {"hash": ""}) for b in sent} for book in wrong)


def test_a_message_from_the_future_is_one_message_and_its_hash_may_fit() -> None:
    venue = rig("future_stamp", Plan(share=0.05), **PUNCTUAL).run(10)
    ahead = [
        int(json.loads(now.text)["timestamp"]) - int(json.loads(was.text)["timestamp"])
        for was, now in zip(frames(venue.sent), frames(venue.arrived), strict=True)
        if was != now
    ]
    assert len(ahead) == venue.line.injected["future_stamp"] > 10
    assert all(2_000 <= by <= 3_600_000 for by in ahead)
    seen = client_of(venue.arrived).seen
    assert 0 < seen["hash"] - seen["hash_right"] < 4 * len(ahead)


def test_one_token_of_a_market_loses_a_level_without_a_word_and_gets_it_back() -> None:
    venue = rig("asymmetric_market", Plan(length_ms=2_000), **PUNCTUAL).run(5)
    assert venue.line.injected == {"asymmetric_market": 2}
    stop(venue)

    def broken() -> list[bool]:
        truths = [venue.exchange.truth(token) for token in venue.exchange.tokens]
        mirrored = [tuple((10_000 - price, size) for price, size in side) for _, side in truths]
        return [truths[i][0] != mirrored[i + 1] or truths[i + 1][0] != mirrored[i] for i in (0, 2)]

    assert broken() == [True, True]
    # A message about a change says nothing of the level that is gone, but its hash is over what is left.
    client = client_of(venue.run(1).arrived)
    assert client.seen["hash_right"] < client.seen["hash"]
    assert all(plain_hash(book) == book["hash"] for book in venue.books())
    venue.run(1.5)
    assert broken() == [False, False]


def test_a_lagging_market_is_late_in_order_and_whole_while_its_neighbour_is_on_time() -> None:
    plan = Plan(share=1.0, length_ms=8_000, end_ms=0)
    venue = rig("lagging_market", plan).run(1)
    venue.line.faults[0].plan = Plan(share=1.0, length_ms=8_000, start_ms=venue.now, end_ms=venue.now + 100)
    venue.run(7.5)
    assert venue.line.injected == {"lagging_market": 1}
    late: dict[str, int] = {}
    for item, at in zip(frames(venue.arrived, "price_change"), times(venue, "price_change"), strict=True):
        late[item.market] = max(late.get(item.market, 0), at - item.at_ms)
    assert min(late.values()) == 0
    assert sorted(late.values())[1] > 2_000
    venue.run(1)
    for market in late:
        sent, arrived = (
            [f for f in frames(items, "price_change") if f.market == market] for items in (venue.sent, venue.arrived)
        )
        assert sent == arrived


def times(venue: Rig, kind: str) -> list[int]:
    return [at for item, at in zip(venue.arrived, venue.times, strict=True) if item.kind == kind]


def test_a_close_that_lies_names_a_settlement_with_any_code_while_markets_trade() -> None:
    closes = set()
    for seed in range(12):
        venue = rig("lying_close", Plan(), seed=seed).run(1)
        end = venue.arrived[-1]
        assert isinstance(end, Close)
        assert end.reason == "all subscribed assets resolved"
        assert not any(venue.exchange.is_resolved(token) for token in venue.exchange.tokens)
        closes.add(end.code)
    assert len(closes) > 3


def test_time_is_never_told_and_nothing_else_is_missing() -> None:
    venue = rig("no_time", Plan())
    call = Call("GET", "/time", {})
    assert venue.line.answer(call, Desk(venue.exchange).answer(call), venue.now).hangs
    assert len(venue.books()) == 4
    assert venue.run(2).arrived == venue.sent


def test_in_a_restart_calls_answer_with_nothing_or_with_what_nobody_asked_for() -> None:
    venue = rig("rest_empty_list", Plan(length_ms=5_000)).run(5.5)
    asked = venue.exchange.tokens[0]
    answers = [json.loads(venue.call("/books", [asked]).body) for _ in range(40)]
    assert [] in answers
    others = [book["asset_id"] for answer in answers for book in answer]
    assert others
    assert asked not in others
    stop(venue)
    venue.run(5)
    assert [book["asset_id"] for book in json.loads(venue.call("/books", [asked]).body)] == [asked]


def test_one_opening_book_is_missing_and_the_other_came() -> None:
    venue = rig("lost_opening_one_token", Plan())
    assert len(books_of(venue.sent)) == 4
    assert len(books_of(venue.arrived)) == 3
    assert venue.run(1).arrived[1:] == venue.sent[1:]


def test_stale_openings_are_books_of_some_seconds_ago_of_one_token_or_both() -> None:
    changed = set()
    for seed in range(8):
        venue = rig("stale_opening", Plan(length_ms=3_000), seed=seed).run(6)
        sent, arrived = len(venue.sent), len(venue.arrived)
        venue.connect()
        [fresh], [stale] = venue.sent[sent:], venue.arrived[arrived:]
        pairs = list(zip(books_of([fresh]), books_of([stale]), strict=True))
        old = [now for was, now in pairs if was != now]
        changed.add(len(old))
        for book in old:
            stamp = int(book["timestamp"])
            assert venue.now - 3_600 <= stamp < venue.now - 1_000
            assert venue.exchange.was_digest_true(book["asset_id"], digest(*levels(book)), stamp)
            assert not venue.is_true(book, venue.now - 1_000)
    assert changed <= {2, 3, 4}
    assert len(changed) > 1


@pytest.mark.slow
def test_a_replayed_connection_shows_the_past_with_new_stamps_and_hashes_that_fit() -> None:
    rest = set()
    for seed in range(6):
        venue = rig("replayed_connection", Plan(length_ms=4_000), seed=seed, **PUNCTUAL).run(5)
        before = client_of(venue.arrived)
        assert before.seen["hash_right"] == before.seen["hash"]
        first = len(venue.arrived)
        began = venue.now
        venue.connect()
        venue.run(3)
        assert venue.line.injected == {"replayed_connection": 1}
        again = client_of(venue.arrived[first:])
        assert again.seen["hash"] > 50
        # The replayed prints are told after the books that contain them: those hashes fit the next price.
        assert again.seen["hash_right"] == pytest.approx(again.seen["hash"], rel=0.1)
        assert all(int(json.loads(f.text)["timestamp"]) >= began for f in frames(venue.arrived[first + 1 :]))
        held = {token: digest(*again.books[token].levels()) for token in venue.exchange.tokens}
        wrong = [token for token, state in held.items() if not venue.exchange.was_digest_true(token, state, began)]
        assert wrong
        (fault,) = venue.line.faults
        assert isinstance(fault, ReplayedConnection)
        assert all(fault.replays[token][-1].shows(token, state) for token, state in held.items())
        nothing = digest((), ())
        assert not any(fault.replays[token][-1].shows(token, nothing) for token in held)
        shown = {book["asset_id"]: tuple(map(set, levels(book))) for book in venue.books()}
        rest.add(all(shown[token] == tuple(map(set, again.books[token].levels())) for token in wrong))
        assert all(plain_hash(book) == book["hash"] for book in venue.books())
        venue.run(2)
        assert venue.arrived[-1] == venue.sent[-1]
    assert rest == {True, False}

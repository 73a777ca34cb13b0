"""Each fault of the calls for books does what it says to the answers, and nothing else."""

from __future__ import annotations

import json

import pytest

from polymirror.simulator import Exchange, ExchangeConfig, Plan
from polymirror.simulator.exchange.history import digest
from polymirror.simulator.frames import Answer, Call
from polymirror.simulator.surface.rest import Desk
from tests.simulator.fault_rig import FLOW, Rig, frames, levels, rig
from tests.simulator.naive import Book, plain_hash

TOKENS = Exchange(ExchangeConfig(seed=1, markets=2, flow=FLOW)).tokens

INSTEAD = {
    "rest_425": {(425, "application/json", ())},
    "rest_429": {(429, "application/json", ())},
    "rest_429_retry_after": {(429, "application/json", (("Retry-After", "1"),))},
    "rest_503": {(503, "application/json", ()), (503, "text/html", ())},
    "rest_html": {(200, "text/html", ()), (502, "text/html", ())},
}


@pytest.mark.parametrize("fault_id", sorted(INSTEAD))
def test_whole_answers_are_replaced_for_both_calls_for_books_and_for_nothing_else(fault_id: str) -> None:
    venue = rig(fault_id, Plan())
    answers = [venue.call(path) for path in ("/book", "/books") for _ in range(20)]
    assert {(a.status, a.content_type, a.headers) for a in answers} == INSTEAD[fault_id]
    assert venue.line.injected == {fault_id: 40}
    for path in ("/time", "/price", "/tick-size"):
        assert venue.line.answer(Call("GET", path, {}), Answer(200, "1"), venue.now) == Answer(200, "1")
    assert venue.line.injected == {fault_id: 40}


@pytest.mark.parametrize(
    "fault_id", [*sorted(INSTEAD), "rest_hanging", "rest_truncated", "rest_404", "rest_ghost_book"]
)
def test_a_plan_about_a_token_touches_the_calls_for_it_only(fault_id: str) -> None:
    venue = rig(fault_id, Plan(tokens=frozenset({TOKENS[1]})))
    good = rig([])
    assert venue.call("/book", [TOKENS[0]]) == good.call("/book", [TOKENS[0]])
    assert venue.call("/books", [TOKENS[0], TOKENS[2]]) == good.call("/books", [TOKENS[0], TOKENS[2]])
    assert venue.line.injected == {fault_id: 0}
    assert venue.call("/book", [TOKENS[1]]) != good.call("/book", [TOKENS[1]])
    assert venue.call("/books") != good.call("/books")
    assert venue.line.injected == {fault_id: 2}


def test_a_hanging_call_has_no_answer_and_a_truncated_body_is_no_json() -> None:
    venue = rig("rest_hanging", Plan(share=0.5))
    assert sum(venue.call().hangs for _ in range(100)) == venue.line.injected["rest_hanging"] > 20
    venue = rig("rest_truncated", Plan())
    whole = rig([]).call("/books").body
    for _ in range(20):
        answer = venue.call("/books")
        assert answer.status == 200
        assert whole.startswith(answer.body)
        with pytest.raises(ValueError, match=r"."):
            json.loads(answer.body)
    assert venue.line.injected["rest_truncated"] == 20


def test_a_live_token_is_missing() -> None:
    venue = rig("rest_404", Plan())
    assert venue.call().status == 404
    assert json.loads(venue.call().body) == {"error": "No orderbook exists for the requested token id"}
    assert len(venue.books()) == 3
    assert venue.line.injected["rest_404"] == 3
    assert venue.call("/book", ["12"]).status == 404
    assert venue.line.injected["rest_404"] == 3


def test_a_ghost_book_is_old_wide_and_has_its_own_right_hash() -> None:
    venue = rig("rest_ghost_book", Plan())
    truth = {book["asset_id"]: book for book in rig([]).books()}
    ghosts = [book for book in venue.books() if book != truth[book["asset_id"]]]
    [ghost] = ghosts
    assert list(ghost) == list(truth[ghost["asset_id"]])
    assert (ghost["bids"][0]["price"], ghost["asks"][0]["price"]) == ("0.01", "0.99")
    assert int(ghost["timestamp"]) == int(truth[ghost["asset_id"]]["timestamp"]) - 3_600_000
    book = Book({x["price"]: x["size"] for x in ghost["bids"]}, {x["price"]: x["size"] for x in ghost["asks"]})
    token, tick = ghost["asset_id"], ghost["tick_size"]
    assert ghost["hash"] == plain_hash(book, ghost["market"], token, ghost["timestamp"], tick, "")
    assert json.loads(venue.call().body)["bids"] == ghost["bids"]
    assert venue.line.injected["rest_ghost_book"] == 2


def was_true_at(venue: Rig, book: dict[str, object], at: int) -> bool:
    return venue.exchange.was_digest_true(str(book["asset_id"]), digest(*levels(book)), at)


def test_a_stale_book_is_the_same_old_state_for_its_whole_length_and_no_longer() -> None:
    venue = rig("rest_stale", Plan(length_ms=3_000))
    start = venue.now
    first = venue.books()
    assert venue.line.injected["rest_stale"] == 0
    venue.run(2.9)
    assert venue.books() == first
    assert venue.line.injected["rest_stale"] == len(TOKENS)
    assert all(was_true_at(venue, book, start) for book in first)
    assert not any(was_true_at(venue, book, venue.now) for book in first)
    assert json.loads(venue.call("/book", TOKENS[2:3]).body) == first[2]
    venue.run(0.2)
    assert all(was_true_at(venue, book, venue.now) for book in venue.books())
    assert venue.line.faults[0].max_delay_ms == 3_000


def test_a_book_behind_the_stream_lacks_only_its_newest_changes() -> None:
    venue = rig("rest_behind", Plan(share=0.2, length_ms=400))
    behind = 0
    for _ in range(60):
        venue.run(0.1)
        for book in venue.books():
            assert was_true_at(venue, book, venue.now - 400)
            behind += not was_true_at(venue, book, venue.now)
    assert venue.line.injected["rest_behind"] >= behind > 20
    assert venue.arrived == venue.sent


def test_while_the_stream_is_behind_an_answer_is_ahead_of_it() -> None:
    venue = rig("stream_behind_rest", Plan(share=1.0, length_ms=2_000)).run(1.9)
    assert {f.delay_ms for f in frames(venue.arrived, "price_change")} == {1_000}
    assert all(was_true_at(venue, book, venue.now) for book in venue.books())


def test_old_books_are_not_kept_for_more_than_the_tokens_there_are() -> None:
    for fault_id in ("rest_stale", "rest_behind"):
        venue = rig(fault_id, Plan(length_ms=100))
        for _ in range(20):
            venue.run(0.1)
            venue.books()
        assert len(venue.line.faults[0]._kept) <= len(TOKENS)  # type: ignore[attr-defined]


def test_discovery_fails_on_its_own_and_books_do_not() -> None:
    venue = rig("gamma_unavailable", Plan(share=1.0))
    call = Call("GET", f"/markets/slug/{venue.exchange.slugs[0]}", {})
    answers = [venue.line.answer(call, Desk(venue.exchange).answer(call), venue.now) for _ in range(30)]
    assert {(answer.status, answer.hangs) for answer in answers} == {(200, True), (503, False)}
    assert venue.call("/books").status == 200
    assert venue.line.injected == {"gamma_unavailable": 30}

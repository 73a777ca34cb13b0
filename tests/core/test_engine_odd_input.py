from __future__ import annotations

import pytest

from polymirror.core import harm as harm_module
from polymirror.core.states import BookState
from tests.core.builders import CONSTANTS, START, Exchange, Rig, assert_right, shown, truth


@pytest.mark.parametrize(
    "message",
    [
        {"event_type": "last_trade_price", "market": "0xother", "price": "0.4", "size": "1", "timestamp": str(START)},
        {"event_type": "tick_size_change", "market": "0xother", "new_tick_size": "0.001", "timestamp": str(START)},
        {"event_type": "market_resolved", "market": "0xother"},
        {"event_type": "new_market"}, {"event_type": "brand_new"}, [], {},
    ],
    ids=str,
)  # fmt: skip
def test_nothing_unknown_is_fatal_and_nothing_foreign_touches_our_books(rig, message):
    rig.send(message)
    rig.advance(1)
    assert rig.transitions == []
    assert rig.engine.counts["malformed"] == 0


def test_tokens_and_markets_that_are_not_ours_are_counted(rig, exchange):
    message = exchange.change("BUY", "0.46", "5")
    message["price_changes"].append(message["price_changes"][0] | {"asset_id": "99"})
    rig.send(message)
    rig.send(Exchange("0xother").change("BUY", "0.46", "5"))
    rig.send(exchange.book("11") | {"asset_id": "99"})
    rig.send(Exchange("0xother").opening())
    assert rig.engine.counts["untracked"] == 6
    assert_right(rig, exchange)


def test_a_book_of_another_markets_token_is_not_taken(exchange):
    other = Exchange("0xn", "33", "44")
    rig = Rig.live(exchange, other)
    rig.send(other.book("33") | {"market": "0xm", "bids": []})
    rig.send(exchange.message([exchange.entry("33", "0.48", "0", "BUY")]))
    rig.settle()
    assert rig.transitions == []
    assert_right(rig, other)


@pytest.mark.parametrize("frame", ["{garbage", b"\xff\xfe", "[1]", '[{"event_type":"book"}]'])
def test_garbage_that_may_concern_any_book_makes_all_of_its_socket_suspect(rig, exchange, frame):
    rig.send(frame)
    assert rig.path("11") == rig.path("22") == ["SUSPECT DECODE_ERROR"]
    assert rig.engine.counts["malformed"] == 1
    assert len(rig.warnings) == 1
    rig.answer()
    assert_right(rig, exchange)


def test_a_broken_message_of_one_market_leaves_the_others_alone(exchange):
    other = Exchange("0xn", "33", "44")
    rig = Rig.live(exchange, other)
    message = exchange.change("BUY", "0.46", "5")
    message["price_changes"][0]["price"] = "NaN"
    rig.send(message)
    assert rig.path("11") == rig.path("22") == ["SUSPECT DECODE_ERROR"]
    assert rig.path("33") == []
    assert rig.engine.malformed == {"price_change": 1}


def test_a_broken_message_without_a_market_touches_the_tokens_it_names(rig):
    rig.send({"event_type": "book", "asset_id": "11", "timestamp": "x"})
    assert rig.path("11") == ["SUSPECT DECODE_ERROR"]
    assert rig.path("22") == []


@pytest.mark.parametrize(
    "entry",
    [
        {"price": "-0.4"},
        {"price": "1"},
        {"size": "-1"},
        {"size": "NaN"},
        {"side": "HOLD"},
        {"price": 5},
        {"size": None},
    ],
    ids=str,
)
def test_a_bad_entry_never_shows_and_the_books_are_replaced_or_proven(rig, exchange, entry):
    before = truth(exchange, "11")
    message = exchange.change("BUY", "0.46", "5")
    message["price_changes"][1].update(entry)
    rig.send(message)
    assert rig.path("22") == ["SUSPECT DECODE_ERROR"]
    assert shown(rig.engine.peek("22", rig.now)) == truth(Exchange(), "22")
    assert before
    for _ in range(5):
        rig.answer()
        rig.advance(1.0)
    assert_right(rig, exchange)


def test_a_broken_trade_print_casts_no_doubt(rig):
    rig.send(
        {"event_type": "last_trade_price", "market": "0xm", "asset_id": "11", "price": "x", "timestamp": str(START)}
    )
    assert rig.engine.malformed == {"last_trade_price": 1}
    assert rig.transitions == []


def test_a_trade_price_that_was_announced_proves_the_next_hashes(rig, exchange):
    exchange.trade = "0.3333"
    rig.send({
        "event_type": "last_trade_price", "market": "0xm", "asset_id": "11", "price": "0.3333", "size": "1",
        "timestamp": str(START),
    })  # fmt: skip
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.settle()
    assert rig.live_view("11").settled


def test_a_book_of_too_many_levels_is_malformed(exchange):
    rig = Rig.live(exchange, max_levels=100)
    levels = [{"price": f"0.{n:04d}", "size": "1"} for n in range(1, 200)]
    rig.send(exchange.opening_book("11") | {"bids": levels})
    rig.settle()
    assert rig.path("11") == ["SUSPECT DECODE_ERROR"]


def test_a_frame_of_a_million_levels_is_refused_quickly_and_harms_no_view(exchange):
    rig = Rig.live(exchange)
    levels = ",".join(['{"price":"0.48","size":"5"}'] * 1_000_000)
    frame = f'{{"event_type":"book","market":"0xm","asset_id":"11","timestamp":"1","bids":[{levels}],"asks":[]}}'
    rig.send(frame)
    assert rig.path("11") == ["SUSPECT DECODE_ERROR"]
    rig.answer()
    assert_right(rig, exchange)


def test_a_first_book_that_cannot_be_is_malformed_and_another_is_waited_for(exchange):
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening_book("11") | {"bids": [{"price": "7", "size": "1"}]})
    assert rig.engine.malformed == {"book": 1}
    assert rig.state("11") is BookState.UNPRIMED
    rig.send(exchange.opening())
    assert_right(rig, exchange)


def test_no_more_kinds_are_counted_by_name_than_the_bound(rig):
    for n in range(3 * harm_module.MAX_KINDS):
        rig.send({"event_type": f"kind{n}"})
        rig.send({"event_type": [f"kind{n}"]})
    assert len(rig.engine.ignored) <= harm_module.MAX_KINDS + 1
    assert len(rig.engine.malformed) <= harm_module.MAX_KINDS + 1
    assert rig.engine.counts["ignored"] == rig.engine.counts["malformed"] == 3 * harm_module.MAX_KINDS


def test_text_replies_are_counted_by_name(rig):
    for reply in ("PONG", "PONG", "INVALID OPERATION", "NO NEW ASSETS", "", "[]"):
        rig.send(reply)
    assert rig.engine.ignored == {"PONG": 2, "INVALID OPERATION": 1, "NO NEW ASSETS": 1}
    assert rig.engine.frames == 1 + 6


def test_a_frame_with_many_unreadable_elements_doubts_the_socket_once(monkeypatch):
    doubts = []
    original = harm_module.suspect
    monkeypatch.setattr(harm_module, "suspect", lambda *args: (doubts.append(1), original(*args)))
    exchange = Exchange()
    rig = Rig.live(exchange)
    rig.send("[1, 2, 3]")
    assert rig.state("11") is BookState.SUSPECT
    assert rig.engine.counts["malformed"] == 3
    assert len(doubts) == 1
    rig.send("[4]")
    assert len(doubts) == 2

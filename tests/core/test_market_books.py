"""Whole books of the stream: sent again after a trade, or opening a subscription."""

from __future__ import annotations

import pytest

from polymirror.core.book import OrderBook
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState
from tests.core.builders import CONSTANTS, START, Rig, assert_right, shown, truth, unhashed


def test_a_re_sent_book_that_equals_ours_is_a_proof(rig, exchange):
    rig.send(unhashed(exchange.change("BUY", "0.46", "5")))
    for token in exchange.tokens:
        rig.send(exchange.book(token))
    rig.settle()
    assert rig.verdicts("book")["match"] == 4
    assert rig.live_view("11").settled
    assert_right(rig, exchange)


def test_a_re_sent_book_is_compared_when_its_batch_is_over(rig, exchange):
    message = exchange.change("BUY", "0.46", "5")
    rig.send(exchange.book("11"))
    rig.send(message)
    rig.settle()
    assert rig.transitions == []


def test_a_re_sent_book_alone_makes_a_batch(rig, exchange):
    exchange.at += 3
    rig.advance(1.0)
    rig.send(exchange.book("11"))
    rig.settle()
    assert rig.live_view("11").verified_age < 0.01


def test_a_re_sent_newer_book_that_differs_and_whose_hash_fits_is_adopted_without_a_new_epoch(rig, exchange):
    exchange.alter("BUY", "0.20", "9")
    rig.send(exchange.change("BUY", "0.46", "5"))
    for token in exchange.tokens:
        rig.send(exchange.book(token))
    rig.settle()
    assert rig.path("11") == []
    assert_right(rig, exchange)
    assert rig.live_view("11").epoch == 0
    assert rig.live_view("11").settled


def test_a_re_sent_book_with_a_wrong_hash_that_differs_is_not_believed(rig, exchange):
    rig.send(exchange.book("11", bids=[], timestamp=str(START + 5)))
    rig.settle()
    assert rig.transitions == []
    assert rig.answer() == 1
    rig.advance(2)
    assert_right(rig, exchange)


def test_an_older_re_sent_book_says_nothing(rig, exchange):
    old = exchange.book("11")
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.settle()
    rig.send(old)
    rig.settle()
    assert rig.transitions == []
    assert rig.verdicts("book")["behind"] == 1


def test_a_re_sent_book_with_our_hash_proves_ours_and_its_levels_are_not_read(rig, exchange, monkeypatch):
    rig.advance(0.1)
    exchange.at += 1
    monkeypatch.setattr(OrderBook, "of", lambda *_: pytest.fail("its levels were read"))
    before = rig.verdicts("hash").get("match", 0)
    rig.send(exchange.book("11"))
    assert rig.verdicts("book")["match"] == 3, "two opening books and this one"
    assert rig.verdicts("hash")["match"] == before + 1
    assert rig.live_view("11").last_proof.kind is ProofKind.BOOK
    assert rig.live_view("11").proven_at == pytest.approx(rig.now, abs=0.002)
    rig.settle()
    assert_right(rig, exchange)
    assert rig.transitions == []


@pytest.mark.parametrize("what", ["an older one", "one without a hash", "one beside another that waits"])
def test_a_re_sent_book_is_compared_level_by_level_unless_its_hash_says_it_all(rig, exchange, monkeypatch, what):
    old = exchange.book("11")
    rig.send(exchange.change("BUY", "0.46", "5"))
    message = exchange.book("11")
    if what == "an older one":
        exchange.alter("BUY", "0.46", "0")
        rig.send(exchange.change("BUY", "0.45", "20"))
        message = old
    elif what == "one without a hash":
        message["hash"] = ""
    else:
        rig.send(exchange.book("22") | {"hash": "0" * 40, "bids": []})
    read = []
    of = OrderBook.of
    monkeypatch.setattr(OrderBook, "of", lambda *args: read.append(args) or of(*args))
    rig.send(message)
    assert len(read) == 1


def test_a_re_sent_book_that_cannot_be_is_a_doubt(rig, exchange):
    rig.send(exchange.book("11", bids=[{"price": "2", "size": "1"}]))
    rig.settle()
    assert rig.path("11") == ["SUSPECT DECODE_ERROR"]


def test_a_re_sent_book_of_a_token_that_lost_its_book_meanwhile_is_not_compared(rig, exchange):
    rig.send(exchange.book("11"))
    rig.engine.resync("11", rig.now)
    rig.settle()
    assert rig.state("11") is BookState.RESYNCING


def test_a_batch_whose_token_was_rebuilt_inside_it_has_nothing_left_to_check(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.engine.resync("11", rig.now)
    rig.drain()
    exchange.at += 1
    rig.answer()
    rig.settle()
    assert rig.state("11") is BookState.LIVE
    assert rig.token("11").proven.stated is None
    assert rig.verdicts("bbo") == {"match": 1, "unverifiable": 1}


def test_an_opening_book_with_a_wrong_hash_is_no_baseline(exchange):
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening())
    rig.disconnect()
    rig.connect()
    rig.send([exchange.opening_book("11") | {"hash": "0" * 40}])
    assert rig.state("11") is BookState.RESYNCING
    rig.advance(1)
    rig.answer()
    assert rig.state("11") is BookState.LIVE


@pytest.mark.parametrize("shown_by", ["a hash of the stream", "REST"])
def test_an_opening_book_without_a_hash_is_followed_but_not_read_before_it_is_shown(rig, exchange, shown_by):
    rig.disconnect()
    rig.connect()
    rig.send([exchange.opening_book("11") | {"hash": ""}])
    assert rig.state("11") is BookState.RESYNCING
    assert (rig.token("11").proven.loaded, rig.token("11").proven.proof) == (True, None)
    if shown_by == "REST":
        rig.answer("22")
    else:
        rig.send(exchange.change("BUY", "0.46", "5"))
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_an_opening_book_that_cannot_be_verified_asks_rest_for_the_constants(exchange):
    rig = Rig(exchange)
    rig.connect()
    exchange.min_order_size = "7.5"
    rig.send([exchange.opening_book("11")])
    assert rig.state("11") is BookState.LIVE
    assert [each.asset_ids for each in rig.pending] == [("11",)]
    rig.answer()
    rig.send(exchange.change("BUY", "0.46", "5"))
    assert rig.live_view("11").settled

"""Hashes that no known form explains (D7): per market, loud, never by REST alone, and over with one that fits."""

from __future__ import annotations

import json

import pytest

from polymirror.core import dialects
from polymirror.core.effects import Subscribe
from polymirror.core.states import BookState
from tests.core.builders import CONSTANTS, START, TEN_KEYS, Exchange, Rig, assert_right, shown, truth

UNKNOWN = ("asset_id", "market", *TEN_KEYS[2:])
"""A form that the venue never had."""


def changed(rig, exchanges, times):
    """Change all books and let time pass, with REST and new subscriptions answered."""
    told = rig.count(Subscribe)
    for n in range(times):
        for exchange in exchanges:
            rig.send(exchange.change("BUY", "0.30", str(n % 7 + 1)))
        rig.settle()
        rig.advance(0.5)
        rig.answer()
        if rig.count(Subscribe) > told:
            told = rig.count(Subscribe)
            for exchange in exchanges:
                rig.send(exchange.opening())


def forms(rig):
    return [each.kind for each in rig.warnings].count("hash form")


@pytest.fixture
def pair():
    return Exchange(), Exchange("0xn", "33", "44")


@pytest.fixture
def odd(pair):
    """Two markets whose venue speaks a form that nobody knows since a while."""
    rig = Rig.live(*pair)
    for exchange in pair:
        exchange.keys = UNKNOWN
    changed(rig, pair, 60)
    return rig


def test_a_form_that_nobody_knows_is_told_per_market_and_shown_in_the_status(odd, pair):
    (told,) = [each.detail for each in odd.warnings if each.kind == "hash form"]
    assert told.startswith("0xm, 0xn: ")
    markets = odd.engine.status(odd.now).markets
    assert [(each.verifiable, each.hash_form) for each in markets] == [(False, None)] * 2


def test_where_hashes_are_unverifiable_stream_and_rest_together_prove_a_book(odd, pair):
    before = odd.verdicts("hash")["unverifiable"]
    odd.disconnect()
    odd.connect()
    for exchange in pair:
        odd.send(exchange.opening())
    assert odd.state("11") is BookState.RESYNCING, "the stream alone is not believed"
    odd.answer()
    for _ in range(4):
        odd.advance(0.5)
        odd.answer()
    for exchange in pair:
        assert_right(odd, exchange)
    odd.forget()
    for _ in range(20):
        changed(odd, pair, 1)
    assert odd.state("11") is BookState.LIVE
    assert odd.verdicts("hash")["unverifiable"] > before


def test_where_hashes_are_unverifiable_rest_alone_is_no_baseline(odd):
    odd.engine.resync("11", odd.now)
    for _ in range(4):
        odd.advance(0.2)
        odd.answer()
    assert not odd.token("11").proven.loaded
    assert odd.verdicts("probe")["unverifiable"] >= 1


def test_one_hash_that_fits_makes_all_verifiable_again(odd, pair):
    for exchange in pair:
        exchange.keys = TEN_KEYS
    odd.disconnect()
    odd.connect()
    for exchange in pair:
        odd.send(exchange.opening())
    odd.answer()
    assert all(each.verifiable for each in odd.engine.status(odd.now).markets)
    for exchange in pair:
        assert_right(odd, exchange)


def test_one_market_whose_hashes_do_not_fit_while_the_others_do_stays_verifiable(pair):
    rig = Rig.live(*pair)
    pair[0].keys = UNKNOWN
    changed(rig, pair, 40)
    assert forms(rig) == 0
    assert all(each.verifiable for each in rig.engine.status(rig.now).markets)
    assert rig.state("11") is not BookState.LIVE
    assert_right(rig, pair[1])


def test_rest_that_answers_with_unknown_hashes_while_the_stream_is_silent_leads_to_stale(pair):
    rig = Rig.live(*pair)
    for exchange in pair:
        exchange.keys = UNKNOWN
    for _ in range(40):
        rig.advance(0.5)
        rig.answer()
    assert rig.path("11")[0] == "SUSPECT STALE"
    assert forms(rig) == 0
    assert all(each.verifiable for each in rig.engine.status(rig.now).markets)


def test_where_hashes_are_unverifiable_the_grid_that_books_tell_is_kept_and_never_a_coarser_one(odd, pair):
    exchange = pair[0]
    exchange.tick_size = "0.001"
    odd.disconnect()
    odd.connect()
    for _ in range(2):
        odd.send(exchange.opening())
        for _ in range(3):
            odd.advance(0.5)
            odd.answer()
        assert odd.live_view("11").tick_size_e4 == 10
        exchange.tick_size = "0.01"
        odd.advance(2.0)


# ---- Baselines that nothing proves ---------------------------------------------------------------------


@pytest.fixture
def followed():
    """The opening book came without a hash: it is followed, and nothing has shown it yet."""
    exchange = Exchange()
    rig = Rig.live(exchange)
    rig.disconnect()
    rig.connect()
    rig.send([exchange.opening_book(token) | {"hash": ""} for token in exchange.tokens])
    assert (rig.state("11"), rig.token("11").proven.loaded) == (BookState.RESYNCING, True)
    rig.forget()
    return rig, exchange


def test_a_followed_book_is_asked_about_again_when_rest_fails(followed):
    rig, exchange = followed
    rig.fail()
    rig.advance(2.0)
    assert rig.answer() == 2
    assert_right(rig, exchange)


def test_a_followed_book_that_differs_from_rest_becomes_rests(followed):
    rig, exchange = followed
    exchange.alter("BUY", "0.20", "9")
    rig.advance(0.5)
    for _ in range(4):
        rig.answer()
        rig.advance(0.5)
    assert shown(rig.live_view("11")) == truth(exchange, "11")
    assert "RESYNCING PROBE_MISMATCH" in rig.path("11")


def test_a_followed_book_that_nothing_shows_is_thrown_away_after_a_while(followed):
    rig, _ = followed
    for _ in range(30):
        rig.advance(1.0)
        rig.fail()
    assert "RESYNCING HASH_MISMATCH" in rig.path("11")


def test_an_answer_without_a_hash_is_no_witness_of_a_followed_book(followed):
    rig, exchange = followed
    rig.answer(**{f"t{token}": exchange.rest(token, hash="") for token in exchange.tokens})
    assert rig.state("11") is BookState.RESYNCING


# ---- Re-sent books -------------------------------------------------------------------------------------


def test_a_re_sent_book_that_equals_ours_and_whose_hash_is_wrong_proves_nothing():
    exchange = Exchange()
    rig = Rig.live(exchange)
    rig.time()
    rig.advance(1.0)
    rig.send(exchange.book("11", at=START + 1_000, hash="0" * 40))
    rig.settle()
    assert rig.live_view("11").verified_age > 1.0
    assert "SUSPECT" not in str(rig.path("11"))
    rig.answer()
    assert_right(rig, exchange)


def test_a_re_sent_book_that_waits_for_the_end_of_its_batch_goes_with_its_connection():
    exchange = Exchange()
    rig = Rig.live(exchange)
    rig.send(exchange.change("BUY", "0.46", "5"))
    exchange.alter("BUY", "0.20", "9")
    rig.send(exchange.book("11", at=exchange.at + 5))
    assert rig.token("11").pending
    assert not rig.live_view("11").settled
    rig.disconnect()
    assert not rig.token("11").pending
    rig.connect()
    rig.send(exchange.opening())
    rig.settle()
    rig.answer()
    assert_right(rig, exchange)


# ---- What is heard below the mark ----------------------------------------------------------------------


def test_a_change_below_the_mark_is_buffered_and_noted():
    exchange = Exchange()
    rig = Rig.live(exchange)
    old = json.dumps(exchange.change("BUY", "0.30", "5"))
    rig.send(exchange.change("BUY", "0.30", "6"))
    rig.disconnect()
    rig.connect()
    rig.send(old)
    assert len(rig.token("11").buffer) == 1
    rig.send(exchange.opening())
    rig.answer()
    assert_right(rig, exchange)


def test_misses_without_constants_are_no_misses():
    exchange = Exchange()
    rig = Rig(exchange)
    rig.connect()
    exchange.min_order_size = "7.5"
    rig.send(exchange.opening())
    for n in range(2 * dialects.DISTRUST_MISSES):
        rig.send(exchange.change("BUY", "0.30", str(n + 1)))
        rig.settle()
        rig.advance(3.0)
        rig.pending.clear()
    assert forms(rig) == 0
    assert rig.engine.markets["0xm"].hashes.constants != CONSTANTS

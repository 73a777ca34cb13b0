"""Rule D4: only what was said after a doubt clears it."""

from __future__ import annotations

import pytest

from polymirror.core.evidence import (
    Evidence,
)
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState, Reason
from tests.core.builders import (
    START,
    Exchange,
    Rig,
    ask,
    shown,
    truth,
)

NOW = 1_000.0


@pytest.fixture
def rig(exchange):
    """Both books LIVE; no frame and no answer of /time bounds the venue's clock yet."""
    return Rig.live(exchange)


@pytest.mark.parametrize("kind", [ProofKind.HASH, ProofKind.BOOK])
def test_a_message_clears_the_doubts_that_were_raised_before_it_was_received(kind):
    evidence = Evidence(kind, START, NOW - 5, 2)
    assert evidence.clears(2, NOW), "whatever its time"
    assert not evidence.clears(3, NOW)


def test_an_answer_clears_the_doubts_before_its_question_if_it_speaks_for_later():
    assert Evidence(ProofKind.PROBE, START, NOW, 2).clears(2, NOW)
    assert not Evidence(ProofKind.PROBE, START, NOW, 1).clears(2, NOW)
    assert not Evidence(ProofKind.PROBE, START, NOW - 0.1, 2).clears(2, NOW)


def test_an_answer_whose_question_was_sent_before_the_doubt_clears_nothing_and_another_is_asked(rig, exchange):
    ask(rig)
    rig.advance(0.1)
    rig.send("{garbage")
    assert rig.state("11") is BookState.SUSPECT
    pending, rig.pending = rig.pending[:1], []
    for effect in pending:
        rig.engine.books(effect.request, {"11": exchange.rest("11")}, rig.now)
    rig.drain()
    assert rig.state("11") is BookState.SUSPECT
    rig.answer()
    assert rig.state("11") is BookState.LIVE


def test_an_answer_of_before_a_doubt_that_shows_something_newer_ends_what_is_older(rig, exchange):
    """The next answer comes from a cache."""
    ask(rig)
    cached = exchange.rest("11")
    rig.advance(0.5)
    exchange.change("BUY", "0.46", "5")
    newer = exchange.rest("11")
    rig.advance(0.2)
    rig.engine.overflow(1, rig.now)
    rig.drain()
    rig.answer("22", t11=newer)
    rig.advance(1.0)
    ask(rig)
    rig.answer("22", t11=cached)
    assert rig.state("11") is BookState.SUSPECT


def test_an_answer_of_before_a_doubt_that_shows_something_newer_ends_what_is_older_without_a_book_too(rig, exchange):
    """The first answer was asked for before the doubt, the second one comes from a server that is behind."""
    behind = exchange.rest("11")
    rig.engine.resync("11", rig.now)
    rig.drain()
    rig.advance(0.5)
    exchange.change("BUY", "0.46", "5")
    newer = exchange.rest("11")
    rig.token("11").missed_input(Reason.DECODE_ERROR, rig.now, "")
    rig.drain()
    rig.answer(t11=newer)
    assert rig.state("11") is BookState.RESYNCING, "followed, and not believed"
    rig.advance(1.0)
    rig.answer(t11=behind)
    assert rig.state("11") is BookState.RESYNCING
    for _ in range(3):
        rig.advance(1.0)
        rig.answer()
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_a_book_that_an_answer_of_before_a_doubt_began_is_live_with_the_streams_next_hash(rig, exchange):
    rig.engine.resync("11", rig.now)
    rig.drain()
    rig.advance(0.5)
    rig.token("11").missed_input(Reason.DECODE_ERROR, rig.now, "")
    rig.drain()
    rig.answer()
    assert rig.state("11") is BookState.RESYNCING
    rig.advance(0.1)
    rig.send(exchange.change("BUY", "0.46", "5"))
    assert rig.state("11") is BookState.LIVE
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_an_answer_of_before_a_doubt_whose_hash_nothing_explains_begins_no_book():
    """Before anybody told the market's constants, no hash can be explained."""
    exchange = Exchange()
    rig = Rig(exchange)
    rig.connect()
    rig.advance(5.0)
    rig.token("11").missed_input(Reason.DECODE_ERROR, rig.now, "")
    rig.drain()
    rig.answer(t11=exchange.rest("11", hash=""))
    assert not rig.token("11").proven.loaded


def test_an_answer_speaks_for_its_own_time_however_far_rest_was_behind(rig, exchange):
    rig.time()
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.advance(0.7)
    ask(rig)
    rig.answer(t11=old)
    rig.pending.clear()
    rig.advance(4.0)
    stated = rig.now - 0.2
    rig.token("11").resync.answer(exchange.rest("11", exchange.at - 200), rig.now, 0, rig.now)
    assert rig.token("11").proven.proof.as_of == pytest.approx(stated, abs=0.002)


def test_rest_that_lags_does_not_clear_a_doubt_with_what_it_knew_before_it(rig, exchange):
    rig.time()
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.advance(1.0)
    ask(rig)
    rig.answer(t11=old)
    assert rig.token("11").resync.channel.lag(rig.now) == pytest.approx(1.0, abs=0.01)
    rig.engine.overflow(1, rig.now)
    rig.drain()
    rig.answer()
    assert (rig.state("11"), rig.state("22")) == (BookState.SUSPECT, BookState.LIVE)
    for _ in range(15):
        rig.advance(0.1)
        rig.answer()
    assert rig.path("11") == ["SUSPECT OVERFLOW", "LIVE PROVEN"]


def test_rest_that_lags_is_no_baseline_for_a_resync_with_what_it_knew_before_it(rig, exchange):
    rig.time()
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.advance(1.0)
    ask(rig)
    rig.answer(t11=old)
    rig.pending.clear()
    rig.engine.resync("11", rig.now)
    doubted_at = rig.now
    rig.drain()
    while rig.state("11") is not BookState.LIVE:
        rig.answer()
        if rig.state("11") is not BookState.LIVE:
            rig.advance(0.1)
    assert rig.token("11").proven.proof.as_of >= doubted_at


def test_a_change_that_was_read_before_the_doubt_and_applied_after_it_clears_nothing(rig, exchange):
    rig.time()
    rig.advance(1.0)
    message = exchange.change("BUY", "0.46", "5")
    read_at = rig.now
    rig.advance(0.1)
    rig.engine.overflow(1, rig.now)
    rig.send(message, read_at=read_at)
    assert rig.path("11") == ["SUSPECT OVERFLOW"]
    rig.send(exchange.change("BUY", "0.46", "6"))
    assert rig.path("11") == ["SUSPECT OVERFLOW", "LIVE PROVEN"]


def test_the_hash_of_a_change_from_before_the_doubt_clears_nothing(rig, exchange):
    message = exchange.change("BUY", "0.46", "5")
    for entry in message["price_changes"]:
        entry["hash"] = ""
    rig.send(message)
    rig.engine.overflow(1, rig.now)
    rig.settle()
    assert rig.state("11") is BookState.SUSPECT
    rig.send(exchange.change("BUY", "0.47", "5"))
    assert rig.state("11") is BookState.LIVE


def test_a_held_answer_of_before_a_doubt_does_not_clear_it_by_being_a_mismatch(rig, exchange):
    exchange.at += 5
    exchange.alter("BUY", "0.45", "7")
    ask(rig)
    rig.answer()
    rig.advance(1.6)
    # The second disagreement is held, and frames are lost meanwhile.
    rig.answer()
    rig.advance(0.5)
    rig.engine.overflow(1, rig.now)
    rig.drain()
    rig.advance(1.2)
    assert "LIVE PROVEN" not in rig.path("11"), "nobody was asked since"
    rig.answer()
    rig.advance(1.0)
    rig.answer()
    assert rig.state("11") is BookState.LIVE

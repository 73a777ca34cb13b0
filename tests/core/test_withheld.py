"""What is known of a book beyond its newest proof: what REST said, what the market's other token said."""

from __future__ import annotations

import math

import pytest

from polymirror.core.clock import VenueClock
from polymirror.core.evidence import AHEAD_KEPT_MS, MAX_AHEAD, Evidence, Mark
from polymirror.core.messages import Change
from polymirror.core.proofs import ProofKind
from polymirror.core.proven import HINT_SECONDS, Proven
from polymirror.core.states import BookState, Reason
from polymirror.core.subject import Subject
from polymirror.errors import NotLive
from tests.core.builders import BEGIN, CONSTANTS, START, Rig, ask, assert_right, order_book, shown, truth

HOUR_MS = 3_600_000


@pytest.fixture
def rig(exchange):
    """Both books LIVE; the venue's clock is known to a second."""
    return Rig.live(exchange)


@pytest.fixture
def proven():
    """Proven by the stream at 10.0, and by REST at 20.0."""
    proven = Proven(16)
    proven.load(order_book([("0.40", "1")], [("0.60", "1")]), Evidence(ProofKind.BOOK, START, 10.0, 0))
    proven.prove(Evidence(ProofKind.PROBE, START, 20.0, 0))
    return proven


def follow(proven, at_ms, as_of):
    change = Change("11", "0.41", "2", "BUY", "")
    proven.follow(proven.book.change(change, at_ms), change, at_ms, as_of, 0)


def missed_change(exchange):
    """Change the book without saying so, and then say another change."""
    exchange.change("BUY", "0.45", "7")
    return exchange.change("BUY", "0.30", "1")


# ---- Withheld ------------------------------------------------------------------------------------------


def test_what_rest_proved_is_withheld_once_something_newer_was_heard_that_is_not_proven(proven):
    assert (proven.proof.as_of, proven.stale_from) == (20.0, 20.0)
    follow(proven, START + 1, 25.0)
    assert (proven.proof.as_of, proven.proof.kind) == (10.0, ProofKind.BOOK)
    assert proven.stale_from == 20.0, "the book is no more stale than before"
    assert proven.prove(Evidence(ProofKind.HASH, START + 1, 25.0, 0))
    assert (proven.proof.as_of, proven.withheld, proven.unasked.as_of) == (25.0, None, 25.0)


def test_a_book_that_rest_alone_proved_falls_back_to_its_timestamp():
    """What REST said may be a cache, from before a change that was lost."""
    proven = Proven(16)
    proven.load(order_book([("0.40", "1")]), Evidence(ProofKind.PROBE, START, 10.0, 0, 4.0))
    assert proven.proof.as_of == 10.0
    assert proven.heard_proven_at == -math.inf
    follow(proven, START + 1, 25.0)
    assert (proven.proof.as_of, proven.withheld.as_of, proven.stale_from) == (4.0, 10.0, 10.0)


def test_where_an_answers_timestamp_cannot_be_dated_what_followed_tells_when_its_state_was():
    proven = Proven(16)
    proven.load(order_book([("0.40", "1")]), Evidence(ProofKind.PROBE, START, 30.0, 0, -math.inf))
    follow(proven, START + 5_000, 31.0)
    assert (proven.proof.as_of, proven.withheld.as_of) == (26.0, 30.0)


@pytest.mark.parametrize("end", [follow, lambda proven, at_ms, as_of: proven.superseded(at_ms, as_of)])
def test_what_rest_alone_proved_ends_with_what_is_newer_too(end):
    proven = Proven(16)
    proven.load(order_book([("0.40", "1")]), Evidence(ProofKind.PROBE, START, 10.0, 0, 10.0))
    end(proven, START + 1, 5.0)
    assert proven.proof.as_of == 5.0


def test_what_cannot_be_dated_at_all_is_not_withheld():
    proven = Proven(16)
    proven.load(order_book([("0.40", "1")]), Evidence(ProofKind.PROBE, START, 30.0, 0, -math.inf))
    follow(proven, START + 5_000, -math.inf)
    assert (proven.proof.as_of, proven.withheld) == (30.0, None)


def test_an_older_proof_of_the_same_state_takes_nothing_back(proven):
    follow(proven, START + 1, 25.0)
    undos = list(proven.journal)
    assert not proven.prove_past(undos, order_book([("0.40", "1")], [("0.60", "1")]), probe(START, 24.0, 5.0))
    assert (proven.proof.as_of, proven.withheld.as_of) == (10.0, 20.0)
    assert not proven.prove_past(undos, order_book([("0.40", "1")], [("0.60", "1")]), probe(START, 24.0, 22.0))
    assert (proven.proof.as_of, proven.withheld) == (22.0, None)


def probe(at_ms, as_of, by_stamp):
    return Evidence(ProofKind.PROBE, at_ms, as_of, 0, by_stamp)


@pytest.mark.parametrize(
    ("at_ms", "as_of", "left"), [(START, 5.0, 20.0), (START + 1, 5.0, 5.0), (START + 1, 15.0, 10.0)]
)
def test_what_is_newer_than_the_proven_state_ends_it(proven, at_ms, as_of, left):
    proven.superseded(at_ms, as_of)
    assert proven.proof.as_of == pytest.approx(left, abs=0.002)


def test_a_book_that_nothing_proves_can_be_swapped_and_superseded():
    proven = Proven(16)
    proven.superseded(START, 5.0)
    proven.swap(order_book([("0.40", "1")]), Evidence(ProofKind.PROBE, START, 10.0, 0))
    assert (proven.proof, proven.stale_from, proven.epoch) == (None, None, 1)


def test_the_question_of_an_opening_book_counts_until_an_unproven_change_is_heard(exchange):
    """Its timestamp may be minutes old, and a change after it may have been lost."""
    rig = Rig(exchange, constants=CONSTANTS)
    rig.time()
    exchange.at = START - 5_000
    rig.connect()
    rig.send(exchange.opening())
    exchange.at = START
    assert rig.live_view("11").verified_age == 0.0
    before = truth(exchange, "11")
    rig.send(missed_change(exchange))
    assert shown(rig.live_view("11")) == before
    assert rig.live_view("11").verified_age == pytest.approx(5.0, abs=0.01)
    with pytest.raises(NotLive, match="STALE"):
        rig.live_view("11", 4.0)


def test_an_opening_book_that_nothing_else_dates_counts_by_its_question_all_the_time(exchange):
    rig = Rig.live(exchange, timed=False)
    rig.advance(2.0)
    before = truth(exchange, "11")
    rig.send(missed_change(exchange))
    assert shown(rig.live_view("11")) == before
    assert rig.live_view("11").verified_age == pytest.approx(2.0, abs=0.01)


def test_a_probe_does_not_make_the_view_younger_than_the_stream_did_while_a_change_is_unproven(rig, exchange):
    rig.advance(3.0)
    ask(rig)
    rig.answer()
    assert rig.live_view("11").verified_age == 0.0
    rig.send(missed_change(exchange))
    assert rig.live_view("11").verified_age == pytest.approx(3.0, abs=0.01)
    assert rig.transitions == []


def test_an_unknown_answer_of_rest_that_is_held_withholds_what_rest_proved(rig, exchange):
    rig.advance(3.0)
    ask(rig)
    rig.answer()
    rig.advance(1.0)
    exchange.alter("BUY", "0.45", "7")
    ask(rig)
    rig.answer()
    assert not rig.live_view("11").settled
    assert rig.live_view("11").verified_age == pytest.approx(4.0, abs=0.01)
    assert rig.token("11").proven.mark.at_ms == exchange.at


def test_an_unknown_answer_of_the_proven_millisecond_is_held_and_ends_nothing(rig, exchange):
    exchange.at = START
    other = exchange.rest("11", at=START)
    exchange.alter("BUY", "0.45", "7")
    ask(rig)
    rig.answer(t11=exchange.rest("11", at=START))
    assert rig.token("11").resync.held is not None
    assert rig.token("11").proven.mark.at_ms < START
    ask(rig)
    rig.answer(t11=other)
    assert rig.token("11").resync.held is None


def test_an_unknown_answer_whose_hash_nothing_explains_is_held_and_raises_no_mark(rig, exchange, monkeypatch):
    hashes = rig.token("11").hashes
    monkeypatch.setattr(type(hashes), "verifiable", False)
    rig.advance(1.0)
    exchange.alter("BUY", "0.45", "7")
    ask(rig)
    rig.answer(t11=exchange.rest("11", hash="0" * 40))
    assert rig.token("11").resync.held is not None
    assert rig.token("11").proven.mark.at_ms < START


# ---- The other token -----------------------------------------------------------------------------------


def test_a_newer_whole_book_of_one_token_says_that_the_other_one_is_from_before_it(rig, exchange):
    rig.advance(1.0)
    exchange.alter("BUY", "0.45", "7")
    rig.send(exchange.book("11"))
    rig.settle()
    assert shown(rig.live_view("11")) == truth(exchange, "11")
    twin = rig.token("22")
    assert twin.proven.mark.at_ms == exchange.at - round(1000 * rig.engine.config.batch_window)
    assert not rig.live_view("22").settled
    rig.advance(rig.engine.config.hash_grace)
    assert rig.path("22") == ["SUSPECT COMPLEMENT_MISMATCH"]


def test_a_newer_whole_book_that_is_the_mirror_image_of_the_other_token_ends_nothing(rig, exchange):
    rig.advance(1.0)
    rig.send(exchange.book("11"))
    rig.settle()
    assert rig.token("22").proven.mark.at_ms < START
    assert rig.live_view("22").settled


def test_what_the_other_token_said_of_this_millisecond_is_no_dispute(rig):
    token = rig.token("22")
    token.overtaken_by_twin(START, BEGIN - 1.0, rig.now)
    assert (token.proven.mark.at_ms, token.miss_since) == (START, None)
    token.overtaken_by_twin(START + 1, BEGIN, rig.now)
    assert token.miss_since == rig.now


def test_an_older_whole_book_of_the_other_token_is_no_baseline_beside_a_newer_proof(exchange):
    """Both tokens show the same orders: what was proven of one was heard of both (D3)."""
    rig = Rig(exchange, constants=CONSTANTS)
    rig.time()
    rig.connect()
    old = exchange.opening_book("22")
    exchange.at += 5
    exchange.alter("BUY", "0.45", "7")
    rig.send(exchange.opening_book("11"))
    rig.send(old)
    assert (rig.state("11"), rig.state("22")) == (BookState.LIVE, BookState.UNPRIMED)


# ---- Overheard answers ---------------------------------------------------------------------------------


def outdated(rig, answer):
    """An answer comes to a question that was asked before the book was thrown away."""
    ask(rig)
    rig.engine.resync("11", rig.now)
    rig.answer(*([] if answer else ["11"]), **({"t11": answer} if answer else {}))


def test_an_answer_that_is_of_no_use_any_more_is_heard_all_the_same(rig, exchange):
    """Nothing older than it becomes a baseline (D3)."""
    newer = exchange.rest("11", at=START + 900)
    outdated(rig, newer)
    assert rig.token("11").proven.mark.at_ms == START + 900
    assert rig.engine.counts["outdated_answers"] == 1


def test_what_an_outdated_answer_cannot_prove_is_not_heard(rig, exchange):
    outdated(rig, exchange.rest("11", at=START + 900, hash="0" * 40))
    assert rig.token("11").proven.mark.at_ms == START


def test_an_outdated_answer_from_the_future_is_not_heard(rig, exchange):
    outdated(rig, exchange.rest("11", at=START + HOUR_MS))
    assert rig.token("11").proven.mark.at_ms == START


def test_an_outdated_answer_with_prices_that_cannot_be_is_not_heard(rig, exchange):
    outdated(rig, exchange.rest("11", at=START + 900, bids=[{"price": "7", "size": "1"}]))
    assert rig.token("11").proven.mark.at_ms == START


def test_an_outdated_answer_without_the_token_says_nothing(rig):
    outdated(rig, None)
    assert rig.token("11").proven.mark.at_ms == START
    assert rig.engine.counts["outdated_answers"] == 1


# ---- Times from the future -----------------------------------------------------------------------------


def test_a_time_that_lay_in_the_future_orders_nothing_for_a_while_after_it_has_come():
    mark, clock = Mark(), VenueClock()
    clock.server_time(START // 1000, BEGIN, BEGIN)
    assert not mark.is_ahead(START + 500, BEGIN, clock)
    for _ in range(2):
        assert mark.is_ahead(START + 60_000, BEGIN, clock)
    assert mark.is_ahead(START + 60_000, BEGIN + 70.0, clock)
    assert not mark.is_ahead(START + 60_001, BEGIN + 70.0, clock)
    # A market that is quiet since shows no other time: it is not refused for ever.
    assert not mark.is_ahead(START + 60_000, BEGIN + 60.1 + AHEAD_KEPT_MS / 1000, clock)


def test_no_more_future_times_are_remembered_than_the_bound():
    mark, clock = Mark(), VenueClock()
    clock.server_time(START // 1000, BEGIN, BEGIN)
    for n in range(MAX_AHEAD + 1):
        assert mark.is_ahead(START + 60_000 + n, BEGIN, clock)
    assert not mark.is_ahead(START + 60_000, BEGIN + 70.0, clock)
    assert mark.is_ahead(START + 60_001, BEGIN + 70.0, clock)


def test_a_baseline_of_rest_from_the_future_is_refused_and_what_is_older_than_now_is_none_any_more(rig, exchange):
    rig.engine.resync("11", rig.now)
    rig.drain()
    rig.answer(t11=exchange.rest("11", at=START + HOUR_MS))
    assert rig.state("11") is BookState.RESYNCING
    assert START <= rig.token("11").proven.mark.at_ms < START + HOUR_MS
    rig.advance(2.0)
    rig.answer()
    assert_right(rig, exchange)


def test_an_opening_book_from_the_future_whose_hash_is_wrong_raises_no_mark(exchange):
    rig = Rig(exchange, constants=CONSTANTS)
    rig.time()
    rig.connect()
    exchange.at = START + HOUR_MS
    rig.send(exchange.opening_book("11") | {"hash": "0" * 40})
    assert (rig.token("11").proven.mark.at_ms, rig.token("11").proven.loaded) == (0, False)


# ---- Ages ----------------------------------------------------------------------------------------------


def test_a_frame_that_waited_is_dated_by_when_it_was_read_on_the_quick_way_too(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.advance(0.05)
    message = exchange.change("BUY", "0.46", "6")
    rig.send(message, read_at=rig.now - 0.04)
    assert rig.live_view("11").verified_age == pytest.approx(0.04, abs=0.001)


def test_what_is_read_right_after_a_sleep_cannot_be_dated_where_nothing_bounds_the_venues_clock(exchange):
    rig = Rig.live(exchange, timed=False)
    rig.send(exchange.change("BUY", "0.46", "5"))
    assert rig.live_view("11").settled
    rig.gap(3.0)
    rig.advance(0.5)
    rig.send(exchange.change("BUY", "0.47", "5"))
    assert rig.live_view("11").verified_age == pytest.approx(3.5, abs=0.01)
    assert not rig.live_view("11").settled
    rig.advance(0.6)
    exchange.at += 3_000
    rig.send(exchange.change("BUY", "0.44", "5"))
    assert rig.live_view("11").settled
    assert_right(rig, exchange)


def test_a_book_that_waited_for_the_end_of_a_sleep_is_no_younger_than_that(exchange):
    """It is the first of the stream, and nothing else tells the venue's time."""
    rig = Rig.live(exchange, timed=False)
    waiting = exchange.book("11")
    rig.gap(5.0)
    rig.send(waiting)
    assert rig.live_view("11").verified_age == pytest.approx(5.0, abs=0.01)


def test_a_proof_of_longer_ago_than_a_book_may_be_unproven_makes_nothing_live(rig, exchange):
    rig.engine.overflow(1, rig.now)
    rig.drain()
    token = rig.token("11")
    old = Evidence(ProofKind.HASH, START, rig.now - rig.engine.config.max_proof_age - 1.0, token.doubts)
    token.proven.clear()
    token.proven.load(order_book([("0.40", "1")]), old)
    token.prove(old, rig.now)
    assert rig.state("11") is BookState.SUSPECT


def test_a_retired_token_is_not_asked_about_for_a_user(rig):
    rig.engine.market_status("0xm", closed=True, now=rig.now)
    rig.drain()
    rig.pending.clear()
    rig.engine.prove("11", rig.now)
    rig.drain()
    assert rig.pending == []


def test_a_token_that_lives_again_waits_for_its_socket_if_that_is_not_open(rig, exchange):
    token = rig.token("11")
    token.retire(token.reason, rig.now)
    rig.disconnect()
    rig.engine.outbox.revive["0xm"] = None
    rig.engine.tick(rig.now)
    rig.drain()
    assert (rig.state("11"), token.connected) == (BookState.RESYNCING, False)
    rig.connect()
    rig.send(exchange.opening())
    rig.answer()
    assert_right(rig, exchange)


def test_a_token_is_what_asking_needs_of_it(rig):
    token = rig.token("11")
    members = {*Subject.__annotations__, *vars(Subject)}
    missing = [name for name in members if not name.startswith("_") and not hasattr(token, name)]
    assert missing == []


def test_an_answer_to_a_question_of_the_connection_before_ends_an_opening_book_that_is_older(rig, exchange):
    """The venue answers the new subscription with a kept book; the call's answer knows better."""
    kept = exchange.opening()
    ask(rig)
    rig.advance(5.0)
    rig.disconnect()
    rig.advance(20.0)
    rig.connect()
    rig.send(kept)
    assert rig.state("11") is BookState.LIVE
    exchange.change("BUY", "0.46", "5")
    rig.answer("22")
    with pytest.raises(NotLive):
        rig.live_view("11")


@pytest.mark.parametrize("ahead", [0, 70_000])
def test_an_answer_that_is_overheard_while_nothing_is_connected_ends_what_was_said_before(rig, exchange, ahead):
    before = exchange.opening()
    rig.disconnect()
    rig.advance(2.0)
    exchange.change("BUY", "0.46", "5")
    rig.token("11").resync.overhear(exchange.rest("11", at=exchange.at + ahead), rig.now)
    rig.connect()
    rig.send(before)
    assert rig.state("11") is not BookState.LIVE


def test_what_is_overheard_of_a_retired_market_changes_nothing(rig, exchange):
    token = rig.token("11")
    token.retire(Reason.CLOSED, rig.now)
    mark_ms = token.proven.mark.at_ms
    rig.advance(1.0)
    token.resync.overhear(exchange.rest("11"), rig.now)
    assert token.proven.mark.at_ms == mark_ms


def test_a_newer_book_that_nothing_proves_keeps_older_answers_from_being_young(rig, exchange):
    """It came without a hash; the answer is of a REST that is behind."""
    behind = exchange.rest("11")
    rig.advance(3.0)
    exchange.alter("BUY", "0.45", "7")
    rig.send(exchange.book("11", at=exchange.at) | {"hash": ""})
    rig.settle()
    rig.answer("22", t11=behind)
    assert rig.live_view("11").verified_age == pytest.approx(3.0, abs=0.02)
    for _ in range(12):
        rig.advance(1.0)
        rig.answer()
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_a_statement_that_nothing_ever_proves_keeps_answers_from_being_young_for_a_while(proven):
    proven.hint(START + 10, 30.0)
    proven.hint(START + 5, 31.0)
    assert proven.is_before_hint(START + 7, 30.0 + HINT_SECONDS)
    assert not proven.is_before_hint(START + 10, 31.0)
    assert not proven.is_before_hint(START + 7, 30.1 + HINT_SECONDS)
    proven.hint(START + 5, 31.0 + HINT_SECONDS)
    assert proven.is_before_hint(START + 4, 31.0 + HINT_SECONDS)


def test_a_change_that_speaks_for_an_earlier_moment_than_the_proof_ends_what_was_proven_there(proven):
    follow(proven, START + 1, 5.0)
    assert proven.proof.as_of == pytest.approx(5.0, abs=0.002)


def test_a_kept_opening_book_proves_nothing_that_rest_has_ended(rig, exchange):
    """REST showed something newer, which the stream has not got to; then a cache answers a subscription."""
    kept = exchange.opening()
    rig.advance(5.0)
    exchange.change("BUY", "0.46", "5")
    ask(rig)
    rig.answer()
    rig.token("11").questions.ask(rig.now)
    rig.send(kept)
    rig.settle()
    assert rig.live_view("11").verified_age == pytest.approx(5.0, abs=0.02)

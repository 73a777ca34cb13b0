"""The dating rules D1, D2, D4 and D5: of evidence alone, and as the engine keeps them (D3: test_evidence_marks.py)."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from polymirror.core.clock import VenueClock
from polymirror.core.evidence import (
    Evidence,
    by_answer,
    by_stream,
)
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState
from tests.core.builders import (
    CONSTANTS,
    START,
    Exchange,
    Rig,
    ask,
    assert_right,
    order_book,
    shown,
    truth,
    unhashed,
    without_hashes,
)

NOW = 1_000.0


@pytest.fixture
def rig(exchange):
    """Both books LIVE; no frame and no answer of /time bounds the venue's clock yet."""
    return Rig.live(exchange)


@pytest.fixture
def clock():
    """The venue's clock lies between START and 1 s more at 1,000 s."""
    clock = VenueClock()
    clock.server_time(START // 1000, NOW, NOW)
    return clock


def levels(*bids):
    return order_book(list(bids)).levels()


# ---- D1: dating ----------------------------------------------------------------------------------------


def test_a_message_speaks_for_its_exchange_time_by_the_venues_clock_and_never_after_its_receipt(clock):
    assert by_stream(START + 2_000, clock, NOW + 9, NOW + 9) == pytest.approx(NOW + 2)
    assert by_stream(START + 2_000, clock, NOW + 1.5, NOW + 9) == NOW + 1.5


def test_a_message_from_the_future_cannot_be_dated(clock):
    assert by_stream(START + 60_000, clock, NOW, NOW) == -math.inf


def test_an_answer_speaks_for_its_question_less_what_its_channel_lags():
    assert by_answer(NOW, 0.0) == NOW
    assert by_answer(NOW, 0.4) == NOW - 0.4


def test_a_change_that_comes_late_proves_its_book_as_of_its_exchange_time(rig, exchange):
    rig.time()
    rig.send(exchange.change("BUY", "0.46", "5"))
    late = exchange.change("BUY", "0.47", "5")
    rig.advance(1.5)
    rig.send(late)
    assert rig.live_view("11").verified_age == pytest.approx(1.5, abs=0.01)
    assert_right(rig, exchange)


def test_a_change_that_waited_in_a_queue_is_dated_by_when_it_was_read(rig, exchange):
    rig.advance(1.0)
    rig.send(exchange.change("BUY", "0.46", "5"), read_at=rig.now - 0.4)
    assert rig.live_view("11").verified_age == pytest.approx(0.4)


def quiet_opening(exchange, *, known):
    """A rig that subscribed, and whose opening books, of minutes ago, come 2 s later."""
    rig = Rig(exchange, constants=CONSTANTS)
    exchange.at = START - 180_000
    frame = exchange.opening()
    if known:
        rig.time()
    rig.connect()
    rig.advance(2.0)
    rig.send(frame)
    return rig


def test_an_opening_book_of_minutes_ago_speaks_for_the_moment_of_the_subscription(exchange):
    view = quiet_opening(exchange, known=True).live_view("11")
    assert view.verified_age == pytest.approx(2.0)


def test_an_opening_book_speaks_for_the_subscription_while_the_venues_clock_is_unknown_too(exchange):
    assert quiet_opening(exchange, known=False).live_view("11").verified_age == pytest.approx(2.0)


def test_an_opening_book_that_is_newer_than_the_subscription_speaks_for_its_exchange_time(exchange):
    rig = Rig(exchange, constants=CONSTANTS)
    rig.time()
    rig.connect()
    rig.advance(2.0)
    exchange.at = START + 1_500
    rig.send(exchange.opening())
    assert rig.live_view("11").verified_age == pytest.approx(0.5)


def test_an_opening_book_from_the_future_is_no_baseline(exchange):
    rig = Rig(exchange, constants=CONSTANTS)
    rig.time()
    rig.connect()
    exchange.at = START + 60_000
    rig.send(exchange.opening())
    assert not rig.token("11").proven.loaded
    exchange.at = START
    rig.send(exchange.opening())
    assert_right(rig, exchange)


def test_an_opening_book_is_asked_for_once(rig, exchange):
    """What comes after it came unasked, and speaks for its own exchange time."""
    rig.time()
    opening = exchange.opening_book("11")
    rig.advance(5.0)
    rig.send(opening)
    rig.settle()
    assert rig.live_view("11").verified_age == pytest.approx(5.01)


def test_rest_that_was_seen_behind_dates_its_answers_back_by_as_much_for_a_while(rig, exchange):
    rig.time()
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.46", "5"))
    changed_ms = exchange.at
    rig.advance(0.7)
    ask(rig)
    rig.answer(t11=old)
    assert rig.verdicts("probe") == {"behind": 1}
    rig.pending.clear()
    rig.advance(4.0)
    new = exchange.rest("11", changed_ms)
    rig.pending.clear()
    rig.token("11").resync.answer(new, rig.now, 0, rig.now)
    assert rig.token("11").proven.proof.as_of == pytest.approx(rig.now - 0.7, abs=0.01)
    rig.now += 61.0
    rig.token("11").resync.answer(new, rig.now, 0, rig.now)
    assert rig.token("11").proven.proof.as_of == rig.now


def test_a_held_answer_moves_no_bound_of_the_venues_clock(rig, exchange):
    """Only an accepted book is a witness of the clock (D5)."""
    odd = Exchange(bids=())
    odd.at = START + 900
    rig.send(exchange.change("BUY", "0.46", "5"))
    low = rig.engine.clock.low
    ask(rig)
    rig.answer(t11=odd.rest("11"))
    assert rig.token("11").resync.held is not None
    assert rig.engine.clock.low == low


# ---- D2: superseded ------------------------------------------------------------------------------------


def test_a_state_is_provable_only_up_to_the_change_that_ended_it():
    evidence = Evidence(ProofKind.PROBE, START, NOW, 3)
    assert evidence.until(NOW + 1) is evidence
    assert evidence.until(NOW - 2) == Evidence(ProofKind.PROBE, START, NOW - 2, 3)


def test_an_answer_of_a_state_that_was_superseded_proves_it_only_at_its_own_time(rig, exchange):
    """Nothing proves the change that was heard: one before it may have been lost."""
    before = exchange.rest("11")
    rig.advance(3.0)
    rig.send(without_hashes(exchange.change("BUY", "0.46", "5")))
    rig.advance(2.0)
    ask(rig)
    rig.answer(t11=before)
    view = rig.live_view("11")
    assert shown(view) == truth(Exchange(), "11")
    assert view.verified_age == pytest.approx(5.0)


def test_a_baseline_that_a_later_change_superseded_is_proven_only_up_to_it(rig, exchange):
    """The journal is rolled forward over it, and nothing proves what follows."""
    first = exchange.change("BUY", "0.46", "5")
    rig.send(unhashed(first))
    behind = exchange.rest("11")
    rig.send(unhashed(exchange.change("BUY", "0.47", "5")))
    rig.advance(3.0)
    rig.engine.resync("11", rig.now)
    rig.drain()
    rig.pending[:] = rig.pending[-1:]
    rig.answer(t11=behind)
    assert rig.state("11") is BookState.LIVE
    view = rig.live_view("11")
    assert "0.47 x 5" not in shown(view)[0]
    assert view.verified_age == pytest.approx(3.0, abs=0.01)


def test_a_late_hash_proves_the_later_state_as_of_the_message_that_carried_it(rig, exchange):
    rig.time()
    rig.send(exchange.change("BUY", "0.46", "5"))
    first = exchange.change("BUY", "0.30", "5")
    at = exchange.at
    second = exchange.change("BUY", "0.31", "5", at=at + 400)
    for entry in first["price_changes"]:
        entry["hash"] = exchange.content(entry["asset_id"], at)["hash"]
    for entry in second["price_changes"]:
        entry["hash"] = "0" * 40
    rig.send(first)
    rig.advance(0.4)
    rig.send(second)
    assert rig.verdicts("hash")["healed"] == 2
    assert_right(rig, exchange)
    assert rig.live_view("11").verified_age == pytest.approx(0.4, abs=0.01)


# ---- D5: judge first -----------------------------------------------------------------------------------


def test_a_baseline_that_is_refused_teaches_nothing_about_the_market(rig, exchange):
    """Older than the mark, with another grid and another trade price in its own, fitting hash."""
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.disconnect()
    rig.connect()
    hashes = rig.engine.markets["0xm"].hashes
    before = (hashes.constants, hashes.last_trade_price)
    old = Exchange(trade="0.111")
    old.tick_size, old.at = "0.001", START
    rig.advance(rig.engine.config.first_snapshot_timeout + 0.1)
    rig.token("11").resync.answer(old.rest("11"), rig.now, rig.token("11").doubts, rig.now)
    assert not rig.token("11").proven.loaded
    assert (hashes.constants, hashes.last_trade_price) == before


def test_an_opening_book_that_is_refused_teaches_nothing_about_the_market(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.disconnect()
    rig.connect()
    hashes = rig.engine.markets["0xm"].hashes
    before = (hashes.constants, hashes.last_trade_price)
    old = Exchange(trade="0.111")
    old.tick_size = "0.001"
    rig.send(old.opening())
    assert not rig.token("11").proven.loaded
    assert (hashes.constants, hashes.last_trade_price) == before


def test_a_probe_that_is_behind_teaches_nothing_about_the_market(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    hashes = rig.engine.markets["0xm"].hashes
    before = (hashes.constants, hashes.last_trade_price)
    old = Exchange(trade="0.111")
    old.tick_size = "0.001"
    ask(rig)
    rig.answer(t11=old.rest("11"))
    assert rig.verdicts("probe") == {"behind": 1}
    assert (hashes.constants, hashes.last_trade_price) == before


def test_a_probe_that_matches_tells_what_its_hash_covers(rig, exchange):
    exchange.tick_size, exchange.trade = "0.001", "0.111"
    ask(rig)
    rig.answer()
    hashes = rig.engine.markets["0xm"].hashes
    assert (hashes.constants, hashes.last_trade_price) == (evolve(CONSTANTS, tick_size="0.001"), "0.111")


def contradict(rig, exchange, seconds, *, step=1.0):
    """Let REST answer with books older than what is proven that ours never was; return how long that took."""
    begin = rig.now
    while rig.now < begin + seconds and rig.state("11") is BookState.LIVE:
        rig.advance(step)
        rig.pending.clear()
        rig.send(exchange.change("BUY", "0.30", str(round(rig.now))))
        wrong = Exchange(bids=[("0.11", "1")])
        wrong.at = exchange.at - 200
        token = rig.token("11")
        token.resync.answer(wrong.rest("11"), rig.now, token.doubts, rig.now)
        rig.drain()
    return rig.now - begin


def test_rest_that_contradicts_a_book_in_order_for_long_is_a_doubt(rig, exchange):
    for n in range(3):
        rig.send(exchange.change("BUY", "0.30", str(n + 1)))
    assert 10.0 < contradict(rig, exchange, 60.0) < 14.0
    assert rig.path("11") == ["SUSPECT PROBE_MISMATCH", "RESYNCING PROBE_MISMATCH"]
    # As long again is borne in vain twice.
    rig.send(exchange.opening())
    for _ in range(40):
        rig.advance(0.5)
        rig.answer()
        if rig.state("11") is BookState.LIVE:
            break
    rig.forget()
    assert 20.0 < contradict(rig, exchange, 60.0) < 40.0


def test_rest_that_contradicted_and_then_agrees_was_only_behind_and_may_be_so_for_longer(rig, exchange):
    for n in range(3):
        rig.send(exchange.change("BUY", "0.30", str(n + 1)))
    contradict(rig, exchange, 9.0)
    token = rig.token("11")
    assert token.resync.answer(exchange.rest("11"), rig.now, token.doubts, rig.now)
    assert rig.state("11") is BookState.LIVE
    assert contradict(rig, exchange, 60.0) > 14.0


def test_rest_that_is_behind_without_contradicting_is_borne_for_ever(rig, exchange):
    for n in range(100):
        rig.advance(0.5)
        rig.pending.clear()
        old = exchange.rest("11", at=exchange.at)
        rig.send(exchange.change("BUY", "0.30", str(n + 1)))
        token = rig.token("11")
        token.resync.answer(old, rig.now, token.doubts, rig.now)
    rig.drain()
    assert "SUSPECT PROBE_MISMATCH" not in rig.path("11")

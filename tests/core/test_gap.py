"""Gaps (D6): this program slept, its clock stood still, and no proof may look younger for it."""

from __future__ import annotations

import pytest

from polymirror.core.effects import FetchBooks
from polymirror.core.states import BookState, Reason
from polymirror.errors import NotLive
from tests.core.builders import BEGIN, CONSTANTS, START, Exchange, Rig, assert_right, shown, truth


@pytest.fixture
def rig(exchange):
    rig = Rig.live(exchange)
    rig.time()
    return rig


def test_a_gap_is_added_to_the_age_of_every_proof(rig):
    rig.advance(1.0)
    rig.gap(5.0)
    for token in ("11", "22"):
        assert rig.live_view(token).verified_age == pytest.approx(6.0)
        assert rig.engine.status(rig.now).tokens[0].proof_age == pytest.approx(6.0)
    with pytest.raises(NotLive) as caught:
        rig.live_view("11", 5.9)
    assert (caught.value.reason, caught.value.age) == (Reason.STALE, pytest.approx(6.0))


def test_gaps_add_up(rig):
    rig.gap(4.0)
    rig.advance(1.0)
    rig.gap(3.0)
    assert rig.live_view("11").verified_age == pytest.approx(8.0)


def test_a_gap_longer_than_a_proof_may_last_makes_books_stale_at_once(rig):
    rig.gap(20.0)
    with pytest.raises(NotLive):
        rig.live_view("11")
    rig.advance(0.0)
    assert rig.path("11") == rig.path("22") == ["SUSPECT STALE"]


def test_after_a_gap_all_books_are_probed_and_it_is_told(exchange):
    other = Exchange("0xn", "33", "44")
    rig = Rig.live(exchange, other)
    rig.send({"event_type": "market_resolved", "market": "0xn", "timestamp": str(START)})
    rig.forget()
    rig.gap(5.0)
    assert [each.asset_ids for each in rig.effects if isinstance(each, FetchBooks)] == [("11", "22")]
    assert [each.kind for each in rig.warnings] == ["gap"]
    assert "5.000 s" in rig.warnings[0].detail
    rig.answer()
    assert rig.live_view("11").verified_age == 0.0
    assert_right(rig, exchange)


def test_an_answer_to_a_question_from_before_a_gap_is_as_old_as_the_question(rig):
    rig.advance(1.0)
    rig.engine.prove("11", rig.now)
    rig.drain()
    asked, rig.pending = rig.pending, []
    rig.gap(4.0)
    rig.pending = asked
    rig.answer()
    assert rig.live_view("11").verified_age == pytest.approx(4.0)


def test_what_was_received_in_a_gap_is_dated_by_the_venues_clock(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    asleep = exchange.change("BUY", "0.47", "5", at=START + 1_000)
    rig.gap(2.5)
    # It lay in the kernel's buffer from the first second on.
    rig.send(asleep)
    assert rig.live_view("11").verified_age == pytest.approx(1.5, abs=0.01)
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_what_was_read_before_a_gap_and_taken_after_it_was_heard_before_it(exchange):
    """Nothing tells the venue's time, so the receipt alone dates it."""
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    read_at = rig.now
    rig.gap(5.0)
    rig.send(exchange.opening(), read_at=read_at)
    assert rig.live_view("11").verified_age >= 5.0


def test_the_venues_clock_is_not_late_after_a_gap(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.settle()
    rig.gap(5.0)
    rig.send(exchange.change("BUY", "0.47", "5", at=START + 5_010))
    assert rig.live_view("11").verified_age == pytest.approx(0.0, abs=0.01)
    assert rig.live_view("11").apply_lag == pytest.approx(0.0, abs=0.01)
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_a_time_answer_that_was_asked_for_before_the_gap_says_nothing(rig):
    clock = rig.engine.clock
    sent = rig.now
    rig.advance(0.01)
    rig.gap(5.0)
    before = (clock.low, clock.high)
    rig.engine.server_time(START // 1000 + 5, sent, rig.now + 0.01)
    assert (clock.low, clock.high) == before
    rig.engine.server_time(START // 1000 + 5, rig.now, rig.now + 0.01)
    assert clock.low <= START - 1000 * BEGIN <= clock.high


def test_times_that_come_out_of_the_engine_are_of_the_callers_clock(rig):
    rig.gap(5.0)
    rig.answer()
    rig.engine.resync("11", rig.now)
    rig.drain()
    assert {each.at for each in (*rig.transitions, *rig.warnings)} == {rig.now}
    assert rig.engine.status(rig.now).tokens[0].since == rig.now
    assert rig.now <= rig.engine.next_deadline() < rig.now + 20
    rig.answer()
    view = rig.live_view("11")
    assert (view.read_at, view.proven_at) == (rig.now, rig.now)
    assert rig.engine.is_proven_since("11", rig.now)
    assert not rig.engine.is_proven_since("11", rig.now + 0.1)


def test_the_proof_of_a_view_is_of_the_callers_clock_too(rig):
    rig.gap(5.0)
    rig.answer()
    view = rig.live_view("11")
    assert view.last_proof.as_of == view.proven_at == rig.now
    assert rig.engine.proof_of("11").as_of == rig.now


def test_when_time_is_asked_next_is_of_the_callers_clock(rig):
    rig.gap(5.0)
    for _ in range(5):
        rig.engine.time_asked(rig.now)
    assert rig.now < rig.engine.next_time_sample(rig.now, 60.0) <= rig.now + 60.0


def test_deadlines_go_on_after_a_gap(rig, exchange):
    rig.gap(5.0)
    rig.answer()
    for _ in range(40):
        rig.advance(1.0)
        rig.answer()
    assert rig.transitions == []
    assert rig.live_view("11").verified_age < 15.0


def test_while_books_are_in_doubt_time_is_asked_every_few_seconds(rig):
    for _ in range(5):
        rig.engine.time_asked(rig.now)
    rig.engine.clock.high = rig.engine.clock.low
    assert rig.engine.next_time_sample(rig.now, 60.0) == rig.now + 60.0
    rig.engine.overflow(1, rig.now)
    assert rig.state("11") is BookState.SUSPECT
    assert rig.engine.next_time_sample(rig.now, 60.0) == rig.now + 3.0


def test_what_waited_while_the_program_stood_still_is_not_dated_before_the_venues_clock_is_known(exchange):
    """The first frame of all would otherwise count as one without any lag."""
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening())
    change = exchange.change("BUY", "0.46", "5")
    rig.now = rig.engine.next_deadline() + 4.0
    rig.send(change)
    assert shown(rig.engine.peek("11", rig.now)) == truth(Exchange(), "11"), "nothing dates it, so it proves nothing"


def test_the_time_of_day_at_the_venue_goes_on_in_a_gap(exchange):
    assert Rig().engine.venue_ms(BEGIN) == 0
    rig = Rig.live(exchange)
    rig.time()
    before = rig.engine.venue_ms(rig.now)
    assert START - 1_000 < before <= START + 1_000
    rig.gap(5.0)
    assert rig.engine.venue_ms(rig.now) - before == pytest.approx(5_000, abs=1)

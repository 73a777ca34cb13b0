"""The dating rule D3: the mark below which nothing becomes a baseline, alone and as the engine keeps it."""

from __future__ import annotations

import math

import pytest

from polymirror.core.clock import VenueClock
from polymirror.core.evidence import (
    AGREEMENT_SECONDS,
    ANSWERED_SECONDS,
    BEHIND_MS,
    PATIENCE_SECONDS,
    UNPROVEN_SECONDS,
    Mark,
)
from polymirror.core.questions import MAX_QUESTIONS, Questions
from polymirror.core.states import BookState
from polymirror.errors import NotLive
from tests.core.builders import (
    CONSTANTS,
    START,
    Rig,
    ask,
    assert_right,
    order_book,
    shown,
    truth,
)

NOW = 1_000.0
NEVER = -math.inf


@pytest.fixture
def clock():
    """The venue's clock lies between START and 1 s more at 1,000 s."""
    clock = VenueClock()
    clock.server_time(START // 1000, NOW, NOW)
    return clock


def levels(*bids):
    return order_book(list(bids)).levels()


def test_nothing_older_than_the_mark_is_admitted():
    mark = Mark()
    assert mark.admits(1, levels())
    mark.rise(START)
    assert not mark.admits(START - 1, levels())
    assert mark.admits(START, levels())
    assert mark.admits(START + 1, levels())


def test_at_the_marks_own_millisecond_no_state_known_superseded_is_admitted():
    mark, old, new, newest = Mark(), levels(("0.4", "1")), levels(("0.4", "2")), levels(("0.4", "3"))
    mark.rise(START, frozenset({old}))
    mark.rise(START, frozenset({new}))
    mark.rise(START - 1, frozenset({newest}))
    assert not mark.admits(START, old)
    assert not mark.admits(START, new)
    assert mark.admits(START, newest)
    assert mark.admits(START + 1, old)


def test_a_mark_that_rises_forgets_what_was_superseded_before():
    mark, old = Mark(), levels(("0.4", "1"))
    mark.rise(START, frozenset({old}))
    mark.rise(START + 1)
    assert mark.admits(START + 1, old)


def agreeing(mark, clock, *, begin=NOW + 10, apart=AGREEMENT_SECONDS, at_ms=START + 10_000):
    """The stream says something below the mark, and REST does so twice; return to what the mark is lowered."""
    mark.stream_below(at_ms, begin)
    first = mark.answer_below(at_ms, mark.at_ms, begin + 0.1, begin + 0.1, clock, NEVER)
    assert first is None
    return mark.answer_below(at_ms, mark.at_ms, begin + 0.1 + apart, begin + 0.1 + apart, clock, NEVER)


def test_a_mark_in_the_future_is_lowered_when_the_stream_and_two_answers_a_second_apart_agree(clock):
    mark = Mark()
    mark.rise(START + 3_600_000, frozenset({levels()}))
    lowered = agreeing(mark, clock)
    assert lowered == START + 10_000
    mark.lower(lowered)
    assert mark.at_ms == START + 10_000
    assert mark.admits(START + 10_000, levels())
    assert not mark.admits(START + 9_999, levels())


def test_two_answers_less_than_a_second_apart_do_not_lower_a_mark(clock):
    mark = Mark()
    mark.rise(START + 3_600_000)
    assert agreeing(mark, clock, apart=0.99 * AGREEMENT_SECONDS) is None


def test_answers_without_the_stream_do_not_lower_a_mark(clock):
    mark = Mark()
    mark.rise(START + 3_600_000)
    for n in range(10):
        assert mark.answer_below(START + n, mark.at_ms, NOW + n, NOW + n, clock, NEVER) is None


def test_answers_asked_for_before_the_stream_spoke_do_not_lower_a_mark(clock):
    mark = Mark()
    mark.rise(START + 3_600_000)
    mark.stream_below(START, NOW + 10)
    for n in range(10):
        assert mark.answer_below(START, mark.at_ms, NOW + n, NOW + 20, clock, NEVER) is None


def test_answers_far_behind_what_the_stream_says_are_a_cache_and_do_not_lower_a_mark(clock):
    mark = Mark()
    mark.rise(START + 3_600_000)
    mark.stream_below(START, NOW)
    mark.stream_below(START - 1, NOW + 1)
    for n in range(10):
        at_ms = START - BEHIND_MS - 1
        assert mark.answer_below(at_ms, mark.at_ms, NOW + n, NOW + n, clock, NEVER) is None


def test_a_second_answer_that_is_older_than_the_first_does_not_count(clock):
    mark = Mark()
    mark.rise(START + 3_600_000)
    mark.stream_below(START, NOW)
    assert mark.answer_below(START, mark.at_ms, NOW + 1, NOW + 1, clock, NEVER) is None
    assert mark.answer_below(START - 1, mark.at_ms, NOW + 3, NOW + 3, clock, NEVER) is None
    assert mark.answer_below(START, mark.at_ms, NOW + 5, NOW + 5, clock, NEVER) == START


@pytest.mark.parametrize(
    ("proven_ms", "asked", "patience"),
    [
        (START + 4_000, False, UNPROVEN_SECONDS),
        (START + 4_000, True, ANSWERED_SECONDS),
        (START + 5_000, False, PATIENCE_SECONDS),
    ],
)
def test_a_mark_that_is_no_future_time_is_lowered_only_after_patience(clock, proven_ms, asked, patience):
    """More of it where the mark was proven, or where only openings and REST, perhaps of one cache, lie below it."""
    mark = Mark()
    mark.rise(START + 5_000)
    mark.proven_ms = proven_ms
    now = NOW + 10
    mark.stream_below(START + 4_000, now, asked=asked)
    assert mark.answer_below(START + 4_000, mark.at_ms, now, now, clock, NEVER) is None
    soon, late = now + patience - 1, now + patience
    assert mark.answer_below(START + 4_000, mark.at_ms, soon, soon, clock, NEVER) is None
    assert mark.answer_below(START + 4_000, mark.at_ms, late, late, clock, NEVER) == START + 4_000


def test_a_mark_that_rises_forgets_who_spoke_below_it(clock):
    mark = Mark()
    mark.rise(START + 3_600_000)
    agreeing(mark, clock, apart=0.5)
    mark.rise(START + 3_600_001)
    assert mark.answer_below(START + 20_000, mark.at_ms, NOW + 20, NOW + 20, clock, NEVER) is None


def test_a_stream_that_went_on_above_the_mark_was_only_late_below_it(clock):
    mark = Mark()
    mark.rise(START + 3_600_000)
    mark.stream_below(START, NOW)
    assert mark.answer_below(START, mark.at_ms, NOW + 1, NOW + 1, clock, NEVER) is None
    assert mark.answer_below(START, mark.at_ms, NOW + 2, NOW + 2, clock, NOW + 0.5) is None
    for n in range(3, 8):
        assert mark.answer_below(START, mark.at_ms, NOW + n, NOW + n, clock, NEVER) is None, "nobody spoke below it"


def test_a_late_change_of_long_ago_and_two_answers_a_little_behind_set_no_mark_back(exchange):
    """REST is behind now and then; the stream goes on above the mark all the time."""
    rig = Rig.live(exchange, scheduled_resync=86_400)
    late = exchange.change("BUY", "0.30", "1")
    for message in (late, exchange.change("BUY", "0.30", "2"), late):
        rig.send(message)
    for n in range(700):
        at = exchange.at
        behind = {f"t{token}": exchange.rest(token, at=at) for token in exchange.tokens}
        rig.advance(0.5)
        if n % 7 == 0:
            rig.engine.prove("11", rig.now)
            rig.drain()
        rig.send(exchange.change("BUY", "0.30", str(n % 5 + 1)))
        rig.answer(**behind)
    assert [str(each) for each in rig.transitions] == []
    assert not [each for each in rig.warnings if each.kind == "exchange time set back"]


def test_a_book_older_than_what_was_proven_is_no_baseline_after_a_reconnect(rig, exchange):
    old = exchange.opening()
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.disconnect()
    rig.connect()
    rig.send(old)
    assert rig.verdicts("book")["behind"] == 2
    assert not rig.token("11").proven.loaded
    rig.advance(1.0)
    rig.answer()
    assert_right(rig, exchange)


def test_a_superseded_state_of_the_newest_millisecond_is_no_baseline_after_a_reconnect(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5", at=START + 9))
    inside = exchange.opening()
    rig.send(exchange.change("BUY", "0.47", "5", at=START + 9))
    exchange.at = START + 9
    rig.disconnect()
    rig.connect()
    rig.send(inside)
    assert not rig.token("11").proven.loaded
    rig.send(exchange.opening())
    assert_right(rig, exchange)


def test_a_message_that_is_delivered_again_makes_no_proof_younger_though_the_clocks_interval_has_widened(rig, exchange):
    rig.time()
    message = exchange.change("BUY", "0.46", "5")
    rig.send(message)
    rig.settle()
    as_of = rig.token("11").proven.proof.as_of
    rig.now += 14.0
    rig.send(message)
    assert rig.token("11").proven.proof.as_of <= as_of


def test_a_change_of_the_newest_millisecond_that_is_delivered_again_brings_nothing_superseded_back(rig, exchange):
    first, second = (exchange.change("BUY", "0.46", size, at=START + 9) for size in ("5", "8"))
    for message in (first, second):
        rig.send(message)
    rig.settle()
    assert_right(rig, exchange)
    rig.send(first)
    rig.settle()
    view = rig.live_view("11")
    assert not view.settled or shown(view) == truth(exchange, "11")


def test_an_opening_book_that_is_delivered_again_makes_no_proof_younger(exchange):
    """Nothing bounds the venue's clock yet."""
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    opening = exchange.opening()
    rig.send(opening)
    rig.advance(3.0)
    rig.send(opening)
    rig.settle()
    assert rig.live_view("11").verified_age >= 3.0


@pytest.mark.parametrize("away", [5.0, 60.0])
def test_an_opening_book_that_is_no_newer_than_what_was_heard_is_read_at_once_and_held_against_rest(
    rig, exchange, away
):
    rig.send(exchange.change("BUY", "0.46", "5"))
    before = exchange.opening()
    rig.disconnect()
    rig.advance(away)
    rig.forget()
    rig.connect()
    rig.send(before)
    assert_right(rig, exchange)
    assert rig.live_view("11").verified_age == 0.0
    assert [set(effect.asset_ids) for effect in rig.pending] == [{"11", "22"}]


def test_an_opening_book_that_rest_contradicts_falls_back_to_its_timestamp(rig, exchange):
    """A venue of several servers, one of them behind, may answer a subscription with what was."""
    before = exchange.opening()
    rig.disconnect()
    rig.advance(60.0)
    rig.connect()
    exchange.change("BUY", "0.46", "5")
    rig.send(before)
    rig.answer()
    with pytest.raises(NotLive):
        rig.live_view("11")
    for _ in range(4):
        rig.advance(1.0)
        rig.answer()
    assert_right(rig, exchange)


def test_an_opening_book_is_dated_by_its_own_question_though_another_was_asked_since(rig, exchange):
    """The answer to the first subscription comes late, after the second was sent."""
    before = exchange.opening()
    rig.engine.resync("11", rig.now)
    questions = rig.token("11").questions
    questions.ask(rig.now)
    rig.advance(4.0)
    questions.ask(rig.now)
    rig.advance(1.0)
    rig.forget()
    rig.send(before)
    assert rig.live_view("11").verified_age == pytest.approx(5.0)


def test_an_answer_that_never_came_makes_later_ones_older_and_never_younger():
    questions = Questions()
    for n in range(2 * MAX_QUESTIONS):
        questions.ask(NOW + n)
    assert [questions.answered() for _ in range(MAX_QUESTIONS + 1)] == [*(NOW + n for n in range(MAX_QUESTIONS)), None]


@pytest.mark.parametrize("late", [5.0, 40.0, 100.0])
def test_an_opening_book_that_comes_very_late_speaks_for_its_own_question(rig, exchange, late):
    """It was taken for the answer to a later one after 30 s, and granted as younger than it was."""
    before = exchange.opening()
    rig.disconnect()
    rig.connect()
    rig.advance(late - 1.0)
    rig.token("11").questions.ask(rig.now)
    rig.advance(1.0)
    rig.send(before)
    assert rig.engine.peek("11", rig.now).verified_age >= late - 0.001


def test_an_answer_to_a_question_older_than_the_proof_makes_no_proof_younger_and_a_later_one_does(rig, exchange):
    rig.advance(2.0)
    ask(rig)
    rig.advance(0.5)
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.answer()
    assert rig.live_view("11").verified_age == 0.0
    rig.advance(1.0)
    ask(rig)
    rig.advance(0.25)
    rig.answer()
    assert rig.live_view("11").verified_age == pytest.approx(0.25)


def test_a_mark_of_a_future_stamp_is_lowered_loudly_and_the_book_lives_again(exchange):
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    # Heard while nothing tells the venue's time: it is believed.
    rig.send(exchange.message(exchange.entries("BUY", "0.30", "5"), at=START + 3_600_000))
    rig.disconnect()
    assert rig.token("11").proven.mark.at_ms == START + 3_600_000
    rig.connect()
    for _ in range(90):
        rig.advance(1.0)
        rig.time()
        rig.send(exchange.opening())
        rig.answer()
        if rig.state("11") is BookState.LIVE:
            break
    assert [each.kind for each in rig.warnings if each.kind == "exchange time set back"]
    assert shown(rig.live_view("11")) == truth(exchange, "11")

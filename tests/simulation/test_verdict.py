"""The judge's own reckoning: what is true, what is excused by its name, and what is not."""

from __future__ import annotations

import pytest

from polymirror.simulator.frames import BOOK, OPENING, PRICE_CHANGE, Frame
from polymirror.torture import verdict
from polymirror.torture.timeline import MICRO, Timeline
from polymirror.torture.verdict import Claim, Excuse, judge
from polymirror.torture.witness import MAX_HEARD, Witness

NOW = 1_000_000


def ended(at_ms: int) -> verdict.Was:
    """A book that was so until then."""
    return lambda since_ms: since_ms <= at_ms


def claim(age: float = 0.5, limit: float = 15.0, link_ms: int = 20) -> Claim:
    return Claim(NOW, age, limit, link_ms)


@pytest.mark.parametrize(("age", "limit", "ended_ms"), [(0.5, 15.0, 521), (2.0, 0.25, 271), (0.0, 1.0, 21)])
def test_a_book_must_have_been_so_within_its_age_the_asked_age_and_the_way(age, limit, ended_ms) -> None:
    assert judge(ended(NOW - ended_ms), claim(age, limit), []) == verdict.TRUE
    assert judge(ended(NOW - ended_ms - 1), claim(age, limit), []) == verdict.WRONG


def test_excuses_are_looked_at_only_if_the_read_is_not_true_and_in_their_order() -> None:
    asked = []

    def excuse(name: str, *, explains: bool) -> Excuse:
        return Excuse(name, lambda _: bool(asked.append(name)) or explains)

    excuses = [excuse("no", explains=False), excuse("first", explains=True), excuse("second", explains=True)]
    assert judge(ended(NOW), claim(), excuses) == verdict.TRUE
    assert asked == []
    assert judge(ended(0), claim(), excuses) == "first"
    assert asked == ["no", "first"]


@pytest.mark.parametrize(
    ("uncertainty", "added_ms", "late_ms", "found"),
    [
        (0.3, 1_000, 300, verdict.CLOCK_INTERVAL),
        (0.3, 1_000, 301, verdict.WRONG),
        (1.0, 200, 200, verdict.CLOCK_INTERVAL),
        (1.0, 200, 201, verdict.WRONG),
        (None, 5_000, 5_000, verdict.CLOCK_INTERVAL),
        (None, 5_000, 5_001, verdict.WRONG),
        (None, 0, 1, verdict.WRONG),
    ],
)
def test_a_delay_is_excused_within_the_clocks_interval_and_never_beyond_the_delay_that_was(
    uncertainty, added_ms, late_ms, found
) -> None:
    was = ended(claim().since_ms - late_ms)
    assert judge(was, claim(), [verdict.clock_interval(was, uncertainty, added_ms)]) == found


def test_a_time_from_the_future_is_excused_for_as_much_as_it_made_a_message_younger() -> None:
    for late_ms, found in [(300, verdict.STATED_AHEAD), (301, verdict.WRONG)]:
        was = ended(claim().since_ms - late_ms)
        assert judge(was, claim(), [verdict.stated_ahead(was, 300)]) == found
    assert judge(ended(0), claim(), [verdict.stated_ahead(ended(0), 0)]) == verdict.WRONG


def test_a_probe_is_excused_while_a_change_is_lost_and_nothing_was_heard_of_the_book_since() -> None:
    kept = NOW - 30_000
    for lost, heard, was, found in [
        (True, False, ended(kept), verdict.SAME_STAMP_ANSWER),
        (False, False, ended(kept), verdict.WRONG),
        (True, True, ended(kept), verdict.WRONG),
        (True, False, ended(kept - 1), verdict.WRONG),
    ]:
        assert judge(was, claim(), [verdict.same_stamp_answer(was, kept, lost=lost, heard=heard)]) == found


@pytest.mark.parametrize(
    ("began", "until", "calls_too", "found"),
    [
        (NOW - 20_020, NOW - 15_000, False, verdict.REWRITTEN),
        (NOW - 20_021, NOW + 9_000, False, verdict.WRONG),
        (NOW - 60_000, NOW + 1, True, verdict.REWRITTEN),
        (NOW - 60_000, NOW - 21, True, verdict.WRONG),
        (NOW + 1, NOW + 9_000, True, verdict.WRONG),
    ],
)
def test_a_rewritten_connection_is_excused_for_20_s_or_as_long_as_rest_agrees(began, until, calls_too, found) -> None:
    excuse = verdict.rewritten(claim(), began, until, shown=True, calls_too=calls_too)
    assert judge(ended(0), claim(), [excuse]) == found


def test_a_rewritten_connection_excuses_what_it_shows_and_nothing_else() -> None:
    for shown, found in [(True, verdict.REWRITTEN), (False, verdict.WRONG)]:
        excuse = verdict.rewritten(claim(), NOW - 1_000, NOW, shown=shown, calls_too=True)
        assert judge(ended(0), claim(), [excuse]) == found


@pytest.mark.parametrize(
    ("ago", "messages", "mirror", "found"),
    [
        (120, 16, NOW, verdict.SECOND_TOKEN),
        (121, 16, NOW, verdict.WRONG),
        (10, 17, NOW, verdict.WRONG),
        (10, 1, 0, verdict.WRONG),
    ],
)
def test_a_mirror_image_is_excused_for_a_tenth_of_a_second_and_16_messages(ago, messages, mirror, found) -> None:
    excuse = verdict.second_token(ended(mirror), claim(), NOW - ago, messages)
    assert judge(ended(0), claim(), [excuse]) == found


def test_an_answer_that_was_read_counts_as_heard_by_the_time_that_it_states() -> None:
    witness = Witness(10)
    witness.answered("11", 5_000, 5_100)
    witness.answered("11", 4_000, 5_200)
    assert witness.answers_later(("22", "11"), 4_999, 5_100)
    assert not witness.answers_later(("22", "11"), 4_999, 5_099)
    assert not witness.answers_later(("22", "11"), 5_000, 5_300)
    # What was answered long ago is known whatever came since.
    for at_ms in (20_000, 30_000, 40_000):
        witness.answered("11", at_ms, at_ms)
    assert witness.answers_later(("11",), 29_999, 39_999)
    assert not witness.answers_later(("11",), 30_000, 39_999)


def change(text: str, token: str = "", kind: str = PRICE_CHANGE) -> Frame:
    return Frame(text, kind, "market", token)


def stated(at_ms: int) -> Frame:
    return Frame(f"a{at_ms}", PRICE_CHANGE, "market", "", at_ms)


def test_a_witness_knows_by_how_much_a_change_was_dated_too_young() -> None:
    witness = Witness(20)
    for sent_ms, ahead_ms, read_ms in [(1_000, 40, 1_020), (2_000, 540, 2_900), (3_000, 540, 3_100)]:
        frame = stated(sent_ms + ahead_ms)
        witness.sent([frame], sent_ms)
        witness.arrived(frame, sent_ms + 20, read_ms)
    # The first one shows how the venue's clock was; the second waited for longer than the 500 ms that it gained,
    # so nothing shows; the third came 400 ms before its time.
    assert witness.misdated_ms("market", 0, 3_100) == 500
    assert witness.misdated_ms("market", 0, 2_899) == 0
    assert witness.misdated_ms("market", 2_901, 3_100) == 100
    assert witness.misdated_ms("market", 3_101, 4_000) == witness.misdated_ms("other", 0, 4_000) == 0
    # A minute later a client knows by /time that the clock is ahead.
    late = stated(70_540)
    witness.sent([late], 70_000)
    witness.arrived(late, 70_900, 70_900)
    assert witness.misdated_ms("market", 70_000, 71_000) == 0


def test_a_witness_knows_what_has_not_arrived_and_from_when_it_is() -> None:
    witness = Witness(20)
    witness.sent([change("a"), change("b"), change("t", kind="last_trade_price")], 100)
    witness.sent([change("c")], 200)
    witness.arrived(change("a"), 120, 120)
    witness.arrived(change("c"), 220, 220)
    assert witness.is_missing("market", 100, 400)
    assert not witness.is_missing("market", 101, 400)
    assert not witness.is_missing("other", 0, 400)
    witness.arrived(change("b"), 500, 500)
    assert not witness.is_missing("market", 0, 500)
    # Who was told last before it came knows of none of it.
    assert witness.is_missing("market", 100, 499)
    assert not witness.is_missing("market", 101, 499)
    assert not witness.is_missing("market", 0, 99)


def test_a_witness_measures_delays_on_the_way_and_not_in_a_busy_client() -> None:
    witness = Witness(20)
    witness.sent([change("a"), change("b")], 100)
    witness.arrived(change("a"), 120, 900)
    assert witness.added_ms("market", 0, 900) == 0
    witness.arrived(change("b"), 420, 950)
    assert witness.added_ms("market", 950, 950) == 300
    assert witness.added_ms("market", 0, 949) == 0
    assert witness.added_ms("market", 951, 960) == 0


def test_a_delay_that_a_change_of_the_last_minute_did_not_have_can_be_known() -> None:
    witness = Witness(20)
    for sent_ms, read_ms, added_ms in [(0, 320, 300), (1_000, 1_120, 100), (2_000, 2_320, 100), (61_500, 61_820, 300)]:
        frame = change(str(sent_ms), token=str(sent_ms))
        witness.sent([frame], sent_ms)
        witness.arrived(frame, read_ms, read_ms)
        assert witness.added_ms("market", read_ms, read_ms) == added_ms


def test_what_was_quick_before_the_venues_clock_was_set_tells_nothing_of_a_delay_after_it() -> None:
    witness = Witness(20)
    for sent_ms, read_ms, offset_ms, added_ms in [(0, 20, 0, 0), (1_000, 1_120, -500, 100), (1_050, 1_370, -500, 100)]:
        frame = change(str(sent_ms), token=str(sent_ms))
        witness.sent([frame], sent_ms, offset_ms)
        witness.arrived(frame, read_ms, read_ms)
        assert witness.added_ms("market", read_ms, read_ms) == added_ms


def test_a_witness_knows_when_the_newest_messages_of_a_market_were_read() -> None:
    witness = Witness(20)
    witness.arrived(stated(90), 100, 100)
    witness.arrived(Frame("", BOOK, "market", "22", 105), 110, 110)
    assert witness.heard("market", 91, 110) == [110]
    assert witness.heard("market", 91, 109) == []
    for at in range(1_000):
        witness.arrived(stated(at), at, at + 5)
    assert witness.heard("market", 0, 2_000) == [at + 5 for at in range(1_000 - MAX_HEARD, 1_000)]


def test_a_witness_knows_whether_anything_states_a_later_time_than_a_book() -> None:
    witness = Witness(20)
    witness.arrived(change('"asset_id":"11"')._replace(at_ms=1_000), 100, 100)
    assert witness.states_later("market", "11", 999, 300)
    assert not witness.states_later("market", "11", 1_000, 300)
    assert not witness.states_later("market", "11", 999, 99)
    assert not witness.states_later("market", "11", 999, 300, 201.0)
    assert not witness.states_later("market", "22", 0, 300)
    opening = (
        '[{"market":"market","asset_id":"22","timestamp":"2000"},{"market":"other","asset_id":"33","timestamp":"9000"}]'
    )
    witness.arrived(Frame(opening, OPENING), 300, 300)
    assert witness.states_later("market", "22", 1_999, 300, 100.0)
    assert not witness.states_later("market", "22", 1_999, 299)
    assert not witness.states_later("market", "22", 2_000, 300)
    assert not witness.states_later("market", "11", 1_999, 300)
    assert witness.states_later("market", "", 1_999, 300)
    assert not witness.states_later("market", "33", 0, 300)


def test_a_suspended_client_has_a_clock_that_stands_still_and_wakes_before_it_reads() -> None:
    time, told = Timeline(), []

    def tell(what: str) -> None:
        told.append((what, time.elapsed, time.seconds))

    time.now = MICRO
    time.suspend(5 * MICRO, lambda: tell("awake"))
    assert time.seconds == 1.0
    time.at_client(2 * MICRO, lambda: tell("first"))
    time.at(3 * MICRO, lambda: tell("venue"))
    time.at_client(4 * MICRO, lambda: tell("second"))
    while (due := time.next_at()) is not None:
        time.now = due
        time.happen()
    assert [what for what, *_ in told] == ["venue", "awake", "first", "second"]
    assert told[1] == ("awake", 6.0, 1.0)
    time.now = 7 * MICRO
    assert (time.seconds, time.true_at(2.5)) == (2.0, 7.5 * MICRO)


def test_a_busy_client_has_a_clock_that_goes_on() -> None:
    time, told = Timeline(), []
    time.stall(2 * MICRO)
    time.at_client(MICRO, lambda: told.append(time.seconds))
    while (due := time.next_at()) is not None:
        time.now = due
        time.happen()
    assert told == [2.0]

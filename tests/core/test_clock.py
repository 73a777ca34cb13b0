"""The venue's clock as an interval: what bounds it, what moves it, and how it is narrowed."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from polymirror.core import clock as clock_module
from polymirror.core.clock import VenueClock

NOON = 1_777_000_000_000
OFFSET = NOON - 5_000.0
"""The venue's clock minus ours in ms, in most tests: it is noon there when ours shows 5 s."""


def asked(clock, at, offset=OFFSET, round_trip=0.0):
    """Have ``/time`` answered half a round trip after it was asked, by a venue of this offset."""
    seconds = int((offset + 1000 * (at + round_trip / 2)) // 1000)
    clock.server_time(seconds, at, at + round_trip)


@pytest.fixture
def known():
    """A clock that frames without delay and ``/time`` agree about; the venue's seconds begin with ours."""
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    asked(clock, 5.0)
    return clock


# ---- The interval --------------------------------------------------------------------------------------


def test_a_clock_of_which_nothing_was_heard_dates_by_receipt_and_takes_nothing_for_the_future():
    clock = VenueClock()
    assert clock.uncertainty is None
    assert clock.date(NOON, 7.0) == 7.0
    assert not clock.is_ahead(NOON, 7.0)
    assert clock.order_ms(NOON, 7.0) == NOON


def test_the_first_frame_has_no_lag():
    assert VenueClock().frame(NOON, 5.0) == 0.0


def test_a_book_that_was_quicker_than_the_first_frame_bounds_it():
    clock = VenueClock()
    clock.book(NOON - 60_000, 4.9)
    clock.book(NOON + 30, 5.0)
    assert clock.low is None, "books may be minutes old"
    assert clock.frame(NOON, 5.0) == pytest.approx(0.03)
    assert clock.low == OFFSET + 30


def test_a_book_of_another_time_makes_frames_look_late_for_a_window_and_no_longer():
    clock = VenueClock()
    clock.book(NOON + 60_000, 5.0)
    # Perhaps the book was from the future, perhaps the frame is late: nothing tells, so it is dated as if it were.
    assert clock.frame(NOON, 5.0) == 60.0
    lags = [clock.frame(NOON + 1_000 * n, 5.0 + n) for n in range(1, 40)]
    assert lags[20] > 59.0
    assert lags[-1] < 0.01


def test_old_books_do_not_lower_a_bound_however_long_nothing_else_comes():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    for n in range(20):
        clock.book(NOON - 60_000, 5.0 + 10.0 * n)
    assert clock.frame(NOON + 200_000, 205.0) == pytest.approx(0.0, abs=0.02)
    assert not clock.doubted
    for n in range(20):
        clock.frame(NOON + 199_000 + 10_000 * n, 205.0 + 10.0 * n)
    assert clock.low < OFFSET - 900, "frames do"


def test_lag_is_relative_to_the_quickest_frame_while_time_was_never_asked():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    assert clock.frame(NOON + 1000, 7.5) == pytest.approx(1.5, abs=0.001)
    # This one was quicker than the first: it sets the bound.
    assert clock.frame(NOON + 4000, 8.0 + 0.2) == 0.0
    assert clock.frame(NOON + 4000, 8.7) == pytest.approx(0.5, abs=0.001)
    assert clock.uncertainty is None


def test_a_lag_is_never_negative():
    clock = VenueClock()
    assert all(clock.frame(NOON + 37 * n, 5.0 + 0.001 * n) >= 0.0 for n in range(100))


def test_a_frame_and_a_rest_book_raise_the_lower_bound_and_never_beyond_the_upper_one(known):
    assert (known.low, known.high) == (OFFSET, OFFSET + 1000)
    known.frame(NOON + 1_400, 6.0)
    assert known.low == pytest.approx(OFFSET + 400, abs=0.1)
    known.book(NOON + 1_600, 6.0)
    assert known.low == pytest.approx(OFFSET + 600, abs=0.1)
    known.book(NOON + 2_030, 6.0)
    assert known.low == known.high == pytest.approx(OFFSET + 1000, abs=0.1)
    assert known.uncertainty == 0.0
    known.frame(NOON + 2_030, 6.0)
    assert known.uncertainty == 0.0


def test_a_late_frame_lowers_no_bound(known):
    low = known.low
    assert known.frame(NOON + 100, 8.1) == pytest.approx(3.0, abs=0.001)
    assert known.low == pytest.approx(low, abs=1.0)


def test_server_time_makes_lags_absolute():
    clock = VenueClock()
    # Every frame is 3 seconds late; only /time can tell.
    assert clock.frame(NOON - 3000, 5.0) == 0.0
    clock.server_time(NOON // 1000, 5.0, 5.1)
    assert clock.frame(NOON - 2900, 5.1) == pytest.approx(2.9, abs=0.11)


def test_both_bounds_of_an_answer_of_whole_seconds_hold_for_the_whole_of_its_call():
    for fraction in (0.0, 0.3, 0.999):
        for at in (0.0, 0.1, 0.4):
            clock, offset = VenueClock(), NOON + 1000 * fraction
            # Answered at once, in the middle, or at the end.
            clock.server_time(int((offset + 1000 * (5.0 + at)) // 1000), 5.0, 5.4)
            assert clock.low - 0.001 <= offset <= clock.high + 0.001
            assert clock.uncertainty == pytest.approx(1.4)


def test_uncertainty_is_unknown_until_server_time_was_asked_and_shrinks_with_frames():
    clock = VenueClock()
    assert clock.uncertainty is None
    clock.frame(NOON, 5.0)
    assert clock.uncertainty is None
    clock.server_time(NOON // 1000, 5.0, 5.25)
    assert clock.uncertainty == pytest.approx(1.0, abs=0.001)
    clock.frame(NOON + 900, 5.25)
    assert clock.uncertainty == pytest.approx(0.35, abs=0.001)


def test_repeated_server_time_narrows_the_bounds():
    clock = VenueClock()
    clock.server_time(NOON // 1000, 5.0, 5.5)
    assert clock.uncertainty == pytest.approx(1.5)
    clock.server_time(NOON // 1000, 5.0, 5.1)
    assert clock.uncertainty == pytest.approx(1.1)
    clock.server_time(NOON // 1000 + 1, 5.9, 5.95)
    assert clock.uncertainty == pytest.approx(0.95, abs=0.001)


def test_bounds_are_given_up_as_fast_as_clocks_drift(known):
    low, high = known.low, known.high
    known.frame(NOON + 90_000, 105.0)
    assert known.low == pytest.approx(low - 100 * clock_module.DRIFT_MS_PER_S)
    assert known.high == pytest.approx(high + 100 * clock_module.DRIFT_MS_PER_S)


def test_a_clock_that_drifts_is_followed():
    clock = VenueClock()
    clock.frame(NOON, 0.0)
    # Our clock runs 20 ppm fast for 10,000 seconds: without giving the bound up, the lag would be 0.2 s.
    lags = [clock.frame(NOON + 1000 * n, n * 1.00002) for n in range(1, 10_001)]
    assert max(lags) < 0.001


def test_input_of_an_earlier_moment_gives_nothing_up(known):
    known.frame(NOON + 10_000, 15.0)
    low = known.low
    known.frame(NOON + 9_000, 14.5)
    assert known.low == low


# ---- Dating (D1) ---------------------------------------------------------------------------------------


def test_an_exchange_time_is_dated_with_the_lower_bound_and_never_after_its_receipt(known):
    assert known.date(NOON + 3_000, 20.0) == pytest.approx(8.0)
    assert known.date(NOON + 3_000, 7.5) == 7.5


def test_what_lies_beyond_the_upper_bound_is_ahead_and_is_ordered_as_of_now(known):
    ahead = NOON + 1_000 + int(clock_module.AHEAD_MS) + 1
    assert known.is_ahead(ahead, 5.0)
    assert not known.is_ahead(ahead - 1, 5.0)
    assert known.order_ms(ahead - 1, 5.0) == ahead - 1
    assert known.order_ms(ahead, 5.0) == int(5_000.0 + known.low)


def test_without_an_upper_bound_only_more_than_a_jump_is_ahead():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    assert not clock.is_ahead(NOON + int(clock_module.JUMP_MS), 5.0)
    assert clock.is_ahead(NOON + int(clock_module.JUMP_MS) + 1, 5.0)


# ---- Frames from the future ----------------------------------------------------------------------------


def test_one_frame_from_the_future_does_not_make_all_later_ones_late():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    assert clock.frame(NOON + 3_600_000, 5.1) == 0.0
    assert clock.frame(NOON + 200, 5.2) == pytest.approx(0.0, abs=0.001)
    assert clock.frame(NOON + 7_200_000, 5.3) == 0.0
    assert clock.frame(NOON + 3_600_000, 5.4) == 0.0
    assert clock.frame(NOON + 500, 5.5) == pytest.approx(0.0, abs=0.001)


def test_a_book_from_the_future_moves_no_bound(known):
    low = known.low
    known.book(NOON + 60_000, 5.0)
    assert known.low == low


def beyond(clock, begin, seconds, step=60_000, every=0.1):
    """Frames in a row that lie so far in the future; return whether the last one still does."""
    for n in range(round(seconds / every) + 1):
        now = begin + every * n
        clock.frame(int(OFFSET + step + 1000 * now), now)
    return clock.doubted


def test_without_an_upper_bound_several_frames_over_some_time_are_believed():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    assert beyond(clock, 5.1, clock_module.AHEAD_SECONDS - 0.1)
    assert not beyond(clock, 5.1 + clock_module.AHEAD_SECONDS, 0.0)
    assert (clock.moved, clock.low) == (1, pytest.approx(OFFSET + 60_000, abs=1))


def test_two_frames_however_far_apart_are_not_several():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    assert beyond(clock, 5.1, 100.0, every=100.0)
    assert clock.moved == 0


def test_of_several_frames_from_the_future_the_quickest_counts():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    for now, late in ((5.1, 300), (5.7, 0), (6.2, 400)):
        lag = clock.frame(int(OFFSET + 60_000 + 1000 * now - late), now)
    assert clock.low == pytest.approx(OFFSET + 60_000, abs=1)
    assert lag == pytest.approx(0.4, abs=0.001)


def test_a_frame_between_two_from_the_future_shows_that_they_are_wrong():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    clock.frame(NOON + 60_000, 5.01)
    # The next one is to be looked at, though the bounds are fresh.
    assert clock.fresh_until < 5.01
    clock.frame(NOON + 20, 5.02)
    assert (clock.frame(NOON + 60_000, 5.03), clock.doubted) == (0.0, True)
    assert clock.frame(NOON + 40, 5.04) == pytest.approx(0.0, abs=0.001)


def test_frames_beyond_the_upper_bound_alone_are_not_believed_before_time_had_its_time(known):
    assert beyond(known, 5.0, clock_module.DENIED_SECONDS - 0.1)
    assert (known.low, known.moved) == (pytest.approx(OFFSET, abs=1), 0)


def test_frames_that_go_on_beyond_the_upper_bound_end_the_belief_in_it(known):
    assert not beyond(known, 5.0, clock_module.DENIED_SECONDS + 0.1)
    assert known.moved == 1
    assert known.low == pytest.approx(OFFSET + 60_000, abs=1)
    assert known.high is None


def test_frames_beyond_the_upper_bound_that_do_not_agree_are_not_believed(known):
    for n in range(300):
        known.frame(NOON + 60_000 * (1 + n % 2) + 100 * n, 5.0 + 0.1 * n)
        assert known.doubted
    assert known.moved == 0


# ---- Steps: the stream and /time together --------------------------------------------------------------


@pytest.mark.parametrize("step", [5_000, 3_600_000])
@pytest.mark.parametrize("first", ["stream", "time"])
def test_a_step_ahead_that_the_stream_and_time_show_together_is_believed_at_once(known, step, first):
    new = OFFSET + step
    if first == "time":
        asked(known, 6.0, new)
        assert known.low == pytest.approx(OFFSET, abs=1), "one witness moves nothing"
    known.frame(int(new + 6_200), 6.2)
    if first == "stream":
        assert known.low == pytest.approx(OFFSET, abs=1), "one witness moves nothing"
        asked(known, 6.3, new)
    assert known.moved == 1
    assert known.low - 1 <= new <= known.high + 1
    assert known.frame(int(new + 7_000), 7.0) == pytest.approx(0.0, abs=0.3)
    assert not known.doubted


def told(clock, offset, begin, seconds, *, stream=True, time=True):
    """Have frames and ``/time`` say for so long that the venue's clock has this offset."""
    for n in range(round(seconds * 2) + 1):
        now = begin + n / 2
        if time:
            asked(clock, now, offset)
        if stream:
            clock.frame(int(offset + 1000 * (now + 0.1)), now + 0.1)


@pytest.mark.parametrize("step", [-3_600_000, -5_000])
def test_a_clock_that_was_set_back_is_believed_when_the_stream_and_time_say_so_for_a_while(known, step):
    told(known, OFFSET + step, 6.0, clock_module.LOWER_SECONDS - 1)
    assert (known.moved, known.low) == (0, pytest.approx(OFFSET, abs=1))
    told(known, OFFSET + step, 6.0 + clock_module.LOWER_SECONDS - 0.5, 1.0)
    assert known.moved == 1
    assert known.low - 1 <= OFFSET + step <= known.high + 1


def test_what_was_quick_since_a_clock_was_set_back_bounds_it_when_a_late_frame_makes_that_believed(known):
    told(known, OFFSET - 5_000, 6.3, clock_module.LOWER_SECONDS - 1)
    # This program stood still: the first frame that it reads was sent 120 ms ago.
    late = known.frame(int(OFFSET - 5_000 + 1000 * 16.6) - 120, 16.6)
    assert known.moved == 1
    assert late == pytest.approx(0.12, abs=0.002)
    assert known.low == pytest.approx(OFFSET - 5_000, abs=2)


def test_a_frame_that_says_otherwise_meanwhile_ends_the_belief_in_a_clock_that_was_set_back(known):
    told(known, OFFSET - 5_000, 6.0, clock_module.LOWER_SECONDS - 1)
    known.frame(int(OFFSET + 1000 * 15.5), 15.5)
    told(known, OFFSET - 5_000, 16.0, clock_module.LOWER_SECONDS - 1)
    assert (known.moved, known.low) == (0, pytest.approx(OFFSET, abs=1))


def test_a_rest_book_that_says_otherwise_counts_too_and_one_that_may_be_old_says_nothing(known):
    told(known, OFFSET - 5_000, 6.0, 0.0, stream=False)
    known.book(int(OFFSET + 1000 * 16.5 - 5_000), 16.5)
    assert known.moved == 0
    known.book(int(OFFSET + 1000 * 17.0), 17.0)
    told(known, OFFSET - 5_000, 17.5, 1.0)
    assert (known.moved, known.low) == (0, pytest.approx(OFFSET, abs=1))


def test_a_stream_that_only_lags_does_not_move_the_interval_down(known):
    told(known, OFFSET - 5_000, 6.0, 10 * clock_module.LOWER_SECONDS, time=False)
    assert (known.moved, known.low) == (0, pytest.approx(OFFSET, abs=10))


def test_a_time_that_contradicts_the_stream_once_is_ignored(known):
    asked(known, 5.5, OFFSET + 60_000)
    known.frame(NOON + 600, 5.6)
    asked(known, 5.9)
    known.frame(NOON + 900, 5.95)
    assert (known.moved, known.low) == (0, pytest.approx(OFFSET, abs=1))


def test_a_time_that_goes_on_contradicting_a_stream_that_goes_on_is_never_believed(known):
    for n in range(100):
        known.frame(NOON + 500 * n, 5.0 + 0.5 * n)
        asked(known, 5.1 + 0.5 * n, OFFSET - 60_000)
    assert (known.moved, known.low) == (0, pytest.approx(OFFSET, abs=5))


@pytest.mark.parametrize("step", [-60_000, 60_000])
def test_while_the_stream_is_silent_answers_that_agree_for_long_move_the_interval(known, step):
    told(known, OFFSET + step, 10.0, clock_module.LOWER_ALONE_SECONDS - 1, stream=False)
    assert known.moved == 0
    told(known, OFFSET + step, 10.0 + clock_module.LOWER_ALONE_SECONDS - 0.5, 1.0, stream=False)
    assert known.moved == 1
    assert known.low <= OFFSET + step <= known.high


def test_while_the_stream_is_silent_answers_that_do_not_agree_move_nothing(known):
    for n in range(200):
        asked(known, 10.0 + n, OFFSET + (-1) ** n * 60_000)
    assert (known.moved, known.low) == (0, pytest.approx(OFFSET, abs=15))


def test_a_clock_that_heard_only_time_follows_a_step_after_a_long_while():
    clock = VenueClock()
    asked(clock, 5.0)
    told(clock, OFFSET - 3_600_000, 6.0, clock_module.LOWER_ALONE_SECONDS - 1, stream=False)
    assert clock.low == pytest.approx(OFFSET, abs=10)
    asked(clock, 6.0 + clock_module.LOWER_ALONE_SECONDS, OFFSET - 3_600_000)
    assert clock.low <= OFFSET - 3_600_000 <= clock.high


# ---- The window: without an upper bound ----------------------------------------------------------------


def frames(clock, offset, begin, end, every=1.0):
    """Frames without delay, by a venue of this offset; return their lags."""
    count = int((end - begin) / every)
    return [clock.frame(int(offset + 1000 * (begin + every * n)), begin + every * n) for n in range(count)]


def test_without_time_a_venue_that_was_set_back_is_followed_once_two_whole_windows_show_it():
    clock = VenueClock()
    frames(clock, OFFSET, 5.0, 100.0)
    lags = frames(clock, OFFSET - 5_000, 100.0, 100.0 + 3 * clock_module.WINDOW)
    assert lags[0] == pytest.approx(5.0, abs=0.01)
    assert lags[-1] == pytest.approx(0.0, abs=0.01)


def test_with_an_upper_bound_the_lower_one_is_kept_however_late_all_frames_are(known):
    lags = frames(known, OFFSET - 5_000, 6.0, 6.0 + 10 * clock_module.WINDOW)
    assert min(lags) == pytest.approx(5.0, abs=0.05)


def test_after_a_long_silence_the_first_frame_is_not_taken_for_all_of_a_window():
    clock = VenueClock()
    frames(clock, OFFSET, 5.0, 40.0)
    assert clock.frame(int(OFFSET + 1000 * 500.0 - 5_000), 500.0) == pytest.approx(5.0, abs=0.05)
    assert clock.low == pytest.approx(OFFSET, abs=30)


# ---- When to ask ---------------------------------------------------------------------------------------


def test_the_first_samples_come_quickly_whatever_becomes_of_them():
    clock, now, times = VenueClock(), 5.0, []
    assert clock.next_sample(now, 60.0) < now
    for _ in range(6):
        clock.sampled(now)
        times.append(now)
        now = clock.next_sample(now, 60.0)
    gaps = [round(b - a, 3) for a, b in pairwise(times)]
    assert gaps == [clock_module.QUICK_SECONDS] * 3 + [60.0] * 2


def test_while_it_is_contradicted_time_is_asked_every_half_second(known):
    for _ in range(clock_module.QUICK_TRIES + 1):
        known.sampled(5.0)
    known.frame(NOON + 60_000, 5.1)
    assert known.next_sample(5.1, 60.0) == 5.0 + clock_module.DOUBT_SECONDS
    known.frame(NOON + 200, 5.2)
    asked(known, 5.2, OFFSET + 60_000)
    assert known.next_sample(5.2, 60.0) == 5.2 + clock_module.DOUBT_SECONDS


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("round_trip", [0.002, 0.02, 0.08, 0.2])
def test_asking_around_the_seconds_edge_narrows_the_interval_to_two_round_trips(seed, round_trip):
    rng = random.Random(seed)
    clock, now = VenueClock(), 100 * rng.random()
    offset = NOON + 1000 * rng.random()
    begin, samples = now, 0
    while now < begin + 60:
        clock.sampled(now)
        samples += 1
        trip = round_trip * rng.uniform(0.8, 1.0)
        # How long the way there takes is not known: anything of the round trip.
        made = now + trip * rng.random()
        clock.server_time(int((offset + 1000 * made) // 1000), now, now + trip)
        assert clock.low - 0.001 <= offset <= clock.high + 0.001
        now = max(now + trip, clock.next_sample(now + trip, 600.0))
    assert clock.uncertainty <= max(2 * round_trip, clock_module.FINEST) + 0.01
    assert samples <= 25


def test_an_interval_that_is_narrow_enough_is_asked_for_only_in_its_time(known):
    known.frame(NOON + 995, 5.0)
    for _ in range(clock_module.QUICK_TRIES):
        known.sampled(5.0)
    assert known.uncertainty < clock_module.FINEST
    assert known.next_sample(6.0, 60.0) == 65.0

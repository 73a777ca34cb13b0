from __future__ import annotations

import pytest

from polymirror.core.clock import VenueClock

NOON = 1_777_000_000_000


def test_the_first_frame_has_no_lag():
    assert VenueClock().frame(NOON, 5.0) == 0.0


def test_lag_is_relative_to_the_quickest_frame():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    assert clock.frame(NOON + 1000, 7.5) == pytest.approx(1.5, abs=0.001)
    # This one was quicker than the first: it sets the mark.
    assert clock.frame(NOON + 4000, 8.0) == 0.0
    assert clock.frame(NOON + 4000, 8.5) == pytest.approx(0.5, abs=0.001)


def test_a_lag_is_never_negative():
    clock = VenueClock()
    assert all(clock.frame(NOON + 37 * n, 5.0 + 0.001 * n) >= 0.0 for n in range(100))


def test_a_clock_that_drifts_is_followed():
    clock = VenueClock()
    clock.frame(NOON, 0.0)
    # Our clock runs 20 ppm fast for 10,000 seconds: without giving the mark up, the lag would be 0.2 s.
    lags = [clock.frame(NOON + 1000 * n, n * 1.00002) for n in range(1, 10_001)]
    assert max(lags) < 0.001


def test_server_time_makes_lags_absolute():
    clock = VenueClock()
    # Every frame is 3 seconds late; only /time can tell.
    assert clock.frame(NOON - 3000, 5.0) == 0.0
    clock.server_time(NOON // 1000, 5.0, 5.1)
    assert clock.frame(NOON - 2900, 5.1) == pytest.approx(2.9, abs=0.11)


def test_uncertainty_is_unknown_until_server_time_was_asked_and_shrinks_with_frames():
    clock = VenueClock()
    assert clock.uncertainty is None
    clock.frame(NOON, 5.0)
    assert clock.uncertainty is None
    clock.server_time(NOON // 1000, 5.0, 5.25)
    assert clock.uncertainty == pytest.approx(1.0)
    clock.frame(NOON + 900, 5.0)
    assert clock.uncertainty == pytest.approx(0.1, abs=0.001)


def test_repeated_server_time_narrows_the_bounds():
    clock = VenueClock()
    clock.server_time(NOON // 1000, 5.0, 5.5)
    assert clock.uncertainty == pytest.approx(1.5)
    clock.server_time(NOON // 1000, 5.0, 5.1)
    assert clock.uncertainty == pytest.approx(1.1)
    clock.server_time(NOON // 1000 + 1, 5.9, 5.95)
    assert clock.uncertainty == pytest.approx(0.95)


def test_a_clock_that_steps_is_followed():
    clock = VenueClock()
    clock.server_time(NOON // 1000, 5.0, 5.1)
    # An hour back, then two hours on: the old bounds exclude the new ones and are given up.
    for seconds in (NOON // 1000 - 3600, NOON // 1000 + 3600):
        clock.server_time(seconds, 6.0, 6.1)
        assert clock.uncertainty == pytest.approx(1.1)
        assert clock.low == pytest.approx(seconds * 1000 - 6100)


def test_one_frame_from_the_future_does_not_make_all_later_ones_late():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    assert clock.frame(NOON + 3_600_000, 5.1) == 0.0
    assert clock.frame(NOON + 200, 5.2) == pytest.approx(0.0, abs=0.001)
    assert clock.frame(NOON + 7_200_000, 5.3) == 0.0
    assert clock.frame(NOON + 3_600_000, 5.4) == 0.0
    assert clock.frame(NOON + 500, 5.5) == pytest.approx(0.0, abs=0.001)


def test_a_clock_that_steps_is_followed_with_the_second_frame():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    clock.frame(NOON + 60_000, 5.1)
    assert clock.frame(NOON + 60_100, 5.2) == 0.0
    assert clock.frame(NOON + 60_100, 5.7) == pytest.approx(0.5, abs=0.001)


def test_a_frame_between_two_from_the_future_shows_that_they_are_wrong():
    clock = VenueClock()
    clock.frame(NOON, 5.0)
    clock.frame(NOON + 60_000, 5.01)
    # The next one is to be looked at, though the bounds are fresh.
    assert clock.fresh_until < 5.01
    clock.frame(NOON + 20, 5.02)
    assert (clock.frame(NOON + 60_000, 5.03), clock.doubted) == (0.0, True)
    assert clock.frame(NOON + 40, 5.04) == pytest.approx(0.0, abs=0.001)

"""Two clocks: whatever the way takes, nothing is dated too young, and a clock that was set is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polymirror.relay.offset import DRIFT, Offset

SECONDS = st.floats(0.0, 5.0)


@given(
    st.floats(-1e6, 1e6),
    st.floats(-DRIFT / 2, DRIFT / 2),
    st.lists(st.tuples(st.floats(0.001, 3.0), SECONDS, SECONDS, st.booleans()), max_size=40),
)
def test_the_low_bound_is_never_above_the_offset(
    ahead: float, faster: float, steps: list[tuple[float, float, float, bool]]
) -> None:
    """Ours is true time; theirs is ahead by so much and a bit faster."""
    offset, now = Offset(), 0.0

    def theirs(at: float) -> float:
        return at * (1 + faster) - ahead

    for pause, there, back, pings in steps:
        asked = now + pause
        sent = theirs(asked + there)
        now = asked + there + back
        assert offset.answered(asked, sent, now) if pings else offset.heard(sent, now)
        low, width = offset.low(now), offset.width(now)
        true = now - theirs(now)
        if low is not None and width is not None:
            assert low <= true + 1e-6
            assert low + width >= true - 1e-6


def test_nothing_is_known_before_a_ping_is_answered() -> None:
    offset = Offset()
    assert offset.heard(7.0, 100.0)
    assert offset.low(100.0) is None
    assert offset.width(100.0) is None


def test_the_quickest_answer_counts_and_fades() -> None:
    offset = Offset()
    offset.answered(10.0, 0.5, 10.01)
    offset.answered(11.0, 1.9, 12.0)
    low = offset.low(12.0)
    assert low is not None
    assert abs(low - (9.5 - 2 * DRIFT)) < 1e-9
    width = offset.width(12.0)
    assert width is not None
    assert width < 0.02


def test_a_clock_that_went_ahead_is_noticed_by_the_next_frame() -> None:
    offset = Offset()
    offset.answered(10.0, 0.0, 10.02)
    assert not offset.heard(8.0, 11.0)
    assert offset.low(11.0) is None
    assert offset.answered(12.0, 9.0, 12.02)
    assert offset.low(12.02) is not None


def test_a_clock_that_was_set_back_is_noticed_by_the_next_answer_and_known_by_the_one_after() -> None:
    offset = Offset()
    offset.answered(10.0, 100.0, 10.02)
    assert not offset.answered(11.0, 96.0, 11.02)
    assert offset.low(11.02) is None
    assert offset.answered(12.0, 97.0, 12.02)
    low = offset.low(12.02)
    assert low is not None
    assert abs(low - -85.0) < 0.01


def test_our_own_clock_that_lost_time_is_noticed() -> None:
    offset = Offset()
    offset.answered(10.0, 0.0, 10.01)
    # Ten seconds passed there, none here.
    assert not offset.heard(10.0, 10.02)
    assert offset.low(10.02) is None

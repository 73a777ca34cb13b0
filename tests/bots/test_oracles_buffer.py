"""The buffer of prices against a naive one, and its bounds."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.updown.oracles.buffer import MAX_SERIES, OracleBuffer
from bots.updown.oracles.ticks import Tick, TickKind
from polymirror.errors import ConfigError

SPOT, TWAP = TickKind.SPOT, TickKind.TWAP60


def tick(at_ms, price=1, asset="btc", kind=SPOT, received_at=0.0):
    return Tick(asset, kind, Decimal(price), at_ms, received_at)


class Naive:
    """What the buffer promises, in the plainest words."""

    def __init__(self, max_ticks, max_age_s):
        self.max_ticks, self.max_age_ms = max_ticks, max_age_s * 1000
        self.ticks = []

    def _keep(self, ticks):
        ticks = sorted(ticks, key=lambda each: each.at_ms)
        self.ticks = [each for each in ticks if each.at_ms >= ticks[-1].at_ms - self.max_age_ms][-self.max_ticks :]

    def put(self, new):
        if self.ticks and new.at_ms <= self.ticks[-1].at_ms:
            return False
        self._keep([*self.ticks, new])
        return True

    def fill(self, new):
        if not self.ticks or new.at_ms >= self.ticks[-1].at_ms or any(each.at_ms == new.at_ms for each in self.ticks):
            return False
        self._keep([*self.ticks, new])
        return new in self.ticks

    def at(self, at_ms):
        return max((each for each in self.ticks if each.at_ms <= at_ms), key=lambda each: each.at_ms, default=None)

    def nearest(self, at_ms, within_ms):
        near = [each for each in self.ticks if abs(each.at_ms - at_ms) <= within_ms]
        return min(near, key=lambda each: (abs(each.at_ms - at_ms), each.at_ms), default=None)

    def between(self, first, last):
        return [each for each in self.ticks if first <= each.at_ms <= last]


times = st.integers(0, 6_000)
steps = st.lists(st.tuples(st.sampled_from(["put", "fill"]), times), max_size=60)


@given(
    steps=steps, asked=st.lists(times, min_size=1, max_size=10), within=st.integers(0, 2_000), bound=st.integers(2, 8)
)
def test_it_answers_as_a_naive_buffer_does(steps, asked, within, bound):
    buffer, naive = OracleBuffer(max_ticks=bound, max_age_s=3), Naive(bound, 3)
    for number, (how, at_ms) in enumerate(steps):
        new = tick(at_ms, number + 1)
        assert getattr(buffer, how)(new) == getattr(naive, how)(new)
        assert buffer.count("btc", SPOT) == len(naive.ticks)
        assert buffer.latest("btc", SPOT) == (naive.ticks[-1] if naive.ticks else None)
    for at_ms in asked:
        assert buffer.at("btc", at_ms, SPOT) == naive.at(at_ms)
        assert buffer.nearest("btc", at_ms, SPOT, within) == naive.nearest(at_ms, within)
        assert list(buffer.between("btc", SPOT, at_ms, at_ms + within)) == naive.between(at_ms, at_ms + within)


def test_series_do_not_mix():
    buffer = OracleBuffer()
    assert buffer.put(tick(5_000, 1))
    assert buffer.put(tick(4_000, 2, kind=TWAP))
    assert buffer.put(tick(3_000, 3, asset="eth"))
    assert buffer.latest("btc", SPOT).price == 1
    assert buffer.latest("btc", TWAP).price == 2
    assert buffer.at("eth", 10_000, SPOT).price == 3
    assert buffer.at("eth", 10_000, TWAP) is None
    assert buffer.nearest("eth", 3_000, TWAP, 10) is None
    assert list(buffer.between("eth", TWAP, 0, 10_000)) == []
    assert buffer.count("eth", TWAP) == 0


def test_of_two_prices_of_one_moment_the_first_is_believed():
    buffer = OracleBuffer()
    buffer.put(tick(1_000, 1))
    buffer.put(tick(3_000, 3))
    assert not buffer.put(tick(3_000, 4))
    assert not buffer.fill(tick(1_000, 2))
    assert buffer.fill(tick(2_000, 2))
    assert [int(each.price) for each in buffer.between("btc", SPOT, 0, 9_000)] == [1, 2, 3]


def test_of_two_ticks_equally_near_the_earlier_is_returned():
    buffer = OracleBuffer()
    buffer.put(tick(1_000))
    buffer.put(tick(3_000))
    assert buffer.nearest("btc", 2_000, SPOT, 1_000).at_ms == 1_000
    assert buffer.nearest("btc", 2_001, SPOT, 1_000).at_ms == 3_000
    assert buffer.nearest("btc", 2_000, SPOT, 999) is None


def test_the_age_counts_from_the_arrival_of_the_newest():
    buffer = OracleBuffer()
    assert buffer.age("btc", 100.0) == math.inf
    buffer.put(tick(2_000, received_at=90.0))
    buffer.put(tick(2_000, kind=TWAP, received_at=95.0))
    buffer.put(tick(2_000, asset="eth", received_at=99.0))
    assert buffer.age("btc", 100.0) == 5.0
    assert buffer.age("btc", 100.0, SPOT) == 10.0
    assert buffer.age("eth", 100.0, TWAP) == math.inf


def test_memory_is_bounded_in_every_direction():
    buffer = OracleBuffer(max_ticks=10, max_age_s=60)
    for second in range(1_000):
        buffer.put(tick(second * 1_000))
    assert buffer.count("btc", SPOT) == 10
    for number in range(2 * MAX_SERIES):
        buffer.put(tick(1, asset=f"a{number}"))
    assert buffer.latest(f"a{MAX_SERIES - 2}", SPOT) is not None
    assert buffer.latest(f"a{MAX_SERIES - 1}", SPOT) is None


def test_a_leap_of_the_oracle_drops_what_is_too_old():
    buffer = OracleBuffer(max_age_s=60)
    buffer.put(tick(1_000))
    buffer.put(tick(200_000))
    assert buffer.count("btc", SPOT) == 1
    assert buffer.at("btc", 199_999, SPOT) is None
    assert not buffer.fill(tick(100_000))


@pytest.mark.parametrize("bound", [{"max_ticks": 1}, {"max_ticks": 10**7}, {"max_age_s": 0}, {"max_age_s": 1.5}])
def test_a_bound_out_of_range_is_named(bound):
    with pytest.raises(ConfigError, match=next(iter(bound))):
        OracleBuffer(**bound)

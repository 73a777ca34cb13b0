"""When faults strike: by the seed alone, and once for each time they are armed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.schedule import FIRST, LAST_PART, NEEDS_RECONNECTION, NO_FAULT, OCCURRENCES, PERIOD, Schedule, build
from polymirror.simulator.faults.base import Link
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.simulator.faults.line import FaultLine
from polymirror.simulator.frames import PRICE_CHANGE, Frame

HOUR = 3_600.0


def delta(number):
    return Frame(f'{{"n":{number}}}', PRICE_CHANGE, "0x01", "", number)


def test_a_seed_decides_the_moments():
    assert Schedule.draw("lost_delta", 1, HOUR) == Schedule.draw("lost_delta", 1, HOUR)
    assert Schedule.draw("lost_delta", 1, HOUR) != Schedule.draw("lost_delta", 2, HOUR)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_armed_within_the_run_and_has_time_between(fault):
    moments = Schedule.draw(fault, 7, HOUR).moments
    assert moments
    assert min(moments) >= FIRST
    length = FAULTS[fault].default_length_ms / 1000
    assert max(moments) <= HOUR * LAST_PART + max(PERIOD, OCCURRENCES * length, HOUR / OCCURRENCES) / 4
    for earlier, later in pairwise(moments):
        assert later - earlier >= max(PERIOD, length) * 0.75


def test_an_hour_has_about_one_strike_a_minute():
    assert 50 <= len(Schedule.draw("lost_delta", 7, HOUR).moments) <= 60


def test_nothing_happens_without_a_fault():
    assert Schedule.draw(NO_FAULT, 7, HOUR).moments == ()
    assert build(NO_FAULT, 7) == ()


def test_a_fault_strikes_once_each_time_it_is_armed():
    (fault,) = build("lost_delta", 7)
    line, link = FaultLine([fault]), Link(1)
    passed = []
    for number in range(100):
        if number in {10, 50}:
            fault.arm()
        passed += line.outgoing(link, [delta(number)], 1_000 + number)
    assert [number for number in range(100) if delta(number) not in passed] == [10, 50]
    assert fault.injected == 2


def test_an_armed_fault_waits_for_its_chance():
    (fault,) = build("lost_delta", 7)
    line, link = FaultLine([fault]), Link(1)
    fault.arm()
    tick = Frame("{}", "tick_size_change", "0x01", "", 1)
    assert line.outgoing(link, [tick], 1_000) == [tick]
    assert line.outgoing(link, [delta(1)], 1_001) == []


@pytest.mark.parametrize("fault", sorted(NEEDS_RECONNECTION))
def test_a_fault_of_new_connections_comes_with_a_disconnection(fault):
    assert [each.id for each in build(fault, 7)] == ["disconnect", fault]

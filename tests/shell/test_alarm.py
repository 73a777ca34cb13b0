"""The mirror's alarm: one timer, never later than the earliest deadline, and patient after a stall."""

from __future__ import annotations

import asyncio

import pytest

from polymirror.shell.alarm import MAX_SECONDS, MAX_TURNS, READ_TURNS, Alarm
from polymirror.simulator.virtual import run_virtual


async def _ring_after(due, *, late=0.0, waiting=0):
    """Set an alarm on a clock that is ``late``; return how often it looked at the frames that wait, and rang."""

    loop, looks, rang = asyncio.get_running_loop(), [], asyncio.Event()

    def wait():
        looks.append(loop.time())
        return len(looks) <= waiting

    start = loop.time()
    alarm = Alarm(lambda: loop.time() + (late if loop.time() >= start + due else 0.0), wait, rang.set)
    alarm.set(start + due)
    await rang.wait()
    return loop.time() - start, len(looks) - 1


@pytest.mark.parametrize(
    ("late", "waiting", "turns"),
    [(0.0, 0, 0), (0.001, 0, 0), (0.1, 0, READ_TURNS), (0.0, 5, 5), (0.1, 20, 20), (0.0, 10_000, MAX_TURNS)],
)
def test_it_lets_sockets_be_read_when_it_is_late_and_waiting_frames_be_applied(late, waiting, turns):
    seconds, passed = run_virtual(lambda: _ring_after(3.0, late=late, waiting=waiting))
    assert seconds == pytest.approx(3.0)
    assert passed == turns


def test_the_earliest_deadline_counts_and_it_rings_once():
    async def main():

        loop = asyncio.get_running_loop()
        rang = []
        alarm = Alarm(loop.time, lambda: False, lambda: rang.append(loop.time() - start))
        start = loop.time()
        for seconds in (9.0, 2.0, 5.0, float("inf")):
            alarm.set(start + seconds)
        await asyncio.sleep(20)
        alarm.set(loop.time() + 1)
        alarm.stop()
        alarm.set(loop.time() + 1)
        await asyncio.sleep(20)
        return rang

    assert run_virtual(main) == [pytest.approx(2.0)]


def test_it_rings_though_frames_wait_and_each_turn_is_long():
    async def main():
        loop = asyncio.get_running_loop()
        turns, rang = 0, asyncio.Event()

        def wait():
            nonlocal turns
            turns += 1
            return True

        # A clock on which a turn of the busy event loop takes a fifth of what an alarm may be held up.
        alarm = Alarm(lambda: loop.time() + turns * MAX_SECONDS / 5, wait, rang.set)
        alarm.set(loop.time() + 1)
        await rang.wait()
        return turns

    assert run_virtual(main) < MAX_TURNS / 8

"""Threads for blocking calls: bounded, and nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from polymirror.shell import helpers
from polymirror.shell.helpers import Helpers
from tests.background_rig import until
from tests.loopback import PATIENCE


def idle() -> bool:
    return helpers.NAME not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
def calls():
    calls = Helpers()
    yield calls
    calls.shutdown(wait=True)
    until(idle)


def test_a_call_returns_and_raises_as_in_any_executor(calls):
    assert calls.submit(divmod, 7, 2).result(PATIENCE) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        calls.submit(divmod, 7, 0).result(PATIENCE)
    with pytest.raises(SystemExit):
        calls.submit(sys.exit).result(PATIENCE)


def test_what_waits_is_bounded_and_may_be_cancelled(calls, monkeypatch):
    go_on, done = threading.Event(), []
    hanging = [calls.submit(go_on.wait, PATIENCE) for _ in range(helpers.THREADS)]
    until(lambda: all(each.running() for each in hanging))
    monkeypatch.setattr(helpers, "MAX_WAITING", 2)
    waiting = [calls.submit(done.append, number) for number in range(2)]
    with pytest.raises(RuntimeError, match="2 blocking calls, such as name look-ups, wait already"):
        calls.submit(int)
    assert waiting[0].cancel()
    go_on.set()
    waiting[1].result(PATIENCE)
    assert done == [1]


def test_the_end_of_a_loop_waits_for_no_call_that_hangs():
    go_on = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Helpers())
        loop.run_in_executor(None, go_on.wait, PATIENCE)
        assert await loop.run_in_executor(None, int) == 0

    asyncio.run(main())
    assert not go_on.is_set()
    go_on.set()
    until(idle)

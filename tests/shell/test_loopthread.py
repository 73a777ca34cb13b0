"""The thread of an event loop: whoever waits for it gets an answer or an error, whatever becomes of it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from queue import SimpleQueue

import pytest

from polymirror import MirrorClosed
from polymirror.shell import loopthread
from polymirror.shell.loopthread import LoopThread
from tests.background_rig import InThread, own_threads, until
from tests.loopback import PATIENCE


@asynccontextmanager
async def nothing():
    yield


@pytest.fixture
def thread():
    thread = LoopThread(nothing())
    thread.start()
    yield thread
    thread.stop()
    until(lambda: own_threads() == [])


async def answer() -> int:
    return 42


def test_it_gives_back_what_work_returns_and_raises(thread):
    async def fail() -> None:
        raise LookupError("of the work")

    assert thread.run(answer, "answer", PATIENCE) == 42
    assert thread.do(threading.get_ident, "do", PATIENCE) == thread._thread.ident
    with pytest.raises(LookupError, match="of the work"):
        thread.run(fail, "fail", PATIENCE)
    # What raised TimeoutError or was cancelled by itself is no time-out of ours.
    for raised, told in ((TimeoutError, TimeoutError), (asyncio.CancelledError, CancelledError)):

        async def end(error=raised) -> None:
            raise error

        with pytest.raises(told) as error:
            thread.run(end, "end", PATIENCE)
        assert error.type is told


def test_an_answer_that_is_never_given_ends_with_the_thread(monkeypatch):
    """The loop was closed after it took the work and before it looked at it."""
    monkeypatch.setattr(loopthread, "LOOK_SECONDS", 0.01)
    thread = LoopThread(nothing())
    thread.start()
    taken: list[object] = []
    monkeypatch.setattr(thread._loop, "call_soon_threadsafe", taken.append)
    waiting = InThread(lambda: thread.run(answer, "answer", None))
    until(lambda: taken)
    monkeypatch.undo()
    thread.stop()
    with pytest.raises(MirrorClosed, match="the mirror was stopped"):
        waiting.outcome()


def test_work_for_a_loop_that_was_closed_just_now_is_refused(monkeypatch):
    thread = LoopThread(nothing())
    thread.start()
    thread.stop()
    monkeypatch.setattr(thread, "_answers", lambda: True)
    with pytest.raises(MirrorClosed, match="the mirror was stopped"):
        thread.run(answer, "answer", PATIENCE)


def test_work_that_comes_while_it_ends_is_refused():
    ending, go_on = threading.Event(), threading.Event()

    @asynccontextmanager
    async def slow():
        yield
        ending.set()
        await asyncio.to_thread(go_on.wait, PATIENCE)

    thread = LoopThread(slow())
    thread.start()
    stopping = InThread(thread.stop)
    assert ending.wait(PATIENCE)
    with pytest.raises(MirrorClosed, match="the mirror was stopped"):
        thread.run(answer, "answer", PATIENCE)
    go_on.set()
    stopping.outcome()


def test_a_start_that_is_interrupted_leaves_nothing(monkeypatch):
    left: list[str] = []

    @asynccontextmanager
    async def hanging():
        try:
            await asyncio.Event().wait()
            yield
        finally:
            left.append("left")

    class Interrupted(SimpleQueue):
        def get(self, block=True, timeout=None):
            raise KeyboardInterrupt

    thread = LoopThread(hanging())
    thread._entering = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        thread.start()
    assert left in (["left"], [])
    assert thread.is_over
    assert thread._failure is None


def test_an_error_of_the_end_is_logged(caplog):
    @asynccontextmanager
    async def bad():
        yield
        raise LookupError("of the end")

    thread = LoopThread(bad())
    thread.start()
    thread.stop()
    [record] = [record for record in caplog.records if record.name == "polymirror"]
    assert record.exc_info[0] is LookupError
    with pytest.raises(MirrorClosed, match="the mirror has ended: LookupError: of the end"):
        thread.run(answer, "answer", PATIENCE)


INTERRUPTED = """
import asyncio, random, signal
from contextlib import asynccontextmanager
from polymirror.shell.loopthread import LoopThread

class Interrupted(BaseException): pass

def interrupt(*_): raise Interrupted

@asynccontextmanager
async def nothing():
    yield

async def answer():
    return 42

signal.signal(signal.SIGALRM, interrupt)
chance, interrupted = random.Random(1), 0
thread = LoopThread(nothing())
thread.start()
while interrupted < 3_000:
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 2e-4))
        for _ in range(100):  # an interruption may be lost: in a destructor
            assert thread.run(answer, "answer", 10.0) == 42
            assert not thread.is_over
    except Interrupted:
        interrupted += 1
assert thread.run(answer, "answer", 10.0) == 42
thread.stop()
print(len(thread._calls), thread._thread.is_alive())
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timer")
def test_what_is_interrupted_anywhere_leaves_nothing_in_disorder():
    """Ctrl-C comes anywhere: no answer is mixed up, no lock lost, no coroutine left behind, no thread denied."""
    command = [sys.executable, "-W", "error", "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 6, check=False)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 False\n", "")

"""The thread of an event loop: whoever waits for it gets an answer or an error, whatever becomes of it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from contextlib import asynccontextmanager

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

    def lost(work, _loop) -> Future[int]:
        taken.append(work)
        return Future()

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", lost)
    waiting = InThread(lambda: thread.run(answer, "answer", None))
    until(lambda: taken)
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

    class Interrupted(Future):
        def exception(self, timeout=None):
            raise KeyboardInterrupt

    thread = LoopThread(hanging())
    thread._entered = Interrupted()
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

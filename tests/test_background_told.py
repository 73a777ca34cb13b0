"""Being told without asyncio: updates that block, and callbacks in threads of their own."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from polymirror import BookState, MirrorClosed, Transition
from polymirror.simulator import Simulator
from tests.background_rig import InThread, own_threads, until, venue_of
from tests.loopback import PATIENCE


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    until(lambda: own_threads() == [])


@pytest.fixture(scope="module")
def quiet():
    with venue_of() as venue:
        yield venue


@pytest.fixture(scope="module")
def busy():
    with venue_of(Simulator(seed=3, rate=100)) as venue:
        yield venue


# ---- Updates


def test_it_tells_of_what_changed_since_it_was_made_also_before_the_start(quiet):
    mirror = quiet.background()
    updates = mirror.updates(timeout=PATIENCE)
    with pytest.raises(MirrorClosed, match="does not run yet"):
        next(updates)
    with mirror:
        assert {next(updates).token, next(updates).token} <= set(mirror.tokens)


def test_a_slow_reader_gets_the_newest_and_hears_how_much_it_missed(busy):
    with busy.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)
        up = mirror.tokens[0]
        fast, slow = mirror.updates(up, timeout=PATIENCE), mirror.updates(up, timeout=PATIENCE)
        assert next(slow).token == up
        for _ in range(5):
            next(fast)
        update = next(slow)
        assert update.conflated >= 3
        assert update.state is BookState.LIVE


def test_without_a_change_in_time_it_says_so_and_goes_on(quiet):
    with quiet.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)
        up = mirror.tokens[0]
        updates = mirror.updates(up, timeout=0.05)
        with pytest.raises(TimeoutError, match=r"no change within 0\.05 s"):
            list(updates)
        mirror.resync(up)
        assert next(updates).token == up


def test_each_thread_may_have_its_own_and_threads_that_share_one_take_turns(busy):
    with busy.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)
        own = [InThread(lambda: [next(mirror.updates(timeout=PATIENCE)) for _ in range(5)]) for _ in range(4)]
        shared = mirror.updates(timeout=PATIENCE)
        sharers = [InThread(lambda: [next(shared) for _ in range(5)]) for _ in range(4)]
        assert [len(thread.outcome()) for thread in own + sharers] == [5] * 8


def test_it_ends_when_it_is_closed_and_when_the_mirror_stops(quiet):
    mirror = quiet.background().start()
    mirror.wait_live(timeout=PATIENCE)
    with mirror.updates() as updates:
        waiting = InThread(lambda: list(updates))
    assert waiting.outcome() == []
    more = mirror.updates()
    waiting = InThread(lambda: list(more))
    mirror.stop()
    waiting.outcome()
    assert list(more) == list(updates) == []
    more.close()
    with pytest.raises(MirrorClosed, match="the mirror was stopped"):
        mirror.updates()


def test_one_that_nobody_holds_is_forgotten(quiet):
    with quiet.background() as mirror:
        for _ in range(3):
            mirror.updates()
        assert mirror.call(lambda it: len(it._teller._subscribers._subscriptions)) == 0


# ---- Callbacks


def test_a_callback_runs_in_a_thread_of_its_own_and_holds_up_nobody(busy):
    told: list[int] = []
    threads, go_on = set(), threading.Event()

    def slow(_) -> None:
        threads.add(threading.current_thread().name)
        assert go_on.wait(PATIENCE)

    def quick(update) -> None:
        threads.add(threading.current_thread().name)
        told.append(update.conflated)
        # It may ask the mirror, as any thread may.
        assert mirror.peek(update.token).token == update.token

    mirror = busy.background()
    mirror.on_update(slow)
    with mirror:
        remove = mirror.on_update(quick, *mirror.tokens)
        until(lambda: len(told) > 5)
        mirror.wait_live(timeout=PATIENCE)
        assert threads == {"polymirror callback"}
        remove()
        remove()
        until(lambda: own_threads().count("polymirror callback") == 1)
        go_on.set()


def test_transitions_are_told_in_order_to_the_end(quiet):
    told: list[Transition] = []
    left: list[Transition] = []
    mirror = quiet.background()
    mirror.on_transition(told.append)
    with mirror:
        remove = mirror.on_transition(left.append)
        mirror.wait_live(timeout=PATIENCE)
        up = mirror.tokens[0]
        mirror.resync(up)
        until(lambda: left)
        mirror.wait_live(timeout=PATIENCE)
        remove()
        remove()
        mirror.resync(up)
        mirror.wait_live(timeout=PATIENCE)
    states = [(each.old, each.new) for each in told if each.token == up]
    assert states[0] == (BookState.UNPRIMED, BookState.LIVE)
    assert states.count((BookState.RESYNCING, BookState.LIVE)) == 2
    assert all(before[1] is after[0] for before, after in pairwise(states))
    # The last ones are those of the end.
    assert told[-1].new is BookState.RESYNCING
    assert sum(each.old is BookState.LIVE for each in left) == 1
    with pytest.raises(MirrorClosed, match="the mirror was stopped"):
        mirror.on_transition(told.append)


def test_what_a_callback_raises_is_logged_once_for_a_while_and_stops_nothing(quiet, caplog):
    calls = []

    def careless(transition) -> None:
        calls.append(transition)
        raise ZeroDivisionError("a bug")

    with quiet.background() as mirror:
        mirror.on_transition(careless)
        for _ in range(5):
            mirror.wait_live(timeout=PATIENCE)
            mirror.resync(mirror.tokens[0])
        until(lambda: len(calls) >= 5)
    [record] = [record for record in caplog.records if "callback failed" in record.getMessage()]
    assert record.getMessage().startswith("a transition callback failed: ")
    assert record.getMessage().endswith("careless raised ZeroDivisionError: a bug")
    assert record.exc_info[0] is ZeroDivisionError
    assert mirror.status().failed_callbacks == len(calls)


def test_what_waits_for_a_callback_is_bounded_and_what_is_left_out_is_logged(quiet, caplog, monkeypatch):
    monkeypatch.setattr("polymirror.shell.callers.MAX_WAITING", 2)
    told: list[Transition] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(transition) -> None:
        told.append(transition)
        begun.set()
        assert go_on.wait(PATIENCE)

    with quiet.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)
        mirror.on_transition(slow)
        mirror.resync(mirror.tokens[0])
        assert begun.wait(PATIENCE)
        for _ in range(4):
            mirror.wait_live(timeout=PATIENCE)
            mirror.resync(mirror.tokens[0])
        go_on.set()
    assert "a callback is too slow: 2 wait already: it is not told of " in caplog.text
    assert mirror.status().transitions > len(told)


def test_a_callback_that_does_not_return_is_told_of_at_the_end(quiet, caplog, monkeypatch):
    monkeypatch.setattr("polymirror.shell.callers.JOIN_SECONDS", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def stuck(_) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    with quiet.background() as mirror:
        mirror.on_transition(stuck)
        mirror.wait_live(timeout=PATIENCE)
        mirror.resync(mirror.tokens[0])
        assert begun.wait(PATIENCE)
    assert "a callback did not return within 0.05 s of the mirror's end" in caplog.text
    go_on.set()
    until(lambda: own_threads() == [])


def test_a_callback_may_stop_the_mirror(quiet):
    stopped = threading.Event()
    mirror = quiet.background()

    def stop(_) -> None:
        if not stopped.is_set():
            mirror.stop()
            stopped.set()

    mirror.on_update(stop)
    mirror.start()
    assert stopped.wait(PATIENCE)
    until(lambda: own_threads() == [])

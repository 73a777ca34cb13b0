"""Being told without asyncio: updates that block, and callbacks in threads of their own."""

from __future__ import annotations

import json
import threading
from itertools import pairwise

import pytest

from polymirror import BookState, ConfigError, MirrorClosed, Missed, RawFrame, Reason, Traded, Transition, UnknownToken
from polymirror.shell.callers import Waiting
from polymirror.shell.warnlog import WarnLog
from tests.background_rig import InThread, own_threads, until
from tests.loopback import PATIENCE

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


# ---- Events


def test_events_come_in_order_and_only_those_that_are_asked_for(busy):
    mirror = busy.background()
    moves = mirror.events(Transition, timeout=PATIENCE)
    with mirror:
        trades = mirror.events(Traded, timeout=PATIENCE)
        mirror.wait_live(timeout=PATIENCE)
        first = next(moves)
        assert (first.old, first.new) == (BookState.UNPRIMED, BookState.LIVE)
        told = [next(trades) for _ in range(3)]
        assert all(isinstance(each, Traded) for each in told)
        assert [each.at for each in told] == sorted(each.at for each in told)
        up = mirror.tokens[0]
        mirror.resync(up)
        # The thread that waits is another than the one that asked.
        move = InThread(lambda: next(each for each in moves if each.reason is Reason.REQUESTED)).outcome()
        assert (move.token, move.new) == (up, BookState.SUSPECT)
    # What happened up to the end is told after it; and then it is over.
    assert BookState.RESYNCING in {each.new for each in moves}
    assert all(isinstance(each, Traded) for each in trades)
    assert list(moves) == list(trades) == []


def test_without_an_event_in_time_it_says_so_and_goes_on(quiet):
    with quiet.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)
        with mirror.events(Transition, timeout=0.05) as events:
            with pytest.raises(TimeoutError, match=r"nothing happened within 0\.05 s"):
                list(events)
            mirror.resync(mirror.tokens[0])
            assert next(events).reason is Reason.REQUESTED
        until(lambda: mirror.call(lambda it: len(it._teller._happenings._iterators)) == 0)


def test_events_that_are_left_out_are_counted(quiet, monkeypatch):
    monkeypatch.setattr("polymirror.shell.happenings.MAX_WAITING", 2)
    with quiet.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)
        events = mirror.events(Transition, timeout=PATIENCE)
        for _ in range(3):
            mirror.resync(mirror.tokens[0])
            mirror.wait_live(timeout=PATIENCE)
        missed = next(events)
        assert isinstance(missed, Missed)
        assert missed.count >= 3
        assert isinstance(next(events), Transition)


def test_what_is_no_kind_of_event_is_refused(quiet):
    mirror = quiet.background()
    with pytest.raises(ConfigError, match=r"kinds=.*one of Transition"):
        mirror.events(int)
    with mirror, pytest.raises(ConfigError, match=r"kinds=.*one of Transition"):
        mirror.events(int)


# ---- Callbacks


def test_trades_are_told_in_order_and_only_of_the_tokens_asked_for(busy):
    trades: list[Traded] = []
    of_one: list[Traded] = []
    threads = set()
    mirror = busy.background()

    def keep(trade: Traded) -> None:
        threads.add(threading.current_thread().name)
        trades.append(trade)

    with mirror:
        mirror.wait_live(timeout=PATIENCE)
        up = mirror.tokens[0]
        with pytest.raises(UnknownToken):
            mirror.on_trade(print, "1")
        remove = mirror.on_trade(keep)
        mirror.on_trade(of_one.append, up)
        until(lambda: len(of_one) >= 3 and len({trade.token for trade in trades}) == 2)
        remove()
        assert threads == {"polymirror callback"}
        assert mirror.call(lambda it: len(it._teller._trades)) == 1
    assert {trade.token for trade in of_one} == {up}
    same = [trade for trade in trades if trade.token == up]
    assert same == of_one[: len(same)]
    assert [trade.at for trade in trades] == sorted(trade.at for trade in trades)


def test_every_frame_is_handed_over_as_it_was_received(quiet):
    frames: list[RawFrame] = []
    mirror = quiet.background()
    mirror.on_frame(frames.append)
    with mirror:
        mirror.wait_live(timeout=PATIENCE)
        remove = mirror.on_frame(lambda _: 1 // 0)
        mirror.resync(mirror.tokens[0])
        mirror.wait_live(timeout=PATIENCE)
        remove()
        counted = mirror.call(lambda it: it.engine.frames)
    assert len(frames) >= counted > 0
    assert all(json.loads(frame.data) is not None for frame in frames)
    assert [frame.received_at for frame in frames] == sorted(frame.received_at for frame in frames)


def test_frames_that_wait_are_bounded_by_their_bytes(monkeypatch, caplog):
    monkeypatch.setattr("polymirror.shell.callers.MAX_WAITING_BYTES", 100)
    waiting = Waiting(WarnLog(), lambda frame: len(frame.data), lambda frame: f"{len(frame.data)} bytes")
    for size in (150, 1, 60, 60):
        waiting.put(RawFrame(0, 0, b"x" * size, 0.0))
    # The first may be as large as it is; then there is no room until it is taken.
    assert len(next(waiting).data) == 150
    assert "1 wait already: it is not told of 1 bytes" in caplog.text
    for size in (60, 60, 40):
        waiting.put(RawFrame(0, 0, b"x" * size, 0.0))
    waiting.end()
    assert [len(each.data) for each in waiting] == [60, 40]


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

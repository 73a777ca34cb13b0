from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from polymirror.errors import RateLimited
from polymirror.venue.backoff import FullJitter, parse_retry_after
from polymirror.venue.budget import RateBudget, SlidingWindow
from polymirror.venue.closing import MAX_REASON, CloseKind, cause_of
from polymirror.venue.inbox import Inbox
from polymirror.venue.watchdog import Watchdog, is_json_data


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_the_jitter_is_drawn_like_tenacitys_own(attempt, seed):
    ours = FullJitter(0.25, 30, random.Random(seed)).seconds(attempt)
    state = SimpleNamespace(attempt_number=attempt)
    random.seed(seed)
    theirs = tenacity.wait_random_exponential(multiplier=0.25, max=30)(state)
    assert ours == theirs
    assert 0 <= ours <= 30


def failed_with(retry_after, attempt=1):
    outcome = SimpleNamespace(exception=lambda: RateLimited("x", retry_after))
    return SimpleNamespace(outcome=outcome, attempt_number=attempt)


def test_a_wish_is_waited_for_up_to_its_limit_with_jitter_on_top():
    jitter = FullJitter(0.25, 30, random.Random(1), longest_wish=10)
    assert 7 <= jitter(failed_with(7)) <= 7.25
    assert 10 <= jitter(failed_with(70)) <= 10.25
    assert jitter(failed_with(None)) <= 0.25
    assert jitter(SimpleNamespace(outcome=None, attempt_number=1)) <= 0.25


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("Mon, 21 Sep 2026 14:13:27 GMT", 7.0),
        ("Mon, 21 Sep 2020 14:13:27 GMT", 0.0),
        ("Mon, 99 Sep 2026 14:13:27 GMT", None),
        ("later", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(header, seconds):
    assert parse_retry_after(header, 1_790_000_000) == seconds


def test_silences_are_told_apart_and_the_graver_one_wins():
    watchdog = Watchdog(data_timeout=30, transport_timeout=45, started=100)
    assert watchdog.deadline() == 130
    assert watchdog.verdict(129.9) is None
    assert watchdog.verdict(130) is CloseKind.DATA_SILENCE
    assert watchdog.verdict(145) is CloseKind.TRANSPORT_SILENCE
    watchdog.heard_bytes(120)
    assert watchdog.verdict(130) is CloseKind.DATA_SILENCE
    watchdog.vouch(125)
    assert watchdog.deadline() == 155
    watchdog.heard_data(150)
    assert watchdog.deadline() == 180
    watchdog.vouch(140)
    assert watchdog.deadline() == 180


@given(st.lists(st.tuples(st.sampled_from(["bytes", "data", "vouch"]), st.floats(0, 20)), max_size=30))
def test_before_its_deadline_a_watchdog_has_nothing_to_say(events):
    watchdog = Watchdog(data_timeout=5, transport_timeout=7, started=0)
    now = 0.0
    for what, step in events:
        now += step
        {"bytes": watchdog.heard_bytes, "data": watchdog.heard_data, "vouch": watchdog.vouch}[what](now)
        deadline = watchdog.deadline()
        assert watchdog.verdict(deadline) is not None
        assert watchdog.verdict(deadline - 0.001) is None


@pytest.mark.parametrize("frame", ["PONG", "INVALID OPERATION", "NO NEW ASSETS", "[]", "[]\n", "[ ]", "", "\n", "  "])
def test_heartbeats_and_text_replies_are_not_data(frame):
    assert not is_json_data(frame)
    assert not is_json_data(frame.encode())


@pytest.mark.parametrize("frame", ['{"a":1}', '[{"a":1}]', '\n [ {"a":1}]', "{"])
def test_json_objects_and_filled_arrays_are_data(frame):
    assert is_json_data(frame)
    assert is_json_data(frame.encode())


def test_an_inbox_keeps_order_and_both_bounds():
    inbox = Inbox(max_frames=2, max_bytes=10)
    assert inbox.put(1.0, b"12345")
    assert not inbox.put(2.0, b"123456")
    assert inbox.put(3.0, b"12345")
    assert not inbox.put(4.0, b"")
    assert (len(inbox), inbox.waiting_bytes, inbox.deepest) == (2, 10, 2)
    assert inbox.pop() == (1.0, b"12345")
    assert inbox.waiting_bytes == 5
    assert inbox.discard() == 1
    assert (len(inbox), inbox.waiting_bytes, inbox.deepest) == (0, 0, 2)
    with pytest.raises(IndexError):
        inbox.pop()


@pytest.mark.parametrize(
    ("received", "sent", "order", "kind", "code"),
    [
        (Close(1000, "done"), Close(1000, ""), True, CloseKind.CLOSED, 1000),
        (Close(1013, "slow"), None, None, CloseKind.CLOSED, 1013),
        (None, Close(1009, "big"), None, CloseKind.OVERFLOW, 1009),
        (Close(1009, ""), Close(1009, "big"), False, CloseKind.OVERFLOW, 1009),
        (None, Close(1002, "bad frame"), None, CloseKind.RESET, 1002),
        (None, None, None, CloseKind.RESET, None),
    ],
)
def test_a_cause_is_read_from_what_was_received_and_sent(received, sent, order, kind, code):
    cause = cause_of(ConnectionClosedError(received, sent, order))
    assert (cause.kind, cause.code) == (kind, code)


def test_a_reason_of_the_other_side_is_kept_short():
    assert len(cause_of(ConnectionClosedError(Close(1000, "x" * 500), None, None)).reason) == MAX_REASON


@given(st.integers(1, 5), st.lists(st.floats(0, 4), min_size=1, max_size=60))
def test_no_window_ever_holds_more_than_its_limit(limit, steps):
    window = SlidingWindow(limit, 10.0)
    now = 0.0
    taken: list[float] = []
    for step in steps:
        now += step
        now += window.delay(now)
        assert window.delay(now) <= 1e-9
        window.take(now)
        taken.append(now)
    for index, moment in enumerate(taken[limit:]):
        assert moment - taken[index] >= 10 - 1e-6


def test_a_held_window_lets_nobody_through():
    window = SlidingWindow(5, 10.0)
    window.hold(7)
    window.hold(3)
    assert window.delay(0) == 7
    assert window.delay(8) == 0


def test_a_window_tells_how_many_calls_may_go_at_once():
    window = SlidingWindow(3, 10.0)
    assert window.left(0) == 3
    for moment in (0, 4, 5):
        window.take(moment)
    assert [window.left(now) for now in (5, 9.9, 10, 14, 15, 99)] == [0, 0, 1, 2, 3, 3]
    for now in (10, 14, 99):
        assert (window.left(now) > 0) == (window.delay(now) == 0)
    window.hold(105)
    assert [window.left(now) for now in (104.9, 105)] == [0, 3]


@pytest.mark.anyio
async def test_a_budget_counts_calls_that_wait_as_spent(rig):
    budget = RateBudget(2, clock=rig.time.clock, sleep=rig.time.sleep)
    assert budget.left == 2
    await budget.spend("x")
    assert budget.left == 1
    await budget.spend("x")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(budget.spend("x"))
        await rig.time.asleep()
        assert budget.left == 0
        waiting.cancel()
    rig.time.advance(10)
    assert budget.left == 2


@pytest.mark.anyio
async def test_callers_are_served_in_the_order_they_came(rig):
    budget = RateBudget(1, clock=rig.time.clock, sleep=rig.time.sleep)
    served: list[int] = []

    async def caller(number: int) -> None:
        await budget.spend("x")
        served.append(number)

    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(6):
            tasks.append(group.create_task(caller(number)))
            await asyncio.sleep(0)
        tasks[3].cancel()
        for _ in range(4):
            rig.time.advance(await rig.time.asleep())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert served == [0, 1, 2, 4, 5]
    assert rig.time.now == 1_040


@pytest.mark.anyio
async def test_too_many_waiting_callers_are_turned_away(rig):
    budget = RateBudget(1, max_waiting=2, clock=rig.time.clock, sleep=rig.time.sleep)
    await budget.spend("first")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(budget.spend("x")) for _ in range(2)]
        await rig.time.asleep()
        with pytest.raises(RateLimited, match="our own budget"):
            await budget.spend("one too many")
        for task in tasks:
            task.cancel()

"""Subscribers: always the newest, never a backlog, and no way to disturb the mirror."""

from __future__ import annotations

import asyncio
import gc
import logging
import time

import pytest
from attrs import evolve

from polymirror import BookState, ConfigError, Mirror, NotLive, Reason, Update
from polymirror.shell.callbacks import Guard
from polymirror.shell.subscribers import Subscribers
from polymirror.shell.warnlog import WarnLog
from polymirror.simulator import Simulator
from polymirror.status.health import Records
from tests.loopback import PATIENCE, mirror_of, settings, until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def unhurried(monkeypatch) -> None:
    """A busy machine must not end a turn in the middle; the tests of that say how long a turn is."""
    monkeypatch.setattr("polymirror.shell.subscribers.MAX_SLICE_SECONDS", 10.0)


GONE = ("gone",)


def subscribers_of(limit: int) -> Subscribers:
    return Subscribers(limit, Guard(WarnLog(), Records(), time.monotonic))


def describe(token: str, conflated: int) -> Update | None:
    return None if token in GONE else Update(token, BookState.LIVE, Reason.PROVEN, 0, conflated)


async def test_a_slow_reader_gets_the_newest_once_and_how_many_it_stands_for() -> None:
    subscribers = subscribers_of(10)
    updates = subscribers.subscribe((), describe)
    for _ in range(100_000):
        subscribers.notify(("a", "b"), describe)
    subscribers.notify(("b",), describe)
    assert updates.reader.pending() == {"a", "b"}
    assert [(await anext(updates)).conflated for _ in range(2)] == [99_999, 100_000]
    subscribers.notify(("a",), describe)
    assert await anext(updates) == describe("a", 0)


async def test_a_reader_that_waits_is_woken_and_only_for_its_tokens() -> None:
    subscribers = subscribers_of(10)
    updates = subscribers.subscribe(("b",), describe)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(anext(updates))
        await asyncio.sleep(0)
        subscribers.notify(("a",), describe)
        await asyncio.sleep(0)
        assert not waiting.done()
        subscribers.notify(("gone", "b", "a"), describe)
    assert waiting.result() == describe("b", 0)
    assert updates.reader.pending() == set()


async def test_one_subscription_is_for_one_reader() -> None:
    subscribers = subscribers_of(10)
    updates = subscribers.subscribe((), describe)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(anext(updates))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="make one for each"):
            await anext(updates)
        subscribers.notify(("a",), describe)
    assert waiting.result() == describe("a", 0)


async def test_a_reader_that_is_cancelled_loses_nothing_and_may_read_on() -> None:
    subscribers = subscribers_of(10)
    updates = subscribers.subscribe((), describe)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(updates)
    subscribers.notify(("a",), describe)
    assert (await anext(updates)) == describe("a", 0)


async def test_closing_ends_the_iteration_after_what_was_pending() -> None:
    subscribers = subscribers_of(2)
    async with subscribers.subscribe((), describe) as updates:
        subscribers.notify(("a", "gone"), describe)
    assert [update.token async for update in updates] == ["a"]
    subscribers.notify(("a",), describe)
    assert [update.token async for update in updates] == []
    waiting = subscribers.subscribe((), describe)
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(_read(waiting))
        await asyncio.sleep(0)
        subscribers.close()
    assert reader.result() == []


async def _read(updates) -> list[Update]:
    return [update async for update in updates]


async def test_there_is_a_limit_and_whoever_left_makes_room() -> None:
    subscribers = subscribers_of(3)
    kept = subscribers.subscribe((), describe)
    left = subscribers.subscribe((), describe)
    remove = subscribers.call(print, ())
    for add in (lambda: subscribers.subscribe((), describe), lambda: subscribers.call(print, ())):
        with pytest.raises(ConfigError, match=r"subscribers=4 .* at most max_subscribers=3"):
            add()
    remove()
    remove()
    subscribers.call(print, ())
    # A loop that was left with break: nobody holds its iterator any more.
    del left
    gc.collect()
    subscribers.subscribe((), describe).close()
    kept.close()
    assert len(subscribers._subscriptions) == 0


async def test_callbacks_hear_once_per_turn_of_the_loop() -> None:
    subscribers = subscribers_of(10)
    heard: list[Update] = []
    only_b: list[str] = []
    subscribers.call(heard.append, ())
    subscribers.call(lambda update: only_b.append(update.token), ("b",))
    for _ in range(50):
        subscribers.notify(("a", "b", "gone"), describe)
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [describe("a", 49), describe("b", 49)]
    assert only_b == ["b"]
    await asyncio.sleep(0)
    assert len(heard) == 2


async def test_a_callback_that_raises_is_logged_and_stops_nobody(caplog) -> None:
    subscribers = subscribers_of(10)
    heard: list[str] = []
    subscribers.call(lambda _: 1 // 0, ())
    subscribers.call(lambda update: heard.append(update.token), ())
    for _ in range(2):
        subscribers.notify(("a", "b"), describe)
        await asyncio.sleep(0)
    assert heard == ["a", "b", "a", "b"]
    failures = [each for each in caplog.records if each.levelno == logging.ERROR]
    (failure,) = failures
    assert failure.getMessage().startswith("an update callback failed: ")
    assert failure.getMessage().endswith("<lambda> raised ZeroDivisionError: integer division or modulo by zero")
    assert failure.exc_info is not None


async def test_a_callback_removed_by_another_in_the_same_turn_is_not_called() -> None:
    subscribers = subscribers_of(10)
    heard: list[str] = []
    subscribers.call(lambda _: remove(), ())
    remove = subscribers.call(lambda update: heard.append(update.token), ())
    subscribers.notify(("a", "b"), describe)
    await asyncio.sleep(0)
    assert heard == []


async def test_a_callback_that_changes_the_subscriptions_disturbs_nobody() -> None:
    subscribers = subscribers_of(10)
    made = []
    subscribers.call(lambda _: made.append(subscribers.subscribe((), describe)), ())
    subscribers.notify(("a",), describe)
    await asyncio.sleep(0)
    subscribers.notify(("a",), describe)
    assert (await anext(made[0])) == describe("a", 0)


async def test_slow_callbacks_give_way_and_miss_nobody(monkeypatch) -> None:
    monkeypatch.setattr("polymirror.shell.subscribers.MAX_SLICE_SECONDS", 0.0)
    subscribers = subscribers_of(10)
    heard: list[Update] = []
    for _ in range(2):
        subscribers.call(heard.append, ())
    subscribers.notify(("a", "b"), describe)
    await asyncio.sleep(0)
    assert heard == [describe("a", 0)]
    # Meanwhile more changes, also of what waits to be told.
    subscribers.notify(("b", "c"), describe)
    for _ in range(3):
        await asyncio.sleep(0)
    assert heard == [describe("a", 0), describe("a", 0), describe("b", 1), describe("b", 1)]
    for _ in range(4):
        await asyncio.sleep(0)
    assert heard[4:] == [describe("c", 0), describe("c", 0)]


@pytest.mark.parametrize("only", [("b",), ("gone",)], ids=["one token", "a token that is gone"])
async def test_passing_over_tokens_that_nobody_is_called_about_gives_way_as_well(monkeypatch, only) -> None:
    monkeypatch.setattr("polymirror.shell.subscribers.MAX_SLICE_SECONDS", 0.0)
    subscribers = subscribers_of(10)
    heard: list[str] = []
    subscribers.call(lambda update: heard.append(update.token), only)
    many = tuple(f"token {number}" for number in range(100))
    subscribers.notify((*many, *GONE, "b"), describe)
    turns = 0
    while subscribers._scheduled:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= len(many)
    assert heard == [token for token in only if token not in GONE]


async def test_tokens_that_nobody_is_called_about_are_not_described() -> None:
    described: list[str] = []

    def note(token: str, conflated: int) -> Update | None:
        described.append(token)
        return describe(token, conflated)

    subscribers = subscribers_of(10)
    for _ in range(2):
        subscribers.call(lambda _: None, ("b",))
    subscribers.notify(("a", "b", "c"), note)
    await asyncio.sleep(0)
    assert described == ["b"]


async def test_a_callback_that_raises_a_cancellation_is_logged_as_any_other(caplog) -> None:
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    subscribers = subscribers_of(10)
    heard: list[str] = []
    subscribers.call(lambda _: cancelled.result(), ())
    subscribers.call(lambda update: heard.append(update.token), ())
    for _ in range(2):
        subscribers.notify(("a", "b"), describe)
        await asyncio.sleep(0)
    assert heard == ["a", "b", "a", "b"]
    (failure,) = caplog.records
    assert failure.getMessage().startswith("an update callback failed: ")


async def test_a_callback_hears_nothing_of_what_was_under_way_when_all_before_it_had_left(monkeypatch) -> None:
    monkeypatch.setattr("polymirror.shell.subscribers.MAX_SLICE_SECONDS", 0.0)
    subscribers = subscribers_of(10)
    first: list[str] = []
    second: list[Update] = []
    remove = subscribers.call(lambda update: first.append(update.token), ())
    subscribers.notify(("a", "b", "c"), describe)
    await asyncio.sleep(0)
    remove()
    subscribers.call(second.append, ())
    subscribers.notify(("c",), describe)
    for _ in range(6):
        await asyncio.sleep(0)
    assert first == ["a"]
    assert second == [describe("c", 0)]


async def test_closing_in_the_middle_of_a_delivery_ends_it(monkeypatch) -> None:
    monkeypatch.setattr("polymirror.shell.subscribers.MAX_SLICE_SECONDS", 0.0)
    subscribers = subscribers_of(10)
    heard: list[str] = []
    subscribers.call(lambda update: heard.append(update.token), ())
    subscribers.notify(("a", "b", "c"), describe)
    await asyncio.sleep(0)
    subscribers.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert heard == ["a"]
    assert not subscribers._scheduled


async def test_callbacks_that_are_all_removed_while_they_give_way_are_over(monkeypatch) -> None:
    monkeypatch.setattr("polymirror.shell.subscribers.MAX_SLICE_SECONDS", 0.0)
    subscribers = subscribers_of(10)
    heard: list[str] = []
    remove = subscribers.call(lambda update: heard.append(update.token), ())
    subscribers.notify(("a", "b"), describe)
    await asyncio.sleep(0)
    remove()
    for _ in range(4):
        await asyncio.sleep(0)
    assert heard == ["a"]
    subscribers.call(lambda update: heard.append(update.token), ())
    subscribers.notify(("c",), describe)
    for _ in range(3):
        await asyncio.sleep(0)
    assert heard == ["a", "c"]


async def test_telling_costs_the_same_for_any_number_that_do_not_wait(monkeypatch) -> None:
    offered = []

    def wake(subscription) -> None:
        offered.append(subscription)

    monkeypatch.setattr("polymirror.shell.subscribers.Subscription.wake", wake)
    subscribers = subscribers_of(200)
    kept = [subscribers.subscribe(("a",) if i % 2 else (), describe) for i in range(100)]
    other = subscribers.subscribe(("c",), describe)
    waiting = asyncio.ensure_future(anext(other))
    await asyncio.sleep(0)
    for _ in range(10):
        subscribers.notify(("a", "b"), describe)
    assert offered == []
    subscribers.notify(("c",), describe)
    assert offered == [other]
    waiting.cancel()
    assert [(await anext(each)).conflated for each in kept] == [9] * 100


async def test_tokens_that_are_mirrored_no_more_are_dropped_from_what_is_pending() -> None:
    subscribers = subscribers_of(10)
    updates = subscribers.subscribe((), describe)
    for number in range(1_000):
        subscribers.notify((f"token {number}",), describe)
        subscribers.forget((f"token {number}", "never seen"))
    assert updates.reader.pending() == set()


# ---- On a mirror -----------------------------------------------------------------------------------


async def test_a_reader_that_never_comes_costs_the_mirror_nothing() -> None:
    async with Simulator(seed=3, rate=300) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        slow = mirror.updates()
        heard: list[Update] = []
        mirror.on_update(heard.append)
        await until(mirror, lambda: len(heard) >= 200)
        assert slow.reader.pending() == set(mirror.tokens)
        first = await anext(slow)
        assert first.conflated > 0
        # It is told of the past, and reads the present.
        newest = mirror.live(first.token)
        assert venue.confirms(newest, 1.0)
        mirror.remove_market(mirror.markets[0].condition_id)
        assert slow.reader.pending() == set()


async def test_a_raising_callback_does_not_stop_the_mirror() -> None:
    async with Simulator(seed=3, rate=100) as venue, mirror_of(venue) as mirror:
        calls = []

        def fail(update: Update) -> None:
            calls.append(update)
            raise NotLive(update.token, update.state, update.reason, None, update.epoch)

        mirror.on_update(fail)
        mirror.on_transition(fail)
        await mirror.wait_live(timeout=PATIENCE)
        await until(mirror, lambda: len(calls) >= 20)
        mirror.live(mirror.tokens[0])


async def test_the_limit_of_a_mirror_is_the_one_of_its_settings() -> None:
    mirror = Mirror(config=evolve(settings(), max_subscribers=1))
    first = mirror.updates()
    with pytest.raises(ConfigError, match="max_subscribers=1"):
        mirror.on_update(print)
    first.close()
    mirror.on_update(print)

"""What a hundred subscribers add to the way of a frame: engine, drain, and telling all of them.

Told is everybody; read is by nobody, because what a subscriber does when it gets its turn is its own business and is
given apart: the cost of one delivered update. Subscribers that have not come to read get the newest state when they
do, so a slow one costs nothing more.
"""

from __future__ import annotations

import asyncio
import time
from time import thread_time_ns
from typing import TYPE_CHECKING

from benchmarks.speed.frames import DENSE_48, TOKENS, make_frames, seconds_of
from benchmarks.speed.method import Costs, no_collections
from benchmarks.speed.own import LINE, prime
from benchmarks.speed.rows import Row, spread_of
from polymirror.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.speed.frames import Frames
    from benchmarks.speed.rows import Options
    from polymirror.shell.subscribers import Subscription

SUBSCRIBERS = 100
TARGET = 1.05


def measure(options: Options) -> Iterator[Row]:
    """Measure a mirror without and with subscribers, in turns; then the delivery of updates."""
    rounds = options.choose(30, 9)
    frames = make_frames(DENSE_48, options.choose(31_000, 5_000))
    alone, told = asyncio.run(_race(frames, rounds))
    ratio = told.over(alone)
    yield Row(
        "fan_out_100_subscribers",
        "way of a frame with 100 subscribers / without",
        ratio.median,
        TARGET,
        details={
            **spread_of(ratio),
            "us_per_frame_without": alone.median / 1000,
            "us_per_frame_with": told.median / 1000,
            "us_per_delivered_update": asyncio.run(_deliver(frames)) / 1000,
            "note": "Half of the subscribers want one token, half want all. The books carry hashes and are proven.",
        },
    )


class _Told:
    """A mirror that is fed by hand."""

    def __init__(self, frames: Frames) -> None:
        # Asked for, but never started: nothing is looked up.
        self.mirror = Mirror(tokens=TOKENS)
        # The mirror sets an alarm for its deadlines, on the real clock.
        self._base = time.monotonic()
        prime(self.mirror.engine, frames, self._base)

    def subscribe(self) -> list[Subscription]:
        """Return subscribers who hold on."""
        return [self.mirror.updates(*TOKENS[: i % 2]) for i in range(SUBSCRIBERS)]

    def take(self, part: Sequence[bytes], times: Sequence[float]) -> None:
        """What the mirror does with each frame that its sockets hand over."""
        receive, drain = self.mirror.engine.receive, self.mirror._drain  # noqa: SLF001 - as its sockets do
        base = self._base
        for frame, now in zip(part, times, strict=True):
            receive(LINE, frame, base + now)
            drain()


async def _race(frames: Frames, rounds: int) -> tuple[Costs, Costs]:
    """Take slices with and without subscribers in turns, by one mirror: two would lie differently in memory."""
    told, clock = _Told(frames), seconds_of(frames.stamps)
    spent: tuple[list[float], list[float]] = ([], [])
    size = len(frames.changes) // (2 * rounds + 2)
    with no_collections():
        for turn in range(2 * rounds + 2):
            part = slice(turn * size, (turn + 1) * size)
            # With, without, without, with: neither is always the second of a pair.
            subscribed = turn % 4 in (0, 3)
            subscriptions = told.subscribe() if subscribed else []
            start = thread_time_ns()
            told.take(frames.changes[part], clock[part])
            took = (thread_time_ns() - start) / size
            if turn > 1:
                spent[subscribed].append(took)
            for subscription in subscriptions:
                subscription.close()
    return Costs(tuple(spent[False])), Costs(tuple(spent[True]))


async def _deliver(frames: Frames) -> float:
    """Return what waking a waiting subscriber and handing it one update costs, in nanoseconds."""
    told = _Told(frames)
    clock = seconds_of(frames.stamps)
    delivered = 0

    async def listen(subscription: Subscription) -> None:
        nonlocal delivered
        async for _ in subscription:
            delivered += 1

    async with asyncio.TaskGroup() as group:
        listeners = [group.create_task(listen(each)) for each in told.subscribe()]
        await asyncio.sleep(0)
        with no_collections():
            start = thread_time_ns()
            for i in range(200):
                told.take(frames.changes[i : i + 1], clock[i : i + 1])
                for _ in range(3):
                    await asyncio.sleep(0)
            spent = thread_time_ns() - start
        for each in listeners:
            each.cancel()
    return spent / delivered

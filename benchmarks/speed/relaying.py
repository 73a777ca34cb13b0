"""What a relay costs its mirror, what a consumer costs the relay, and how much later the far end has a change.

The costs are measured in one process, by hand-fed frames of a book of 48 levels, in turns. The delay is measured with a
venue, a mirror with its relay, and a consumer, each a process of its own on loopback: from the moment at which the
mirror tells its own subscribers of a state to the moment at which the consumer tells its.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from time import thread_time_ns
from typing import TYPE_CHECKING, Any

from benchmarks.speed.frames import DENSE_48, MARKET, TOKENS, make_frames, seconds_of
from benchmarks.speed.loopback import market, venue
from benchmarks.speed.method import Costs, no_collections, unpin
from benchmarks.speed.own import LINE, prime
from benchmarks.speed.rows import Row, missing, spread_of
from polymirror.mirror import Mirror
from polymirror.relay.hostclock import HostClock
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.replica import Replica
from polymirror.relay.server import MirrorBooks
from polymirror.relay.wire import Ask
from polymirror.venue.network import REAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.speed.frames import Frames
    from benchmarks.speed.loopback import Far
    from benchmarks.speed.rows import Options
    from polymirror.relay.publisher import Consumer

COST_TARGET = 1.10
DELAY_TARGET_MS = 2.0
RATE = 500.0
CONSUMERS = 10
PATIENCE = 20.0

TURNS = ("without", "on", "told")


def measure(options: Options) -> Iterator[Row]:
    """Measure the costs, then the delay."""
    rounds = options.choose(30, 9)
    costs, others = _race(make_frames(DENSE_48, options.choose(31_000, 5_000)), rounds)
    without, idle, told = (costs[turn] for turn in TURNS)
    ratio = idle.over(without)
    yield Row(
        "relay_on",
        "way of a frame in a mirror with a relay that nobody listens to / without",
        ratio.median,
        COST_TARGET,
        details={
            **spread_of(ratio),
            "us_per_frame_without": without.median / 1000,
            "us_per_frame_with_a_consumer_of_both_tokens": told.median / 1000,
            **others,
        },
    )
    yield _delay(options)


class _Fed:
    """A mirror that is fed by hand, and a publisher of its books."""

    def __init__(self, frames: Frames) -> None:
        self.mirror = Mirror(tokens=TOKENS)
        self.base = time.monotonic()
        prime(self.mirror.engine, frames, self.base)
        self.publisher = Publisher(MirrorBooks(self.mirror, self.mirror.now), "run", HostClock(REAL))

    def take(self, part: Sequence[bytes], times: Sequence[float], told: list[Consumer] | None) -> None:
        """What the mirror does with each frame, and the relay after it."""
        engine, publisher = self.mirror.engine, self.publisher
        receive, base = engine.receive, self.base
        for frame, now in zip(part, times, strict=True):
            receive(LINE, frame, base + now)
            engine.effects()
            engine.events()
            changed = engine.dirty()
            if told is None:
                continue
            publisher.changed(changed)
            for consumer in told:
                while consumer.waits:
                    publisher.frame(consumer)


def _race(frames: Frames, rounds: int) -> tuple[dict[str, Costs], dict[str, float]]:
    """Take slices without a relay, with one, and with a consumer, in turns, by one mirror."""
    fed, clock = _Fed(frames), seconds_of(frames.stamps)
    spent: dict[str, list[float]] = {turn: [] for turn in (*TURNS, "many")}
    order = (*TURNS, "many", *reversed((*TURNS, "many")))
    turns = len(order) * (1 + max(1, rounds // 4))
    # The last part is for the far end.
    size = len(frames.changes) // (turns + 1)
    with no_collections():
        for turn in range(turns):
            name = order[turn % len(order)]
            part = slice(turn * size, (turn + 1) * size)
            consumers = [fed.publisher.join("msgpack") for _ in range({"told": 1, "many": CONSUMERS}.get(name, 0))]
            for consumer in consumers:
                fed.publisher.asked(consumer, Ask(want=list(TOKENS)))
                fed.publisher.frame(consumer)
            start = thread_time_ns()
            fed.take(frames.changes[part], clock[part], None if name == "without" else consumers)
            took = (thread_time_ns() - start) / size
            if turn >= len(order):
                spent[name].append(took)
            for consumer in consumers:
                fed.publisher.leave(consumer)
        far = _far_end(fed, frames.changes[turns * size :], clock[turns * size :])
    costs = {name: Costs(tuple(values)) for name, values in spent.items()}
    more = (costs["many"].median - costs["told"].median) / (CONSUMERS - 1)
    return costs, {"us_per_frame_and_further_consumer": more / 1000, "us_per_frame_at_the_consumer": far / 1000}


def _far_end(fed: _Fed, frames: Sequence[bytes], clock: Sequence[float]) -> float:
    """Return what a consumer spends on what one frame of the venue changes, in nanoseconds."""
    link = Link("relay")
    replica = Replica([link], 15.0)
    replica.want(TOKENS, fed.mirror.now())
    consumer = fed.publisher.join("msgpack")
    link.opened(fed.mirror.now())
    ask = link.asks(fed.mirror.now())
    assert ask is not None  # noqa: S101 - it wants its books
    fed.publisher.asked(consumer, ask)
    replica.received(link, fed.publisher.frame(consumer), fed.mirror.now())
    sent, engine = list[bytes](), fed.mirror.engine
    for frame, now in zip(frames, clock, strict=True):
        engine.receive(LINE, frame, fed.base + now)
        engine.effects()
        engine.events()
        fed.publisher.changed(engine.dirty())
        assert consumer.waits  # noqa: S101 - each frame changes both books
        sent.append(fed.publisher.frame(consumer))
    start = thread_time_ns()
    for data in sent:
        replica.received(link, data, fed.mirror.now())
    assert not link.counts  # noqa: S101 - nothing is lost here
    return (thread_time_ns() - start) / len(sent)


# ---- The delay -----------------------------------------------------------------------------------------


def _delay(options: Options) -> Row:
    title = f"the far end has a change later than the mirror by, p99, at {RATE:g} changes/s on loopback"
    unpin()
    seconds = options.choose(30, 8)
    with venue(int(RATE * (seconds + 10)), rate=RATE) as far:
        found = asyncio.run(_run(far, seconds))
    if not found:
        return missing("relay_delay", title, DELAY_TARGET_MS, "nothing came", unit="ms")
    found.sort()
    return Row(
        "relay_delay",
        title,
        found[int(0.99 * len(found))],
        DELAY_TARGET_MS,
        unit="ms",
        details={
            "ms_median": statistics.median(found),
            "ms_p999": found[int(0.999 * len(found))],
            "ms_longest": found[-1],
            "states": len(found),
        },
    )


async def _run(far: Far, seconds: float) -> list[float]:
    """Return by how many ms each state was at the consumer later than here."""
    async with Mirror([market(MARKET, TOKENS, "0.01")], endpoints=far.endpoints) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        here: dict[str, int] = {}

        def note(update: Any) -> None:
            view = mirror.peek(update.token)
            here[key_of(update.token, view.exchange_ms, view.levels)] = time.monotonic_ns()

        mirror.on_update(note)
        relay = await mirror.serve_relay()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.speed.relaying", relay.url, str(seconds), stdout=subprocess.PIPE,
            limit=2**26,
        )  # fmt: skip
        told, _ = await process.communicate()
    there = json.loads(told)
    return [(there[key] - at) / 1e6 for key, at in here.items() if key in there]


def key_of(token: str, exchange_ms: int, levels: object) -> str:
    """Return what names one state in both processes: ints hash alike in all."""
    return f"{token[:4]} {exchange_ms} {hash(levels)}"


async def _listen(url: str, seconds: float) -> None:
    """Be the consumer: print when each state was told."""
    from polymirror.relay.remote import RemoteMirror  # noqa: PLC0415 - in that process alone

    there: dict[str, int] = {}
    async with RemoteMirror(url) as remote:
        await remote.wait_live(timeout=PATIENCE)

        def note(update: Any) -> None:
            view = remote.peek(update.token)
            there.setdefault(key_of(update.token, view.exchange_ms, view.levels), time.monotonic_ns())

        remote.on_update(note)
        await asyncio.sleep(seconds)
    sys.stdout.write(json.dumps(there))


if __name__ == "__main__":
    asyncio.run(_listen(sys.argv[1], float(sys.argv[2])))

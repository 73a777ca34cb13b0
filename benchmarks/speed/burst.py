"""The dense recording at twenty times its speed over loopback, again and again: about 10,000 frames a second."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from benchmarks.speed.loopback import market, venue
from benchmarks.speed.method import unpin, waited_for_cpu
from benchmarks.speed.recordings import ABSENT, DENSE, RecordedFlow
from benchmarks.speed.rows import Row, missing
from benchmarks.speed.watching import Watch, summary
from polymirror import Mirror, MirrorConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.loopback import Far
    from benchmarks.speed.rows import Options

SPEED = 20.0
TARGET_MS = 50.0
TITLE = "the dense recording at 20x over loopback: p99.9 of the age of a frame when its view is readable"


def measure(options: Options) -> Iterator[Row]:
    """Run a minute of it."""
    if not DENSE.exists():
        yield missing("burst_frame_age", TITLE, TARGET_MS, ABSENT, unit="ms")
        return
    unpin()
    flow = RecordedFlow()
    seconds = options.choose(60, 4)
    count = int(seconds * SPEED * 1000 * len(flow.steps) / flow.duration_ms)
    with venue(count, flow="recorded", speed=SPEED) as far:
        details = asyncio.run(_run(far, flow, seconds))
    problems = [f"{n} {what}" for what, n in details["faults"].items() if n] + details["why_books_left_live"]
    yield Row(
        "burst_frame_age",
        TITLE,
        details["age_ms"]["p99.9"],
        TARGET_MS,
        unit="ms",
        details=details,
        reason=", ".join(problems),
    )


async def _run(far: Far, flow: RecordedFlow, seconds: int) -> dict[str, Any]:
    wanted = market(flow.market, flow.tokens, "0.01")
    async with Mirror([wanted], config=MirrorConfig(seed=1), endpoints=far.endpoints) as mirror:
        await mirror.wait_live()
        watch = Watch(mirror, flow.market)
        start, cpu, waited = time.monotonic(), time.process_time(), waited_for_cpu()
        give_up = start + 2 * seconds + 10
        # Looking seldom: it is part of what is measured.
        while len(watch.applied) < far.count and time.monotonic() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        cpu, took = time.process_time() - cpu, watch.applied[-1] - watch.applied[0]
        streams = [stream.counters for stream in mirror._carrier.streams]  # noqa: SLF001 - no other counters
        return {
            "age_ms": summary(watch.ages(far.sent_at())),
            "frames": len(watch.applied),
            "frames_per_second": len(watch.applied) / took,
            "share_of_one_core": cpu / took,
            "share_of_time_without_a_cpu": None if waited is None else ((waited_for_cpu() or 0.0) - waited) / took,
            "deepest_queue": max(each.deepest_queue for each in streams),
            "faults": {
                "frames never applied": far.count - len(watch.applied),
                "frames dropped": sum(each.discarded for each in streams),
                "times a book left LIVE": len(watch.lost),
            },
            "why_books_left_live": sorted(set(watch.lost)),
        }

"""Pauses of the garbage collector while ten thousand books are held and a busy one trades.

Measured in a process of its own with the interpreter's default thresholds, as a user's program runs, from the first
frame after priming on. The age of a frame can be no better than the longest pause.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.speed.frames import DENSE_48, make_frames, seconds_of
from benchmarks.speed.method import percentile
from benchmarks.speed.openings import make_openings
from benchmarks.speed.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.rows import Options

TOKENS = 10_000
LEVELS = 10
TARGET_MS = 20.0


def measure(options: Options) -> Iterator[Row]:
    """Measure a program that freezes what it primed, and one that does not."""
    tokens, frames = options.choose(TOKENS, TOKENS // 10), options.choose(200_000, 20_000)
    handled, plain = (_child(tokens, frames, freezes=freezes) for freezes in (True, False))
    yield Row(
        "gc_pause_p999",
        f"p99.9 of the collector's pauses with {TOKENS:,} books, frozen after priming",
        handled["pause_ms"]["p99.9"],
        TARGET_MS,
        unit="ms",
        details={**handled, "without_freezing": plain, "books": tokens},
    )


def _child(tokens: int, frames: int, *, freezes: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed.pauses", str(tokens), str(frames), str(int(freezes))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def trade(tokens: int, count: int, *, freezes: bool) -> dict[str, Any]:
    """Prime the books, take frames, and time every collection."""
    from benchmarks.speed.own import LINE, drain, primed_engine  # noqa: PLC0415 - the library is part of the heap
    from polymirror.core.checksum import Constants  # noqa: PLC0415

    frames = make_frames(DENSE_48, 2_000)
    engine = primed_engine(frames)
    for opening in make_openings(LEVELS, tokens // 2):
        constants = Constants(min_order_size="5", tick_size=opening.tick_size, neg_risk=False)
        engine.track(opening.market, opening.tokens, 0.0, constants=constants)
        number = engine.markets[opening.market].socket or LINE
        if not engine.sockets[number].is_open:
            engine.connected(number, 0.0)
        for event in opening.events:
            engine.receive(number, event, 0.0)
        drain(engine)
    if freezes:
        gc.collect()
        gc.freeze()
    pauses: list[float] = []
    generations = [0, 0, 0]
    started = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = time.perf_counter()
        else:
            pauses.append(1000 * (time.perf_counter() - started))
            generations[info["generation"]] += 1

    rng, held = Random(1), []  # noqa: S311 - what a program around it leaves to the collector
    gc.callbacks.append(note)
    times = seconds_of(frames.stamps)
    for i in range(count):
        at = i % len(frames.changes)
        if at == 0:
            engine.disconnected(LINE, times[-1])
            engine.connected(LINE, times[-1])
            engine.receive(LINE, frames.opening, times[-1])
        engine.receive(LINE, frames.changes[at], times[at])
        drain(engine)
        # A program around it makes containers of its own, some of which live for a while.
        held.append([str(i), {"at": i}])
        if len(held) > 5_000:  # noqa: PLR2004
            del held[rng.randrange(5_000)]
    gc.callbacks.remove(note)
    return {
        "pause_ms": {
            "p50": round(percentile(pauses, 0.5), 3),
            "p99.9": round(percentile(pauses, 0.999), 3),
            "max": round(max(pauses), 3),
        },
        "collections": generations,
        "frames": count,
        "share_of_time_in_collections": sum(pauses) / 1000 / max(1e-9, time.process_time()),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(trade(int(sys.argv[1]), int(sys.argv[2]), freezes=sys.argv[3] == "1")))

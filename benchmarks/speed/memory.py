"""Memory of books: how much a process grows for each, in a process of its own."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import evolve

from benchmarks.speed.frames import START_MS, THIN, MarketFlow, dense
from benchmarks.speed.own import LINE, drain
from benchmarks.speed.rows import Row, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.rows import Options

DEEP, MANY = 100, 50
"""Levels a side of the books that are counted, beside thin ones."""
FULL = 10_000
CHANGES = 20
QUIET = 11.0
"""Seconds without changes after which a book is at rest."""
BUSY = f"primed by its opening book, changed {CHANGES} times within as many milliseconds, proven each time, and read"


def measure(options: Options) -> Iterator[Row]:
    """Measure deep books, thin ones, and ten thousand of a usual size."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        for name, target, unit in (("memory_deep_book", 40.0, "KB"), ("memory_thin_book", 8.0, "KB"),
                                   ("memory_10k_books", 600.0, "MB")):  # fmt: skip
            yield missing(name, "memory", target, "no /proc here to read memory from", unit=unit)
        return
    for name, levels, target in (("memory_deep_book", DEEP, 40.0), ("memory_thin_book", THIN.levels, 8.0)):
        books = options.choose(2_000, 800)
        busy, primed, rested = (
            _child(levels, books),
            _child(levels, books, changes=0),
            _child(levels, books, rests=True),
        )
        yield Row(
            name,
            f"resident memory of a quiet book with {levels} levels a side",
            rested["kb_per_book"],
            target,
            unit="KB",
            details={
                **rested,
                "kb_as_primed": primed["kb_per_book"],
                "kb_right_after_the_changes": busy["kb_per_book"],
                "note": f"The growth of a process, divided by its books; each {BUSY}, then {QUIET:.0f} s without "
                "changes, in which its journal is dropped.",
            },
            reason=rested["problem"] or busy["problem"],
        )
    all_ = _child(MANY, options.choose(FULL, FULL // 10))
    yield Row(
        "memory_10k_books",
        f"resident memory of a whole process with 10,000 books of {MANY} levels a side",
        all_["mb_process"] if not options.quick else all_["mb_before"] + all_["kb_per_book"] * FULL / 1000,
        600.0,
        unit="MB",
        details={**all_, "note": f"Each book {BUSY}. Quick runs extrapolate from a tenth."},
        reason=all_["problem"],
    )


def _child(levels: int, books: int, changes: int = CHANGES, *, rests: bool = False) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed.memory", *map(str, (levels, books, changes, int(rests)))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _resident() -> int:
    """Return the resident memory of this process in bytes."""
    import resource  # noqa: PLC0415 - not on every system

    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def grow(levels: int, books: int, changes: int, rests: int) -> dict[str, Any]:
    """Prime and change books one market after the other, as frames of a socket would, and measure the growth.

    ``rests`` (0 or 1): let time pass for each before the next one comes, as few of many books are busy at once.
    """
    from polymirror.config import EngineConfig  # noqa: PLC0415 - part of what the process holds before
    from polymirror.core.checksum import Constants  # noqa: PLC0415
    from polymirror.core.engine import Engine  # noqa: PLC0415
    from polymirror.core.states import BookState  # noqa: PLC0415
    from polymirror.mirror import Mirror  # noqa: PLC0415

    mirror = Mirror()
    engine = mirror.engine = Engine(evolve(EngineConfig(), max_tokens=200_000), Random(1))  # noqa: S311
    scenario = THIN if levels == THIN.levels else dense(f"{levels} levels", "0.001", 10, levels)
    before = _resident()
    rng = Random(2)  # noqa: S311 - made-up ids
    for i in range(books // 2):
        name, tokens = f"0x{rng.getrandbits(256):064x}", (str(rng.getrandbits(255)), str(rng.getrandbits(255)))
        flow = MarketFlow(scenario, i, name, tokens)
        engine.track(name, tokens, 0.0, constants=Constants("5", scenario.tick_size, neg_risk=False))
        number = engine.markets[name].socket or LINE
        if not engine.sockets[number].is_open:
            engine.connected(number, 0.0)
        engine.receive(number, flow.opening(START_MS + i), 0.1)
        for step in range(1, changes + 1):
            engine.receive(number, flow.frame(START_MS + i + step), 0.1)
        for token in tokens:
            engine.live(token, 0.1)
            if rests:
                engine.tokens[token].on_time(0.1 + QUIET)
        drain(engine)
    after = _resident()
    live = sum(state is BookState.LIVE for _, state in engine.states())
    return {
        "kb_per_book": (after - before) / books / 1000,
        "mb_process": after / 1e6,
        "mb_before": before / 1e6,
        "books": books,
        "problem": "" if live == books else f"only {live} of {books} books are LIVE",
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(grow(*map(int, sys.argv[1:]))))

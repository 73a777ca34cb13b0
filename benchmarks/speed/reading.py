"""Reading a book: ``Mirror.live()`` again and again, for the first time after a change, and a number out of it."""

from __future__ import annotations

import time
from time import thread_time_ns
from typing import TYPE_CHECKING

from benchmarks.speed.frames import DENSE_48, DENSE_100, TOKENS, make_frames
from benchmarks.speed.method import Costs, no_collections
from benchmarks.speed.own import LINE, primed_engine
from benchmarks.speed.rows import Row, spread_of
from polymirror.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.speed.frames import Frames
    from benchmarks.speed.rows import Options

TARGET_US = 1.0

DECIMAL_TARGET = 2.0
"""What a Decimal may cost over the raw int, the way to the level included."""


def measure(options: Options) -> Iterator[Row]:
    """Measure reads of an unchanged book, first reads after a change, and what a Decimal costs over a raw int."""
    rounds = options.choose(30, 8)
    again = [_read_again(options.choose(20_000, 4_000)) for _ in range(rounds)]
    changed = {s: _read_changed(make_frames(s, 600), rounds) for s in (DENSE_48, DENSE_100)}
    costs = Costs(tuple(again))
    yield Row(
        "live_read",
        "Mirror.live() of a book, CPU time",
        costs.median / 1000,
        TARGET_US,
        unit="us",
        details={
            "quartiles": [each / 1000 for each in costs.spread],
            "us_first_read_after_a_change_48_levels": changed[DENSE_48].median / 1000,
            "us_first_read_after_a_change_100_levels": changed[DENSE_100].median / 1000,
            "note": "The first read after a change copies the levels; every later one shares the copy.",
        },
    )
    yield _decimals(rounds, options.choose(20_000, 4_000))


def _decimals(rounds: int, count: int) -> Row:
    view = _mirror(make_frames(DENSE_48, 1)).live(TOKENS[0])
    ways: dict[str, Callable[[], object]] = {
        "price": lambda: view.best_bid.price, "price_e4": lambda: view.best_bid.price_e4,
        "size": lambda: view.best_bid.size, "size_e6": lambda: view.best_bid.size_e6,
    }  # fmt: skip
    spent: dict[str, list[float]] = {name: [] for name in ways}
    with no_collections():
        for _ in range(rounds):
            for name, read in ways.items():
                spent[name].append(_time(read, count))
    costs = {name: Costs(tuple(each)) for name, each in spent.items()}
    ratio = costs["price"].over(costs["price_e4"])
    return Row(
        "best_bid_decimal_vs_raw",
        "best bid's price of a view as a Decimal / as a raw int",
        ratio.median,
        DECIMAL_TARGET,
        details={**spread_of(ratio), **{f"ns_{name}": each.median for name, each in costs.items()}},
    )


def _time(read: Callable[[], object], count: int) -> float:
    start = thread_time_ns()
    for _ in range(count):
        read()
    return (thread_time_ns() - start) / count


def _mirror(frames: Frames) -> Mirror:
    """Return a mirror that is not started, with the books of a stream LIVE."""
    mirror = Mirror()
    mirror.engine = primed_engine(frames, now=time.monotonic())
    return mirror


def _read_again(count: int) -> float:
    mirror = _mirror(make_frames(DENSE_48, 1))
    live, token = mirror.live, TOKENS[0]
    live(token)
    with no_collections():
        start = thread_time_ns()
        for _ in range(count):
            live(token)
        return (thread_time_ns() - start) / count


def _read_changed(frames: Frames, rounds: int) -> Costs:
    """Time first reads by the difference between taking frames with and without a read after each."""
    size = len(frames.changes) // rounds
    with_read, without = _mirror(frames), _mirror(frames)
    spent = []
    with no_collections():
        for turn in range(rounds):
            part = frames.changes[turn * size : (turn + 1) * size]
            took = []
            for mirror, reads in ((without, False), (with_read, True)):
                receive, live = mirror.engine.receive, mirror.live
                now = time.monotonic()
                start = thread_time_ns()
                for frame in part:
                    receive(LINE, frame, now)
                    if reads:
                        live(TOKENS[0])
                took.append(thread_time_ns() - start)
            spent.append((took[1] - took[0]) / size)
    return Costs(tuple(spent))

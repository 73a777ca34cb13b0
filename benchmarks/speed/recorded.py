"""The hot path on recorded frames: real hashes, real rhythm, re-sent books and trades included."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.speed import field
from benchmarks.speed.frames import ENTRIES
from benchmarks.speed.hot_path import CCXT, NAUTILUS, OFFICIAL, OWN_PROVEN
from benchmarks.speed.method import Costs, Lane, race
from benchmarks.speed.own import Mirrored
from benchmarks.speed.recordings import ABSENT, recorded_frames
from benchmarks.speed.rows import Row, missing, rounded, spread_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.rows import Options

TARGET = 0.75
NAME = "recorded_path_vs_fastest"
TITLE = "recorded frames: hot path with the SHA-1 proof of every batch / the fastest other program"

PEERS = (NAUTILUS, CCXT, OFFICIAL)


def measure(options: Options) -> Iterator[Row]:
    """Measure the recording, several times over; every pass starts with fresh books and forgets all sizes."""
    absent = field.absent()
    try:
        frames = recorded_frames()
    except FileNotFoundError:
        yield missing(NAME, TITLE, TARGET, ABSENT)
        return
    lanes = {OWN_PROVEN: Lane(partial(Mirrored, OWN_PROVEN, proven=False), frames)}
    for name in PEERS:
        if name not in absent:
            lanes[name] = Lane(field.CONTESTANTS[name], frames)
    spent: dict[str, list[float]] = {name: [] for name in lanes}
    wrong: dict[str, str] = {}
    for turn in range(options.choose(5, 2)):
        done = race(lanes, rounds=10, checked=0 if turn else len(frames.changes))
        wrong |= done.wrong
        for name, each in done.costs.items():
            spent[name] += each.rounds
    costs = {name: Costs(tuple(each)) for name, each in spent.items()}
    details = {
        "ns_per_change": {name: rounded(each.median / ENTRIES) for name, each in costs.items()},
        "frames": len(frames.changes),
        "bytes_per_frame": frames.mean_bytes,
        "wrong": wrong,
    }
    there = [name for name in PEERS if name in costs]
    if not there:
        yield missing(NAME, TITLE, TARGET, "; ".join(f"{name}: {absent[name]}" for name in PEERS if name in absent))
        return
    fastest = min(there, key=lambda name: costs[name].median)
    ratio = costs[OWN_PROVEN].over(costs[fastest])
    reason = next((f"{name} is wrong {wrong[name]}" for name in (OWN_PROVEN, fastest) if name in wrong), "")
    details |= {"fastest_other": fastest, "not_there": {name: absent[name] for name in PEERS if name in absent}}
    yield Row(NAME, TITLE, ratio.median, TARGET, details={**spread_of(ratio), **details}, reason=reason)

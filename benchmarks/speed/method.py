"""How everything here is timed: pinned, interleaved, without the garbage collector, and summed up by medians.

All contestants of a race take the same frames in turn: each round is one slice of one stream, and every contestant
takes it before the next slice is begun, in an order that rotates. No slice is ever taken twice by anybody, so no
memo of strings can make later rounds cheaper than a real stream would be. Compared are the costs within one round,
so that what slows the machine down slows all of them; the figure is the median over the rounds. Times are CPU time
of the thread: what others do on the machine disturbs caches but is not counted.
"""

from __future__ import annotations

import gc
import os
import statistics
from contextlib import contextmanager
from pathlib import Path
from time import thread_time_ns
from typing import TYPE_CHECKING, Any

from attrs import frozen

from benchmarks.speed.frames import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.speed.frames import Frames

Top = tuple[int, int]
"""Best bid and best ask in 1/10,000; 0 and 10,000 stand for an empty side."""


class Contestant:
    """Something that takes frames. One object takes one stream, in order. The base of all."""

    name: str
    """As tables call it."""
    keeps_books = True
    """False for floors, which only decode or hash."""

    def open(self, frames: Frames) -> None:
        """Prepare, and take the opening books. Not timed."""
        raise NotImplementedError

    def ready(self, slice_: Sequence[bytes]) -> Sequence[Any]:
        """Return frames in the form in which this one's socket delivers them. Not timed."""
        return slice_

    def take(self, slice_: Sequence[Any], times: Sequence[float]) -> None:
        """Take some frames; ``times`` are seconds of the clock at which each comes. Timed."""
        raise NotImplementedError

    def tops(self) -> tuple[Top, Top]:
        """The best prices of both tokens as a user reads them now."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of whatever was opened."""


@frozen
class Figures:
    """One figure for each round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and third quartile."""
        return quartiles(self.rounds)


class Ratio(Figures):
    """Costs over costs, round by round."""


class Costs(Figures):
    """What one contestant's rounds cost, in nanoseconds per unit (a frame, say)."""

    def over(self, other: Costs) -> Ratio:
        """Compare with what another one needed in the same rounds."""
        return Ratio(tuple(mine / theirs for mine, theirs in zip(self.rounds, other.rounds, strict=True)))

    def plus(self, other: Costs) -> Costs:
        """Return the costs of doing both, round by round."""
        return Costs(tuple(a + b for a, b in zip(self.rounds, other.rounds, strict=True)))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile; twice the value where there is only one."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def pin(index: int = -1) -> int | None:
    """Keep this process on one CPU of those it may use; return which, or None where that is not possible."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    cpu = allowed[index % len(allowed)]
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return None
    return cpu


def unpin() -> None:
    """Let this process run on every CPU again: what is measured by the wall clock must not wait for one of them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def waited_for_cpu() -> float | None:
    """Return the seconds for which this thread could have run and had no CPU; None where the system does not tell."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


@contextmanager
def no_collections() -> Iterator[None]:
    """Collect once, set what is there aside, and let nothing be collected inside the block."""
    gc.collect()
    gc.freeze()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


@frozen
class Race:
    """The outcome of one race."""

    costs: Mapping[str, Costs]
    """By contestant, in nanoseconds a frame."""
    wrong: Mapping[str, str]
    """Who showed other best prices than the exchange had, and where."""
    frames: int
    """Frames that were timed, for each contestant."""


RAISED = "it raised"
"""Begins the reason of a contestant that cannot go on: it is left out of the race."""


@frozen
class Lane:
    """One contestant and the stream that it takes. The lanes of a race have equally many frames."""

    make: Callable[[], Contestant]
    frames: Frames


def race(lanes: Mapping[str, Lane], *, rounds: int, checked: int) -> Race:
    """Let contestants take their streams in turns, after each was checked on its first ``checked`` frames.

    One slice more than ``rounds`` is made; the first is a warm-up and not counted.
    """
    wrong = {name: why for name, lane in lanes.items() if (why := find_error(lane, checked))}
    lanes = {name: lane for name, lane in lanes.items() if RAISED not in wrong.get(name, "")}
    size = min(len(lane.frames.changes) for lane in lanes.values()) // (rounds + 1)
    runners = {name: lane.make() for name, lane in lanes.items()}
    clocks = {name: seconds_of(lane.frames.stamps) for name, lane in lanes.items()}
    spent: dict[str, list[float]] = {name: [] for name in lanes}
    for name, runner in runners.items():
        runner.open(lanes[name].frames)
    order = list(runners)
    with no_collections():
        for turn in range(rounds + 1):
            part = slice(turn * size, (turn + 1) * size)
            for name in order:
                chunk = runners[name].ready(lanes[name].frames.changes[part])
                took = timed(runners[name].take, chunk, clocks[name][part])
                if turn:
                    spent[name].append(took / size)
            order.append(order.pop(0))
    last = size * (rounds + 1) - 1
    for name, runner in runners.items():
        why = _compare(runner, lanes[name].frames, last)
        if why:
            wrong.setdefault(name, why)
        runner.close()
    return Race({name: Costs(tuple(each)) for name, each in spent.items()}, wrong, size * rounds)


def timed(take: Callable[[Sequence[Any], Sequence[float]], None], chunk: Sequence[Any], clock: Sequence[float]) -> int:
    """Return the CPU time of one call in nanoseconds."""
    start = thread_time_ns()
    take(chunk, clock)
    return thread_time_ns() - start


def find_error(lane: Lane, checked: int) -> str:
    """Return where a contestant's best prices differ from the exchange's in the first frames; "": nowhere."""
    contestant, frames = lane.make(), lane.frames
    if not contestant.keeps_books:
        return ""
    try:
        contestant.open(frames)
        for i, now in enumerate(seconds_of(frames.stamps[:checked])):
            contestant.take(contestant.ready(frames.changes[i : i + 1]), (now,))
            why = _compare(contestant, frames, i)
            if why:
                return why
    except Exception as error:  # noqa: BLE001 - whatever a program raises, the others go on
        return f"{RAISED} {type(error).__name__}: {error}"
    finally:
        contestant.close()
    return ""


def _compare(contestant: Contestant, frames: Frames, i: int) -> str:
    top = frames.tops[i]
    if top is None or not contestant.keeps_books:
        return ""
    bid, ask = top
    found, true = contestant.tops(), (top, (10_000 - ask, 10_000 - bid))
    return "" if found == true else f"after frame {i}: {found}, and the exchange had {true}"

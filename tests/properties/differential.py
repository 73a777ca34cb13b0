"""The engine against the plain venue: seeded runs of everything that goes wrong, every read of every token judged.

By hand: ``python -m tests.properties.differential --reads 20000000 [--stale-rest] [--hedge 2] [--processes 2]`` plays
the full mix;
``--without KIND`` leaves a kind of events out. A seed that fails is shrunk: kinds of events are left out one after the
other, and what the failure needs is printed.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from typing import NamedTuple

from attrs import Factory, define

from tests.plain.run import FAULTS, USUAL, Run

say = partial(print, flush=True)

SHOWN = 3
"""Failing seeds that are shown in full, and shrunk."""

ENOUGH = 100
"""Failing seeds after which no more are played."""


class Failure(NamedTuple):
    """A run that went wrong, and what was wrong first."""

    seed: int
    stale_rest: bool
    without: frozenset[str]
    wrong: str
    seconds: float
    """How long the run took."""
    hedge: int = 1


@define
class Result:
    """What one run, or many, came to."""

    granted: int = 0
    refused: int = 0
    wrong: Counter[str] = Factory(Counter)
    excused: Counter[str] = Factory(Counter)
    failures: list[Failure] = Factory(list)

    def add(self, other: Result) -> None:
        self.granted += other.granted
        self.refused += other.refused
        self.wrong += other.wrong
        self.excused += other.excused
        self.failures += other.failures

    def __str__(self) -> str:
        lines = [f"{self.granted:,} granted reads, {self.refused:,} refused, {self.wrong.total():,} wrong"]
        lines += [f"  wrong   {number:>9,}  {what}" for what, number in self.wrong.most_common()]
        lines += [f"  excused {number:>9,}  {what}" for what, number in self.excused.most_common()]
        return "\n".join(lines)


def judged(seed: int, *, stale_rest: bool = False, without: frozenset[str] = frozenset(), hedge: int = 1) -> Result:
    """Play one run. An error of the engine is wrong too, whatever it was given."""
    begin, run = time.monotonic(), Run(seed, stale_rest=stale_rest, without=without, hedge=hedge)
    judge, crash = run.judge, ""
    try:
        run.play()
    except Exception as error:  # noqa: BLE001 - no input may make the engine raise
        crash = f"the engine raised {type(error).__name__}: {error}"
        judge.wrong["the engine raised"] += 1
    wrong = [*judge.examples, *([crash] if crash else [])]
    took = time.monotonic() - begin
    failures = [Failure(seed, stale_rest, without, "; ".join(wrong), took, hedge)] if wrong else []
    return Result(judge.granted, judge.refused, judge.wrong, judge.excused, failures)


def needed(failure: Failure, *, seconds: float = 60.0) -> list[str]:
    """Leave out kinds of events for as long as the run fails; return those that are left.

    One kind of fault alone is tried first, then halves, then one after the other, for at most so many seconds: none is
    begun that may last longer, judged by the run that failed.
    """
    seed, stale_rest = failure.seed, failure.stale_rest
    until = time.monotonic() + seconds - 1.5 * failure.seconds
    every = [*Run(seed, stale_rest=stale_rest, hedge=failure.hedge).kinds, *USUAL]
    kinds = [kind for kind in every if kind not in failure.without]

    def fails(left: list[str]) -> bool:
        without = frozenset(every) - set(left)
        return time.monotonic() < until and bool(
            judged(seed, stale_rest=stale_rest, without=without, hedge=failure.hedge).failures
        )

    for kind in kinds:
        if kind not in USUAL and fails(left := [kind, *USUAL]):
            kinds_left = left
            break
    else:
        kinds_left = kinds
    size = max(1, len(kinds_left) // 2)
    while size:
        for begin in range(0, len(kinds_left), size):
            smaller = kinds_left[:begin] + kinds_left[begin + size :]
            if smaller and fails(smaller):
                kinds_left = smaller
                break
        else:
            size //= 2
    return kinds_left


def told(failure: Failure, *, seconds: float = 60.0) -> str:
    """What a failing seed showed, what it needs, and how to repeat it."""
    mode = (" --stale-rest" if failure.stale_rest else "") + (" --hedge 2" if failure.hedge > 1 else "")
    mode += "".join(f" --without '{kind}'" for kind in sorted(failure.without))
    kinds = ", ".join(needed(failure, seconds=seconds))
    return (f"seed {failure.seed}: {failure.wrong}\n  needs: {kinds}\n"
            f"  repeat: python -m tests.properties.differential --seed {failure.seed}{mode}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.properties.differential", description=__doc__)
    parser.add_argument("--reads", type=int, default=1_000_000, help="granted reads to judge")
    parser.add_argument("--stale-rest", action="store_true", help="REST may be a cache of any age")
    parser.add_argument("--hedge", type=int, default=1, choices=(1, 2), help="connections of each socket")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--first", type=int, default=None, help="the first seed; drawn if not given")
    parser.add_argument("--seed", type=int, default=None, help="one seed only")
    parser.add_argument("--without", action="append", default=[], help="a kind of events to leave out")
    options = parser.parse_args()
    play = partial(judged, stale_rest=options.stale_rest, without=frozenset(options.without), hedge=options.hedge)
    if options.seed is not None:
        total = play(options.seed)
    else:
        first = secrets.randbits(32) if options.first is None else options.first
        say(f"seeds from {first}, REST {'may be stale' if options.stale_rest else 'is right or up to 1.1 s behind'}")
        total = many(play, first, options.reads, options.processes)
    say(total)
    for failure in total.failures[:SHOWN]:
        say(told(failure))
    if more := total.failures[SHOWN:]:
        say(f"{len(more)} more seeds failed: {', '.join(str(seed) for seed, *_ in more[:20])}")
    return 1 if total.wrong else 0


def many(play: partial[Result], first: int, reads: int, processes: int) -> Result:
    """Play seed after seed until so many reads were judged, and say now and then how far it is."""
    total, begin, last = Result(), time.monotonic(), time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        for batch in count():
            size = 4 * processes
            seeds = range(first + batch * size, first + (batch + 1) * size)
            for result in pool.map(play, seeds) if processes > 1 else map(play, seeds):
                total.add(result)
            now = time.monotonic()
            if now - last > 10:
                last = now
                pace, head = total.granted / (now - begin), str(total).splitlines()[0]
                say(f"{now - begin:6.0f} s  {pace:,.0f} reads/s  {head}")
            if total.granted >= reads or len(total.failures) >= ENOUGH:
                break
    return total


if __name__ == "__main__":
    assert set(FAULTS).isdisjoint(USUAL)
    sys.exit(main())

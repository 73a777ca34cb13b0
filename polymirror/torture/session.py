"""Many seeds on all cores: fault storms, their report, and what a violation is reduced to."""

from __future__ import annotations

import os
import time
from collections import deque
from concurrent.futures import wait
from typing import TYPE_CHECKING, NamedTuple

from attrs import Factory, define

from polymirror.torture.report import Report
from polymirror.torture.run import SeedResult, make_world, run_storm
from polymirror.torture.shrink import shrink
from polymirror.torture.storm import draw_storm
from polymirror.torture.workers import note_passed, worker_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from polymirror.torture.storm import Episode

TELL_INTERVAL = 0.25
"""Seconds between two looks at how far the seeds are."""

TRACE_LINES = 40
"""Transitions that are shown before a violation."""


class Order(NamedTuple):
    """One seed to run."""

    seed: int
    minutes: float
    tokens: int
    faults: tuple[str, ...]
    hedge: int
    relay: str


@define
class Torture:
    """A run of ``seeds`` seeds from ``start`` on, each ``minutes`` of virtual time with ``tokens`` books.

    ``hedge`` is how many connections each socket has, and ``relay`` through what the books are read: ``socket``,
    ``broker``, ``both``, or "" for the mirror itself.
    """

    seeds: int
    start: int = 0
    minutes: float = 10.0
    tokens: int = 20
    faults: tuple[str, ...] = ()
    hedge: int = 1
    relay: str = ""
    jobs: int = Factory(lambda: os.cpu_count() or 1)
    report: Report = Factory(Report)
    elapsed: float = 0.0

    def run(self, tell: Callable[[float], object] | None = None) -> Generator[SeedResult]:
        """Run all seeds, yielding each result as it comes, in the order of the seeds.

        ``tell`` is called now and then with the virtual seconds that have been run in all. However this ends, no
        process is left.
        """
        began = time.perf_counter()
        with worker_pool(self.jobs) as pool:
            # Few seeds ahead at a time: an interrupt need not wait for all of them.
            waiting = deque(pool.submit(run_seed, self._order(n)) for n in range(min(self.seeds, 2 * self.jobs)))
            submitted = len(waiting)
            while waiting:
                while not wait(list(waiting)[:1], timeout=TELL_INTERVAL).done:
                    if tell is not None:
                        tell(pool.passed)
                result = waiting.popleft().result()
                if submitted < self.seeds:
                    waiting.append(pool.submit(run_seed, self._order(submitted)))
                    submitted += 1
                self.report.add(result)
                self.elapsed = time.perf_counter() - began
                if tell is not None:
                    tell(pool.passed)
                yield result

    def _order(self, number: int) -> Order:
        return Order(self.start + number, self.minutes, self.tokens, self.faults, self.hedge, self.relay)

    def explain(self, result: SeedResult, tell: Callable[[int], object] | None = None) -> str:
        """Reduce a seed's violation to the faults that matter, and show what led to it.

        ``tell`` is called with the number of each run that this takes; there are ``MAX_RUNS`` at most.
        """
        storm = draw_storm(result.seed, self.minutes, self.tokens, self.faults)
        episodes = shrink(storm, hedge=self.hedge, relay=self.relay, tell=tell)
        again = run_storm(storm, episodes, hedge=self.hedge, relay=self.relay)
        violation = (again.violations or result.violations)[0]
        only = "".join(f" --fault {fault}" for fault in self.faults)
        hedged = "" if self.hedge == 1 else f" --hedge {self.hedge}"
        hedged += f" --relay {self.relay}" if self.relay else ""
        options = f"--start {result.seed} --minutes {self.minutes:g} --tokens {self.tokens}{hedged}{only}"
        lines = [
            f"seed={result.seed}: polymirror torture --seeds 1 {options}",
            f"broken at {violation.at:.6f} s: {violation.promise}: {violation.detail}",
            "faults that matter:",
            *(f"  {episode}" for episode in episodes),
            "transitions before:",
            *(f"  {line}" for line in trace_before(storm.seed, self, episodes, violation.at, violation.token)),
        ]
        return "\n".join(lines)


def trace_before(seed: int, torture: Torture, episodes: Sequence[Episode], at: float, token: str) -> list[str]:
    """Return the last transitions of a token (of all, if none is named) up to a moment."""
    storm = draw_storm(seed, torture.minutes, torture.tokens, torture.faults)
    world = make_world(storm, episodes, hedge=torture.hedge, relay=torture.relay)
    world.run(at)
    return [str(event) for event in world.log if not token or event.token == token][-TRACE_LINES:]


def run_seed(order: Order) -> SeedResult:
    """Run one seed; in a process of its own."""
    storm = draw_storm(order.seed, order.minutes, order.tokens, order.faults)
    passed = 0.0

    def tell(seconds: float) -> None:
        nonlocal passed
        note_passed(seconds - passed)
        passed = seconds

    result = run_storm(storm, hedge=order.hedge, relay=order.relay, tell=tell)
    # All of it, even if a broken promise ended it early.
    tell(storm.seconds)
    return result

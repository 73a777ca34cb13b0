"""What a second connection for each socket costs: CPU of the frames that come twice, and calls to REST."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.speed.frames import DENSE_48, make_frames
from benchmarks.speed.hot_path import per_change
from benchmarks.speed.method import Lane, race
from benchmarks.speed.own import Mirrored
from benchmarks.speed.rows import Row, spread_of
from polymirror.core.effects import FetchBooks
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.simulator.virtual import NetworkConfig
from polymirror.torture.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.rows import Options
    from polymirror.core.effects import Effect

CPU_TARGET = 1.3
CALLS_TARGET = 1.05

ONE, TWO = "polymirror, one connection", "polymirror, hedge=2"

MARKETS = 20
RATE = 2.0
"""Batches a second in each market."""


def measure(options: Options) -> Iterator[Row]:
    """Measure both."""
    frames = make_frames(DENSE_48, options.choose(40_000, 4_000))
    lanes = {
        name: Lane(partial(Mirrored, name, proven=True, hedge=hedge), frames) for name, hedge in ((ONE, 1), (TWO, 2))
    }
    done = race(lanes, rounds=options.choose(30, 9), checked=options.choose(2_000, 500))
    ratio = done.costs[TWO].over(done.costs[ONE])
    yield Row(
        "hedging_cpu",
        "hot path with proof, each frame on both connections / on one",
        ratio.median,
        CPU_TARGET,
        details={**spread_of(ratio), "ns_per_change": per_change(done.costs), "wrong": dict(done.wrong)},
        reason="; ".join(done.wrong.values()),
    )
    minutes = options.choose(20, 4)
    one, two = (_Counting.run_for(minutes, hedge) for hedge in (1, 2))
    yield Row(
        "hedging_rest_calls",
        "calls to /books with two connections / with one, while nothing goes wrong",
        two / one,
        CALLS_TARGET,
        details={"calls": {ONE: one, TWO: two}, "minutes_of_virtual_time": minutes, "books": 2 * MARKETS},
    )


class _Counting(World):
    """A world that counts the calls for books."""

    calls = 0

    def _carry_out(self, effect: Effect) -> None:
        self.calls += isinstance(effect, FetchBooks)
        super()._carry_out(effect)

    @classmethod
    def run_for(cls, minutes: int, hedge: int) -> int:
        """Return how many calls a calm venue is asked in so many minutes."""
        exchange = ExchangeConfig(seed=5, markets=MARKETS, flow=FlowConfig(rate=RATE))
        world = cls(exchange, seed=5, network=NetworkConfig(latency_ms=30, jitter_ms=5), hedge=hedge)
        world.run(60.0 * minutes)
        return world.calls

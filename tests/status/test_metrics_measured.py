"""What a mirror measures of itself, and what Prometheus is told of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from polymirror import Mirror, MirrorConfig, StreamConfig
from polymirror.core.events import Transition
from polymirror.core.states import BookState, Reason
from polymirror.metrics import MirrorMetrics
from polymirror.simulator import Simulator
from polymirror.simulator.faults.base import Plan
from polymirror.simulator.faults.catalogue import make_faults
from polymirror.status.pulse import Histogram
from tests.core.builders import Exchange, Rig

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


def test_a_histogram_counts_what_is_not_above_each_bound():
    sizes = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 1.0, 7.0):
        sizes.observe(value)
    assert sizes.buckets() == [("0.1", 2), ("1.0", 4), ("+Inf", 5)]
    assert sizes.total == pytest.approx(8.65)


class Told(Mirror):
    """A mirror whose transitions are told by hand, at a time that is given by hand."""

    at = 100.0
    tokens = ("11", "22")

    def __init__(self) -> None:
        super().__init__()
        self.engine = Rig.live(Exchange()).engine

    def now(self) -> float:
        return self.at

    def on_transition(self, callback: Callable[[Transition], object]) -> Callable[[], None]:
        self.tell = callback
        return lambda: None


def move(old: BookState, new: BookState, at: float, book: str = "11") -> Transition:
    return Transition(book, at, old, new, Reason.STALE, 0)


def test_the_book_that_is_out_the_longest_is_told_until_it_is_back() -> None:
    registry, mirror = CollectorRegistry(), Told()
    MirrorMetrics(mirror, registry)

    def longest() -> float | None:
        return registry.get_sample_value("polymirror_longest_outage_seconds")

    assert longest() == 0
    mirror.tell(move(BookState.LIVE, BookState.SUSPECT, 90.0))
    mirror.tell(move(BookState.LIVE, BookState.SUSPECT, 95.0, "22"))
    assert longest() == 10
    mirror.tell(move(BookState.SUSPECT, BookState.LIVE, 99.0))
    assert longest() == 5


def test_a_resync_counts_from_its_begin_to_live_and_one_that_came_to_nothing_does_not() -> None:
    registry, mirror = CollectorRegistry(), Told()
    MirrorMetrics(mirror, registry)
    for old, new, at in [
        (BookState.LIVE, BookState.SUSPECT, 10.0), (BookState.SUSPECT, BookState.RESYNCING, 11.0),
        (BookState.RESYNCING, BookState.SUSPECT, 12.0), (BookState.SUSPECT, BookState.RESYNCING, 13.0),
        (BookState.RESYNCING, BookState.LIVE, 13.5),
    ]:  # fmt: skip
        mirror.tell(move(old, new, at))
    assert registry.get_sample_value("polymirror_resync_duration_seconds_count") == 1
    assert registry.get_sample_value("polymirror_resync_duration_seconds_sum") == 0.5


async def test_frames_probes_the_loop_and_lost_connections_are_measured() -> None:
    registry = CollectorRegistry()
    away = make_faults(["disconnect", "refused_connection"], plan=Plan(end_ms=0))
    config = MirrorConfig(stream=StreamConfig(backoff_base=0.05, backoff_cap=0.1))

    def value(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"polymirror_{name}", labels) or 0.0

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 - what is scraped tells nobody
                await asyncio.sleep(0.05)

    async with Simulator(seed=5, rate=300, faults=away) as venue:
        mirror = Mirror.for_slug(*venue.slugs, endpoints=venue.endpoints, config=config)
        MirrorMetrics(mirror, registry)
        assert registry.get_sample_value("polymirror_rest_calls_left") is None
        async with mirror:
            await mirror.wait_live()
            mirror.resync(mirror.tokens[0])
            await until(lambda: value("apply_seconds_count") >= 2 and value("frame_age_seconds_count") >= 2)
            # One frame in 64, or else it would be no sample.
            assert value("apply_seconds_count") <= value("frames_total") / 64
            assert value("apply_seconds_sum") > 0
            assert value("sockets", state="open") == 1
            assert value("rest_calls_left") > 0
            assert value("clock_uncertainty_seconds") > 0
            await until(lambda: value("probe_duration_seconds_count", outcome="answered") >= 1)
            await until(lambda: value("loop_lag_seconds_count") >= 1)
            for fault in away:
                fault.plan = Plan(share=1.0)
            await until(lambda: value("reconnects_total", cause="OPEN_FAILED") >= 1)
            assert value("reconnects_total", cause="RESET") == 1
            assert value("sockets", state="closed") == 1
    assert registry.get_sample_value("polymirror_rest_calls_left") is None


async def test_a_loop_that_is_blocked_is_seen() -> None:
    registry = CollectorRegistry()
    async with Simulator(seed=5, rate=50) as venue, Mirror.for_slug(*venue.slugs, endpoints=venue.endpoints) as mirror:
        MirrorMetrics(mirror, registry)
        await mirror.wait_live()

        def late() -> float:
            name = "polymirror_loop_lag_seconds_bucket"
            every, quick = (registry.get_sample_value(name, {"le": le}) or 0.0 for le in ("+Inf", "0.2"))
            return every - quick

        async with asyncio.timeout(PATIENCE):
            while not late():
                # Whatever deadline falls into it is late.
                time.sleep(0.5)  # noqa: ASYNC251 - that is the danger
                await asyncio.sleep(0.01)

"""The torture through a relay: nothing wrong is readable at its far end, and a relay that is careless is caught."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from polymirror.relay import lines, replica
from polymirror.relay.broker.broadcast import Broadcast
from polymirror.relay.copy import Copy
from polymirror.relay.link import SILENCE
from polymirror.relay.offset import Offset
from polymirror.torture.relayed import WAY_FAULTS
from polymirror.torture.run import run_storm
from polymirror.torture.storm import draw_storm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAYS = ("socket", "broker", "both")
MAX_SEEDS = 12
"""A mutant must be caught within this many seeds."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (4, 7, 9, 10))])
def test_no_storm_breaks_a_promise_at_the_far_end(seed: int, way: str) -> None:
    result = run_storm(draw_storm(seed, 2.0, 10), relay=way)
    assert not result.violations, f"seed {seed}: {result.violations[0]}"
    assert result.reads > result.refused


def test_a_seed_gives_the_same_trace_and_the_same_reads() -> None:
    first, second = (run_storm(draw_storm(2, 1.0, 6), relay="broker") for _ in range(2))
    assert (first.trace, first.reads, first.refused) == (second.trace, second.reads, second.refused)


@pytest.mark.slow
def test_every_fault_of_the_way_strikes() -> None:
    struck: set[str] = set()
    for seed in range(MAX_SEEDS):
        for way in WAYS:
            struck |= {fault for fault, count in run_storm(draw_storm(seed, 2.0, 4), relay=way).faults.items() if count}
        if struck.issuperset(WAY_FAULTS):
            return
    pytest.fail(f"never struck: {set(WAY_FAULTS) - struck}")


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(owner, name, value)
    try:
        yield
    finally:
        patch.undo()


def _follow_any(copy: Copy, item: object, sent: float) -> bool:
    if isinstance(item, lines.Change) and copy.told is not None and not isinstance(item, lines.Book):
        copy._follow(item, sent)
        copy.broken = None
        return False
    return TAKE(copy, item, sent)  # type: ignore[arg-type]


TAKE = Copy.take

MUTANTS: dict[str, Callable[[], object]] = {
    "follow_over_a_gap": lambda: replaced(Copy, "take", _follow_any),
    "date_by_the_last_message": lambda: replaced(
        Offset, "heard", lambda self, sent, now: setattr(self, "_low", now - sent) or True
    ),
    "keep_a_clock_that_was_set": lambda: replaced(Offset, "_agrees", lambda *_: True),
    "tell_a_broker_nothing_anew": lambda: replaced(Broadcast, "_want", lambda *_, **__: None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_careless_relay_is_caught_where_the_right_one_is_not(name: str) -> None:
    for seed in range(MAX_SEEDS):
        for way in WAYS:
            storm = draw_storm(seed, 2.0, 6)
            with MUTANTS[name]():  # type: ignore[attr-defined]
                caught = run_storm(storm, relay=way).violations
            if caught and not run_storm(storm, relay=way).violations:
                return
    pytest.fail(f"{name} breaks no promise in {MAX_SEEDS} seeds")


def test_there_is_a_tick_between_two_beats() -> None:
    assert replica.TICK < SILENCE

"""The torture through a relay: nothing wrong is readable at its far end, and a relay that is careless is caught."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from polymirror.core.book import Levels
from polymirror.relay import hostclock, lines, replica
from polymirror.relay.broker.broadcast import Broadcast
from polymirror.relay.copy import Copy
from polymirror.relay.link import SILENCE
from polymirror.relay.offset import Offset
from polymirror.relay.publisher import BEAT
from polymirror.torture import verdict
from polymirror.torture.relayed import WAY_FAULTS
from polymirror.torture.run import make_world, run_storm
from polymirror.torture.storm import draw_storm
from polymirror.torture.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polymirror.core.view import BookView

WAYS = ("socket", "broker", "both")
MAX_SEEDS = 12
"""A mutant must be caught within this many seeds."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (4, 7))])
def test_no_storm_breaks_a_promise_at_the_far_end(seed: int, way: str) -> None:
    result = run_storm(draw_storm(seed, 2.0, 10), relay=way)
    assert not result.violations, f"seed {seed}: {result.violations[0]}"
    assert result.reads > result.refused


class Late(World):
    """A world whose books are read as something that never was, by a reader to whom no word has come since ``word``."""

    word: int | None = None
    knew = 0
    """Until then, in true exchange ms, the mirror could not know better."""

    def live(self, token: str, max_proof_age: float | None) -> BookView:
        view = super().live(token, max_proof_age)
        return msgspec.structs.replace(view, levels=Levels((100,), (1,), (), ()), proven_at=view.read_at - 0.5)

    def word_ms(self, token: str) -> int | None:
        del token
        return self.word

    def _excuses(self, view: BookView, state: object, claim: verdict.Claim) -> Iterator[verdict.Excuse]:
        del view, state
        yield verdict.Excuse(verdict.REWRITTEN, lambda _: claim.known_ms <= self.knew)


def test_what_a_mirror_took_for_right_is_excused_until_its_next_word_comes_and_counted() -> None:
    storm = draw_storm(1, 1.0, 2)
    world = Late(storm.exchange, seed=1)
    world.run(3.0)
    (token, _), *_ = world.book_states()
    now = world.exchange_ms()

    def found(word: int | None, knew: int) -> tuple[dict[str, int], int]:
        world.word, world.knew, world.tally = word, knew, type(world.tally)()
        world.read(token)
        assert world.tally.refused == 0
        return dict(world.tally.unknowable), len(world.tally.violations)

    assert found(now - 300, now) == ({verdict.REWRITTEN: 1}, 0)
    assert found(now - 300, now - 300) == ({verdict.UNTOLD: 1}, 0)
    assert found(now - 300, now - 301) == ({}, 1)
    # The view states that it was proven 0.5 s ago, after that word left.
    assert found(now - 502, now - 502) == ({}, 1)
    assert found(None, now - 300) == ({}, 1)


def test_the_world_knows_what_has_come_to_the_far_end() -> None:
    storm = draw_storm(3, 1.0, 4)
    world = make_world(storm, [], hedge=1, relay="both")
    tokens = [token for token, _ in world.book_states()]
    assert [world.word_ms(token) for token in tokens] == [None] * len(tokens)
    world.run(4.0)
    # No fault strikes yet: something is said of each book twice a second.
    for token in tokens:
        word = world.word_ms(token)
        assert word is not None
        assert 0 <= world.exchange_ms() - word <= 1_000 * (BEAT + 0.1)


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


@contextmanager
def both(one: AbstractContextManager[None], other: AbstractContextManager[None]) -> Iterator[None]:
    with one, other:
        yield


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
    "keep_a_clock_that_was_set": lambda: both(
        replaced(hostclock, "APART", float("inf")), replaced(Offset, "_agrees", lambda *_: True)
    ),
    "leave_a_clock_that_was_set_to_be_noticed_far_away": lambda: replaced(hostclock, "APART", float("inf")),
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

"""Running one seed: the world, the promises that are checked, and what was measured."""

from __future__ import annotations

import traceback
from collections import Counter
from typing import TYPE_CHECKING

from attrs import Factory, define

from polymirror.core.engine import Engine
from polymirror.core.states import BookState
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.torture.relayed import Relayed
from polymirror.torture.watched import Watched
from polymirror.torture.world import Violation, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.torture.storm import Episode, Storm

HEAL_BOUND = 25.0
"""Within this many seconds of calm every book must be LIVE or retired."""

_DONE = (BookState.LIVE, BookState.RETIRED)


@define
class SeedResult:
    """What one seed showed. Plain values, so that processes can pass it on."""

    seed: int
    seconds: float
    violations: list[Violation] = Factory(list)
    faults: Counter[str] = Factory(Counter)
    reads: int = 0
    refused: int = 0
    wrong_live_seconds: float = 0.0
    detect: dict[str, list[float]] = Factory(dict)
    recover: list[float] = Factory(list)
    retire: list[float] = Factory(list)
    unseen: dict[str, list[float]] = Factory(dict)
    """Recoveries after faults whose end a client cannot see, by fault."""
    unknowable: Counter[str] = Factory(Counter)
    transitions: int = 0
    trace: str = ""


def make_world(
    storm: Storm, episodes: Iterable[Episode], engine_class: Callable[..., Engine] = Engine, *, hedge: int, relay: str
) -> Watched:
    """Make the world of a seed. ``hedge`` is how many connections each socket has.

    ``relay`` says through what the books are read: one of
    :data:`~polymirror.torture.relayed.RELAYS`, or "" for the mirror itself.
    """
    if relay:
        return Relayed(storm, episodes, engine_class, hedge=hedge, relay=relay)
    return Watched(storm, episodes, engine_class, hedge=hedge)


def run_storm(
    storm: Storm,
    episodes: Iterable[Episode] | None = None,
    engine_class: Callable[..., Engine] = Engine,
    *,
    hedge: int = 1,
    relay: str = "",
    tell: Callable[[float], object] | None = None,
) -> SeedResult:
    """Run one seed, or some of its episodes, and check every promise. ``hedge`` and ``relay``: :func:`make_world`.

    ``tell`` is called with the virtual seconds that have passed, each time that some have.
    """
    chosen = storm.episodes if episodes is None else tuple(episodes)
    result = SeedResult(storm.seed, storm.seconds)
    world = make_world(storm, chosen, engine_class, hedge=hedge, relay=relay)
    try:
        for start, end in storm.calms():
            world.run(start - world.elapsed)
            _check_bounds(world)
            _wait_healed(world, result, start, end, storm.unseen(start))
            if tell is not None:
                tell(world.elapsed)
        world.run(storm.seconds - world.elapsed)
    except Exception as error:  # noqa: BLE001 - any exception out of the engine breaks a promise
        where = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {error} ({where.name}:{where.lineno})"
        world.tally.violations.append(Violation("nothing is raised", world.elapsed, "", detail))
    tally = world.tally
    result.violations = tally.violations[:100]
    result.faults = Counter(world.fault_counts())
    result.reads, result.refused = tally.reads, tally.refused
    result.wrong_live_seconds, result.unknowable = tally.wrong_live_seconds, tally.unknowable
    result.detect = world.detect
    result.transitions = tally.transitions
    result.trace = world.trace()
    return result


def _wait_healed(world: World, result: SeedResult, start: float, end: float, unseen: dict[str, float]) -> None:
    """Measure how long the calm takes: until books that still trade are LIVE, and until the others are retired.

    It counts from the end of the faults and of the backlog that they left on a connection. After faults whose end
    nobody can see (``unseen``: when they are over) it may take longer, and counts apart.
    """
    recovered = False
    limit = max([start + HEAL_BOUND, *(over + (FAULTS[fault].heal_seconds or 0.0) for fault, over in unseen.items())])
    while world.elapsed < end:
        waiting = [token for token, state in world.book_states() if _waits(world, token, state)]
        if not recovered and not any(world.trades(token) for token in waiting):
            recovered = True
            for fault, over in unseen.items():
                result.unseen.setdefault(fault, []).append(max(0.0, world.elapsed - max(over, start)))
            if not unseen:
                result.recover.append(max(0.0, world.elapsed - max(start, world.backlog_until)))
        if not waiting:
            if not unseen:
                result.retire.append(max(0.0, world.elapsed - start))
            return
        if world.elapsed > limit:
            for token in waiting:
                detail = f"{_describe(world, token)} {limit - start:g} s after the last fault"
                world.tally.violations.append(Violation("books heal", world.elapsed, token, detail))
            return
        world.run(0.05)


def _waits(world: World, token: str, state: BookState) -> bool:
    """Whether a book is neither readable nor rightly retired."""
    return state not in _DONE or (state is BookState.RETIRED and not world.exchange.is_resolved(token))


def _check_bounds(world: World) -> None:
    """Check that nothing holds more than it may."""
    status, config = world.engine.status(world.seconds), world.engine_config
    for book in status.tokens:
        sizes = {
            "buffer": (book.buffered_deltas, config.max_buffered_deltas),
            "journal": (book.journaled_changes, config.max_journal),
            "levels": (max(book.bid_levels, book.ask_levels), config.max_levels),
        }
        for name, (size, limit) in sizes.items():
            if size > limit:
                detail = f"{name} holds {size}, more than {limit}"
                world.tally.violations.append(Violation("bounds hold", world.elapsed, book.token, detail))
    if status.rest.waiting > len(status.tokens):
        world.tally.violations.append(Violation("bounds hold", world.elapsed, "", "more wishes than tokens"))


def _describe(world: World, token: str) -> str:
    return world.describe(token)

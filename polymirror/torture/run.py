"""Running one seed: the world, the promises that are checked, and what was measured."""

from __future__ import annotations

import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import Factory, define

from polymirror.core.engine import Engine
from polymirror.core.states import BookState
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.torture.world import Violation, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.simulator.frames import Item
    from polymirror.torture.storm import Episode, Storm

HEAL_BOUND = 25.0
"""Within this many seconds of calm every book must be LIVE or retired."""

DETECT_WITHIN = 30.0
"""A strike that has led to no doubt after this many seconds was harmless."""

PROMPT = 2.0
"""Seconds within which a wrong book must be doubted once a frame has shown it."""

PROMPT_FAULTS = frozenset({fault for fault, kind in FAULTS.items() if kind.hash_visible} | {"frozen_token"})
"""Faults that the next delta shows: by its hash, or by the complement that moves alone."""

_DONE = (BookState.LIVE, BookState.RETIRED)


class Strike(NamedTuple):
    """A fault that struck a market at a moment of the client's clock, and when a frame could show it first."""

    fault: str
    market: str
    at: float
    seen: float = 0.0


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


class Watched(World):
    """A world that notes strikes, and how long it takes until they are doubted."""

    def __init__(
        self,
        storm: Storm,
        episodes: Iterable[Episode],
        engine_class: Callable[..., Engine] = Engine,
        *,
        hedge: int = 1,
    ) -> None:
        # Strikes not yet followed by a doubt.
        self.strikes: list[Strike] = []
        self.detect: dict[str, list[float]] = {}
        # Those that nothing has shown yet, by market; set before the base class begins to send.
        self._unseen: dict[str, list[Strike]] = {}
        self._solo = storm.solo
        faults = [episode.build(storm.exchange.start_ms, storm.seed) for episode in episodes]
        self._alone = [fault for fault in faults if fault.id == storm.solo]
        super().__init__(
            storm.exchange, faults, seed=storm.seed, network=storm.network, engine_class=engine_class, hedge=hedge
        )

    def pass_faults(self, link: Any, items: list[Item]) -> list[Item]:
        """Let items pass the faults; in a solo seed note whose market was struck."""
        if not self._solo:
            return super().pass_faults(link, items)
        before = sum(fault.injected for fault in self._alone)
        passed = super().pass_faults(link, items)
        if sum(fault.injected for fault in self._alone) > before:
            gone = [item for item in items if item not in passed]
            for item in gone or items:
                market = getattr(item, "market", "")
                if market:
                    self._unseen.setdefault(market, []).append(Strike(self._solo, market, self.seconds))
        return passed

    def arrived(self, market: str) -> None:
        """A frame of a market arrived: from now on an earlier strike can be seen, if it was not on its way then."""
        if self.strikes:
            self._clear(market)
        waiting, link = self._unseen.pop(market, []), self._link_ms / 1000
        on_its_way = [strike for strike in waiting if self.seconds <= strike.at + link]
        if on_its_way:
            self._unseen[market] = on_its_way
        self.strikes += [strike._replace(seen=self.seconds) for strike in waiting[: len(waiting) - len(on_its_way)]]

    def _clear(self, market: str) -> None:
        """Forget strikes that did no harm; those that did and were not doubted in time are violations."""
        known = self.exchange.market_by_condition(market)
        views = [] if known is None else [self.engine.peek(token, self.seconds) for token in known.tokens]
        readable = [view for view in views if view.state is BookState.LIVE]
        wrong = [view for view in readable if not self.is_up_to_date(view)]
        kept = []
        for strike in self.strikes:
            bound = PROMPT if strike.fault in PROMPT_FAULTS else self.engine_config.max_proof_age + PROMPT
            # What is shown was so after the strike: then it is not what the strike left behind.
            struck_ms = self._start_ms + self.true_at(strike.at) // 1000 + 1
            harmless = all(self.exchange.was_digest_true(v.token, self._digest_of(v), int(struck_ms)) for v in wrong)
            if strike.market != market or (self.seconds - strike.seen <= bound and not harmless):
                kept.append(strike)
            elif not harmless:
                detail = f"{strike.fault} seen at {strike.seen:.3f} s is not doubted after {bound:g} s"
                self._violate("faults are doubted in time", market, detail)
        self.strikes = kept

    def doubted(self, token: str) -> None:
        """A book left LIVE: strikes on its market are detected."""
        market = self._market_of[token].condition_id
        for strike in [each for each in self.strikes if each.market == market]:
            self.strikes.remove(strike)
            if self.seconds - strike.seen <= DETECT_WITHIN:
                self.detect.setdefault(strike.fault, []).append(self.seconds - strike.seen)


def run_storm(
    storm: Storm,
    episodes: Iterable[Episode] | None = None,
    engine_class: Callable[..., Engine] = Engine,
    *,
    hedge: int = 1,
    tell: Callable[[float], object] | None = None,
) -> SeedResult:
    """Run one seed, or some of its episodes, and check every promise. ``hedge``: connections of each socket.

    ``tell`` is called with the virtual seconds that have passed, each time that some have.
    """
    chosen = storm.episodes if episodes is None else tuple(episodes)
    result = SeedResult(storm.seed, storm.seconds)
    world = Watched(storm, chosen, engine_class, hedge=hedge)
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
        waiting = [token for token, state in world.engine.states() if _waits(world, token, state)]
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
    standing = world.engine.standing(token)
    return "gone" if standing is None else f"{standing.state.name} {standing.reason.name}"

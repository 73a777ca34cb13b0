"""A world that notes what each fault did: when it struck, when a frame could show it, and when it was doubted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from polymirror.core.engine import Engine
from polymirror.core.states import BookState
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.torture.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.simulator.frames import Item
    from polymirror.torture.storm import Episode, Storm

DETECT_WITHIN = 30.0
"""A strike that has led to no doubt after this many seconds was harmless."""

PROMPT = 2.0
"""Seconds within which a wrong book must be doubted once a frame has shown it."""

PROMPT_FAULTS = frozenset({fault for fault, kind in FAULTS.items() if kind.hash_visible} | {"frozen_token"})
"""Faults that the next delta shows: by its hash, or by the complement that moves alone."""


class Strike(NamedTuple):
    """A fault that struck a market at a moment of the client's clock, and when a frame could show it first."""

    fault: str
    market: str
    at: float
    seen: float = 0.0


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

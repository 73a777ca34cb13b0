"""A mirror in virtual time that writes bundles, and what the simulator knows of the faults that led to them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import define, evolve, field

from polymirror import IncidentConfig, Mirror, MirrorConfig
from polymirror.core.states import BookState
from polymirror.errors import NotLive
from polymirror.journal.incident.incidents import ORDINARY
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Plan, make_faults
from polymirror.simulator.faults.base import Fault
from polymirror.simulator.frames import Frame
from polymirror.simulator.virtual import NetworkConfig, VirtualVenue, run_virtual

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from polymirror.core.events import Transition
    from polymirror.journal.recorded import IncidentNote

START_MS = ExchangeConfig().start_ms


@define
class Struck:
    """One thing that a fault did to the stream or to an answer, and when, in exchange milliseconds."""

    fault: str
    at_ms: int
    lost: tuple[str, ...] = ()
    """Texts that were sent and did not pass at once."""
    made: tuple[str, ...] = ()
    """Texts that passed and were not sent at once."""
    place: int = 0
    """How many frames had passed before."""


class Passed(NamedTuple):
    """A frame that left the faults for the client."""

    sent_ms: int
    """When it set out, in exchange milliseconds,"""
    late_ms: int
    """and how much later that was than it should have been."""
    text: str


@define
class Watch:
    """Notes what each fault does."""

    struck: list[Struck] = field(factory=list)
    passed: list[Passed] = field(factory=list)

    def over(self, fault: Any) -> Any:
        """Watch a fault."""
        outgoing, answer, strike = fault.outgoing, fault.answer, fault.strike

        def struck() -> None:
            strike()
            if fault.exchange is not None and not self.changes(fault):
                self.struck.append(Struck(fault.id, fault.exchange.now_ms, place=len(self.passed)))

        def watched(link: Any, items: list[Any], now_ms: int) -> list[Any]:
            passed = outgoing(link, list(items), now_ms)
            if passed != items:
                kept = [item in passed for item in items]
                place = len(self.passed) + (kept.index(False) if False in kept else 0)
                self.struck.append(Struck(fault.id, now_ms, _texts(items, passed), _texts(passed, items), place))
            for item in passed:
                if isinstance(item, Frame):
                    at_ms = now_ms + item.delay_ms
                    self.passed.append(Passed(at_ms, at_ms - item.at_ms if item.at_ms else 0, item.text))
            return passed

        def answered(call: Any, given: Any, now_ms: int) -> Any:
            altered = answer(call, given, now_ms)
            if altered != given:
                self.struck.append(Struck(fault.id, now_ms, (given.body,), (altered.body,), len(self.passed)))
            return altered

        fault.strike = struck
        # So that the line lets frames pass here, whatever the fault does to them.
        kind = type(fault)
        fault.__class__ = type(kind.__name__, (kind,), {"outgoing": lambda _, *args: watched(*args)})
        if kind.answer is not Fault.answer:
            fault.answer = answered
        return fault

    @staticmethod
    def changes(fault: Any) -> bool:
        """Whether a fault changes what passes, so that it is seen when it does."""
        kind = type(fault).__mro__[1]
        return kind.outgoing is not Fault.outgoing or kind.answer is not Fault.answer


def _texts(some: list[Any], others: list[Any]) -> tuple[str, ...]:
    return tuple(item.text if isinstance(item, Frame) else repr(item) for item in some if item not in others)


class Run(NamedTuple):
    """What became of a mirror."""

    notes: tuple[IncidentNote, ...]
    losses: list[Transition]
    struck: list[Struck]
    passed: list[Passed]
    market_of: dict[str, str]


def run(
    folder: Path | None,
    *faults: str,
    seconds: float = 60.0,
    seed: int = 1,
    rate: float = 5.0,
    markets: int = 2,
    plan: Plan | None = None,
    reads: bool = True,
    exchange: Mapping[str, Any] | None = None,
    share: float | None = None,
    journal: Path | None = None,
    hedge: int = 1,
    **settings: Any,
) -> Run:
    """Run a mirror on the virtual venue with these faults, and read its books now and then."""
    config = ExchangeConfig(
        seed=seed, markets=markets, flow=FlowConfig(rate=rate), new_market_every_ms=None, **exchange or {}
    )
    watch = Watch()
    made = [watch.over(fault) for fault in make_faults(faults, seed=seed, plan=plan)]
    for fault in made if share is not None else ():
        fault.plan = evolve(fault.plan, share=min(1.0, share * fault.plan.share))

    async def main() -> Run:
        async with VirtualVenue(
            Exchange(config), faults=made, seed=seed, network=NetworkConfig(latency_ms=20, jitter_ms=30)
        ) as venue:
            mirror = Mirror.for_slug(
                *venue.exchange.slugs, endpoints=venue.endpoints, network=venue.network, incidents=folder,
                journal=journal, config=MirrorConfig(seed=seed, hedge=hedge, incidents=IncidentConfig(**settings)),
            )  # fmt: skip
            losses: list[Transition] = []
            mirror.on_transition(lambda event: losses.append(event) if _is_loss(event) else None)
            async with mirror:
                for _ in range(int(seconds * 10)):
                    await asyncio.sleep(0.1)
                    for token in mirror.tokens if reads else ():
                        try:
                            mirror.live(token)
                        except NotLive:
                            continue
                market_of = {token: mirror.market_of(token).condition_id for token in mirror.tokens}
            return Run(mirror.incidents(), losses, watch.struck, watch.passed, market_of)

    return run_virtual(main, start_ms=START_MS)


def _is_loss(event: Transition) -> bool:
    return event.old is BookState.LIVE and event.reason not in ORDINARY

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
from polymirror.simulator.frames import Frame
from polymirror.simulator.virtual import NetworkConfig, VirtualVenue, run_virtual

if TYPE_CHECKING:
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
    before: str = ""
    """The last text that passed before on the same connection."""


@define
class Watch:
    """Notes what each fault does."""

    struck: list[Struck] = field(factory=list)
    last: dict[int, str] = field(factory=dict)

    def over(self, fault: Any) -> Any:
        """Watch a fault."""
        outgoing, answer = fault.outgoing, fault.answer

        def watched(link: Any, items: list[Any], now_ms: int) -> list[Any]:
            passed = outgoing(link, list(items), now_ms)
            if passed != items:
                lost, made = _texts(items, passed), _texts(passed, items)
                self.struck.append(Struck(fault.id, now_ms, lost, made, self.last.get(link.number, "")))
            for item in passed:
                if isinstance(item, Frame):
                    self.last[link.number] = item.text
            return passed

        def answered(call: Any, given: Any, now_ms: int) -> Any:
            altered = answer(call, given, now_ms)
            if altered != given:
                self.struck.append(Struck(fault.id, now_ms, (given.body,), (altered.body,)))
            return altered

        if type(fault).outgoing.__qualname__ != "Fault.outgoing":
            fault.outgoing = watched
        if type(fault).answer.__qualname__ != "Fault.answer":
            fault.answer = answered
        return fault


def _texts(some: list[Any], others: list[Any]) -> tuple[str, ...]:
    return tuple(item.text if isinstance(item, Frame) else repr(item) for item in some if item not in others)


class Run(NamedTuple):
    """What became of a mirror."""

    notes: tuple[IncidentNote, ...]
    losses: list[Transition]
    struck: list[Struck]
    warnings: list[str]
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
    exchange: dict[str, Any] | None = None,
    share: float | None = None,
    journal: Path | None = None,
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
                journal=journal, config=MirrorConfig(seed=seed, incidents=IncidentConfig(**settings)),
            )  # fmt: skip
            losses: list[Transition] = []
            warnings: list[str] = []
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
            return Run(mirror.incidents(), losses, watch.struck, warnings, market_of)

    return run_virtual(main, start_ms=START_MS)


def _is_loss(event: Transition) -> bool:
    return event.old is BookState.LIVE and event.reason not in ORDINARY

"""A running bot on many markets: one mirror, one wallet, one order manager, and an engine for each market.

An engine is a failure domain: one that raises is started again alone, after a wait that grows, and the others go on.
Markets join when the universe takes them and leave when it does not, while the bot runs; one in which something is held
is followed until it is settled. :class:`Fleet` knows nothing of what an engine does: a kind of bot is a subclass that
makes them.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from attrs import evolve, field, frozen

from bots.common.errors import FactsDiffer, FactsOutside, FeeUnknown, TradingError
from bots.common.ledger.rows import ZERO
from bots.common.operate import app
from bots.common.operate.health import Vital
from bots.common.operate.supervise import Standing, Supervisor
from bots.common.orders.facts import FactLimits
from bots.common.orders.intents import Terms
from bots.supervisor.past import strange_markets
from bots.supervisor.targets import write_targets
from bots.supervisor.turns import Turns, TurnSettings
from bots.supervisor.universe import Survey, Universe, UniverseSettings, best_asks
from polymirror.core.states import BookState
from polymirror.errors import UnknownToken, VenueError
from polymirror.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AsyncExitStack
    from decimal import Decimal
    from pathlib import Path

    from bots.common.operate.app import Job
    from bots.common.operate.health import Probe
    from bots.common.operate.supervise import Domain
    from bots.common.orders.manager import OrderManager
    from bots.common.orders.order import Order, Result
    from polymirror.venue.market import Market

log = logging.getLogger(__name__)

ASK_AGAIN: Final = 5.0
"""Seconds between two questions for a market's terms."""

LOOK_FOR_ENDS: Final = 15.0
"""Seconds between two looks for markets that are settled."""

PATIENCE_MS: Final = 600_000
"""So long a limited run waits for what is uncertain at its end."""

LAST_MS: Final = 120_000
"""So long, then, an order that was begun within that time is looked up: nothing new is begun any more."""

ALIVE: Final = 0.5
"""The share of engines that must run, or health is bad."""


class Engine(Protocol):
    """What trades one market."""

    async def run(self) -> None:
        """Trade until cancelled. May raise: then another engine is made for the market. One that returns is done."""
        ...

    def heard(self, order: Order, result: Result) -> None:
        """Hear what became of an order in this market, or that it is looked up."""
        ...

    @property
    def is_mending(self) -> bool:
        """Whether it is about to trade on account of what is held."""
        ...


@frozen(kw_only=True)
class FleetPlan(app.Ground):
    """What a bot on many markets must be told besides its strategy."""

    universe: UniverseSettings = field(factory=UniverseSettings)
    turns: TurnSettings = field(factory=TurnSettings)
    facts: FactLimits = field(factory=FactLimits)
    look_back_h: int = 72
    """A market that the wallet traded within so many hours, unknown to the ledger, is left alone."""
    require_reconciliation: bool = True
    """Whether nothing is traded when the venue does not tell what the wallet traded."""
    name: str = "markets"
    """What the bot is called on its page and in its metrics."""
    targets: Path | None = None
    """The file that tells Prometheus of it; ``None``: nobody is told."""
    until_ms: int = 0
    """When a limited run is over, in Unix milliseconds; 0: never."""


P = TypeVar("P", bound=FleetPlan)
W = TypeVar("W", bound=app.World)


class Fleet(app.App[P, W]):
    """One bot on many markets. :meth:`run` may be called once."""

    def __init__(self, plan: P, world: W) -> None:
        self.orders: Counter[str] = Counter()
        """What became of orders and intents, by name."""
        self.counts: Counter[str] = Counter()
        self.turns = Turns(plan.turns)
        self.engines: dict[str, Engine] = {}
        """By condition id, of markets that are traded now."""
        self.survey = Survey(())
        """The last look at the venue's lists."""
        # Set by begin().
        self.mirror: Mirror | None = None
        self._universe: Universe | None = None
        self._crew: Supervisor | None = None
        # Markets that are followed, by condition id: traded, or held of.
        self._followed: dict[str, Market] = {}
        super().__init__(plan, world, self.orders)

    @abstractmethod
    def engine(self, market: Market, terms: Terms, mirror: Mirror, manager: OrderManager) -> Engine:
        """Make the engine of a market."""

    # ---- What an App asks ----------------------------------------------------------------------------

    async def begin(self, stack: AsyncExitStack) -> None:
        """Open the mirror, and what keeps the engines running."""
        world, rng = self.world, self.world.rng
        config = evolve(self.plan.mirror, endpoints=world.endpoints, seed=rng.getrandbits(32))
        self.mirror = await stack.enter_async_context(Mirror(config=config, network=world.network))
        url = await self.plan.status.page_of(0, self.plan.name, self._problems)(self.mirror)
        if self.plan.targets is not None and url:
            write_targets(self.plan.targets, url, self.plan.name)
        self._universe = Universe(self.plan.universe, self.mirror.gamma, world.network.wall)
        crew = Supervisor(world.network, rng=rng, on_failure=self._failed)
        self._crew = await stack.enter_async_context(crew)

    def _problems(self) -> list[str]:
        return [] if self.health is None else list(self.health.problems)

    def prepare(self, manager: OrderManager) -> None:
        """Make nothing: markets join once the books are known."""

    def adopt(self, market: Market) -> bool:
        """Follow a market of an earlier run."""
        self._followed[market.condition_id] = market
        return True

    async def look_back(self, manager: OrderManager) -> None:
        """Leave markets alone that the wallet traded and the ledger does not know: nothing is bought twice."""
        since_ms = max(0, self.ledger.now_ms() - self.plan.look_back_h * 3_600_000)
        ask = partial(strange_markets, self.ledger, manager.executor, since_ms)
        must = self.plan.require_reconciliation
        try:
            strange = await (self.ask_patiently("what was traded before", ask) if must else ask())
        except TradingError as error:
            if must:
                raise
            self.warn(f"the venue does not tell what was traded before ({error}): markets may be bought twice")
            return
        for market, why in strange.items():
            manager.apart[market] = why
            self.tell(f"market {market[:12]} is left alone: {why}")

    def jobs(self) -> Iterable[Job]:
        """Say what runs: the look at the lists, and the look for what is settled. Engines run by themselves."""
        return (("universe", self._keep_fresh), ("settlements", self._keep_settled))

    def vitals(self) -> Iterable[Probe]:
        """Say what else health asks: whether enough engines run."""

        def engines() -> Vital:
            domains = self.domains
            well = sum(each.standing in (Standing.RUNNING, Standing.DONE) for each in domains)
            return Vital("engines", well >= ALIVE * len(domains), f"{well} of {len(domains)} markets run")

        return (engines,)

    def heard(self, order: Order, result: Result) -> None:
        """Pass what became of an order on to its market's engine."""
        its = self.engines.get(order.market)
        if its is not None:
            its.heard(order, result)

    def closed(self, now_ms: int) -> str:
        """Say that a limited run has begun enough, once its :data:`PATIENCE_MS` are over."""
        until_ms = self.plan.until_ms
        return "its run is over" if until_ms and now_ms > until_ms + PATIENCE_MS else ""

    def is_done(self, now_ms: int) -> bool:
        """Whether a limited run is over, and nothing of it is uncertain or to be mended. Positions are kept.

        It waits no longer than :data:`PATIENCE_MS`: an order without an answer may stay unknown for longer. Only what
        was begun at the end of it is looked up for :data:`LAST_MS`, as is a merge.
        """
        until_ms, manager, account = self.plan.until_ms, self.manager, self.account
        if not until_ms or now_ms < until_ms or manager is None or manager.under_way:
            return False
        busy = account.open or account.claims or manager.merger.is_busy
        busy = busy or any(each.is_mending for each in self.engines.values())
        if now_ms <= until_ms + PATIENCE_MS:
            return not busy
        merges = manager.merger.is_busy and now_ms <= until_ms + PATIENCE_MS + LAST_MS
        return not merges and all(now_ms - begun.at_ms > LAST_MS for begun in account.open.values())

    def mirrors(self) -> Iterable[Mirror]:
        """Say which mirrors run: one."""
        return () if self.mirror is None else (self.mirror,)

    def count_books(self) -> tuple[int, int]:
        """Return how many books are LIVE, and how many there are."""
        mirror = self.mirror
        states = [] if mirror is None else [mirror.engine.peek_state(token) for token in mirror.tokens]
        return states.count(BookState.LIVE), len(states) - states.count(BookState.RETIRED)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """How each engine is."""
        return () if self._crew is None else tuple(self._crew.domains.values())

    def summary(self) -> dict[str, Any]:
        """Sum up what was done until now. Money is Decimal."""
        totals, held = self.account.totals, self.account.positions.values()
        return {
            "pnl": totals.profit,
            "fees": totals.fees,
            "orders": totals.orders,
            "unresolved": len(self.account.open),
            "held": len(held),
            "held_cost": sum((each.cost for each in held), ZERO),
            "held_markets": len({each.market for each in held}),
            "fairness": self.turns.fairness(),
            "restarts": self.counts["restarts"],
            "counts": dict(sorted(self.counts.items())),
            "no_order": dict(sorted(self.orders.items())),
        }

    # ---- Markets -------------------------------------------------------------------------------------

    async def _keep_fresh(self) -> None:
        """Look at the lists again and again. What cannot be read is read later: the markets stay as they are."""
        universe = self._universe
        for market in tuple(self._followed.values()):
            self._join(market)
        while universe is not None:
            running = [self._followed[each] for each in self._followed if self._is_running(each)]
            try:
                self.survey = await universe.survey(running, self._asks)
            except VenueError as error:
                log.warning("the venue's lists cannot be read: %s", error)
            else:
                wanted = {market.condition_id for market in self.survey.taken}
                for market in running:
                    if market.condition_id not in wanted:
                        self._leave(market)
                for market in self.survey.taken:
                    self._join(market)
            await asyncio.sleep(self.plan.universe.refresh_s)

    async def _asks(self, tokens: Sequence[str]) -> Mapping[str, Decimal]:
        return {} if self.mirror is None else await best_asks(self.mirror.clob, tokens)

    def _is_running(self, market: str) -> bool:
        known = self._followed.get(market)
        return known is not None and self._crew is not None and known.slug in self._crew.domains

    def _join(self, market: Market) -> None:
        """Mirror a market and let it be traded, if it is not."""
        if self._crew is None or self.mirror is None or self._is_running(market.condition_id):
            return
        self._followed[market.condition_id] = market
        if all(known.condition_id != market.condition_id for known in self.mirror.markets):
            self.mirror.add_market(market)
        self._crew.keep(market.slug, partial(self._trade_market, market))
        self.counts["joined"] += 1

    def _leave(self, market: Market) -> None:
        """Trade a market no more; nothing more is mirrored of it, unless something is held."""
        if self._holds(market.condition_id):
            return  # its engine may have to mend what is held
        if self._crew is not None:
            self._crew.release(market.slug)
        self.engines.pop(market.condition_id, None)
        self._followed.pop(market.condition_id, None)
        if self.mirror is not None and any(each.condition_id == market.condition_id for each in self.mirror.markets):
            self.mirror.remove_market(market.condition_id)
        self.counts["left"] += 1

    def _holds(self, market: str) -> bool:
        account = self.account
        held = any(each.market == market for each in account.positions.values())
        return held or any(
            each.order.market == market
            for each in (*account.open.values(), *(claim.begun for claim in account.claims.values()))
        )

    async def _trade_market(self, market: Market) -> None:
        """Learn a market's terms, and run an engine on it."""
        mirror, manager = self.mirror, self.manager
        if mirror is None or manager is None:
            return
        terms = await self._learn(market, mirror)
        made = self.engines[market.condition_id] = self.engine(market, terms, mirror, manager)
        try:
            await made.run()
        finally:
            self.engines.pop(market.condition_id, None)

    async def _learn(self, market: Market, mirror: Mirror) -> Terms:
        told = False
        while True:
            try:
                clob = await mirror.clob.clob_market(market.condition_id)
                # Each market has its own cooldown: it is what its orders are about.
                return Terms.of(market, clob, market.slug, self.plan.facts)
            except (VenueError, FeeUnknown, FactsDiffer, FactsOutside) as error:
                if not (told or isinstance(error, VenueError)):
                    self.warn(f"not traded: {error}")
                    told = True
                log.info("%s: %s", market.slug, error)
            await asyncio.sleep(ASK_AGAIN)

    def _failed(self, domain: Domain) -> None:
        self.counts["restarts"] += 1
        log.warning("the engine of %s failed: %s", domain.name, domain.error)

    # ---- Ends ----------------------------------------------------------------------------------------

    async def _keep_settled(self) -> None:
        """Ask about markets that seem to be over, until they say what they pay; then nothing of them is left."""
        while True:
            await asyncio.sleep(LOOK_FOR_ENDS)
            now = self.world.network.wall()
            ended = [each for each in self._followed.values() if self._seems_over(each, now)]
            if not ended or self.mirror is None or self.manager is None:
                continue
            for slug, found in (await self.mirror.gamma.markets([each.slug for each in ended])).items():
                if isinstance(found, VenueError):
                    log.info("%s: %s", slug, found)
                elif found.closed and found.payouts:
                    payouts = dict(zip(found.token_ids, found.payouts, strict=False))
                    if self._holds(found.condition_id):
                        self.manager.decide(found.condition_id, payouts)
                    else:
                        self.counts["ended"] += 1
                        self._leave(found)

    def _seems_over(self, market: Market, now: float) -> bool:
        if market.window_end is not None and now >= market.window_end:
            return True
        try:
            return self.mirror is not None and any(
                self.mirror.engine.peek_state(token) is BookState.RETIRED for token in market.token_ids
            )
        except UnknownToken:
            return True

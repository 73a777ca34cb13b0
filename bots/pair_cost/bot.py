"""The bot: a :class:`~bots.supervisor.fleet.Fleet` whose engines trade pairs, and what a run of it came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from bots.common.ledger.groups import summarise
from bots.common.ledger.lone import lone_cost, paired
from bots.common.operate.app import World
from bots.pair_cost.engine import PairEngine, Shared
from bots.supervisor.fleet import Fleet, FleetPlan

if TYPE_CHECKING:
    from bots.common.orders.intents import Terms
    from bots.common.orders.manager import OrderManager
    from bots.pair_cost.strategy import PairSettings
    from polymirror.mirror import Mirror
    from polymirror.venue.market import Market


@frozen(kw_only=True)
class PairPlan(FleetPlan):
    """What the bot does."""

    pair: PairSettings


class PairBot(Fleet[PairPlan, World]):
    """One bot. :meth:`run` may be called once."""

    def engine(self, market: Market, terms: Terms, mirror: Mirror, manager: OrderManager) -> PairEngine:
        """Make the engine of a market."""
        shared = Shared(
            settings=self.plan.pair,
            mirror=mirror,
            manager=manager,
            turns=self.turns,
            counts=self.counts,
            clock=self.world.network.monotonic,
            tell=self.warn,
            is_over=lambda: bool(self.plan.until_ms) and self.ledger.now_ms() >= self.plan.until_ms,
        )
        return PairEngine(market, terms, shared)

    def summary(self) -> dict[str, Any]:
        """Sum up what was done until now, by the ledger's rows: what earlier runs did is in it."""
        held = tuple(self.account.positions.values())
        found = summarise(self.world.store.read, self.plan.pair.max_pair_cost)
        return found | super().summary() | {"unmerged": paired(held), "alone_cost": lone_cost(held)}

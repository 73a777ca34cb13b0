"""A running bot on up/down markets: an oracle, and one worker per asset, on the ground that all bots share.

A bot's own package brings the settings and the strategy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from bots.common.operate import app
from bots.updown.rounds import window_of
from bots.updown.stats import RunStats, summarise
from bots.updown.watch import markets, prices
from bots.updown.worker import AssetWorker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bots.common.operate.app import Job
    from bots.common.operate.health import Probe
    from bots.common.orders.facts import FactLimits
    from bots.common.orders.manager import OrderManager
    from bots.updown.oracles.base import Oracle
    from bots.updown.rounds import RoundSettings
    from bots.updown.worker import Strategy
    from polymirror.mirror import Mirror
    from polymirror.venue.market import Market


@frozen(kw_only=True)
class Plan(app.Ground):
    """What a bot does: its settings and its strategy."""

    assets: tuple[str, ...]
    strategy: Strategy
    rounds: RoundSettings
    facts: FactLimits


@frozen(kw_only=True)
class World(app.World):
    """Everything outside the bot, the oracle included."""

    oracle: Oracle


class Bot(app.App[Plan, World]):
    """One bot. :meth:`run` may be called once. ``stats`` counts, and may limit the number of rounds."""

    def __init__(self, plan: Plan, world: World, stats: RunStats | None = None) -> None:
        self.stats = RunStats() if stats is None else stats
        self.workers: dict[str, AssetWorker] = {}
        super().__init__(plan, world, self.stats.orders)

    def prepare(self, manager: OrderManager) -> None:
        """Make a worker for each asset."""
        world, plan = self.world, self.plan
        rest = plan.mirror.rest
        # The venue's budget for book calls is one for all mirrors.
        budget = max(1, rest.calls_per_10s // len(plan.assets))
        mirror = evolve(plan.mirror, endpoints=world.endpoints, rest=evolve(rest, calls_per_10s=budget))
        for number, asset in enumerate(plan.assets):
            self.workers[asset] = AssetWorker(
                asset,
                plan.strategy,
                rounds=plan.rounds,
                facts=plan.facts,
                mirror=evolve(mirror, seed=world.rng.getrandbits(32)),
                network=world.network,
                oracle=world.oracle,
                manager=manager,
                stats=self.stats,
                tell=self.warn,
                page=plan.status.page_of(number, asset, lambda: self.health.problems if self.health else []),
            )

    def adopt(self, market: Market) -> bool:
        """Whether a worker follows the market of an earlier run from now on."""
        window = window_of(market)
        if window is None or window.asset not in self.workers:
            return False
        self.workers[window.asset].adopt(window)
        return True

    def services(self) -> Iterable[Job]:
        """Say what is kept running for the workers: the oracle."""
        return (("oracle", self.world.oracle.run),)

    def jobs(self) -> Iterable[Job]:
        """Say what trades: the workers."""
        return [(asset, worker.run) for asset, worker in self.workers.items()]

    def vitals(self) -> Iterable[Probe]:
        """Say what else health asks: whether prices flow, and whether anything can be traded."""
        network = self.world.network
        return markets(self.workers, network), prices(self.world.oracle, self.plan.assets, network)

    def is_done(self, now_ms: int) -> bool:
        """Whether all rounds of a limited run are settled and booked."""
        account = self.account
        return not (account.positions or account.open or account.claims) and self.stats.done(now_ms)

    def mirrors(self) -> Iterable[Mirror]:
        """Say which mirrors run: one for each asset."""
        return [worker.mirror for worker in self.workers.values() if worker.mirror is not None]

    def count_books(self) -> tuple[int, int]:
        """Return how many books are LIVE, and how many there are."""
        counts = [worker.count_books() for worker in self.workers.values()]
        return sum(live for live, _ in counts), sum(total for _, total in counts)

    def summary(self) -> dict[str, Any]:
        """Sum up what was done until now."""
        unresolved = len(self.account.open) if self.manager is None else self.manager.unresolved
        return summarise(self.stats, self.account, unresolved)

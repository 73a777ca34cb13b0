"""The settings that every bot on many markets has; a bot's own are a subclass."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from attrs import evolve, field, frozen

from bots.common.money.sizing import SizeLimits
from bots.common.operate.account import TraderSettings
from bots.common.orders.facts import FactLimits
from bots.common.orders.merging import MergeSettings
from bots.common.orders.order import TimeInForce
from bots.common.ranges import decimal_range, whole
from bots.common.risk.limits import RiskLimits
from bots.supervisor.fleet import FleetPlan
from bots.supervisor.turns import TurnSettings
from bots.supervisor.universe import UniverseSettings


@frozen(kw_only=True)
class FleetSettings(TraderSettings):
    """The whole file, but for what the bot's own strategy needs."""

    name = "markets"
    """What the bot is called on its page and in its metrics."""

    universe: UniverseSettings = field(factory=UniverseSettings)
    turns: TurnSettings = field(factory=TurnSettings)
    facts: FactLimits = field(factory=FactLimits)
    merging: MergeSettings = field(factory=MergeSettings)
    risk: RiskLimits = field(factory=RiskLimits)
    max_leg: Decimal = field(default=Decimal(20), validator=decimal_range("1", "1000000", "pUSD"))
    """The most that one order may offer, alone or as one of a group."""
    max_proof_age: Decimal = field(default=Decimal(2), validator=decimal_range("0.05", "15", "seconds"))
    """No order rests on a book that was proven longer ago."""
    targets: str = ""
    """A file that tells Prometheus where the metrics are (``file_sd``); empty: none."""
    look_back_h: int = field(default=72, validator=whole(0, 8_760, "hours"))
    """Markets that the wallet traded within so many hours, and the ledger does not know of, are left alone."""
    require_reconciliation: bool = True
    """Whether nothing is traded when the venue does not tell what was."""

    def plan(self, until_ms: int = 0) -> FleetPlan:
        """Make the plan of a bot; ``until_ms``, in Unix milliseconds, ends a limited run."""
        return FleetPlan(
            universe=self.universe,
            turns=self.turns,
            facts=self.facts,
            merging=self.merging,
            risk=self.risk,
            mirror=evolve(self.mirror, max_subscribers=max(self.mirror.max_subscribers, 4 * self.universe.max_markets)),
            size=SizeLimits(max_money=self.max_leg, max_price=Decimal("0.99")),
            tif=TimeInForce.FOK,
            max_proof_age=float(self.max_proof_age),
            look_back_h=self.look_back_h,
            require_reconciliation=self.require_reconciliation,
            status=self.status,
            name=self.name,
            targets=Path(self.targets) if self.targets else None,
            until_ms=until_ms,
        )

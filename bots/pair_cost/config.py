"""Every setting of the bot: one TOML file or a profile, each section a class, each value with its unit and range."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from attrs import asdict, field, frozen

from bots.common.ranges import decimal_range
from bots.pair_cost.bot import PairPlan
from bots.pair_cost.strategy import PairSettings
from bots.supervisor.config import FleetSettings


@frozen(kw_only=True)
class PairBotSettings(FleetSettings):
    """The whole file."""

    name = "pair_cost"

    folder: Path = Path("pair_cost_files")
    pair: PairSettings = field(factory=PairSettings)
    max_leg: Decimal = field(default=Decimal(30), validator=decimal_range("1", "1000000", "pUSD"))
    """The most that one of the two orders may offer: of a pair, the limits count what it can lose."""

    def plan(self, until_ms: int = 0) -> PairPlan:
        """Make the plan of a bot; ``until_ms``, in Unix milliseconds, ends a limited run."""
        return PairPlan(pair=self.pair, **asdict(super().plan(until_ms), recurse=False))

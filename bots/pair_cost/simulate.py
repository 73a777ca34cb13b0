"""The bot on the embedded exchange, and whether a pair cost more than it may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bots.pair_cost.bot import PairBot
from bots.testing import fleets

if TYPE_CHECKING:
    from bots.common.operate.app import World
    from bots.pair_cost.config import PairBotSettings


def make(settings: PairBotSettings, world: World, until_ms: int) -> PairBot:
    """Make the bot of its settings; ``until_ms``, in Unix milliseconds, ends a limited run, 0 none."""
    return PairBot(settings.plan(until_ms), world)


def simulate(settings: PairBotSettings, **more: Any) -> dict[str, Any]:
    """Trade and return the summary; ``more`` goes to :func:`bots.testing.fleets.simulate`."""
    found = fleets.simulate(make, settings, **more)
    return found | {"clean": found["clean"] and not found["above_limit"]}

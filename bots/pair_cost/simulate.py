"""The bot, and its look at the lists, on the embedded exchange."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from attrs import evolve

from bots.pair_cost.bot import PairBot
from bots.supervisor.universe import Universe, table
from bots.testing.fleets import exchange_of, play
from bots.testing.stage import Stage
from polymirror.simulator.settings import DEFAULT_START_MS
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.gamma import Gamma

if TYPE_CHECKING:
    from bots.pair_cost.config import PairBotSettings


def simulate(settings: PairBotSettings, *, markets: int, minutes: int, seed: int, **more: Any) -> dict[str, Any]:
    """Trade so many markets for so long and return the summary; ``more`` goes to :func:`~bots.testing.fleets.play`."""
    settings = evolve(settings, universe=evolve(settings.universe, max_markets=markets))
    found = play(
        lambda world, until_ms: PairBot(settings.plan(until_ms), world),
        exchange_of(markets, seed),
        live=settings.live,
        minutes=minutes,
        **more,
    )
    return found | {"clean": found["clean"] and not found["above_limit"]}


def survey_simulated(settings: PairBotSettings, *, markets: int, seed: int) -> str:
    """Look at the lists of the embedded exchange once, and lay out what would be traded."""

    async def look() -> str:
        stage = Stage.of(exchange_of(markets, seed))
        async with stage.venue:
            network, rest = stage.venue.network, settings.mirror.rest
            rng = random.Random(seed)  # noqa: S311 - repeatable
            async with Gamma(rest, stage.venue.endpoints, rng=rng, network=network) as gamma:
                found = await Universe(settings.universe, gamma, network.wall).survey()
                return table(found, network.wall())

    return run_virtual(look, start_ms=DEFAULT_START_MS, limit=600.0)

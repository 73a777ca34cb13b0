"""The whole bot against the embedded exchange, in virtual time: the same every time.

Nothing of the bot is replaced but its sockets, clocks and disk. Afterwards its books are held against the exchange's
ledger, money and shares, and the judge says whether every order rested on a book that was LIVE and true.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from bots.common.ledger.database import Database, inline
from bots.common.operate.app import World
from bots.pair_cost.bot import PairBot
from bots.supervisor.universe import Universe, table
from bots.testing.mortality import live_and_die
from bots.testing.stage import Stage
from polymirror.simulator.settings import DEFAULT_START_MS, ExchangeConfig, PairsConfig
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.gamma import Gamma

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.common.ledger.ledger import Store
    from bots.pair_cost.config import PairBotSettings

LATE_S: Final = 7_200
"""The most virtual time after the end, in seconds."""

LISTED: Final = 4
"""So many markets are listed for each one that is to be traded: the universe has something to choose from."""


def exchange_of(markets: int, seed: int) -> ExchangeConfig:
    """Describe the embedded exchange for so many markets that are to be traded."""
    pairs = PairsConfig(every_s=300)
    return ExchangeConfig(
        seed=seed, markets=max(LISTED * markets, 8), start_ms=DEFAULT_START_MS, pairs=pairs, new_market_every_ms=None
    )


def simulate(
    settings: PairBotSettings,
    *,
    markets: int,
    minutes: int,
    seed: int,
    storm: bool = False,
    kills: int = 0,
    store: Store | None = None,
    tell: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Trade so many markets for so long and return the summary, with what judge and ledger say of it."""
    kept = Database() if store is None else store
    settings = evolve(settings, universe=evolve(settings.universe, max_markets=markets))
    until_ms = DEFAULT_START_MS + minutes * 60_000

    async def play() -> dict[str, Any]:
        stage = Stage.of(exchange_of(markets, seed), storm=storm, one_entry=False)
        rng = random.Random(f"bot:{seed}")  # noqa: S311 - repeatable
        shares: dict[str, Decimal] = {}

        async def live(store: Store) -> dict[str, Any]:
            network = stage.venue.network
            world = World(
                network=network,
                endpoints=stage.venue.endpoints,
                store=store,
                offload=inline,
                open_executor=lambda bot: stage.executor(network, settings.live, bot.account.order_ids),
                switch=lambda: None,
                chat=stage.chat(network),
                look_on=tell,
                rng=rng,
            )
            bot = PairBot(settings.plan(until_ms), world)
            found = await bot.run()
            shares.update({token: held.shares for token, held in bot.account.positions.items()})
            return found

        async with stage.venue:
            found, killed = await live_and_die(live, kills=kills, seed=seed, within=minutes * 60, kept=kept)
        found |= stage.findings(found["pnl"], found["held_cost"]) | {"seed": seed, "kills": killed}
        theirs = stage.ledger.account(stage.account.address).positions
        there = {token: Decimal(each.shares).scaleb(-6) for token, each in theirs.items()}
        found["share_differences"] = {
            token[:12]: f"{shares.get(token, 0)} and {there.get(token, 0)}"
            for token in shares.keys() | there.keys()
            if shares.get(token, Decimal(0)) != there.get(token, Decimal(0))
        }
        moments = stage.exchange.dislocations
        found["moments"] = None if moments is None else {"begun": moments.counts.begun, "rivals": moments.counts.rivals}
        found["clean"] = found["clean"] and not found["share_differences"] and not found["above_limit"]
        return found

    return run_virtual(play, start_ms=DEFAULT_START_MS, limit=float(minutes * 60 + LATE_S))


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

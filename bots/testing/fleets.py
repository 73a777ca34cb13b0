"""A whole bot on many markets against the embedded exchange, in virtual time: the same every time.

Nothing of the bot is replaced but its sockets, clocks and disk. Afterwards its books are held against the exchange's
ledger, money and shares, and the judge says whether every order rested on a book that was LIVE and true. Simulations of
bots that trade many markets call :func:`simulate`, or :func:`play` on an exchange of their own.
"""

from __future__ import annotations

import random
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve

from bots.common.ledger.database import Database, inline
from bots.common.operate.app import World
from bots.supervisor.config import FleetSettings
from bots.supervisor.universe import Universe, table
from bots.testing.mortality import live_and_die
from bots.testing.stage import Stage
from polymirror.simulator.settings import DEFAULT_START_MS, ExchangeConfig, PairsConfig
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.gamma import Gamma

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.common.execution.live import LiveConfig
    from bots.common.ledger.ledger import Store
    from bots.supervisor.fleet import Fleet

S = TypeVar("S", bound=FleetSettings)

LATE_S: Final = 7_200
"""The most virtual time after the end, in seconds."""

LISTED: Final = 4
"""So many markets are listed for each one that is to be traded: there is something to choose from."""

EVERY_S: Final = 200.0
"""Mean seconds between two moments in one market in which a pair costs less than a dollar."""


def exchange_of(markets: int, seed: int) -> ExchangeConfig:
    """Describe an exchange for so many markets that are to be traded."""
    listed, pairs = max(LISTED * markets, 8), PairsConfig(every_s=EVERY_S)
    return ExchangeConfig(seed=seed, markets=listed, start_ms=DEFAULT_START_MS, pairs=pairs, new_market_every_ms=None)


def play(
    make: Callable[[World, int], Fleet[Any, Any]],
    config: ExchangeConfig,
    *,
    live: LiveConfig,
    minutes: int,
    storm: bool = False,
    kills: int = 0,
    store: Store | None = None,
    tell: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Run the bot that ``make`` makes, of a world and the end in Unix ms, and return its summary with the findings.

    ``store`` is where the ledger lies, which outlives the bot; by default it is in memory.
    """
    kept = Database() if store is None else store
    until_ms = config.start_ms + minutes * 60_000

    async def main() -> dict[str, Any]:
        stage = Stage.of(config, storm=storm, one_entry=False)
        rng = random.Random(f"bot:{config.seed}")
        shares: dict[str, Decimal] = {}

        async def one_life(store: Store) -> dict[str, Any]:
            network = stage.venue.network
            world = World(
                network=network,
                endpoints=stage.venue.endpoints,
                store=store,
                offload=inline,
                open_executor=lambda bot: stage.executor(network, live, bot.account.order_ids),
                switch=lambda: None,
                chat=stage.chat(network),
                look_on=tell,
                rng=rng,
            )
            bot = make(world, until_ms)
            found = await bot.run()
            shares.update({token: held.shares for token, held in bot.account.positions.items()})
            return found

        async with stage.venue:
            found, killed = await live_and_die(one_life, kills=kills, seed=config.seed, within=minutes * 60, kept=kept)
        found |= stage.findings(found["pnl"], found["held_cost"], shares) | {"seed": config.seed, "kills": killed}
        # An engine that raises is started again, and trades nothing: only its restarts show it.
        return found | _compared(stage, shares, clean=found["clean"] and not found["restarts"])

    return run_virtual(main, start_ms=config.start_ms, limit=float(minutes * 60 + LATE_S))


def simulate(
    make: Callable[[S, World, int], Fleet[Any, Any]],
    settings: S,
    *,
    markets: int,
    minutes: int,
    seed: int,
    **more: Any,
) -> dict[str, Any]:
    """Trade so many markets for so long and return the summary with the findings; ``more`` goes to :func:`play`."""
    settings = evolve(settings, universe=evolve(settings.universe, max_markets=markets))
    config = exchange_of(markets, seed)
    return play(partial(make, settings), config, live=settings.live, minutes=minutes, **more)


def survey(settings: FleetSettings, *, markets: int, seed: int) -> str:
    """Look at the lists of the embedded exchange once, and lay out what would be traded."""

    async def look() -> str:
        stage = Stage.of(exchange_of(markets, seed))
        async with stage.venue:
            network, rest = stage.venue.network, settings.mirror.rest
            rng = random.Random(seed)
            async with Gamma(rest, stage.venue.endpoints, rng=rng, network=network) as gamma:
                found = await Universe(settings.universe, gamma, network.wall).survey()
                return table(found, network.wall())

    return run_virtual(look, start_ms=DEFAULT_START_MS, limit=600.0)


def _compared(stage: Stage, ours: dict[str, Decimal], *, clean: bool) -> dict[str, Any]:
    """Hold the shares against the exchange's, and say how many moments there were.

    What has lost stays in a wallet for good, and is in no books.
    """
    positions = stage.ledger.account(stage.account.address).positions
    theirs = {
        token: Decimal(each.shares).scaleb(-6)
        for token, each in positions.items()
        if token in ours or stage.exchange.payouts(each.market) is None
    }
    apart = {
        token[:12]: f"{ours.get(token, 0)} and {theirs.get(token, 0)}"
        for token in ours.keys() | theirs.keys()
        if ours.get(token, Decimal(0)) != theirs.get(token, Decimal(0))
    }
    found: dict[str, Any] = {"share_differences": apart, "clean": clean and not apart}
    if (moments := stage.exchange.dislocations) is not None:
        found["moments"] = {"begun": moments.counts.begun, "rivals": moments.counts.rivals}
    return found

"""The whole bot against the embedded exchange, in virtual time: hours in seconds, the same every time.

Nothing of the bot is replaced but its sockets, clocks and disk. Afterwards its books are held against the
exchange's ledger, and the judge says whether every order rested on a book that was LIVE and true. ``storm``
breaks books, calls, prices and orders; ``kills`` ends the process at random instants and starts it again.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from bots.common.ledger.database import Database, inline
from bots.oracle_lag.strategy import plan_of
from bots.testing.mortality import live_and_die
from bots.testing.stage import Stage
from bots.updown.bot import Bot, World
from bots.updown.oracles.factory import make_oracle
from bots.updown.stats import RunStats
from polymirror.simulator.settings import DEFAULT_START_MS, QUARTER_MS, RoundsConfig
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.windows import UTC_GRID, Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.common.ledger.ledger import Store
    from bots.oracle_lag.config import BotSettings
    from bots.updown.worker import Strategy

EARLY_MS: Final = 90_000
"""The bot starts this long before the first round that counts."""

HOUR_S: Final = 3_600

LATE_S: Final = 7_200
"""The most virtual time after the last round, in seconds."""


def simulate(
    settings: BotSettings,
    *,
    rounds: int,
    seed: int,
    storm: bool = False,
    kills: int = 0,
    store: Store | None = None,
    strategy: Strategy | None = None,
    tell: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Play ``rounds`` rounds and return the summary, with what judge and ledger say of it.

    ``store`` is where the ledger lies, which outlives the bot; by default it is in memory. ``strategy`` trades
    instead of the bot's own.
    """
    plan = plan_of(settings)
    plan = plan if strategy is None else evolve(plan, strategy=strategy)
    start_ms = DEFAULT_START_MS + QUARTER_MS - EARLY_MS
    windows = [UTC_GRID.get(Interval(each), HOUR_S) for each in settings.rounds.intervals]
    length = int(rounds / len(settings.assets) / sum(1 / each for each in windows))

    async def play() -> dict[str, Any]:
        stats = RunStats(limit=rounds, since_ms=start_ms + EARLY_MS)
        config = RoundsConfig(assets=settings.assets, window_s=windows[0], more_windows_s=tuple(windows[1:]))
        stage = Stage.build(seed, config, start_ms=start_ms, storm=storm)

        rng = random.Random(f"bot:{seed}")  # noqa: S311 - repeatable

        async def live(store: Store) -> dict[str, Any]:
            network = stage.venue.network
            oracle = make_oracle(stage.oracle_settings(settings.oracle), network, rng=rng)
            world = World(
                network=network,
                endpoints=stage.venue.endpoints,
                oracle=oracle,
                store=store,
                offload=inline,
                open_executor=lambda bot: stage.executor(network, settings.live, bot.account.order_ids),
                switch=lambda: None,
                chat=stage.chat(network),
                look_on=tell,
                rng=rng,
            )
            return await Bot(plan, world, stats).run()

        async with stage.venue:
            found, killed = await live_and_die(live, kills=kills, seed=seed, within=length, kept=kept)
        return found | stage.findings(found["pnl"]) | {"seed": seed, "kills": killed}

    kept = Database() if store is None else store
    settings = evolve(settings, oracle=evolve(settings.oracle, assets=settings.assets))
    return run_virtual(play, start_ms=start_ms, limit=float(length + max(windows) + LATE_S))

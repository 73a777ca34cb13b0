"""Lives of a whole bot on the embedded exchange, live or on paper, one after the other, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from decimal import Decimal

from attrs import evolve

from bots.common.ledger.database import inline
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import paper
from bots.oracle_lag.strategy import plan_of
from bots.testing.stage import Stage
from bots.updown.bot import Bot, World
from bots.updown.oracles.factory import make_oracle
from bots.updown.stats import RunStats
from polymirror.simulator.settings import DEFAULT_START_MS, QUARTER_MS, RoundsConfig
from polymirror.simulator.virtual import run_virtual

ONE = evolve(BotSettings(), assets=("btc",))
START_MS = DEFAULT_START_MS + QUARTER_MS - 90_000


class Switch:
    """A kill switch that is thrown by adding a reason to ``why``."""

    def __init__(self):
        self.why = []

    def __call__(self):
        return self.why[0] if self.why else None


def on_stage(scene, seed=1, *, limit=60_000.0, **build):
    """Play a scene on a stage of one asset; return what it returns."""

    async def play():
        stage = Stage.build(seed, RoundsConfig(assets=("btc",)), start_ms=START_MS, **build)
        async with stage.venue:
            return await scene(stage)

    return run_virtual(play, start_ms=START_MS, limit=limit)


def bot_on(stage, store, *, mode="live", settings=ONE, told=None, wrap=None, network=None, chat=None):
    """Make a bot whose ledger is in ``store``. ``wrap`` gets the context that opens its executor."""
    network = stage.venue.network if network is None else network
    feeds = stage.oracle_settings(evolve(settings.oracle, assets=settings.assets))
    said = [] if told is None else told

    def opened(bot):
        known = bot.account.order_ids
        inner = stage.executor(network, settings.live, known) if mode == "live" else paper(settings, bot)
        return inner if wrap is None else wrap(inner)

    world = World(
        network=network,
        endpoints=stage.venue.endpoints,
        oracle=make_oracle(feeds, network, rng=random.Random(1)),
        store=store,
        offload=inline,
        open_executor=opened,
        look_on=said.append,
        chat=chat,
        switch=Switch(),
        stop_file="/srv/bot/files/STOP",
        rng=random.Random(2),
    )
    return Bot(plan_of(settings), world, RunStats())


async def live_for(bot, seconds, *, until=lambda: False):
    """Let it live so long, or until something is so; then cancel it, as Ctrl-C does."""
    task = asyncio.create_task(bot.run())
    for _ in range(int(seconds)):
        await asyncio.sleep(1)
        if task.done() or until():
            break
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return bot


def exchange_says(stage):
    """Return what the exchange's own ledger has for the bot: shares by token, and what its pUSD changed by."""
    account = stage.ledger.account(stage.account.address)
    shares = {token: Decimal(held.shares).scaleb(-6) for token, held in account.positions.items() if held.shares}
    return shares, Decimal(account.cash - account.deposited).scaleb(-6)


def books_say(bot):
    """Return the same by the bot's books."""
    return {token: held.shares for token, held in bot.account.positions.items()}, bot.account.totals.cash

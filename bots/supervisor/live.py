"""A bot on many markets on the real feed, on paper or with real orders: checked first, and run until told to end."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from bots.common.execution.paper import CANNOT_KNOW
from bots.common.ledger.database import Database, DiskThread
from bots.common.operate import account, checks
from bots.common.operate.app import World
from bots.common.operate.ending import run_until_told
from bots.common.operate.login import Login, preflight
from bots.common.operate.onpaper import on_paper
from bots.common.operate.preflight import Check
from bots.common.operate.settings import SettingsError
from bots.common.risk.switch import STOP_FILE, KillFile, stop_on_signal
from polymirror.venue.network import REAL
from polymirror.venue.rest import Clob

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from bots.common.ledger.database import Offload
    from bots.common.operate.account import TraderSettings
    from bots.supervisor.fleet import Fleet
    from polymirror.venue.network import Network


async def run_live(
    make: Callable[[World], Fleet[Any, Any]],
    settings: TraderSettings,
    *,
    for_real: bool,
    least: Decimal,
    tell: Callable[[str], None],
    begin_log: Callable[[], None] = lambda: None,
    network: Network = REAL,
    offload: Offload | None = None,
    geoblock: str = checks.GEOBLOCK,
    environment: Any = None,
) -> int:
    """Run the bot that ``make`` makes of a world; return the exit code: 0 when it ended gently, 3 for the preflight.

    Raises SettingsError when something is missing to begin with. ``least``: pUSD that the wallet must have;
    ``geoblock`` and ``environment``, of the venue's SDK, are others in a rehearsal.
    """
    if problems := account.lacking(settings, for_real=for_real):
        raise SettingsError(problems)
    async with AsyncExitStack() as stack:
        wallet = account.wallet_of(settings) if for_real else ""
        database = Database.of(settings.folder, "live" if for_real else "paper", wallet)
        stack.callback(database.close)
        if offload is None:
            offload = thread = DiskThread()
            stack.callback(thread.close)
        open_account = partial(account.log_in, settings, environment)
        login = None
        if for_real:
            login = Login(open=open_account, variables=account.VARIABLES, least=least, node=settings.node)
        mirror, rng = settings.mirror, random.Random()  # noqa: S311 - jitter
        async with Clob(mirror.rest, mirror.endpoints, rng=rng, network=network) as clob:
            questions = [
                Check("clock", partial(checks.clock, clob.time, network), 4.0),
                Check("ledger", partial(checks.disk, database, offload)),
            ]
            report = await preflight(network, geoblock, questions, login)
        tell("\n".join(map(str, report.findings)))
        if not report.ok:
            return report.exit_code
        begin_log()
        real = partial(account.for_real, settings, environment)
        world = World(
            network=network,
            endpoints=mirror.endpoints,
            store=database,
            offload=offload,
            open_executor=real if for_real else partial(on_paper, settings.paper),
            switch=KillFile(settings.folder / STOP_FILE),
            stop_file=str((settings.folder / STOP_FILE).absolute()),
        )
        bot = make(world)
        stack.enter_context(stop_on_signal(asyncio.get_running_loop(), bot.stop))
        try:
            _, code = await run_until_told(bot.run(), bot.drain)
        finally:
            tell(json.dumps(bot.summary(), default=float, indent=2) + ("" if for_real else f"\n{CANNOT_KNOW}"))
    return code

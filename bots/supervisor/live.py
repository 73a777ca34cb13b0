"""A bot on many markets on the real feed, with orders on paper: checked first, and run until it is told to end."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from bots.common.execution.paper import CANNOT_KNOW
from bots.common.ledger.database import Database, DiskThread
from bots.common.operate import checks
from bots.common.operate.app import World
from bots.common.operate.ending import run_until_told
from bots.common.operate.onpaper import on_paper
from bots.common.operate.preflight import Check
from bots.common.operate.preflight import run as ask
from bots.common.risk.switch import STOP_FILE, KillFile, stop_on_signal
from polymirror.venue.network import REAL
from polymirror.venue.rest import Clob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bots.common.execution.paper import PaperConfig
    from bots.common.ledger.database import Offload
    from bots.supervisor.fleet import Fleet
    from polymirror.config import MirrorConfig
    from polymirror.venue.network import Network


async def run_on_paper(
    make: Callable[[World], Fleet[Any, Any]],
    *,
    folder: Path,
    mirror: MirrorConfig,
    paper: PaperConfig,
    tell: Callable[[str], None],
    begin_log: Callable[[], None] = lambda: None,
    network: Network = REAL,
    offload: Offload | None = None,
    geoblock: str = checks.GEOBLOCK,
) -> int:
    """Run the bot that ``make`` makes of a world; return the exit code: 0 when it ended gently, 3 for the preflight."""
    async with AsyncExitStack() as stack:
        database = Database.of(folder, "paper", "")
        stack.callback(database.close)
        if offload is None:
            offload = thread = DiskThread()
            stack.callback(thread.close)
        rng = random.Random()  # noqa: S311 - jitter
        async with Clob(mirror.rest, mirror.endpoints, rng=rng, network=network) as clob:
            report = await ask([
                Check("region", partial(checks.region, network, geoblock)),
                Check("clock", partial(checks.clock, clob.time, network), 4.0),
                Check("ledger", partial(checks.disk, database, offload)),
            ])  # fmt: skip
        tell("\n".join(map(str, report.findings)))
        if not report.ok:
            return report.exit_code
        begin_log()
        world = World(
            network=network,
            endpoints=mirror.endpoints,
            store=database,
            offload=offload,
            open_executor=partial(on_paper, paper),
            switch=KillFile(folder / STOP_FILE),
            stop_file=str((folder / STOP_FILE).absolute()),
        )
        bot = make(world)
        stack.enter_context(stop_on_signal(asyncio.get_running_loop(), bot.stop))
        try:
            _, code = await run_until_told(bot.run(), bot.drain)
        finally:
            tell(json.dumps(bot.summary(), default=float, indent=2) + f"\n{CANNOT_KNOW}")
    return code

"""The command of a bot on many markets: run it on the embedded exchange, show its universe, list its settings.

A bot's own package calls :func:`command` with its settings' class and what makes the bot of them.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bots.common.errors import shorten
from bots.common.operate.profiles import BASE, layered, profiles_in, shown
from bots.common.operate.rehearse import rehearsal
from bots.common.operate.start import Start, between, kept, say
from bots.supervisor.config import FleetSettings
from bots.supervisor.live import run_live
from bots.supervisor.universe import Universe, best_asks, table
from bots.testing import fleets
from polymirror.venue.gamma import Gamma
from polymirror.venue.network import REAL
from polymirror.venue.rest import Clob

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bots.common.operate.app import World
    from bots.supervisor.fleet import Fleet

S = TypeVar("S", bound=FleetSettings)

COLUMNS = 100
SEED = 3


def command(
    name: str,
    kind: type[S],
    make: Callable[[S, World, int], Fleet[Any, Any]],
    arguments: Sequence[str] | None = None,
    *,
    profiles: Path | None = None,
    simulate: Callable[..., dict[str, Any]] | None = None,
    page: str = "docs/own-bot.md",
) -> int:
    """Do what is asked for; return the exit code: 0, 1 when something is not as it must be, 2 for settings.

    ``name`` is the module of the command. ``make`` makes the bot of settings, a world and the end of a limited run in
    Unix milliseconds (0: none). ``profiles`` is the folder of the bot's profiles, if it has some. ``simulate`` plays on
    the embedded exchange, with the settings and what the options say, where a run is judged by more than
    :func:`bots.testing.fleets.simulate` does. ``page`` is what to read before real orders.
    """
    start = Start(name, "trade many markets with one wallet", page, SEED)
    add = start.parser.add_argument
    add("what", nargs="?", choices=("run", "universe"), default="run")
    add("--profile", default=BASE, help=f"one of {', '.join(profiles_in(profiles))} (default {BASE})")
    add("--print-config", action="store_true", help="list every setting with its origin, and end")
    start.play("markets", 50, "markets to trade", type=between(1, 500))
    start.play("minutes", 30, "virtual minutes", type=between(1, 10_000))
    options = start.read(arguments)

    def work() -> int:
        layers = layered(kind, profiles, options.profile, options.config)
        settings = layers.settings
        if options.print_config:
            say(shown(layers))
        elif options.what == "universe":
            wanted = {"markets": options.markets, "seed": options.seed}
            say(fleets.survey(settings, **wanted) if options.simulate else asyncio.run(_look(settings)))
        elif options.live or options.live_data:
            return _live(settings, options, make)
        else:
            return _simulate(settings, options, simulate or partial(fleets.simulate, make))
        return 0

    return start.do(options, work)


def _simulate(settings: FleetSettings, options: argparse.Namespace, simulate: Callable[..., dict[str, Any]]) -> int:
    def tell(text: str) -> None:
        if not options.json:
            say(shorten(text, COLUMNS))

    store = kept(options.keep)
    wanted: dict[str, Any] = {name: getattr(options, name) for name in ("markets", "minutes", "seed", "storm", "kills")}
    found = simulate(settings, store=store, tell=tell, **wanted)
    if store is not None:
        store.close()
    # Six decimals of money survive the way through a JSON number.
    say(json.dumps(found, default=float, indent=None if options.json else 2))
    return 0 if found["clean"] else 1


def _live(settings: S, options: argparse.Namespace, make: Callable[[S, World, int], Fleet[Any, Any]]) -> int:
    others: dict[str, Any] = {}
    if options.venue is not None:
        practice = rehearsal(settings, options.venue)
        settings, others = practice.settings, {"geoblock": practice.geoblock, "environment": practice.environment}
    work = run_live(
        lambda world: make(settings, world, 0),
        settings,
        for_real=options.live,
        least=settings.risk.max_trade,
        tell=say,
        begin_log=options.begin_log,
        **others,
    )
    return asyncio.run(work)


async def _look(settings: FleetSettings) -> str:
    """Ask the venue for its lists, and for books where a screen needs them."""
    service = settings.mirror.rest, settings.mirror.endpoints
    rng = random.Random()  # noqa: S311 - jitter
    async with Gamma(*service, rng=rng) as gamma, Clob(*service, rng=rng) as clob:
        survey = await Universe(settings.universe, gamma, REAL.wall).survey(asks=partial(best_asks, clob))
        return table(survey, time.time())

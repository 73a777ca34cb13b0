"""The command of a bot on many markets: run it on the embedded exchange, show its universe, list its settings.

A bot's own package calls :func:`command` with its settings' class, the folder of its profiles and its simulation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bots.common.errors import shorten
from bots.common.ledger.database import Database
from bots.common.operate.logs import set_up
from bots.common.operate.profiles import BASE, layered, profiles_in, shown
from bots.common.operate.settings import SettingsError
from bots.common.secrets import hide
from bots.supervisor.live import run_on_paper
from bots.supervisor.universe import Universe, UniverseSettings, best_asks, table
from polymirror.errors import PolymirrorError
from polymirror.harmless import escaped_lines
from polymirror.venue.gamma import Gamma
from polymirror.venue.network import REAL
from polymirror.venue.rest import Clob

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.common.execution.paper import PaperConfig
    from bots.common.operate.app import World
    from bots.supervisor.fleet import Fleet
    from polymirror.config import MirrorConfig

    class Settings(Protocol):
        """What the settings of any such bot have."""

        @property
        def mirror(self) -> MirrorConfig:
            """Of the mirror."""
            ...

        @property
        def folder(self) -> Path:
            """Where the ledgers are."""
            ...

        @property
        def paper(self) -> PaperConfig:
            """How the venue is imitated on paper."""
            ...

        @property
        def universe(self) -> UniverseSettings:
            """Which markets are traded."""
            ...


BAD_SETTINGS = 2
INTERRUPTED = 130
COLUMNS = 100


def say(text: str) -> None:
    """Write a line for people."""
    sys.stdout.write(f"{escaped_lines(hide(text))}\n")
    sys.stdout.flush()


def command(
    name: str,
    kind: type[Any],
    profiles: Path,
    simulate: Callable[..., dict[str, Any]],
    survey: Callable[..., str],
    make: Callable[[Any, World], Fleet[Any, Any]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Do what is asked for; return the exit code: 0, 1 when something is not as it must be, 2 for settings.

    ``simulate`` and ``survey`` play on the embedded exchange, with the settings and what their options say; ``make``
    makes the bot of settings and a world.
    """
    options = _options(name, profiles_in(profiles), arguments)
    begin_log = partial(set_up, as_json=options.log_json)
    # Without --verbose the log begins after the preflight: that has a line for each failure.
    begin_log(logging.INFO if options.verbose else logging.CRITICAL)
    try:
        layers = layered(kind, profiles, options.profile, options.config)
        if options.print_config:
            say(shown(layers))
            return 0
        if options.what == "run":
            paper = _on_paper(layers.settings, make, begin_log) if options.live_data else None
            return _run(layers.settings, options, simulate) if paper is None else asyncio.run(paper)
        if options.simulate:
            say(survey(layers.settings, markets=options.markets, seed=options.seed))
        else:
            say(asyncio.run(_look(layers.settings)))
        return 0  # noqa: TRY300 - the errors below are of all of it
    except SettingsError as error:
        sys.stderr.write(f"{hide(str(error))}\n")
        return BAD_SETTINGS
    except PolymirrorError as error:
        sys.stderr.write(f"{hide(str(error))}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(settings: Any, options: argparse.Namespace, simulate: Callable[..., dict[str, Any]]) -> int:
    def tell(text: str) -> None:
        if not options.json:
            say(shorten(text, COLUMNS))

    store = None if options.keep is None else Database.of(options.keep, "simulated", "")
    wanted: dict[str, Any] = {name: getattr(options, name) for name in ("markets", "minutes", "seed", "storm", "kills")}
    found = simulate(settings, store=store, tell=tell, **wanted)
    if store is not None:
        store.close()
    # Six decimals of money survive the way through a JSON number.
    say(json.dumps(found, default=float, indent=None if options.json else 2))
    return 0 if found["clean"] else 1


async def _on_paper(
    settings: Settings, make: Callable[[Any, World], Fleet[Any, Any]], begin_log: Callable[[], None]
) -> int:
    return await run_on_paper(
        partial(make, settings),
        folder=settings.folder,
        mirror=settings.mirror,
        paper=settings.paper,
        tell=say,
        begin_log=begin_log,
    )


async def _look(settings: Settings) -> str:
    """Ask the venue for its lists, and for books where a screen needs them."""
    service = settings.mirror.rest, settings.mirror.endpoints
    rng = random.Random()  # noqa: S311 - jitter
    async with Gamma(*service, rng=rng) as gamma, Clob(*service, rng=rng) as clob:
        survey = await Universe(settings.universe, gamma, REAL.wall).survey(asks=partial(best_asks, clob))
        return table(survey, time.time())


def _options(name: str, profiles: Sequence[str], arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description="trade many markets with one wallet")
    parser.add_argument("what", nargs="?", choices=("run", "universe"), default="run")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--simulate", action="store_true", help="on the embedded exchange (for 'run' the default)")
    place.add_argument("--live-data", action="store_true", help="paper orders on the real feed, until it is ended")
    parser.add_argument("--log-json", action="store_true", help="log one JSON object a line, for machines")
    parser.add_argument("--profile", default=BASE, help=f"one of {', '.join(profiles)}")
    parser.add_argument("--config", type=Path, help="a TOML file over the profile")
    parser.add_argument("--print-config", action="store_true", help="list every setting with its origin, and end")
    parser.add_argument("--verbose", action="store_true", help="log what happens")
    parser.add_argument("--markets", type=partial(_whole, 1, 500), default=50, help="markets to trade (default 50)")
    parser.add_argument("--minutes", type=partial(_whole, 1, 10_000), default=30, help="virtual minutes (default 30)")
    parser.add_argument("--seed", type=int, default=3, help="which world; the same seed plays the same run")
    parser.add_argument("--storm", action="store_true", help="break books, calls and orders now and then")
    parser.add_argument("--kills", type=partial(_whole, 0, 500), default=0, help="kill the bot so often")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the ledger there, for 'python -m bots'")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object, and nothing else")
    return parser.parse_args(arguments)


def _whole(low: int, high: int, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: it must be {low} to {high}")
    return int(text)

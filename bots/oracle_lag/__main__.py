"""``python -m bots.oracle_lag``: the embedded exchange by default, paper on the real feed, or live."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bots.common.errors import BotError, shorten
from bots.common.files import changed_by_others
from bots.common.ledger.database import Database
from bots.common.operate.logs import set_up
from bots.common.operate.settings import SettingsError, load
from bots.common.secrets import hide, no_dumps
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import run_live
from bots.oracle_lag.rehearse import rehearsal
from bots.oracle_lag.simulate import simulate
from bots.updown.stats import table
from polymirror.errors import PolymirrorError
from polymirror.harmless import escaped_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BAD_SETTINGS = 2
INTERRUPTED = 130
MAX_ROUNDS = 10_000
MAX_KILLS = 500
ROUNDS = 40
SEED = 7
COLUMNS = 80


def say(text: str) -> None:
    """Write a line for people."""
    sys.stdout.write(f"{escaped_lines(hide(text))}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the modes; return the exit code: 0, 1 when something is not as it must be, 2 for settings."""
    options = _options(arguments)
    begin_log = partial(set_up, as_json=options.log_json)
    # Without --verbose the log begins after the preflight: that has a line for each failure.
    begin_log(logging.INFO if options.verbose else logging.CRITICAL)
    if options.live:
        no_dumps()
    try:
        settings = load(BotSettings, options.config)
        if options.live and options.config is not None and (problem := changed_by_others(options.config)):
            raise SettingsError((problem,))  # noqa: TRY301 - told below, as every problem of the settings
        if options.venue is not None:
            practice = rehearsal(settings, options.venue)
            return run_live(
                practice.settings,
                for_real=True,
                tell=say,
                begin_log=begin_log,
                geoblock=practice.geoblock,
                environment=practice.environment,
            )
        if options.live or options.live_data:
            return run_live(settings, for_real=options.live, tell=say, begin_log=begin_log)
        return _simulate(settings, options)
    except SettingsError as error:
        sys.stderr.write(f"{hide(str(error))}\n")
        return BAD_SETTINGS
    except PolymirrorError as error:
        sys.stderr.write(f"{hide(str(error))}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _simulate(settings: BotSettings, options: argparse.Namespace) -> int:
    def tell(text: str) -> None:
        if not options.json:
            say(shorten(text, COLUMNS))

    tell(f"oracle_lag on the embedded exchange: {options.rounds} rounds, seed {options.seed}")
    store = None if options.keep is None else _kept(options.keep)
    found = simulate(
        settings,
        rounds=options.rounds,
        seed=options.seed,
        storm=options.storm,
        kills=options.kills,
        store=store,
        tell=tell,
    )
    if store is not None:
        store.close()
    if options.json:
        # Six decimals of money survive the way through a JSON number.
        say(json.dumps(found, default=float))
    else:
        say("\n" + table(found, f"oracle_lag, seed {options.seed}"))
    return 0 if found["clean"] else 1


def _kept(folder: Path) -> Database:
    """Make the ledger of a simulation, which begins with nothing."""
    store = Database.of(folder, "simulated", "")
    if store.read("SELECT 1 FROM orders UNION SELECT 1 FROM notices"):
        store.close()
        raise BotError(f"{store.path} holds a run already: name another folder")
    return store


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bots.oracle_lag", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--simulate", action="store_true", help="play on the embedded exchange (the default)")
    mode.add_argument("--live-data", action="store_true", help="paper orders on the real feed")
    mode.add_argument("--live", action="store_true", help="real orders; see docs/bots.md first")
    parser.add_argument("--venue", metavar="URL", help="with --live: rehearse on 'polymirror serve', with play money")
    parser.add_argument("--config", type=Path, help="a TOML file of settings")
    parser.add_argument("--verbose", action="store_true", help="log what happens")
    parser.add_argument("--log-json", action="store_true", help="log one JSON object a line, for machines")
    flag: dict[str, Any] = {"action": "store_const", "const": True}
    played = parser.add_argument_group("only on the embedded exchange")
    played.add_argument("--rounds", type=_between(1, MAX_ROUNDS), help=f"rounds to play (default {ROUNDS})")
    played.add_argument("--seed", type=int, help=f"which world; the same seed plays the same run (default {SEED})")
    played.add_argument("--storm", **flag, help="break books, calls, prices and orders now and then")
    played.add_argument("--kills", type=_between(0, MAX_KILLS), help="kill the bot so often, at random instants")
    played.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the ledger there, for 'python -m bots'")
    played.add_argument("--json", **flag, help="print the summary as JSON, and nothing else")
    options = parser.parse_args(arguments)
    simulated = {"rounds": ROUNDS, "seed": SEED, "storm": False, "kills": 0, "keep": None, "json": False}
    given = [name for name in simulated if getattr(options, name) is not None]
    if given and (options.live or options.live_data):
        # Whoever asks for four rounds must not get an endless run with real money.
        parser.error(
            f"--{given[0]} is only for the embedded exchange: leave it out, or leave out --live and --live-data"
        )
    if options.venue is not None and not options.live:
        parser.error("--venue is only for --live: it rehearses that")
    for name in simulated.keys() - set(given):
        setattr(options, name, simulated[name])
    return options


def _between(low: int, high: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not allowed: it must be {low} to {high}")
        return int(text)

    return check


if __name__ == "__main__":
    sys.exit(main())

"""``python -m bots.oracle_lag``: the embedded exchange by default, paper on the real feed, or live."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bots.common.settings import SettingsError, load
from bots.common.tally import table
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import run_live
from bots.oracle_lag.simulate import simulate
from polymirror.errors import PolymirrorError

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD_SETTINGS = 2
INTERRUPTED = 130
MAX_ROUNDS = 10_000


def say(text: str) -> None:
    """Write a line for people."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the modes; return the exit code: 0, 1 when something is not as it must be, 2 for settings."""
    options = _parser().parse_args(arguments)
    level = logging.INFO if options.verbose or options.live or options.live_data else logging.CRITICAL
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = load(BotSettings, options.config)
        if options.live or options.live_data:
            return run_live(settings, for_real=options.live, tell=say)
        return _simulate(settings, options)
    except SettingsError as error:
        sys.stderr.write("\n".join(error.problems) + "\n")
        return BAD_SETTINGS
    except PolymirrorError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _simulate(settings: BotSettings, options: argparse.Namespace) -> int:
    def tell(text: str) -> None:
        if not options.json:
            say(text[:80])

    tell(f"oracle_lag on the embedded exchange: {options.rounds} rounds, seed {options.seed}")
    found = simulate(
        settings, rounds=options.rounds, seed=options.seed, storm=options.storm, kills=options.kills, tell=tell
    )
    if options.json:
        # Six decimals of money survive the way through a JSON number.
        say(json.dumps(found, default=float))
    else:
        say("\n" + table(found, f"oracle_lag, seed {options.seed}"))
    return 0 if found["clean"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bots.oracle_lag", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--simulate", action="store_true", help="play on the embedded exchange (the default)")
    mode.add_argument("--live-data", action="store_true", help="paper orders on the real feed")
    mode.add_argument("--live", action="store_true", help="real orders; see docs/bots.md first")
    parser.add_argument("--config", type=Path, help="a TOML file of settings")
    parser.add_argument("--rounds", type=_count, default=40, help="rounds to simulate (default 40)")
    parser.add_argument("--seed", type=int, default=7, help="of the simulation (default 7)")
    parser.add_argument("--storm", action="store_true", help="break books, calls, prices and orders now and then")
    parser.add_argument("--kills", type=int, default=0, help="kill the bot so often, at random instants")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON, and nothing else")
    parser.add_argument("--verbose", action="store_true", help="log what happens")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_ROUNDS:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: it must be 1 to {MAX_ROUNDS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

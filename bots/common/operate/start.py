"""What the command of every bot begins with: its modes and their options, the log, and errors as one line each.

A bot's own command makes a :class:`Start`, adds the options of its simulation, and works inside :meth:`Start.do`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bots.common.errors import BotError
from bots.common.files import changed_by_others
from bots.common.ledger.database import Database
from bots.common.operate.logs import set_up
from bots.common.operate.settings import SettingsError
from bots.common.secrets import hide, no_dumps
from polymirror.errors import PolymirrorError
from polymirror.harmless import escaped_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BAD_SETTINGS: Final = 2
INTERRUPTED: Final = 130
MAX_KILLS: Final = 500


def say(text: str) -> None:
    """Write a line for people."""
    sys.stdout.write(f"{escaped_lines(hide(text))}\n")
    sys.stdout.flush()


def between(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a whole number of an option, and refuses others with the range."""

    def check(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not allowed: it must be {low} to {high}")
        return int(text)

    return check


def kept(folder: Path | None) -> Database | None:
    """Make the ledger of a simulation, which begins with nothing. Raises BotError."""
    if folder is None:
        return None
    store = Database.of(folder, "simulated", "")
    if store.read("SELECT 1 FROM orders UNION SELECT 1 FROM notices"):
        store.close()
        raise BotError(f"{store.path} holds a run already: name another folder")
    return store


class Start:
    """The options of a bot called ``name``, a module."""

    def __init__(self, name: str, description: str, page: str, seed: int) -> None:
        self.parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
        add, mode = self.parser.add_argument, self.parser.add_mutually_exclusive_group()
        mode.add_argument("--simulate", action="store_true", help="play on the embedded exchange (the default)")
        mode.add_argument("--live-data", action="store_true", help="paper orders on the real feed")
        mode.add_argument("--live", action="store_true", help=f"real orders; see {page} first")
        add("--venue", metavar="URL", help="with --live: rehearse on 'polymirror serve', with play money")
        add("--config", type=Path, help="a TOML file of settings")
        add("--verbose", action="store_true", help="log what happens")
        add("--log-json", action="store_true", help="log one JSON object a line, for machines")
        self._group = self.parser.add_argument_group("only on the embedded exchange")
        # What is played when it is not said, by the option's name.
        self._played: dict[str, Any] = {}
        self.play("seed", seed, "which world; the same seed plays the same run", type=int)
        self.play("storm", False, "break books, calls, prices and orders now and then")  # noqa: FBT003 - its default
        self.play("kills", 0, "kill the bot so often, at random instants", type=between(0, MAX_KILLS))
        self.play("keep", None, "keep the ledger there, for 'python -m bots'", type=Path, metavar="FOLDER")
        self.play("json", False, "print the summary as JSON, and nothing else")  # noqa: FBT003 - its default

    def play(self, name: str, default: Any, words: str, **more: Any) -> None:
        """Add an option of the simulation, which no other mode takes."""
        if default is False:
            more = {"action": "store_const", "const": True}
        elif default is not None:
            words += f" (default {default})"
        self._played[name] = default
        self._group.add_argument(f"--{name}", help=words, **more)

    def read(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Read them, and begin the log. Ends the program for what cannot be meant."""
        options = self.parser.parse_args(arguments)
        given = [name for name in self._played if getattr(options, name) is not None]
        if given and (options.live or options.live_data):
            # Whoever asks for four rounds must not get an endless run with real money.
            which = f"--{given[0]} is only for the embedded exchange"
            self.parser.error(f"{which}: leave it out, or leave out --live and --live-data")
        if options.venue is not None and not options.live:
            self.parser.error("--venue is only for --live: it rehearses that")
        for name in self._played.keys() - set(given):
            setattr(options, name, self._played[name])
        options.begin_log = partial(set_up, as_json=options.log_json)
        # Without --verbose the log begins after the preflight: that has a line for each failure.
        options.begin_log(logging.INFO if options.verbose else logging.CRITICAL)
        return options

    @staticmethod
    def do(options: argparse.Namespace, work: Callable[[], int]) -> int:
        """Do it; return the exit code: that of ``work``, 2 for settings, 1 for what else fails, each in one line."""
        if options.live:
            no_dumps()
        try:
            if options.live and options.config is not None and (problem := changed_by_others(options.config)):
                raise SettingsError((problem,))  # noqa: TRY301 - told below, as every problem of the settings
            return work()
        except SettingsError as error:
            sys.stderr.write(f"{hide(str(error))}\n")
            return BAD_SETTINGS
        except PolymirrorError as error:
            sys.stderr.write(f"{hide(str(error))}\n")
            return 1
        except KeyboardInterrupt:
            return INTERRUPTED

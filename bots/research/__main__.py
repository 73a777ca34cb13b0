"""``python -m bots.research``: judge the bots on recorded data, or say which data there is."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bots.common.errors import BotError
from bots.research import datasets
from bots.research.ticks import command as ticks
from polymirror.errors import MissingExtra, PolymirrorError
from polymirror.harmless import escaped_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD_SETTINGS = 2
INTERRUPTED = 130


def say(text: str, to: str = "stdout") -> None:
    """Write a line for people."""
    stream = getattr(sys, to)
    stream.write(f"{escaped_lines(text)}\n")
    stream.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0, 1 when data cannot be used, 2 for settings."""
    options = _options(arguments)
    try:
        if options.command == "datasets":
            return _datasets(options)
        if options.command == "ticks":
            return _ticks(options)
        return _run(options)
    except (BotError, PolymirrorError, OSError) as error:
        say(str(error), "stderr")
        return BAD_SETTINGS if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        say("Stopped; the same command goes on where it was.", "stderr")
        return INTERRUPTED


def _datasets(options: argparse.Namespace) -> int:
    if options.file is None:
        say(datasets.listing())
        return 0
    columns = dict(options.column or ())
    say(datasets.look_at(options.file, columns, options.table))
    return 0


def _ticks(options: argparse.Namespace) -> int:
    columns = dict(options.column or ())
    say(ticks.run(options, columns, Path(options.frames), Path(options.oracle)))
    return 0


def _run(options: argparse.Namespace) -> int:
    try:
        # Here, because numpy, scipy and matplotlib come with them.
        from bots.research.config import load  # noqa: PLC0415
        from bots.research.report.write import write  # noqa: PLC0415
        from bots.research.runner import Run  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("a run of the research bench", "research") from error
    config, data = load(options.config)
    run = Run(config, data, options.config.parent, options.out, partial(say, to="stderr"))
    result = run.result()
    page, raw = write(result, options.out)
    for sentence in result["first"]:
        say(sentence)
    say(f"{page}\n{raw}")
    return 0


def _pair(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: it must be OURS=THEIRS")
    return ours, theirs


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bots.research", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="play, judge, and write a report")
    run.add_argument("config", type=Path, help="a TOML file of data and settings")
    run.add_argument("--out", type=Path, default=Path("report"), help="the folder of the report (default: report)")
    known = commands.add_parser("datasets", help="list the public sets of data, or look at a file")
    known.add_argument("file", type=Path, nargs="?", help="a file that you have: can it be read?")
    known.add_argument("--table", default="", help="of a SQLite file: the table")
    replayed = commands.add_parser("ticks", help="play one market frame by frame, through the bot's own parts")
    ticks.add_options(replayed)
    for each in (known, replayed):
        each.add_argument(
            "--column", type=_pair, action="append", metavar="OURS=THEIRS", help="what a column is called"
        )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

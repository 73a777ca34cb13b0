"""Look at a bot's ledger, also while it runs, and ask it to stop, to resume or to compare its books.

Exit codes: 0 it was done; 1 it could not be (one line says why); 2 the command is wrong; 3 what was asked of the bot is
written down, and no running bot has taken it up yet.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bots.common.errors import BotError
from bots.common.ledger.rows import TABLES
from bots.common.operate import asking, commands
from polymirror.harmless import escaped, escaped_lines, harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST = 100_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one command; return the exit code."""
    options = _options(arguments)
    now_ms = time.time_ns() // 1_000_000
    # What a terminal of another encoding cannot show becomes a question mark, not an error.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        path = commands.find(options.folder, options.mode, options.wallet, Path())
        if options.command == "export":
            _export(path, options)
            return 0
        answer = _answer(path, options, now_ms)
    except BotError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except BrokenPipeError:
        return 0
    except OSError as error:
        sys.stderr.write(f"{harmless(error.filename or 'the ledger')} cannot be used: {error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(escaped_lines(json.dumps(answer.data, indent=2) if options.json else answer.text) + "\n")
    return answer.code


def _answer(path: Path, options: argparse.Namespace, now_ms: int) -> commands.Answer:
    calls: dict[str, Callable[[], commands.Answer]] = {
        "status": lambda: commands.status(path, now_ms),
        "trades": lambda: commands.trades(path, options.last),
        "positions": lambda: commands.positions(path),
        "pnl": lambda: commands.pnl(path, daily=options.daily, zone=options.zone),
        "why": lambda: commands.why(path, options.market, options.last),
        "backup": lambda: asking.backup(path, options.to, now_ms),
    }
    if options.command in calls:
        return calls[options.command]()
    reason = options.why or " ".join(options.reason) or f"the command {options.command}"
    return asking.ask(path, options.command, f"{asking.who()}{reason}", now_ms, time.sleep)


def _export(path: Path, options: argparse.Namespace) -> None:
    columns, rows = asking.export(path, options.table)
    if options.json:
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        sys.stdout.write(escaped_lines(json.dumps(found, indent=2)) + "\n")
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    # A text that begins like a formula would be one to a spreadsheet.
    writer.writerows([_tame(value) for value in row] for row in rows)


def _tame(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    risky = value.startswith(("=", "+", "-", "@")) and not _is_number(value)
    return escaped(f"'{value}" if risky else value)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--folder", type=Path, help="where the ledgers are (default: here and the folders in it)")
    every.add_argument(
        "--mode", choices=("paper", "live", "simulated"), default="", help="if there are several ledgers"
    )
    every.add_argument("--wallet", default="", help="if there are several ledgers")
    every.add_argument("--json", action="store_true", help="print JSON; money is text, so that it stays exact")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bots", description=__doc__, formatter_class=raw)
    each = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, words: str) -> argparse.ArgumentParser:
        return each.add_parser(name, parents=[every], help=words, description=f"{words[0].upper()}{words[1:]}.")

    add("status", "whether it runs and may buy, what it holds and earned, what it told last")
    add("trades", "orders that traded, the newest first").add_argument("--last", type=_count, default=20, metavar="N")
    profit = add("pnl", "what was earned, with a curve")
    profit.add_argument("--daily", action="store_true", help="day by day")
    profit.add_argument("--zone", default="UTC", help="whose days (default UTC)")
    add("positions", "what is held")
    reasons = add("why", "what was decided in a market, and on what grounds")
    reasons.add_argument("market", metavar="MARKET", help="its slug or condition id, or a part of it")
    reasons.add_argument("--last", type=_count, default=10, metavar="N")
    table = add("export", "a table of the ledger as CSV, on standard output")
    table.add_argument("table", nargs="?", default="fills", choices=tuple(TABLES.values()))
    table.add_argument("--csv", action="store_true", help="the default")
    for name, words in (
        ("stop", "have the bot buy nothing any more, across restarts"),
        ("resume", "take a stop back"),
        ("reconcile", "have the bot compare its books with the venue's now"),
    ):
        asked = add(name, words)
        asked.add_argument("reason", nargs="*", help="what is kept as the reason, with who you are")
        asked.add_argument("--why", metavar="REASON", help="the same, as one text")
    add("backup", "write a checked copy of the ledger").add_argument(
        "to", nargs="?", type=Path, help="a file or a folder"
    )
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: it must be 1 to {MOST}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

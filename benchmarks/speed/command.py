"""The command line: which measurements, how long, and where the result goes.

Measurements are groups that yield rows; a group is imported when it is its turn, and each ends with whatever it
started. ``--only`` takes the names of groups or beginnings of the names of rows within the groups it finds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.machine import describe
from benchmarks.speed.method import pin
from benchmarks.speed.rows import Options, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GROUPS = (
    "recorded",
    "hot_path",
    "hedging",
    "snapshot",
    "reading",
    "importing",
    "memory",
    "steady",
    "starting",
    "fan_out",
    "relaying",
    "relay_nats",
    "socket_view",
    "burst",
    "fairness",
    "pauses",
)
"""All groups, in the order in which they run: each is a module of this package."""

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and exit with 1 if a target is missed."""
    options = _parser().parse_args(arguments)
    rows = list(run(_groups(options.only), Options(quick=options.quick)))
    machine = describe(pin())
    if options.json:
        _print(json.dumps({row.name: row.as_json() for row in rows}, indent=2))
    else:
        _print("\n".join(_line(row) for row in rows))
    if options.write:
        from benchmarks.speed.report import render  # noqa: PLC0415 - most runs write no page

        PAGE.write_text(render(rows, machine, options.quick))
        _tell(f"wrote {PAGE.name}")
    sys.exit(0 if all(row.ok for row in rows) else 1)


def run(groups: Sequence[str], options: Options) -> Iterable[Row]:
    """Run groups one after the other, telling on the terminal what is under way.

    Several run in a process each: what one imported and left on the heap must not slow the next one down.
    """
    pin()
    for name in groups:
        _tell(f"{name} ...")
        started = time.perf_counter()
        if len(groups) == 1:
            yield from importlib.import_module(f"benchmarks.speed.{name}").measure(options)
        else:
            yield from _run_apart(name, options)
        _tell(f"{name}: {time.perf_counter() - started:.0f} s")


def _run_apart(group: str, options: Options) -> Iterable[Row]:
    command = [sys.executable, "-m", "benchmarks", "--json", "--only", group, *(["--quick"] if options.quick else [])]
    done = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603
    if not done.stdout.startswith("{"):
        raise SystemExit(f"{group} failed:\n{done.stderr}")
    return [Row.from_json(name, told) for name, told in json.loads(done.stdout).items()]


def _groups(only: Sequence[str]) -> tuple[str, ...]:
    unknown = set(only) - set(GROUPS)
    if unknown:
        raise SystemExit(f"--only {' '.join(sorted(unknown))}: there are {', '.join(GROUPS)}")
    return tuple(group for group in GROUPS if not only or group in only)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed and scale.")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to look at while working")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help=f"some of: {', '.join(GROUPS)}")
    return parser


def _line(row: Row) -> str:
    shown = "   not measured" if row.ratio is None else f"{row.ratio:12.4g} {row.unit:2}"
    bound = ">=" if row.at_least else "<="
    verdict = "ok" if row.ok else "MISSED"
    return f"{row.name:42} {shown} {bound} {row.target:<8g} {verdict:6} {row.reason}"


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()

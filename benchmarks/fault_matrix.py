"""Run the fault matrix: every fault against every program that is installed here.

``python -m benchmarks.fault_matrix`` prints the sums; ``--write`` renders the page of the documentation. A program
that is not installed is named in the output and on the page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.arena import Arena, Cell, Order
from benchmarks.page import render
from benchmarks.peers import COLUMNS, SUBJECTS, absences
from benchmarks.results import METRICS, Matrix
from benchmarks.schedule import NO_FAULT
from polymirror.simulator.faults.catalogue import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PAGE = Path(__file__).resolve().parent.parent / "docs" / "fault-matrix.md"

DEFAULT_MINUTES = 15.0
DEFAULT_SEED = 7

SECONDS_A_MINUTE = 60.0


def run_order(order: Order) -> list[Cell]:
    """Run one row for one program; in a process of its own."""
    return Arena(order).measure()


def run_matrix(
    seconds: float,
    seed: int,
    faults: Iterable[str] = FAULTS,
    *,
    subjects: Sequence[str] = SUBJECTS,
    jobs: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Matrix:
    """Run the row without a fault and those of ``faults``, for all programs that can be driven here."""
    missing = {module: reason for module, reason in absences().items() if module in subjects}
    missing |= {module: "left out" for module in SUBJECTS if module not in subjects}
    matrix = Matrix(seconds, seed, (NO_FAULT, *faults), missing)
    present = [module for module in SUBJECTS if module not in missing]
    orders = [Order(fault, module, seed, seconds) for fault in matrix.faults for module in present]
    for number, (order, cells) in enumerate(zip(orders, _run_all(orders, jobs), strict=True), 1):
        columns = [column for column in COLUMNS if column.module == order.module]
        for column, cell in zip(columns, cells, strict=True):
            matrix.cells[order.fault, column.key] = cell
        tell(f"{number}/{len(orders)} {order.fault} {order.module or 'polymirror'}")
    return matrix


def _run_all(orders: Sequence[Order], jobs: int) -> Iterable[list[Cell]]:
    if jobs <= 1:
        yield from map(run_order, orders)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_order, orders)


def summary(matrix: Matrix) -> str:
    """Return the sums over all faults as lines of text."""
    width = max(len(column.title) for column in COLUMNS) + 2
    lines = [" " * 62 + "".join(f"{column.title:>{width}}" for column in matrix.columns)]
    for metric in METRICS:
        figures = "".join(f"{matrix.total(metric, column):>{width}.1f}" for column in matrix.columns)
        lines.append(f"{metric.title:62}{figures}")
    lines += [f"{module}: not measured, {reason}" for module, reason in matrix.absent.items()]
    return "\n".join(lines) + "\n"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.fault_matrix", description=__doc__)
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="virtual time of each row")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="decides everything random")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=list(FAULTS), metavar="ID")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--from", type=Path, dest="source", help="run nothing, read the figures from this file")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} of the documentation")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says; return the exit code."""
    options = parse(arguments)
    began = time.perf_counter()

    def tell(text: str) -> None:
        sys.stderr.write(f"{time.perf_counter() - began:7.1f} s  {text}\n")

    if options.source is not None:
        matrix = Matrix.from_json(json.loads(options.source.read_text(encoding="utf-8")))
    else:
        seconds = options.minutes * SECONDS_A_MINUTE
        matrix = run_matrix(seconds, options.seed, options.faults, jobs=options.jobs, tell=tell)
    sys.stdout.write(summary(matrix))
    if options.json is not None:
        options.json.write_text(json.dumps(matrix.as_json(), indent=1) + "\n", encoding="utf-8")
    if options.write:
        PAGE.write_text(render(matrix), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The results of a whole matrix, and the figures that the page and the terminal show of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Factory, define, frozen

from benchmarks.arena import LIMITS, Cell
from benchmarks.peers import COLUMNS, Column

if TYPE_CHECKING:
    from collections.abc import Iterable


BEYOND_PROOF = frozenset({"replayed_connection"})
"""Faults that rewrite everything consistently, so that nobody can know: their rows are shown, and in no sum."""


@frozen
class Metric:
    """One table of the page."""

    key: str
    title: str
    explanation: str
    depth: str
    """"full", "top", or "" for unavailability."""
    limit: float = 0.0

    def of(self, cell: Cell) -> float:
        """The figure of a cell, in seconds."""
        if self.depth == "full":
            return cell.wrong_full[self.limit]
        return cell.wrong_top[self.limit] if self.depth == "top" else cell.unavailable


def _metrics() -> Iterable[Metric]:
    depths = {"full": "all levels", "top": "best bid and ask with their sizes"}
    for limit in LIMITS:
        for depth, what in depths.items():
            yield Metric(
                f"wrong_{depth}_{limit:g}",
                f"Wrong but readable, {what}, {limit:g} s",
                f"Seconds in which a book could be read although at no time within the last {limit:g} s and the delay "
                f"of the network did the exchange have exactly these {what}.",
                depth,
                limit,
            )
    yield Metric(
        "unavailable",
        "Unavailable",
        "Seconds in which the exchange had a book, and the reader got a refusal, nothing, or an empty one.",
        "",
    )


METRICS = tuple(_metrics())
"""The tables in the order of the page."""


@define
class Matrix:
    """All cells of one run, and what one must know to repeat it."""

    seconds: float
    seed: int
    faults: tuple[str, ...]
    absent: dict[str, str] = Factory(dict)
    """Why an adapter could not run here, by its module."""
    cells: dict[tuple[str, str], Cell] = Factory(dict)
    """By fault and by the key of the column."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that were measured."""
        return tuple(column for column in COLUMNS if column.module not in self.absent)

    def figure(self, metric: Metric, fault: str, column: Column) -> float:
        """One figure, in seconds."""
        return metric.of(self.cells[fault, column.key])

    def total(self, metric: Metric, column: Column) -> float:
        """The sum over all faults but those that nobody can know of, in seconds."""
        return sum(self.figure(metric, fault, column) for fault in self.counted)

    @property
    def counted(self) -> tuple[str, ...]:
        """The faults that sums are made of."""
        return tuple(fault for fault in self.faults if fault not in BEYOND_PROOF)

    def is_quiet(self, metric: Metric, fault: str) -> bool:
        """Whether the figure is 0 in every column."""
        return not any(self.figure(metric, fault, column) for column in self.columns)

    def unstruck(self) -> dict[str, list[str]]:
        """The faults that never struck some column, with the titles of those columns."""
        found = {}
        for fault in self.faults[1:]:
            titles = [column.title for column in self.columns if not self.cells[fault, column.key].strikes]
            if titles:
                found[fault] = titles
        return found

    @classmethod
    def from_json(cls, figures: dict[str, Any]) -> Matrix:
        """Return what :meth:`as_json` was made from, to its precision of a millisecond."""
        matrix = cls(figures["seconds"], figures["seed"], tuple(figures["rows"]), figures["absent"])
        for fault, row in figures["rows"].items():
            for key, known in row.items():
                full, top = (
                    {limit: known[f"wrong_{depth}_{limit:g}"] for limit in LIMITS} for depth in ("full", "top")
                )
                matrix.cells[fault, key] = Cell(full, top, known["unavailable"], known["strikes"])
        return matrix

    def as_json(self) -> dict[str, object]:
        """Everything as plain values."""
        return {
            "seconds": self.seconds,
            "seed": self.seed,
            "absent": self.absent,
            "totals": {m.key: {c.key: round(self.total(m, c), 3) for c in self.columns} for m in METRICS},
            "rows": {
                fault: {
                    column.key: {m.key: round(self.figure(m, fault, column), 3) for m in METRICS}
                    | {"strikes": self.cells[fault, column.key].strikes}
                    for column in self.columns
                }
                for fault in self.faults
            },
        }

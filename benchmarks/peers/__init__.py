"""The programs that the fault matrix compares, one adapter each, and what is known about them.

An adapter only connects a program's own code to the simulated network. The registry imports each one when it is
asked for, so that a program that is not installed is named as absent and does not stop the others.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.peers.base import Peer


HEDGED = "hedged"
"""polymirror with two connections for each socket."""

OWN = ("", HEDGED)
"""What has no adapter: polymirror itself, with one connection and with two."""


@frozen
class Column:
    """One column of the matrix: whose book is read, and how."""

    key: str
    title: str
    """As the page heads the column."""
    module: str
    """The adapter, in this package; one of OWN for polymirror itself."""
    package: str
    """The distribution whose version the page states; "" for plain Python."""
    max_proof_age: float | None = None
    """What polymirror is asked for; None: its default."""


COLUMNS = (
    Column("polymirror", "polymirror", "", "polymirror"),
    Column("polymirror_025", "polymirror, 0.25 s", "", "polymirror", 0.25),
    Column("polymirror_hedged", "polymirror, hedge=2", HEDGED, "polymirror"),
    Column("polymirror_hedged_025", "polymirror, hedge=2, 0.25 s", HEDGED, "polymirror", 0.25),
    Column("nautilus", "nautilus_trader", "nautilus_adapter", "nautilus_trader"),
    Column("ccxt", "ccxt", "ccxt_prediction", "ccxt"),
    Column("official", "polymarket-client + dict", "official_models", "polymarket-client"),
    Column("naive", "naive script", "naive_script", ""),
)
"""All columns in the order of the page."""

SUBJECTS = tuple(dict.fromkeys(column.module for column in COLUMNS))
"""What runs: the modules of the adapters; two columns of polymirror read one engine."""


class Absent(Exception):  # noqa: N818 - a fact about this machine, not an error
    """A program is not installed here, or cannot be driven."""


def load(module: str) -> type[Peer]:
    """Import an adapter. Raises Absent with the reason when its program is not there."""
    try:
        found: type[Peer] = importlib.import_module(f"benchmarks.peers.{module}").ADAPTER
    except ImportError as error:
        raise Absent(f"{type(error).__name__}: {error}") from error
    return found


def absences() -> Mapping[str, str]:
    """Return why each adapter that cannot run here cannot run, by its module."""
    reasons = {}
    for module in SUBJECTS:
        if module not in OWN:
            try:
                load(module)
            except Absent as error:
                reasons[module] = str(error)
    return reasons


def installed(package: str) -> str:
    """Return the version of a distribution, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

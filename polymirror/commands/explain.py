"""``polymirror explain``: a bundle of an incident in words, with the levels that differed and a time line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from polymirror.commands.screen import make_console, print_json
from polymirror.errors import PolymirrorError
from polymirror.explain.bundle import explain_bundle
from polymirror.explain.page import page_of
from polymirror.files import create_private
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from rich.console import Console

    from polymirror.explain.explanation import Explanation

SHOWN_LEVELS: Final = 12
"""Levels that differ and are printed; a page and ``--json`` have all."""

TONES: Final = {"good": "green", "bad": "red", "state": "bold", "plain": "dim"}


def run_explain(name: str, *, json: bool, html: str | None) -> int:
    """Explain a bundle; return the exit code. Raises PolymirrorError for what cannot be read or written."""
    try:
        found = explain_bundle(name)
    except OSError as error:
        raise PolymirrorError(f"{harmless(name)} cannot be read: {error.strerror or error}") from error
    if html is not None:
        _write(Path(html), page_of(found))
    if json:
        print_json(found.to_dict())
    else:
        print_explanation(found, make_console())
    return 0


def _write(path: Path, text: str) -> None:
    """Write a page to a file that is not there yet, for its owner alone."""
    try:
        with os.fdopen(create_private(path), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise PolymirrorError(f"{harmless(path)} cannot be written: {error.strerror or error}") from error


def print_explanation(found: Explanation, console: Console) -> None:
    """Print an explanation: words, levels, time line."""
    for number, sentence in enumerate(found.words):
        console.print(Text(sentence, style="bold" if number < 2 else ""))  # noqa: PLR2004 - what, and why
    if found.levels:
        console.print()
        console.print(_levels(found))
        more = len(found.levels) - SHOWN_LEVELS
        if more > 0:
            console.print(Text(f"and {more} more: --html or --json", style="dim"))
    console.print()
    console.print(_rows(found))


def _levels(found: Explanation) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("side")
    for title in ("price", *found.columns):
        table.add_column(title, justify="right")
    for each in found.levels[:SHOWN_LEVELS]:
        table.add_row(each.side, each.price, each.before or "-", each.evidence or "-", each.after or "-")
    return table


def _rows(found: Explanation) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), expand=False)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("line", justify="right", no_wrap=True)
    table.add_column("what happened")
    for row in found.rows:
        mark = f"{row.mark.upper()}: " if row.mark else ""
        times = f" ({row.times} times)" if row.times > 1 else ""
        book = f"{row.book}: " if row.book else ""
        said = Text(f"{mark}{book}{row.text}{times}", style=TONES[row.tone])
        table.add_row(f"{row.at:+.3f}", str(row.line), said)
    return table

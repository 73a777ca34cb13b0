"""Reading a bundle from its file, within bounds, and explaining it: what programs call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from polymirror.errors import DecodeError
from polymirror.explain.words import explain
from polymirror.journal.format import weight
from polymirror.journal.reader import open_journal

if TYPE_CHECKING:
    from polymirror.explain.explanation import Explanation
    from polymirror.journal.format import Line

MAX_BYTES: Final = 256 * 2**20
"""A bundle with more text is none that a mirror wrote."""


def explain_bundle(path: Path | str) -> Explanation:
    """Return what a bundle says. Raises DecodeError for a file that is none, OSError, and MissingExtra for zstd."""
    return explain(read_bundle(Path(path)))


def read_bundle(path: Path) -> list[Line]:
    """Return the lines of a bundle. Raises as :func:`explain_bundle`."""
    lines: list[Line] = []
    size = 0
    for line in open_journal(path).lines():
        lines.append(line)
        size += weight(line)
        if size > MAX_BYTES:
            raise DecodeError(str(path), f"it has more than {MAX_BYTES >> 20} MiB")
    return lines

"""``polymirror replay``: a recording through the engine, with a progress bar and a summary."""

from __future__ import annotations

import gzip
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from polymirror.commands.screen import is_live, kept_warnings, make_console, print_json
from polymirror.commands.tables import counts_line, states_line
from polymirror.errors import DecodeError, PolymirrorError
from polymirror.replay import MAX_LINE_BYTES, Replay, replay_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

REFRESH_EVERY: Final = 512
"""Lines between two looks at the progress."""

GZIP_MAGIC: Final = b"\x1f\x8b"


class Recording:
    """The lines of a recording, and how far it was read."""

    def __init__(self, name: str, raw: IO[bytes], size: int | None) -> None:
        self.name = name
        # Bytes on disk; None when not known.
        self.size = size
        self._raw = raw

    @property
    def position(self) -> int:
        """Bytes read from disk so far."""
        return self._raw.tell() if self.size is not None else 0

    def lines(self) -> Iterator[bytes]:
        """Yield the lines. Raises DecodeError for a line that is too long, and for broken compression."""
        head = self._raw.peek(2)[:2] if hasattr(self._raw, "peek") else b""
        source: IO[bytes] = gzip.GzipFile(fileobj=self._raw) if head == GZIP_MAGIC else self._raw  # type: ignore[assignment]
        number = 0
        try:
            while line := source.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise DecodeError(f"{self.name} line {number}", f"longer than {MAX_LINE_BYTES >> 20} MiB")
                yield line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DecodeError(self.name, f"the compressed data are damaged after line {number}: {error}") from error
        except OSError as error:
            raise PolymirrorError(_explain(self.name, error)) from error


@contextmanager
def open_recording(name: str) -> Iterator[Recording]:
    """Open a file, or standard input for ``-``. Raises PolymirrorError with what to do when it cannot be read."""
    if name == "-":
        yield Recording("standard input", sys.stdin.buffer, None)
        return
    path = Path(name)
    try:
        raw = path.open("rb")
    except (OSError, ValueError) as error:
        raise PolymirrorError(_explain(name, error)) from error
    with raw:
        yield Recording(name, raw, path.stat().st_size if path.is_file() else None)


def _explain(name: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file {name}: give the path of a recording, or - for standard input"
    if isinstance(error, IsADirectoryError):
        return f"{name} is a folder: give one of the files in it"
    if isinstance(error, PermissionError):
        return f"{name} may not be read: check its permissions"
    return f"{name} cannot be read: {getattr(error, 'strerror', None) or error}"


def run_replay(name: str, *, json: bool) -> int:
    """Replay a file and print what was proven; return the exit code.

    Raises PolymirrorError, after printing, when there was no book in it: what checked nothing must not look right.
    """
    console = make_console()
    with kept_warnings(), open_recording(name) as recording:
        summary = _replay(recording, console, quiet=json).summary()
    if json:
        print_json(summary)
    else:
        print_summary(recording.name, summary, console)
    if not summary["snapshots"]:
        raise PolymirrorError(
            f"no whole book was found in {recording.name}, so nothing was checked: give a recording of the market "
            "channel that begins with the books, one frame or event a line"
        )
    return 0


def _replay(recording: Recording, console: Console, *, quiet: bool) -> Replay:
    replay = Replay()
    if quiet or recording.size is None or not is_live(console):
        for replay in replay_lines(recording.lines()):  # noqa: B007 - the last one is the whole
            pass
        return replay
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(Path(recording.name).name, total=recording.size)
        for number, replay in enumerate(replay_lines(recording.lines())):  # noqa: B007 - the last one is the whole
            if number % REFRESH_EVERY == 0:
                progress.update(task, completed=recording.position)
    return replay


def print_summary(name: str, summary: dict[str, Any], console: Console) -> None:
    """Print what came of it, for 80 columns, with or without colour."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column()
    lines.add_row("frames", f"{summary['frames']:,}")
    lines.add_row("deltas", f"{summary['deltas']:,}")
    lines.add_row("whole books", f"{summary['snapshots']:,}")
    lines.add_row("tokens", f"{summary['tokens']:,}; at the end {states_line(summary['states'])}")
    left = summary["left_live"]
    style = "" if left else "green"
    lines.add_row("left LIVE", Text(counts_line(left) if left else "never", style=style))
    lines.add_row("ignored", f"{summary['ignored']:,}" + _named(summary["ignored_kinds"]))
    lines.add_row("malformed", f"{summary['malformed']:,}" + _named(summary["malformed_kinds"]))
    proofs = Table(box=None, pad_edge=False, padding=(0, 2))
    proofs.add_column("proofs")
    verdicts = ("match", "healed", "behind", "unverifiable", "mismatch")
    kinds = {
        "hash": "hash", "bbo": "bbo", "complement": "complement",
        "books": "resent_books", "invariants": "invariants",
    }  # fmt: skip
    for verdict in verdicts:
        proofs.add_column(verdict, justify="right")
    for title, key in kinds.items():
        counts = summary[key]
        proofs.add_row(title, *(f"{counts[each]:,}" if each in counts else "" for each in verdicts))
    console.print(Text(f"polymirror replay: {name}", style="bold"), soft_wrap=True)
    console.print()
    console.print(lines)
    console.print()
    console.print(proofs)


def _named(kinds: dict[str, int]) -> str:
    return f" ({counts_line(kinds)})" if kinds else ""

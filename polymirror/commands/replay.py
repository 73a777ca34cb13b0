"""``polymirror replay``: a recording through the engine, with its progress and a summary."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from polymirror.commands.ending import whole_step
from polymirror.commands.screen import kept_warnings, make_console, print_json, progress_bar
from polymirror.commands.tables import counts_line, states_line
from polymirror.errors import PolymirrorError
from polymirror.journal.foreign import open_recording
from polymirror.journal.frames import FrameReplay

if TYPE_CHECKING:
    from rich.console import Console

    from polymirror.journal.foreign import Recording

REFRESH_EVERY: Final = 512
"""Lines between two looks at the progress."""


def run_replay(name: str, *, json: bool) -> int:
    """Replay a file and print what was proven; return the exit code. Ctrl-C ends it with what was read so far.

    Raises PolymirrorError, after printing, when there was no book in it: what checked nothing must not look right.
    """
    console, replay, interrupted = make_console(), FrameReplay(), True
    with kept_warnings(), open_recording(name) as recording:
        with suppress(KeyboardInterrupt):
            _replay(replay, recording, console, quiet=json)
            interrupted = False
        replay.finish()
    summary = replay.summary() | {"interrupted": interrupted}
    if json:
        print_json(summary)
    else:
        print_summary(recording.name, summary, console)
    if not summary["snapshots"] and not interrupted:
        raise PolymirrorError(
            f"no whole book was found in {recording.name}, so nothing was checked: {recording.describe()}. Give a "
            "recording of the market channel that begins with the books, one frame or event a line"
        )
    return 0


def _replay(replay: FrameReplay, recording: Recording, console: Console, *, quiet: bool) -> None:
    with progress_bar(console, quiet=quiet) as bar:
        task = bar.add_task(Path(recording.name).name, total=None)
        for number, line in enumerate(recording.lines(), 1):
            whole_step(replay.line, line)
            if number % REFRESH_EVERY == 0:
                said = f"{Path(recording.name).name}  {number:,} lines"
                bar.update(task, completed=recording.position, total=recording.total, description=said)


def print_summary(name: str, summary: dict[str, Any], console: Console) -> None:
    """Print what came of it, for 80 columns, with or without colour."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column()
    if summary["interrupted"]:
        lines.add_row("interrupted", "this is about the part that was read")
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

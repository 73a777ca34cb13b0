"""``polymirror record`` and ``polymirror journal check``: making a journal, and finding out what is in one."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich.table import Table
from rich.text import Text

from polymirror.commands.ending import run_loop, signals_wait
from polymirror.commands.screen import kept_warnings, make_console, print_json, progress_bar
from polymirror.commands.tables import counts_line, shortened, states_line
from polymirror.commands.watch import split_arguments
from polymirror.config import JournalConfig, MirrorConfig
from polymirror.errors import PolymirrorError
from polymirror.harmless import harmless
from polymirror.journal.coverage import check
from polymirror.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from polymirror.config import Endpoints
    from polymirror.journal.coverage import Coverage

LINE_SECONDS: Final = 5.0
"""Seconds between two lines of progress on a pipe."""

DRAW_SECONDS: Final = 0.5
"""The same for the line that changes on a terminal."""

MAX_TOLD: Final = 10
"""Gaps, tokens and files that are told, each; with ``--json`` all are."""

NAME_ROOM: Final = 24
"""Characters of a token's id."""

MIB: Final = 2**20


def run_record(
    arguments: Sequence[str],
    out: str,
    endpoints: Endpoints,
    *,
    seconds: float | None,
    keep: float | None,
    json: bool,
    incidents: str | None = None,
) -> int:
    """Record until the time is over or Ctrl-C; return the exit code: 1 if something was lost or nothing was recorded.

    Raises what the mirror raises at its start, and PolymirrorError for a folder in which nothing can be written.
    """
    slugs, tokens = split_arguments(arguments)
    folder = Path(out)
    _check_folder(folder)
    journal = JournalConfig(keep_bytes=None if keep is None else int(keep * MIB))
    mirror = Mirror(
        slugs=slugs, tokens=tokens, endpoints=endpoints, journal=folder, incidents=incidents,
        config=MirrorConfig(journal=journal),
    )  # fmt: skip
    console, result = make_console(), dict[str, Any]()
    with kept_warnings() as warnings, suppress(KeyboardInterrupt):
        run_loop(_record(mirror, console, result, seconds, warnings, quiet=json))
    # What was written is known once the mirror has stopped.
    result |= _so_far(mirror) | {"folder": str(folder), "warnings": list(warnings)}
    if json:
        print_json(result)
    else:
        lost = f", {result['lost']:,} lost" if result["lost"] else ""
        console.print(
            f"recorded {result['lines']:,} lines, {result['bytes'] / MIB:.1f} MiB in {folder}{lost}", soft_wrap=True
        )
        _print_warnings(warnings, console)
    return 0 if result["bytes"] and not result["lost"] else 1


def _print_warnings(warnings: deque[str], console: Console) -> None:
    """Print the newest warnings that were not told yet."""
    for warning in list(warnings)[-MAX_TOLD:]:
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    warnings.clear()


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PolymirrorError(f"{folder} cannot be made: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PolymirrorError(f"nothing can be written in {folder}: check its permissions")


async def _record(
    mirror: Mirror,
    console: Console,
    result: dict[str, Any],
    seconds: float | None,
    warnings: deque[str],
    *,
    quiet: bool,
) -> None:
    moves = console.is_terminal and not console.is_dumb_terminal
    async with mirror:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    with console.status("recording") if moves and not quiet else nullcontext() as status:
                        while True:
                            await asyncio.sleep(DRAW_SECONDS if moves else LINE_SECONDS)
                            if not quiet:
                                _print_warnings(warnings, console)
                            if status is not None:
                                status.update(_line(mirror))
                            elif not quiet:
                                console.print(_line(mirror), soft_wrap=True)
        finally:
            totals = mirror.status().totals
            result |= {
                "markets": [market.slug for market in mirror.markets], "missing": mirror.missing,
                "states": dict(totals.states), "frames": totals.frames,
            }  # fmt: skip


def _so_far(mirror: Mirror) -> dict[str, Any]:
    recorded = mirror.recorded
    assert recorded is not None  # noqa: S101 - it was given a folder
    return {
        "session": recorded.session, "files": recorded.files, "lines": recorded.lines, "lost": recorded.lost,
        "bytes": recorded.bytes,
    }  # fmt: skip


def _line(mirror: Mirror) -> str:
    totals, so_far = mirror.status().totals, _so_far(mirror)
    missing = f", not found yet: {harmless(', '.join(mirror.missing), NAME_ROOM)}" if mirror.missing else ""
    lost = f", {so_far['lost']:,} lines lost" if so_far["lost"] else ""
    written = f"{so_far['bytes'] / MIB:.1f} MiB"
    return f"recording {totals.frames:,} frames, {written}{lost}; {states_line(totals.states)}{missing}"


# ---- The check -----------------------------------------------------------------------------------------


def run_check(folder: str, *, json: bool) -> int:
    """Check a journal and print what it covers; return the exit code: 1 if something is missing.

    Raises PolymirrorError for what is no journal.
    """
    console = make_console()
    if not Path(folder).exists():
        raise PolymirrorError(f"there is no {folder}: give the folder of a journal, or one of its files")
    with kept_warnings(), progress_bar(console, quiet=json) as bar, signals_wait() as look:
        task = bar.add_task("replaying", total=None)

        def progress(done: int, total: int) -> None:
            if done % 1024 == 0:
                bar.update(task, completed=done, total=total or None)
                look()

        found = check(folder, progress)
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        print_coverage(found, console)
    return 0 if found.exact and not found.lost else 1


def print_coverage(found: Coverage, console: Console) -> None:
    """Print a report for 80 columns."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column()
    whole = "exact: replayed to the last bit" if found.exact else "not exact: something is missing"
    lines.add_row("replay", Text(whole, style="green" if found.exact else "yellow"))
    cut = "" if found.ended == found.sessions else "; the others were cut off, or are being recorded"
    lines.add_row("sessions", f"{found.sessions}, {found.ended} of them to their end{cut}")
    lines.add_row("time", f"{found.seconds:,.1f} s")
    lines.add_row("lines", f"{found.lines:,}, of them {found.frames:,} frames; {found.lost:,} are missing")
    lines.add_row("hashes", counts_line(found.hashes))
    if found.hash_share is not None:
        lines.add_row("hash-proven", f"{100 * found.hash_share:.2f} % of the hashes that could be compared")
    console.print(lines)
    console.print()
    console.print(_tokens_table(found))
    if found.gap_count:
        console.print()
        console.print(_gaps_table(found))
    console.print()
    # Sums are copied, so nothing is cut.
    for each in found.files:
        console.print(f"{each.sha256}  {each.name}", soft_wrap=True)


def _tokens_table(found: Coverage) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("token")
    for title in ("seconds", "LIVE", "share", "changes"):
        table.add_column(title, justify="right")
    for each in found.tokens[:MAX_TOLD]:
        share = f"{100 * each.live / each.seconds:.1f} %" if each.seconds else "-"
        table.add_row(
            shortened(each.token, NAME_ROOM), f"{each.seconds:,.1f}", f"{each.live:,.1f}", share, f"{each.changes:,}"
        )
    if len(found.tokens) > MAX_TOLD:
        table.add_row(f"and {len(found.tokens) - MAX_TOLD} more", "", "", "", "")
    return table


def _gaps_table(found: Coverage) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("gap at (UTC)", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("lines", justify="right")
    table.add_column("why")
    for gap in found.gaps[:MAX_TOLD]:
        at = datetime.fromtimestamp(gap.at, UTC)
        table.add_row(
            f"{at:%m-%d %H:%M:%S}", f"{gap.seconds:.1f}" if gap.seconds else "", f"{gap.lines:,}" if gap.lines else "",
            harmless(gap.why, 60),
        )  # fmt: skip
    reasons = Counter("lines" if gap.lines else "connections and sleep" for gap in found.gaps)
    if found.gap_count > MAX_TOLD:
        table.add_row(f"and {found.gap_count - MAX_TOLD} more", "", "", counts_line(reasons))
    return table

"""``polymirror torture``: fault storms under a virtual clock, and what they showed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from polymirror.commands.screen import is_live, make_console, print_json
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.torture.session import Torture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

MAX_EXPLAINED = 3
"""Broken seeds that are reduced and shown in full."""


def run_torture(
    *, seeds: int, start: int, minutes: float, tokens: int, faults: Sequence[str], hedge: int, json: bool
) -> int:
    """Run the seeds; return 0 if no promise was broken, else 1."""
    torture = Torture(seeds, start, minutes, tokens, tuple(faults), hedge)
    console = make_console()
    broken = []
    columns = (TextColumn("seed {task.fields[seed]}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TextColumn("{task.fields[wrong]} violations"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=json or not is_live(console)) as progress:
        task = progress.add_task("", total=seeds, seed=start, wrong=0)
        for result in torture.run():
            if result.violations:
                broken.append(result)
            wrong = len(torture.report.violations)
            progress.update(task, advance=1, seed=result.seed, wrong=wrong)
    explained = [torture.explain(result) for result in broken[:MAX_EXPLAINED]]
    summary = torture.report.as_dict(torture.elapsed, list(faults or FAULTS))
    summary |= {"start": start, "minutes": minutes, "tokens": tokens, "hedge": hedge, "explained": explained}
    if json:
        print_json(summary)
    else:
        _show(console, summary)
    return 1 if broken else 0


def _show(console: Console, summary: dict[str, Any]) -> None:
    for text in summary["explained"]:
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    table = Table(title="Faults", title_justify="left", box=None, pad_edge=False)
    for heading in ("fault", "injected", "doubted p50", "p99", "max"):
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    struck = {fault: count for fault, count in summary["faults_by_id"].items() if count}
    for fault, count in struck.items():
        found = summary["detect_seconds"].get(fault, {})
        table.add_row(fault, f"{count:,}", *(f"{found[key]:.2f} s" if found else "" for key in ("p50", "p99", "max")))
    console.print(table)
    if summary["never_struck"]:
        console.print(f"\nnever struck: {', '.join(summary['never_struck'])}", highlight=False)
    for fault, found in summary["recover_unseen"].items():
        console.print(
            f"after {fault}, whose end nobody can see: LIVE after p50 {found['p50']:g} s, p99 {found['p99']:g} s "
            f"(bound {found['bound']:g} s)",
            highlight=False,
        )
    unknowable = ", ".join(f"{name} {count:,}" for name, count in summary["unknowable"].items())
    console.print(f"\nreads that were wrong by what cannot be known: {unknowable}", highlight=False)
    heal, noun = summary["recover_seconds"], "seed" if summary["seeds"] == 1 else "seeds"
    console.print(
        "\ndoubted: from the first frame that could show a strike until its book left LIVE\n"
        f"{summary['seeds']} {noun} from {summary['start']}, {summary['virtual_hours']:g} virtual hours "
        f"({summary['speedup_over_real_time']:g}x real time), {summary['faults_injected']:,} faults\n"
        f"{summary['reads']:,} reads, {summary['refused_reads']:,} refused, "
        f"{summary['wrong_live_seconds']:g} s in which a wrong book was readable\n"
        f"books were LIVE again after p50 {heal.get('p50', 0):g} s, p99 {heal.get('p99', 0):g} s "
        f"of calm\n{summary['violations']} violations",
        highlight=False,
    )

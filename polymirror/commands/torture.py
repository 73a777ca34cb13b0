"""``polymirror torture``: fault storms under a virtual clock, and what they showed."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from polymirror.commands.ending import signals_wait
from polymirror.commands.screen import make_console, print_json, progress_bar
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.torture.relayed import WAY_FAULTS
from polymirror.torture.session import Torture
from polymirror.torture.shrink import MAX_RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from polymirror.torture.run import SeedResult

MAX_EXPLAINED: Final = 3
"""Broken seeds that are reduced and shown in full."""


def run_torture(
    *, seeds: int, start: int, minutes: float, tokens: int, faults: Sequence[str], hedge: int, relay: str, json: bool
) -> int:
    """Run the seeds; return 0 if no promise was broken, else 1. Ctrl-C ends it with what was seen so far."""
    torture = Torture(seeds, start, minutes, tokens, tuple(faults), hedge, relay)
    console, explained, interrupted = make_console(), list[str](), True
    with suppress(KeyboardInterrupt):
        broken = _run(torture, console, quiet=json)
        for result in broken[:MAX_EXPLAINED]:
            explained.append(_explain(torture, result, console, quiet=json))
        interrupted = False
    known = [*(faults or FAULTS), *(WAY_FAULTS if relay else ())]
    summary = torture.report.as_dict(torture.elapsed, known)
    summary |= {
        "start": start, "minutes": minutes, "tokens": tokens, "hedge": hedge, "relay": relay,
        "interrupted": interrupted, "explained": explained,
    }  # fmt: skip
    if json:
        print_json(summary)
    else:
        _show(console, summary)
    return 1 if summary["violations"] else 0


def _run(torture: Torture, console: Console, *, quiet: bool) -> list[SeedResult]:
    """Run all seeds; return those that broke a promise."""
    broken, done = [], 0
    bar = progress_bar(console, quiet=quiet)
    task = bar.add_task("seeds", total=torture.seeds * torture.minutes * 60)

    # What a seed showed is summed up as a whole, or not at all.
    with signals_wait() as look:

        def tell(passed: float) -> None:
            found = len(torture.report.violations)
            bar.update(task, completed=passed, description=f"{done} of {torture.seeds} seeds, {found} violations")
            look()

        with bar, closing(torture.run(tell)) as results:
            for done, result in enumerate(results, 1):  # noqa: B007 - told above
                if result.violations:
                    broken.append(result)
    return broken


def _explain(torture: Torture, result: SeedResult, console: Console, *, quiet: bool) -> str:
    with progress_bar(console, quiet=quiet) as bar:
        task = bar.add_task(f"reducing seed {result.seed}", total=MAX_RUNS)
        return torture.explain(result, lambda number: bar.update(task, completed=number))


def _show(console: Console, summary: dict[str, Any]) -> None:
    for text in summary["explained"]:
        console.print(text, soft_wrap=True)
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

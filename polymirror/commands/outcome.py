"""What came of a demo: its exit code, and the summary that it closes with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from rich.table import Table
from rich.text import Text

from polymirror.commands.tables import counts_block, format_age, proofs_table, states_line

if TYPE_CHECKING:
    from rich.console import Console

MAX_NAMED: Final = 10
"""Books that did not come back and are named."""


@define
class Run:
    """What a demo is and what came of it."""

    seconds: float
    seed: int
    markets: int
    json: bool
    finished: bool = False
    result: dict[str, Any] = field(factory=dict)
    restless: list[str] = field(factory=list)
    examples: list[str] = field(factory=list)

    @property
    def code(self) -> int:
        """The exit code."""
        if not self.finished:
            return 130
        return 1 if self.restless or self.result["wrong_live_reads"] else 0


def print_summary(run: Run, console: Console) -> None:
    """Print what came of it, for 80 columns, with or without colour."""
    result = run.result
    wrong, refused = result["wrong_live_reads"], result["refused_reads"]
    ages = result["verified_age_ms"]
    total = result["reads"] + refused
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column()
    ended = states_line(result["states"]) + (" (their market was settled)" if result["retired"] else "")
    lines.add_row("books at the end", ended)
    if run.restless:
        lines.add_row("not back", "\n".join(run.restless[:MAX_NAMED]))
    lines.add_row("reads", f"{total:,}: {result['reads']:,} granted, {refused:,} refused")
    lines.add_row("wrong LIVE reads", Text(f"{wrong:,}", style="bold red" if wrong else "bold green"))
    if ages["p50"] is not None:
        typical = f"median {format_age(ages['p50'] / 1000)}, 99 % below {format_age(ages['p99'] / 1000)}"
        lines.add_row("age of the proof", typical)
    lines.add_row("faults put in", counts_block(result["faults"]))
    lines.add_row("resyncs", counts_block(result["resyncs"]))
    console.print()
    console.print(Text(f"polymirror demo: {result['seconds']:g} s, seed {result['seed']}", style="bold"))
    console.print()
    console.print(lines)
    console.print()
    console.print(proofs_table(result["proofs"]))
    console.print()
    for example in run.examples:
        console.print(f"wrong: {example}", style="red")
    console.print(_verdict(run))


def _verdict(run: Run) -> Text:
    if not run.finished:
        return Text("Interrupted.", style="yellow")
    if run.result["wrong_live_reads"]:
        return Text(f"A LIVE book was wrong. Please report this with the seed {run.seed}.", style="bold red")
    if run.restless:
        return Text("Not every book came back in time. Please report this with the seed.", style="bold red")
    return Text("Every granted read was true, and every book came back.", style="green")

"""What the commands draw: books, transitions and counts as rich renderables.

Pure: data in, renderables out, so that a test can look at them without a terminal. Everything that colour
says, a word says too. Used by the demo and by watch; how often and where it is drawn is
:mod:`polymirror.commands.screen`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import frozen
from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from polymirror.core.states import BookState, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

SIGNS: Final[dict[BookState, tuple[str, str]]] = {
    BookState.LIVE: ("●", "green"),
    BookState.SUSPECT: ("◐", "yellow"),
    BookState.RESYNCING: ("○", "magenta"),
    BookState.UNPRIMED: ("·", "cyan"),
    BookState.RETIRED: ("■", "blue"),
}
"""Each state's sign and colour. The word is always shown beside them."""

NOTHING: Final = "-"
"""Stands for what there is not."""

WIDE: Final = 100
"""Columns from which a table is spaced generously."""

SECOND: Final = 1.0
TEN_SECONDS: Final = 9.95

FIXED_LINES: Final = 6
"""Lines of a dashboard that are not books and not transitions: title, progress, footer, and blank ones."""

MIN_PANEL: Final = 4
"""The panel of transitions with its border is never lower than this, if it is shown at all."""

TABLE_HEAD: Final = 2


@frozen(kw_only=True)
class BookRow:
    """One book as a line of the table. Prices are texts; ``age`` in seconds."""

    name: str
    state: BookState
    reason: Reason
    age: float | None
    proof: str
    bid: str
    ask: str
    epoch: int
    resyncs: int


@frozen(kw_only=True)
class Moment:
    """One line of the panel of recent transitions; ``at`` in seconds since the start."""

    at: float
    name: str
    old: BookState
    new: BookState
    reason: Reason
    detail: str = ""


@frozen(kw_only=True)
class Dashboard:
    """Everything that one picture shows."""

    title: str
    status: str
    elapsed: float
    total: float | None
    """Seconds; None when there is no end to wait for."""
    rows: Sequence[BookRow]
    moments: Sequence[Moment]
    """Newest last."""
    footer: Sequence[Text]


def format_age(seconds: float | None) -> str:
    """Spell an age in at most seven characters: ``12 ms``, ``1.2 s``, ``35 s``, ``never``."""
    if seconds is None or seconds == float("inf"):
        return "never"
    if seconds < SECOND:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < TEN_SECONDS else f"{seconds:.0f} s"


def words(reason: Reason) -> str:
    """Spell a reason as words: ``hash mismatch``."""
    return reason.name.lower().replace("_", " ")


def state_text(state: BookState) -> Text:
    """Spell a state with its sign and colour."""
    sign, colour = SIGNS[state]
    return Text(f"{sign} {state.name}", style=f"bold {colour}" if state is BookState.LIVE else colour)


def books_table(rows: Sequence[BookRow], room: int, width: int) -> Table:
    """Draw the books in at most ``room`` lines, the head included; what does not fit is counted."""
    # The longest reason just fits into 80 columns with a single space between all of them.
    gap = 1 if width >= WIDE else 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, gap), expand=True, show_edge=False)
    table.add_column("book", no_wrap=True, overflow="ellipsis", min_width=7, max_width=24)
    table.add_column("state", no_wrap=True, min_width=11)
    table.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=1, min_width=6)
    for name, least in (("proven", 6), ("by", 5), ("bid", 4), ("ask", 4), ("epoch", 5), ("resyncs", 7)):
        table.add_column(name, no_wrap=True, justify="left" if name == "by" else "right", min_width=least)
    shown = _most_telling(rows, room - TABLE_HEAD)
    for row in shown:
        quiet = "" if row.state is BookState.LIVE else "dim"
        table.add_row(
            row.name,
            state_text(row.state),
            Text(words(row.reason), style="dim" if row.reason is Reason.PROVEN else ""),
            Text(NOTHING if row.state is BookState.RETIRED else format_age(row.age), style=quiet),
            Text(row.proof, style="dim"),
            row.bid,
            row.ask,
            Text(str(row.epoch), style="dim"),
            Text(str(row.resyncs), style="" if row.resyncs else "dim"),
        )
    if len(shown) < len(rows):
        hidden = [row for row in rows if row not in shown]
        table.add_row(Text(f"+ {len(hidden)} more", style="dim"), _counted(hidden), *[""] * 7)
    return table


def _most_telling(rows: Sequence[BookRow], room: int) -> list[BookRow]:
    """Choose the rows to show, in their usual order: those in trouble first, if not all fit."""
    if len(rows) <= room:
        return list(rows)
    room = max(1, room - 1)
    rank = {BookState.LIVE: 1, BookState.RETIRED: 2}
    chosen = sorted(range(len(rows)), key=lambda index: (rank.get(rows[index].state, 0), index))[:room]
    return [rows[index] for index in sorted(chosen)]


def _counted(rows: Sequence[BookRow]) -> Text:
    counts = Counter(row.state for row in rows)
    if len(counts) == 1:
        return state_text(rows[0].state)
    return Text(f"{counts[BookState.LIVE]} LIVE", style="dim")


def moments_panel(moments: Sequence[Moment], height: int) -> Panel:
    """Draw the newest transitions that fit into ``height`` lines, the border included; newest first."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for moment in list(reversed(moments))[: height - 2]:
        arrow = Text.assemble((moment.old.name, SIGNS[moment.old][1]), " → ", (moment.new.name, SIGNS[moment.new][1]))
        why = Text(words(moment.reason))
        if moment.detail:
            why.append(f"  {moment.detail}", style="dim")
        table.add_row(Text(f"{moment.at:.2f} s", style="dim"), moment.name, arrow, why)
    title = Text("transitions, newest first", style="dim")
    return Panel(table, title=title, title_align="left", height=height, border_style="dim", padding=(0, 1))


def dashboard(picture: Dashboard, width: int, height: int) -> RenderableType:
    """Draw everything in the columns and lines there are."""
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    head.add_column(no_wrap=True, justify="right")
    clock = f"{picture.elapsed:5.1f} s" + ("" if picture.total is None else f" of {picture.total:g} s")
    head.add_row(Text(picture.title, style="bold"), Text(clock))
    bar = Table.grid(expand=True, padding=(0, 1))
    bar.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    status: list[RenderableType] = [Text(picture.status, style="dim")]
    if picture.total is not None:
        bar.add_column(justify="right", width=24)
        status.append(ProgressBar(total=picture.total, completed=min(picture.elapsed, picture.total), width=24))
    bar.add_row(*status)
    room = height - FIXED_LINES - (len(picture.footer) - 2)
    wanted = len(picture.rows) + TABLE_HEAD
    panel_height = room - min(wanted, max(room - MIN_PANEL - 4, TABLE_HEAD + 2))
    parts: list[RenderableType] = [head, bar, "", books_table(picture.rows, room - max(panel_height, 0), width)]
    if panel_height >= MIN_PANEL:
        parts.append(moments_panel(picture.moments, panel_height))
    return Group(*parts, *picture.footer)


def counts_line(counts: Mapping[str, int]) -> str:
    """Spell counts as ``one 3 · other 2``, the largest first; a dash when there are none."""
    return " · ".join(_spell(counts)) or NOTHING


def counts_block(counts: Mapping[str, int], width: int = 60) -> str:
    """Spell counts as :func:`counts_line` does, in lines of at most ``width`` that never part a name from its count."""
    lines = [""]
    for item in _spell(counts):
        joined = f"{lines[-1]} · {item}" if lines[-1] else item
        if len(joined) > width:
            lines.append(item)
        else:
            lines[-1] = joined
    return "\n".join(lines) or NOTHING


def _spell(counts: Mapping[str, int]) -> list[str]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{name.lower().replace('_', ' ')} {count:,}" for name, count in ordered]


def states_line(states: Mapping[str, int]) -> str:
    """Spell how many books are in which state: ``4 LIVE, 2 RETIRED``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(states.items())) or NOTHING


def proofs_table(proofs: Mapping[str, Mapping[str, int]]) -> Table:
    """Draw the verdicts of all proofs: a line for each kind, a column for each verdict that occurred."""
    verdicts = [
        each
        for each in ("match", "healed", "behind", "unverifiable", "mismatch")
        if any(each in counts for counts in proofs.values())
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("proofs", style="")
    for each in verdicts:
        table.add_column(each, justify="right")
    for kind, counts in proofs.items():
        table.add_row(
            kind, *(f"{counts[each]:,}" if each in counts else Text(NOTHING, style="dim") for each in verdicts)
        )
    return table

"""What the commands draw: books, transitions and counts as rich renderables.

Pure: data in, renderables out, so that a test can look at them without a terminal. Everything that colour
says, a word says too. Used by the demo and by watch; how often and where it is drawn is
:mod:`polymirror.commands.screen`, the depth of one book :mod:`polymirror.commands.ladder`.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen
from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from polymirror.core.states import BookState, Reason
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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

NARROW: Final = 60
"""Columns below which a book's prices and the reason against it share a place."""

WIDE: Final = 100
"""Columns from which a table is spaced generously."""

ROOMY: Final = 150
"""Columns from which names are shown in full."""

LONG_NAME: Final = 24
"""Characters of a name that are shown below that, if there is room for as many."""

LEAST_NAME: Final = 12
"""Characters of a name that are shown at the least, rather than the whole reason; fewer where it is narrow."""

LEAST_NAME_NARROW: Final = 7

SHORT: Final = 20
"""Lines below which there are no blank ones and one line of counts."""

SECOND: Final = 1.0
TEN_SECONDS: Final = 9.95
MINUTE: Final = 60.0
HOUR: Final = 3_600.0

MIN_PANEL: Final = 4
"""The panel of transitions with its border is never lower than this, if it is shown at all."""

MAX_FOOTER: Final = 3

SHARED: Final = 16
"""Lines from which the panel has some of them although not all books fit."""

TABLE_HEAD: Final = 2

MAX_KIND: Final = 64
"""Characters of a kind that is counted: the venue may have named it."""


@frozen(kw_only=True)
class BookRow:
    """One book as a line of the table. Prices and sizes are texts; ``age`` and ``since`` in seconds."""

    name: str
    state: BookState
    reason: Reason
    age: float | None
    proof: str
    bid: str
    ask: str
    epoch: int
    resyncs: int
    token: str = ""
    since: float = 0.0
    """How long it has been in this state."""
    bid_size: str = NOTHING
    ask_size: str = NOTHING
    levels: str = NOTHING
    """How many bids and asks there are."""
    refused: int = 0
    """Reads for execution that were refused."""


@frozen(kw_only=True)
class Moment:
    """One line of the panel of recent transitions; ``at`` in seconds since 1970."""

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
    first: int = 0
    """The first row to show, if not all fit."""


@frozen
class Column:
    """A column of the table of books: shown from ``width`` columns on, and at least ``least`` wide."""

    heading: str
    cell: Callable[[BookRow], Text | str]
    width: int
    least: int
    justify: Literal["left", "right"] = "right"


def format_age(seconds: float | None) -> str:
    """Spell an age in at most seven characters: ``12 ms``, ``1.2 s``, ``35 s``, ``12 min``, ``never``."""
    if seconds is None or seconds == float("inf"):
        return "never"
    if seconds < SECOND:
        return f"{seconds * 1000:.0f} ms"
    if seconds < TEN_SECONDS:
        return f"{seconds:.1f} s"
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.0f} h"


def clock(unix_seconds: float) -> str:
    """Spell a moment as this machine's clock showed it, to the hundredth of a second."""
    return f"{datetime.fromtimestamp(unix_seconds):%H:%M:%S.%f}"[:-4]  # noqa: DTZ006 - for whoever sits before it


def words(reason: Reason) -> str:
    """Spell a reason as words: ``hash mismatch``."""
    return reason.name.lower().replace("_", " ")


def state_text(state: BookState, width: int = WIDE) -> Text:
    """Spell a state with its sign and colour."""
    sign, colour = SIGNS[state]
    name = "RESYNC" if state is BookState.RESYNCING and width < NARROW else state.name
    return Text(f"{sign} {name}", style=f"bold {colour}" if state is BookState.LIVE else colour)


def _reason(row: BookRow) -> Text:
    return Text(words(row.reason), style="dim" if row.reason is Reason.PROVEN else "")


def _offer(row: BookRow) -> Text:
    """The prices of a book that has some, else the reason why not."""
    return Text(_prices(row)) if row.state is BookState.LIVE else _reason(row)


def _prices(row: BookRow) -> str:
    return f"{row.bid} {row.ask}"


def _age(row: BookRow) -> Text:
    retired = row.state is BookState.RETIRED
    return Text(NOTHING if retired else format_age(row.age), style="" if row.state is BookState.LIVE else "dim")


def _counted_dim(count: int) -> Text:
    return Text(str(count), style="" if count else "dim")


COLUMNS: Final = (
    Column("since", lambda row: Text(format_age(row.since), style="dim"), 110, 7),
    Column("proven", _age, 40, 6),
    Column("by", lambda row: Text(row.proof, style="dim"), 72, 5, "left"),
    Column("bid size", lambda row: row.bid_size, 132, 10),
    Column("bid", lambda row: row.bid, NARROW, 4),
    Column("ask", lambda row: row.ask, NARROW, 4),
    Column("ask size", lambda row: row.ask_size, 132, 10),
    Column("levels", lambda row: row.levels, 142, 8),
    Column("epoch", lambda row: Text(str(row.epoch), style="dim"), 150, 5),
    Column("refused", lambda row: _counted_dim(row.refused), 80, 7),
    Column("resyncs", lambda row: _counted_dim(row.resyncs), 80, 7),
)
"""What follows a book's name, its state, and the reason for it."""


def books_table(rows: Sequence[BookRow], room: int, width: int, first: int = 0) -> Table:
    """Draw the books in at most ``room`` lines, the head included; what does not fit is counted.

    If not all fit, those in trouble come first, and ``first`` is the number of the first one shown.
    """
    # The longest reason just fits into 80 columns with a single space between all of them.
    wide = width >= WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, int(wide)), expand=not wide, show_edge=False)
    shown, first = fitting(rows, room - TABLE_HEAD, first)
    columns = [column for column in COLUMNS if width >= column.width]
    if width < NARROW:
        # Prices are never cut off: they would be read as others.
        offered = max((len(_prices(row)) for row in shown if row.state is BookState.LIVE), default=0)
        told = Column("bid  ask", _offer, 0, max(11, offered), "left")
        columns.append(told)
    else:
        told = Column("reason", _reason, 0, 20 if wide else 6, "left")
        columns.insert(0, told)
    state = Column("state", lambda row: state_text(row.state, width), 0, 6 if width < NARROW else 11, "left")
    longest = _room_for_names(shown, [state, *columns], told, width)
    table.add_column("book", no_wrap=True, min_width=LEAST_NAME_NARROW)
    for column in (state, *columns):
        whole = column is told and not wide
        table.add_column(
            column.heading, no_wrap=True, overflow="ellipsis", justify=column.justify, min_width=column.least,
            ratio=1 if whole else None,
        )  # fmt: skip
    for row in shown:
        table.add_row(Text(shortened(row.name, longest)), *(column.cell(row) for column in (state, *columns)))
    if len(shown) < len(rows):
        hidden = [row for row in rows if row not in shown]
        told_of = f"+ {len(hidden)} more" if not first else f"{first} above, {len(hidden) - first} below"
        table.add_row(Text(told_of, style="dim"), _counted(hidden, width), *[""] * len(columns))
    return table


def _room_for_names(rows: Sequence[BookRow], columns: Sequence[Column], told: Column, width: int) -> int:
    """How long names may be, so that whatever stands behind them has its place."""
    if width >= ROOMY:
        return 64
    between = 2 if width >= WIDE else 1
    taken = 0
    for column in columns:
        cells = [] if column is told and width < NARROW else [len(column.cell(row)) for row in rows]
        taken += max(column.least, len(column.heading), *cells, 0) + between
    least = LEAST_NAME_NARROW if width < NARROW else LEAST_NAME
    return min(LONG_NAME, max(least, width - taken))


def shortened(name: str, room: int) -> str:
    """Cut a name in the middle, if need be, to at most ``room`` characters: its end tells which token it is."""
    if len(name) <= room:
        return name
    start = max(3, (room - 1) // 2 - 1)
    return f"{name[:start].rstrip()}…{name[len(name) - (room - 1 - start) :].lstrip()}"


def fitting(rows: Sequence[BookRow], room: int, first: int) -> tuple[list[BookRow], int]:
    """Choose the rows to show, and say which is the first of them: in their usual order if all fit, else worst first.

    One line is kept for what does not fit.
    """
    if len(rows) <= room:
        return list(rows), 0
    room = max(1, room - 1)
    first = max(0, min(first, len(rows) - room))
    rank = {BookState.LIVE: 1, BookState.RETIRED: 2}
    return sorted(rows, key=lambda row: rank.get(row.state, 0))[first : first + room], first


def _counted(rows: Sequence[BookRow], width: int) -> Text:
    counts = Counter(row.state for row in rows)
    if len(counts) == 1:
        return state_text(rows[0].state, width)
    return Text(f"{counts[BookState.LIVE]} LIVE", style="dim")


def moments_panel(moments: Sequence[Moment], height: int, width: int = WIDE) -> Panel:
    """Draw the newest transitions that fit into ``height`` lines, the border included; newest first."""
    narrow = width < NARROW
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, min_width=8)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for moment in list(reversed(moments))[: height - 2]:
        old = Text() if narrow else Text(f"{moment.old.name} ", style=SIGNS[moment.old][1])
        why = Text(words(moment.reason))
        if moment.detail:
            why.append(f"  {moment.detail}", style="dim")
        at = clock(moment.at)[: 8 if narrow else None]
        arrow = Text.assemble(old, "→ ", (moment.new.name, SIGNS[moment.new][1]))
        name = shortened(moment.name, 10 if narrow else LONG_NAME)
        table.add_row(Text(at, style="dim"), Text(name), arrow, why)
    title = Text("transitions, newest first", style="dim")
    return Panel(table, title=title, title_align="left", height=height, border_style="dim", padding=(0, 1))


@frozen
class Layout:
    """How the lines of a picture are shared out."""

    books: int
    """Lines for the books, the head of their table included."""
    panel: int
    """Lines for the transitions; 0: they are left out."""
    footer: int
    blank: int

    @property
    def page(self) -> int:
        """Rows of books that are shown if not all fit."""
        return max(1, self.books - TABLE_HEAD - 1)

    @classmethod
    def of(cls, picture: Dashboard, height: int) -> Layout:
        """Share the lines out: the books come first."""
        short = height < SHORT
        footer, blank = min(len(picture.footer), 1 if short else MAX_FOOTER), 0 if short else 1
        room = height - 2 - blank - footer
        panel = room - len(picture.rows) - TABLE_HEAD
        if panel < MIN_PANEL:
            panel = MIN_PANEL + 2 if room >= SHARED else 0
        return cls(room - panel, panel, footer, blank)


def dashboard(
    picture: Dashboard, width: int, height: int, instead: Callable[[int], RenderableType] | None = None
) -> RenderableType:
    """Draw everything in the columns and lines there are.

    ``instead``, called with the lines there are for it, takes the place of books and transitions.
    """
    layout = Layout.of(picture, height)
    parts = [*_head(picture, width), *[""] * layout.blank]
    if instead is not None:
        parts.append(instead(layout.books + layout.panel))
    else:
        parts.append(books_table(picture.rows, layout.books, width, picture.first))
        if layout.panel:
            parts.append(moments_panel(picture.moments, layout.panel, width))
    return Group(*parts, *picture.footer[: layout.footer])


def _head(picture: Dashboard, width: int) -> list[RenderableType]:
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    head.add_column(no_wrap=True, justify="right")
    passed = f"{picture.elapsed:5.1f} s" + ("" if picture.total is None else f" of {picture.total:g} s")
    head.add_row(Text(picture.title, style="bold"), Text(passed))
    bar = Table.grid(expand=True, padding=(0, 1))
    bar.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    status: list[RenderableType] = [Text(picture.status, style="dim")]
    if picture.total is not None:
        long = min(24, width // 4)
        bar.add_column(justify="right", width=long)
        status.append(ProgressBar(total=picture.total, completed=min(picture.elapsed, picture.total), width=long))
    bar.add_row(*status)
    return [head, bar]


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
    return [f"{harmless(name.lower().replace('_', ' '), MAX_KIND)} {count:,}" for name, count in ordered]


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

"""The depth of one book as a ladder: asks above, bids below, the best ones in the middle. Pure, as tables are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen
from rich.console import Group
from rich.table import Table
from rich.text import Text

from polymirror.commands.tables import NARROW, NOTHING, format_age, state_text, words
from polymirror.core.states import BookState, Reason
from polymirror.core.units import price_to_wire, size_to_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

HEAD: Final = 3
"""Lines of a ladder that are no levels: the book's own, the headings, and the spread."""

HUNDREDTH: Final = 10_000
"""Of a share, in 1/1,000,000."""

BLOCKS: Final = " ▏▎▍▌▋▊▉█"
"""A bar's end, in eighths of a column."""


@frozen(kw_only=True)
class Ladder:
    """One book to draw. Levels best first, as (price in 1/10,000, size in 1/1,000,000)."""

    name: str
    state: BookState
    reason: Reason
    age: float | None
    """Seconds since these levels were proven."""
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]


def spell_price(price: int | None) -> str:
    """Spell a price with at least two decimals, so that prices stand below each other."""
    if price is None:
        return NOTHING
    whole, _, decimals = price_to_wire(price).partition(".")
    return f"{whole}.{decimals:0<2}"


def spell_size(size: int | None) -> str:
    """Spell a size with thousands apart and two decimals, the rest cut off; what is less than a hundredth as such."""
    if size is None:
        return NOTHING
    if 0 < size < HUNDREDTH:
        return "<0.01"
    whole, _, decimals = size_to_wire(size).partition(".")
    return f"{int(whole):,}.{decimals[:2]:0<2}"


def ladder_picture(ladder: Ladder, room: int, width: int) -> RenderableType:
    """Draw a ladder in at most ``room`` lines: as many levels of each side as fit, the best ones."""
    each = max(1, (room - HEAD) // 2)
    asks, bids = ladder.asks[:each], ladder.bids[:each]
    largest = max((size for _, size in (*asks, *bids)), default=1)
    live = ladder.state is BookState.LIVE
    table = Table.grid(expand=True, padding=(0, 1))
    for least in (3, 6, 9, 10):
        table.add_column(justify="left" if least == 3 else "right", no_wrap=True, min_width=least)  # noqa: PLR2004 - the side
    table.add_column(no_wrap=True, ratio=1)
    table.add_row(*(Text(word, style="dim") for word in ("", "price", "size", "in all", "")))
    long = max(4, width - 36)
    for (price, size), total in reversed(_summed(asks)):
        table.add_row(*_level("ask", price, size, total, largest, long, "red" if live else "dim"))
    told = Text("" if live else "not for trading", style="bold")
    table.add_row("", Text(_spread(ladder), style="bold"), Text("spread", style="dim"), "", told)
    for (price, size), total in _summed(bids):
        table.add_row(*_level("bid", price, size, total, largest, long, "green" if live else "dim"))
    head = Text.assemble(
        (ladder.name, "bold"), "  ", state_text(ladder.state, width), no_wrap=True, overflow="ellipsis"
    )
    if not live:
        head.append(f"  {words(ladder.reason)}")
    head.append(f"  proven {format_age(ladder.age)}{'' if ladder.age is None else ' ago'}")
    if width >= NARROW:
        head.append(f"  {len(ladder.bids)} bids, {len(ladder.asks)} asks", style="dim")
    return Group(head, table)


def _summed(levels: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, int], int]]:
    total, found = 0, []
    for price, size in levels:
        total += size
        found.append(((price, size), total))
    return found


def _level(side: str, price: int, size: int, total: int, largest: int, long: int, style: str) -> tuple[Text | str, ...]:
    eighths = max(1, size * long * 8 // largest)
    bar = "█" * (eighths // 8) + BLOCKS[eighths % 8].strip()
    return Text(side, style=style), spell_price(price), spell_size(size), spell_size(total), Text(bar, style=style)


def _spread(ladder: Ladder) -> str:
    if not ladder.bids or not ladder.asks:
        return NOTHING
    return spell_price(ladder.asks[0][0] - ladder.bids[0][0])

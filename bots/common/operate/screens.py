"""What the commands show: tables, lists of facts and a curve, as plain text of at most 80 columns. Pure.

Nothing needs colour. Times are UTC; money has two decimals here, and all of them in JSON.
"""

from __future__ import annotations

import time
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH: Final = 80

HEIGHT: Final = 12
"""Lines of a curve."""

MAX_TEXT: Final = 4_000

ZERO: Final = Decimal(0)


def moment(at_ms: int) -> str:
    """Spell a time: ``2026-01-31 12:34:56``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_ms / 1000))


def ago(seconds: float) -> str:
    """Spell a time that has passed: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    for unit, name, most in ((1, "s", 120), (60, "min", 7_200), (3_600, "h", 172_800)):
        if seconds < most:
            return f"{max(0, int(seconds // unit))} {name}"
    return f"{int(seconds // 86_400)} d"


def money(value: Decimal | None, places: int = 2) -> str:
    """Round an amount to what people read; a dash stands for none."""
    if value is None:
        return "-"
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return f"{rounded or abs(rounded):,f}"


def exact(value: Decimal) -> str:
    """Spell all of an amount, without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Lay out names and what they are, long ones on several lines."""
    lines = []
    for name, words in rows:
        first, *more = wrapped(words, WIDTH - 18) or [""]
        lines += [f"{name:<18}{first}".rstrip(), *(f"{'':<18}{each}" for each in more)]
    return "\n".join(lines)


def sentence(text: str) -> str:
    """Lay out a sentence on as many lines as it needs."""
    return "\n".join(wrapped(text, WIDTH))


def wrapped(text: str, width: int) -> list[str]:
    """Break a text between words, or in a word that is too long."""
    lines = [""]
    for word in harmless(text, MAX_TEXT).split():
        rest = word
        if lines[-1] and len(lines[-1]) + 1 + len(rest) <= width:
            lines[-1] += f" {rest}"
            continue
        while rest:
            lines.append(rest[:width])
            rest = rest[width:]
    return [line for line in lines if line]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], stretch: int = 0) -> str:
    """Lay out rows under headings; one that starts with ``>`` has its column on the right.

    The column ``stretch`` is cut in its middle, as far as need be.
    """
    right = [heading.startswith(">") for heading in headings]
    cells = [[heading.lstrip(">") for heading in headings], *rows]
    cells = [[harmless(cell) for cell in row] for row in cells]
    widths = [max(len(row[number]) for row in cells) for number in range(len(headings))]
    room = WIDTH - sum(widths) + widths[stretch] - 2 * (len(widths) - 1)
    widths[stretch] = min(widths[stretch], max(room, 8))
    lines = []
    for row in cells:
        parts = [
            middle_cut(cell, width).rjust(width) if on_right else middle_cut(cell, width).ljust(width)
            for cell, width, on_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def middle_cut(text: str, room: int) -> str:
    """Cut a text in the middle: the start and the end of a market's name tell which it is."""
    clean = harmless(text, MAX_TEXT)
    if len(clean) <= room:
        return clean
    end = (room - 2) // 2
    return f"{clean[: room - 2 - end]}..{clean[len(clean) - end :]}"


def curve(sums: Sequence[Decimal], height: int = HEIGHT) -> str:
    """Draw how a sum went, step by step, filled from zero up and from zero down.

    Where a column stands for several steps it shows the lowest of them, so that no loss is hidden; the last column
    shows the last.
    """
    if not sums:
        return "(nothing has ended yet: no curve)"
    top, bottom = max(*sums, ZERO), min(*sums, ZERO)
    labels = [money(each) for each in (top, ZERO, bottom)]
    margin = max(map(len, labels))
    shown = _sampled(sums, WIDTH - margin - 2)
    up = min(height - (bottom < 0), max(top > 0, round(height * (top / ((top - bottom) or 1)))))
    down = height - up if bottom < 0 else 0
    # A cell has two halves; so much is one.
    half = max(top / (2 * up) if up else ZERO, -bottom / (2 * down) if down else ZERO) or Decimal(1)
    halves = [round(value / half) for value in shown]
    lines = [
        f"{labels[0] if row == up else '':>{margin}} |" + "".join(_filled(each, row, "▄") for each in halves)
        for row in range(up, 0, -1)
    ]
    lines.append(f"{labels[1]:>{margin}} +" + "-" * len(halves))
    lines += [
        f"{labels[2] if row == down else '':>{margin}} |" + "".join(_filled(-each, row, "▀") for each in halves)
        for row in range(1, down + 1)
    ]
    return "\n".join(line.rstrip() for line in lines)


def _filled(halves: int, row: int, half: str) -> str:
    """Return a cell, ``row`` cells from zero, of a column that is so many halves long."""
    return "█" if halves >= 2 * row else half if halves == 2 * row - 1 else " "


def _sampled(sums: Sequence[Decimal], width: int) -> list[Decimal]:
    """Return ``width`` values at most: each step several columns wide, or each column several steps."""
    count = len(sums)
    if count <= width:
        return [value for value in sums for _ in range(width // count)]
    edges = [number * count // width for number in range(width + 1)]
    return [*(min(sums[begin:end]) for begin, end in pairwise(edges[:-1])), sums[-1]]

"""The front page's picture of the fault matrix: ``python -m benchmarks.picture`` makes it anew from the page.

Its figures are those of ``docs/fault-matrix.md``, read from there; nothing is run. Colours and the absence of a
background are such that it can be read in dark and in light.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "fault-matrix.md"
PICTURE: Final = DOCS / "fault-matrix.svg"

OURS: Final = {"15 s": "polymirror", "0.25 s": "polymirror, 0.25 s"}
"""The column that asked for the age of a row: the other columns of ours asked for something else."""

WIDTH, NAME_WIDTH, LINE, BAR, FIGURE_WIDTH = 760, 190, 26, 16, 60
INK, OWN, OTHER = "#7a7f87", "#2f9e6e", "#d2603f"
"""Of one contrast to white and to black."""


class Row(NamedTuple):
    """One line of the picture: a program, its seconds, and what is said of them."""

    program: str
    seconds: float
    words: str

    @property
    def is_own(self) -> bool:
        """Whether it is polymirror's."""
        return self.program == "polymirror"


def read(page: str) -> dict[str, list[Row]]:
    """Return the lines, ours first, by the age that was asked for."""
    lines = page.partition("## In short\n")[2].partition("\n## ")[0].strip().splitlines()
    (_, *programs), _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    table = {title: dict(zip(programs, map(float, figures), strict=True)) for title, *figures in rows}
    shares = dict(re.findall(r"\n- (.+): unavailable for .* of all rows together, ([\d.]+) % of them\.", page))
    found = {}
    for age, own in OURS.items():
        wrong, refused = table[f"Wrong but readable, all levels, {age}"], table["Unavailable"][own]
        words = f"{wrong[own]:,.0f} s; instead it refused for {refused:,.0f} s, {shares[own]} % of the time"
        others = [name for name in programs if not name.startswith("polymirror")]
        found[age] = [
            Row("polymirror", wrong[own], words),
            *(Row(name, wrong[name], f"{wrong[name]:,.0f} s") for name in others),
        ]
    return found


def draw(page: str) -> str:
    """Return the picture, as SVG."""
    found = read(page)
    faults = re.findall(r"each of the (\d+) \[faults\]", page)[0]
    scale = (WIDTH - NAME_WIDTH - FIGURE_WIDTH) / max(row.seconds for rows in found.values() for row in rows)
    parts, y = [], 0
    for age, rows in found.items():
        y += LINE
        heading = f"Seconds in which a book could be read that was not true within the last {age}"
        parts.append(_text(0, y, heading, weight=600))
        for row in rows:
            y += LINE
            weight, length = 600 if row.is_own else 400, row.seconds * scale
            parts.append(_text(NAME_WIDTH - 10, y, row.program, anchor="end", weight=weight))
            parts.append(
                f'<rect x="{NAME_WIDTH}" y="{y - BAR + 3}" width="{length:.1f}" height="{BAR}" '
                f'fill="{OWN if row.is_own else OTHER}"/>'
            )
            parts.append(_text(NAME_WIDTH + length + 6, y, row.words, weight=weight))
        y += LINE // 2
    y += LINE
    parts.append(_text(0, y, f"Sums over {faults} faults, each in a run of its own; shorter is better."))
    title = "Seconds in which a book could be read although the venue had not had it: polymirror, and other programs"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="14">\n<title>{escape(title)}</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: int = 400) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{INK}">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

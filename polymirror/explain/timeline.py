"""The time line of an incident: what a person should see, in order, with what repeats put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from polymirror.explain.statements import Verdict
from polymirror.harmless import harmless
from polymirror.journal.format import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from polymirror.explain.findings import Finding
    from polymirror.explain.reading import Reading
    from polymirror.explain.statements import Statement
    from polymirror.journal.format import Moved

MAX_ROWS: Final = 80

BEFORE_SECONDS: Final = 5.0
"""What agreed longer before is told once."""

TONES: Final = {True: "good", False: "bad", None: "plain"}

SAID: Final = {
    ("hash", True): "a hash fits the whole book",
    ("hash", False): "a hash does not fit the book",
    ("top", True): "the stated best prices are those of the book",
    ("mirror", True): "the two tokens are mirror images",
    ("top", False): "the stated best prices differ",
    ("mirror", False): "the two tokens are no mirror images",
    ("crossed", False): "the book is crossed",
    ("rest", True): "REST shows the same book",
    ("rest", False): "REST shows another book",
    ("book", True): "the stream sends the same book",
    ("book", False): "the stream sends another book",
    ("rest", None): "REST sends a book",
    ("book", None): "the stream sends a whole book",
}

REPEATED: Final = frozenset({"hash", "top", "mirror", "crossed", "late"})
"""Witnesses that speak with each change: what they say in a row is told once, with how often."""

HAPPENED: Final = {
    "unreadable": "a frame that cannot be read", "late": "a change comes too late", "stamp": "a stamp that is not true",
    "grid": "a new price grid", "end": "the market's end is announced", "closed": "the connection ends",
    "opened": "a connection opens", "unreachable": "no connection", "overflow": "frames are dropped",
    "sleep": "the program slept", "gap": "something is missing here", "no answer": "REST does not answer",
    "time": "the venue's clock is off",
}  # fmt: skip


@frozen
class TimelineRow:
    """One thing that happened."""

    at: float
    """Seconds from the loss of trust."""
    line: int
    tone: str
    """``good``, ``bad``, ``plain`` or ``state``."""
    book: str
    """The name of the token; empty: both."""
    text: str
    mark: str = ""
    """``last right``, ``first wrong`` or empty."""
    times: int = 1
    """So often in a row."""


@frozen
class Band:
    """A stretch of time in which a book was in one state, in seconds from the loss of trust."""

    book: str
    begin: float
    end: float
    state: str


def bands(reading: Reading, began: float, names: Mapping[str, str]) -> list[Band]:
    """Return the states of each book from the first line to the last, as far as they are known."""
    first, last = reading.first_at - began, reading.last_at - began
    found: list[Band] = []
    for token, name in names.items():
        moves = [(seconds_of(move.t) - began, move) for _, move in reading.moves if move.token == token]
        at, state = first, moves[0][1].old if moves else "LIVE"
        for then, move in moves:
            if then > at:
                found.append(Band(name, at, then, state))
            at, state = then, move.new
        found.append(Band(name, at, last, state))
    return found


def timeline(reading: Reading, finding: Finding, began: float, names: Mapping[str, str]) -> list[TimelineRow]:
    """Return the rows in order: 80 at most, the last ones left out."""
    marks: dict[int, str] = {}
    for statement, mark in ((finding.last_right, "last right"), (finding.first_wrong, "first wrong")):
        if statement is not None:
            marks[id(statement)] = mark
    rows = sorted(
        [*_said(reading, marks, began, names), *_moved(reading, began, names)], key=lambda row: (row.line, row.at)
    )
    return _joined(rows)[:MAX_ROWS]


def _said(reading: Reading, marks: Mapping[int, str], began: float, names: Mapping[str, str]) -> list[TimelineRow]:
    """Return what was said. What a witness says again of the same book counts in the row in which it said so first."""
    rows: list[TimelineRow] = []
    runs: dict[tuple[str, str], tuple[bool | None, int]] = {}
    for each in reading.statements:
        text, key, mark = _sentence(each), (each.witness, each.token), marks.get(id(each), "")
        if each.agrees and not mark and began - BEFORE_SECONDS > each.at:
            # That all was well long before is told by nothing being told.
            runs.pop(key, None)
            continue
        same = runs.get(key)
        if same is not None and same[0] is each.agrees and not mark and each.witness in REPEATED:
            rows[same[1]] = evolve(rows[same[1]], times=rows[same[1]].times + 1)
            continue
        if text and each.witness in REPEATED:
            runs[key] = (each.agrees, len(rows))
        if text or mark:
            shown = (text or "a change") + _more(each)
            book = names.get(each.token, "")
            rows.append(TimelineRow(each.at - began, each.n, TONES[each.agrees], book, shown, mark))
    return rows


def _sentence(each: Statement) -> str:
    if each.witness == "time" and each.agrees:
        return ""
    return HAPPENED.get(each.witness) or SAID.get((each.witness, each.agrees), "")


def _more(each: Statement) -> str:
    found = len(each.differences)
    notes = [
        f"{found} level{'s' if found != 1 else ''}" if found else "",
        {Verdict.STATEMENT_WRONG: "it was wrong", Verdict.OURS_WRONG: "ours was wrong"}.get(each.verdict, ""),
        harmless(each.detail, 120),
    ]
    said = "; ".join(note for note in notes if note)
    return f": {said}" if said else ""


def _moved(reading: Reading, began: float, names: Mapping[str, str]) -> Iterator[TimelineRow]:
    for n, move in reading.moves:
        at = seconds_of(move.t) - began
        if at >= -BEFORE_SECONDS:
            yield TimelineRow(at, n, "state", names.get(move.token, ""), _move(move))


def _move(move: Moved) -> str:
    detail = f" ({harmless(move.detail, 100)})" if move.detail else ""
    age = "" if move.proof_age is None else f", proven {move.proof_age:.2f} s before"
    refused = f", {move.refused} read{'s' if move.refused > 1 else ''} refused so far" if move.refused else ""
    return f"{move.old} -> {move.new}: {move.reason}{detail}{age}{refused}"


def _joined(rows: list[TimelineRow]) -> list[TimelineRow]:
    """Put together what is said of both books by one line, and what only happened in a row."""
    found: list[TimelineRow] = []
    for row in rows:
        last = found[-1] if found else None
        if last is None or last.text != row.text or row.mark or last.mark or row.tone == "state":
            found.append(row)
        elif last.book != row.book and last.line == row.line:
            found[-1] = evolve(last, book="", times=max(last.times, row.times))
        elif last.book == row.book:
            found[-1] = evolve(last, times=last.times + row.times)
        else:
            found.append(row)
    return found

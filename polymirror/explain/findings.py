"""What follows from what the witnesses said: which message was the first wrong one, and which the last right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from polymirror.explain.statements import Verdict
from polymirror.journal.format import seconds_of

if TYPE_CHECKING:
    from polymirror.explain.reading import Reading
    from polymirror.explain.statements import Statement
    from polymirror.journal.format import Moved

STREAM: Final = frozenset({"change", "book"})

WHOLE: Final = frozenset({"book", "rest"})

COMPARED: Final = frozenset({"hash", "top", "mirror", "crossed", "book", "rest"})
"""Witnesses that a wrong book contradicts."""

BY_REASON: Final = {
    "DECODE_ERROR": "unreadable",
    "APPLY_LAG": "late",
    "OVERFLOW": "overflow",
    "CLOCK_STEP": "stamp",
    "TICK_SIZE_CHANGE": "grid",
}
"""Reasons that name their witness."""

KINDS: Final = {
    "unreadable": "unreadable", "late": "late", "change": "late", "time": "clock", "sleep": "sleep",
    "overflow": "overflow", "stamp": "stamp", "grid": "grid",
}  # fmt: skip
"""What went wrong, by the witness of what only happened."""

GRACE_SECONDS: Final = 2.0
"""A hash that fitted late may be the reason for a doubt within so long."""

QUIET_SECONDS: Final = 3.0
"""A stream that brought nothing about a book for so long, while REST shows another one, fell silent."""

CONFIRM_SECONDS: Final = 5.0


@define
class Finding:
    """What went wrong."""

    kind: str
    """``loss``, ``silence``, ``wrong hash``, ``wrong statement``, ``late hash``, ``unreadable``, ``late``, ``clock``,
    ``stamp``, ``grid``, ``overflow``, ``sleep``, ``stale`` or ``unknown``."""
    first_wrong: Statement | None = None
    """The first that disagreed, or could not be used."""
    last_right: Statement | None = None
    """The last full proof before it."""
    last_heard: Statement | None = None
    """The last message of the stream about the book before it."""
    evidence: Statement | None = None
    """The whole book that showed which levels were wrong,"""
    confirmed: Statement | None = None
    """or the next one that showed that none was."""


@frozen
class Healed:
    """How one book came back."""

    token: str
    at: float
    seconds: float
    """Since it left LIVE."""
    by: Statement | None


def find(reading: Reading) -> Finding:
    """Return what went wrong with the book that lost trust first."""
    incident = reading.incident
    began = seconds_of(incident.t)
    moves = [n for n, m in reading.moves if m.old == "LIVE" and m.token == incident.token and seconds_of(m.t) >= began]
    number = moves[0] if moves else float("inf")
    mine = [each for each in reading.statements if each.token in {"", incident.token}]
    before = [each for each in mine if each.n <= number and each.at <= began]
    first = _named(before, incident.reason)
    if first is not None:
        return _finding(KINDS[first.witness], first, before, mine)
    first = _first_unhealed(before)
    if first is not None:
        return _classified(first, before, mine)
    first = _late_hash(before, began)
    kind = "stale" if incident.reason == "STALE" else "unknown" if first is None else "late hash"
    return _finding(kind, None if kind == "stale" else first, before, mine)


def _late_hash(before: list[Statement], began: float) -> Statement | None:
    """Return the newest hash that fitted, but not at once: perhaps too late for the mirror."""
    fitted = [each for each in before if each.witness == "hash" and each.agrees and each.detail]
    forms = [each for each in fitted if "form" in each.detail]
    recent = [each for each in fitted if began - each.at <= GRACE_SECONDS]
    return next(reversed(forms or recent), None)


def _named(before: list[Statement], reason: str) -> Statement | None:
    """Return what a reason names: the newest such, and of late messages the first of their unbroken row."""
    witness = BY_REASON.get(reason)
    found: Statement | None = None
    for each in reversed(before):
        if each.witness == witness:
            found = each
            if witness != "late":
                return found
        elif found is not None and each.witness == "change" and each.n < found.n:
            return found
    if found is None and reason == "APPLY_LAG":
        # By the mirror's clock they were late, and by the stamps alone they were not: then the clock is wrong.
        clock = [each for each in before if each.witness in {"time", "sleep"} and each.agrees is False]
        changes = [each for each in before if each.witness == "change"]
        return clock[0] if clock else changes[-1] if changes else None
    return found


def _first_unhealed(before: list[Statement]) -> Statement | None:
    """Return the first disagreement that no full agreement followed."""
    proven = max((each.n for each in before if each.agrees and each.full), default=-1)
    wrong = [each for each in before if each.agrees is False and each.n > proven]
    compared = [each for each in wrong if each.witness in COMPARED]
    return next(iter(compared or wrong), None)


def _finding(kind: str, first: Statement | None, before: list[Statement], mine: list[Statement]) -> Finding:
    number = float("inf") if first is None else first.n
    right = [each for each in before if each.agrees and each.full and each.n < number]
    heard = [each for each in before if each.witness in STREAM and each.n < number]
    since = right[-1].n if right else -1
    whole = [each for each in mine if each.witness in WHOLE and each.n > since]
    evidence = next((each for each in whole if each.differences), None)
    confirmed = next((each for each in whole if each.n >= number and each.agrees), None)
    return Finding(kind, first, right[-1] if right else None, heard[-1] if heard else None, evidence, confirmed)


def _classified(first: Statement, before: list[Statement], mine: list[Statement]) -> Finding:
    found = _finding("loss", first, before, mine)
    if first.witness in KINDS:
        found.kind = KINDS[first.witness]
    elif first.witness in WHOLE and first.verdict in {Verdict.STATEMENT_WRONG, Verdict.OLD}:
        found.kind = "wrong statement"
    elif first.witness in {"hash", "top"} and _was_right(first, mine):
        found.kind = "wrong hash" if first.witness == "hash" else "wrong statement"
    elif (first.witness == "rest" and _was_silent(found)) or (first.witness == "mirror" and first.detail):
        found.kind = "silence"
    return found


def _was_right(first: Statement, mine: list[Statement]) -> bool:
    """Whether the next whole book after a disagreement had the levels of ours."""
    after = [each for each in mine if each.n > first.n and each.agrees is not None and each.witness in WHOLE]
    return bool(after) and after[0].agrees is True


def _was_silent(found: Finding) -> bool:
    heard, first = found.last_heard, found.first_wrong
    return first is not None and (heard is None or first.at - heard.at >= QUIET_SECONDS)


def healing(reading: Reading) -> list[Healed]:
    """Return how each book that left LIVE came back, in order."""
    left: dict[str, float] = {}
    found: list[Healed] = []
    since = seconds_of(reading.incident.t)
    for n, move in reading.moves:
        at = seconds_of(move.t)
        if at < since:
            continue
        if move.old == "LIVE":
            left.setdefault(move.token, at)
        elif move.new == "LIVE" and move.token in left:
            found.append(Healed(move.token, at, at - left.pop(move.token), _healer(reading, move, n)))
    return found


def _healer(reading: Reading, move: Moved, n: int) -> Statement | None:
    """Return the newest statement at full depth before a book was LIVE again."""
    at = seconds_of(move.t)
    said = [
        each for each in reading.statements
        if each.token == move.token and each.full and each.n <= n and at - each.at <= CONFIRM_SECONDS
        and (each.agrees or each.verdict in {Verdict.BEGINS, Verdict.OURS_WRONG} or each.witness in WHOLE)
    ]  # fmt: skip
    return said[-1] if said else None

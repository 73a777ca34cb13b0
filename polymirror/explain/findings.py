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

STAMP_SECONDS: Final = 5.0
"""A stamp that was never true may be the reason for a doubt within so long."""

GRACE_SECONDS: Final = 2.0
"""A hash that fitted late may be the reason for a doubt within so long."""

QUIET_SECONDS: Final = 3.0
"""A stream that brought nothing about a book for so long, while REST shows another one, fell silent."""

CONFIRM_SECONDS: Final = 5.0


@define
class Finding:
    """What went wrong."""

    kind: str
    """``loss``, ``passing``, ``silence``, ``wrong hash``, ``wrong statement``, ``late hash``, ``unreadable``, ``late``,
    ``clock``, ``stamp``, ``grid``, ``overflow``, ``sleep``, ``stale`` or ``unknown``."""
    token: str = ""
    """Whose book it is about."""
    first_wrong: Statement | None = None
    """The first that disagreed, or could not be used."""
    last_right: Statement | None = None
    """The last full proof before it."""
    last_heard: Statement | None = None
    """The last message of the same connection about the book before it."""
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
    """Return what went wrong: with the book that lost trust first, or with its twin if that one fell silent alone."""
    incident = reading.incident
    began = seconds_of(incident.t)
    moves = [n for n, m in reading.moves if m.old == "LIVE" and m.token == incident.token and seconds_of(m.t) >= began]
    number = moves[0] if moves else float("inf")
    early = [each for each in reading.statements if each.n <= number and each.at <= began]
    subject = incident.token
    before = _about(early, subject)
    first = _named(before, incident.reason) or _first_unhealed(before)
    if first is not None and first.witness == "mirror":
        alone = [each for each in early if each.witness == "mirror" and each.n == first.n and each.detail]
        if alone:
            first, subject = alone[0], alone[0].token
            before = _about(early, subject)
    mine = _about(reading.statements, subject)
    if first is not None:
        found = _classified(first, before, mine)
    else:
        first = _recent(early, before, began)
        kind = "unknown" if first is None else KINDS.get(first.witness, "late hash")
        kind = "stale" if incident.reason == "STALE" else kind
        found = _finding(kind, None if kind == "stale" else first, before, mine)
        if kind == "unknown" and found.evidence is not None:
            found.kind, found.first_wrong = "loss", found.evidence
    found.token = subject
    return found


def _about(statements: list[Statement], token: str) -> list[Statement]:
    return [each for each in statements if each.token in {"", token}]


def _recent(early: list[Statement], before: list[Statement], began: float) -> Statement | None:
    """Return what contradicted nothing, and may be the reason all the same: the newest of it.

    That is a stamp that was never true, or a hash that fitted, but not at once: perhaps too late for the mirror. It
    covers both tokens when it is the form of the hash that changed.
    """
    stamps = [each for each in before if each.witness == "stamp" and began - each.at <= STAMP_SECONDS]
    forms = [each for each in early if each.witness == "hash" and each.agrees and "form" in each.detail]
    fitted = [each for each in before if each.witness == "hash" and each.agrees and each.detail]
    recent = [each for each in fitted if began - each.at <= GRACE_SECONDS]
    return next(reversed(stamps or forms or recent), None)


def _named(before: list[Statement], reason: str) -> Statement | None:
    """Return what a reason names: the newest such, and of late messages the first of their unbroken row."""
    if reason == "APPLY_LAG":
        return _first_late(before)
    found = [each for each in before if each.witness == BY_REASON.get(reason)]
    return found[-1] if found else None


def _first_late(before: list[Statement]) -> Statement | None:
    late = {each.n: each for each in before if each.witness == "late"}
    changes = list(dict.fromkeys(each.n for each in before if each.witness == "change"))
    row: list[int] = []
    for n in reversed(changes):
        if n not in late:
            break
        row.append(n)
    if row:
        return late[row[-1]]
    # By the mirror's clock they were late, and by the stamps alone they were not: then the clock is wrong, or it is
    # a matter of milliseconds.
    clock = [each for each in before if each.witness in {"time", "sleep"} and each.agrees is False]
    newest = [each for each in before if each.witness == "change"]
    return clock[0] if clock else newest[-1] if newest else None


def _proves(each: Statement) -> bool:
    return bool(each.agrees) and each.full and not _was_overtaken(each)


def _was_overtaken(each: Statement) -> bool:
    """Whether a hash fits by now, and contradicted the book as long as an overtaken change was not there."""
    return "overtaken" in each.detail


def _first_unhealed(before: list[Statement]) -> Statement | None:
    """Return the first disagreement that no full agreement followed."""
    proven = max((each.n for each in before if _proves(each)), default=-1)
    # Of one millisecond, a hash is that of its end, whichever message of it brought it.
    ends = {each.at_ms for each in before if _proves(each) and each.witness == "hash"}
    batched = {"mirror", "top", "crossed"}
    against = [each for each in before if each.n > proven and (each.agrees is False or _was_overtaken(each))]
    wrong = [each for each in against if each.witness not in batched or each.at_ms not in ends]
    compared = [each for each in wrong if each.witness in COMPARED]
    first = next(iter(compared or wrong), None)
    # A message whose time was never true explains what else is wrong with it.
    return next((each for each in wrong if first is not None and each.witness == "stamp" and each.n == first.n), first)


def _finding(kind: str, first: Statement | None, before: list[Statement], mine: list[Statement]) -> Finding:
    number = float("inf") if first is None else first.n
    right = [each for each in before if _proves(each) and each.n < number]
    closed = max((each.n for each in before if each.witness == "closed" and each.n < number), default=-1)
    heard = [each for each in before if each.witness in STREAM and closed < each.n < number]
    since = right[-1].n if right else -1
    whole = [each for each in mine if each.witness in WHOLE and each.n > since]
    evidence = next((each for each in whole if each.differences), None)
    confirmed = next((each for each in whole if each.n >= number and each.agrees), None)
    return Finding(kind, "", first, right[-1] if right else None, heard[-1] if heard else None, evidence, confirmed)


def _classified(first: Statement, before: list[Statement], mine: list[Statement]) -> Finding:
    found = _finding("loss", first, before, mine)
    if first.witness in KINDS:
        found.kind = KINDS[first.witness]
    elif first.agrees:
        found.kind = "late hash"
    elif first.witness in WHOLE and first.verdict in {Verdict.STATEMENT_WRONG, Verdict.OLD}:
        found.kind = "wrong statement"
    elif first.witness == "hash" and _was_right(first, mine):
        found.kind = "wrong hash"
    elif first.witness in {"hash", "top", "crossed"} and found.evidence is None and found.confirmed is not None:
        found.kind = "passing"
    elif (first.witness == "rest" and _was_silent(found)) or (first.witness == "mirror" and first.detail):
        found.kind = "silence"
    return found


def _was_right(first: Statement, mine: list[Statement]) -> bool:
    """Whether a whole book had the levels of ours while hashes did not fit."""
    after = [each for each in mine if each.n > first.n and each.full and each.agrees is not None]
    told = [each for each in after if each.agrees or each.witness in WHOLE]
    return bool(told) and told[0].witness in WHOLE and told[0].agrees is True


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

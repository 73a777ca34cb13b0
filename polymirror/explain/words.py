"""An explanation in words: what a person reads first, and everything that a page or a program shows of it.

Nothing here decides anything; :mod:`polymirror.explain.findings` has.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from polymirror.errors import DecodeError
from polymirror.explain.contradiction import explain_contradiction
from polymirror.explain.explanation import Explanation, LevelRow
from polymirror.explain.findings import find, healing
from polymirror.explain.reading import Reading
from polymirror.explain.timeline import bands, timeline
from polymirror.explain.wire import Change, Note, Odd, Whole, read
from polymirror.harmless import harmless
from polymirror.journal.format import Header, Incident, Lost, Relayed, Stated, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.explain.books import Book, Side
    from polymirror.explain.findings import Finding, Healed
    from polymirror.explain.statements import Statement
    from polymirror.journal.format import Line, Shown

HEADLINES: Final = {
    "loss": "Something that the venue sent did not arrive, or arrived altered: the book went wrong.",
    "passing": "Something did not fit for a moment: a change was lost and then overwritten, or a statement was wrong.",
    "silence": "The stream fell silent about this book while the venue's book went on.",
    "wrong hash": "The book was right. The hashes that came with its changes were those of no book that it could be.",
    "wrong statement": "The book was right. What contradicted it was wrong or out of date.",
    "late hash": "The book was right. A hash fitted it only when more was known than at its arrival.",
    "unreadable": "Something arrived that cannot be read, and that may have been a change of this book.",
    "late": "The venue's changes arrived so late that what the book shows was already the past.",
    "clock": "The venue's clock and the stamps of its messages disagree: their age cannot be told.",
    "stamp": "A message carries a time that was never true.",
    "grid": "The market's price grid changed, and the book had to be proven on the new one.",
    "overflow": "Frames came faster than this program took them, and some were dropped.",
    "sleep": "This machine or program stood still, and what came meanwhile was already the past.",
    "stale": "Nothing was seen to be wrong: there was no proof for too long.",
    "unknown": "What this bundle has does not show what was wrong.",
}
"""What went wrong in one sentence, by the kind of the finding."""

SHOWN_LEVELS: Final = 12
"""Levels that differ and are printed; a page shows all."""

ENDINGS: Final = {
    "time": "The bundle ends while the market had not settled down: it is followed for a limited time.",
    "size": "The bundle ends early: it reached its limit of bytes.",
    "removed": "The bundle ends because the market was taken off the mirror.",
    "stopped": "The bundle ends because the mirror was stopped.",
}
"""Why a bundle ends before all books were LIVE again."""


def explain(lines: Iterable[Line]) -> Explanation:
    """Explain the lines of a bundle. Raises DecodeError for those of something else."""
    kept = list(lines)
    header = next((line for line in kept if isinstance(line, Header)), None)
    incident = next((line for line in kept if isinstance(line, Incident)), None)
    if header is None or incident is None:
        raise DecodeError("a bundle", "it is a journal, but no bundle of an incident")
    stated = [line for line in kept if isinstance(line, Stated)]
    if stated:
        return explain_contradiction(header, incident, stated, [line for line in kept if isinstance(line, Relayed)])
    reading = Reading(header, incident)
    reading.run(kept)
    finding, healed = find(reading), healing(reading)
    teller = _Teller(reading, incident)
    words = [*teller.words(finding, healed), *_torn(incident, kept)]
    shown = {each.token: each for each in incident.after}
    return Explanation(
        teller.name, incident.reason, finding.kind, finding.token, teller.clock(teller.began), tuple(words),
        _levels(finding, shown.get(finding.token)), tuple(timeline(reading, finding, teller.began, teller.short)),
        tuple(bands(reading, teller.began, teller.short)),
        teller.text(_last(finding)), teller.text(finding.first_wrong), _ladders(finding, incident),
        {
            "market": incident.market, "tokens": dict(zip(incident.tokens, incident.names, strict=True)),
            "token": incident.token, "detail": incident.detail, "refused_reads": incident.refused,
            "skipped_incidents": incident.skipped, "ending": incident.ending, "polymirror": header.polymirror,
            "python": header.python, "seed": header.seed, "session": header.session, "engine": header.engine,
        },
    )  # fmt: skip


def _torn(incident: Incident, kept: Iterable[Line]) -> list[str]:
    """Return a sentence if the end of a bundle is not there."""
    missing = incident.last - max(line.n for line in kept if not isinstance(line, Lost))
    if missing <= 0:
        return []
    return [f"The file is cut or damaged: its last {missing:,} lines are missing, and what they would have said."]


def _last(finding: Finding) -> Statement | None:
    """Return what is named as the last message before it went wrong: of the stream, if there is one."""
    return finding.last_heard or finding.last_right


class _Teller:
    """Words for one bundle. Moments are told by their distance from the loss of trust."""

    def __init__(self, reading: Reading, incident: Incident) -> None:
        self._reading = reading
        self._incident = incident
        self.names = dict(zip(incident.tokens, (harmless(each, 80) for each in incident.names), strict=True))
        # Without what both have in common.
        alone = {token: name.rpartition(" ")[2] for token, name in self.names.items()}
        self.short: dict[str, str] = alone if len(set(alone.values())) == len(alone) else self.names
        self.name = self.names.get(incident.token, incident.token[:12])
        self.began = seconds_of(incident.t)
        self._wall = incident.w / 1e9

    def clock(self, at: float) -> str:
        """Return a time of day, UTC, to the millisecond."""
        then = datetime.fromtimestamp(self._wall + at - self.began, UTC)
        return f"{then:%Y-%m-%d %H:%M:%S}.{then.microsecond // 1000:03d} UTC"

    def text(self, said: Statement | None) -> str | None:
        """Return the text of the frame of a statement; None: it came in none."""
        return None if said is None else self._reading.texts.get(said.n)

    def words(self, finding: Finding, healed: list[Healed]) -> list[str]:
        """Return the sentences that a person reads first."""
        incident = self._incident
        detail = f" ({harmless(incident.detail)})" if incident.detail else ""
        said = [
            f"{self.name} lost trust at {self.clock(self.began)}: {incident.reason}{detail}.",
            HEADLINES[finding.kind],
            *self._whose(finding),
            *self._right(finding),
            *self._wrong(finding),
            *self._evidence(finding),
            self._healed(healed),
        ]
        if incident.ending in ENDINGS:
            said.append(ENDINGS[incident.ending])
        return said

    def _whose(self, finding: Finding) -> list[str]:
        if finding.token == self._incident.token:
            return []
        return [f"The book that went wrong is that of its twin, {self.short.get(finding.token, finding.token[:12])}."]

    def _right(self, finding: Finding) -> list[str]:
        right, heard = finding.last_right, finding.last_heard
        said: list[str] = []
        if right is None:
            said.append("Last right: nothing in this bundle proves the book before.")
        else:
            how = {"hash": "its hash was that of the whole book", "rest": "REST showed the same book",
                   "book": "the stream sent the same book"}[right.witness]  # fmt: skip
            said.append(f"Last right: {self._message(right)}: {how}.")
        if finding.kind in {"silence", "stale"} and heard is None:
            said.append("Nothing was heard of it on the stream since the connection was opened.")
        elif finding.kind in {"silence", "stale"} and heard is not None:
            end = finding.first_wrong.at if finding.first_wrong is not None else self.began
            said.append(
                f"Last heard of it on the stream: {self._message(heard)}; then nothing for {end - heard.at:.1f} s."
            )
        return said

    def _wrong(self, finding: Finding) -> list[str]:
        first = finding.first_wrong
        if first is None:
            return self._unanswered(-1 if finding.last_right is None else finding.last_right.n)
        what = {
            "hash": "the hash that it states is not that of the book after it",
            "top": first.detail,
            "crossed": f"the book is crossed after it: {first.detail}",
            "mirror": "after it the books of the two tokens are not mirror images" + _also(first.detail),
            "rest": "it shows another book" + _also(first.detail),
            "book": "it shows another book" + _also(first.detail),
            "stamp": f"its time is {first.detail}",
            "change": "it was too late by the mirror's own clock",
            "time": f"it is {first.detail}",
            "grid": f"the new grid is {first.detail}",
        }.get(first.witness, first.detail)
        if finding.kind == "late hash":
            what = f"its hash fitted {first.detail}"
        word = {"late hash": "Doubted", "late": "First too late"}.get(finding.kind, "First wrong")
        word = "Cause" if finding.kind in {"grid", "sleep", "overflow", "clock"} else word
        said = [f"{word}: {self._message(first)}: {harmless(what)}."]
        if (
            finding.kind == "loss"
            and finding.last_right is not None
            and first.witness in {"hash", "mirror", "top", "crossed"}
        ):
            said.append("What is missing came after the first of them, no later than the millisecond of the second.")
        return said

    def _unanswered(self, since: int) -> list[str]:
        """Say what REST answered when there was nothing else."""
        failed = [
            each for each in self._reading.statements
            if each.witness in {"no answer", "unreachable", "closed"} and each.n > since and each.at <= self.began
        ]  # fmt: skip
        if not failed:
            return []
        last = failed[-1]
        return [
            f"Asked meanwhile: {self._message(last)}: {harmless(last.detail or 'nothing came')} ({len(failed)} times)."
        ]

    def _evidence(self, finding: Finding) -> list[str]:
        shown, same = finding.evidence, finding.confirmed
        if finding.kind in {"wrong hash", "late hash", "passing"}:
            when = "Right again" if finding.kind == "passing" else "Right all the time"
            return [] if same is None else [f"{when}: {self._message(same)} has the levels of our book."]
        if shown is None:
            return []
        found = shown.differences
        first = found[0]
        side = "bid" if first.is_bid else "ask"
        example = f"{side} {first.price}: {first.ours or 'none'} in our book, {first.theirs or 'none'} there"
        many = f"{len(found)} levels" if len(found) > 1 else "one level"
        wrong = (
            " That one was wrong itself." if finding.kind == "wrong statement" and shown is finding.first_wrong else ""
        )
        return [f"Compared with {self._message(shown)}, {many} differed, such as {example}.{wrong}"]

    def _healed(self, healed: list[Healed]) -> str:
        if not healed:
            return "It was not LIVE again within this bundle."
        firsts: dict[str, Healed] = {}
        for each in healed:
            firsts.setdefault(each.token, each)
        parts = []
        for each in firsts.values():
            by = "" if each.by is None else f" by {self._source(each.by)}"
            parts.append(f"{self.short.get(each.token, each.token[:12])} after {each.seconds:.2f} s{by}")
        again = len(healed) - len(firsts)
        more = f"; trust was lost {again} more time{'s' if again > 1 else ''} before it lasted" if again else ""
        refused = self._incident.refused
        reads = f" {refused} read{'s were' if refused != 1 else ' was'} refused meanwhile." if refused else ""
        return f"Healed: {', '.join(parts)}{more}.{reads}"

    @staticmethod
    def _source(by: Statement) -> str:
        return {"rest": "a book from REST", "book": "a whole book of the stream"}.get(
            by.witness, "the hash of a change"
        )

    def _message(self, said: Statement) -> str:
        """Name a message: what it is, when it came, and what it says."""
        return f"{self._kind(said)} at {self.moment(said.at)} (line {said.n}{self._content(said)})"

    def moment(self, at: float) -> str:
        """Return a moment as seconds from the loss of trust."""
        return f"{at - self.began:+.3f} s"

    @staticmethod
    def _kind(said: Statement) -> str:
        return {
            "rest": "the REST answer", "book": "the whole book of the stream", "no answer": "the question to REST",
            "time": "the answer of the venue's clock", "closed": "the connection's end", "sleep": "the pause",
            "unreadable": "the frame", "overflow": "the overflow", "grid": "the announcement",
            "unreachable": "the attempt to connect",
        }.get(said.witness, "the message")  # fmt: skip

    def _content(self, said: Statement) -> str:
        text = self.text(said)
        if text is None or said.witness == "unreadable":
            return ""
        for message in read(text):
            if isinstance(message, Change):
                entries = [each for each in message.entries if said.token in {"", each.token}] or message.entries
                named = ", ".join(f"{'BUY' if e.is_bid else 'SELL'} {e.price} -> {e.size}" for e in entries[:2])
                return f": {harmless(named, 60)}, venue time {message.at_ms}"
            if isinstance(message, Whole) and message.token == said.token:
                return f": venue time {message.at_ms}"
            if isinstance(message, (Note, Odd)):
                return ""
        return ""


def _also(detail: str) -> str:
    return f": {detail}" if detail else ""


# ---- Levels ----------------------------------------------------------------------------------------


def _levels(finding: Finding, after: Shown | None) -> tuple[LevelRow, ...]:
    """Return the levels that differ: before, in the evidence, and after."""
    if finding.evidence is None or finding.kind in {"wrong hash", "late hash"}:
        return ()
    later = {(side, Decimal(p)): s for side, levels in (("bid", after.bids), ("ask", after.asks)) for p, s in levels} \
        if after is not None else {}  # fmt: skip
    rows = []
    for each in finding.evidence.differences:
        side = "bid" if each.is_bid else "ask"
        rows.append(LevelRow(side, str(each.price), each.ours, each.theirs, later.get((side, each.price))))
    return tuple(rows)


def _ladders(finding: Finding, incident: Incident) -> tuple[tuple[str, Any], ...]:
    shown = finding.evidence
    if shown is not None and shown.ours is not None and shown.theirs is not None:
        there = "REST" if shown.witness == "rest" else "the stream's whole book"
        return (("our book", _plain(shown.ours)), (f"{there}, same moment", _plain(shown.theirs)))
    pairs = [
        (title, {"bids": each.bids, "asks": each.asks})
        for title, books in (("proven before", incident.before), ("proven after", incident.after))
        for each in books if each.token == finding.token
    ]  # fmt: skip
    return tuple(pairs)


def _plain(book: Book) -> dict[str, Any]:
    def side(levels: Side, *, high: bool) -> list[tuple[str, str]]:
        return [(str(price), levels[price][1]) for price in sorted(levels, reverse=high)]

    return {"bids": side(book.bids, high=True), "asks": side(book.asks, high=False)}

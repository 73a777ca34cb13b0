"""Writes ``docs/conformance.md`` from a replay of the recordings: ``python -m tests.conformance.report``.

Every figure on the page comes from the run. A test compares the committed page with a fresh one, so the page
cannot say what the code does not do.
"""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define

from tests.conformance.classes import Audit, Auditor, Class
from tests.conformance.recordings import Kind, Played, Recording, play, recordings, total

if TYPE_CHECKING:
    from collections.abc import Iterable

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "conformance.md"
CORPUS = REPOSITORY.parent / "shared" / "corpus"

RATIONED = "the book after the change, with a trade price that the mirror did not look for"
"""Everything is searched only where nothing newer was proven within 50 ms."""

PROVABLE = frozenset({Class.AT_ONCE, Class.ANNOUNCED_LATER, Class.NEVER_ANNOUNCED})


@define
class Replayed:
    """A recording, played through the mirror and, independently, by the plain rule."""

    recording: Recording
    played: list[Played]
    audit: Audit
    summary: dict[str, Any]
    connections: int

    @property
    def rest(self) -> Counter[str]:
        """Verdicts on the books from REST."""
        return sum((part.rest for part in self.played), Counter[str]())

    @property
    def mismatches(self) -> Counter[str]:
        """The mirror's hash mismatches, by what the plain rule found them to be."""
        found: Counter[str] = Counter()
        for part in self.played:
            for miss in part.missed:
                kind = self.audit.of.get(miss)
                if kind in PROVABLE:
                    found[RATIONED] += 1
                else:
                    found[Class.UNEXPLAINED.value if kind is None else kind.value] += 1
        return found

    @property
    def longest_doubt_ms(self) -> int:
        """The longest time in ms for which a LIVE book's newest batches stayed unproven."""
        return max(part.longest_doubt_ms for part in self.played)


def replay(recording: Recording) -> Replayed:
    played, audit, connections = [], Audit(), 0
    for part in recording.parts():
        played.append(play(part))
        audit.add(Auditor().play(part))
        connections += sum(step.kind is Kind.CONNECTION for step in part)
    return Replayed(recording, played, audit, total(each.summary() for each in played), connections)


def replay_all(corpus: Path) -> dict[str, Replayed]:
    return {recording.name: replay(recording) for recording in recordings(corpus)}


# ---- The page --------------------------------------------------------------------------------------


def render(everything: Iterable[Replayed]) -> str:
    found = list(everything)
    return (
        "\n".join(
            [
                HEAD,
                at_a_glance(found),
                *map(section, found),
                HOW,
                table(["the hash is of", "why that happens", "what the mirror does"], READING),
                TAIL,
            ]
        ).rstrip()
        + "\n"
    )


def at_a_glance(found: list[Replayed]) -> str:
    head = [
        "recording",
        "hash proven",
        "top agrees",
        "complement agrees",
        "re-sent books equal",
        "books that left LIVE",
    ]
    rows = []
    for each in found:
        summary = each.summary
        hashes = summary["hash"]
        rest = each.rest
        proven = hashes["match"] + hashes["healed"] + rest["match"]
        rows.append(
            [
                f"`{each.recording.name}`",
                share(proven, sum(hashes.values()) + sum(rest.values())),
                share(summary["bbo"]["match"], sum(summary["bbo"].values())),
                share(summary["complement"]["match"], sum(summary["complement"].values())),
                share(each.audit.resent[True], sum(each.audit.resent.values())),
                left_live(each),
            ]
        )
    return table(head, rows)


def left_live(each: Replayed) -> str:
    reasons = each.summary["left_live"]
    return ", ".join(f"{count:,} {name}" for name, count in reasons.items()) if reasons else "none"


def section(each: Replayed) -> str:
    summary, audit = each.summary, each.audit
    parts = len(each.played)
    frames, books = summary["frames"], summary["snapshots"] + sum(each.rest.values())
    files = f" {parts} files." if parts > 1 else ""
    text = [
        f"## {each.recording.name}",
        "",
        wrapped(
            f"{sentence(each.recording.what)}{files} {counted(frames, 'frame')}, "
            f"{counted(summary['deltas'], 'change')}, {counted(books, 'whole book')}, "
            f"{counted(summary['tokens'], 'token')}."
        ),
        table(["check", "match", "healed", "mismatch", "unverifiable", "share"], checks(each)),
        *left_live_explained(each),
    ]
    if audit.classes:
        deltas = sum(audit.classes.values())
        rows = [
            [c.value, f"{audit.classes[c]:,}", share_only(audit.classes[c], deltas)] for c in Class if audit.classes[c]
        ]
        text += [
            wrapped("By the plain rule, the hash that came with a change is the hash of:"),
            table(["the hash is of", "changes", "share"], rows),
        ]
    if summary["hash"]["mismatch"]:
        text += mismatches_explained(each)
    text += extras(each)
    return "\n".join(text)


def checks(each: Replayed) -> list[list[str]]:
    summary, rows = each.summary, []
    columns = ("match", "healed", "mismatch", "unverifiable")
    named = {
        "hash of the stream": summary["hash"],
        "hash of REST books": {"match": each.rest["match"], "mismatch": each.rest["mismatch"],
                               "unverifiable": each.rest["unverifiable"]},
        "top of the book": summary["bbo"],
        "complement": summary["complement"],
        "bids below asks": summary["invariants"],
    }  # fmt: skip
    for name, verdicts in named.items():
        if count := sum(verdicts.values()):
            cells = [f"{verdicts[key]:,}" if key in verdicts else "" for key in columns]
            rows.append([name, *cells, share_only(verdicts["match"] + verdicts.get("healed", 0), count)])
    return rows


def left_live_explained(each: Replayed) -> list[str]:
    reasons = dict(each.summary["left_live"])
    text = []
    if (lost := reasons.pop("DISCONNECT", 0)) and each.connections:
        text.append(
            f"Books left LIVE {lost:,} times, each time because a recorded connection ended: the recording has "
            f"{each.connections:,} of them. Every one was LIVE again with the opening books of the next."
        )
    if (replaced := reasons.pop("PROBE_MISMATCH", 0)) and each.audit.without_changes:
        text.append(
            f"Books left LIVE {replaced:,} times, each time for a new whole book: the recording has no changes, so "
            "nothing could have led from one book to the next, and the mirror takes each as a new baseline."
        )
    if reasons:
        text.append("Books left LIVE: " + ", ".join(f"{count:,} {name}" for name, count in reasons.items()) + ".")
    return [wrapped(each_text) for each_text in text]


def mismatches_explained(each: Replayed) -> list[str]:
    hashes, audit = each.summary["hash"], each.audit
    rows = [[name, f"{count:,}"] for name, count in each.mismatches.most_common()]
    lengths = ", ".join(f"{count:,} of {length}" for length, count in sorted(audit.rows.items()))
    inside = each.summary["deltas"] - (sum(hashes.values()) - sum(audit.books.values()))
    return [
        wrapped(
            f"The mirror's {hashes['mismatch']:,} mismatches are hashes that did not fit at the end of their batch nor "
            "within three changes after it. By the plain rule, they are the hash of:"
        ),
        table(["the hash is of", "mismatches"], rows),
        wrapped(
            f"Rows of hashes of one token that fit neither at once nor a few changes later, by length: {lengths}. "
            "The longest time for which a LIVE book's newest batches stayed unproven was "
            f"{each.longest_doubt_ms:,} ms of exchange time; meanwhile a reader gets the state proven before. "
            f"{inside:,} hashes got no verdict of their own from the mirror, because a later change of the same batch "
            "took their place before the batch was over; they are in the table of the plain rule."
        ),
    ]


def extras(each: Replayed) -> list[str]:
    joined, summary = each.audit.rest_joined, each.summary
    text = []
    if joined:
        text.append(
            f"{sum(joined.values()):,} of the {sum(each.rest.values()):,} REST books carry a hash that the stream had "
            f"announced before; {joined[True]:,} of those equal the mirrored state at full depth. The other "
            f"{sum(each.rest.values()) - sum(joined.values()):,} show moments that the recorded stream does not reach."
        )
    if summary["ignored"]:
        kinds = ", ".join(f"{count:,} `{kind}`" for kind, count in summary["ignored_kinds"].items())
        text.append(f"Read and not needed: {kinds}.")
    if summary["malformed"]:
        kinds = ", ".join(f"{count:,} `{kind}`" for kind, count in summary["malformed_kinds"].items())
        text.append(f"Malformed: {kinds}.")
    return [wrapped(each_text) for each_text in text]


def wrapped(text: str) -> str:
    """A paragraph with the blank line after it."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows)) + "\n"


def share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({share_only(part, whole)})" if whole else ""


def share_only(part: int, whole: int) -> str:
    # Rounded down: 100 % is only ever all of them.
    return f"{part * 10_000 // whole / 100:.2f} %".replace(".00 %", " %") if whole else ""


HEAD = """# Conformance

<!-- Written by `python -m tests.conformance.report` from a replay; do not edit by hand. -->

A simulator shows that a program does what its author believes about the venue. Only recordings show whether the belief
is right. So the tests replay real recorded frames of the market channel through the same engine that runs live, and
ask of each statement of the venue whether the mirror's book agrees with it.

Each recording is read twice: by the mirror, and by a second, slow program that shares no code with it and knows only
the plain rule (dictionaries, JSON and SHA-1). Where the mirror found no match, the second program says what the hash
is the hash of. No check is left out: what does not match is counted under what it turned out to be.

The recordings were made and published by others. They are not part of this project and are not distributed with it,
and no setting was fitted to them. This page is written by the replay itself, and a test compares it with a fresh one.

## At a glance

A share is rounded down, so 100 % means all of them.
"""

HOW = """## How to read the classes
"""

READING = [
    [
        "the book after the change",
        "this is the rule",
        "the book is proven",
    ],
    [
        "... with a trade price announced afterwards, or never",
        "a trade is in the hash before it is announced, and not every price in the hash is announced",
        "tries the prices it knows and those at the top; late, and once, all of them; a fit proves every level",
    ],
    [
        "the book one to three changes later",
        "the messages of one moment share the hash of its end, or the venue hashed a little late",
        "waits for the end of the batch, then watches the hash for three more changes",
    ],
    [
        "a book in which neighbouring changes came earlier or later",
        "the file, or the venue, has the changes of a moment in another order than the one they were hashed in",
        "tries the earlier hashes of the batch on its end; else a later batch is proven, as the changes are all there",
    ],
    [
        "not found",
        "nothing fitted",
        "cannot prove that batch; if the row lasts longer than the grace, the book is SUSPECT",
    ],
]

TAIL = """A single miss says nothing about the book, which is why one alone never makes a book SUSPECT. A lost change
spoils every hash from then on.

## What is not covered

- The recordings are short and cover a few days of crypto up/down markets. Other markets may use other tick sizes and
  minimum order sizes, and markets with negative risk are not among them.
- None of them has a `tick_size_change`, a settlement or a `market_resolved` on the stream, nor one of the two older
  forms of `price_change`. Those are tested with made-up frames and with the simulator.
- None of them was made by this library, so nothing here measures how late a frame is applied, and the silent freezes
  that [the first page](why.md) is about are not in them. The simulator has those.
- REST answers come from one recording. How far REST may run ahead of the stream or behind it is taken from published
  measurements, not from here.
- Nothing here was run against the live venue. `polymirror doctor` compares the hash of the venue of today with the
  known forms before you rely on it.
"""


def main() -> int:
    if not CORPUS.is_dir():
        sys.stderr.write("the recordings are not beside the repository, in ../shared/corpus\n")
        return 1
    PAGE.write_text(render(replay_all(CORPUS).values()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The page docs/performance.md, made from the rows of one run. Every figure in it is from that run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.speed.book_libraries import SortedBooks
from benchmarks.speed.field import LEFT_OUT
from benchmarks.speed.own import MsgspecFloor
from benchmarks.speed.socket_view import RATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.speed.machine import Machine
    from benchmarks.speed.rows import Row

INTRODUCTION = """\
# Performance

What a proven book costs you, measured in one run, beside bare decoders and other programs that can hold a Polymarket
book. Everything here was written by `python -m benchmarks --write`; the methods are below, with what speaks against
them.

"""

GAINS = {
    "live_read": "A read for execution waits for nobody: {figure} of CPU, and the book was proven.",
    "recorded_path_vs_fastest": "A change of a real market takes {figure} the time of the fastest other program here, "
    "which proves nothing; here the hash of the whole book is checked with each batch.",
    "memory_10k_books": "10,000 books of 50 levels a side are {figure} of memory, the whole process included.",
    "cold_start_cpu": "10,000 tokens are LIVE after {figure} of CPU.",
    "reconnect_storm_calls": "After all sockets were lost, 10,000 tokens are back with {figure} to REST.",
    "steady_10k_tokens": "10,000 quiet tokens, timers and probes and all, take {figure} of one core.",
    "burst_frame_age": "At 20 times the pace of a recorded market, 999 of 1,000 frames can be read within {figure}.",
}
"""What a figure means for a user, where it was measured."""

METHOD = """\
## How it is measured

- **Frames** are made up by a seed, in the venue's own form, `event_type` last: one market, each frame one order with
  its mirror image for the other token. The mix follows a recording: two thirds of the changes at the touch, two sizes
  of three never seen before. Hashes are those of the books, computed by code that shares nothing with the library.
- **The hot path** is from the bytes of a frame to two books that can be read: decoding, applying, states, timestamps,
  invariants, the stated best prices, the complement of both tokens; *with proof* also the SHA-1 of the whole book, for
  every frame. *Without hash* the field `hash` of all frames is empty: then nothing proves the changes, and what can be
  read stays at the last proof.
- **A race**: all contestants take the same slices of one stream in turns, in one process, kept on one CPU where the
  system allows it. No slice is taken twice by anybody. Compared are the CPU times of the thread within each round; the
  figure is the median over the rounds. The collector of garbage is off inside races.
  The ratios to floors come from races of their own, among floors and polymirror: beside the other programs, which
  leave their marks on the heap and the caches, polymirror takes up to a fifth longer (the tables below show that).
- **Same result**: after each of the first {checked:,} frames, and after the last, everybody's best prices of both
  books must be the exchange's. Who differs is marked wrong, and no ratio with it counts.
- **Rivals** run their own code from the text of a frame to their own book. Their sockets, queues and message buses are
  left out, to their advantage. Reading is not part of the time, except in the tables that say so.
- **Crowds** of thousands of tokens run in virtual time: waiting is skipped, CPU is counted. REST answers come through
  the library's HTTP client from memory.
- **Loopback** measurements have the venue in a process of its own, which stamps and hashes what it sends at that
  moment. The age of a frame is from the moment before it was handed to the socket to the moment when its view can be
  read. For the CPU of a frame, the mirror and the bare client are two processes that get the same frames at once.
- **Every group** of measurements runs in a process of its own, with the collector as the interpreter sets it up.

"""

CAVEATS = """\
## Caveats

- The authors of polymirror wrote this. Contestants are short; read them in `benchmarks/speed`, and tell us what is
  unfair.
- "Fastest" is not claimed. Programs in Rust or C++ that are not used from Python are not here.
- The machine is a small virtual one with neighbours. Ratios within a run are worth more than the nanoseconds; a ratio
  over a single-digit number of microseconds of CPU may still move by a tenth from run to run.
- One busy market stays in the CPU's caches. Hundreds of busy ones would not, for anybody.
- A frame of the venue is TLS on the wire; loopback here is plain. TLS costs all Python clients alike.
- The paced socket figure is at {rate:g} frames a second, where waking up is most of the cost. Back to back, the bare
  client's own cost nearly vanishes and the ratio is worse; it is in the table of details.
- Fan-out counts telling subscribers, not running them: what a subscriber does with its turn is its own cost.
- Ages are by the wall clock, so a neighbour that takes the CPU shows in them; the details tell for which share of the
  time the program could have run and was not let.
- Quiet books are the worst case of the steady cost, and thin ones are what most quiet books are; deep quiet books
  would cost more in probes.
- Memory is of quiet books, as nearly all of thousands are at any moment. A busy one keeps the parts of its texts and a
  journal of its changes of the last five seconds, 512 at most: the details tell what it takes right after changes. The
  row of 10,000 books has all of them busy.
- Pauses of the collector are shown for a program that calls `gc.collect(); gc.freeze()` once its books are primed,
  as [below](#pauses-of-the-collector). The library does not do that behind your back.

"""

PAUSES = """\
## Pauses of the collector

The interpreter's collector walks over everything that is alive. With thousands of books that is long enough to delay a
frame. A program that has primed its books can set them aside:

<!-- not executed: it needs a running mirror of many books -->
```python
await mirror.wait_live()
gc.collect()
gc.freeze()
```

{table}
"""


INSTRUCTIONS = """\
## Where the time goes

Bytecode instructions of a frame by function, those above {least}. What C code does inside one (decoding, SHA-1,
searching and joining) is not seen here.

{table}
Without hash, decoding and {total:,.0f} instructions for both books make {ratio:.3g} times the decoder's time; three
times would leave about {left:,.0f}. The simplest program of the race, which keeps the levels in sorted dicts and
checks nothing, takes {simplest:.3g} times the decoder's time.

"""

LEAST = 5
"""Instructions that are worth a line."""


def render(rows: Sequence[Row], machine: Machine, quick: bool) -> str:  # noqa: FBT001 - what the command was asked
    """Return the whole page in Markdown."""
    found = {row.name: row for row in rows}
    parts = [INTRODUCTION]
    if quick:
        parts.append("**This page was made by a quick run: a tenth of everything. Do not quote it.**\n\n")
    parts += [_machine(machine), *_gains(rows)]
    if "recorded_path_vs_fastest" in found:
        parts += _recorded(found["recorded_path_vs_fastest"])
    parts += [*_races(found), *_targets(rows), METHOD.format(checked=500 if quick else 5_000)]
    parts += _instructions(found)
    if "gc_pause_p999" in found:
        parts.append(PAUSES.format(table=_pauses(found["gc_pause_p999"])))
    parts += ["## Details\n\n", *_details(rows)]
    parts += [CAVEATS.format(rate=RATE), _left_out()]
    parts.append("## Repeat it\n\n```text\npip install -e '.[benchmarks]'\npython -m benchmarks --json --write\n```\n")
    return "".join(parts)


def _machine(machine: Machine) -> str:
    pinned = "not pinned" if machine.pinned is None else "pinned to one"
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    return (
        f"Made on {machine.day}, {machine.python}, {machine.system}, {machine.processor}, {machine.cpus} CPUs, "
        f"{pinned}: {versions}.\n\n"
    )


def _gains(rows: Sequence[Row]) -> Iterable[str]:
    """Yield what a user has of it, and how many targets were missed."""
    found = {row.name: f"{row.ratio:.3g} {row.unit}" for row in rows if row.ratio is not None}
    said = [f"- {words.format(figure=found[name])}\n" for name, words in GAINS.items() if name in found]
    missed = sum(not row.ok for row in rows)
    said.append(f"- {missed} of {len(rows)} [targets](#targets) are missed, and told with the others.\n")
    yield "## What you gain\n\n" + "".join(said) + "\n"


def _targets(rows: Sequence[Row]) -> Iterable[str]:
    """Yield what was aimed at, what was missed first."""
    yield "## Targets\n\n"
    for title, chosen in (("Missed", [row for row in rows if not row.ok]), ("Met", [row for row in rows if row.ok])):
        if chosen:
            yield f"### {title}\n\n" + _table(["measurement", "figure", "target", ""], map(_target, chosen)) + "\n"
    yield _shortfalls(rows)


def _target(row: Row) -> Sequence[str]:
    wanted = f"{'≥' if row.at_least else '≤'} {row.target:g} {row.unit}"
    return [f"{row.title} (`{row.name}`)", _figure(row), wanted, "met" if row.ok else "**missed**"]


def _figure(row: Row) -> str:
    if row.ratio is None:
        return "not measured"
    quartiles = row.details.get("quartiles")
    spread = f" ({quartiles[0]:.3g} to {quartiles[1]:.3g})" if quartiles else ""
    return f"{row.ratio:.3g} {row.unit}{spread}"


def _shortfalls(rows: Sequence[Row]) -> str:
    said = [f"- `{row.name}`: {row.reason}.\n" for row in rows if row.reason]
    spread = "Spreads in brackets are quartiles over the rounds.\n\n"
    return spread + ("".join(said) + "\n" if said else "")


def _races(found: Mapping[str, Row]) -> Iterable[str]:
    """Yield the tables of nanoseconds per change, one for each kind of race."""
    kinds = (
        ("Without hash", "hot_path_vs_decode_", "ns_per_change"),
        ("With the full-depth proof of every frame", "proven_path_vs_decode_and_sha1_", "ns_per_change"),
        ("With proof, and the best prices of both books read after every frame", "proven_path_vs_decode_and_sha1_",
         "ns_per_change_with_both_tops_read"),
    )  # fmt: skip
    tables = []
    for title, prefix, key in kinds:
        columns = {
            heading: found[prefix + label].details[key]
            for label, heading in (("48_levels", "dense 0.01, 48 levels"), ("100_levels", "dense 0.001, 100 levels"))
            if prefix + label in found and key in found[prefix + label].details
        }
        if not columns:
            continue
        names = sorted(next(iter(columns.values())), key=lambda name: next(iter(columns.values()))[name])
        lines = [[_own(name), *(f"{column.get(name, 0):,.0f}" for column in columns.values())] for name in names]
        tables.append(f"### {title}\n\n" + _table(["nanoseconds per change", *columns], lines) + "\n")
    if tables:
        yield "## Races\n\nA frame has two changes. Medians of CPU time; lower is better.\n\n"
        yield from tables


def _recorded(row: Row) -> Iterable[str]:
    """Yield the race on real frames: what a mirror meets."""
    if "ns_per_change" in row.details:
        yield "## Real frames\n\n"
        yield f"{row.details['frames']:,} frames of a real market: hashes, re-sent books and trades included. "
        yield "A frame has two changes. Medians of CPU time; lower is better.\n\n"
        rows = sorted(row.details["ns_per_change"].items(), key=lambda each: each[1])
        yield _table(["nanoseconds per change", "recorded"], [[_own(name), f"{ns:,.0f}"] for name, ns in rows])
        yield "\n"


def _instructions(found: Mapping[str, Row]) -> Iterable[str]:
    """Yield where the instructions of a frame go, and what the floor of the hot path is."""
    bare, proven = found.get("hot_path_vs_decode_48_levels"), found.get("proven_path_vs_decode_and_sha1_48_levels")
    if bare is None or proven is None or bare.ratio is None or "instructions" not in bare.details:
        return
    spent, with_proof = bare.details["instructions"], proven.details["instructions"]
    names = sorted(spent | with_proof, key=lambda name: -with_proof.get(name, 0) - spent.get(name, 0))
    lines = [[f"`{name}`", f"{spent.get(name, 0):,.0f}", f"{with_proof.get(name, 0):,.0f}"] for name in names
             if max(spent.get(name, 0), with_proof.get(name, 0)) >= LEAST]  # fmt: skip
    total = sum(spent.values())
    lines.append(["all", f"{total:,.0f}", f"{sum(with_proof.values()):,.0f}"])
    costs = bare.details["ns_per_change"]
    simplest = costs.get(SortedBooks.name, 0) / costs[MsgspecFloor.name]
    yield INSTRUCTIONS.format(
        least=LEAST, table=_table(["instructions", "without hash", "with proof"], lines), total=total,
        ratio=bare.ratio, left=total * (bare.target - 1) / (bare.ratio - 1), simplest=simplest,
    )  # fmt: skip


def _own(name: str) -> str:
    return f"**{name}**" if name.startswith("polymirror") else name


def _pauses(row: Row) -> str:
    plain = row.details["without_freezing"]
    lines = [
        [what, *(f"{each['pause_ms'][key]:.3g}" for key in ("p50", "p99.9", "max")), f"{sum(each['collections'])}"]
        for what, each in (("frozen after priming", row.details), ("as it comes", plain))
    ]
    return _table(["ms", "median", "p99.9", "longest", "collections"], lines)


def _details(rows: Sequence[Row]) -> Iterable[str]:
    """Yield what else each row knows, except what has a table of its own."""
    shown_elsewhere = {"instructions", "ns_per_change", "ns_per_change_with_both_tops_read", "quartiles", "wrong",
                       "without_freezing", "ages_ms", "problem", "pause_ms", "collections", "faults"}  # fmt: skip
    for row in rows:
        facts = [f"{_words(key)} {_plain(value)}" for key, value in row.details.items()
                 if key not in shown_elsewhere and value not in ("", [], {})]  # fmt: skip
        wrong = [f"{name} was wrong: {why}" for name, why in row.details.get("wrong", {}).items()]
        if facts or wrong:
            yield f"- `{row.name}`: {'; '.join([*facts, *wrong])}.\n"
    yield "\n"


def _words(key: str) -> str:
    return key.replace("_", " ") + ":"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"  # noqa: PLR2004 - no exponents
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).removesuffix(".")


def _left_out() -> str:
    lines = "".join(f"- **{name}**: {why}.\n" for name, why in LEFT_OUT.items())
    return f"## Not here\n\n{lines}\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)

"""What a whole venue takes: sockets, cores, memory, relays and lines, from unit costs that were measured. Pure.

``python -m benchmarks.scale`` prints the tables of docs/scale.md; ``--simulate`` the one of the herd, from
:mod:`benchmarks.herd`; ``--write`` puts both into the page. Costs are CPU time of one core.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from benchmarks.herd import Setting, simulate
from polymirror.config import EngineConfig, RestConfig
from polymirror.relay.app import MAX_CONSUMERS
from polymirror.relay.publisher import BEAT
from polymirror.relay.wire import MAX_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.herd import Herd

PAGE: Final = Path(__file__).parents[1] / "docs" / "scale.md"

FULL: Final = 0.7
"""The share of a core, and of a line, that is planned for: the rest is for bursts."""

LINE: Final = 125e6
"""Bytes a second of 1 Gbit/s."""


@frozen
class Unit:
    """One measured figure, and where it is from."""

    name: str
    value: float
    unit: str
    source: str


PERFORMANCE: Final = "performance.md"
RELAYING: Final = "`python -m benchmarks --only relaying`, on a busy machine"

UNITS: Final = {
    "frame": Unit(
        "mirror: a frame, socket to proven view, back to back", 19.89, "us", f"{PERFORMANCE}, `socket_to_view_asyncio`"
    ),
    "frame_paced": Unit(
        "the same at 500 frames/s, waking up included", 125.0, "us", f"{PERFORMANCE}, `socket_to_view_asyncio`"
    ),
    "quiet": Unit("mirror: 10,000 quiet tokens, of one core", 6.64, "%", f"{PERFORMANCE}, `steady_10k_tokens`"),
    "calls": Unit(
        "calls to /books in 10 s for 10,000 quiet tokens", 27.83, "calls", f"{PERFORMANCE}, `steady_10k_tokens`"
    ),
    "book": Unit("memory of a book of 50 levels a side", 30.63, "KB", f"{PERFORMANCE}, `memory_10k_books`"),
    "process": Unit("memory of a process before", 33.64, "MB", f"{PERFORMANCE}, `memory_10k_books`"),
    "storm": Unit(
        "10,000 tokens LIVE again after all sockets were lost", 1.93, "s", f"{PERFORMANCE}, `reconnect_storm_cpu`"
    ),
    "wire": Unit("relay: making what a frame changes in both books", 74.15, "us", RELAYING),
    "consumer": Unit("relay: the same for one further consumer, its socket apart", 2.492, "us", RELAYING),
    "far": Unit("consumer: taking it", 24.3, "us", RELAYING),
    "frames": Unit(
        "frames/s of the busiest recorded market", 500, "frames/s", "recording of 2026-04-21, one market, median second"
    ),
    "peak": Unit("the same in its busiest second", 760, "frames/s", "the same recording"),
    "frame_bytes": Unit("bytes of a frame from the venue", 672.1, "bytes", f"{PERFORMANCE}, recorded frames"),
    "change_bytes": Unit(
        "bytes of a change of one level, msgpack, its frame included", 407, "bytes", "`benchmarks.herd`, one token"
    ),
    "beat_bytes": Unit("bytes of a beat, likewise", 201, "bytes", "`benchmarks.herd`, one token"),
    "book_bytes": Unit(
        "bytes of a whole book of 48 levels a side, likewise", 1339, "bytes", "`benchmarks.herd`, one token"
    ),
}


def of(name: str) -> float:
    """Return a unit's value."""
    return UNITS[name].value


@frozen
class Venue:
    """What is mirrored. ``busy`` markets have the recorded rate, all others are quiet."""

    name: str
    tokens: int
    busy: int


@frozen
class Far:
    """Who reads: ``links`` connections of ``tokens`` books each, with ``changes`` frames of the venue a second."""

    name: str
    links: int
    tokens: int
    frames: float


VENUES: Final = (
    Venue("one family, current and next market", 4, 1),
    Venue("seven coins in three periods, current and next", 84, 7),
    Venue("10,000 tokens, 20 markets busy at once", 10_000, 20),
    Venue("20,000 tokens, 50 busy", 20_000, 50),
    Venue("60,000 tokens, 100 busy", 60_000, 100),
)

READERS: Final = (
    Far("10 bots, 50 books each", 10, 50, 500),
    Far("100 hosts with 1,000 consumers each, a link for each host, 50 books", 100, 50, 500),
    Far("100 hosts, a link for each, 2,000 books", 100, 2_000, 2_000),
    Far("200 consumers, 200 books each", 200, 200, 1_000),
    Far("100,000 consumers, a link for each, 50 books", 100_000, 50, 500),
)

HERDS: Final = (
    ("relay away for 2 s", Setting()),
    ("cut off for 2 s", Setting(fault="partition")),
    ("cut off for 8 s", Setting(fault="partition", lasts=8.0, seconds=24.0)),
    (
        "30 hosts, 200 books each, 32 Mbit/s; relay away for 1 s",
        Setting(hosts=30, tokens=200, uplink=4e6, changes=5.0, lasts=1.0, seconds=24.0, begins=9.0),
    ),
)


@frozen
class Need:
    """What one mirror takes."""

    frames: float
    megabytes: float
    """A second, from the venue."""
    cores: float
    memory_mb: float
    sockets: int
    calls: float
    """To /books in ten seconds."""
    storm: float
    """CPU seconds after all sockets were lost."""
    processes: int
    """Mirrors among which it has to be divided: a core each, filled to :data:`FULL`."""


@frozen
class Served:
    """What a relay takes for its readers, beside its mirror."""

    cores: float
    megabytes: float
    """A second, to all readers."""
    relays: int
    lines: int
    """Lines of 1 Gbit/s."""
    first: float
    """MB of whole books after a restart."""


def mirror(venue: Venue) -> Need:
    """Return what a venue takes."""
    frames = venue.busy * of("frames")
    cores = frames * of("frame") / 1e6 + venue.tokens / 10_000 * of("quiet") / 100
    per_socket = EngineConfig().tokens_per_socket
    return Need(
        frames, frames * of("frame_bytes") / 1e6, cores, of("process") + venue.tokens * of("book") / 1000,
        math.ceil(venue.tokens / per_socket), venue.tokens / 10_000 * of("calls"), venue.tokens / 10_000 * of("storm"),
        max(math.ceil(cores / FULL), math.ceil(venue.tokens / EngineConfig().max_tokens)),
    )  # fmt: skip


def serve(far: Far) -> Served:
    """Return what readers take."""
    beats = far.tokens / BEAT
    # A beat of a book is made and sent as a change of one is: half a frame's.
    per_link = (far.frames + beats / 2) * of("consumer") / 1e6
    cores = (far.frames + beats / 2) * of("wire") / 1e6 + far.links * per_link
    a_link = (2 * far.frames * of("change_bytes") + beats * of("beat_bytes")) / 1e6
    megabytes = far.links * a_link
    relays = max(
        math.ceil(far.links / MAX_CONSUMERS), math.ceil(cores / FULL), math.ceil(megabytes * 1e6 / LINE / FULL)
    )
    return Served(
        cores,
        megabytes,
        relays,
        math.ceil(megabytes * 1e6 / LINE / FULL),
        far.links * far.tokens * of("book_bytes") / 1e6,
    )


def limits() -> list[tuple[str, str, str]]:
    """Return what breaks first, where, and what to do."""
    busy = FULL * 1e6 / of("frame") / of("frames")
    peak = FULL * 1e6 / of("frame") / of("peak")
    calls = RestConfig().calls_per_10s
    quiet = calls / of("calls") * 10_000
    made = FULL * 1e6 / of("wire")
    links = (FULL * 1e6 / 500 - of("wire")) / of("consumer")
    line = FULL * LINE / (2 * 500 * of("change_bytes") + 50 / BEAT * of("beat_bytes"))
    far = FULL * 1e6 / of("far")
    return [
        (
            "a mirror's core",
            f"{busy:.0f} markets as busy as the recorded one at once ({peak:.0f} in its busiest second)",
            "divide the markets among mirrors, a process each",
        ),
        (
            "a relay's core, for what changes",
            f"{made:,.0f} frames/s of the venue for which anybody listens",
            "a relay beside each mirror",
        ),
        (
            "a relay's core, for its readers",
            f"{links:.0f} links at 500 frames/s, sockets apart; {MAX_CONSUMERS} are let in",
            "one link for each host; further relays, or a broker",
        ),
        ("a line of 1 Gbit/s", f"{line:.0f} links of 50 books at 500 frames/s", "one link for each host"),
        ("a reader's core", f"{far:,.0f} frames/s of the venue", "follow fewer books"),
        ("calls to /books", f"{quiet:,.0f} quiet tokens with {calls} calls in 10 s", "divide among addresses"),
        (
            "tokens of one mirror",
            f"{EngineConfig().max_tokens:,}, unless the settings say more",
            "`EngineConfig.max_tokens`",
        ),
        ("tokens of one link", f"{MAX_TOKENS:,}", "two relays for two halves"),
    ]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, the first column to the left."""
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def units_table() -> str:
    """Return the unit costs."""
    rows = ((each.name, f"{each.value:,g} {each.unit}", each.source) for each in UNITS.values())
    return table(("what", "figure", "from"), rows)


def venues_table() -> str:
    """Return what each venue takes."""
    heads = (
        "mirrored",
        "frames/s",
        "MB/s in",
        "cores",
        "memory, MB",
        "sockets",
        "/books in 10 s",
        "CPU s after a loss",
        "mirrors",
    )
    return table(
        heads,
        (
            (
                venue.name,
                f"{need.frames:,.0f}",
                f"{need.megabytes:.2f}",
                f"{need.cores:.2f}",
                f"{need.memory_mb:,.0f}",
                f"{need.sockets}",
                f"{need.calls:.1f}",
                f"{need.storm:.1f}",
                f"{need.processes}",
            )
            for venue in VENUES
            for need in (mirror(venue),)
        ),
    )


def readers_table() -> str:
    """Return what readers take."""
    heads = ("readers", "frames/s", "links", "cores", "MB/s out", "lines of 1 Gbit/s", "MB after a restart", "relays")
    return table(
        heads,
        (
            (
                far.name,
                f"{far.frames:g}",
                f"{far.links:,}",
                f"{it.cores:.2f}",
                f"{it.megabytes:,.1f}",
                f"{it.lines}",
                f"{it.first:,.1f}",
                f"{it.relays}",
            )
            for far in READERS
            for it in (serve(far),)
        ),
    )


def limits_table() -> str:
    """Return what breaks first."""
    return table(("what", "breaks at", "then"), limits())


def herd_table(herds: Iterable[tuple[str, Herd]]) -> str:
    """Return what came of the simulations."""
    heads = (
        "what happens",
        "books sent",
        "needed",
        "messages",
        "MB",
        "MB/s before",
        "99 % LIVE after",
        "all",
        "most waiting for one",
        "most on the way, MB",
    )
    return table(
        heads,
        (
            (
                name,
                f"{it.books:,}",
                f"{it.needed:,}",
                f"{it.messages:,}",
                f"{it.megabytes:.1f}",
                f"{it.steady_megabytes:.2f}",
                _seconds(it.seconds_to_99),
                _seconds(it.seconds_to_all),
                f"{it.most_waiting}",
                f"{it.most_on_the_way / 1e6:.1f}",
            )
            for name, it in herds
        ),
    )


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def between(text: str, name: str) -> tuple[int, int]:
    """Return where the table of this name is in the page."""
    begin = text.index(f"<!-- {name} -->\n") + len(f"<!-- {name} -->\n")
    return begin, text.index("\n<!-- end -->", begin)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--simulate", action="store_true", help="simulate the herd, too: half a minute")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    options = parser.parse_args(arguments)
    tables = {"units": units_table(), "venues": venues_table(), "readers": readers_table(), "limits": limits_table()}
    if options.simulate:
        tables["herd"] = herd_table([(name, simulate(setting)) for name, setting in HERDS])
    sys.stdout.write("\n\n".join(tables.values()) + "\n")
    if options.write:
        text = PAGE.read_text()
        for name, made in tables.items():
            begin, end = between(text, name)
            text = text[:begin] + made + text[end:]
        PAGE.write_text(text)


if __name__ == "__main__":
    main()

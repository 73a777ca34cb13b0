"""The hot path: from the bytes of a frame to two books that can be read, beside floors and other programs.

Timed is :meth:`Engine.receive` and the drain of changed tokens after it: decoding, applying both mirrored changes,
states, timestamps, invariants, the stated best prices, the complement, and with hashes the proof at full depth.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from attrs import frozen

from benchmarks.speed import field, rivals
from benchmarks.speed.frames import DENSE_48, DENSE_100, ENTRIES, THIN, make_frames
from benchmarks.speed.instructions import count
from benchmarks.speed.method import Lane, race
from benchmarks.speed.own import Mirrored, MsgspecFloor, OrjsonFloor, Sha1Floor
from benchmarks.speed.rows import Row, missing, rounded, spread_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.speed.frames import Frames, Scenario
    from benchmarks.speed.method import Costs, Race
    from benchmarks.speed.rows import Options

OWN = "polymirror"
OWN_PROVEN = "polymirror, with full-depth proof"
DECODE = MsgspecFloor.name
NAUTILUS = rivals.NautilusAdapterPath.name
CCXT = rivals.CcxtHandler.name
OFFICIAL = rivals.OfficialModels.name

LABELS = {DENSE_48: "48_levels", DENSE_100: "100_levels", THIN: "thin"}

PROVEN_TARGETS = {DENSE_48: 0.8, DENSE_100: 1.0}
"""What the proven path may need of the time of nautilus' adapter, which proves nothing."""

READ_TARGETS = {DENSE_48: 0.8, DENSE_100: 0.95}
"""The same when both tops are read after each frame."""

WITHOUT_HASH = (
    "The field hash of every entry is empty, so nothing can be proven by it: what is left is decoding, applying, "
    "states, timestamps, invariants, best prices and the complement."
)


@frozen
class Course:
    """The streams of one scenario, and who is not there to run on them."""

    scenario: Scenario
    hashed: Frames
    bare: Frames
    """The same without hashes."""
    absent: Mapping[str, str]
    options: Options

    @property
    def label(self) -> str:
        """The end of the names of its rows."""
        return LABELS[self.scenario]

    def own(self, *, proven: bool, reads: bool = False) -> dict[str, Lane]:
        """The engine's lane."""
        name = OWN_PROVEN if proven else OWN
        make = partial(Mirrored, name, proven=proven, reads=reads)
        return {name: Lane(make, self.hashed if proven else self.bare)}

    def rivals(self, names: Mapping[str, object], *, hashed: bool = False, reads: bool = False) -> dict[str, Lane]:
        """The lanes of those rivals that are there."""
        frames = self.hashed if hashed else self.bare
        there = {name: make for name, make in field.CONTESTANTS.items() if name in names and name not in self.absent}
        return {name: Lane(partial(make, reads=reads), frames) for name, make in there.items()}

    def race(self, lanes: Mapping[str, Lane]) -> Race:
        """Run."""
        choose = self.options.choose
        return race(lanes, rounds=choose(30, 9), checked=choose(5_000, 500))


def measure(options: Options) -> Iterator[Row]:
    """Measure everything about the hot path."""
    absent = field.absent()
    courses = {}
    for scenario in LABELS:
        frames = make_frames(scenario, options.choose(77_500, 4_000))
        courses[scenario] = Course(scenario, frames, frames.without_hashes(), absent, options)
    for scenario in (DENSE_48, DENSE_100):
        yield from _without_hash(courses[scenario])
    for scenario in (DENSE_48, DENSE_100):
        yield from _with_hash(courses[scenario])
    yield from _thin(courses[THIN], courses[DENSE_48])


def _without_hash(course: Course) -> Iterator[Row]:
    lanes = {DECODE: Lane(MsgspecFloor, course.bare)}
    if find_spec("orjson"):
        lanes[OrjsonFloor.name] = Lane(OrjsonFloor, course.bare)
    alone = course.race(lanes | course.own(proven=False))
    done = course.race(lanes | course.own(proven=False) | course.rivals(field.CONTESTANTS))
    own = alone.costs[OWN].over(alone.costs[DECODE])
    yield Row(
        f"hot_path_vs_decode_{course.label}",
        "hot path without hash / bare msgspec decode",
        own.median,
        3.0,
        details={
            **spread_of(own),
            "ns_per_change": per_change(done.costs),
            "ns_per_change_alone": per_change(alone.costs),
            "ratio_amid_all_others": done.costs[OWN].over(done.costs[DECODE]).median,
            "frames": done.frames,
            "bytes_per_frame": course.bare.mean_bytes,
            **_instructions(course, hashed=False),
            "note": WITHOUT_HASH,
            "wrong": dict(done.wrong),
        },
        reason=_wrong(alone, OWN) or _wrong(done, OWN),
    )
    for short, rival, target in (("nautilus", NAUTILUS, 4.0), ("ccxt", CCXT, 7.0), ("official", OFFICIAL, 7.0)):
        name, title = f"hot_path_vs_{short}_{course.label}", f"{rival} / hot path without hash"
        yield _beside(name, title, rival, OWN, done, course, target, at_least=True)


def _with_hash(course: Course) -> Iterator[Row]:
    floors = {name: Lane(partial(Sha1Floor, books), course.hashed) for books, name in SHA1.items()}
    lanes = {DECODE: Lane(MsgspecFloor, course.hashed)} | floors | course.own(proven=True)
    alone = course.race(lanes)
    done = course.race(lanes | course.rivals({NAUTILUS: None}, hashed=True))
    read = course.race(course.own(proven=True, reads=True) | course.rivals(field.CONTESTANTS, hashed=True, reads=True))
    title = f"hot path with the SHA-1 proof of every batch / {NAUTILUS}"
    target = PROVEN_TARGETS[course.scenario]
    yield _beside(f"proven_path_vs_nautilus_{course.label}", title, OWN_PROVEN, NAUTILUS, done, course, target)
    title = f"hot path with proof, and both tops read by top() / {NAUTILUS}, and both tops read"
    target = READ_TARGETS[course.scenario]
    yield _beside(f"proof_and_tops_vs_nautilus_{course.label}", title, OWN_PROVEN, NAUTILUS, read, course, target)
    both = alone.costs[OWN_PROVEN].over(alone.costs[SHA1[2]])
    yield Row(
        f"proven_path_vs_decode_and_sha1_{course.label}",
        "hot path with the SHA-1 proof of every batch / (msgspec decode + SHA-1 of both books)",
        both.median,
        2.0,
        details={
            **spread_of(both),
            "ratio_to_decode_and_sha1_of_one_book": alone.costs[OWN_PROVEN].over(alone.costs[SHA1[1]]).median,
            "ratio_to_decode": alone.costs[OWN_PROVEN].over(alone.costs[DECODE]).median,
            "ns_per_change": per_change(done.costs),
            "ns_per_change_alone": per_change(alone.costs),
            "ns_per_change_with_both_tops_read": per_change(read.costs),
            "bytes_per_frame": course.hashed.mean_bytes,
            "bytes_hashed_per_book": sum(map(len, course.hashed.texts)) / len(course.hashed.texts),
            **_instructions(course, hashed=True),
            "note": "A frame announces the hashes of both books, so that is what a plain check hashes. The texts are "
            "ready-made for the floor. The engine may prove one book as the mirror image of the other.",
        },
        reason=_wrong(alone, OWN_PROVEN) or _wrong(done, OWN_PROVEN),
    )


def _instructions(course: Course, *, hashed: bool) -> dict[str, Any]:
    """Tell where the bytecode instructions of a frame go; they do not depend on the depth of the books."""
    return {"instructions": count(hashed=hashed)["by_function"]} if course.scenario is DENSE_48 else {}


SHA1 = {books: Sha1Floor(books).name for books in (1, 2)}


def _beside(
    name: str, title: str, over: str, under: str, done: Race, course: Course, target: float, *, at_least: bool = False
) -> Row:
    """Return the row of one contestant over another, or of why there is none."""
    gone = next((course.absent[each] for each in (over, under) if each in course.absent), None)
    if gone is not None:
        return missing(name, title, target, gone, at_least=at_least)
    reason = _wrong(done, over) or _wrong(done, under)
    if over not in done.costs or under not in done.costs:
        return missing(name, title, target, reason, at_least=at_least)
    ratio = done.costs[over].over(done.costs[under])
    details: dict[str, Any] = {**spread_of(ratio)}
    return Row(name, title, ratio.median, target, at_least=at_least, details=details, reason=reason)


def _thin(thin: Course, dense: Course) -> Iterator[Row]:
    """Compare the engine on thin books with itself on dense ones, in turns."""
    for proven, suffix in ((False, "without_hash"), (True, "with_hash")):
        (thin_lane,), (dense_lane,) = thin.own(proven=proven).values(), dense.own(proven=proven).values()
        done = thin.race({"thin": thin_lane, "dense": dense_lane})
        ratio = done.costs["thin"].over(done.costs["dense"])
        yield Row(
            f"thin_vs_dense_{suffix}",
            f"hot path on thin books / on dense ones of 48 levels, {suffix.replace('_', ' ')}",
            ratio.median,
            1.3,
            details={**spread_of(ratio), "ns_per_change": per_change(done.costs)},
            reason=_wrong(done, "thin") or _wrong(done, "dense"),
        )


def per_change(costs: Mapping[str, Costs]) -> dict[str, float]:
    """Return medians in nanoseconds per change, for the page."""
    return {name: rounded(each.median / ENTRIES) for name, each in costs.items()}


def _wrong(done: Race, name: str) -> str:
    return f"{name} is wrong {done.wrong[name]}" if name in done.wrong else ""

"""The incidents of one mirror: when one begins, what is written down of it, and what is told of it.

One begins when a book leaves LIVE for a reason that is worth it, covers both tokens of the market, and is over when all
of its books have been LIVE again for a moment. Runs on the mirror's thread and never waits; files are the business of
:mod:`polymirror.journal.incident.store`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

from polymirror.core.states import BookState, Reason
from polymirror.core.units import PRICE_SCALE, price_to_wire, size_to_wire
from polymirror.errors import UnknownToken
from polymirror.journal.format import Incident, Moved, Shown, Ticked, seconds_of, stamp
from polymirror.journal.incident.engine import WatchedEngine
from polymirror.journal.incident.limits import Limits
from polymirror.journal.incident.ring import Rings
from polymirror.journal.incident.store import Bundle, Store, file_name
from polymirror.journal.recorded import IncidentNote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from random import Random

    from polymirror.config import EngineConfig, MirrorConfig
    from polymirror.core.events import Transition
    from polymirror.core.view import BookView
    from polymirror.journal.format import Header, Line
    from polymirror.journal.incident.ring import Ring
    from polymirror.journal.journal import Journal

ORDINARY: Final = frozenset({Reason.SCHEDULED, Reason.REQUESTED, Reason.RESOLVED, Reason.CLOSED, Reason.DISCONNECT})
"""Reasons to leave LIVE that need no explanation."""

CALM_SECONDS: Final = 2.0
"""An incident is over when all books of its market have been LIVE for so long."""

MAX_NOTES: Final = 200
"""Incidents that are told of, the newest: so many with a bundle, and so many without."""

MAX_MOVES: Final = 1_000
"""Changes of state in one bundle."""


@define(eq=False)
class Open:
    """An incident that is not over."""

    note: IncidentNote
    ring: Ring
    refused: int
    """Refused reads of its books when it began."""
    deadline: float
    begun_t: int | float
    begun_w: int
    before: dict[str, Shown] = field(factory=dict)
    # Since when all books are LIVE.
    calm_at: float | None = None
    moves: int = 0


class Incidents:
    """Watches the engine that it makes. ``wall`` is the time of day in seconds, ``name_of(token)`` is for people.

    ``header(number, first)`` makes the first line of a bundle.
    """

    def __init__(
        self,
        folder: Path,
        config: MirrorConfig,
        header: Callable[[int, Line], Header],
        wall: Callable[[], float],
        name_of: Callable[[str], str],
    ) -> None:
        self._config = config.incidents
        self._header = header
        self._wall = wall
        self._name_of = name_of
        self._folder = folder
        self._store = Store(folder, config.incidents, config.journal.min_free_bytes)
        self._open: dict[str, Open] = {}
        # When something of what is open is to be looked at again.
        self._look_at = float("inf")
        # By whether there is a bundle: a storm in which there is none for most must not push out those that have one.
        self._notes: dict[bool, deque[IncidentNote]] = {has: deque(maxlen=MAX_NOTES) for has in (True, False)}
        self._limits = Limits(config.incidents)
        # Incidents so far, and those of which no bundle was made.
        self.count: int = 0
        self.skipped: int = 0
        self._untold = 0
        self._last: Line | None = None

    def engine(self, config: EngineConfig, rng: Random, journal: Journal | None, book_seconds: float) -> WatchedEngine:
        """Make the engine that is watched. Its lines go to a journal, too, if there is one."""
        sink = self.put if journal is None else _both(journal.put, self.put)
        files = _none if journal is None else journal.count_files
        self._watched = WatchedEngine(config, rng, sink, self._wall, book_seconds, files, self.moved)
        self._rings = Rings(self._config, self._watched.record_books, self._watched.carried_by)
        return self._watched

    def start(self) -> None:
        """Begin to write."""
        self._store.start()

    def stop(self, now: float, timeout: float) -> bool:
        """Write what is open, for ``timeout`` seconds at most; return whether all is written."""
        for each in list(self._open.values()):
            self._close(each, now, "stopped")
        return self._store.close(timeout)

    def notes(self, token: str | None = None) -> tuple[IncidentNote, ...]:
        """Return the newest incidents, newest first: of all markets, or of the one with this token."""
        notes = sorted((each for kept in self._notes.values() for each in reversed(kept)), key=lambda each: -each.at)
        return tuple(each for each in notes if token is None or token in each.tokens)

    def tell(self, warn: Callable[[str, str], None]) -> None:
        """Tell what became of bundles since the last call."""
        for kind, told in self._store.told():
            warn(kind, told)
        if self._untold:
            warn("incidents skipped", f"{self._untold} incidents have no bundle: there are too many at once")
            self._untold = 0

    # ---- What goes in ------------------------------------------------------------------------------

    def put(self, line: Line) -> None:
        """Take a line of the recording."""
        self._last = line
        self._rings.put(line)
        if self._open and seconds_of(line.t) >= self._look_at:
            self._look(seconds_of(line.t))

    def moved(self, events: Iterable[Transition]) -> None:
        """Take changes of states, right after the input that led to them."""
        for event in events:
            ring = self._rings.of(event.token)
            if ring is None:
                continue
            current = self._open.get(ring.market)
            if current is None and event.old is BookState.LIVE and event.reason not in ORDINARY:
                current = self._begin(ring, event)
            self._note(ring, event, current)

    def _note(self, ring: Ring, event: Transition, current: Open | None) -> None:
        """Write a change of state down, and the passing of time that led to it."""
        last = self._last
        if isinstance(last, Ticked):
            self._rings.add(ring, last)
        refused = 0
        if current is not None:
            refused = self._watched.refusals(ring.tokens) - current.refused
            current.moves += 1
            if event.old is BookState.LIVE and event.token not in current.before:
                self._show(current.before, event.token, event.at, event.epoch)
        if current is None or current.moves <= MAX_MOVES:
            wall = 0 if last is None else last.w
            self._rings.add(ring, Moved(
                0, stamp(event.at), wall, event.token, event.old.name, event.new.name, event.reason.name, event.epoch,
                event.detail, event.proof_age, refused,
            ))  # fmt: skip
        if current is not None:
            calm = all(self._is_calm(each) for each in ring.tokens)
            current.calm_at = event.at if calm else None
            self._look_at = min(self._look_at, event.at + CALM_SECONDS, current.deadline)

    def _is_calm(self, token: str) -> bool:
        try:
            return self._watched.peek_state(token) in {BookState.LIVE, BookState.RETIRED}
        except UnknownToken:
            return True

    # ---- One incident ------------------------------------------------------------------------------

    def _begin(self, ring: Ring, event: Transition) -> Open | None:
        self.count += 1
        allowed = self._limits.allow(ring.market, event.at)
        wall = self._wall()
        path = self._folder / file_name(wall, ring.market, self._store.suffix) if allowed else None
        note = IncidentNote(
            event.at, wall, ring.market, ring.tokens, event.token, self._name_of(event.token), event.reason,
            event.detail, path,
        )  # fmt: skip
        self._notes[allowed].append(note)
        if not allowed:
            self.skipped += 1
            self._untold += 1
            return None
        begun = Open(
            note, ring, self._watched.refusals(ring.tokens), event.at + self._config.most_seconds, stamp(event.at),
            round(wall * 1e9),
        )  # fmt: skip
        ring.room = self._config.bundle_bytes - ring.size
        for token in ring.tokens:
            if token != event.token:
                self._show(begun.before, token, event.at, None)
        self._open[ring.market] = begun
        return begun

    def _show(self, shown: dict[str, Shown], token: str, now: float, epoch: int | None) -> None:
        """Keep a book as it is shown, unless it was cleared already."""
        try:
            view = self._watched.peek(token, now)
        except UnknownToken:
            return
        if epoch is None or view.epoch == epoch:
            shown[token] = _shown(view)

    def _look(self, now: float) -> None:
        """End what is over."""
        self._look_at = float("inf")
        for each in list(self._open.values()):
            if self._rings.of(each.note.token) is not each.ring:
                self._close(each, now, "removed")
            elif each.calm_at is not None and now >= each.calm_at + CALM_SECONDS:
                self._close(each, now, "live")
            elif now >= each.deadline:
                self._close(each, now, "time")
            elif each.ring.room is not None and each.ring.room < 0:
                self._close(each, now, "size")
            else:
                due = each.deadline if each.calm_at is None else min(each.deadline, each.calm_at + CALM_SECONDS)
                self._look_at = min(self._look_at, due, now + 1.0)

    def _close(self, ended: Open, now: float, how: str) -> None:
        note, ring = ended.note, ended.ring
        del self._open[note.market]
        ring.room = None
        after: dict[str, Shown] = {}
        for token in ring.tokens:
            self._show(after, token, now, None)
        lines = ring.lines()
        told = Incident(
            n=0, t=ended.begun_t, w=ended.begun_w, market=note.market, tokens=note.tokens,
            names=tuple(self._name_of(token) for token in note.tokens), token=note.token, reason=note.reason.name,
            detail=note.detail, until=stamp(now), ending=how,
            refused=self._watched.refusals(ring.tokens) - ended.refused, skipped=self.skipped,
            before=tuple(ended.before.values()), after=tuple(after.values()),
        )  # fmt: skip
        if note.path is not None:
            self._store.put(Bundle(note.path, self._header(0, lines[0]), told, tuple(lines), ring.cut, ring.size))


def _both(one: Callable[[Line], None], other: Callable[[Line], None]) -> Callable[[Line], None]:
    def put(line: Line) -> None:
        one(line)
        other(line)

    return put


def _shown(view: BookView) -> Shown:
    raw = view.levels
    bids = zip(reversed(raw.bid_keys), reversed(raw.bid_sizes), strict=True)
    asks = zip(reversed(raw.ask_keys), reversed(raw.ask_sizes), strict=True)
    return Shown(
        view.token, view.state.name, view.exchange_ms, None if view.proven_at is None else view.verified_age,
        None if view.last_proof is None else view.last_proof.kind.value,
        tuple((price_to_wire(key), size_to_wire(size)) for key, size in bids),
        tuple((price_to_wire(PRICE_SCALE - key), size_to_wire(size)) for key, size in asks),
    )  # fmt: skip


def _none() -> int:
    """Count the files of no journal."""
    return 0

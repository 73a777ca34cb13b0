"""Replay: a journal through the engine once more, as an iterator for programs.

From the beginning of a session, and as long as nothing is missing, it is *exact*: the same transitions at the same
times, to the last bit. From any other moment, and after a gap, it begins with whole books that the journal has every
minute, and goes on with the frames: the same books, proven anew.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from polymirror.config import check_each
from polymirror.core.events import Transition
from polymirror.core.states import BookState
from polymirror.errors import ConfigError, UnknownToken
from polymirror.journal.format import Answered, Asked, Book, Header, Heard, Lost, Sent, Ticked, seconds_of
from polymirror.journal.player import Player
from polymirror.journal.primed import Primed
from polymirror.journal.reader import BEGINNING, sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from polymirror.core.engine import Engine
    from polymirror.core.events import Event
    from polymirror.core.view import BookView
    from polymirror.journal.format import Line
    from polymirror.journal.reader import Session

INFINITE: Final = float("inf")

LEAD_SECONDS: Final = 30.0
"""So long before the start what REST answered counts: older proofs are of no use, and take the most time."""


@frozen
class ReplayStep:
    """One line of a journal, and what the engine made of it."""

    at: float
    """Seconds on the clock of the mirror that was recorded; each session has its own."""
    wall: float
    """The time of day, in Unix seconds."""
    session: str
    line: Line
    events: tuple[Event, ...]
    changed: tuple[str, ...]
    """Tokens whose readable view changed."""

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The changes of states among the events."""
        return tuple(event for event in self.events if isinstance(event, Transition))


class Replay:
    """Replays a journal: a folder, a file, or a small one in memory.

    ``tokens`` are those to look at (default: all), ``start`` and ``end`` Unix seconds (default: everything). Raises
    PolymirrorError if there is no journal, DecodeError for a file that is none, MissingExtra, OSError, and ConfigError
    for an end before the start. Iterate once.
    """

    def __init__(
        self,
        source: Path | str | bytes,
        *,
        tokens: Iterable[str] = (),
        start: float | None = None,
        end: float | None = None,
    ) -> None:
        if start is not None and end is not None and end <= start:
            raise ConfigError("end", end, f"after the start, {start}")
        self.sessions: tuple[Session, ...] = sessions(source if isinstance(source, bytes) else Path(source))
        self._wanted = frozenset(check_each("tokens", tokens, str))
        self._start = start
        self._end = end
        self._player: Player | Primed | None = None
        # False once something had to be begun in the middle, or was missing.
        self.exact: bool = True
        # What was told of: lines, frames, transitions, those out of LIVE by reason, and lost lines (each gap of which
        # nobody knows counts as one).
        self.lines: int = 0
        self.frames: int = 0
        self.moves: int = 0
        self.left_live: Counter[str] = Counter()
        self.lost: int = 0

    @property
    def engine(self) -> Engine:
        """The engine as it is at the newest step. Raises RuntimeError before the first one."""
        if self._player is None:
            message = "nothing was replayed yet: iterate over steps() or views()"
            raise RuntimeError(message)
        return self._player.engine

    def views(self, *tokens: str) -> Iterator[BookView]:
        """Yield the view of a book at each of its changes: of these tokens, or of all that are looked at.

        A view has its state: only one that is LIVE shows what could be traded on. Raises UnknownToken at the end for
        a token that was nowhere in the journal.
        """
        wanted = frozenset(check_each("tokens", tokens, str)) or self._wanted
        unseen = set(wanted)
        for step in self.steps():
            for token in step.changed:
                if (not wanted or token in wanted) and self.engine.standing(token) is not None:
                    unseen.discard(token)
                    yield self.engine.peek(token, step.at)
        # One that was there all the time and never changed is known.
        for token in sorted(unseen):
            if self._player is None or self.engine.standing(token) is None:
                raise UnknownToken(token)

    def steps(
        self,
        *,
        speed: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Iterator[ReplayStep]:
        """Yield every line from the start on, replayed; ``speed`` 1 as fast as it was, 10 ten times so, None at once.

        ``sleep`` and ``clock``, in seconds, are those by which it waits. Raises ConfigError for a speed of 0 or less.
        """
        if speed is not None and not speed > 0:
            raise ConfigError("speed", speed, "a number above 0")
        pace = None if speed is None else _Pace(speed, sleep, clock)
        for session in self.sessions:
            if pace is not None:
                pace.begin()
            if self._start is not None and session.over_before(self._start):
                continue
            start, end = self._start or 0.0, self._end or INFINITE
            last = None if self._end is None else session.last(start, end)
            if self._end is not None and last is None:
                continue
            for step in self._of_session(session, last):
                # Lines of other times may lie between: the time of day may have been set while it recorded.
                if not start <= step.wall <= end:
                    continue
                if pace is not None:
                    pace.wait_for(step.at)
                self._count(step)
                yield step

    def _count(self, step: ReplayStep) -> None:
        self.lines += 1
        self.frames += isinstance(step.line, Heard)
        if isinstance(step.line, Lost):
            self.lost += max(1, step.line.count)
        for event in step.transitions:
            self.moves += 1
            if event.old is BookState.LIVE:
                self.left_live[event.reason.name] += 1

    def _of_session(self, session: Session, last: int | None) -> Iterator[ReplayStep]:
        """Replay the lines of a session, to the one with the number ``last`` (default: all)."""
        first, older = session.begin(self._start, self._wanted)
        player: Player | Primed
        if session.whole and first == BEGINNING:
            player = Player(session.header)
            lines = numbered(session.lines(), 0)
        else:
            player, self.exact = Primed(session.header), False
            lines = chain(session.whole_books(older), numbered(session.lines(first), None))
        self._player = player
        for line in lines:
            if isinstance(line, Header):
                continue
            if last is not None and line.n > last:
                return
            if isinstance(line, Lost) and isinstance(player, Player):
                # Some inputs are missing, so it would do something else from here on.
                markets = {each.market: each.tokens for each in player.engine.status(player.now).markets}
                player = self._player = Primed(session.header, markets, player.now)
                self.exact = False
            if isinstance(player, Player) or (self._concerns(line) and not self._is_stale(line)):
                yield self._step(session, player, line)

    def _concerns(self, line: Line) -> bool:
        """Whether a line may be about the tokens that are looked at."""
        wanted = self._wanted
        if not wanted:
            return True
        if isinstance(line, Book):
            return line.token in wanted
        # A change names both tokens of its market.
        return not isinstance(line, Heard) or any(token in line.data for token in wanted)

    def _is_stale(self, line: Line) -> bool:
        """Whether a line is of no use to a replay that begins in the middle, so long before its start."""
        early = self._start is not None and line.w / 1e9 < self._start - LEAD_SECONDS
        return early and isinstance(line, (Asked, Answered, Ticked, Sent))

    def _step(self, session: Session, player: Player | Primed, line: Line) -> ReplayStep:
        events, changed = player.play(line)
        return ReplayStep(seconds_of(line.t), line.w / 1e9, session.name, line, tuple(events), changed)


def numbered(lines: Iterable[Line], expected: int | None) -> Iterator[Line]:
    """Yield lines, and before each jump of their numbers a line that says what is missing."""
    for line in lines:
        if isinstance(line, Lost):
            expected = None if line.count < 0 else line.n + line.count
        elif not isinstance(line, Header):
            if expected is not None and line.n > expected:
                yield Lost(expected, line.t, line.w, line.n - expected, line.t, line.t, "these lines are not there")
            expected = line.n + 1
        yield line


class _Pace:
    """Keeps the distances between the steps of each session, by the mirror's clock: the time of day may be set."""

    def __init__(self, speed: float, sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
        self._speed = speed
        self._sleep = sleep
        self._clock = clock
        self._began: tuple[float, float] | None = None

    def begin(self) -> None:
        """Begin with a session: each has a clock of its own."""
        self._began = None

    def wait_for(self, at: float) -> None:
        """Wait until a step is due."""
        now = self._clock()
        if self._began is None:
            self._began = (at, now)
        due = self._began[1] + (at - self._began[0]) / self._speed
        if due > now:
            self._sleep(due - now)

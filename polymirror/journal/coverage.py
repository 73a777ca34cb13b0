"""What a journal covers: its gaps, the seconds of each book, the share that hashes prove, and the sum of each file.

It is found by replaying it, so what is told here is what anybody gets out of it. Used by ``polymirror journal check``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen
from msgspec import Struct

from polymirror.core.proofs import ProofKind, Verdict
from polymirror.core.states import BookState
from polymirror.journal.format import Closed, End, Lost, Slept
from polymirror.journal.replay import Replay
from polymirror.venue.closing import CloseKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.core.engine import Engine
    from polymirror.journal.replay import ReplayStep

MAX_GAPS: Final = 1_000
"""Gaps that are told one by one; all are counted."""

PROVEN: Final = (Verdict.MATCH.value, Verdict.HEALED.value)
"""Verdicts with which a hash proves a book."""


class FileSum(Struct, frozen=True):
    """One file."""

    name: str
    session: str
    bytes: int
    sha256: str


class Gap(Struct, frozen=True):
    """A stretch of which something is missing, or in which nothing was heard."""

    session: str
    at: float
    """The time of day, in Unix seconds."""
    seconds: float
    """How long it was; 0 if that is not known."""
    lines: int
    """Lines that are missing: at least one; 0 for a machine that slept or a connection that was lost."""
    why: str


class TokenCover(Struct, frozen=True):
    """One token: the seconds for which it was followed, and for which its book was LIVE in the replay."""

    token: str
    seconds: float
    live: float
    changes: int
    """How often its readable view changed."""


class Coverage(Struct, frozen=True):
    """The whole report."""

    sessions: int
    exact: bool
    """Whether nothing is missing, and every session is there from its beginning."""
    ended: int
    """Sessions that came to their end; the others were cut off."""
    seconds: float
    lines: int
    frames: int
    lost: int
    gaps: tuple[Gap, ...]
    """The first of them; ``gap_count`` are all."""
    gap_count: int
    hashes: dict[str, int]
    """Comparisons with a hash, by verdict."""
    hash_share: float | None
    """Of these, the share that proved a book. None: there were none."""
    tokens: tuple[TokenCover, ...]
    files: tuple[FileSum, ...]


@define
class _Token:
    """What is known of a token so far. Times in seconds of its session's clock."""

    since: float
    live_since: float | None = None
    seconds: float = 0.0
    live: float = 0.0
    changes: int = 0


@define
class _Count:
    """The counts of one session while it is replayed."""

    tokens: dict[str, _Token] = field(factory=dict)
    began: float = 0.0
    now: float = 0.0
    ended: bool = False

    def take(self, step: ReplayStep, engine: Engine) -> None:
        """Count one step."""
        self.now = max(self.now, step.at)
        self.ended = self.ended or isinstance(step.line, End)
        for token in step.changed:
            standing = engine.standing(token)
            known = self.tokens.setdefault(token, _Token(self.now))
            known.changes += 1
            is_live = standing is not None and standing.state is BookState.LIVE
            if is_live and known.live_since is None:
                known.live_since = self.now
            elif not is_live:
                self._end_live(known)
        if isinstance(step.line, Lost):
            for known in self.tokens.values():
                self._end_live(known)

    def _end_live(self, token: _Token) -> None:
        if token.live_since is not None:
            token.live += self.now - token.live_since
            token.live_since = None

    def finish(self) -> None:
        """The session is over."""
        for token in self.tokens.values():
            self._end_live(token)
            token.seconds += self.now - token.since


@frozen
class _Part:
    """A token over all sessions."""

    seconds: float = 0.0
    live: float = 0.0
    changes: int = 0


def check(source: Path | str, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Coverage:
    """Replay a folder or a file and return what it covers. ``progress`` hears of lines, and of all that were recorded.

    Raises what :class:`~polymirror.journal.replay.Replay` raises.
    """
    replay = Replay(source)
    counts: dict[str, _Count] = {}
    hashes: Counter[str] = Counter()
    gaps: list[Gap] = []
    gap_count, engine, total = 0, None, sum(f.lines for s in replay.sessions for file in s.files for f in file.frames)
    for step in replay.steps():
        if replay.engine is not engine:
            _add_hashes(hashes, engine, step.at)
            engine = replay.engine
        if step.session not in counts:
            counts[step.session] = _Count(began=step.at)
        counts[step.session].take(step, engine)
        gap = _gap_in(step)
        if gap is not None:
            gap_count += 1
            if len(gaps) < MAX_GAPS:
                gaps.append(gap)
        progress(replay.lines, total)
    _add_hashes(hashes, engine, 0.0)
    parts: dict[str, _Part] = {}
    for count in counts.values():
        count.finish()
        for name, token in count.tokens.items():
            part = parts.get(name, _Part())
            parts[name] = _Part(part.seconds + token.seconds, part.live + token.live, part.changes + token.changes)
    tried = sum(hashes.values()) - hashes[Verdict.UNVERIFIABLE.value]
    return Coverage(
        sessions=len(replay.sessions), exact=replay.exact, ended=sum(count.ended for count in counts.values()),
        seconds=sum(count.now - count.began for count in counts.values()),
        lines=replay.lines, frames=replay.frames, lost=replay.lost,
        gaps=tuple(gaps), gap_count=gap_count, hashes=dict(sorted(hashes.items())),
        hash_share=sum(hashes[each] for each in PROVEN) / tried if tried else None,
        tokens=tuple(
            TokenCover(name, part.seconds, part.live, part.changes) for name, part in sorted(parts.items())
        ),
        files=tuple(
            FileSum(Path(file.name).name, session.name, file.size, _sum_of(file.path))
            for session in replay.sessions for file in session.files
        ),
    )  # fmt: skip


def _add_hashes(hashes: Counter[str], engine: Engine | None, now: float) -> None:
    if engine is not None:
        hashes.update(engine.summary(now).totals.proofs.get(ProofKind.HASH.value, {}))


def _gap_in(step: ReplayStep) -> Gap | None:
    line = step.line
    if isinstance(line, Lost):
        seconds = max(0.0, float(line.until) - float(line.since)) / 1e9 if isinstance(line.until, int) else 0.0
        return Gap(step.session, step.wall, seconds, max(1, line.count), line.why)
    if isinstance(line, Slept):
        return Gap(step.session, step.wall, line.seconds, 0, "the machine slept")
    if isinstance(line, Closed) and line.what != "unreachable" and not line.why.startswith(CloseKind.STOPPED.name):
        return Gap(step.session, step.wall, 0.0, 0, f"socket {line.socket}: {line.why or line.what}")
    return None


def _sum_of(path: Path | None) -> str:
    if path is None:
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

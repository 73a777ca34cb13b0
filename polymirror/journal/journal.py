"""The journal of one mirror: its engine writes lines, a thread of its own writes files.

:class:`polymirror.mirror.Mirror` makes one when it is given a folder, asks it for the engine, starts and stops it, and
tells people what it has to say. Recording never slows the mirror and never ends it.
"""

from __future__ import annotations

import platform
import secrets
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from attrs import asdict

from polymirror.errors import ConfigError
from polymirror.journal.format import FORMAT, End, Header, stamp
from polymirror.journal.recorded import Recorded
from polymirror.journal.recorder import RecordingEngine
from polymirror.journal.writer import KIND, Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from polymirror.config import MirrorConfig
    from polymirror.journal.format import Line

CLOSE_SECONDS: Final = 5.0
"""What waits to be written at the end is waited for, so long at most."""


def make_header(config: MirrorConfig, seed: int, session: str, number: int, first: Line) -> Header:
    """Return the first line of a file that begins with ``first``."""
    return Header(
        n=first.n, t=first.t, w=first.w, format=FORMAT, session=session, file=number,
        polymirror=version("polymirror"), python=platform.python_version(),
        seed=seed, engine=asdict(config.engine), hedge=config.hedge,
        book_seconds=config.journal.book_seconds,
    )  # fmt: skip


class Journal:
    """Records one mirror to files in ``folder``. ``wall`` is the time of day in seconds.

    Raises MissingExtra without the extra ``recordings``.
    """

    def __init__(self, folder: Path, config: MirrorConfig, seed: int, wall: Callable[[], float]) -> None:
        self.folder = folder
        self._config = config
        self._seed = seed
        self._wall = wall
        began = datetime.fromtimestamp(wall(), UTC)
        self.session: str = f"{began:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self._writer = Writer(folder, self.session, self._header, config.journal)
        self._recorder: RecordingEngine | None = None

    @classmethod
    def of(cls, folder: object, config: MirrorConfig, seed: int, wall: Callable[[], float]) -> Self:
        """Make the journal that a mirror was asked for. Raises ConfigError for what is no path."""
        if not isinstance(folder, (str, Path)) or not str(folder):
            raise ConfigError("journal", folder, "the path of a folder")
        return cls(Path(folder), config, seed, wall)

    def engine(self, rng: Random) -> RecordingEngine:
        """Make the engine that is recorded. Its jitter is drawn from ``rng``, which the seed has made."""
        config = self._config
        seconds = config.journal.book_seconds
        self._recorder = RecordingEngine(config.engine, rng, self.put, self._wall, seconds, self.count_files)
        return self._recorder

    def record(self, engine: RecordingEngine) -> None:
        """Record an engine that somebody else made, and that gives its lines to :meth:`put`."""
        self._recorder = engine

    @property
    def put(self) -> Callable[[Line], None]:
        """What has a line written."""
        return self._writer.put

    def count_files(self) -> int:
        """Return how many files were begun: whoever opens a new one alone needs all books."""
        return self._writer.files

    def _header(self, number: int, first: Line) -> Header:
        return make_header(self._config, self._seed, self.session, number, first)

    @property
    def recorded(self) -> Recorded:
        """What was recorded so far."""
        lines = 0 if self._recorder is None else self._recorder.lines
        return Recorded(self.session, self.folder, self._writer.files, lines, self._writer.lost, self._writer.bytes)

    def start(self, now: Callable[[], float], warn: Callable[[str, str], None]) -> Callable[[], None]:
        """Begin to write; return what ends it. ``warn`` hears by kind and detail what keeps it from writing.

        ``now`` is the mirror's monotonic clock. Raises nothing.
        """
        self._now, self._warn = now, warn
        self._writer.start()
        return self._stop

    def _stop(self) -> None:
        """Write what waits, and end the files."""
        n = 0 if self._recorder is None else self._recorder.lines
        self._writer.put(End(n, stamp(self._now()), round(self._wall() * 1e9)))
        complete = self._writer.close(CLOSE_SECONDS)
        self.tell()
        if not complete:
            self._warn(f"{KIND} end", "not all that was recorded could be written")

    def tell(self) -> None:
        """Tell what happened to the files since the last call."""
        waiting = self._writer.troubles
        while waiting:
            self._warn(*waiting.popleft())

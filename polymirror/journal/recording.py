"""What a mirror writes down of itself: a journal of everything, bundles of incidents, both or neither.

:class:`polymirror.mirror.Mirror` makes one :class:`Recording`, takes its engine from it if there is any, starts it and
asks it to tell what it has to say. Nothing of it slows or ends the mirror.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from polymirror.errors import ConfigError
from polymirror.journal.incident.incidents import Incidents
from polymirror.journal.journal import Journal, make_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from polymirror.config import MirrorConfig
    from polymirror.journal.recorded import IncidentNote, Recorded
    from polymirror.journal.recorder import RecordingEngine
    from polymirror.venue.rest import Bodies

CLOSE_SECONDS: Final = 5.0
"""Bundles that wait to be written at the end are waited for, so long at most."""


class Recording:
    """``journal`` and ``incidents`` are folders, or None. Raises ConfigError for what is no path, and MissingExtra."""

    def __init__(
        self,
        journal: object,
        incidents: object,
        config: MirrorConfig,
        seed: int,
        wall: Callable[[], float],
        name_of: Callable[[str], str],
    ) -> None:
        self._config = config
        self._journal = None if journal is None else Journal.of(journal, config, seed, wall)
        self._incidents: Incidents | None = None
        if incidents is not None:
            if not isinstance(incidents, (str, Path)) or not str(incidents):
                raise ConfigError("incidents", incidents, "the path of a folder")
            began = f"{datetime.fromtimestamp(wall(), UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
            session = began if self._journal is None else self._journal.session
            self._incidents = Incidents(
                Path(incidents), config, lambda number, first: make_header(config, seed, session, number, first), wall,
                name_of,
            )  # fmt: skip

    @property
    def recorded(self) -> Recorded | None:
        """What was recorded so far. None: no journal is kept."""
        return None if self._journal is None else self._journal.recorded

    def notes(self, token: str | None) -> tuple[IncidentNote, ...]:
        """Return the newest incidents, newest first: all, or those of the market with this token."""
        return () if self._incidents is None else self._incidents.notes(token)

    def engine(self, rng: Random) -> RecordingEngine:
        """Make the engine that is recorded. Its jitter is drawn from ``rng``, which the seed has made."""
        if self._incidents is not None:
            config = self._config
            made: RecordingEngine = self._incidents.engine(
                config.engine, rng, self._journal, config.journal.book_seconds
            )
            if self._journal is not None:
                self._journal.record(made)
        elif self._journal is not None:
            made = self._journal.engine(rng)
        else:
            raise ConfigError("journal", None, "the path of a folder, or one for incidents")
        self._recorder = made
        return made

    def note_bodies(self, request: int, bodies: Bodies) -> None:
        """Keep the texts of an answer that the engine takes next."""
        self._recorder.note_bodies(request, bodies)

    def start(self, now: Callable[[], float], warn: Callable[[str, str], None]) -> Callable[[], None]:
        """Begin to write; return what ends it. ``warn`` hears by kind and detail what is to be told. Raises nothing."""
        self._now, self._warn = now, warn
        ends = [] if self._journal is None else [self._journal.start(now, warn)]
        if self._incidents is not None:
            self._incidents.start()

        def stop() -> None:
            incidents = self._incidents
            if incidents is not None:
                complete = incidents.stop(now(), CLOSE_SECONDS)
                incidents.tell(warn)
                if not complete:
                    warn("incident", "not all bundles could be written")
            for end in ends:
                end()

        return stop

    def tell(self) -> None:
        """Tell what happened to the files since the last call."""
        if self._journal is not None:
            self._journal.tell()
        if self._incidents is not None:
            self._incidents.tell(self._warn)

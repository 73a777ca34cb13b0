"""What a mirror has written down so far: :attr:`Mirror.recorded` and :meth:`Mirror.incidents`."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - typing.get_type_hints of what users read finds them
from pathlib import Path  # noqa: TC003
from random import Random  # noqa: TC003
from typing import Protocol

from attrs import frozen

from polymirror.core.engine import Engine  # noqa: TC001
from polymirror.core.states import Reason  # noqa: TC001
from polymirror.venue.rest import Bodies  # noqa: TC001


@frozen
class Recorded:
    """What was recorded so far."""

    session: str
    """Names this run; the names of its files begin with it."""
    folder: Path
    files: int
    lines: int
    """Lines that were made; those that are lost are among them."""
    lost: int
    bytes: int
    """Bytes in the files."""


@frozen
class IncidentNote:
    """One loss of trust that was worth a bundle: what is known of it without reading the bundle."""

    at: float
    """When it began, in seconds on the mirror's clock,"""
    wall: float
    """and in Unix seconds."""
    market: str
    tokens: tuple[str, ...]
    token: str
    """The first token whose book left LIVE,"""
    name: str
    """its market and outcome for people,"""
    reason: Reason
    """and why it did."""
    detail: str
    path: Path | None
    """Where the bundle is, or will be once the incident is over; None: there were too many incidents for one."""


class Recording(Protocol):
    """What a mirror needs of what writes it down, which is imported where something is written."""

    @property
    def recorded(self) -> Recorded | None:
        """What was recorded so far. None: no journal is kept."""

    def notes(self, token: str | None) -> tuple[IncidentNote, ...]:
        """The newest incidents, newest first: all, or those of the market with this token."""

    def engine(self, rng: Random) -> Engine:
        """Make the engine that is recorded."""

    def start(self, now: Callable[[], float], warn: Callable[[str, str], None]) -> Callable[[], None]:
        """Begin to write; return what ends it."""

    def note_bodies(self, request: int, bodies: Bodies) -> None:
        """Keep the texts of an answer that the engine takes next."""

    def tell(self) -> None:
        """Tell what happened to the files since the last call."""

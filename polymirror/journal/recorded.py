"""What a mirror has recorded so far: :attr:`polymirror.mirror.Mirror.recorded`."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - typing.get_type_hints of what users read finds them
from pathlib import Path  # noqa: TC003
from random import Random  # noqa: TC003
from typing import Protocol

from attrs import frozen

from polymirror.core.engine import Engine  # noqa: TC001
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


class Recording(Protocol):
    """What a mirror needs of its journal, which is imported where something is recorded."""

    @property
    def recorded(self) -> Recorded:
        """What was recorded so far."""

    def engine(self, rng: Random) -> Engine:
        """Make the engine that is recorded."""

    def start(self, now: Callable[[], float], warn: Callable[[str, str], None]) -> Callable[[], None]:
        """Begin to write; return what ends it."""

    def note_bodies(self, request: int, bodies: Bodies) -> None:
        """Keep the texts of an answer that the engine takes next."""

    def tell(self) -> None:
        """Tell what happened to the files since the last call."""

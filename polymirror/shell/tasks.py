"""How failures inside the mirror reach its caller: alone, and in the mirror's own words.

Two context managers, used by :mod:`polymirror.mirror` only. The errors themselves are in :mod:`polymirror.errors`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from polymirror.venue.groups import first_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polymirror.core.engine import Engine


class Refusing(Protocol):
    """What is needed of a mirror."""

    @property
    def engine(self) -> Engine:
        """It knows what a book lacks."""

    def now(self) -> float:
        """Return the mirror's monotonic clock in seconds."""


@contextmanager
def alone() -> Iterator[None]:
    """Raise what made a task fail as it is, however deep in groups it is: callers expect no group of errors.

    When several tasks failed, the first one's error is raised, and its notes tell of the others.
    """
    try:
        yield
    except BaseExceptionGroup as errors:
        error = first_of(errors)
        raise error from error.__cause__


@contextmanager
def as_not_live(mirror: Refusing, token: str) -> Iterator[None]:
    """Turn a time-out into the refusal that says what the book lacked."""
    try:
        yield
    except TimeoutError:
        raise mirror.engine.refusal(token, mirror.now(), detail="no proof in time") from None

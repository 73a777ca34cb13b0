"""How failures inside the mirror reach its caller: alone, and in the mirror's own words.

Two context managers, used by :mod:`polymirror.mirror` only. The errors themselves are in :mod:`polymirror.errors`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polymirror.mirror import Mirror


@contextmanager
def alone() -> Iterator[None]:
    """Raise what made a task fail as it is: callers expect no group of errors."""
    try:
        yield
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__


@contextmanager
def as_not_live(mirror: Mirror, token: str) -> Iterator[None]:
    """Turn a time-out into the refusal that says what the book lacked."""
    try:
        yield
    except TimeoutError:
        raise mirror.engine.refusal(token, mirror.now(), detail="no proof in time") from None

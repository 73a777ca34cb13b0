"""How failures inside the mirror reach its caller: alone, and in the mirror's own words.

Two context managers, used by :mod:`polymirror.mirror` only. The errors themselves are in :mod:`polymirror.errors`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from polymirror.errors import NotLive
from polymirror.venue.groups import first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from polymirror.core.engine import Engine


MAX_ALSO: Final = 4
"""Books that a refusal tells of beside the first."""


class Refusing(Protocol):
    """What is needed of a mirror."""

    @property
    def engine(self) -> Engine:
        """It knows what a book lacks."""

    def now(self) -> float:
        """Return the mirror's monotonic clock in seconds."""


def all_of(refusals: Sequence[NotLive], how: str, name_of: Callable[[str], str]) -> NotLive:
    """Return one refusal that tells of several: the first, ``how`` it came to it, and the next few in short.

    ``name_of(token)`` is what people call it, or empty. A cause that all have in common is told once.
    """
    first, others = refusals[0], refusals[1:]
    also = [
        f"{name_of(each.token) or each.token} is {each.state.name}"
        + (f": {each.detail}" if each.detail and each.detail != first.detail else "")
        for each in others[:MAX_ALSO]
    ]
    more = [f"and {len(others) - MAX_ALSO} more"] if len(others) > MAX_ALSO else []
    detail = "; ".join([part for part in (name_of(first.token), first.detail, how) if part] + also + more)
    return NotLive(first.token, first.state, first.reason, first.age, first.epoch, first.max_proof_age, detail)


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

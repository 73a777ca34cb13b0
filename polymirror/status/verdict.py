"""Whether a mirror is well, and whether it is ready: what ``/health`` and ``/ready`` answer, in words. Pure.

*Well* is for whoever restarts or wakes somebody: a book that is lost now and then is everyday life, so only a mirror
that offers nothing for a while is unwell. *Ready* is for whoever is to send work: it asks how many books may be read
at this moment.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from polymirror.core.states import BookState
from polymirror.errors import ConfigError
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from polymirror.status.health import MirrorStatus

DARK_SECONDS: Final = 30.0
"""Seconds without any LIVE book after which a mirror is unwell: more than a reconnection takes, or a start."""

READY_SHARE: Final = 0.9
"""The share of the books that is LIVE when a mirror is ready, if nobody asks for another."""

MAX_NAMED: Final = 3
"""Things that one problem names."""


class Readiness(Struct, frozen=True, kw_only=True):
    """How many books may be read."""

    ready: bool
    live: int
    books: int
    """All but those whose market is over."""
    share: float
    """LIVE ones of these; 0 without any."""
    wanted: float
    missing: int
    """What is looked for and not found yet; each counts as a book that is not LIVE."""


def readiness(status: MirrorStatus, wanted: float) -> Readiness:
    """Return whether a share ``wanted`` (0 to 1) of the books is LIVE. A mirror without any book is not ready."""
    states = status.totals.states
    live = states.get(BookState.LIVE.name, 0)
    books = sum(states.values()) - states.get(BookState.RETIRED.name, 0)
    missing = len(status.missing)
    share = live / (books + missing) if books else 0.0
    ready = status.running and live > 0 and share >= wanted
    return Readiness(ready=ready, live=live, books=books, share=share, wanted=wanted, missing=missing)


def problems(status: MirrorStatus, dark_since: float | None) -> list[str]:
    """Return what is wrong with a mirror, in words; nothing if it is well. ``dark_since``: when its last book went."""
    if not status.running:
        return ["the mirror does not run"]
    dark = 0.0 if dark_since is None else status.at - dark_since
    if dark < DARK_SECONDS:
        return []
    out = Counter(f"{each.state.name} ({each.reason.name})" for each in status.tokens if each.state not in _CALM)
    if out:
        told = ", ".join(f"{count} {what}" for what, count in out.most_common(MAX_NAMED))
        why = f": {status.trouble}" if status.trouble else ""
        return [harmless(f"no book is LIVE for {dark:.0f} s: {told}{why}", 500)]
    if status.missing and not status.tokens:
        names = list(status.missing)
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        return [harmless(f"nothing is found for {dark:.0f} s: {', '.join(names[:MAX_NAMED])}{more}", 500)]
    return []


_CALM: Final = frozenset({BookState.LIVE, BookState.RETIRED})

SHARES: Final = "a number from 0 to 1"


def checked_share(field: str, value: object) -> float:
    """Return a share of the books. Raises ConfigError."""
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    raise ConfigError(field, value, SHARES)


def read_share(field: str, text: str) -> float:
    """Return a share that somebody wrote. Raises ConfigError."""
    try:
        return checked_share(field, float(text))
    except ValueError:
        raise ConfigError(field, text, SHARES) from None

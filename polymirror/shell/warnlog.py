"""The log: warnings that name each kind of trouble once and then only count it for a while, and changes of trust."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from polymirror.core.states import BookState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.core.events import Transition

log: logging.Logger = logging.getLogger("polymirror")

INTERVAL = 10.0
"""Seconds for which further warnings of one kind are only counted."""

MAX_KINDS = 256
"""Kinds that are told apart; more are counted together."""


MAX_TOLD = 4
"""Changes of trust that come out of one input and are told in a line each; more are summed up."""

MAX_LINE = 500
"""Characters of a warning that are logged: much of it may be what the other side wrote."""


class WarnLog:
    """A logger that a hostile or broken input cannot flood."""

    def __init__(self) -> None:
        # By kind: when it was last logged, and how often it came since.
        self._seen: dict[str, tuple[float, int]] = {}

    def warn(self, kind: str, detail: str, now: float) -> bool:
        """Log a warning unless its kind was logged within the interval. Return whether it was logged."""
        if kind not in self._seen and len(self._seen) >= MAX_KINDS:
            kind, detail = "others", f"{kind}: {detail}"
        at, suppressed = self._seen.get(kind, (float("-inf"), 0))
        if now - at < INTERVAL:
            self._seen[kind] = (at, suppressed + 1)
            return False
        more = f" ({suppressed} more of this kind since)" if suppressed else ""
        log.warning("%s%s", _one_line(f"{kind}: {detail}"), more)
        self._seen[kind] = (now, 0)
        return True


def log_transitions(to: logging.Logger, transitions: Sequence[Transition]) -> None:
    """Tell each loss of trust, each recovery and each end, at level INFO: a line each, or one for many at once."""
    trust = (BookState.LIVE, BookState.RETIRED)
    told = [each for each in transitions if each.old in trust or each.new in trust]
    if len(told) <= MAX_TOLD:
        for each in told:
            to.info("%s", _one_line(str(each)))
        return
    sums = Counter((each.old.name, each.new.name, each.reason.name) for each in told)
    for (old, new, reason), count in sums.items():
        to.info("%d books %s -> %s %s", count, old, new, reason)


def _one_line(text: str) -> str:
    """Replace what could break the line or drive a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_LINE])

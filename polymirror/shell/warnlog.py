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
        return self._tell(logging.WARNING, kind, detail, now)

    def failed(self, kind: str, error: BaseException, now: float) -> bool:
        """Log an error of the user's own code: with its traceback the first time, and as rarely as warnings after that.

        Return whether it was logged.
        """
        if len(self._seen) >= MAX_KINDS:
            kind = kind if kind in self._seen else "other errors"
        known = kind in self._seen
        return self._tell(logging.ERROR, kind, str(error), now, None if known else error)

    def _tell(self, level: int, kind: str, detail: str, now: float, error: BaseException | None = None) -> bool:
        at, suppressed = self._seen.get(kind, (float("-inf"), 0))
        if now - at < INTERVAL:
            self._seen[kind] = (at, suppressed + 1)
            return False
        more = f" ({suppressed} more of this kind since)" if suppressed else ""
        log.log(level, "%s%s", one_line(f"{kind}: {detail}"), more, exc_info=error)
        self._seen[kind] = (now, 0)
        return True


def log_transitions(to: logging.Logger, transitions: Sequence[Transition]) -> None:
    """Tell each loss of trust, each recovery and each end, at level INFO: a line each, or one for many at once."""
    trust = (BookState.LIVE, BookState.RETIRED)
    told = [each for each in transitions if each.old in trust or each.new in trust]
    if len(told) <= MAX_TOLD:
        for each in told:
            to.info("%s", one_line(str(each)))
        return
    sums = Counter((each.old.name, each.new.name, each.reason.name) for each in told)
    for (old, new, reason), count in sums.items():
        to.info("%d books %s -> %s %s", count, old, new, reason)


def one_line(text: str) -> str:
    """Replace what could break the line or drive a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_LINE])

"""Warnings that name each kind of trouble once and then only count it for a while."""

from __future__ import annotations

import logging

from polymirror.harmless import harmless

log: logging.Logger = logging.getLogger("polymirror")

INTERVAL = 10.0
"""Seconds for which further warnings of one kind are only counted."""

MAX_KINDS = 256
"""Kinds that are told apart; more are counted together."""

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
        log.log(level, "%s%s", harmless(f"{kind}: {detail}", MAX_LINE), more, exc_info=error)
        self._seen[kind] = (now, 0)
        return True

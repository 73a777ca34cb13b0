"""The lines about connections that are lost or do not open: each is told while it is news, and rarely once it is not.

A venue that is down for hours would fill the log with one sentence. Of one kind of end there are four lines in the
first ten seconds; while it goes on, one in twenty seconds, in forty, and so on up to one in ten minutes, each with a
count of what was left out. A kind that has not come for a minute, and for as long as it was held back, is news again.
Connections that open are told likewise. Pure but for the logger; a mirror's streams share one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from attrs import define

from polymirror.harmless import harmless
from polymirror.venue.closing import CloseKind

if TYPE_CHECKING:
    from polymirror.venue.closing import CloseCause

MAX_LINE: Final = 1_000
"""Characters of a line: an address may have a list of feeds."""

# What people who set levels know: the lines are the streams'.
logger: logging.Logger = logging.getLogger("polymirror.venue.stream")

FIRST: Final = 10.0
"""Seconds of the first interval; each one in which the same goes on is twice as long as the last."""

LONGEST: Final = 600.0
"""Seconds of the longest."""

QUIET: Final = 60.0
"""Seconds after an interval within which what comes goes on, at least: attempts may be half a minute apart."""

MAX_FIRST: Final = 4
"""Lines of one kind in the first interval: most often several connections are lost at once. In later ones it is one."""

OWN: Final = frozenset({CloseKind.STOPPED, CloseKind.REQUESTED})
"""Ends that are our own doing, and no warnings."""


@define(eq=False)
class Kind:
    """What was told of one kind of end. Times in seconds on a monotonic clock."""

    until: float = float("-inf")
    """The end of the interval."""
    interval: float = 0.0
    lines: int = 0
    """In this interval."""
    left_out: int = 0
    """Since the last line."""

    def is_news(self, now: float) -> bool:
        """Count one that happens now; return whether it is to be told."""
        if now >= self.until:
            goes_on = now - self.until < max(self.interval, QUIET)
            self.interval = min(2 * self.interval, LONGEST) if goes_on else FIRST
            self.until, self.lines = now + self.interval, 0
        if self.lines >= (MAX_FIRST if self.interval == FIRST else 1):
            self.left_out += 1
            return False
        self.lines += 1
        return True


class LossLog:
    """Tells how connections ended, and that they opened."""

    def __init__(self) -> None:
        # There are eight kinds of end; None: opened.
        self._kinds: dict[CloseKind | None, Kind] = {}

    def lost(self, name: str, cause: CloseCause, now: float) -> None:
        """Tell how the connection of this name ended, or that an attempt failed."""
        self._tell(cause.kind, logging.INFO if cause.kind in OWN else logging.WARNING, f"{name}: {cause}", now)

    def opened(self, name: str, url: str, failed: int, now: float) -> None:
        """Tell that it opened, after so many attempts that had failed since the last one that did."""
        after = f", after {failed} attempts that failed" if failed else ""
        self._tell(None, logging.INFO, f"{name}: connected to {url}{after}", now)

    def _tell(self, key: CloseKind | None, level: int, line: str, now: float) -> None:
        kind = self._kinds.setdefault(key, Kind())
        if kind.is_news(now):
            more = f" ({kind.left_out} more of this kind since)" if kind.left_out else ""
            kind.left_out = 0
            logger.log(level, "%s%s", harmless(line, MAX_LINE), more)

"""The log of trust: a line for each loss, recovery and end, and few lines for many of them.

A loss of trust is a warning, all else is information. Up to four of a kind are told in a line each within ten seconds;
when more come at once or after that, one line sums them up, so that nothing is left out and nobody is flooded. A book
that was not told of in these ten seconds is told at once, or within a second of the last line; what repeats of the
others, when the ten seconds are over. Pure but for the logger; :mod:`polymirror.shell.teller` has the timer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from polymirror.core.states import BookState
from polymirror.harmless import harmless
from polymirror.shell.warnlog import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.core.events import Transition

log: logging.Logger = logging.getLogger("polymirror")

INTERVAL: Final = 10.0
"""Seconds for which what exceeds :data:`MAX_TOLD` is only counted, where books are told of already."""

SOON: Final = 1.0
"""Seconds between two lines of one kind that tell of other books, beyond :data:`MAX_TOLD`."""

MAX_TOLD: Final = 4
"""Lines of one kind within the interval, and names in a line that sums up."""

MAX_ID: Final = 12
"""Characters of a token id that are told whole."""

_NEVER: Final = float("-inf")


@frozen
class Told:
    """One change of trust, in words."""

    level: int
    what: str
    """What happened, such as ``lost trust in``."""
    why: str
    measure: str
    """What ``seconds`` are, such as ``oldest proof``; only the largest is told where many are summed up."""
    seconds: float | None
    name: str
    line: str


@define(eq=False)
class Kind:
    """Changes of one kind: those told in this interval, and those that are only counted yet."""

    began: float = _NEVER
    lines: int = 0
    spoke: float = _NEVER
    """When the last line was."""
    known: set[str] = field(factory=set)
    """The books that were told of: at most all there are."""
    waiting: list[Told] = field(factory=list)
    hurry: bool = False
    """Whether a book waits that is not known."""

    @property
    def due(self) -> float:
        """When to sum up what waits."""
        return min(self.began + INTERVAL, self.spoke + SOON) if self.hurry else self.began + INTERVAL


class TrustLog:
    """``name_of(token)`` gives the slug and outcome of a token. Times in seconds on the mirror's monotonic clock."""

    def __init__(self, name_of: Callable[[str], str]) -> None:
        self._name_of = name_of
        # By what happened and why. Bounded: a dozen each.
        self._kinds: dict[tuple[str, str], Kind] = {}
        # Books that lost trust: when and why.
        self._lost: dict[str, tuple[float, str]] = {}
        self.losses: int = 0
        self.recoveries: int = 0

    def tell(self, transitions: Iterable[Transition]) -> None:
        """Tell of what one input changed."""
        groups: dict[tuple[str, str], list[Told]] = {}
        at = _NEVER
        for transition in transitions:
            at = transition.at
            told = self._describe(transition)
            if told is not None:
                groups.setdefault((told.what, told.why), []).append(told)
        for key, group in groups.items():
            kind = self._kinds.setdefault(key, Kind())
            if at - kind.began >= INTERVAL and not kind.waiting:
                kind.began, kind.lines = at, 0
                kind.known.clear()
            if kind.waiting or kind.lines + len(group) > MAX_TOLD:
                kind.waiting += group
                kind.hurry = kind.hurry or any(told.name not in kind.known for told in group)
                if not kind.lines or at >= kind.due:
                    self._sum_up(kind, at)
            else:
                kind.lines += len(group)
                kind.spoke = at
                for told in group:
                    kind.known.add(told.name)
                    log.log(told.level, "%s", harmless(told.line, MAX_LINE))

    def due(self) -> float | None:
        """Return when to sum up what is only counted yet; None: nothing is."""
        return min((kind.due for kind in self._kinds.values() if kind.waiting), default=None)

    def sum_up(self, now: float) -> None:
        """Sum up what is due; infinity: everything."""
        for kind in self._kinds.values():
            if kind.waiting and now >= kind.due:
                self._sum_up(kind, now)

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop what is known about tokens that are mirrored no more."""
        for token in tokens:
            self._lost.pop(token, None)

    def _sum_up(self, kind: Kind, now: float) -> None:
        waiting, kind.waiting = kind.waiting, []
        if now >= kind.began + INTERVAL:
            kind.began = min(now, kind.began + INTERVAL)
            kind.known.clear()
        kind.lines, kind.spoke, kind.hurry = MAX_TOLD, now, False
        kind.known.update(told.name for told in waiting)
        first, count = waiting[0], len(waiting)
        if count == 1:
            log.log(first.level, "%s", harmless(first.line, MAX_LINE))
            return
        seconds = max((told.seconds for told in waiting if told.seconds is not None), default=None)
        names = list(dict.fromkeys(told.name for told in waiting))
        among = ", ".join(names[:MAX_TOLD]) + (f" and {len(names) - MAX_TOLD} more" if len(names) > MAX_TOLD else "")
        worst = "" if seconds is None else f", {first.measure} {seconds:.3f} s"
        changes = "1 book" if len(names) == 1 else f"{len(names)} books"
        times = f" ({count} times)" if count > len(names) else ""
        line = f"{first.what} {changes}{times}: {first.why}{worst}: {among}"
        log.log(first.level, "%s", harmless(line, MAX_LINE))

    def _describe(self, it: Transition) -> Told | None:
        level, why, timing, measure, seconds = logging.INFO, it.reason.name, "", "", None
        if it.new is BookState.RETIRED:
            what = "market over:"
            self._lost.pop(it.token, None)
        elif it.old is BookState.RETIRED:
            what = "life again in"
        elif it.old is BookState.LIVE:
            level, what, measure, seconds = logging.WARNING, "lost trust in", "oldest proof", it.proof_age
            timing = ", never proven" if seconds is None else f", proven {seconds:.3f} s ago"
            self.losses += 1
            self._lost[it.token] = (it.at, why)
        elif it.new is BookState.LIVE and it.token in self._lost:
            at, lost_by = self._lost.pop(it.token)
            what, why, measure, seconds = "trust again in", f"was {lost_by}", "longest outage", it.at - at
            timing = f", out for {seconds:.3f} s"
            self.recoveries += 1
        elif it.new is BookState.LIVE:
            what, why = "trust in", "first proof"
        elif it.old is BookState.UNPRIMED:
            level, what = logging.WARNING, "no book yet of"
        else:
            return None
        name = self._name(it.token)
        detail = f" ({it.detail})" if it.detail else ""
        return Told(level, what, why, measure, seconds, name, f"{what} {name}: {why}{detail}{timing}, epoch {it.epoch}")

    def _name(self, token: str) -> str:
        short = token if len(token) <= MAX_ID else f"{token[:6]}..{token[-4:]}"
        return f"{self._name_of(token)} ({short})".lstrip()

"""Which tokens changed, in order and how often, for any number of readers that each look when they like.

Noting a change costs the same however many readers there are: it goes into a short log, which is folded into one
table now and then. A reader remembers up to where it has looked, so a slow one costs nothing while it does not look,
and the memory of each is bounded by the number of tokens. Pure; :mod:`polymirror.shell.subscribers` wakes the readers.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MAX_LOG: Final = 1_024
"""Inputs whose changed tokens are kept apart before they are folded. Measured: a twentieth of the cost of a table
that is kept up to date with each input."""


class Changes:
    """The log and the table."""

    def __init__(self) -> None:
        # The tokens that each input changed, oldest first, not folded yet.
        self._log: list[tuple[str, ...]] = []
        # By token, how often it changed.
        self.totals: dict[str, int] = {}
        # By token, the fold in which it changed last; in the order of these.
        self._last: dict[str, int] = {}
        self.folds: int = 0

    def note(self, changed: tuple[str, ...]) -> None:
        """Note the tokens that one input changed."""
        self._log.append(changed)
        if len(self._log) >= MAX_LOG:
            self.fold()

    def fold(self) -> None:
        """Bring the table up to date."""
        if not self._log:
            return
        counts = Counter(chain.from_iterable(self._log))
        self._log.clear()
        self.folds += 1
        for token, count in counts.items():
            self.totals[token] = self.totals.get(token, 0) + count
            # At the end: the table's order is that of the last changes.
            self._last.pop(token, None)
            self._last[token] = self.folds

    def since(self, fold: int, tokens: Collection[str]) -> list[str]:
        """Return the tokens (all, or some of ``tokens``) that changed after a fold, the longest ago first."""
        last = self._last
        if tokens:
            found = [token for token in tokens if last.get(token, 0) > fold]
            return sorted(found, key=lambda token: last[token])
        found = []
        for token in reversed(last):
            if last[token] <= fold:
                break
            found.append(token)
        found.reverse()
        return found

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop tokens: their number over time has no bound."""
        self.fold()
        for token in tokens:
            self.totals.pop(token, None)
            self._last.pop(token, None)


class Reader:
    """One reader's place: what it has seen, and what it has not. ``tokens`` limits it; empty means all."""

    def __init__(self, changes: Changes, tokens: Iterable[str] = ()) -> None:
        changes.fold()
        self._changes = changes
        # In the order in which they were given, so that every run reads in the same order.
        self.tokens: tuple[str, ...] = tuple(dict.fromkeys(tokens))
        # Up to where it has looked.
        self._fold = changes.folds
        # By token, how many of its changes were taken or came before this reader.
        totals = changes.totals
        self._seen = {token: totals[token] for token in self.tokens or totals if token in totals}
        # Changed tokens that were looked up and not taken yet.
        self._queue: deque[str] = deque()
        self._ended = False

    def look(self) -> bool:
        """Look up what changed since the last look, if all of that was taken; return whether there is anything."""
        self._changes.fold()
        if not self._queue and not self._ended:
            self._queue.extend(self._changes.since(self._fold, self.tokens))
            self._fold = self._changes.folds
        return bool(self._queue)

    def take(self, *, looks: bool = True) -> tuple[str, int] | None:
        """Return the next changed token, and how often it changed since it was taken last; None: there is none.

        With ``looks`` false, only what was looked up before is taken.
        """
        while self._queue or (looks and self.look()):
            self._changes.fold()
            token = self._queue.popleft()
            total, seen = self._changes.totals.get(token, 0), self._seen.get(token, 0)
            if total > seen:
                self._seen[token] = total
                return token, total - seen
        return None

    def pending(self) -> set[str]:
        """Return the tokens that would be taken next."""
        self._changes.fold()
        tokens = {*self._queue, *(() if self._ended else self._changes.since(self._fold, self.tokens))}
        return {token for token in tokens if self._changes.totals.get(token, 0) > self._seen.get(token, 0)}

    def end(self) -> None:
        """Look for the last time: only what changed up to now can still be taken."""
        if not self._ended:
            waiting = self.pending()
            self._changes.fold()
            found = self._changes.since(self._fold, self.tokens)
            self._queue = deque(dict.fromkeys(token for token in (*self._queue, *found) if token in waiting))
            self._ended = True

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop what is known of tokens that are mirrored no more."""
        for token in tokens:
            self._seen.pop(token, None)

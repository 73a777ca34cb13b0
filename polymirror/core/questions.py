"""Subscriptions whose opening books have not come yet: answers come in order, and speak for their own question."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

MAX_QUESTIONS: Final = 8
"""Subscriptions of one token whose answers are waited for at once: later ones are dated by one of these."""


class Question(Struct, frozen=True, gc=False):
    """A subscription that was sent on one connection of a socket, in seconds on the mirror's monotonic clock."""

    asked_at: float
    lane: int


class Questions(Struct, eq=False, gc=False):
    """When one token's open subscriptions were sent, oldest first. It is in no cycle: no work for the collector."""

    # A deque would take 600 bytes more for each token.
    _asked: list[Question] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._asked)

    def begin(self, now: float, lane: int = 0) -> None:
        """The token was subscribed on a new socket: nothing that was asked before is answered there."""
        self._asked.clear()
        self._asked.append(Question(now, lane))

    def ask(self, now: float, lane: int = 0) -> None:
        """The token was subscribed anew, or on another connection: another opening book will come there."""
        if len(self._asked) < MAX_QUESTIONS:
            self._asked.append(Question(now, lane))

    def answered(self, lane: int = 0) -> float | None:
        """Return when the opening book that came on this connection was asked for; None: nobody asked.

        However late it is, it may answer the oldest question: nothing tells a lost answer from a late one. So a lost
        one makes those that follow on its connection look older, each by one subscription, and never younger.
        """
        mine = next((question for question in self._asked if question.lane == lane), None)
        if mine is None:
            return None
        self._asked.remove(mine)
        return mine.asked_at

    def lost(self, lane: int) -> None:
        """One connection of the socket is gone."""
        self._asked = [question for question in self._asked if question.lane != lane]

    def clear(self) -> None:
        """The socket is gone."""
        self._asked.clear()

"""Subscriptions whose opening books have not come yet: answers come in order, and speak for their own question."""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_QUESTIONS: Final = 8
"""Subscriptions of one token whose answers are waited for at once: later ones are dated by one of these."""

LOST_SECONDS: Final = 30.0
"""An answer that has not come after so long is lost, if another was asked for since."""


class Questions:
    """When one token's open subscriptions were sent, oldest first. Seconds on the mirror's monotonic clock."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._asked)

    def begin(self, now: float) -> None:
        """The token was subscribed on a new socket: nothing that was asked before is answered there."""
        self._asked.clear()
        self._asked.append(now)

    def ask(self, now: float) -> None:
        """The token was subscribed anew on the same socket: another opening book will come."""
        if len(self._asked) < MAX_QUESTIONS:
            self._asked.append(now)

    def answered(self, now: float) -> float | None:
        """Return when the opening book that came now was asked for; None: nobody asked."""
        asked = self._asked
        while len(asked) > 1 and now - asked[0] > LOST_SECONDS:
            asked.popleft()
        return asked.popleft() if asked else None

    def clear(self) -> None:
        """The socket is gone."""
        self._asked.clear()

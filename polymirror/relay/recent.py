"""What a relay said last, for whoever has to explain it: bounded, whatever it says. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from polymirror.relay.wire import Change

if TYPE_CHECKING:
    from polymirror.relay.wire import Beat

MAX_ITEMS: Final = 4_096
MAX_LEVELS: Final = 200_000
"""Levels in all of them."""


class Said(NamedTuple):
    """What was said, when it came by the reader's clock, and when it left by the relay's."""

    at: float
    sent: float
    item: Beat


class Recent:
    """The newest items of one relay."""

    def __init__(self) -> None:
        self._said: deque[Said] = deque()
        self._levels = 0

    def put(self, said: Said) -> None:
        """Take one; the oldest go."""
        self._said.append(said)
        self._levels += _levels(said)
        while len(self._said) > MAX_ITEMS or self._levels > MAX_LEVELS:
            self._levels -= _levels(self._said.popleft())

    def of(self, token: str) -> list[Said]:
        """Return what was said of a token, oldest first."""
        return [said for said in self._said if said.item.token == token]


def _levels(said: Said) -> int:
    item = said.item
    return len(item.bids) + len(item.asks) if isinstance(item, Change) else 0

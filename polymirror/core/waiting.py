"""The deltas of one token that wait for a baseline, oldest first: bounded, and what is dropped leaves its mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from polymirror.core.evidence import Mark
    from polymirror.core.messages import Change


class Held(NamedTuple):
    """A delta as it came: what orders it, what the venue hashed, for when it speaks, and when it was taken."""

    order_ms: int
    change: Change
    stated_ms: int
    as_of: float
    doubts: int
    now: float


class Waiting:
    """A bounded buffer of deltas."""

    def __init__(self, limit: int, mark: Mark) -> None:
        self._limit = limit
        self._mark = mark
        self._held: list[Held] = []

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held)

    def hold(self, held: Held) -> bool:
        """Keep a delta. A full buffer starts over, so that nothing is lost silently; return whether it was full."""
        full = len(self._held) >= self._limit
        if full:
            self.drop()
            self._mark.rise(held.order_ms)
        if held.order_ms < self._mark.at_ms:
            self._mark.stream_below(held.order_ms, held.now)
        self._held.append(held)
        return full

    def drop(self) -> None:
        """Forget them: a baseline must be newer than what is forgotten (D3)."""
        for held in self._held:
            self._mark.rise(held.order_ms)
        self._held.clear()

    def keep(self, deltas: Iterable[Held]) -> None:
        """Keep these instead."""
        self._held = list(deltas)

    def take(self) -> list[Held]:
        """Return them, and keep them no more."""
        held, self._held = self._held, []
        return held

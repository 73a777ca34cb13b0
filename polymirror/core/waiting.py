"""The deltas of one token that wait for a baseline, oldest first: bounded, and what is dropped leaves its mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from polymirror.core.evidence import Mark

if TYPE_CHECKING:
    from polymirror.core.clock import VenueClock
    from polymirror.core.messages import Change
    from polymirror.core.proven import Proven


class Held(NamedTuple):
    """A delta as it came: what orders it, what the venue hashed, for when it speaks, and when it was taken."""

    order_ms: int
    change: Change
    stated_ms: int
    as_of: float
    doubts: int
    now: float
    message: int


class Waiting(Struct, eq=False, gc=False):
    """A bounded buffer of deltas. It is in no cycle, so the collector need not visit it."""

    _limit: int
    _mark: Mark
    _held: list[Held] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def newest_ms(self) -> int:
        """The newest exchange time of them; 0: there are none."""
        return max((held.order_ms for held in self._held), default=0)

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

    def keep_journal(self, asset_id: str, proven: Proven, clock: VenueClock, now: float) -> int | None:
        """Keep the changes of a book that is cleared, in its journal's order: what came later is applied later.

        Return the exchange time of the first one; None if there is none.
        """
        kept = proven.deltas(asset_id, self._limit, clock)
        deltas = [Held(at_ms, change, at_ms, as_of, 0, now, message) for at_ms, change, as_of, message in kept]
        if deltas:
            stamps = (proven.stated_ms, proven.stated_as_of, proven.stated_doubts)
            deltas[-1] = Held(deltas[-1].order_ms, deltas[-1].change, *stamps, now, deltas[-1].message)
        self._held = deltas
        return deltas[0].order_ms if deltas else None

    def take(self) -> list[Held]:
        """Return them, and keep them no more."""
        held, self._held = self._held, []
        return held

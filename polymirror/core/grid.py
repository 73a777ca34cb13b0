"""The price grid of one token: what events announce, and what the venue's hash shows.

The hash covers the tick size, so a proven book shows it. An event says it slightly later, or wrongly: until a proof
that is newer than the event, the finer of both counts, since a grid only ever gets finer.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from polymirror.core.hashing import MarketHash
from polymirror.core.proofs import ProofKind
from polymirror.core.proven import Proven
from polymirror.core.units import TICK_SIZES

REST_BEHIND_SECONDS: Final = 2.0
"""REST was seen up to 1.1 s behind: an answer to a question asked later than this knows of an event."""

_NEVER: Final = float("-inf")


class Grid(Struct, eq=False, gc=False):
    """One token's price grid. Tick sizes in 1/10,000. It is in no cycle, so the collector need not visit it."""

    _hashes: MarketHash
    _proven: Proven
    # What was announced last, its exchange time, and when it was heard.
    _announced: int | None = None
    _announced_ms: int = 0
    _announced_at: float = _NEVER

    def announce(self, tick: int, at_ms: int, now: float) -> None:
        """Note what an event says: the next hash shows whether it is so."""
        self._announced, self._announced_ms, self._announced_at = tick, at_ms, now

    def told(self, tick_size: str | None, at_ms: int, now: float) -> None:
        """Note what an accepted book tells whose hash cannot be checked."""
        tick = TICK_SIZES.get(tick_size or "")
        if tick is not None and (self._announced is None or tick < self._announced):
            self.announce(tick, at_ms, now)

    @property
    def tick(self) -> int | None:
        """The tick size in force; None until told."""
        shown, announced, proof = self._hashes.shown_tick, self._announced, self._proven.proof
        if announced is None:
            return shown
        if shown is None:
            return announced
        if proof is None or not self._hashes.verifiable:
            return min(shown, announced)
        if proof.kind in (ProofKind.HASH, ProofKind.COMPLEMENT):
            later = self._proven.proven_ms > self._announced_ms
        else:
            later = proof.as_of > self._announced_at + REST_BEHIND_SECONDS
        return shown if later else min(shown, announced)

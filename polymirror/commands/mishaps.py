"""What goes wrong in a demo, and when: chosen so that half a minute shows each kind, and the end is calm."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from polymirror.simulator.faults.base import Fault, Plan
from polymirror.simulator.faults.deltas import DuplicatedDelta, LostDelta
from polymirror.simulator.faults.links import Disconnect, FrozenToken, GarbageFrame
from polymirror.simulator.faults.rest import RestUnavailable

if TYPE_CHECKING:
    from polymirror.simulator.exchange.exchange import Exchange

CALM_SHARE: Final = 0.25
"""The share of a run, at its end, without faults."""

MAX_CALM: Final = 8.0
"""More seconds of calm than this show nothing new."""

LOST_PER_SECOND: Final = 0.3
GARBAGE_PER_SECOND: Final = 0.12
FRAMES_PER_BATCH: Final = 1.6
"""Frames for each batch: bursts, re-sent books and announcements counted in."""


class _Once(Fault):
    """Strikes at its first chance, and never again."""

    def is_awake(self, now_ms: int) -> bool:
        """Only as long as it has not happened."""
        return not self.injected and super().is_awake(now_ms)


class OneDisconnect(_Once, Disconnect):
    """One connection dies once."""


class OneFreeze(_Once, FrozenToken):
    """One token freezes once."""


def calm_from(seconds: float) -> float:
    """Return when the faults of a run of this length end, in seconds."""
    return seconds - min(seconds * CALM_SHARE, MAX_CALM)


def make_mishaps(exchange: Exchange, start_ms: int, seconds: float, rate: float, seed: int) -> tuple[Fault, ...]:
    """Plan the faults of one run that starts at ``start_ms``, with ``rate`` batches a second in each market."""
    rng = random.Random(f"mishaps:{seed}")  # noqa: S311 - seeded, repeatable
    frames = rate * len(exchange.markets) * FRAMES_PER_BATCH
    first, last = 0.06 * seconds, calm_from(seconds)

    def at(share: float) -> int:
        return start_ms + int((first + share * (last - first)) * 1000)

    def always(share: float) -> Plan:
        return Plan(share=min(1.0, share), start_ms=at(0), end_ms=at(1))

    def once(share: float, market: int, length_ms: int, *, pair: bool) -> Plan:
        tokens = exchange.markets[market].tokens
        about = frozenset(tokens if pair else rng.sample(tokens, 1))
        return Plan(share=1.0, start_ms=at(share), end_ms=at(1), length_ms=length_ms, tokens=about)

    markets = len(exchange.markets)
    frozen_ms = int(min(3_000, 1000 * (last - first) / 4))
    return (
        LostDelta(always(LOST_PER_SECOND / frames), seed=seed),
        DuplicatedDelta(always(LOST_PER_SECOND / frames), seed=seed),
        OneFreeze(once(0.25, 0, frozen_ms, pair=False), seed=seed),
        OneDisconnect(once(0.5, min(1, markets - 1), 250, pair=True), seed=seed),
        GarbageFrame(always(GARBAGE_PER_SECOND / frames), seed=seed),
        OneFreeze(once(0.7, markets // 2, frozen_ms, pair=False), seed=seed + 1),
        RestUnavailable(always(0.15), seed=seed),
    )

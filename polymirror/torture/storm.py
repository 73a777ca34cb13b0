"""What a seed does to a world: its market, its network and its faults, all drawn from one number.

A run is a row of slots. In each, some faults strike for a while, then there is calm, in which every book must
become LIVE or retired again. Every second seed is *solo*: one fault alone, so that the time to its detection can
be told; the others are storms of several at once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import frozen

from polymirror.simulator.fault_kinds import FAULTS
from polymirror.simulator.faults import Plan
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.simulator.virtual import NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.simulator.faults import Fault

SLOT = 60.0
"""Seconds of one slot: a storm and the calm after it."""

STORM = 30.0
"""Seconds of a slot in which faults strike."""

WARM_UP = 5.0
"""Seconds before the first fault."""

FREQUENT = ("duplicated_delta", "garbage_frame", "unknown_event", "crossed_messages", "wrong_best", "late_trade_price",
            "reordered_deltas", "older_delta", "lost_delta", "hash_one_change_late")  # fmt: skip
"""Faults of single frames. Some of them are the background of every storm."""

AT_CONNECT = frozenset(
    {"lost_opening", "delayed_opening", "large_opening", "silent_subscription", "refused_connection", "older_delta"}
)
"""Faults that need a new connection to strike."""

CUTTING = AT_CONNECT | {"disconnect", "close_1000", "close_1008", "close_1013", "slow_reader"}
"""Faults that end connections: more of them only tests the backoff."""

CUTS = 0.005
"""The share of frames at which a connection is cut to give them a chance."""

MAX_FREQUENT = 4
"""How many of them at once."""

MAX_FAULTS_AT_ONCE = 6

BURST = 6.0
"""How many times more often than at the venue faults strike."""


ALONE = 8.0
"""How many times more often still a rare fault strikes when it is alone."""


@frozen
class Episode:
    """One fault during one storm. Times in seconds since the start of the world."""

    fault: str
    start: float
    end: float
    share: float
    length_ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.fault} {self.start:.1f}..{self.end:.1f} s, share {self.share:.4f}, {self.length_ms} ms"

    def build(self, start_ms: int, seed: int) -> Fault:
        """Make the fault object. Its draws depend on the seed and this episode only."""
        plan = Plan(
            share=self.share,
            start_ms=start_ms + int(self.start * 1000),
            end_ms=start_ms + int(self.end * 1000),
            length_ms=self.length_ms,
        )
        return FAULTS[self.fault](plan, seed=seed * 1_000 + self.number)


@frozen
class Storm:
    """Everything a seed decides."""

    seed: int
    seconds: float
    exchange: ExchangeConfig
    network: NetworkConfig
    episodes: tuple[Episode, ...]
    solo: str
    """The only fault of a solo seed, else ""."""

    def calms(self) -> list[tuple[float, float]]:
        """The times without faults, as (start, end) in seconds: each starts when the last fault has ended."""
        found = []
        for slot in range(int(self.seconds // SLOT)):
            begin, end = slot * SLOT, (slot + 1) * SLOT
            ends = [each.end + each.length_ms / 1000 for each in self.episodes if begin <= each.start < end]
            found.append((max(ends, default=begin), end))
        return found


def draw_storm(seed: int, minutes: float, tokens: int, ids: Sequence[str] = ()) -> Storm:
    """Draw a seed's storm. ``ids`` limits the faults; empty means all."""
    rng = random.Random(f"storm:{seed}")  # noqa: S311 - a simulation
    known = list(ids or FAULTS)
    seconds = minutes * 60.0
    # Each fault gets its turn as a solo, whatever range of seeds is run.
    solo = known[seed // 2 % len(known)] if seed % 2 == 0 else ""
    flow = FlowConfig(rate=rng.choice((1.0, 2.0, 2.0, 3.0)), density=rng.choice((0.97, 0.97, 0.3)))
    exchange = ExchangeConfig(
        seed=seed, markets=max(1, tokens // 2), flow=flow, new_market_every_ms=30_000, history_ms=120_000
    )
    network = NetworkConfig(latency_ms=rng.choice((2, 10, 20, 60)), jitter_ms=rng.choice((0, 5, 30)))
    episodes: list[Episode] = []
    for slot in range(int(seconds // SLOT)):
        start = slot * SLOT + WARM_UP
        chosen = [solo] if solo else rng.sample(known, rng.randint(1, min(MAX_FAULTS_AT_ONCE, len(known))))
        usual = [fault for fault in FREQUENT if fault in known and fault not in chosen and not solo]
        background = rng.sample(usual, min(MAX_FREQUENT, len(usual)))
        if AT_CONNECT.intersection(chosen):
            background.append("disconnect")
        if solo.startswith("rest_"):
            # Without a doubt REST is hardly asked.
            background.append("lost_delta")
        for fault in [*chosen, *background]:
            begin = start + rng.random() * STORM / 3
            end = start + STORM * (2 + rng.random()) / 3
            # Attempts to connect are few, and their share is high already: more of it would be a black-out.
            often = 1.0 if fault in AT_CONNECT else BURST
            share = min(1.0, FAULTS[fault].default_share * often * rng.choice((0.5, 1.0, 2.0)))
            if fault == solo and fault not in FREQUENT and fault not in CUTTING:
                share = min(1.0, share * ALONE)
            if fault in background:
                share = CUTS if fault == "disconnect" else max(share, rng.choice((0.1, 0.15, 0.25)))
            length = rng.choice((200, 1_000, 3_000, 8_000))
            # What lasts must be over when the calm begins.
            length = min(length, int((start + STORM + 5 - end) * 1000))
            episodes.append(Episode(fault, begin, end, share, length, len(episodes)))
    return Storm(seed, seconds, exchange, network, tuple(episodes), solo)

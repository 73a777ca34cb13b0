"""What a seed does to a world: its market, its network and its faults, all drawn from one number.

A run is a row of slots. In each, some faults strike for a while, then there is calm, in which every book must
become LIVE or retired again. Every second seed is *solo*: one fault alone, so that the time to its detection can
be told; the others are storms of several at once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import frozen

from polymirror.simulator.faults.base import ClientFault, Plan
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.simulator.virtual import NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.simulator.faults.base import Fault

SLOT = 60.0
"""Seconds of one slot: a storm and the calm after it."""

STORM = 30.0
"""Seconds of a slot in which faults strike."""

AFTER = 5.0
"""Seconds after a storm in which what lasts still may last."""

WARM_UP = 5.0
"""Seconds before the first fault."""

FREQUENT = ("duplicated_delta", "garbage_frame", "unknown_event", "crossed_messages", "wrong_best", "late_trade_price",
            "reordered_deltas", "older_delta", "lost_delta", "hash_one_change_late")  # fmt: skip
"""Faults of single frames. Some of them are the background of every storm."""

AT_CONNECT = frozenset(
    {
        *("lost_opening", "lost_opening_one_token", "stale_opening", "delayed_opening", "large_opening"),
        *("silent_subscription", "refused_connection", "older_delta", "replayed_connection"),
    }
)
"""Faults that need a new connection to strike."""

CUTTING = AT_CONNECT | {"disconnect", "close_1000", "close_1008", "close_1013", "lying_close", "slow_reader"}
"""Faults that end connections: more of them only tests the backoff."""

CUTS = 0.005
CUTS_ALONE = 0.02
"""The share of frames at which a connection is cut to give them a chance; more when one of them is alone."""

OF_BOOKS = frozenset({"altered_levels", "altered_tick"})
"""Faults of whole books, which are rare: connections are cut and changes are lost so that there are more."""

COMPANIONS = {"no_time": "latency", "gamma_unavailable": "settlement_unannounced"}
"""What alone would do nothing, and the fault that makes it matter."""

MAX_FREQUENT = 4
"""How many of them at once."""

MAX_FAULTS_AT_ONCE = 6

RARE = 0.1
"""The share of storms with a fault that is there from the start to the end."""

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

    @property
    def over(self) -> float:
        """When its last occurrence is over at the latest."""
        return self.end + self.length_ms / 1000

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
            # What a client cannot see the end of may go on into the calm: see :meth:`unseen`.
            latest = begin + WARM_UP + STORM + AFTER
            ends = [min(each.over, latest) for each in self.episodes if begin <= each.start < end and not _lasts(each)]
            found.append((max(ends, default=begin), end))
        return found

    def unseen(self, start: float) -> dict[str, float]:
        """Faults whose end nobody can see and that may matter in a calm, with when they are over."""
        found: dict[str, float] = {}
        for each in self.episodes:
            bound = FAULTS[each.fault].heal_seconds
            over = start if _lasts(each) else each.over
            if bound is not None and each.start < start < over + bound:
                found[each.fault] = max(over, found.get(each.fault, 0.0))
        return found


def _lasts(episode: Episode) -> bool:
    return FAULTS[episode.fault].from_the_start


def draw_storm(seed: int, minutes: float, tokens: int, ids: Sequence[str] = ()) -> Storm:
    """Draw a seed's storm. ``ids`` limits the faults; empty means all."""
    rng = random.Random(f"storm:{seed}")  # noqa: S311 - a simulation
    known = list(ids or FAULTS)
    seconds = minutes * 60.0
    # Each fault gets its turn as a solo, whatever range of seeds is run.
    solo = known[seed // 2 % len(known)] if seed % 2 == 0 else ""
    flow = FlowConfig(rate=rng.choice((1.0, 2.0, 2.0, 3.0)), density=rng.choice((0.97, 0.97, 0.3)))
    exchange = ExchangeConfig(
        seed=seed, markets=max(1, tokens // 2), flow=flow, new_market_every_ms=30_000, history_ms=200_000
    )
    network = NetworkConfig(latency_ms=rng.choice((2, 10, 20, 60)), jitter_ms=rng.choice((0, 5, 30)))
    episodes: list[Episode] = []
    for fault in [fault for fault in known if FAULTS[fault].from_the_start]:
        if fault == solo or (not solo and rng.random() < RARE):
            episodes.append(Episode(fault, 0.0, seconds, FAULTS[fault].default_share, 0, len(episodes)))
    known = [fault for fault in known if not FAULTS[fault].from_the_start]
    for slot in range(int(seconds // SLOT)):
        start = slot * SLOT + WARM_UP
        chosen = rng.sample(known, rng.randint(1, min(MAX_FAULTS_AT_ONCE, len(known)))) if known and not solo else []
        if solo in known:
            chosen = [solo]
        usual = [fault for fault in FREQUENT if fault in known and fault not in chosen and not solo]
        background = [*rng.sample(usual, min(MAX_FREQUENT, len(usual))), *_company(solo, chosen)]
        for fault in [*chosen, *background]:
            episodes.append(_draw_episode(rng, fault, start, len(episodes), solo, background))
    return Storm(seed, seconds, exchange, network, tuple(episodes), solo)


def _company(solo: str, chosen: Sequence[str]) -> list[str]:
    """What must happen besides for a fault to matter."""
    found = ["disconnect"] if (AT_CONNECT | OF_BOOKS).intersection(chosen) else []
    if solo in COMPANIONS:
        found.append(COMPANIONS[solo])
    if solo.startswith("rest_") or solo in OF_BOOKS:
        # Without a doubt REST is hardly asked.
        found.append("lost_delta")
    return found


def _draw_episode(
    rng: random.Random, fault: str, start: float, number: int, solo: str, background: Sequence[str]
) -> Episode:
    """Draw when and how often a fault strikes in the storm that starts then."""
    kind = FAULTS[fault]
    begin = start + rng.random() * STORM / 3
    end = start + STORM * (2 + rng.random()) / 3
    # Attempts to connect are few, and their share is high already: more of it would be a black-out.
    often = 1.0 if fault in AT_CONNECT else BURST
    share = min(1.0, kind.default_share * often * rng.choice((0.5, 1.0, 2.0)))
    if fault == solo and fault not in CUTTING | {*FREQUENT} and not issubclass(kind, ClientFault):
        share = min(1.0, share * ALONE)
    if fault in background:
        cuts = CUTS_ALONE if solo else CUTS
        share = cuts if fault == "disconnect" else max(share, rng.choice((0.1, 0.15, 0.25)))
    length = rng.choice(kind.storm_lengths_ms)
    # What lasts must be over when the calm begins, unless nobody can see its end anyway.
    latest = start + STORM + AFTER
    if kind.heal_seconds is None:
        end = min(end, max(begin + 1.0, latest - length / 1000))
        length = min(length, int((latest - end) * 1000))
    return Episode(fault, begin, end, share, length, number)

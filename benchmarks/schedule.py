"""When a fault strikes: at the same moments for every program, drawn from the seed.

Torture lets faults strike at random frames. Here a fault is armed at a moment and takes the first chance from then
on, once, so that programs that lose frames or reconnect are struck as often as all others.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from attrs import frozen

from polymirror.simulator.faults.base import FOREVER_MS, Plan
from polymirror.simulator.faults.catalogue import FAULTS

if TYPE_CHECKING:
    from polymirror.simulator.faults.base import Fault

NO_FAULT = "none"
"""The row in which nothing goes wrong."""

NEEDS_RECONNECTION = frozenset(
    {
        *("lost_opening", "lost_opening_one_token", "stale_opening", "delayed_opening", "large_opening"),
        *("silent_subscription", "older_delta", "refused_connection", "replayed_connection"),
    }
)
"""Faults of new connections: a disconnection at the same moment makes one."""

FIRST = 20.0
"""Seconds before the first strike."""

PERIOD = 60.0
"""Seconds between two strikes, if the occurrence is not longer than a third of that."""

LAST_PART = 0.93
"""No strike after this part of the run: what a fault did is to be seen."""

OCCURRENCES = 3
"""The period is at least this many lengths of the occurrence."""


class Armed:
    """Mixed into a fault: it strikes once each time it is armed, and never else."""

    armed = False

    def arm(self: Any) -> None:
        """Let it take the next chance."""
        self.armed = True
        # Setting the plan draws anew when it strikes.
        self.plan = self.plan

    def strike(self: Any) -> None:
        """Take the chance, and no other one."""
        self.armed = False
        super().strike()  # type: ignore[misc]

    def _draw_gap(self) -> int:
        return 0 if self.armed else FOREVER_MS


def build(fault: str, seed: int) -> tuple[Fault, ...]:
    """Make the fault of a row, and the disconnection that gives it its chance if it needs one."""
    if fault == NO_FAULT:
        return ()
    ids = ("disconnect", fault) if fault in NEEDS_RECONNECTION else (fault,)
    made = []
    for name in ids:
        kind = FAULTS[name]
        armed: Any = type(kind.__name__, (Armed, kind), {})
        made.append(armed(Plan(length_ms=kind.default_length_ms), seed=seed))
    return tuple(made)


@frozen
class Schedule:
    """The moments at which the faults of a row are armed, in seconds from the start."""

    moments: tuple[float, ...]

    @classmethod
    def draw(cls, fault: str, seed: int, seconds: float) -> Schedule:
        """Draw the moments: about one a minute, fewer for what lasts long, few for what ends a market."""
        if fault == NO_FAULT:
            return cls(())
        rng = random.Random(f"schedule:{fault}:{seed}")  # noqa: S311 - a simulation
        period = max(PERIOD, OCCURRENCES * FAULTS[fault].default_length_ms / 1000)
        if fault.startswith("settlement"):
            period = max(PERIOD, seconds / OCCURRENCES)
        moments = []
        at = FIRST
        while at < seconds * LAST_PART:
            moments.append(round(at + rng.random() * period / 4, 3))
            at += period
        return cls(tuple(moments))

"""What goes wrong in one round of a soak, and when: drawn from a seed, nothing measured, nothing done.

A round is a storm and the calm after it. In the storm the proxies switch toxics on and off, the venue has some
faults, and the user's own code stalls the event loop. Used by :mod:`polymirror.torture.sockets`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from attrs import frozen

from polymirror.simulator.faults.base import Plan
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.torture.toxics import Toxics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.simulator.faults.base import Fault

STREAM, CALLS = "stream", "calls"
"""The two proxies: of the WebSocket and of the HTTP calls."""

TOXICS: Final = ("latency", "bandwidth", "hang", "half", "slices", "cut", "reset", "refuse")

GAP_SECONDS: Final = (0.05, 0.5)
SPELL_SECONDS: Final = (0.1, 1.2)
"""How long there is no toxic, and how long one lasts."""

SUMMARY_SPELLS: Final = 6

MAX_FAULTS_AT_ONCE: Final = 5

BURST: Final = 8.0
"""How many times more often than at the venue faults strike."""

FAULT_LENGTHS_MS: Final = (100, 300, 800)

MAX_STALLS: Final = 4
STALL_SECONDS: Final = (0.02, 0.15)
"""For how long the user's code blocks the event loop."""


@frozen
class Spell:
    """A proxy does something from ``at`` on, for ``length``: seconds since the start of the storm."""

    at: float
    length: float
    where: str
    name: str
    toxics: Toxics


@frozen
class Weather:
    """One round's storm."""

    seconds: float
    spells: tuple[Spell, ...]
    faults: tuple[str, ...]
    stalls: tuple[tuple[float, float], ...]
    """When the user's code blocks, and for how long."""
    last: Toxics
    """What the proxies do when the mirror is stopped."""
    seed: int

    @property
    def summary(self) -> str:
        """What goes wrong in short: the faults, and the last spells."""
        spells = (
            f"{spell.where} {spell.name} {spell.at:.1f}..{spell.at + spell.length:.1f} s" for spell in self.spells
        )
        return f"{', '.join(self.faults)}; {', '.join(list(spells)[-SUMMARY_SPELLS:])}"

    def make_faults(self, start_ms: int) -> tuple[Fault, ...]:
        """Make the venue's faults for a storm that starts at ``start_ms`` (Unix milliseconds).

        What lasts is over when the storm is.
        """
        rng = random.Random(f"faults:{self.seed}")  # noqa: S311 - repeatable on purpose
        end_ms = start_ms + int(self.seconds * 1000)
        made = []
        for fault in self.faults:
            kind = FAULTS[fault]
            length_ms = rng.choice(FAULT_LENGTHS_MS)
            share = min(1.0, kind.default_share * BURST * rng.choice((0.5, 1.0, 2.0)))
            plan = Plan(share=share, start_ms=start_ms, end_ms=end_ms - length_ms, length_ms=length_ms)
            made.append(kind(plan, seed=rng.getrandbits(32)))
        return tuple(made)


def draw_weather(seed: int, number: int, seconds: float, ids: Sequence[str] = ()) -> Weather:
    """Draw the storm of round ``number``, ``seconds`` long. ``ids`` limits the venue's faults; empty means all."""
    rng = random.Random(f"weather:{seed}:{number}")  # noqa: S311 - repeatable on purpose
    spells: list[Spell] = []
    for where in (STREAM, CALLS):
        at = rng.uniform(*GAP_SECONDS)
        while at < seconds:
            name = rng.choice(TOXICS)
            length = min(rng.uniform(*SPELL_SECONDS), seconds - at)
            spells.append(Spell(at, length, where, name, draw_toxics(rng, name)))
            at += length + rng.uniform(*GAP_SECONDS)
    known = list(ids) or [fault for fault, kind in FAULTS.items() if kind.over_sockets]
    stalls = [(rng.uniform(0, seconds), rng.uniform(*STALL_SECONDS)) for _ in range(rng.randint(0, MAX_STALLS))]
    return Weather(
        seconds=seconds,
        spells=tuple(sorted(spells, key=lambda spell: spell.at)),
        faults=tuple(rng.sample(known, rng.randint(1, min(MAX_FAULTS_AT_ONCE, len(known))))),
        stalls=tuple(sorted(stalls)),
        last=rng.choice((Toxics(), Toxics(hang=True), Toxics(latency=0.5), Toxics(reset=True), Toxics(refuse=True))),
        seed=rng.getrandbits(32),
    )


def draw_toxics(rng: random.Random, name: str) -> Toxics:
    """Draw how bad a toxic is."""
    # All are drawn, whichever is asked for: a kind more or less must not change the others' values.
    return {
        "latency": Toxics(latency=rng.uniform(0.01, 0.8), jitter=rng.choice((0.0, 0.1, 0.5))),
        "bandwidth": Toxics(bandwidth=rng.choice((2_000, 20_000, 100_000))),
        "hang": Toxics(hang=True),
        "half": rng.choice((Toxics(hang=True, up=False), Toxics(hang=True, down=False))),
        "slices": Toxics(slice_bytes=rng.choice((20, 200, 1_000)), slice_pause=rng.choice((0.0, 0.001))),
        "cut": Toxics(cut_after=rng.randint(0, 20_000)),
        "reset": Toxics(reset=True),
        "refuse": Toxics(refuse=True),
    }[name]

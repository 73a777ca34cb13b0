"""The catalogue of faults by id, and the one way to build them.

The command line, the API and the torture run all choose faults here. The classes are in
``delta_faults``, ``link_faults`` and ``rest_faults``; their base is in ``faults``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.errors import ConfigError
from polymirror.simulator.delta_faults import (
    CrossedMessages,
    DuplicatedDelta,
    LateTradePrice,
    LostDelta,
    ReorderedDeltas,
    WrongHash,
)
from polymirror.simulator.link_faults import Disconnect, FrozenToken, GarbageFrame, LostOpening, SilentSocket
from polymirror.simulator.rest_faults import RestTooMany, RestUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.simulator.faults import Fault, Plan

FAULTS: dict[str, type[Fault]] = {
    kind.id: kind
    for kind in (
        LostDelta,
        DuplicatedDelta,
        ReorderedDeltas,
        FrozenToken,
        SilentSocket,
        Disconnect,
        LostOpening,
        GarbageFrame,
        WrongHash,
        LateTradePrice,
        CrossedMessages,
        RestUnavailable,
        RestTooMany,
    )
}
"""Every fault by its id."""


def make_faults(ids: Iterable[str], *, seed: int = 0, plan: Plan | None = None) -> tuple[Fault, ...]:
    """Build faults by their ids, each with its usual share unless there is a plan.

    Raises :class:`~polymirror.errors.ConfigError` for an unknown id, naming those that exist.
    """
    made = []
    for wanted in ids:
        if wanted not in FAULTS:
            raise ConfigError("faults", wanted, f"one of {', '.join(FAULTS)}")
        made.append(FAULTS[wanted](plan, seed=seed))
    return tuple(made)

"""The catalogue of faults by id, and the one way to build them.

The command line, the API and the torture run all choose faults here. The classes are in the modules
beside this one; their base is in ``base``, and what applies them in ``line``. Whoever drives an
exchange and a line of faults calls ``FaultLine.attach(exchange)`` once: some faults act on the exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.config import one_of
from polymirror.errors import ConfigError
from polymirror.simulator.faults import (
    altered,
    client,
    deltas,
    hashes,
    links,
    markets,
    openings,
    pace,
    replay,
    rest,
    silence,
    stale,
    venue,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.simulator.faults.base import Fault, Plan

FAULTS: dict[str, type[Fault]] = {
    kind.id: kind
    for kind in (
        # Openings and single updates.
        *(openings.LostOpening, openings.LostOpeningOneToken, openings.StaleOpening, openings.DelayedOpening),
        *(openings.LargeOpening, openings.SilentSubscription),
        *(deltas.LostDelta, deltas.DuplicatedDelta, deltas.ReorderedDeltas, deltas.OlderDelta, deltas.CrossedMessages),
        *(deltas.FutureStamp, altered.AlteredLevels, altered.AlteredTick, replay.LateDuplicateBook),
        *(hashes.WrongHash, hashes.WrongBest, hashes.LateTradePrice, hashes.LateHash),
        # Connections.
        *(links.FrozenToken, links.FrozenMarket, silence.SilentSocket, silence.HalfOpenSocket, silence.LatePong),
        *(pace.LaggingMarket, replay.ReplayedConnection),
        *(pace.LatencyAndJitter, pace.BandwidthLimit, pace.SlicedFrames, pace.SlowReader),
        *(links.Disconnect, links.CloseNormal, links.ClosePolicy, links.CloseTryLater, links.LyingClose),
        links.RefusedConnection,
        *(links.GarbageFrame, links.UnknownEvent),
        # Calls.
        *(stale.RestStale, stale.RestStaleLong, stale.RestBehind, stale.StreamBehind, rest.RestGhost, rest.RestMissing),
        *(rest.RestTooEarly, rest.RestTooMany, rest.RestTooManyForNow, rest.RestUnavailable),
        *(rest.RestHtml, rest.RestHanging, rest.RestTruncated, venue.RestEmptyList),
        rest.GammaUnavailable,
        # The venue and its markets.
        *(venue.EngineRestart, venue.HashDialect, venue.ClockStep, venue.ClockSkew, venue.NoTime),
        *(markets.TickChange, markets.TickUnannounced, markets.TickRepeated, markets.TickUnchanged),
        markets.AsymmetricMarket,
        *(markets.Settlement, markets.SettlementUnannounced, markets.SettlementLate),
        *(markets.SettlementUnclosed, markets.SettlementSilent),
        # The client's own process.
        *(client.StalledLoop, client.Suspended),
    )
}
"""Every fault by its id."""


LISTED_BY = "polymirror faults"
"""The command that lists the ids of all faults, for errors."""


def make_faults(ids: Iterable[str], *, seed: int = 0, plan: Plan | None = None) -> tuple[Fault, ...]:
    """Build faults by their ids, each with its usual share and length unless there is a plan.

    Raises :class:`~polymirror.errors.ConfigError` for an unknown id, naming the nearest.
    """
    wanted = tuple(ids)
    check_ids(wanted)
    return tuple(FAULTS[fault](plan, seed=seed) for fault in wanted)


def check_ids(ids: Iterable[str], *, over_sockets: bool = False, field: str = "faults") -> None:
    """Raise :class:`~polymirror.errors.ConfigError` for a fault that does not exist, or not over real sockets.

    ``field`` is what the caller calls them.
    """
    for wanted in ids:
        if wanted not in FAULTS:
            raise ConfigError(field, wanted, one_of(wanted, FAULTS, LISTED_BY))
        if over_sockets and not FAULTS[wanted].over_sockets:
            raise ConfigError(field, wanted, "one that real sockets have: this one is of virtual time")

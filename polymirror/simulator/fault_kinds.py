"""The catalogue of faults by id, and the one way to build them.

The command line, the API and the torture run all choose faults here. The classes are in the modules
``*_faults``; their base is in ``fault_base``, and what applies them in ``faults``. Whoever drives an
exchange and a line of faults calls ``FaultLine.attach(exchange)`` once: some faults act on the exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.errors import ConfigError
from polymirror.simulator import altered_faults as altered
from polymirror.simulator import client_faults as client
from polymirror.simulator import delta_faults as delta
from polymirror.simulator import hash_faults as hashes
from polymirror.simulator import link_faults as link
from polymirror.simulator import market_faults as market
from polymirror.simulator import opening_faults as opening
from polymirror.simulator import pace_faults as pace
from polymirror.simulator import replay_faults as replay
from polymirror.simulator import rest_faults as rest
from polymirror.simulator import silence_faults as silence
from polymirror.simulator import stale_faults as stale
from polymirror.simulator import venue_faults as venue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.simulator.fault_base import Fault, Plan

FAULTS: dict[str, type[Fault]] = {
    kind.id: kind
    for kind in (
        # Openings and single updates.
        *(opening.LostOpening, opening.LostOpeningOneToken, opening.StaleOpening, opening.DelayedOpening),
        *(opening.LargeOpening, opening.SilentSubscription),
        *(delta.LostDelta, delta.DuplicatedDelta, delta.ReorderedDeltas, delta.OlderDelta, delta.CrossedMessages),
        *(delta.FutureStamp, altered.AlteredLevels, altered.AlteredTick, replay.LateDuplicateBook),
        *(hashes.WrongHash, hashes.WrongBest, hashes.LateTradePrice, hashes.LateHash),
        # Connections.
        *(link.FrozenToken, link.FrozenMarket, silence.SilentSocket, silence.HalfOpenSocket, silence.LatePong),
        *(pace.LaggingMarket, replay.ReplayedConnection),
        *(pace.LatencyAndJitter, pace.BandwidthLimit, pace.SlicedFrames, pace.SlowReader),
        *(link.Disconnect, link.CloseNormal, link.ClosePolicy, link.CloseTryLater, link.LyingClose),
        link.RefusedConnection,
        *(link.GarbageFrame, link.UnknownEvent),
        # Calls.
        *(stale.RestStale, stale.RestStaleLong, stale.RestBehind, stale.StreamBehind, rest.RestGhost, rest.RestMissing),
        *(rest.RestTooEarly, rest.RestTooMany, rest.RestTooManyForNow, rest.RestUnavailable),
        *(rest.RestHtml, rest.RestHanging, rest.RestTruncated, venue.RestEmptyList),
        rest.GammaUnavailable,
        # The venue and its markets.
        *(venue.EngineRestart, venue.HashDialect, venue.ClockStep, venue.ClockSkew, venue.NoTime),
        *(market.TickChange, market.TickUnannounced, market.TickRepeated, market.TickUnchanged),
        market.AsymmetricMarket,
        *(market.Settlement, market.SettlementUnannounced, market.SettlementLate),
        *(market.SettlementUnclosed, market.SettlementSilent),
        # The client's own process.
        *(client.StalledLoop, client.Suspended),
    )
}
"""Every fault by its id."""


def make_faults(ids: Iterable[str], *, seed: int = 0, plan: Plan | None = None) -> tuple[Fault, ...]:
    """Build faults by their ids, each with its usual share and length unless there is a plan.

    Raises :class:`~polymirror.errors.ConfigError` for an unknown id, naming those that exist.
    """
    wanted = tuple(ids)
    check_ids(wanted)
    return tuple(FAULTS[fault](plan, seed=seed) for fault in wanted)


def check_ids(ids: Iterable[str], *, over_sockets: bool = False) -> None:
    """Raise :class:`~polymirror.errors.ConfigError` for a fault that does not exist, or not over real sockets."""
    allowed = [fault for fault, kind in FAULTS.items() if kind.over_sockets or not over_sockets]
    for wanted in ids:
        if wanted not in allowed:
            raise ConfigError("faults", wanted, f"one of {', '.join(allowed)}")

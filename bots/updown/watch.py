"""Do prices flow, and is there anything to trade? As a question of a preflight, and as parts of a bot's health."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bots.common.operate.health import Vital
from bots.common.operate.preflight import CheckFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bots.common.operate.health import Probe
    from bots.updown.oracles.base import Oracle
    from bots.updown.worker import AssetWorker
    from polymirror.venue.network import Network

BLIND: Final = 180.0
"""Seconds in which an asset could not be traded, after which that is called blindness: windows follow one another."""

LOOK: Final = 0.1
"""Seconds between two looks at whether prices flow."""


async def check_prices(feed: Oracle, assets: Sequence[str], network: Network, within: float) -> str:
    """Wait until prices of all these assets flow; the oracle must be running. ``within``: seconds."""
    until = network.monotonic() + within
    while silent := [asset for asset in assets if feed.stale(asset, network.monotonic())]:
        health = feed.health()
        if health.refused:
            raise CheckFailed(health.trouble, "set the credentials of this oracle again, or choose another one")
        if network.monotonic() >= until:
            trouble = health.trouble
            why = f"no fresh price of {', '.join(silent)} within {within:g} s from {feed.name}"
            raise CheckFailed(
                why + (f" ({trouble})" if trouble else ""), "choose another oracle, or check its settings"
            )
        await asyncio.sleep(LOOK)
    return f"{feed.name} tells fresh prices of {', '.join(assets)}"


def prices(oracle: Oracle, assets: Iterable[str], network: Network) -> Probe:
    """Say of which assets the oracle tells nothing fresh."""
    wanted = tuple(assets)

    def probe() -> Vital:
        now = network.monotonic()
        stale = [asset for asset in wanted if oracle.stale(asset, now)]
        age = max((oracle.buffer.age(asset, now) for asset in wanted), default=0.0)
        words = f"no fresh price of {', '.join(stale)}" if stale else f"at most {age:.1f} s old"
        return Vital("prices", not stale, words)

    return probe


def markets(workers: Mapping[str, AssetWorker], network: Network, after: float = BLIND) -> Probe:
    """Say which assets could not have been traded for ``after`` seconds, whatever their prices, and why."""
    since: dict[str, float] = {}

    def probe() -> Vital:
        now = network.monotonic()
        blind = []
        for asset, worker in workers.items():
            why = worker.blind()
            if not why:
                since.pop(asset, None)
            elif (lasts := now - since.setdefault(asset, now)) >= after:
                blind.append(f"{asset}: {why} for {lasts / 60:.0f} min")
        words = ", ".join(blind) or f"{len(workers) - len(since)} of {len(workers)} assets can be traded"
        return Vital("markets", not blind, f"NOTHING can be traded: {words}" if len(blind) == len(workers) else words)

    return probe

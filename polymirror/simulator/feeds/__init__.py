"""Price feeds of the simulated venue: the relays of live prices and the provider behind them, each with faults.

They tell the prices of the exchange's oracle, so they decide its rounds. Hand them to a
:class:`~polymirror.simulator.virtual.VirtualVenue` or to a :class:`~polymirror.simulator.server.Simulator` as
``feeds``; :func:`price_feeds` makes all three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.simulator.feeds.datastreams import DataStreamsFeed, StreamKeys
from polymirror.simulator.feeds.faults import FEED_FAULTS, FeedLine, make_feed_faults
from polymirror.simulator.feeds.polybolt import DEMO_KEYS, Credentials, PolyboltFeed, RelayKeys
from polymirror.simulator.feeds.rtds import RtdsFeed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from polymirror.simulator.feeds.pulse import PriceSource
    from polymirror.simulator.surface.services import Feed

__all__ = [
    "FEED_FAULTS",
    "Credentials",
    "DataStreamsFeed",
    "FeedLine",
    "PolyboltFeed",
    "RelayKeys",
    "RtdsFeed",
    "StreamKeys",
    "make_feed_faults",
    "price_feeds",
]


def price_feeds(
    prices: PriceSource,
    assets: Sequence[str],
    *,
    seed: int = 0,
    faults: Iterable[str] = (),
    keys: Credentials = DEMO_KEYS,
) -> tuple[Feed, ...]:
    """Make all feeds of these prices, at ``/ws/rtds``, ``/ws/polybolt`` and ``/api/v1/ws``.

    ``faults`` are ids of :data:`FEED_FAULTS`; each feed gets its own. ``keys`` say who may read PolyBolt's. Raises
    :class:`~polymirror.errors.ConfigError` for an unknown id or for assets that are no names.
    """
    wanted = tuple(faults)
    return (
        RtdsFeed(prices, assets, seed=seed, faults=wanted),
        PolyboltFeed(prices, assets, keys=keys, seed=seed + 1, faults=wanted),
        DataStreamsFeed(prices, assets, seed=seed + 2, faults=wanted),
    )

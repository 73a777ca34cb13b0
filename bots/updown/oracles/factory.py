"""One setting picks the oracle; this builds it. Called by bots when they start."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - settings are built by their annotations
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from bots.common.ranges import one_of, some_of, whole
from bots.updown.oracles import chainlink, polybolt, rtds
from bots.updown.oracles.board import Patience, PriceBoard
from bots.updown.oracles.buffer import OracleBuffer
from bots.updown.oracles.simulated import SimulatedOracle
from bots.updown.oracles.streamed import FEED_STREAM, StreamedOracle
from bots.updown.oracles.ticks import TickKind
from polymirror.config import check_address
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    import random

    from attrs import Attribute

    from bots.updown.oracles.base import Oracle
    from bots.updown.oracles.keys import ChainlinkKeys, ClobKeys
    from bots.updown.oracles.simulated import PriceSource
    from bots.updown.oracles.streamed import Dialect
    from polymirror.config import StreamConfig
    from polymirror.venue.network import Network

SOURCES: Final = ("rtds", "polybolt", "chainlink", "simulated")

KINDS: Final = {"spot": TickKind.SPOT, "twap60": TickKind.TWAP60}

MAX_ASSETS: Final = 16


def _asset_names(_self: object, attribute: Attribute[Any], value: object) -> None:
    names = value if isinstance(value, tuple) else ()
    good = 0 < len(names) <= MAX_ASSETS and len(set(names)) == len(names)
    if not good or not all(isinstance(each, str) and each.isalnum() and each == each.lower() for each in names):
        raise ConfigError(attribute.name, value, f"1 to {MAX_ASSETS} different names in lower case, such as btc")


def _address(_self: object, attribute: Attribute[Any], value: object) -> None:
    if isinstance(value, str) and "?" in value:
        raise ConfigError(attribute.name, "(not shown)", "an address without a query")
    if value != "":
        check_address(attribute.name, value, "wss", "ws")


def _feed_ids(_self: object, attribute: Attribute[Any], value: object) -> None:
    entries = value.items() if isinstance(value, dict) else [(None, None)]
    for asset, feed in entries:
        if not isinstance(asset, str) or not isinstance(feed, str) or not chainlink.FEED_ID.fullmatch(feed):
            raise ConfigError(attribute.name, value, "a table of feed ids, 0x0002 or 0x0003 and 60 of 0-9a-f, by asset")


@frozen(kw_only=True)
class OracleSettings:
    """Which feed tells the prices, and when they are too old."""

    source: str = field(default="rtds", validator=one_of(*SOURCES))
    """``rtds``: the venue's public relay, announced for removal. ``polybolt``: its successor, with the venue's API
    credentials. ``chainlink``: the provider itself, with the provider's. ``simulated``: tests only."""
    assets: tuple[str, ...] = field(default=("btc", "eth", "sol", "xrp"), validator=_asset_names)
    kinds: tuple[str, ...] = field(default=("spot", "twap60"), validator=some_of(*KINDS))
    """The kinds of price. The average settles the markets; the spot price leads it."""
    url: str = field(default="", validator=_address)
    """Another address of the feed; empty: its own."""
    max_silence_ms: int = field(default=5_000, validator=whole(500, 600_000, "milliseconds"))
    """As of :class:`~bots.updown.oracles.board.Patience`."""
    max_age_ms: int = field(default=10_000, validator=whole(500, 600_000, "milliseconds"))
    """As of :class:`~bots.updown.oracles.board.Patience`."""
    max_ahead_ms: int = field(default=5_000, validator=whole(0, 600_000, "milliseconds"))
    """As of :class:`~bots.updown.oracles.board.Patience`."""
    reconnect_after_ms: int = field(default=8_000, validator=whole(1_000, 600_000, "milliseconds"))
    """A connection that brought no new price for this long is replaced, whatever else it brings."""
    chainlink_spot: Mapping[str, str] = field(factory=lambda: dict(chainlink.MAINNET_SPOT), validator=_feed_ids)
    """The provider's ids of spot feeds, by asset."""
    chainlink_twap: Mapping[str, str] = field(factory=dict, validator=_feed_ids)
    """The provider's ids of the feeds of 60-second averages, by asset. None are known in public."""


def make_oracle(
    settings: OracleSettings,
    network: Network,
    *,
    clob_keys: ClobKeys | None = None,
    chainlink_keys: ChainlinkKeys | None = None,
    prices: PriceSource | None = None,
    buffer: OracleBuffer | None = None,
    rng: random.Random | None = None,
) -> Oracle:
    """Build the oracle that the settings name. Nothing connects before its ``run``.

    ``clob_keys`` are needed by ``polybolt``, ``chainlink_keys`` by ``chainlink``, ``prices`` by ``simulated``. Raises
    :class:`~polymirror.errors.ConfigError` when what the source needs is missing.
    """
    kinds = [KINDS[each] for each in settings.kinds]
    board = PriceBoard(
        settings.assets,
        kinds,
        patience=Patience(
            max_silence_ms=settings.max_silence_ms,
            max_age_ms=settings.max_age_ms,
            max_ahead_ms=settings.max_ahead_ms,
        ),
        buffer=OracleBuffer() if buffer is None else buffer,
    )
    if settings.source == "simulated":
        if prices is None:
            raise ConfigError("prices", None, "a source of prices, for the simulated oracle")
        return SimulatedOracle(prices, board, network)
    dialects = [_dialect(settings, kind, network, clob_keys, chainlink_keys) for kind in kinds]
    return StreamedOracle(settings.source, dialects, board, network, config=_stream_config(settings), rng=rng)


def _dialect(
    settings: OracleSettings,
    kind: TickKind,
    network: Network,
    clob_keys: ClobKeys | None,
    chainlink_keys: ChainlinkKeys | None,
) -> Dialect:
    if settings.source == "rtds":
        return rtds.RtdsDialect(kind, settings.assets, settings.url or rtds.URL)
    if settings.source == "polybolt":
        if clob_keys is None:
            raise ConfigError("clob_keys", None, "the venue's API credentials, for the oracle polybolt")
        return polybolt.PolyboltDialect(kind, settings.assets, clob_keys, settings.url or polybolt.URL)
    if chainlink_keys is None:
        raise ConfigError("chainlink_keys", None, "the provider's credentials, for the oracle chainlink")
    name = "chainlink_spot" if kind is TickKind.SPOT else "chainlink_twap"
    known = settings.chainlink_spot if kind is TickKind.SPOT else settings.chainlink_twap
    missing = [asset for asset in settings.assets if asset not in known]
    if missing:
        raise ConfigError(name, dict(known), f"a table that has a feed id of each asset, also of {', '.join(missing)}")
    feeds = {asset: known[asset] for asset in settings.assets}
    return chainlink.ChainlinkDialect(kind, feeds, chainlink_keys, network.wall, settings.url or chainlink.URL)


def _stream_config(settings: OracleSettings) -> StreamConfig:
    return evolve(
        FEED_STREAM,
        data_timeout=settings.reconnect_after_ms / 1000,
        transport_timeout=max(FEED_STREAM.transport_timeout, settings.reconnect_after_ms / 1000),
    )

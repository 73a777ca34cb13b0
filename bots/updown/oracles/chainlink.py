"""Chainlink Data Streams: the prices at their source, with credentials of the provider.

Signs the handshake, reads the frames; :mod:`~bots.updown.oracles.reports` decodes what is in them. A frame carries one
report of one feed, as text or as binary. The provider may send one report more than once: the board's watermark
over the time of observation drops repetitions, as the provider's own SDK does. Facts are from that SDK.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from bots.common.secrets import Secret
from bots.updown.oracles.board import Price
from bots.updown.oracles.reports import ReportInvalid, decode_report
from bots.updown.oracles.streamed import IGNORED, MALFORMED, Said
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bots.updown.oracles.keys import ChainlinkKeys
    from bots.updown.oracles.ticks import TickKind

URL: Final = "wss://ws.dataengine.chain.link"

PATH: Final = "/api/v1/ws"

MAINNET_SPOT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "btc": "0x00039d9e45394f473ab1f050a1b963e6b05351e52d71e507509ada0c95ed75b8",
        "eth": "0x000362205e10b3a147d02792eccee483dca6c7b44ecce7012cb8c6e0b68b3ae9",
        "sol": "0x0003b778d3f6b2ac4991302b89cb313f99a42467d6c9c5f96f57c29c0d2bc24f",
        "xrp": "0x0003c16c6aed42294f5cb4741f6e59ba2d728f0eae2eb9e6d3f555808c59fc45",
    }
)
"""Feed ids of spot prices. Those of btc and eth were found in several independent programs; those of sol and xrp in one
only, so compare them with the provider's list before trading on them. The ids of the averages were not found in
public: take them from the provider and name them in the settings."""

FEED_ID: Final = re.compile(r"0x000[23][0-9a-f]{60}")


class _Carried(msgspec.Struct, rename="camel"):
    feed_id: str = msgspec.field(name="feedID", default="")
    full_report: str = ""
    observations_timestamp: int | None = None


class _Frame(msgspec.Struct):
    report: _Carried | None = None


_decoder: Final = msgspec.json.Decoder(_Frame)


def sign(method: str, target: str, body: bytes, keys: ChainlinkKeys, at_ms: int) -> str:
    """Return the signature of one request, in hex.

    ``target`` is the path with its query exactly as it is sent, ``at_ms`` the time in Unix milliseconds that goes into
    the header beside it; the provider allows it to be five seconds off.
    """
    digest = hashlib.sha256(body).hexdigest()
    said = f"{method} {target} {digest} {keys.client_id.reveal()} {at_ms}"
    return hmac.new(keys.user_secret.reveal().encode(), said.encode(), hashlib.sha256).hexdigest()


class ChainlinkDialect:
    """The feeds of one kind of price. See :class:`~bots.updown.oracles.streamed.Dialect`.

    ``feeds`` are the feed ids by asset. ``wall`` is the clock that signatures are dated with, in Unix seconds. Raises
    :class:`~polymirror.errors.ConfigError` for ids that are none of version 2 or 3, or that are used twice.
    """

    # The provider's SDKs ping with protocol frames, which the relay itself sends as well.
    ping: str | None = None

    def __init__(
        self,
        kind: TickKind,
        feeds: Mapping[str, str],
        keys: ChainlinkKeys,
        wall: Callable[[], float],
        url: str = URL,
    ) -> None:
        for asset, feed in feeds.items():
            if not FEED_ID.fullmatch(feed):
                raise ConfigError(f"feed of {asset}", feed, "0x0002 or 0x0003 and 60 digits of 0-9a-f")
        if not feeds or len(set(feeds.values())) < len(feeds):
            raise ConfigError("feeds", dict(feeds), "at least one, and none for two assets")
        self.kind = kind
        self.name = f"chainlink {kind.value}"
        self.url = f"{url.rstrip('/')}{PATH}?feedIDs={','.join(feeds.values())}"
        self._assets = {feed: asset for asset, feed in feeds.items()}
        self._keys = keys
        self._wall = wall

    def headers(self) -> Mapping[str, str]:
        """Sign one attempt to connect. The signature ages within seconds, so each attempt gets its own."""
        parts = urlsplit(self.url)
        at_ms = int(self._wall() * 1000)
        # Kept, so that it is hidden as long as it is of use.
        self._signature = Secret(sign("GET", f"{parts.path}?{parts.query}", b"", self._keys, at_ms))
        return {
            "Authorization": self._keys.client_id.reveal(),
            "X-Authorization-Timestamp": str(at_ms),
            "X-Authorization-Signature-SHA256": self._signature.reveal(),
        }

    def first_frame(self) -> str | None:
        """The address says it all."""
        return None

    def prices(self, data: bytes) -> tuple[Price, ...]:
        """Return the price in a frame, or nothing."""
        return tuple(self.read(data).prices)

    def read(self, data: bytes) -> Said:
        """Take the next frame. None depends on another."""
        try:
            carried = _decoder.decode(data).report
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Said(what=MALFORMED)
        if carried is None:
            return Said(what=IGNORED)
        try:
            report = decode_report(carried.full_report)
        except ReportInvalid:
            return Said(what=MALFORMED)
        if (carried.feed_id.lower(), carried.observations_timestamp) != (report.feed_id, report.observed):
            # What is signed contradicts what is written around it.
            return Said(what=MALFORMED)
        asset = self._assets.get(report.feed_id)
        if asset is None:
            return Said(what="other symbols")
        return Said((Price(asset, self.kind, report.price, report.observed * 1000),))

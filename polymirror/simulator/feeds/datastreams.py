"""Chainlink Data Streams as a simulated feed: a signed handshake, then one report for each feed and second.

Pure; see :class:`~polymirror.simulator.surface.services.Feed`. Facts are from the provider's own SDK. The
frames are text here, while the provider's are binary; a client gets the same bytes either way.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from polymirror.simulator.feeds.faults import PRICE, FeedLine
from polymirror.simulator.feeds.pulse import SECOND_MS, Pulse, PulseSession, check_assets
from polymirror.simulator.feeds.reports import encode_report, feed_id
from polymirror.simulator.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from polymirror.simulator.faults.base import Fault
    from polymirror.simulator.feeds.pulse import PriceSource
    from polymirror.simulator.surface.services import FeedSession

PATH: Final = "/api/v1/ws"

SPOT_VERSION: Final = 3
TWAP_VERSION: Final = 2
WINDOW_S: Final = 60

MAX_SKEW_MS: Final = 5_000
"""A signature dated further from the provider's clock is refused."""

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
UNAVAILABLE: Final = 503


@frozen(kw_only=True)
class StreamKeys:
    """The credentials that the provider accepts. They are made up, and still not shown."""

    client_id: str = field(repr=False)
    user_secret: str = field(repr=False)


DEMO_KEYS: Final = StreamKeys(client_id="simulated-client", user_secret="simulated-secret")  # noqa: S106
"""What the provider accepts unless told otherwise."""


class DataStreamsFeed:
    """The provider. It has a spot feed (version 3) and one of 60-second averages (version 2) for each asset.

    ``faults`` are ids of :data:`FEED_FAULTS` or fault objects; ``lag_ms`` and ``missing`` as of
    :class:`~polymirror.simulator.feeds.pulse.Pulse`.
    """

    def __init__(
        self,
        prices: PriceSource,
        assets: Sequence[str],
        *,
        keys: StreamKeys = DEMO_KEYS,
        path: str = PATH,
        seed: int = 0,
        faults: Iterable[str | Fault] = (),
        lag_ms: tuple[int, int] = (250, 700),
        missing: float = 0.005,
    ) -> None:
        self.path = path
        self.prices = prices
        self.assets: tuple[str, ...] = check_assets(assets)
        self.spot_ids: dict[str, str] = {asset: feed_id(asset, version=SPOT_VERSION) for asset in self.assets}
        self.twap_ids: dict[str, str] = {asset: feed_id(asset, version=TWAP_VERSION) for asset in self.assets}
        self.keys = keys
        self.pulse: Pulse = Pulse(seed, lag_ms=lag_ms, missing=missing)
        self.line: FeedLine = FeedLine(faults, seed=seed)

    def open(self, headers: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> FeedSession | int:
        """Check the signature, its date and the feeds that are asked for."""
        if self.line.refuses(now_ms):
            return UNAVAILABLE
        wanted = query.get("feedIDs", "")
        if not wanted:
            return BAD_REQUEST
        if not self._signed(headers, wanted, now_ms):
            return UNAUTHORIZED
        known = {feed: asset for ids in (self.spot_ids, self.twap_ids) for asset, feed in ids.items()}
        feeds = {feed: known.get(feed) for feed in dict.fromkeys(wanted.split(","))}
        granted = {feed: asset for feed, asset in feeds.items() if asset is not None}
        if len(granted) < len(feeds):
            return FORBIDDEN
        return DataStreamsSession(self, granted, now_ms)

    def _signed(self, headers: Mapping[str, str], wanted: str, now_ms: int) -> bool:
        dated = headers.get("x-authorization-timestamp", "")
        given = headers.get("x-authorization-signature-sha256", "").encode()
        named = hmac.compare_digest(headers.get("authorization", "").encode(), self.keys.client_id.encode())
        if not dated.isdecimal() or abs(int(dated) - now_ms) > MAX_SKEW_MS or not named:
            return False
        empty = hashlib.sha256(b"").hexdigest()
        # Clients send the commas as they are or encoded, and sign what they send.
        for ids in (wanted, wanted.replace(",", "%2C")):
            said = f"GET {self.path}?feedIDs={ids} {empty} {self.keys.client_id} {dated}"
            ours = hmac.new(self.keys.user_secret.encode(), said.encode(), hashlib.sha256).hexdigest()
            if hmac.compare_digest(ours.encode(), given):
                return True
        return False


class DataStreamsSession(PulseSession):
    """One client's connection: reports of the feeds in its address."""

    def __init__(self, feed: DataStreamsFeed, granted: Mapping[str, str], now_ms: int) -> None:
        super().__init__(feed.pulse, feed.line)
        self._feed = feed
        self._granted = granted
        self.follow(now_ms)

    def publish(self, second: int, sent_ms: int) -> Iterator[Frame]:
        """Tell one report of each feed."""
        del sent_ms
        prices, observed = self._feed.prices, second // SECOND_MS
        for feed, asset in self._granted.items():
            if self._pulse.is_missing(feed, second):
                continue
            average = feed == self._feed.twap_ids[asset]
            price = prices.twap(asset, second, WINDOW_S) if average else prices.price(asset, second)
            text = (
                f'{{"report":{{"feedID":"{feed}","fullReport":"{encode_report(feed, price, observed)}",'
                f'"validFromTimestamp":{observed},"observationsTimestamp":{observed}}}}}'
            )
            yield Frame(text, PRICE, market=feed, token=asset, at_ms=second)

"""Oracles in virtual time against the simulated feeds: prices that anybody can compute, and a run in one call."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field

from bots.updown.oracles.factory import OracleSettings, make_oracle
from bots.updown.oracles.keys import ChainlinkKeys, ClobKeys
from bots.updown.oracles.ticks import Tick, TickKind
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.feeds import datastreams, polybolt
from polymirror.simulator.feeds.datastreams import DataStreamsFeed
from polymirror.simulator.feeds.polybolt import PolyboltFeed
from polymirror.simulator.feeds.rtds import RtdsFeed
from polymirror.simulator.settings import DEFAULT_START_MS, ExchangeConfig, FlowConfig
from polymirror.simulator.virtual import VirtualVenue, run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bots.updown.oracles.base import Oracle
    from polymirror.venue.network import Network

START_MS = DEFAULT_START_MS
ASSETS = ("btc", "eth")
CLOB_KEYS = ClobKeys(
    api_key=polybolt.DEMO_KEYS.api_key, secret=polybolt.DEMO_KEYS.secret, passphrase=polybolt.DEMO_KEYS.passphrase
)
CHAINLINK_KEYS = ChainlinkKeys(client_id=datastreams.DEMO_KEYS.client_id, user_secret=datastreams.DEMO_KEYS.user_secret)


class Ramp:
    """Prices that rise by a different cent each second, with eight decimals; an average is the plain mean."""

    BASE: ClassVar = {"btc": Decimal("65000.00000001"), "eth": Decimal("2000.00000001")}

    def price(self, asset: str, at_ms: int) -> Decimal:
        return self.BASE[asset] + Decimal(at_ms // 1000 % 1000) / 100

    def twap(self, asset: str, at_ms: int, lookback_s: int = 60) -> Decimal:
        last = at_ms // 1000 * 1000
        total = sum(self.price(asset, last - back * 1000) for back in range(1, lookback_s + 1))
        return (total / lookback_s).quantize(Decimal("1e-8"))

    def of(self, kind: TickKind, asset: str, at_ms: int) -> Decimal:
        return self.price(asset, at_ms) if kind is TickKind.SPOT else self.twap(asset, at_ms)


PRICES = Ramp()


@define
class Stand:
    """A running oracle and all that a test may look at."""

    oracle: Oracle
    network: Network
    venue: VirtualVenue
    feed: Any
    ticks: list[Tick] = field(factory=list)

    @property
    def now(self) -> float:
        return self.network.monotonic()

    @property
    def now_ms(self) -> int:
        return int(self.network.wall() * 1000)

    def stale(self, asset: str, kind: TickKind | None = None) -> bool:
        return self.oracle.stale(asset, self.now, kind)

    async def until(self, fact: Callable[[], bool], limit: float = 120.0) -> float:
        """Wait until something is so; return how many seconds that took."""
        began = self.now
        while not fact():
            await asyncio.sleep(0.05)
            assert self.now - began < limit, "it never came to be so"
        return self.now - began

    async def flowing(self) -> None:
        await self.until(lambda: not any(self.stale(asset) for asset in ASSETS), 20)


FEEDS = {"rtds": RtdsFeed, "polybolt": PolyboltFeed, "chainlink": DataStreamsFeed}


def with_oracle(
    source: str, script: Callable[[Stand], Awaitable[Any]], *, keys: dict[str, Any] | None = None, **options: Any
) -> Any:
    """Run a script beside an oracle; ``options`` are the feed's, ``settings`` the oracle's.

    ``assets`` are those that the feed knows, ``make`` another class of feed.
    """
    settings: dict[str, Any] = options.pop("settings", {})
    known, make = options.pop("assets", ASSETS), options.pop("make", FEEDS[source])

    async def main() -> Any:
        feed = make(PRICES, known, **options)
        exchange = Exchange(ExchangeConfig(flow=FlowConfig.thin(), new_market_every_ms=None))
        async with VirtualVenue(exchange, feeds=[feed]) as venue:
            url = venue.base_url.replace("http", "ws") if source == "chainlink" else venue.stream_url(feed.path)
            ids = {"chainlink_spot": feed.spot_ids, "chainlink_twap": feed.twap_ids} if source == "chainlink" else {}
            oracle = make_oracle(
                OracleSettings(source=source, assets=ASSETS, url=url, **ids, **settings),
                venue.network,
                rng=random.Random(1),
                **({"clob_keys": CLOB_KEYS, "chainlink_keys": CHAINLINK_KEYS} | (keys or {})),
            )
            stand = Stand(oracle, venue.network, venue, feed)
            oracle.on_tick(stand.ticks.append)
            running = asyncio.create_task(oracle.run())
            try:
                return await script(stand)
            finally:
                running.cancel()
                await asyncio.wait([running])

    return run_virtual(main, start_ms=START_MS)

"""Discovery objects of the simulated markets, in the form of the venue's discovery service.

Lists inside are JSON-encoded strings, numbers come as numbers, times as ISO texts, exactly as
recorded objects have them. Pure; the REST desk calls it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from polymirror.simulator.exchange.ladder import ONE_PRICE
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.exchange.market import MIN_ORDER_SIZE
from polymirror.simulator.surface.tape import worth

if TYPE_CHECKING:
    from polymirror.simulator.exchange.market import Market

NAMES = {"btc": "Bitcoin", "eth": "Ethereum", "sol": "Solana", "xrp": "XRP", "doge": "Dogecoin", "bnb": "BNB"}
TWAP_SECONDS = 60
HOURLY = "1h"

FIRST_MARKET: Final = 3_000_000
FIRST_EVENT: Final = 800_000
"""The numbers of markets and of their events count from here."""


def tags_of(market: Market) -> list[dict[str, str]]:
    """What a market is filed under."""
    return [
        {"id": number, "label": label, "slug": label.lower().replace(" ", "-")} for number, label in market.kind.tags
    ]


KNOWN_SERIES: Final = {"btc-up-or-down-5m": 10_684}
"""Numbers of series that are known; others follow from their names."""


def _iso(unix_ms: int) -> str:
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def title(market: Market) -> str:
    """What people call a market."""
    if market.kind.question:
        return market.kind.question
    start = datetime.fromtimestamp(market.window_start_ms / 1000, UTC)
    end = start + timedelta(milliseconds=market.window_end_ms - market.window_start_ms)
    name = NAMES.get(market.asset, market.asset.upper())
    return f"{name} Up or Down - {start:%B} {start.day}, {start:%H:%M}-{end:%H:%M} UTC"


def _duration(market: Market) -> str:
    return "15m" if market.round is None else market.round.label


def _twap_seconds(market: Market) -> int:
    return TWAP_SECONDS if market.round is None else market.round.twap_s


def _resolution_source(market: Market) -> str:
    if _duration(market) == HOURLY:
        return f"https://www.binance.com/en/trade/{market.asset.upper()}_USDT"
    seconds = _twap_seconds(market)
    return f"https://data.chain.link/streams/{market.asset}-usd" + (f"-twap-{seconds}s-streams" if seconds else "")


def _oracle_settings(market: Market) -> dict[str, Any]:
    """What decides the market; hourly markets and those on the price itself state only the source."""
    seconds, duration = _twap_seconds(market), _duration(market)
    if not seconds or duration == HOURLY:
        return {}
    config_id = f"{market.asset}-{duration}-twap-{seconds}"
    return {
        "cryptoMarketConfigId": config_id,
        "cryptoMarketConfig": {
            "id": config_id,
            "asset": market.asset,
            "duration": duration,
            "twapEnabled": True,
            "twapLookbackSeconds": seconds,
        },
    }


def _metadata(market: Market) -> dict[str, Any]:
    """The official prices at the start and the end of a round, each from the moment it is published."""
    this = market.round
    found: dict[str, Any] = {}
    if this is not None and this.strike_published and this.strike is not None:
        found["priceToBeat"] = float(this.strike)
    if this is not None and this.outcome_published and this.final is not None:
        found["finalPrice"] = float(this.final)
    return found


def market_object(market: Market) -> dict[str, Any]:
    """A market as ``/markets`` gives it."""
    closed = market.closed
    first = worth(market)
    prices = [f"{price.normalize():f}" for price in (first, 1 - first)]
    bid, ask = (float(text) for text in market.best(0))
    found: dict[str, Any] = {
        "id": str(FIRST_MARKET + market.index),
        "question": title(market),
        "conditionId": market.condition_id,
        # Which contracts split and merge its tokens: the first ones, not those of position ids.
        "version": "v1",
        "slug": market.slug,
        "resolutionSource": _resolution_source(market),
        "startDate": _iso(market.window_start_ms - 86_400_000),
        "eventStartTime": _iso(market.window_start_ms),
        "endDate": _iso(market.window_end_ms),
        "description": "A simulated market: it resolves to Up if the price ends at or above its start.",
        "outcomes": json.dumps(OUTCOMES),
        "outcomePrices": json.dumps(prices),
        "clobTokenIds": json.dumps(market.tokens),
        "active": True,
        "closed": closed,
        "archived": False,
        "acceptingOrders": not closed,
        "enableOrderBook": True,
        "orderPriceMinTickSize": market.tick / ONE_PRICE,
        "orderMinSize": int(MIN_ORDER_SIZE),
        "negRisk": market.kind.neg_risk,
        "feesEnabled": bool(market.kind.fee),
        "feeType": "crypto_fees_v2",
        "feeSchedule": {
            "exponent": 1,
            "rate": market.kind.fee / ONE_PRICE,
            "takerOnly": True,
            "rebateRate": 0.2,
        },
        "makerBaseFee": 1000,
        "takerBaseFee": 1000,
        **_oracle_settings(market),
        "bestBid": bid,
        "bestAsk": ask,
        "umaResolutionStatuses": "[]",
        "automaticallyResolved": closed,
    }
    if market.kind.volume:
        found["volume24hr"] = market.kind.volume
    if market.trade_price:
        found["lastTradePrice"] = float(market.trade_price)
    if closed:
        found["umaResolutionStatus"] = "resolved"
        found["closedTime"] = _iso(market.changed_ms)
    return found


def series_slug(market: Market) -> str:
    """The name of the series that a market's event belongs to."""
    return f"{market.asset}-up-or-down-{_duration(market)}"


def series_id(slug: str) -> str:
    """The number of a series."""
    return str(KNOWN_SERIES.get(slug) or 20_000 + crc32(slug.encode()) % 1_000_000)


def series_object(market: Market) -> dict[str, Any]:
    """The series of a market's event, as ``/series`` gives it."""
    slug = series_slug(market)
    return {
        "id": series_id(slug),
        "ticker": slug,
        "slug": slug,
        "title": f"{NAMES.get(market.asset, market.asset.upper())} Up or Down {_duration(market)}",
        "seriesType": "single",
        "recurrence": _duration(market),
        "active": True,
        "closed": False,
        "archived": False,
    }


def event_object(market: Market) -> dict[str, Any]:
    """The event around a market, as ``/events`` gives it."""
    return {
        "id": str(FIRST_EVENT + market.index),
        "ticker": market.slug,
        "slug": market.slug,
        "title": title(market),
        "resolutionSource": _resolution_source(market),
        "startDate": _iso(market.window_start_ms - 86_400_000),
        "startTime": _iso(market.window_start_ms),
        "endDate": _iso(market.window_end_ms),
        "active": True,
        "closed": market.closed,
        "archived": False,
        "enableOrderBook": True,
        "negRisk": market.kind.neg_risk,
        "markets": [market_object(market)],
        "series": [series_object(market)],
        "seriesSlug": series_slug(market),
        "tags": tags_of(market),
        "eventMetadata": _metadata(market),
    }

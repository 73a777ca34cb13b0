"""Discovery objects of the simulated markets, in the form of the venue's discovery service.

Lists inside are JSON-encoded strings, numbers come as numbers, times as ISO texts, exactly as
recorded objects have them. Pure; the REST desk calls it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from polymirror.simulator.exchange.ladder import ONE_PRICE
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.exchange.market import MIN_ORDER_SIZE

if TYPE_CHECKING:
    from polymirror.simulator.exchange.market import Market

NAMES = {"btc": "Bitcoin", "eth": "Ethereum", "sol": "Solana", "xrp": "XRP", "doge": "Dogecoin", "bnb": "BNB"}
TWAP_SECONDS = 60
HOURLY = "1h"


def _iso(unix_ms: int) -> str:
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _title(market: Market) -> str:
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
    winner = market.winner if closed else None
    prices = ["0.5", "0.5"] if winner is None else ["1" if winner == i else "0" for i in (0, 1)]
    bid, ask = (float(text) for text in market.best(0))
    found: dict[str, Any] = {
        "id": str(3_000_000 + market.index),
        "question": _title(market),
        "conditionId": market.condition_id,
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
        "negRisk": False,
        "feesEnabled": True,
        "feeType": "crypto_fees_v2",
        "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True, "rebateRate": 0.2},
        "makerBaseFee": 1000,
        "takerBaseFee": 1000,
        **_oracle_settings(market),
        "bestBid": bid,
        "bestAsk": ask,
        "umaResolutionStatuses": "[]",
        "automaticallyResolved": closed,
    }
    if market.trade_price:
        found["lastTradePrice"] = float(market.trade_price)
    if closed:
        found["umaResolutionStatus"] = "resolved"
        found["closedTime"] = _iso(market.changed_ms)
    return found


def event_object(market: Market) -> dict[str, Any]:
    """The event around a market, as ``/events`` gives it."""
    duration = _duration(market)
    return {
        "id": str(800_000 + market.index),
        "ticker": market.slug,
        "slug": market.slug,
        "title": _title(market),
        "resolutionSource": _resolution_source(market),
        "startDate": _iso(market.window_start_ms - 86_400_000),
        "startTime": _iso(market.window_start_ms),
        "endDate": _iso(market.window_end_ms),
        "active": True,
        "closed": market.closed,
        "enableOrderBook": True,
        "negRisk": False,
        "markets": [market_object(market)],
        "series": [{"slug": f"{market.asset}-up-or-down-{duration}", "recurrence": duration}],
        "seriesSlug": f"{market.asset}-up-or-down-{duration}",
        "eventMetadata": _metadata(market),
    }

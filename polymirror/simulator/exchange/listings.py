"""The markets of the simulated exchange: their names, their windows, and how they are announced.

Makes condition ids, token ids and up/down slugs in the venue's forms, and the two platform events
``new_market`` and ``market_resolved``. The exchange calls it once at the start and when it announces.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from polymirror.simulator.exchange.flow import Flow
from polymirror.simulator.exchange.market import Market
from polymirror.simulator.frames import MARKET_RESOLVED, NEW_MARKET, Frame
from polymirror.simulator.settings import QUARTER_MS, ExchangeConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

ASSETS = ("btc", "eth", "sol", "xrp", "doge", "bnb", "hype")
"""The coins with up/down markets."""

OUTCOMES = ("Up", "Down")


def list_markets(config: ExchangeConfig, rng: random.Random) -> tuple[Market, ...]:
    """All markets of an exchange: one quarter-hour window a coin, then the next windows."""
    return tuple(_markets(config, rng))


def _markets(config: ExchangeConfig, rng: random.Random) -> Iterator[Market]:
    first_start = config.start_ms - config.start_ms % QUARTER_MS
    for index in range(config.markets):
        window, coin = divmod(index, len(ASSETS))
        start = first_start + window * QUARTER_MS
        yield Market(
            index=index,
            condition_id=f"0x{rng.getrandbits(256):064x}",
            tokens=(token_id(rng), token_id(rng)),
            slug=f"{ASSETS[coin]}-updown-15m-{start // 1000}",
            asset=ASSETS[coin],
            window_start_ms=start,
            window_end_ms=start + QUARTER_MS,
            flow=Flow(config.flow, random.Random(rng.getrandbits(64)), config.start_ms),
            history_ms=config.history_ms,
        )


def token_id(rng: random.Random) -> str:
    """An asset id in the venue's form: a long decimal number."""
    return str(rng.randrange(10**75, 2**256))


def _dumps(payload: dict[str, object]) -> str:
    return json.dumps(payload, separators=(", ", ":"))


def announcement(rng: random.Random, at_ms: int) -> Frame:
    """A market somewhere on the platform that nobody here subscribed to."""
    condition = f"0x{rng.getrandbits(256):064x}"
    tokens = [token_id(rng), token_id(rng)]
    start = at_ms // QUARTER_MS * QUARTER_MS // 1000 + 86_400
    asset = rng.choice(ASSETS)
    slug = f"{asset}-updown-15m-{start}"
    numbers = rng.randrange(1_000_000, 9_999_999), rng.randrange(100_000, 999_999)
    return _announcement(numbers, condition, tokens, f"{asset.upper()} Up or Down", slug, at_ms)


def listing(market: Market, at_ms: int) -> Frame:
    """A market of this exchange, told to everybody when it comes into being."""
    numbers = 3_000_000 + market.index, 800_000 + market.index
    question = f"{market.asset.upper()} Up or Down"
    return _announcement(numbers, market.condition_id, list(market.tokens), question, market.slug, at_ms)


def _announcement(
    numbers: tuple[int, int], condition: str, tokens: list[str], question: str, slug: str, at_ms: int
) -> Frame:
    text = _dumps(
        {
            "id": str(numbers[0]),
            "question": question,
            "market": condition,
            "slug": slug,
            "description": "",
            "assets_ids": tokens,
            "outcomes": list(OUTCOMES),
            "event_message": {"id": str(numbers[1]), "ticker": slug, "slug": slug, "title": slug},
            "timestamp": str(at_ms),
            "event_type": NEW_MARKET,
            "tags": ["crypto", "up-or-down"],
            "condition_id": condition,
            "active": False,
            "clob_token_ids": tokens,
            "sports_market_type": "",
            "line": "",
            "game_start_time": "",
            "order_price_min_tick_size": "0.01",
            "group_item_title": "",
            "taker_base_fee": "1000",
            "fees_enabled": True,
            "fee_schedule": {"exponent": "1", "rate": "0.07", "taker_only": True, "rebate_rate": "0.2"},
        }
    )
    return Frame(text, NEW_MARKET, condition, "", at_ms)


def resolution(market: Market, at_ms: int) -> Frame:
    """The outcome of a market, for the connections that subscribed to it."""
    # Where both tokens pay, none has won.
    won = market.winner is not None or market.payouts is None
    winner = market.winner or 0
    text = _dumps(
        {
            "id": str(3_000_000 + market.index),
            "market": market.condition_id,
            "assets_ids": list(market.tokens),
            "winning_asset_id": market.tokens[winner] if won else "",
            "winning_outcome": OUTCOMES[winner] if won else "",
            "event_message": None,
            "timestamp": str(at_ms),
            "tags": ["crypto", "up-or-down"],
            "event_type": MARKET_RESOLVED,
        }
    )
    return Frame(text, MARKET_RESOLVED, market.condition_id, "", at_ms)

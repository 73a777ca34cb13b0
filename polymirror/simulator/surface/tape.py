"""What was: a price of each market for each minute, and the last trades that were told, as far back as is kept.

The desk owns one. Whoever runs the exchange lets it note the time and hear the frames now and then; without that
there is only the present. Nothing here changes anything.
"""

from __future__ import annotations

import json
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from polymirror.simulator.exchange.ladder import ONE_PRICE
from polymirror.simulator.exchange.market import Market, Phase
from polymirror.simulator.frames import LAST_TRADE_PRICE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.frames import Frame

MINUTE_MS: Final = 60_000

MAX_MINUTES: Final = 1_440
"""So many prices of a market are kept: a day."""

MAX_PRINTS: Final = 500
"""So many trades of a market are kept."""


class Point(NamedTuple):
    """What a market's first token was worth, in dollars; the second one is worth the rest of a dollar."""

    at_s: int
    price: Decimal


class Print(NamedTuple):
    """A trade as it was told: from the taker's point of view."""

    token: str
    side: str
    price: str
    size: str
    at_s: int
    transaction: str


def worth(market: Market) -> Decimal:
    """What the first token is worth: its payout, the middle of its book, its last trade, or half a dollar."""
    if market.closed and market.payouts is not None:
        return Decimal(market.payouts[0]) / sum(market.payouts)
    bid, other = market.tops
    if bid and other:
        return Decimal(bid + ONE_PRICE - other) / (2 * ONE_PRICE)
    return Decimal(market.trade_price).normalize() if market.trade_price else Decimal("0.5")


class Tape:
    """The past of an exchange's markets, by condition id."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._minute = -1
        self._points: dict[str, deque[Point]] = {}
        self._prints: dict[str, deque[Print]] = {}

    def note(self) -> None:
        """Note what everything is worth, if a new minute has begun."""
        exchange = self._exchange
        minute = exchange.now_ms // MINUTE_MS
        if minute == self._minute:
            return
        self._minute = minute
        present = {market.condition_id: market for market in exchange.markets}
        for kept in (self._points, self._prints):
            for gone in kept.keys() - present.keys():
                kept.pop(gone)
        for condition, market in present.items():
            if market.phase is Phase.TRADING:
                points = self._points.setdefault(condition, deque(maxlen=MAX_MINUTES))
                points.append(Point(exchange.now_ms // 1_000, worth(market)))

    def hear(self, frames: Iterable[Frame]) -> None:
        """Keep the trades among the frames that the exchange sent."""
        for frame in frames:
            if frame.kind == LAST_TRADE_PRICE and self._exchange.market_by_condition(frame.market) is not None:
                told = json.loads(frame.text)
                at_s, sold = int(told["timestamp"]) // 1_000, told["transaction_hash"]
                printed = Print(told["asset_id"], told["side"], told["price"], told["size"], at_s, sold)
                self._prints.setdefault(frame.market, deque(maxlen=MAX_PRINTS)).append(printed)

    def points(self, condition: str) -> tuple[Point, ...]:
        """The prices of a market's first token, oldest first."""
        return tuple(self._points.get(condition, ()))

    def prints(self, condition: str) -> tuple[Print, ...]:
        """The trades of a market, newest first."""
        return tuple(reversed(self._prints.get(condition, ())))

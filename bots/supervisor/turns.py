"""Whose turn it is: a wallet that many markets share, so that none of them starves another. Pure.

A market that wants to trade asks, and is told why not. It waits its interval; while so many intents are under way as
may be at once, it waits for one to end, and then the one goes first whose last turn is longest ago. What is under way
and held may cost so much in one market, and so much in all of them.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from bots.common.money.amounts import EXACT
from bots.common.ranges import decimal_range, whole

if TYPE_CHECKING:
    from bots.common.ledger.account import Account

WAITS_FOR: Final = 1.0
"""Seconds for which a market that was told to wait is waited for: what it saw is gone by then."""

MAX_MARKETS: Final = 10_000


@frozen(kw_only=True)
class TurnSettings:
    """How markets share a wallet. Raises ConfigError, which names the field."""

    interval_ms: int = field(default=1_000, validator=whole(0, 3_600_000, "ms"))
    """The least time between two turns of one market."""
    at_once: int = field(default=8, validator=whole(1, 64, "intents"))
    """So many intents of all markets may be under way at the same time."""
    per_market: Decimal = field(default=Decimal(60), validator=decimal_range("1", "1000000", "pUSD"))
    """What may be tied up in one market."""
    in_all: Decimal = field(default=Decimal(600), validator=decimal_range("1", "1000000", "pUSD"))
    """What may be tied up in all of them."""


class Turns:
    """Gives turns. Times in seconds on any clock that only grows."""

    def __init__(self, settings: TurnSettings) -> None:
        self.orders: Counter[str] = Counter()
        """Turns given, by market."""
        self.waited: Counter[str] = Counter()
        """Times that a market was told to wait for others, by market."""
        self._settings = settings
        self._last: dict[str, float] = {}
        # Markets that were told to wait for another one, and when they asked last.
        self._waiting: dict[str, float] = {}

    def refuse(self, market: str, now: float, under_way: int) -> str:
        """Say in a word why a market does not have its turn; empty: it has, and :meth:`take` is to be called."""
        settings, never = self._settings, float("-inf")
        last = self._last.get(market, never)
        if now < last + settings.interval_ms / 1000:
            return "interval"
        if under_way >= settings.at_once:
            self._wait(market, now)
            return "turn"
        for other, at in tuple(self._waiting.items()):
            if now > at + WAITS_FOR:
                del self._waiting[other]
            elif other != market and self._last.get(other, never) < last and under_way >= settings.at_once - 1:
                self._wait(market, now)
                return "turn"
        return ""

    def _wait(self, market: str, now: float) -> None:
        self._waiting[market] = now
        self.waited[market] += 1

    def take(self, market: str, now: float) -> None:
        """A market uses its turn."""
        self._waiting.pop(market, None)
        self._last.pop(market, None)
        self._last[market] = now
        self.orders[market] += 1
        if len(self._last) > MAX_MARKETS:
            self._last.pop(next(iter(self._last)))

    def left(self, account: Account, market: str) -> Decimal:
        """Return what may still be spent in a market, in pUSD."""
        mine = everything = Decimal(0)
        tied = [(held.market, held.cost) for held in account.positions.values()]
        tied += [(begun.order.market, begun.reserve) for begun in account.open.values()]
        for where, money in tied:
            everything = EXACT.add(everything, money)
            mine = EXACT.add(mine, money) if where == market else mine
        return max(min(self._settings.per_market - mine, self._settings.in_all - everything), Decimal(0))

    def fairness(self) -> dict[str, int]:
        """Say how even it was: of the markets that had a turn, or waited for one, the most and the fewest of one."""
        turns = [self.orders[market] for market in self.orders.keys() | self.waited.keys()]
        starved = sum(not each for each in turns)
        return {
            "markets": len(turns),
            "max_orders": max(turns, default=0),
            "min_orders": min(turns, default=0),
            "starved": starved,
        }

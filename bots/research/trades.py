"""What a backtest bought, and what came of it. Money is Decimal; what is averaged is a float, for statistics alone."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen(kw_only=True)
class Trade:
    """One purchase that was held to the end. Prices and money in pUSD, times in Unix milliseconds."""

    source: str
    era: str
    asset: str
    start_ms: int
    end_ms: int
    up: bool
    decided_ms: int
    filled_ms: int
    quoted: Decimal
    """What a share cost when it was decided."""
    quoted_ms: int
    """When that price was received."""
    price: Decimal
    shares: Decimal
    money: Decimal
    fee: Decimal
    fair: Decimal
    """What the strategy held a share to be worth."""
    move: float
    """The oracle's distance from the strike, as a share of it."""
    won: bool

    @property
    def gross(self) -> Decimal:
        """The profit before the fee."""
        return (self.shares if self.won else Decimal(0)) - self.money

    @property
    def net(self) -> Decimal:
        """The profit after the fee."""
        return self.gross - self.fee

    @property
    def per_share(self) -> float:
        """The profit of a share after the fee, for statistics."""
        return float(self.net / self.shares)

    @property
    def gross_per_share(self) -> float:
        """The profit of a share before the fee, for statistics."""
        return float(self.gross / self.shares)

    @property
    def day(self) -> int:
        """The UTC day of its window, counted since 1970."""
        return self.start_ms // 86_400_000


def total(trades: Sequence[Trade]) -> Decimal:
    """Return the profit of all of them after fees."""
    return sum((each.net for each in trades), Decimal(0))


def equity(trades: Sequence[Trade]) -> list[Decimal]:
    """Return the running profit after fees, in order of the windows' ends."""
    curve, now = [], Decimal(0)
    for each in sorted(trades, key=lambda trade: (trade.end_ms, trade.asset)):
        now += each.net
        curve.append(now)
    return curve


def drawdown(curve: Sequence[Decimal]) -> Decimal:
    """Return the deepest fall from a high of the running profit, which begins at 0."""
    high = deepest = Decimal(0)
    for each in curve:
        high = max(high, each)
        deepest = max(deepest, high - each)
    return deepest


def longest_losing_streak(trades: Sequence[Trade]) -> int:
    """Return how many purchases in a row were lost at most."""
    longest = now = 0
    for each in sorted(trades, key=lambda trade: (trade.end_ms, trade.asset)):
        now = 0 if each.won else now + 1
        longest = max(longest, now)
    return longest

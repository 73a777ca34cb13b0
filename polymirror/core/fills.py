"""What an order would get: walking levels for a number of shares or an amount of money.

Called by :class:`~polymirror.core.view.BookView`. All in raw ints while it walks, exact Decimals in what it returns.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final

from attrs import frozen

from polymirror.core.units import MONEY_SCALE, money_to_decimal, price_to_decimal, size_to_decimal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.level import Level

ONE_UNIT: Final = Decimal("0.000001")
"""The smallest size, in shares; at most as much money buys it."""

# Quotients are rounded to 28 digits whatever the caller's decimal context is.
_EXACT: Final = Context(prec=28)


@frozen
class Fill:
    """What walking the levels gives. All numbers exact; a fee is not included."""

    shares: Decimal
    """Shares that can be traded."""
    money: Decimal
    """pUSD paid (buying) or received (selling) for them."""
    unfilled: Decimal
    """What was asked for and is not there: shares, or pUSD if an amount of money was asked for."""
    worst: Decimal | None
    """The last price reached, in pUSD: the limit price of an order that would get this fill."""

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there, but for money too little to buy one unit of size."""
        return self.unfilled < ONE_UNIT

    @property
    def average(self) -> Decimal | None:
        """The mean price per share in pUSD, or None when nothing can be traded."""
        return _EXACT.divide(self.money, self.shares) if self.shares else None


def walk_shares(levels: Iterable[Level], wanted: int) -> Fill:
    """Trade a number of shares, in 1/1,000,000."""
    left, money, worst = wanted, 0, None
    for level in levels:
        if not left:
            break
        take = min(left, level.size_e6)
        left -= take
        money += take * level.price_e4
        worst = level.price_e4
    return _fill(wanted - left, money, size_to_decimal(left), worst)


def walk_money(levels: Iterable[Level], wanted: int) -> Fill:
    """Trade for an amount of money, in 1/10^10 of a pUSD."""
    left, shares, worst = wanted, 0, None
    for level in levels:
        # Whole size units only: a rest smaller than one unit at this price cannot be spent.
        take = min(level.size_e6, left // level.price_e4)
        if not take:
            break
        left -= take * level.price_e4
        shares += take
        worst = level.price_e4
        if take < level.size_e6:
            break
    return _fill(shares, wanted - left, money_to_decimal(left), worst)


def _fill(shares: int, money: int, unfilled: Decimal, worst: int | None) -> Fill:
    assert money <= MONEY_SCALE * max(shares, 1)  # noqa: S101 - no share costs more than 1 pUSD
    price = None if worst is None else price_to_decimal(worst)
    return Fill(size_to_decimal(shares), money_to_decimal(money), unfilled, price)

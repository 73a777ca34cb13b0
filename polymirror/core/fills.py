"""What an order would get: walking levels for a number of shares or an amount of money, and the fee on the way.

Called by :class:`~polymirror.core.view.BookView`. All in raw ints while it walks, exact Decimals in what it returns.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final

from attrs import frozen

from polymirror.core.fees import charged_fee
from polymirror.core.units import MONEY_SCALE, money_to_decimal, price_to_decimal, size_to_decimal
from polymirror.errors import FeeUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.fees import FeeSchedule
    from polymirror.core.level import Level

ONE_UNIT: Final = Decimal("0.000001")
"""The smallest size, in shares; at most as much money buys it."""

# Sums are exact; quotients are rounded to 28 digits whatever the caller's decimal context is.
_SUMS: Final = Context(prec=60)
_QUOTIENTS: Final = Context(prec=28)


@frozen(kw_only=True)
class Fill:
    """What walking the levels gives. All numbers exact, in pUSD and shares."""

    shares: Decimal
    """Shares that can be traded."""
    money: Decimal
    """pUSD paid (buying) or received (selling) for them, without the fee."""
    unfilled: Decimal
    """What was asked for and is not there: shares, or pUSD if an amount of money was asked for."""
    worst: Decimal | None
    """The last price reached, in pUSD: the limit price of an order that would get this fill."""
    buys: bool
    """Whether shares are bought, not sold."""
    expected_fee: Decimal | None = None
    """As :attr:`fee`; None: it was not asked for."""

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there, but for money too little to buy one unit of size."""
        return self.unfilled < ONE_UNIT

    @property
    def average(self) -> Decimal | None:
        """The mean price per share in pUSD without the fee, or None when nothing can be traded."""
        return _QUOTIENTS.divide(self.money, self.shares) if self.shares else None

    @property
    def fee(self) -> Decimal:
        """The taker fee that is expected, in pUSD. Raises FeeUnknown unless the read was told ``fees=True``.

        Rounded to 0.00001 pUSD for each level. The venue rounds for each order it meets, in a way that its own
        documents state differently: to reserve money, add 0.00001 pUSD for each order that may be met.
        """
        if self.expected_fee is None:
            raise FeeUnknown("this fill was read without fees: ask for them with fees=True")
        return self.expected_fee

    @property
    def total(self) -> Decimal:
        """PUSD paid with the fee (buying), or left of what is received (selling). Raises as :attr:`fee` does."""
        return _SUMS.add(self.money, self.fee) if self.buys else _SUMS.subtract(self.money, self.fee)


class Walk:
    """One walk along the levels of a side, best first. ``fee`` None: fees are not counted."""

    def __init__(self, levels: Iterable[Level], fee: FeeSchedule | None, *, buys: bool) -> None:
        self._levels = levels
        self._fee = fee
        self._buys = buys
        # What was taken so far, in 1/1,000,000 and 1/10^10, the last price, and the fee.
        self._shares = self._money = 0
        self._worst: int | None = None
        self._charged = Decimal(0)

    def for_shares(self, wanted: int) -> Fill:
        """Trade a number of shares, in 1/1,000,000."""
        left = wanted
        for level in self._levels:
            if not left:
                break
            take = min(left, level.size_e6)
            left -= take
            self._take(level.price_e4, take)
        return self._fill(size_to_decimal(left))

    def for_money(self, wanted: int) -> Fill:
        """Trade for an amount of money without the fee, in 1/10^10 of a pUSD."""
        left = wanted
        for level in self._levels:
            # Whole size units only: a rest smaller than one unit at this price cannot be spent.
            take = min(level.size_e6, left // level.price_e4)
            if not take:
                break
            left -= take * level.price_e4
            self._take(level.price_e4, take)
            if take < level.size_e6:
                break
        return self._fill(money_to_decimal(left))

    def _take(self, price: int, size: int) -> None:
        self._shares += size
        self._money += size * price
        self._worst = price
        if self._fee is not None:
            fee = charged_fee(self._fee, price_to_decimal(price), size_to_decimal(size))
            self._charged = _SUMS.add(self._charged, fee)

    def _fill(self, unfilled: Decimal) -> Fill:
        assert self._money <= MONEY_SCALE * max(self._shares, 1)  # noqa: S101 - no share costs more than 1 pUSD
        return Fill(
            shares=size_to_decimal(self._shares),
            money=money_to_decimal(self._money),
            unfilled=unfilled,
            worst=None if self._worst is None else price_to_decimal(self._worst),
            buys=self._buys,
            expected_fee=None if self._fee is None else self._charged,
        )

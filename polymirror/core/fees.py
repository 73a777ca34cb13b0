"""What a trade costs in fees: the terms of a market, and the exact arithmetic on them.

The taker fee of a fill is ``shares * rate * (price * (1 - price)) ** exponent`` pUSD. The venue writes fees with five
decimals; whether it rounds or cuts is stated differently by different sources, so what is expected
(:func:`charged_fee`) and what must be reserved (:func:`highest_fee`) are two functions. Used by the reads that count
fees (:mod:`polymirror.core.fills`), and by bots before and after a trade.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Final

from attrs import frozen

FEE_STEP: Final = Decimal("0.00001")
"""The grid of fees in pUSD: a fee of less than half of it is none."""

MAX_RATE: Final = Decimal(1)
"""Up to this rate a share never gets cheaper, fee included, by being dearer: sizing rests on that."""

MAX_EXPONENT: Final = 8

# 60 digits hold every product made here, whatever the caller's decimal context is.
_EXACT: Final = Context(prec=60, traps=[InvalidOperation, Overflow, DivisionByZero])


@frozen
class FeeSchedule:
    """The taker fee: ``shares * rate * (price * (1 - price)) ** exponent``, in the collateral."""

    rate: Decimal
    exponent: int
    taker_only: bool = True
    rebate_rate: Decimal = Decimal(0)
    """The share of the taker fees that makers get back."""

    @property
    def problem(self) -> str:
        """Why nothing can be computed with these terms, in words; empty: it can be."""
        if self.rate.is_finite() and 0 <= self.rate <= MAX_RATE and 0 <= self.exponent <= MAX_EXPONENT:
            return ""
        allowed = f"rate 0 to {MAX_RATE}, exponent 0 to {MAX_EXPONENT}"
        return f"rate {self.rate} and exponent {self.exponent} are not believable ({allowed})"

    def to_dict(self) -> dict[str, str | int | bool]:
        """Return the terms as plain objects that :mod:`json` writes as they are; Decimals as text."""
        return {
            "rate": str(self.rate),
            "exponent": self.exponent,
            "taker_only": self.taker_only,
            "rebate_rate": str(self.rebate_rate),
        }


NO_FEE: Final = FeeSchedule(Decimal(0), 1)
"""The terms of a market without fees."""


def exact_fee(schedule: FeeSchedule, price: Decimal, shares: Decimal) -> Decimal:
    """Return the fee in pUSD of a fill at ``price`` before any rounding."""
    spread = _EXACT.multiply(price, _EXACT.subtract(Decimal(1), price))
    return _EXACT.multiply(_EXACT.multiply(shares, schedule.rate), _EXACT.power(spread, schedule.exponent))


def charged_fee(schedule: FeeSchedule, price: Decimal, shares: Decimal) -> Decimal:
    """Return the fee in pUSD that the venue is expected to charge for a fill: rounded to five decimals."""
    return exact_fee(schedule, price, shares).quantize(FEE_STEP, ROUND_HALF_UP, _EXACT)


def highest_fee(schedule: FeeSchedule, price: Decimal, shares: Decimal, fills: int = 1) -> Decimal:
    """Return what to reserve in pUSD: no way of rounding ``fills`` fills at ``price`` comes to more."""
    exact = exact_fee(schedule, price, shares)
    return _EXACT.add(exact.quantize(FEE_STEP, ROUND_CEILING, _EXACT), _EXACT.multiply(FEE_STEP, Decimal(fills - 1)))

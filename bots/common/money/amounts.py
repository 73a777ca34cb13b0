"""The venue's grids: which prices and amounts a FOK or FAK order may have, and rounding onto them. Pure.

Everything is :class:`~decimal.Decimal` in a context of its own, so no caller's precision changes a result and no
float gets in. :mod:`bots.common.orders.order` checks orders with it, :mod:`bots.common.money.sizing` rounds with it.
The facts are those of protocol.md section 7.4.
"""

from __future__ import annotations

import contextlib
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Final

from bots.common.errors import OrderInvalid
from polymirror.core.units import TICK_SIZES

TICKS: Final = tuple(Decimal(wire) for wire in TICK_SIZES)
"""Every tick size the venue allows."""

FINEST_TICK: Final = min(TICKS)

MONEY_STEP: Final = Decimal("0.01")
"""A market order to buy offers whole cents."""

SIZE_STEP: Final = Decimal("0.01")
"""A market order to sell offers hundredths of a share."""

ASKED_STEP: Final[dict[Decimal, Decimal]] = {
    tick: Decimal("0.001") if tick == Decimal("0.1") else Decimal("0.0001") for tick in TICKS
}
"""The step of the amount that a FOK or FAK order asks for, by tick: the venue's table of decimals, and never more
than the four that its check of such orders allows."""

DUST: Final = Decimal("0.01")
"""Shares that a complete fill may leave out, and so the least difference between two counts that means anything
(protocol.md 7.4)."""

BASE_UNITS: Final = Decimal(1_000_000)
"""A pUSD and a share are so many units in the venue's contracts."""

MONEY_UNIT: Final = 1 / BASE_UNITS
"""The smallest amount of pUSD: the venue cuts what is less."""

MAX_AMOUNT: Final = Decimal(1_000_000)
"""No single order offers more, in pUSD or shares: a guard against a slipped decimal point."""

EXACT: Final = Context(prec=60, traps=[InvalidOperation, Overflow, DivisionByZero])
"""Arithmetic that does not depend on the caller's decimal context. 60 digits hold every product made here."""


def decimal_of(name: str, value: object) -> Decimal:
    """Take a Decimal, int or str as a finite Decimal. Raises OrderInvalid for floats and everything else."""
    number = Decimal("NaN")
    if isinstance(value, (Decimal, int, str)) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation):
            number = Decimal(value)
    if not number.is_finite():
        raise OrderInvalid(name, value, "a finite Decimal, int or decimal string, never a float")
    return number


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Round down to a multiple of ``step``."""
    return EXACT.multiply(EXACT.divide(value, step).to_integral_value(ROUND_FLOOR), step)


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Round up to a multiple of ``step``."""
    return EXACT.multiply(EXACT.divide(value, step).to_integral_value(ROUND_CEILING), step)


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether ``value`` lies on the grid of ``step``."""
    return EXACT.remainder(value, step) == 0


def check_price(price: Decimal, tick: Decimal) -> None:
    """Raise OrderInvalid unless the price is one that the venue accepts at this tick size."""
    decimal_of("price", price)
    if decimal_of("tick", tick) not in ASKED_STEP:
        raise OrderInvalid("tick", tick, "one of " + ", ".join(map(str, TICKS)))
    if not tick <= price <= 1 - tick or not is_multiple(price, tick):
        raise OrderInvalid("price", price, f"a multiple of {tick} from {tick} to {1 - tick}")


def shares_for(money: Decimal, price: Decimal, tick: Decimal) -> Decimal:
    """Return the shares that a market order asks for when it offers ``money``: rounded down, as the venue does.

    Down, because the venue reads the order's price as money / shares: one share fraction more would put that
    price below the limit, and an offer exactly at the limit would no longer match. Raises OrderInvalid.
    """
    check_price(price, tick)
    return floor_to(EXACT.divide(decimal_of("money", money), price), ASKED_STEP[tick])


def money_for(shares: Decimal, price: Decimal, tick: Decimal) -> Decimal:
    """Return the pUSD that a market order to sell must bring at least: rounded down. Raises OrderInvalid."""
    check_price(price, tick)
    return floor_to(EXACT.multiply(decimal_of("shares", shares), price), ASKED_STEP[tick])


def keeps_price(money: Decimal, shares: Decimal, price: Decimal) -> bool:
    """Whether the venue, which reads a price off the two amounts, reads the limit and no other price of any grid.

    Rounding an amount moves that price a little. For an order of a few shares it can move it a whole step of the
    finest grid; such an order is too small to be priced.
    """
    off = abs(EXACT.subtract(money, EXACT.multiply(shares, price)))
    return off < EXACT.multiply(shares, FINEST_TICK)

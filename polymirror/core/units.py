"""Exact prices and sizes: the venue's decimal strings to ints and back.

A price is an int in 1/10,000 of a pUSD, a size an int in 1/1,000,000 of a share, money (price times
size) an int in 1/10^10 of a pUSD. Every tick the venue allows (0.1 down to 0.0001) fits. Floats never
appear; :class:`~decimal.Decimal` is what everybody outside the core reads. A name that holds a raw price
ends in ``_e4``, one that holds a raw size in ``_e6``. Used by everything that touches a number of the venue.
"""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import TYPE_CHECKING, Final

from polymirror.errors import UnitError

if TYPE_CHECKING:
    from collections.abc import Callable

PRICE_SCALE: Final = 10_000
"""Price units in one pUSD. A price lies in 0..PRICE_SCALE, a level's price strictly between."""

SIZE_SCALE: Final = 1_000_000
"""Size units in one share."""

MONEY_SCALE: Final = PRICE_SCALE * SIZE_SCALE
"""Money units in one pUSD: the product of a price and a size."""

MAX_SIZE: Final = 10**12 * SIZE_SCALE
"""The largest size that is believed: a trillion shares."""

MAX_WIRE_CHARS: Final = 40
"""No number of the venue is longer than this."""

TICK_SIZES: Final[dict[str, int]] = {"0.1": 1000, "0.01": 100, "0.005": 50, "0.0025": 25, "0.001": 10, "0.0001": 1}
"""Every tick size the venue allows: its wire string and its price units."""

# What may stand behind the point of a size with at most two decimals, in 1/1,000,000: nearly all sizes.
_FRACTIONS: Final = {"": 0} | {f"{n}": n * 100_000 for n in range(10)} | {f"{n:02d}": n * 10_000 for n in range(100)}
_USUAL_DIGITS: Final = 12
# Moving the point never rounds, whatever decimal context the caller has set; what would be rounded raises.
_EXACT: Final = Context(prec=80, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
_NUMBER: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?")


def _parse(field: str, wire: str, decimals: int, limit: int) -> int:
    """Read a plain decimal (``.48``, ``0.48``, ``5``) as an int with ``decimals`` implied decimals."""
    allowed = f"a plain decimal between 0 and {limit // 10**decimals}, at most {decimals} decimals"
    match = _NUMBER.fullmatch(wire) if len(wire) <= MAX_WIRE_CHARS else None
    if match is None or not (match[1] or match[2]):
        raise UnitError(field, wire, allowed)
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > decimals:
        raise UnitError(field, wire, allowed)
    value = int((match[1] or "0") + fraction.ljust(decimals, "0"))
    if value > limit:
        raise UnitError(field, wire, allowed)
    return value


class _Memo(dict[str, int]):
    """Parsed numbers by wire string. A hit costs a tenth of a parse; it never holds more than ``most``."""

    def __init__(self, parse: Callable[[str], int], most: int) -> None:
        super().__init__()
        self._parse = parse
        self._most = most

    def __missing__(self, wire: str) -> int:
        value = self._parse(wire)
        if len(self) >= self._most:
            self.clear()
        self[wire] = value
        return value


class _Sizes(_Memo):
    """The same for sizes: most are read once, and then come with the book of the other token."""

    def __missing__(self, wire: str) -> int:
        # As parse_size begins: not to call it saves 6 of the 160 us that a book of 100 levels a side takes.
        whole, _, fraction = wire.partition(".")
        decimals = _FRACTIONS.get(fraction)
        if decimals is not None and whole.isdigit() and wire.isascii() and len(whole) <= _USUAL_DIGITS:
            value = int(whole) * SIZE_SCALE + decimals
        else:
            value = self._parse(wire)
        if len(self) >= self._most:
            self.clear()
        self[wire] = value
        return value


def parse_price(wire: str) -> int:
    """Return the price in 1/10,000, between 0 and 10,000. Raises UnitError."""
    return _parse("price", wire, 4, PRICE_SCALE)


def parse_size(wire: str) -> int:
    """Return the size in 1/1,000,000 of a share, from 0 to a trillion shares. Raises UnitError."""
    whole, _, fraction = str.partition(wire, ".")
    # The usual spelling, three times as fast as the careful look. Most sizes of deltas were never seen before, and
    # to remember them would cost more than to read them.
    if whole.isdigit() and wire.isascii() and len(whole) <= _USUAL_DIGITS:
        try:
            return int(whole) * SIZE_SCALE + _FRACTIONS[fraction]
        except KeyError:
            pass
    return _parse("size", wire, 6, MAX_SIZE)


PRICES: Final = _Memo(parse_price, 1 << 16)
"""``PRICES["0.48"] == 4800``. Raises :class:`~polymirror.errors.UnitError` for anything that is no price."""

COMPLEMENTS: Final = _Memo(lambda wire: PRICE_SCALE - parse_price(wire), 1 << 16)
"""``COMPLEMENTS["0.48"] == 5200``: the price of the same order on the market's other token. Raises as PRICES does."""

SIZES: Final = _Sizes(parse_size, 1 << 12)
"""``SIZES["5"] == 5_000_000``, for whole books: the same sizes come again with the book of the other token."""


def parse_tick(wire: str) -> int:
    """Return a tick size in 1/10,000: one of the six the venue allows. Raises UnitError."""
    tick = PRICES[wire]
    if tick not in TICK_SIZES.values():
        raise UnitError("tick_size", wire, "one of " + ", ".join(TICK_SIZES))
    return tick


def price_to_wire(price: int) -> str:
    """Write a price as the venue does: trimmed, with a leading zero (``4800`` -> ``"0.48"``)."""
    return _to_wire(price, 4)


def size_to_wire(size: int) -> str:
    """Write a size as the venue does: trimmed (``5_000_000`` -> ``"5"``)."""
    return _to_wire(size, 6)


class _PriceDecimals(dict[int, Decimal]):
    """The Decimal of each price: there are no more than PRICE_SCALE + 1, and a look takes a tenth of making one."""

    def __missing__(self, price: int) -> Decimal:
        if not 0 <= price <= PRICE_SCALE:
            raise UnitError("price", price, f"between 0 and {PRICE_SCALE} in 1/{PRICE_SCALE} of a pUSD")
        value = self[price] = Decimal(price_to_wire(price))
        return value


_PRICE_DECIMALS: Final = _PriceDecimals()


def price_to_decimal(price: int) -> Decimal:
    """Return the exact price in pUSD, without needless zeros. Raises UnitError outside 0..PRICE_SCALE."""
    return _PRICE_DECIMALS[price]


def size_to_decimal(size: int) -> Decimal:
    """Return the exact size in shares, without needless zeros."""
    return _to_decimal(size, SIZE_SCALE, -6)


def money_to_decimal(money: int) -> Decimal:
    """Return the exact money in pUSD for the product of a price and a size, without needless zeros."""
    return _to_decimal(money, MONEY_SCALE, -10)


def _to_decimal(value: int, scale: int, exponent: int) -> Decimal:
    whole, rest = divmod(value, scale)
    # Only what is no whole number is trimmed: of 100, normalize() makes 1E+2.
    return _EXACT.normalize(_EXACT.scaleb(Decimal(value), exponent)) if rest else Decimal(whole)


def decimal_to_units(field: str, value: Decimal | int | str, decimals: int) -> int:
    """Read a caller's number exactly; floats, negatives and finer fractions raise UnitError."""
    allowed = f"a Decimal, int or str of at least 0 with at most {decimals} decimals"
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        raise UnitError(field, value, allowed)
    try:
        scaled = _EXACT.scaleb(Decimal(value), decimals)
        if 0 <= scaled <= MAX_SIZE * PRICE_SCALE and scaled == int(scaled):
            return int(scaled)
    except (ArithmeticError, ValueError):
        pass
    raise UnitError(field, value, allowed)


def limit_to_units(field: str, value: Decimal | int | str, rounding: str) -> int:
    """Read a caller's price limit in pUSD; one between two units becomes the next one as ``rounding`` says.

    Raises UnitError for floats, and for what is no price: it lies between 0 and 1, both included.
    """
    if not isinstance(value, bool) and isinstance(value, (Decimal, int, str)):
        with suppress(ArithmeticError, ValueError):
            limit = Decimal(value)
            if 0 <= limit <= 1:
                return int(_EXACT.scaleb(limit, 4).to_integral_value(rounding))
    raise UnitError(field, value, "a price from 0 to 1 pUSD, as a Decimal, int or str")


def _to_wire(value: int, decimals: int) -> str:
    whole, fraction = divmod(value, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}".rstrip("0") if fraction else str(whole)

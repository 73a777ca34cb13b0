"""What a trade costs in fees, exactly. Pure.

The taker fee of a fill is ``shares * rate * (price * (1 - price)) ** exponent`` pUSD, with the terms of the market
itself (protocol.md 7.5). The venue writes fees with five decimals; whether it rounds or cuts is stated
differently by different sources, so what is expected (:func:`charged_fee`) and what must be reserved
(:func:`highest_fee`) are two functions. Called by sizing before a trade, and by executors after one.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

from bots.common.amounts import EXACT, ceil_to
from bots.common.errors import FeeUnknown
from bots.common.orders import NO_FEE

if TYPE_CHECKING:
    from polymirror.venue.market import ClobMarket, FeeSchedule, Market

FEE_STEP: Final = Decimal("0.00001")
"""The grid of fees in pUSD."""

MAX_RATE: Final = Decimal(1)
"""Up to this rate a share never gets cheaper, fee included, by being dearer: sizing rests on that."""

MAX_EXPONENT: Final = 8


def exact_fee(schedule: FeeSchedule, price: Decimal, shares: Decimal) -> Decimal:
    """Return the fee in pUSD of a fill at ``price`` before any rounding."""
    spread = EXACT.multiply(price, EXACT.subtract(Decimal(1), price))
    return EXACT.multiply(EXACT.multiply(shares, schedule.rate), EXACT.power(spread, schedule.exponent))


def charged_fee(schedule: FeeSchedule, price: Decimal, shares: Decimal) -> Decimal:
    """Return the fee in pUSD that the venue is expected to charge for a fill: rounded to five decimals."""
    return exact_fee(schedule, price, shares).quantize(FEE_STEP, ROUND_HALF_UP, EXACT)


def highest_fee(schedule: FeeSchedule, price: Decimal, shares: Decimal, fills: int = 1) -> Decimal:
    """Return what to reserve in pUSD: no way of rounding ``fills`` fills at ``price`` comes to more."""
    return ceil_to(exact_fee(schedule, price, shares), FEE_STEP) + (fills - 1) * FEE_STEP


def believable(market: str, schedule: FeeSchedule) -> FeeSchedule:
    """Return the terms unchanged if they can be computed with. Raises FeeUnknown."""
    rate, exponent = schedule.rate, schedule.exponent
    if not rate.is_finite() or not 0 <= rate <= MAX_RATE or not 0 <= exponent <= MAX_EXPONENT:
        allowed = f"rate 0 to {MAX_RATE}, exponent 0 to {MAX_EXPONENT}"
        raise FeeUnknown(market, f"rate {rate} and exponent {exponent} are not believable ({allowed})")
    return schedule


def schedule_of(market: Market, clob: ClobMarket | None = None) -> FeeSchedule:
    """Return the fee terms that the venue states for a market, from both of its services if both are at hand.

    Raises FeeUnknown when there is a fee but no terms, when the two services contradict each other, and when the
    terms are not believable: no default is ever assumed, because a wrong one turns a loss into an "edge".
    """
    name = market.slug
    stated = [believable(name, each.fee) for each in (market, clob) if each is not None and each.fee is not None]
    if not stated:
        if market.fees_enabled:
            raise FeeUnknown(name, "fees are enabled and no terms are stated")
        return NO_FEE
    if len({(each.rate, each.exponent) for each in stated}) > 1:
        both = " and ".join(f"{each.rate}^{each.exponent}" for each in stated)
        raise FeeUnknown(name, f"the venue's services disagree: {both}")
    return stated[0]

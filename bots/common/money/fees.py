"""The fee terms of a market, joined from what the venue's two services say, and never assumed. Pure.

The arithmetic on them is :mod:`polymirror.core.fees`; what a purchase can cost at most is here. Called when a market is
chosen, by sizing, and by whoever must know a worst case.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from bots.common.errors import FeeUnknown
from bots.common.money.amounts import EXACT, FINEST_TICK, floor_to
from polymirror.core.fees import NO_FEE, exact_fee, highest_fee

if TYPE_CHECKING:
    from polymirror.core.fees import FeeSchedule
    from polymirror.venue.market import ClobMarket, Market


MAX_FILLS: Final = 1_000
"""Fills of one order for whose rounding money is reserved: a cent in all. A book has a few hundred levels at most."""

ONE: Final = Decimal(1)


def believable(market: str, schedule: FeeSchedule) -> FeeSchedule:
    """Return the terms unchanged if they can be computed with. Raises FeeUnknown."""
    if schedule.problem:
        raise FeeUnknown(market, schedule.problem)
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


def dearest_price(fee: FeeSchedule, limit: Decimal) -> Decimal:
    """Return the price up to ``limit`` at which a pUSD spent costs the highest fee.

    A pUSD buys ``1 / price`` shares, which pay ``rate * price^(e-1) * (1 - price)^e``: with an exponent of 1 that grows
    as the price falls, with a higher one it has one peak at ``(e-1) / (2e-1)``.
    """
    exponent = fee.exponent
    peak = EXACT.divide(Decimal(exponent - 1), Decimal(2 * exponent - 1)) if exponent > 1 else FINEST_TICK
    return min(limit, peak)


def highest_cost(fee: FeeSchedule, limit: Decimal, money: Decimal) -> Decimal:
    """Return the most in pUSD that buying for ``money`` at ``limit`` or better can cost, fee included.

    The venue spends the money, and a better price buys more shares, which pay another fee. No book that it may meet, in
    up to MAX_FILLS fills and with every rounding against us, makes it more.
    """
    price = dearest_price(fee, limit)
    return EXACT.add(money, highest_fee(fee, price, EXACT.divide(money, price), MAX_FILLS))


def affordable(fee: FeeSchedule, limit: Decimal, most: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of ``step`` that costs no more than ``most`` by :func:`highest_cost`, or 0."""
    price = dearest_price(fee, limit)
    spare = max(EXACT.subtract(most, highest_fee(fee, price, Decimal(0), MAX_FILLS)), Decimal(0))
    with_fee = EXACT.add(ONE, EXACT.divide(exact_fee(fee, price, ONE), price))
    money = floor_to(EXACT.divide(spare, with_fee), step)
    # The fee is rounded up on its own grid: at most one step has to be given back for that.
    while money > 0 and highest_cost(fee, limit, money) > most:
        money -= step
    return money

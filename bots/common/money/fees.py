"""The fee terms of a market, joined from what the venue's two services say, and never assumed. Pure.

The arithmetic on them is :mod:`polymirror.core.fees`. Called when a market is chosen, and by sizing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.common.errors import FeeUnknown
from polymirror.core.fees import NO_FEE

if TYPE_CHECKING:
    from polymirror.core.fees import FeeSchedule
    from polymirror.venue.market import ClobMarket, Market


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

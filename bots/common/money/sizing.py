"""How much to buy: from a proven book, a fair probability and limits to one order's price and money. Pure.

The value of a purchase is judged on the levels that are actually there, after the fee of each fill: no share is
bought whose own price and fee leave less than the wanted edge, and the order as a whole must be worth more than it
costs even if every share is paid at its limit. The venue spends an order's money, so its cost is bounded over all
prices that it may meet. Called by strategies; says nothing about whether one may trade at
all, which is :mod:`bots.common.risk.limits`.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from bots.common.errors import OrderInvalid
from bots.common.money.amounts import EXACT, MONEY_STEP, ceil_to, check_price, floor_to, keeps_price, shares_for
from bots.common.money.fees import MAX_FILLS, ONE, affordable, believable, highest_cost
from bots.common.ranges import decimal_range
from polymirror.core.fees import exact_fee, highest_fee

if TYPE_CHECKING:
    from polymirror.core.fees import FeeSchedule
    from polymirror.core.view import BookView

MAX_LEVELS: Final = 1_000
"""Levels that are looked at. A book has a few hundred at most; a deeper one is simply not walked further."""


@frozen(kw_only=True)
class SizeLimits:
    """What a purchase may be. Raises ConfigError, which names the field."""

    max_money: Decimal = field(default=Decimal(25), validator=decimal_range("0.01", "1000000", "pUSD"))
    """The most it may cost in pUSD, fee included."""
    max_price: Decimal = field(default=Decimal("0.62"), validator=decimal_range("0.0001", "0.9999", "pUSD"))
    """The most that any one share may cost in pUSD, fee not included."""
    min_edge: Decimal = field(default=Decimal("0.01"), validator=decimal_range("0", "1", "pUSD"))
    """What each share must at least be worth over its own price and fee, in pUSD."""
    max_depth: Decimal = field(default=ONE, validator=decimal_range("0.01", "1", "of the depth"))
    """The part of the acceptable depth that may be taken: what is left makes a FOK order more likely to fill."""
    min_money: Decimal = field(default=ONE, validator=decimal_range("0.01", "1000000", "pUSD"))
    """The venue takes no marketable order below 1 pUSD (protocol.md 7.4)."""
    min_shares: Decimal = field(default=Decimal(5), validator=decimal_range("0.01", "1000000", "shares"))
    """The market's minimum, which some sources require of marketable orders too."""


class NoSize(Enum):
    """Why nothing is bought."""

    NO_ASKS = "nobody sells"
    NO_TICK = "the tick size is not known"
    TOO_DEAR = "the cheapest share costs more than the limit"
    NO_EDGE = "the cheapest share is not worth its price and fee"
    TOO_SMALL = "what is worth buying is below the venue's minimum"


@frozen
class SizeRefusal:
    """Nothing is bought."""

    reason: NoSize
    detail: str

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


@frozen(kw_only=True)
class Stake:
    """One purchase worth making. All numbers exact, in pUSD and shares."""

    price: Decimal
    """The limit, on the tick grid."""
    money: Decimal
    """What the order offers, in whole cents, without the fee."""
    shares: Decimal
    """What the order asks for at least; at better prices its money buys more."""
    tick: Decimal
    reserve: Decimal
    """The most the order can cost, fee included, over all prices up to the limit that it may meet."""
    fee: Decimal
    """The fee on the depth that is there, each level's rounded up."""
    cost: Decimal
    """What is spent on the depth that is there, without the fee: the money, but for a rest too small to buy with."""
    value: Decimal
    """What is bought on that depth is worth so much beyond its cost and fee: above 0."""
    worst_value: Decimal
    """The same if every share is paid at the limit, which no other book makes worse: above 0 too."""


def edge(fair: Decimal, fee: FeeSchedule, price: Decimal) -> Decimal:
    """Return what one share bought at ``price`` is worth beyond its price and fee, in pUSD."""
    return EXACT.subtract(EXACT.subtract(fair, price), exact_fee(fee, price, ONE))


def size_buy(view: BookView, fair: Decimal, fee: FeeSchedule, limits: SizeLimits) -> Stake | SizeRefusal:
    """Decide how much of ``view``'s token to buy, given that it is worth ``fair`` pUSD a share (0 to 1).

    Walks the asks from the best on, for as long as each level has the wanted edge, until the money is used up or
    the edge ends. The tick comes from the view, because it changes while a market trades. Raises OrderInvalid for
    a fair value outside 0..1 and FeeUnknown for terms that cannot be believed.
    """
    if not fair.is_finite() or not 0 <= fair <= 1:
        raise OrderInvalid("fair", fair, "a probability from 0 to 1")
    believable(view.market, fee)
    tick = view.tick_size
    if tick is None:
        return SizeRefusal(NoSize.NO_TICK, view.token[:12])
    asks = view.asks[:MAX_LEVELS]
    if not asks:
        return SizeRefusal(NoSize.NO_ASKS, view.token[:12])
    ceiling = floor_to(min(limits.max_price, ONE - tick), tick)
    best = asks[0].price
    if ceil_to(best, tick) > ceiling:
        return SizeRefusal(NoSize.TOO_DEAR, f"{best} against {limits.max_price}")
    if edge(fair, fee, best) < limits.min_edge:
        return SizeRefusal(NoSize.NO_EDGE, f"{best} and its fee against a fair value of {fair:.4f}")

    depth = Decimal(0)
    chosen: tuple[Decimal, Decimal] | None = None
    for price, size in asks:
        # A level between two ticks is older than the tick size: only the next price up can be asked for.
        limit = ceil_to(price, tick)
        if limit > ceiling or edge(fair, fee, limit) < limits.min_edge:
            break
        depth = EXACT.add(depth, EXACT.multiply(price, size))
        there = floor_to(EXACT.multiply(depth, limits.max_depth), MONEY_STEP)
        most = affordable(fee, limit, limits.max_money, MONEY_STEP)
        chosen = limit, min(there, most)
        if most <= there:
            break
    if chosen is None:
        return SizeRefusal(NoSize.NO_EDGE, f"{best} is no price of the tick {tick}, and the next one is too dear")
    return _judge(view, fair, fee, limits, tick, *chosen)


def _judge(
    view: BookView,
    fair: Decimal,
    fee: FeeSchedule,
    limits: SizeLimits,
    tick: Decimal,
    limit: Decimal,
    money: Decimal,
) -> Stake | SizeRefusal:
    """Make the order's amounts and look at the whole once more, as it would trade."""
    check_price(limit, tick)
    shares = shares_for(money, limit, tick)
    enough = money >= limits.min_money and shares >= limits.min_shares
    if not enough or not keeps_price(money, shares, limit):
        wanted = f"{limits.min_money} pUSD and {limits.min_shares} shares, and enough of both to state a price"
        return SizeRefusal(NoSize.TOO_SMALL, f"{money} pUSD for {shares} shares against {wanted}")
    fill = view.buy_with(money)
    worth = EXACT.multiply(fair, fill.shares)
    paid = _fees_on_depth(view, fill.shares, fee)
    value = EXACT.subtract(EXACT.subtract(worth, fill.money), paid)
    at_limit = EXACT.add(money, highest_fee(fee, limit, EXACT.divide(money, limit), MAX_FILLS))
    worst = EXACT.subtract(EXACT.multiply(fair, shares), at_limit)
    if not fill.complete or fill.worst is None or fill.worst > limit or value <= 0 or worst <= 0:
        return SizeRefusal(NoSize.NO_EDGE, f"{shares} shares at {limit} are worth {worst:.6f} after the fee")
    return Stake(
        price=limit,
        money=money,
        shares=shares,
        tick=tick,
        reserve=highest_cost(fee, limit, money),
        fee=paid,
        cost=fill.money,
        value=value,
        worst_value=worst,
    )


def _fees_on_depth(view: BookView, shares: Decimal, fee: FeeSchedule) -> Decimal:
    left, total = shares, Decimal(0)
    for price, size in view.asks:
        if left <= 0:
            break
        take = min(left, size)
        total = EXACT.add(total, highest_fee(fee, price, take))
        left = EXACT.subtract(left, take)
    return total

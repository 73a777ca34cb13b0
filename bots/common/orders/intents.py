"""What a strategy wants, before it is an order: one leg or several, all or nothing under one lease. Pure.

An :class:`Intent` names the books it rests on and how it is sized on them; what comes out is a :class:`Group` of legs
with the most that all of them together lose. A :class:`Wish` is the simplest: buy one token because it is worth more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from bots.common.money.amounts import SIZE_STEP, floor_to
from bots.common.money.fees import highest_cost, schedule_of
from bots.common.money.sizing import SizeRefusal, size_buy
from bots.common.orders.facts import FactLimits, must_agree
from bots.common.orders.order import Order, OrderTerms, Side, TimeInForce
from polymirror.gate import JointLease, Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bots.common.money.sizing import SizeLimits
    from polymirror.core.fees import FeeSchedule
    from polymirror.core.view import BookView
    from polymirror.venue.market import ClobMarket, Market

    Sizing = Callable[[tuple[BookView, ...], SizeLimits], "Group | SizeRefusal"]


DEFAULT: Final = FactLimits()


@frozen(kw_only=True)
class Terms:
    """What an order must know of its market."""

    market: str
    """The condition id."""
    slug: str
    asset: str
    fee: FeeSchedule
    min_shares: Decimal
    neg_risk: bool
    taker_delay: bool

    @classmethod
    def of(cls, market: Market, clob: ClobMarket, asset: str, limits: FactLimits = DEFAULT) -> Terms:
        """Join what the venue's two services say.

        Raises FactsDiffer, FactsOutside, and FeeUnknown when they leave the fee open.
        """
        must_agree(market, clob)
        fee, tick = schedule_of(market, clob), Decimal(clob.tick_size)
        min_shares = max(Decimal(market.min_order_size), Decimal(clob.min_order_size))
        limits.check(market.slug, fee=fee, tick=tick, min_shares=min_shares)
        return cls(
            market=market.condition_id,
            slug=market.slug,
            asset=asset,
            fee=fee,
            min_shares=min_shares,
            neg_risk=market.neg_risk,
            taker_delay=clob.taker_delay,
        )


@frozen(kw_only=True)
class Leg:
    """One order of a group: buying, ``amount`` is pUSD in whole cents; selling, shares."""

    token: str
    side: Side
    price: Decimal
    amount: Decimal
    tick: Decimal
    reserve: Decimal
    """The most it costs in pUSD, fee included, over all prices up to its limit."""

    @classmethod
    def buy(cls, token: str, price: Decimal, money: Decimal, tick: Decimal, fee: FeeSchedule) -> Leg:
        """Buy for so much money at this price or better; what it costs at most is reserved."""
        reserve = highest_cost(fee, price, money)
        return cls(token=token, side=Side.BUY, price=price, amount=money, tick=tick, reserve=reserve)

    @classmethod
    def sell(cls, token: str, price: Decimal, shares: Decimal, tick: Decimal) -> Leg:
        """Sell so many shares, cut to hundredths, at this price or better."""
        amount = floor_to(shares, SIZE_STEP)
        return cls(token=token, side=Side.SELL, price=price, amount=amount, tick=tick, reserve=Decimal(0))

    def order(self, client_id: str, terms: Terms, tif: TimeInForce, now_ms: int) -> Order:
        """Make the order. Raises OrderInvalid."""
        shared: OrderTerms = {
            "client_id": client_id,
            "market": terms.market,
            "token": self.token,
            "created_ms": now_ms,
            "tif": tif,
            "neg_risk": terms.neg_risk,
            "fee": terms.fee,
            "taker_delay": terms.taker_delay,
        }
        if self.side is Side.BUY:
            return Order.buy(money=self.amount, price=self.price, tick=self.tick, **shared)
        return Order.sell(shares=self.amount, price=self.price, tick=self.tick, **shared)


@frozen
class Group:
    """The legs of one intent, sized on the books they rest on."""

    legs: tuple[Leg, ...]
    worst: Decimal
    """The most that all of them together lose in pUSD: of a pair that pays 1 whatever happens, not the sum."""


@frozen(kw_only=True)
class Intent:
    """Something to be traded now, on the books of ``tokens``, whole or not at all."""

    terms: Terms
    tokens: tuple[str, ...]
    size: Sizing
    """Says on the leased books, in the order of ``tokens``, what to trade; it must be pure."""
    deadline: float = 5.0
    """Seconds after which no leg leaves any more."""
    tif: TimeInForce | None = None
    """``None``: as the manager is told for all."""
    group_id: str = ""
    """The group that it completes or ends, as in the ledger: then it heeds neither cooldown nor pause."""
    fair: Decimal | None = None
    basis: Mapping[str, str] = field(factory=dict)
    """What it rests on, by name, for the record; see :meth:`~bots.common.ledger.ledger.Grounds.of`."""


@frozen(kw_only=True)
class Wish:
    """Buy this token because a share of it is worth ``fair`` pUSD."""

    token: str
    terms: Terms
    fair: Decimal
    basis: Mapping[str, str] = field(factory=dict)
    """What the value rests on, by name, for the record."""

    def intent(self) -> Intent:
        """Make the intent of one leg."""
        return Intent(terms=self.terms, tokens=(self.token,), size=self._size, fair=self.fair, basis=self.basis)

    def _size(self, views: tuple[BookView, ...], limits: SizeLimits) -> Group | SizeRefusal:
        stake = size_buy(views[0], self.fair, self.terms.fee, limits)
        if isinstance(stake, SizeRefusal):
            return stake
        leg = Leg(
            token=self.token,
            side=Side.BUY,
            price=stake.price,
            amount=stake.money,
            tick=stake.tick,
            reserve=stake.reserve,
        )
        return Group((leg,), stake.reserve)


class LegLease(Lease):
    """One book of a joint lease, for the order that rests on it. Checking it checks all of them."""

    def __init__(self, joint: JointLease, number: int) -> None:
        self._joint = joint
        self._number = number

    @property
    def view(self) -> BookView:
        """The view that the lease was given for."""
        return self._joint.views[self._number]

    def check(self) -> BookView:
        """Return the book as it is now, or raise LeaseLost if any book of the group is not what it was."""
        return self._joint.check()[self._number]


def leases_of(lease: Lease | JointLease) -> tuple[Lease, ...]:
    """Return a lease for each book."""
    if isinstance(lease, Lease):
        return (lease,)
    return tuple(LegLease(lease, number) for number in range(len(lease.views)))

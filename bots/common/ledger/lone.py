"""What an account holds of one token of a market alone: now, and at worst. Pure.

Shares of both tokens of a market pay a dollar together, whatever happens; those without a counterpart may pay nothing.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import define

from bots.common.ledger.rows import ZERO
from bots.common.money.amounts import EXACT
from bots.common.money.pairs import PAIR
from bots.common.money.sizing import NoSize, SizeRefusal
from bots.common.orders.order import Side

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bots.common.ledger.account import Account, Position
    from bots.common.money.sizing import SizeLimits
    from bots.common.orders.intents import Group, Sizing
    from polymirror.core.view import BookView

LESS_FEE: Final = Decimal("0.9")
"""The part of a cost that an order may offer, so that its fee fits in: the venue's fees are less than a tenth."""

LEAST: Final = Decimal(1)
"""No order for less pUSD trades."""


@define
class _Shares:
    """How many shares of a token there may be at most and at least, and what the most have cost in pUSD."""

    most: Decimal = ZERO
    least: Decimal = ZERO
    cost: Decimal = ZERO

    def add(self, *, most: Decimal = ZERO, least: Decimal = ZERO, cost: Decimal = ZERO) -> None:
        self.most, self.least = EXACT.add(self.most, most), EXACT.add(self.least, least)
        self.cost = EXACT.add(self.cost, cost)

    def alone(self, others: Decimal) -> Decimal:
        """Return what the shares have cost that are more than so many others."""
        lone = EXACT.subtract(self.most, max(others, ZERO))
        return EXACT.divide(EXACT.multiply(self.cost, lone), self.most) if lone > 0 else ZERO


class _Held:
    """The shares of each token, by market."""

    def __init__(self, positions: Iterable[Position]) -> None:
        self._markets: defaultdict[str, defaultdict[str, _Shares]] = defaultdict(lambda: defaultdict(_Shares))
        for each in positions:
            self.of(each.market, each.token).add(most=each.shares, least=each.shares, cost=each.cost)

    def of(self, market: str, token: str) -> _Shares:
        return self._markets[market][token]

    def may(self, market: str, token: str, side: Side, shares: Decimal, reserve: Decimal) -> None:
        """An order may trade or not."""
        if side is Side.BUY:
            self.of(market, token).add(most=shares, cost=reserve)
        else:
            self.of(market, token).add(least=-shares)

    def alone(self) -> Decimal:
        """Sum up what may be alone; in a market it is one token or the other."""
        total = ZERO
        for tokens in self._markets.values():
            every = sum((each.least for each in tokens.values()), ZERO)
            total = EXACT.add(total, max(each.alone(EXACT.subtract(every, each.least)) for each in tokens.values()))
        return total


def lone_cost(positions: Iterable[Position]) -> Decimal:
    """Return what shares have cost, in pUSD, of which there are more than of their market's other token."""
    return _Held(positions).alone()


def lone_at_worst(account: Account) -> Decimal:
    """Return the most that :func:`lone_cost` can come to without a further order, in pUSD.

    Each order without a fate may trade or not, and each trade that the chain has not confirmed may fail. Orders count
    the shares of their limit: a better price brings more for the same money.
    """
    return _at_worst(account).alone()


def _at_worst(account: Account, market: str | None = None) -> _Held:
    """Collect what may be held: in all markets, or in the one that is named."""
    held = _Held([each for each in account.positions.values() if market is None or market == each.market])
    for begun in account.open.values():
        order = begun.order
        if market is None or market == order.market:
            held.may(order.market, order.token, order.side, order.shares, begun.reserve)
    for claim in account.claims.values():
        order = claim.begun.order
        if market is not None and market != order.market:
            continue
        shares = held.of(order.market, order.token)
        if order.side is Side.BUY:
            shares.add(least=-claim.result.shares)
        else:
            shares.add(most=claim.result.shares, cost=claim.gone)
    return held


class LoneBudget:
    """What shares without a counterpart may have cost, in all markets of an account and at worst: ``limit`` pUSD."""

    def __init__(self, account: Account, limit: Decimal) -> None:
        self._account = account
        self._limit = limit
        # What is alone at worst, as of this row of the account: it is asked for at every change of a book.
        self._worst, self._through = ZERO, -1

    @property
    def held(self) -> Decimal:
        """What those have cost that are alone by now."""
        return lone_cost(self._account.positions.values())

    @property
    def worst(self) -> Decimal:
        """What could be alone, in pUSD, whatever becomes of all that is under way."""
        if self._through != self._account.through:
            self._worst, self._through = lone_at_worst(self._account), self._account.through
        return self._worst

    @property
    def room(self) -> Decimal:
        """What an order may offer, in pUSD, so that the budget holds if it is left alone, its fee included."""
        return EXACT.multiply(EXACT.subtract(self._limit, self.worst), LESS_FEE)

    @property
    def is_used_up(self) -> bool:
        """Whether there is no room for the smallest order."""
        return self.room < LEAST

    def uneven(self, token: str, other: str) -> Decimal:
        """Return how many more shares of a token are held than of the other."""
        held = (self._account.positions.get(each) for each in (token, other))
        return EXACT.subtract(*(ZERO if each is None else each.shares for each in held))

    def guard(self, market: str, size: Sizing) -> Sizing:
        """Return a sizing for a market that refuses legs which could raise what is alone above the budget."""

        def sized(views: tuple[BookView, ...], limits: SizeLimits) -> Group | SizeRefusal:
            group = size(views, limits)
            if isinstance(group, SizeRefusal):
                return group
            held = _at_worst(self._account, market)
            before = held.alone()
            for leg in group.legs:
                shares = EXACT.divide(leg.amount, leg.price) if leg.side is Side.BUY else leg.amount
                held.may(market, leg.token, leg.side, shares, leg.reserve)
            worst = EXACT.add(self.worst, EXACT.subtract(held.alone(), before))
            if worst <= max(self._limit, self.worst):
                return group
            return SizeRefusal(NoSize.TOO_SMALL, f"{worst} pUSD could be held alone, and {self._limit} may be")

        return sized


def paired(positions: Iterable[Position]) -> Decimal:
    """Return how many pairs of shares are held, in all markets: what is too little to be merged, as a rule."""
    markets: defaultdict[str, list[Decimal]] = defaultdict(list)
    for held in positions:
        markets[held.market].append(held.shares)
    return sum((min(there) for there in markets.values() if len(there) == PAIR), ZERO)

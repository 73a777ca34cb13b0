"""What a taker gets from the book of a market: the best price first, at one price whoever came first.

Pure planning over ints: nothing changes here, :mod:`polymirror.simulator.exchange.trading` does what was planned. A
buyer of one token meets the bids for the other one, which the book shows as asks at one minus their price. What a taker
pays for a piece is rounded so that no resting order ever pays a unit more than its own price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from attrs import frozen

from polymirror.simulator.exchange.ladder import ONE_PRICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.exchange.queue import Piece, Resting


@frozen(kw_only=True)
class TakerOrder:
    """An order that takes what rests in the book.

    ``limit`` is the worst acceptable price of the token in 1/10,000. ``size`` bounds the shares and ``money`` what they
    may cost, in 1/1,000,000; ``None``: no bound. A bound of money alone is spent to the last unit. With
    ``all_or_nothing``, the venue's FOK, less than all of it is none of it.
    """

    buys: bool
    limit: int
    size: int | None = None
    all_or_nothing: bool = False
    money: int | None = None


class Part(NamedTuple):
    """What one order in the line gave: ``resting`` is an account's, ``None`` the flow's."""

    resting: Resting | None
    size: int
    money: int
    """What the taker pays or gets for it."""


class Deal(NamedTuple):
    """What a taker gets at one price of his token."""

    price: int
    size: int
    money: int
    parts: tuple[Part, ...]


@frozen
class Taking:
    """What a taker of one token (by its index) gets, best price first."""

    index: int
    buys: bool
    deals: Sequence[Deal]

    @property
    def side(self) -> int:
        """Whose bids it takes: those for the other token when it buys."""
        return 1 - self.index if self.buys else self.index

    @property
    def size(self) -> int:
        """All shares of it."""
        return sum([deal.size for deal in self.deals])

    def bid(self, deal: Deal) -> int:
        """The price of a deal as the bid that it takes."""
        return ONE_PRICE - deal.price if self.buys else deal.price

    @property
    def meets_accounts(self) -> bool:
        """Whether an order of an account is in it."""
        return any(part.resting is not None for deal in self.deals for part in deal.parts)


def plan(market: Market, index: int, order: TakerOrder) -> Taking:
    """What an order for this token would get now, best price first."""
    buys, limit, left, money = order.buys, order.limit, order.size, order.money
    side = 1 - index if buys else index
    ladder, queues = (market.pair(index) if any(market.lone) else market.ladders)[side], market.queues
    deals: list[Deal] = []
    for at in range(len(ladder.prices) - 1, -1, -1):
        bid = ladder.prices[at]
        price = ONE_PRICE - bid if buys else bid
        if left == 0 or money == 0 or (price > limit if buys else price < limit):
            break
        line: Sequence[Piece] = [(None, ladder.sizes[at])] if queues is None else queues.pieces(side, bid)
        parts: list[Part] = []
        for resting, available in line:
            size = available if left is None else min(left, available)
            affordable = size if money is None else money * ONE_PRICE // price
            if money is not None and affordable < size:
                part = Part(resting, affordable, money)
            else:
                part = Part(
                    resting, size, _cost(price, size, mirrored=buys and resting is not None and resting.index == side)
                )
            parts.append(part)
            left = None if left is None else left - part.size
            money = None if money is None else money - part.money
            if left == 0 or money == 0:
                break
        deals.append(Deal(price, sum([p.size for p in parts]), sum([p.money for p in parts]), tuple(parts)))
    if order.all_or_nothing and (left or (left is None and money)):
        deals = []
    return Taking(index, buys, deals)


def crosses(market: Market, index: int, *, buys: bool, price: int) -> bool:
    """Whether an order for this token at this price would meet another one now."""
    if buys:
        ladders = market.pair(index) if any(market.lone) else market.ladders
        best = ladders[1 - index].best
        return bool(best) and ONE_PRICE - best <= price
    best = market.ladders[index].best
    return bool(best) and best >= price


def _cost(price: int, size: int, *, mirrored: bool) -> int:
    """What shares cost in 1/1,000,000 pUSD, cut; ``mirrored``: the maker buys the other token, and his part is cut."""
    return size - (ONE_PRICE - price) * size // ONE_PRICE if mirrored else price * size // ONE_PRICE

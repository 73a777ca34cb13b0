"""What can be lost with orders that belong together, whichever of them trade and whatever the market comes to. Pure.

A group is one order or several, such as a purchase of both tokens of a market. Its worst case is not the sum of what
its orders cost: a pair that trades whole is worth its dollar. But an order may also find nothing, and a trade may fail
on the chain, so an order that is not final counts both ways: the worst case is over all of them at once.
"""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Final

from attrs import frozen

from bots.common.money.amounts import EXACT

if TYPE_CHECKING:
    from collections.abc import Iterable

ZERO: Final = Decimal(0)

TOKENS: Final = 2
"""A market has so many tokens, one of which pays 1; where both pay a half, the loss is the mean of the two."""


@frozen(kw_only=True)
class Leg:
    """An order to buy: what it may cost, and what it brings. Raises nothing: :class:`Risk` judges."""

    client_id: str
    market: str
    asset: str
    """What the market is about, such as ``btc``."""
    money: Decimal
    """The most it costs in pUSD, fee included; once it has traded, what it cost."""
    token: str = ""
    shares: Decimal = ZERO
    """The fewest it brings for all its money, and in proportion for less; once it has traded, what it brought. 0, or no
    token: nothing is known of that, and all its money counts as lost whoever wins."""


@frozen(kw_only=True)
class Group:
    """Orders that one decision sends. What happened to one of them is no reason against the others."""

    group_id: str
    """Never given twice. Empty for an order alone that belongs to nothing."""
    legs: tuple[Leg, ...]

    @property
    def worst(self) -> Decimal:
        """The most that can be lost with it, in pUSD."""
        return worst_case(Entry.of(leg, self.group_id) for leg in self.legs)


@frozen(kw_only=True)
class Entry(Leg):
    """Money at risk: an order that is not decided yet, or what it bought."""

    group_id: str = ""
    filled: bool = False
    """False while the order is undecided."""
    final: bool = False
    """Whether the chain has confirmed the trade, so that it cannot fail any more."""

    @classmethod
    def of(cls, leg: Leg, group_id: str) -> Entry:
        """Make the entry of an order that is about to leave."""
        return cls(
            client_id=leg.client_id,
            market=leg.market,
            asset=leg.asset,
            money=leg.money,
            token=leg.token,
            shares=leg.shares,
            group_id=group_id,
        )


def total(values: Iterable[Decimal]) -> Decimal:
    """Add up, exactly."""
    return reduce(EXACT.add, values, ZERO)


def worst_case(entries: Iterable[Entry]) -> Decimal:
    """Return the most that can be lost with entries in any markets together, in pUSD; a sure gain counts as nothing."""
    markets: dict[str, list[Entry]] = {}
    for entry in entries:
        markets.setdefault(entry.market, []).append(entry)
    return total(_worst_of_market(each) for each in markets.values())


def _worst_of_market(entries: list[Entry]) -> Decimal:
    """Take the worst winner. For each, an order that is not final trades just if that makes the loss larger.

    The loss is linear in what each order trades, so nothing between "all" and "nothing" is worse than both.
    """
    winners = {entry.token for entry in entries if entry.token}
    if len(winners) != TOKENS:
        # One that nobody here has bought may win.
        winners.add("")
    return max(ZERO, *(total(_loss(entry, winner) for entry in entries) for winner in winners))


def _loss(entry: Entry, winner: str) -> Decimal:
    loss = EXACT.subtract(entry.money, entry.shares) if entry.token and entry.token == winner else entry.money
    return loss if entry.final else max(loss, ZERO)

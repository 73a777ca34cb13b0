"""What looks at the venue's books found, and how late they may be. Pure: :mod:`bots.common.orders.reconcile` looks."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from bots.common.ledger.rows import ZERO
from bots.common.money.amounts import EXACT, MONEY_UNIT
from bots.common.orders.order import Side

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from decimal import Decimal

    from bots.common.execution.base import Trade
    from bots.common.ledger.account import Position
    from bots.common.orders.order import Order, Result

MOST_LOOKS: Final = 64
"""Looks that are remembered: no more fit into the time for which lists may be late."""


@define
class Lately:
    """What our books made of a balance at the last looks, the newest last. Times in seconds, monotonic."""

    _looks: deque[tuple[float, Decimal]] = field(factory=lambda: deque(maxlen=MOST_LOOKS), init=False)

    def note(self, now: float, ours: Decimal, within: float) -> None:
        """Take what our books say now, and forget what was over longer ago than ``within``."""
        self._looks.append((now, ours))
        # The newest that is older was so when that time began.
        while len(self._looks) > 1 and self._looks[1][0] <= now - within:
            self._looks.popleft()

    def beyond(self, theirs: Decimal) -> Decimal:
        """Return by how much a balance is outside of what ours were: no delay explains that; 0 if one may."""
        ours = [each for _, each in self._looks]
        return max(EXACT.subtract(theirs, max(ours)), ZERO) or min(EXACT.subtract(theirs, min(ours)), ZERO)


@frozen(kw_only=True)
class Reconciled:
    """What a start found."""

    resolved: tuple[tuple[Order, Result], ...] = ()
    """Orders whose fate was unknown, and now is not."""
    unresolved: tuple[Order, ...] = ()
    """Orders whose fate still is unknown: their markets are not traded, and they are asked about again."""

    def lines(self) -> tuple[str, ...]:
        """Tell a person, one line for each finding."""
        return (
            *(f"order {order.client_id} was on its way: {result.outcome.value}" for order, result in self.resolved),
            *(f"order {order.client_id} is still unknown: its market is left alone" for order in self.unresolved),
        )


@frozen(kw_only=True)
class Wealth:
    """What the venue says is owned, and how far its pUSD are from ours."""

    positions: Mapping[str, Decimal]
    gap: Decimal | None
    """The venue's balance less what our books make it, open orders taken for nothing; ``None``: not known."""
    paid: Decimal
    """The venue's balance less what our orders did to it: it grows by payouts and deposits alone."""
    clear: bool
    """Whether nothing else is under way that the gap could be of."""


def lacking_pairs(booked: Iterable[Position], markets: Collection[str], positions: Mapping[str, Decimal]) -> Decimal:
    """Return of how many pairs that are booked, in these markets, the wallet has no share of either token any more."""
    lacks: defaultdict[str, list[Decimal]] = defaultdict(list)
    for held in booked:
        if held.market in markets:
            lacks[held.market].append(EXACT.subtract(held.shares, positions.get(held.token, ZERO)))
    return sum((max(min(each), ZERO) for each in lacks.values()), ZERO)


def bought(token: str, trades: Iterable[Trade]) -> tuple[Decimal, Decimal]:
    """Return the shares that trades in a token add up to, and the pUSD they cost, fees included; failed ones do not."""
    shares, paid = ZERO, ZERO
    for trade in trades:
        if trade.token == token and not trade.failed:
            sign = 1 if trade.side is Side.BUY else -1
            shares = EXACT.add(shares, sign * trade.shares)
            paid = EXACT.add(paid, EXACT.add(sign * trade.money, trade.fee or ZERO))
    return shares, paid


def part(position: Position, shares: Decimal) -> Decimal:
    """Return what of a position's cost belongs to some of its shares."""
    return EXACT.divide(EXACT.multiply(position.cost, shares), position.shares).quantize(MONEY_UNIT, context=EXACT)

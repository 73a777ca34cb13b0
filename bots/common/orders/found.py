"""What a look at the venue's books found, as values. Pure: :mod:`bots.common.orders.reconcile` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from bots.common.orders.order import Order, Result


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

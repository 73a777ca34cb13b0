"""What was signed within the last hour: money that counts whatever anybody says became of it. Pure.

An order that has left may cost what it was signed for, until our own reading of cash and shares shows that it did not;
what it bought counts for the whole hour. :class:`~bots.common.risk.limits.Risk` holds the sum to its limit.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from attrs import define, field

from bots.common.money.amounts import EXACT
from bots.common.risk.groups import total

HOUR_MS: Final = 3_600_000

MOST: Final = 1_000
"""Orders that may be signed within an hour: beyond them nothing is, whatever they are of."""


@define
class Signed:
    """Money of orders by our own names, with the times in Unix milliseconds."""

    _orders: dict[str, tuple[int, Decimal]] = field(factory=dict)

    def sign(self, at_ms: int, client_id: str, money: Decimal) -> None:
        """Count an order that is about to leave."""
        self._orders[client_id] = at_ms, money
        if len(self._orders) > MOST:
            self.advance(at_ms)

    def free(self, client_id: str, money: Decimal | None = None) -> None:
        """Count so much of an order no more, or nothing of it: it never left, or was seen not to have cost that."""
        at_ms, counted = self._orders.pop(client_id, (0, Decimal(0)))
        if money is not None and (left := EXACT.subtract(counted, money)) > 0:
            self._orders[client_id] = at_ms, left

    def advance(self, now_ms: int) -> None:
        """Forget what is older than an hour. A clock that was ahead and is set back makes no hour longer."""
        orders = {name: (min(at_ms, now_ms), money) for name, (at_ms, money) in self._orders.items()}
        self._orders = {name: each for name, each in orders.items() if each[0] > now_ms - HOUR_MS}

    @property
    def is_full(self) -> bool:
        """Whether there are too many to count another one."""
        return len(self._orders) >= MOST

    @property
    def money(self) -> Decimal:
        """The sum in pUSD."""
        return total(money for _, money in self._orders.values())

"""Somebody who trades at a staged venue: an account with money, its orders, and what became of them.

A test places orders here without HTTP, as other people whom the bot meets, or to see what the venue would say. A bot
that speaks HTTP itself takes the account's credentials and the venue's ``base_url``.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from polymirror.config import one_of
from polymirror.core.units import decimal_to_units, size_to_decimal
from polymirror.errors import ConfigError
from polymirror.simulator.orders.rules import OrderKind, Ticket, money_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from polymirror.simulator.orders.auth import Account
    from polymirror.simulator.orders.broker import Broker
    from polymirror.simulator.orders.states import BookedOrder

Kind = Literal["GTC", "FOK", "FAK"]


class Participant:
    """One account. Made by :meth:`polymirror.testing.StagedVenue.account`; shares and money are exact Decimals."""

    def __init__(
        self, account: Account, broker: Broker, wall_ms: Callable[[], int], refresh: Callable[[], None]
    ) -> None:
        self.account = account
        """Address and credentials: ``account.headers(...)`` signs a call as the venue wants it."""
        self._broker = broker
        self._wall_ms = wall_ms
        self._refresh = refresh
        self._placed = 0

    @property
    def cash(self) -> Decimal:
        """Its pUSD, what open orders may spend included."""
        return self._broker.ledger.account(self.account.address).pusd

    def shares(self, token: str) -> Decimal:
        """Its shares of a token, what open orders may sell included."""
        return size_to_decimal(self._broker.ledger.account(self.account.address).shares(token))

    @property
    def open_orders(self) -> list[BookedOrder]:
        """Its orders that are held back or in the book, oldest first."""
        return self._broker.open_orders(self.account.address)

    def buy(
        self, token: str, shares: Decimal | int | str, limit: Decimal | int | str, kind: Kind = "GTC"
    ) -> BookedOrder:
        """Bid for shares at a limit in pUSD. The order goes on changing: look at its ``state`` and ``fills`` later.

        An order that takes is held back for a quarter of a second, as at the venue. Raises
        :class:`~polymirror.simulator.orders.rules.Refused`, with the venue's words, when the venue would not take it.
        """
        return self._place(token, shares, limit, kind, buys=True)

    def sell(
        self, token: str, shares: Decimal | int | str, limit: Decimal | int | str, kind: Kind = "GTC"
    ) -> BookedOrder:
        """Offer shares at a limit in pUSD; the rest is as with :meth:`buy`."""
        return self._place(token, shares, limit, kind, buys=False)

    def cancel(self, order: BookedOrder) -> str | None:
        """Withdraw an order; return the venue's words why not, if it cannot be."""
        kept = self._broker.cancel(self.account.address, order.id, self._wall_ms())
        self._refresh()
        return kept

    def _place(
        self, token: str, shares: Decimal | int | str, limit: Decimal | int | str, kind: Kind, *, buys: bool
    ) -> BookedOrder:
        if kind not in Kind.__args__:  # type: ignore[attr-defined]
            raise ConfigError("kind", kind, one_of(kind, Kind.__args__))  # type: ignore[attr-defined]
        size, now_ms = decimal_to_units("shares", shares, 6), self._wall_ms()
        money = money_of(decimal_to_units("limit", limit, 4), size)
        self._placed += 1
        ticket = Ticket(
            id="0x" + sha256(f"{self.account.address}/{self._placed}".encode()).hexdigest(),
            salt=self._placed,
            maker=self.account.address,
            token=token,
            buys=buys,
            offered=money if buys else size,
            asked=size if buys else money,
            kind=OrderKind(kind),
            signed_ms=now_ms,
        )
        order = self._broker.place(ticket, now_ms)
        self._refresh()
        return order

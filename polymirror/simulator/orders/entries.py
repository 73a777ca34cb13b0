"""The entries of the simulated venue's books of account, and what one address has.

Values only; :mod:`polymirror.simulator.orders.ledger` keeps them. Money is in 1/1,000,000 pUSD, shares in 1/1,000,000.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import Final

from attrs import define, field, frozen

_EXACT: Final = Context(prec=40, traps=[Inexact])


@frozen(kw_only=True)
class Fill:
    """What one match was for one order in it: its part at one price level.

    ``price`` is in 1/10,000 pUSD in the order's own terms, ``money`` what the shares cost (or brought) without the
    ``fee``. A taker's ``id`` is the trade's, a maker's adds a number to it.
    """

    id: str
    order_id: str
    address: str
    market: str
    token: str
    outcome: str
    buys: bool
    price: int
    shares: int
    money: int
    fee: int
    at_ms: int

    @property
    def trade_id(self) -> str:
        """The trade that it is a part of."""
        return self.id.partition("/")[0]

    @property
    def cash(self) -> int:
        """What the fill did to the account's money: negative when buying."""
        return -(self.money + self.fee) if self.buys else self.money - self.fee

    @property
    def gained(self) -> int:
        """What it did to the account's shares."""
        return self.shares if self.buys else -self.shares


@frozen(kw_only=True)
class Redemption:
    """Shares of a resolved market that were given back, for their payout."""

    address: str
    market: str
    token: str
    shares: int
    payout: int
    at_ms: int
    worth: tuple[int, int] = (1, 1)
    """What a share pays in pUSD, as numerator and denominator."""


@frozen(kw_only=True)
class Conversion:
    """Money that became one share of each token of a market (a split), or the other way round (a merge)."""

    address: str
    market: str
    tokens: tuple[str, str]
    sets: int
    """Shares of each token that came into being; negative: that were merged."""
    at_ms: int


@define
class Position:
    """Shares of one token, and the market it belongs to."""

    market: str
    outcome: str
    shares: int = 0


@define
class Holdings:
    """What one address has. ``cash`` and positions include what is reserved, and what unsettled trades brought."""

    address: str
    deposited: int = 0
    cash: int = 0
    fees: int = 0
    positions: dict[str, Position] = field(factory=dict)
    reserved: dict[str, tuple[int, str, int]] = field(factory=dict)
    """What open orders may still spend, by order: (money, token, shares)."""
    fills: list[Fill] = field(factory=list)
    reversed: list[Fill] = field(factory=list)
    """Fills whose trade failed: they never happened. They stay in ``fills``."""
    redemptions: list[Redemption] = field(factory=list)
    conversions: list[Conversion] = field(factory=list)
    claims: dict[str, Fill] = field(factory=dict)
    """Fills that are not on the chain yet, by their id."""

    @property
    def pusd(self) -> Decimal:
        """The cash in pUSD, exact."""
        return Decimal(self.cash).scaleb(-6, _EXACT)

    @property
    def reserved_cash(self) -> int:
        """Money that open orders may still spend."""
        return sum([money for money, _, _ in self.reserved.values()])

    def reserved_shares(self, token: str) -> int:
        """Shares of a token that open orders may still sell."""
        return sum([shares for _, each, shares in self.reserved.values() if each == token])

    def shares(self, token: str) -> int:
        """Shares of a token, what is reserved included."""
        position = self.positions.get(token)
        return 0 if position is None else position.shares

    def claimed_cash(self) -> int:
        """Money that unsettled trades brought: one can trade with it, the chain does not know it yet."""
        return sum([fill.cash for fill in self.claims.values() if not fill.buys])

    def claimed_shares(self, token: str) -> int:
        """Shares of a token that unsettled trades brought."""
        return sum([fill.shares for fill in self.claims.values() if fill.buys and fill.token == token])

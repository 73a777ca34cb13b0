"""What an accepted order is: its kind, where it is, what it has got; and what is told of it.

Plain values. :mod:`polymirror.simulator.orders.broker` makes and changes them, the desk and the user channel read
them, and whoever listens to the broker gets the events. Prices are in 1/10,000, shares and money in 1/1,000,000.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from attrs import define, field, frozen

from polymirror.simulator.exchange.queue import Resting  # noqa: TC001 - asked for by those who show types, as below
from polymirror.simulator.orders.entries import Fill  # noqa: TC001
from polymirror.simulator.orders.rules import Ticket  # noqa: TC001
from polymirror.simulator.orders.trades import Trade  # noqa: TC001


class OrderState(Enum):
    """Where an accepted order is; the value is the venue's word. All but the first two are final."""

    DELAYED = "DELAYED"
    """In flight: held back, not matched yet. It cannot be withdrawn."""
    LIVE = "LIVE"
    """It rests in the book, perhaps after a part of it was matched."""
    MATCHED = "MATCHED"
    """Over: all of it was matched, or of one that does not rest as much as there was."""
    UNMATCHED = "UNMATCHED"
    """Over without a fill: it does not rest, and found nothing."""
    INVALID = "INVALID"
    """Over without a fill: post-only, and held back until it crossed. The simulator refuses such orders at once."""
    CANCELED = "CANCELED"
    """Over: withdrawn by its owner."""
    MARKET_RESOLVED = "CANCELED_MARKET_RESOLVED"
    """Over: the market stopped trading while it rested or was held back."""
    NOT_ENOUGH_BALANCE = "CANCELED_NOT_ENOUGH_BALANCE"
    """Over: what it was to be paid with is gone, because a trade failed on the chain."""
    EXPIRED = "CANCELED_EXPIRED_ORDER"
    """Over: its time is up."""

    @property
    def final(self) -> bool:
        """Whether nothing will become of it any more."""
        return self is not OrderState.LIVE and self is not OrderState.DELAYED


@define(eq=False)
class BookedOrder:
    """An order that was accepted, and what has become of it."""

    ticket: Ticket
    address: str
    market: str
    outcome: str
    accepted_ms: int
    state: OrderState = OrderState.DELAYED
    # Decided when it was accepted: it will find no match, whatever the book says.
    doomed: bool = False
    fills: list[Fill] = field(factory=list)
    """What it got, oldest first, as taker and then as maker; also fills whose trade failed later."""
    size_matched: int = 0
    """Shares that were matched. Those of trades that failed later count."""
    changed_ms: int = 0
    """When its state or what was matched changed last."""
    resting: Resting | None = None
    """Its place in the book, while it is LIVE."""

    @property
    def id(self) -> str:
        """The venue's name for the order."""
        return self.ticket.id

    @property
    def salt(self) -> int:
        """The order's own random number."""
        return self.ticket.salt

    @property
    def token(self) -> str:
        """The asset id."""
        return self.ticket.token

    @property
    def buys(self) -> bool:
        """Whether it buys."""
        return self.ticket.buys

    @property
    def kind(self) -> str:
        """GTC, GTD, FOK or FAK."""
        return self.ticket.kind.value

    @property
    def price(self) -> int:
        """Its limit in 1/10,000."""
        return self.ticket.limit

    @property
    def original_size(self) -> int:
        """The shares that it names. A market order to buy names money: cheaper than its limit it gets more."""
        return self.ticket.shares

    @property
    def expiration_s(self) -> int:
        """When it ends, in Unix seconds as it was sent; 0: never."""
        return self.ticket.expiration_s

    @property
    def shares(self) -> int:
        """What was matched, in 1/1,000,000 shares."""
        return self.size_matched

    @property
    def money(self) -> int:
        """What that cost or brought without the fee, in 1/1,000,000 pUSD."""
        return sum(fill.money for fill in self.fills)

    @property
    def trade_ids(self) -> tuple[str, ...]:
        """The trades that it took part in, oldest first, each once."""
        return tuple(dict.fromkeys(fill.trade_id for fill in self.fills))


OrderChange = Literal["PLACEMENT", "UPDATE", "CANCELLATION"]
"""What happened to an order, in the words of the user channel."""


@frozen
class OrderEvent:
    """Something happened to an order. It goes on changing: read it when the event comes."""

    order: BookedOrder
    kind: OrderChange
    at_ms: int

    @property
    def address(self) -> str:
        """Whom it concerns."""
        return self.order.address


@frozen
class TradeEvent:
    """A trade has a new status. ``address``: whom it is told; everybody in it gets an event of his own."""

    trade: Trade
    at_ms: int
    address: str


Event = OrderEvent | TradeEvent

"""What sends orders, as its callers see it, and what it needs of a connection to a venue. Protocols and values only.

An :class:`Executor` takes an order and a lease from :mod:`polymirror.gate`, and checks the lease and the kill switch
last thing before the wire; there is no way to send without a lease.
:class:`~bots.common.execution.paper.PaperExecutor` and :class:`~bots.common.execution.live.LiveExecutor` are the two;
the latter speaks through a narrow :class:`TradingClient`, of which there are two again: the venue's SDK, and for the
embedded exchange :mod:`bots.testing.exchange`.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from attrs import Factory, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bots.common.orders.order import Order, Result, Side
    from polymirror.gate import Lease


class ChainStatus(Enum):
    """How far the chain is with a trade (protocol.md 11). The value is the venue's word."""

    MATCHED = "MATCHED"
    """A claim: the chain has not settled it. Also what stands for a word that is not known."""
    MINED = "MINED"
    """In a block, which may still be undone."""
    CONFIRMED = "CONFIRMED"
    """Final: shares and money have moved."""
    RETRYING = "RETRYING"
    """The transaction did not get through and is sent again."""
    FAILED = "FAILED"
    """Final: neither shares nor money ever moved."""

    @classmethod
    def of(cls, word: str) -> ChainStatus:
        """Read the venue's word, with or without its prefix. One that is not known is pending, never final."""
        plain = word.upper().removeprefix("TRADE_STATUS_")
        return cls(plain) if plain in cls.__members__ else cls.MATCHED


@frozen(kw_only=True)
class Trade:
    """One fill of one of our taker orders. All numbers exact. It is a claim until it is CONFIRMED."""

    id: str
    """The venue's name for the trade; several fills of one match share it."""
    order_id: str
    market: str
    token: str
    side: Side
    price: Decimal
    shares: Decimal
    money: Decimal
    """What the shares cost or brought in pUSD, without the fee. The venue keeps six decimals of it."""
    at_ms: int
    """When it matched, on the venue's clock, in ms since 1970."""
    fee: Decimal | None = None
    """pUSD that were charged; ``None`` where the venue does not tell, and the market's terms must be applied."""
    status: ChainStatus = ChainStatus.MATCHED
    """How far the chain is with it, when the list was read."""
    tx: str | None = None
    """The hash of its transaction, once it has one."""

    @property
    def failed(self) -> bool:
        """Whether it is certain that nothing moved."""
        return self.status is ChainStatus.FAILED


@frozen(kw_only=True)
class Holdings:
    """What an account owns."""

    cash: Decimal
    """pUSD: where a node of the chain is asked as well, what both say that there is."""
    apart: Decimal = Decimal(0)
    """By how much the venue says more of them than the chain does; negative for less."""
    positions: Mapping[str, Decimal] = Factory(dict)
    """Shares by token; none of them 0."""


class Venue(Protocol):
    """Tells what became of orders and what is owned, and redeems. Safe to call from many tasks at once."""

    async def resolve(self, order: Order, order_id: str | None) -> Result:
        """Find out what became of an order whose outcome is unknown, by looking it up. Never sends it again.

        ``order_id`` is the venue's name for it, if it is known. The answer is ``UNKNOWN`` until there is evidence, and
        for ever if there never is any: that nothing is found proves nothing.
        """
        ...

    async def redeem(self, market: str, token: str) -> Result:
        """Turn the shares of a settled market's token into pUSD.

        ``FILLED`` with shares and money when it was done (1 pUSD each and not ``exact`` where the venue does not tell),
        ``NO_MATCH`` when there was nothing to redeem, ``REJECTED`` when the market is not settled or the venue
        refuses, ``UNKNOWN`` when no answer came. Unlike an order it may be repeated: a second time there is nothing
        left to redeem.
        """
        ...

    async def merge(self, market: str, token: str, other: str, shares: Decimal) -> Result:
        """Turn so many shares of both tokens of a market that is not settled into one pUSD each.

        ``FILLED`` when it is said to be done, ``REJECTED`` when it is certain that it was not, ``UNKNOWN`` otherwise. A
        second time it merges whatever is held: who does not know what became of the first, looks at the holdings.
        """
        ...

    async def holdings(self) -> Holdings:
        """Return what the account owns now. Raises TradingError."""
        ...

    async def trades(self, since_ms: int) -> Sequence[Trade]:
        """Return the account's fills since then (unix ms), the oldest first, those that FAILED on the chain too.

        Raises TradingError.
        """
        ...


class Executor(Venue, Protocol):
    """Sends orders as well, each of them once."""

    async def submit(self, order: Order, lease: Lease, stopped: Callable[[], str | None] = lambda: None) -> Result:
        """Send the order once, and wait until it is decided or a bound of time has passed.

        ``stopped`` says why no order may leave any more, or ``None``. It is asked with the lease, last thing before
        the wire; an order that it stops is ``REJECTED`` with that reason, and nothing has left.

        Never raises for anything the venue or the network does: a failure is an outcome. When the task is
        cancelled meanwhile, the order's fate is unknown, as after a crash: :meth:`~Venue.resolve` it.
        """
        ...


@frozen(kw_only=True)
class Prepared:
    """An order ready to be sent: signed, if the venue wants that. Nothing has left yet."""

    order: Order
    order_id: str | None
    """The name the venue will give it, where that can be known beforehand."""
    payload: object
    """The client's own; it may hold a signature, so it is never printed."""

    def __repr__(self) -> str:
        return f"Prepared({self.order.client_id}, {self.order_id})"


@frozen(kw_only=True)
class Ack:
    """The venue's answer to an order that it accepted."""

    order_id: str
    status: str
    """``matched``, ``unmatched``, or any other word: then it is in flight."""
    shares: Decimal = Decimal(0)
    """Shares that matched, as the venue says; 0 if it does not say. The list of trades decides."""


@frozen(kw_only=True)
class OrderState:
    """What the venue says about an order it knows."""

    status: str
    """In capitals: ``MATCHED``, ``UNMATCHED``, ``INVALID``, ``CANCELED`` and the like, or still in flight."""
    shares: Decimal
    """Shares traded so far."""


@frozen(kw_only=True)
class Redeemed:
    """What one redemption did with the shares of one token."""

    shares: Decimal
    money: Decimal | None = None
    """pUSD paid for them; ``None``: not told, and the market's payout has to be applied."""


class TradingClient(Protocol):
    """A connection to a venue for one wallet. Every method raises :class:`~bots.common.errors.TradingError`."""

    async def prepare(self, order: Order) -> Prepared:
        """Make the order ready to send. May take as long as signing takes; never blocks the event loop."""
        ...

    async def send(self, prepared: Prepared, check: Callable[[], object]) -> Ack:
        """Send it, once, calling ``check`` in the same step of the event loop in which the bytes leave.

        What ``check`` raises goes through to the caller, and then nothing has left. Otherwise raises NotSent,
        NoMatch, BadCredentials or VenueRefused when it is certain that nothing traded, and Unanswered when it is
        not. Ends within a time limit of its own.
        """
        ...

    def order_id(self, order: Order) -> str | None:
        """Return the name the venue gives the order, where that follows from the order alone."""
        ...

    async def look_up(self, order_id: str) -> OrderState | None:
        """Return what the venue says of one order; ``None``: it shows none of that name, which proves nothing."""
        ...

    async def trades(self, since_ms: int, *, market: str | None = None) -> Sequence[Trade]:
        """Return the wallet's taker fills since then, the oldest first, those that FAILED on the chain too."""
        ...

    async def holdings(self) -> Holdings:
        """Return what the wallet owns."""
        ...

    async def redeem(self, market: str, token: str) -> Redeemed:
        """Redeem a token of a settled market; no shares if there were none."""
        ...

    async def merge(self, market: str, shares: Decimal) -> None:
        """Merge so many shares of both tokens of a market that is not settled."""
        ...

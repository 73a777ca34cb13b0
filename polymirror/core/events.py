"""What happened, for people: changes of state, what the venue announced, warnings. Data only, in order.

The engine hands them out, and the shell tells them. ``at`` is when the mirror heard of it, in seconds on its
monotonic clock, and ``at_ms`` the venue's own time in ms since 1970. ``_e4`` and ``_e6`` at the end of a name say that
it holds a raw int, as everywhere: a price in 1/10,000 of a pUSD, a size in 1/1,000,000 of a share.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from attrs import frozen

from polymirror.core.level import Priced
from polymirror.core.states import BookState, Reason
from polymirror.core.units import price_to_decimal


@frozen
class Transition:
    """A book moved from one state to another."""

    token: str
    at: float
    old: BookState
    new: BookState
    reason: Reason
    epoch: int
    detail: str = ""
    proof_age: float | None = None
    """The age of the book's newest proof in seconds; None: nothing was proven."""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return (f"{self.at:.6f} {self.token} {self.old.name} -> {self.new.name} "
                f"{self.reason.name} epoch {self.epoch}{detail}")  # fmt: skip


@frozen
class Warned:
    """Something was malformed, or the venue behaves in a new way. For the log, once per kind and while."""

    at: float
    kind: str
    detail: str


@frozen
class Traded(Priced):
    """The venue announced a trade. It may do so some ms after the book shows it, late, twice or never; it has no id.

    What you trade on is the book; this is what others did.
    """

    token: str
    """The token that the taker traded. A trade is announced for one token of the market only."""
    at: float
    at_ms: int
    price_e4: int
    size_e6: int
    side: Literal["BUY", "SELL", ""]
    """What the taker did; empty: the venue does not say."""
    fee_rate_bps: Decimal | None = None
    """As announced, in 1/10,000; None: not announced. What a trade costs is another rate: see the market's terms."""
    transaction_hash: str | None = None
    """The transaction that settles it; None: not announced."""

    def __str__(self) -> str:
        return f"{self.token} {self.side or 'traded'} {Priced.__str__(self)}"


@frozen
class TickChanged:
    """The venue announced a new price grid of a token. Repeated announcements are told once."""

    token: str
    at: float
    at_ms: int
    tick_size_e4: int

    @property
    def tick_size(self) -> Decimal:
        """The new tick size in pUSD, exact."""
        return price_to_decimal(self.tick_size_e4)


@frozen
class Resolved:
    """The venue announced that a market is resolved: often late, sometimes never. Then its books retire without it."""

    market: str
    """The market's condition id."""
    at: float
    at_ms: int | None
    """None: the venue does not say when."""
    winner: str | None
    """The token that pays a pUSD for each share; None: the venue names none of this market, as after a draw."""


Announced = Traded | TickChanged | Resolved
"""What the venue says about a market beside its books."""

Event = Transition | Warned | Announced
"""Whatever an engine tells."""

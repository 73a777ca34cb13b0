"""A price that an oracle told, and which kind of price it is."""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from decimal import Decimal


@unique
class TickKind(Enum):
    """Which price of an asset a tick tells."""

    SPOT = "SPOT"
    """The price of the moment."""
    TWAP60 = "TWAP60"
    """The average of the last 60 seconds, by which the venue settles since August 2026."""


@frozen
class Tick:
    """One price of one asset, as its oracle observed it."""

    asset: str
    """Lower case, such as ``btc``."""
    kind: TickKind
    price: Decimal
    """Dollars, exact."""
    at_ms: int
    """When the oracle observed it, in Unix milliseconds of the oracle's own clock (whole seconds on all feeds)."""
    received_at: float
    """When it arrived here, in seconds of the monotonic clock."""

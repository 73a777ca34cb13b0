"""The words that all price oracles share: ticks, their kinds, health, and the interface.

Nothing here reads a feed; the clients are beside this module. Prices are dollars as exact Decimals from the feed
to the signal: they never pass through floating point. Bots, the strike and the signal use these words.
"""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bots.updown.oracles.buffer import OracleBuffer
    from bots.updown.oracles.ticks import Tick, TickKind

LOWEST: Final = Decimal("0.000000001")
HIGHEST: Final = Decimal(1_000_000_000)
"""Between these two lies every price in dollars that is believed."""

MAX_DIGITS: Final = 40
"""A price with more digits than this is not believed. The feeds have up to 18 decimals."""

EXACT: Final = Context(prec=120, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""For sums and shifts of prices: raises instead of rounding."""


@frozen(kw_only=True)
class SeriesHealth:
    """How one kind of price of one asset is doing."""

    silence: float
    """Seconds since the last new price arrived; infinite when none ever did."""
    age: float
    """Seconds since the oracle observed that price, by our clocks; infinite when there is none."""
    stale: bool
    """Whether no signal may rest on it."""


@frozen(kw_only=True)
class OracleHealth:
    """How an oracle is doing, for the health report and the preflight."""

    name: str
    connected: bool
    """Whether every connection it needs is open. Says little: an open connection may bring nothing."""
    series: Mapping[tuple[str, TickKind], SeriesHealth]
    """Every price it is to deliver."""
    counts: Mapping[str, int]
    """What it has done so far, by name, such as ``new``, ``duplicate``, ``old``, ``malformed``, ``reconnects``."""
    trouble: str
    """The last thing the other side said against us, in a few words without secrets; empty when there is none."""
    refused: bool = False
    """Whether it does not accept our credentials, so that no price can come."""

    @property
    def fresh(self) -> bool:
        """Whether every price flows."""
        return not any(each.stale for each in self.series.values())


class Oracle(Protocol):
    """A feed of prices. Nothing happens until :meth:`run` is awaited."""

    @property
    def name(self) -> str:
        """Which feed it is: ``rtds``, ``polybolt``, ``chainlink`` or ``simulated``."""
        ...

    @property
    def buffer(self) -> OracleBuffer:
        """The recent prices. Only the oracle writes it."""
        ...

    @property
    def kinds(self) -> frozenset[TickKind]:
        """The kinds of price that this oracle delivers."""
        ...

    async def run(self) -> None:
        """Keep the feed flowing until cancelled, whatever happens to connections."""
        ...

    def on_tick(self, callback: Callable[[Tick], None]) -> Callable[[], None]:
        """Call back for each new price, in order, on the event loop; returns what ends that.

        History that a feed replays fills the buffer and is not announced. The callback must be quick; what it
        raises is logged and counted, and neither ends the oracle nor keeps a tick from other callbacks.
        """
        ...

    def stale(self, asset: str, now: float, kind: TickKind | None = None) -> bool:
        """Whether no signal on this asset may be given: its prices stopped, are old, or never came.

        ``now`` is seconds of the monotonic clock. ``kind``: only this kind of price is needed; ``None``: all the
        kinds that this oracle delivers. An asset or kind that the oracle does not deliver is always stale.
        """
        ...

    def health(self) -> OracleHealth:
        """Describe how it is doing now."""
        ...


def e18(value: int) -> Decimal:
    """Convert a price in whole 1/10^18 dollars, an integer of 256 bits at most. Exact.

    Raises :class:`ValueError` for a price out of range.
    """
    return sound_price(EXACT.scaleb(Decimal(value), -18))


def sound_price(price: Decimal) -> Decimal:
    """Return the price, or raise :class:`ValueError` for what no asset costs: NaN, zero, absurd size or length."""
    # An order comparison with a NaN raises something else, and an absurd exponent makes arithmetic slow.
    if not price.is_finite() or not LOWEST <= price <= HIGHEST or len(price.as_tuple().digits) > MAX_DIGITS:
        raise ValueError(f"a price of {str(price)[:32]} is not believed: it must be {LOWEST} to {HIGHEST} dollars")
    return price

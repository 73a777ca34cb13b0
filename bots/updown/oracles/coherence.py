"""Whether the prices that an oracle tells can be of one market: the average and the spot price watch each other. Pure.

An average of sixty seconds moves slowly, whatever the market does, and it is the mean of the spot prices that were told
meanwhile. A feed whose average does otherwise is wrong, or lies. A worker has each tick heard before it trades on it.
What moves slowly, both prices alike, cannot be told from a market that moves.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from bots.updown.oracles.base import EXACT
from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    from bots.updown.oracles.buffer import OracleBuffer
    from bots.updown.oracles.ticks import Tick

LOOKBACK_MS: Final = 60_000

ENOUGH: Final = 45
"""Of the sixty spot prices of an average so many must have been told: 2 to 9 % are missing (protocol notes)."""

MOST_STEPS: Final = 10
"""After a gap the average may have moved as if for so many seconds, no more: a silence is no licence to jump."""

MAX_STEP: Final = Decimal("0.0005")
MAX_APART: Final = Decimal("0.001")


@frozen
class CoherenceLimits:
    """How far an average may be from what it must be, as shares of it."""

    max_step: Decimal = MAX_STEP
    """From the average of a second before: one of 0.0005 takes a price that moves by 3 % within a minute."""
    max_apart: Decimal = MAX_APART
    """From our own mean of the spot prices: at most 0.00025 was seen (protocol notes)."""


@define(eq=False)
class Coherence:
    """Hears the ticks of one asset, in order, after they are in the buffer."""

    buffer: OracleBuffer
    limits: CoherenceLimits = CoherenceLimits()
    # The newest average.
    _last: Tick | None = field(default=None, init=False)

    def hear(self, tick: Tick) -> str:
        """Take a tick; return why it cannot be true, in words, or nothing."""
        if tick.kind is not TickKind.TWAP60:
            return ""
        last, self._last = self._last, tick
        return (self._jumps(last, tick) if last is not None else "") or self._is_no_mean(tick)

    def _jumps(self, last: Tick, tick: Tick) -> str:
        seconds = min(max(Decimal(tick.at_ms - last.at_ms) / 1000, Decimal(1)), Decimal(MOST_STEPS))
        if abs(EXACT.subtract(tick.price, last.price)) <= self.limits.max_step * seconds * last.price:
            return ""
        apart = abs(tick.price - last.price) / last.price
        return f"the average of {tick.asset} went from {last.price} to {tick.price} at once, by {apart:.4%}"

    def _is_no_mean(self, tick: Tick) -> str:
        first_ms = tick.at_ms - LOOKBACK_MS + 1
        spots = [each.price for each in self.buffer.between(tick.asset, TickKind.SPOT, first_ms, tick.at_ms)]
        if len(spots) < ENOUGH:
            return ""
        mean = sum(spots, Decimal(0)) / len(spots)
        apart = abs(tick.price - mean) / mean
        if apart <= self.limits.max_apart:
            return ""
        return f"the average of {tick.asset}, {tick.price}, is {apart:.4%} from the mean of its prices, {mean:.8g}"

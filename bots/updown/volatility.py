"""How far an asset wanders, measured from its oracle's own ticks. Pure, and bounded in memory and work.

One sample a minute, from the first tick of the minute by the oracle's clock, and the mean of the squares of what lies
between neighbours: a minute without a tick near its beginning is left out, with the distances to both its neighbours.
Strategies take the result for the chance that a lead lasts; until enough was seen they have a configured one.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    from bots.updown.oracles.ticks import Tick

YEAR_S: Final = 31_557_600

STEP_MS: Final = 60_000
"""From one sample to the next."""

LATE_MS: Final = 5_000
"""A tick further behind the beginning of its minute is no sample: the relay is silent for longer now and then."""

LEAST: Final = 30
"""Distances between samples, half an hour's, without which nothing is said: the estimate would be off by more than
an eighth (one standard deviation)."""

MOST: Final = 120
"""Distances that count, the newest: two hours. What was before says little about now."""

AVERAGED_S: Final = 60 / 3
"""The distance of two averages over 60 seconds varies as that of two prices a third of that closer together."""

_PLACES: Final = Decimal("0.0001")


@frozen
class Measured:
    """What the ticks say."""

    volatility: Decimal
    """One standard deviation of the logarithm in a year, cut to four decimals, one standard error on the careful side:
    what is overestimated makes a lead look less sure."""
    samples: int
    """On how many distances it rests, :data:`LEAST` to :data:`MOST`."""


@define(eq=False)
class Volatility:
    """The estimator of one asset and kind of price. Tell it every tick; others it leaves alone."""

    asset: str
    kind: TickKind
    # Squares of logarithmic distances, each for one second. Never changed in place: a copy hears for itself.
    _squares: tuple[float, ...] = field(init=False, default=())
    # The newest sample.
    _at_ms: int = field(init=False, default=0)
    _logarithm: float = field(init=False, default=0.0)
    _known: Measured | None = field(init=False, default=None)

    @property
    def measured(self) -> Measured | None:
        """The estimate, or ``None`` while too little was seen."""
        return self._known

    def hear(self, tick: Tick) -> None:
        """Take a tick; one that is not newer than all before it changes nothing."""
        if tick.asset != self.asset or tick.kind is not self.kind:
            return
        steps = tick.at_ms // STEP_MS - self._at_ms // STEP_MS
        if steps < 1 or tick.at_ms % STEP_MS > LATE_MS:
            return
        logarithm = math.log(tick.price)
        if steps == 1:
            apart = (tick.at_ms - self._at_ms) / 1000
            seconds = apart - AVERAGED_S if self.kind is TickKind.TWAP60 else apart
            self._squares = (*self._squares, (logarithm - self._logarithm) ** 2 / seconds)[-MOST:]
            self._known = self._measure()
        self._at_ms, self._logarithm = tick.at_ms, logarithm

    def _measure(self) -> Measured | None:
        count = len(self._squares)
        if count < LEAST:
            return None
        a_year = math.sqrt(math.fsum(self._squares) / count * YEAR_S) * (1 + 1 / math.sqrt(2 * count))
        return Measured(Decimal(a_year).quantize(_PLACES), count)

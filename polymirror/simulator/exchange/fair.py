"""What a simulated up/down market is worth, and makers who quote around that, a little too late.

The traders of a round know the oracle, but react after a lag: until then they quote what was fair before.
Whoever reacts sooner has an edge, as large as the price moved meanwhile. Pure and seeded, as the usual
order flow that it extends; :mod:`polymirror.simulator.exchange.rounds` makes one for each market. Values are
floats, since they are opinions: orders, prices and sizes that come of them are whole numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define, field

from polymirror.simulator.exchange.flow import Flow
from polymirror.simulator.exchange.ladder import ONE_PRICE

if TYPE_CHECKING:
    from polymirror.simulator.exchange.oracle import PriceProcess
    from polymirror.simulator.exchange.round import Round

MOOD_SECONDS = 30.0
"""After this time the makers' disagreement with the fair price is a third of what it was."""


def probability_up(
    price: float, strike: float, seconds_left: float, *, deviation: float, average_s: float = 0.0, so_far: float = 0.0
) -> float:
    """The chance that a round ends at or above its strike, between 0 and 1.

    ``price`` is now's, ``seconds_left`` until the end, ``deviation`` one standard deviation over one second
    as a share of the price. The round is decided by the average of its last ``average_s`` seconds (0: the
    last price); ``so_far`` is the average of that part of them which has passed. The price wanders without
    drift and without jumps, which is exact enough for an opinion.
    """
    left = max(0.0, seconds_left)
    if left >= average_s:
        expected = price
        # The average of a walk over its last seconds varies by a third of what its end does in them.
        variance = left - average_s * 2 / 3
    else:
        share = left / average_s
        expected = so_far * (1 - share) + price * share
        variance = left * share * share / 3
    spread = price * deviation * math.sqrt(variance)
    if spread <= 0:
        return 1.0 if expected >= strike else 0.0
    return 0.5 * (1 + math.erf((expected - strike) / spread / math.sqrt(2)))


@define(eq=False)
class FairFlow(Flow):
    """The traders of one round. They see the oracle as it was ``lag_ms`` ago, and disagree a little."""

    round: Round
    oracle: PriceProcess
    lag_ms: int
    # How much of the usual rate there is before the window opens.
    quiet_share: float
    # How far off the fair price the makers quote just now, in 1/10,000.
    _mood: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        """Start where the fair price is."""
        self._walked_ms = self.start_ms
        self.fair: float = self._clamped(self.worth(self.start_ms))

    def worth(self, at_ms: int) -> float:
        """What a share of the first token is worth to the makers at ``at_ms``, in 1/10,000."""
        this, seen_ms = self.round, at_ms - self.lag_ms
        if seen_ms < this.start_ms:
            return ONE_PRICE / 2
        strike = float(self.oracle.twap(this.asset, this.start_ms, this.twap_s))
        seen_ms = min(seen_ms, this.end_ms)
        passed_s = this.twap_s - (this.end_ms - seen_ms) // 1_000
        so_far = self.oracle.twap(this.asset, seen_ms, passed_s) if passed_s > 0 else 0
        return ONE_PRICE * probability_up(
            float(self.oracle.price(this.asset, seen_ms)),
            strike,
            (this.end_ms - seen_ms) / 1_000,
            deviation=self.oracle.config.deviation,
            average_s=this.twap_s,
            so_far=float(so_far),
        )

    def next_delay_ms(self) -> int:
        """The time to the next batch; longer before the window opens."""
        share = 1.0 if self._walked_ms >= self.round.start_ms else self.quiet_share
        return max(1, round(self.rng.expovariate(self.config.rate * share / 1_000)))

    def move(self, at_ms: int) -> None:
        """Take up the fair price, with a disagreement that comes and goes."""
        seconds = (at_ms - self._walked_ms) / 1_000
        if seconds <= 0:
            return
        self._walked_ms = at_ms
        drawn = self.rng.gauss(0.0, self.config.volatility * ONE_PRICE * math.sqrt(min(seconds, MOOD_SECONDS)))
        self._mood = self._mood * math.exp(-seconds / MOOD_SECONDS) + drawn
        self.fair = self._clamped(self.worth(at_ms) + self._mood)

    def _clamped(self, fair: float) -> float:
        low = self.config.fair_low * ONE_PRICE
        return min(max(fair, low), ONE_PRICE - low)

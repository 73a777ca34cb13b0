"""How late changes are applied, market by market, and for when they speak.

A connection is as late as its markets: one of them may lag for seconds while its neighbours are on time. So the lag
is each market's own, from the venue's timestamp to the application, by the lower bound of the venue's clock. Above
``max_apply_lag`` its books are in doubt. Times in seconds on the mirror's monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.core.states import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polymirror.core.market import Market
    from polymirror.core.outbox import Outbox

_NEVER = float("-inf")


class Lags:
    """The lags of all markets."""

    def __init__(self, markets: Mapping[str, Market], outbox: Outbox, limit: float) -> None:
        self._markets = markets
        self._outbox = outbox
        self._clock = outbox.clock
        self._limit = limit
        # Markets whose changes are applied too late.
        self._late: dict[Market, None] = {}
        # How often the venue's clock had moved when that was looked at last.
        self._moved = 0

    def date(self, market: Market, at_ms: int, heard_at: float, now: float) -> float:
        """Return for when a change speaks (D1), and take the lag of its market; minus infinity: it cannot be dated."""
        clock = self._clock
        if clock.has_backlog(now):
            return _NEVER
        lag = clock.frame(at_ms, now)
        self.follow_clock(now)
        if clock.doubted:
            self._outbox.warn("timestamp ahead", f"{at_ms} ms lies in the future by the venue's clock", now)
            return _NEVER
        if at_ms >= market.newest_ms:
            # Else it is late in its own order (a duplicate, say): that is not the market's lag.
            market.newest_ms, market.lag, market.lag_at = at_ms, lag, now
            if (lag > self._limit) is not market.lagging:
                self._toggle(market, now)
        return clock.date(at_ms, heard_at)

    def follow_clock(self, now: float) -> None:
        """If the venue's clock was found elsewhere, what was newest by the old one says nothing."""
        if self._clock.moved != self._moved:
            self._moved = self._clock.moved
            self._outbox.warn("venue clock", "the venue's clock moved, or /time and the stream disagree", now)
            for market in self._markets.values():
                market.newest_ms = 0

    def pass_time(self, now: float) -> None:
        """Where nothing came for a while, nothing is waiting to be applied any more."""
        for market in tuple(self._late):
            if now >= market.lag_at + self._limit:
                self._toggle(market, now)

    def forget(self, market: Market) -> None:
        """The market's connection is gone, or nothing more is to come on it."""
        self._late.pop(market, None)
        market.lagging = False
        for token in market.tokens.values():
            token.lagging = False

    def _toggle(self, market: Market, now: float) -> None:
        market.lagging = not market.lagging
        if market.lagging:
            self._late[market] = None
        else:
            del self._late[market]
        for token in market.tokens.values():
            token.lagging = market.lagging
            if market.lagging:
                token.doubt(Reason.APPLY_LAG, now, f"{market.lag or 0.0:.3f} s")

"""The recent prices of all assets, to be looked up by the oracle's own time. Pure; no clock of its own.

Every oracle writes one, bots read it. Each series, one kind of price of one asset, is a sorted mapping from time
to tick: the newest not after a moment, or the nearest to it, is found in O(log n) without copying anything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import define, field
from sortedcontainers import SortedDict

from bots.common.ranges import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bots.updown.oracles.ticks import Tick, TickKind

MAX_SERIES: Final = 64
"""Series that one buffer keeps; ticks of further ones are refused."""


@define(eq=False, kw_only=True)
class OracleBuffer:
    """The last ticks of each series, bounded by count and by age."""

    max_ticks: int = field(default=4_000, validator=whole(2, 1_000_000, "ticks"))
    """The most that one series keeps."""
    max_age_s: int = field(default=3_600, validator=whole(1, 86_400, "seconds"))
    """How far behind the newest tick of its series, by the oracle's clock, a tick may lie."""
    _series: dict[tuple[str, TickKind], SortedDict[int, Tick]] = field(init=False, factory=dict)
    # The newest tick of each series: asked for far more often than any other.
    _latest: dict[tuple[str, TickKind], Tick] = field(init=False, factory=dict)

    def put(self, tick: Tick) -> bool:
        """Append a tick. Returns False, and changes nothing, unless it is newer than all others of its series."""
        key = (tick.asset, tick.kind)
        latest = self._latest.get(key)
        if latest is not None and tick.at_ms <= latest.at_ms:
            return False
        if latest is None:
            if len(self._series) >= MAX_SERIES:
                return False
            self._series[key] = SortedDict()
        series = self._series[key]
        series[tick.at_ms] = self._latest[key] = tick
        self._trim(series, tick.at_ms)
        return True

    def fill(self, tick: Tick) -> bool:
        """Insert a tick of the past where there is none, such as one that a feed replays after a reconnect.

        Returns False, and changes nothing, when there is a tick of this time already (the first one is believed), when
        it is too old to be kept, or when it is not of the past: then it is for :meth:`put`.
        """
        key = (tick.asset, tick.kind)
        latest = self._latest.get(key)
        if latest is None or not latest.at_ms - self.max_age_s * 1000 <= tick.at_ms < latest.at_ms:
            return False
        series = self._series[key]
        full = len(series) >= self.max_ticks
        if tick.at_ms in series or (full and tick.at_ms < series.peekitem(0)[0]):
            return False
        series[tick.at_ms] = tick
        self._trim(series, latest.at_ms)
        return True

    def latest(self, asset: str, kind: TickKind) -> Tick | None:
        """Return the newest tick."""
        return self._latest.get((asset, kind))

    def at(self, asset: str, at_ms: int, kind: TickKind) -> Tick | None:
        """Return the newest tick that is not after a time; ``None`` when nothing that old is kept."""
        series = self._series.get((asset, kind))
        if series is None:
            return None
        return next((series[time] for time in series.irange(maximum=at_ms, reverse=True)), None)

    def nearest(self, asset: str, at_ms: int, kind: TickKind, within_ms: int) -> Tick | None:
        """Return the tick closest to a time, at most ``within_ms`` from it; of two equally close, the earlier."""
        series = self._series.get((asset, kind))
        if series is None:
            return None
        before = next(series.irange(minimum=at_ms - within_ms, maximum=at_ms, reverse=True), None)
        after = next(series.irange(minimum=at_ms, maximum=at_ms + within_ms), None)
        if before is None or (after is not None and after - at_ms < at_ms - before):
            return None if after is None else series[after]
        return series[before]

    def between(self, asset: str, kind: TickKind, first_ms: int, last_ms: int) -> Iterator[Tick]:
        """Iterate over the ticks from ``first_ms`` to ``last_ms``, both included, in order, without copying them.

        The buffer must not be written to meanwhile.
        """
        series = self._series.get((asset, kind))
        if series is None:
            return iter(())
        return (series[time] for time in series.irange(minimum=first_ms, maximum=last_ms))

    def age(self, asset: str, now: float, kind: TickKind | None = None) -> float:
        """Return for how many seconds no newer tick has come, of one kind or of any; infinite when none ever did.

        ``now`` is seconds of the monotonic clock.
        """
        times = [
            tick.received_at for (name, each), tick in self._latest.items() if name == asset and kind in {None, each}
        ]
        return now - max(times, default=-math.inf)

    def count(self, asset: str, kind: TickKind) -> int:
        """Return how many ticks of a series are kept."""
        return len(self._series.get((asset, kind), ()))

    def _trim(self, series: SortedDict[int, Tick], newest_ms: int) -> None:
        while len(series) > self.max_ticks or series.peekitem(0)[0] < newest_ms - self.max_age_s * 1000:
            series.popitem(0)

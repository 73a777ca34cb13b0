"""What every oracle does with the prices it hears: which to believe, whom to tell, and when they are stale. Pure.

A :class:`PriceBoard` stands between a feed and the buffer. It drops duplicates, old ticks and ticks of the future by
a watermark for each series, so a feed that says the same again and again is as silent as one that says nothing.
Clients of feeds write it; bots meet it through the :class:`~bots.updown.oracles.base.Oracle` around it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import field, frozen

from bots.common.ranges import whole
from bots.updown.oracles.base import SeriesHealth
from bots.updown.oracles.ticks import Tick, TickKind
from polymirror.errors import ConfigError
from polymirror.shell.warnlog import WarnLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

    from bots.updown.oracles.buffer import OracleBuffer

MAX_LISTENERS: Final = 256
"""Callbacks that one oracle serves."""


@frozen(kw_only=True)
class Patience:
    """When a price is too old. The defaults follow two recorded days of the venue's relay.

    There, new prices came 1.0 s apart at the median, 2.2 s in 99 of 100 cases and more than 5 s some 90 times a day;
    a price was 1.0 s old on arrival at the median and 2.5 s in 999 of 1,000 cases.
    """

    max_silence_ms: int = field(default=5_000, validator=whole(500, 600_000, "milliseconds"))
    """No new price of a series for longer than this, by the monotonic clock: the series is stale."""
    max_age_ms: int = field(default=10_000, validator=whole(500, 600_000, "milliseconds"))
    """The oracle observed the last price longer ago than this: the series is stale, however lately it came.
    Its age on arrival is by the wall clock, what follows by the monotonic one."""
    max_ahead_ms: int = field(default=5_000, validator=whole(0, 600_000, "milliseconds"))
    """A price that claims to be observed later than this after our wall clock is not believed: it would make
    every following one look old."""


class Price(NamedTuple):
    """A price as a feed tells it."""

    asset: str
    kind: TickKind
    price: Decimal
    at_ms: int


class PriceBoard:
    """The prices of some assets. Times ``now`` are seconds of the monotonic clock, ``wall_ms`` Unix milliseconds.

    Raises :class:`~polymirror.errors.ConfigError` when there are no assets or no kinds.
    """

    def __init__(
        self, assets: Iterable[str], kinds: Iterable[TickKind], *, patience: Patience, buffer: OracleBuffer
    ) -> None:
        self.assets = tuple(dict.fromkeys(assets))
        self.kinds = frozenset(kinds)
        # Always in the same order, so that a run can be repeated.
        self.ordered_kinds = tuple(kind for kind in TickKind if kind in self.kinds)
        if not self.assets or not self.kinds:
            raise ConfigError("assets, kinds", (self.assets, self.kinds), "at least one of each")
        self.buffer = buffer
        # What was done with prices, by name. The names are few and known.
        self.counts: Counter[str] = Counter()
        self._patience = patience
        # How old the newest price of a series was when it came, in seconds.
        self._age_on_arrival: dict[tuple[str, TickKind], float] = {}
        self._listeners: dict[object, Callable[[Tick], None]] = {}
        self._warnings = WarnLog()

    def is_news(self, price: Price, wall_ms: int) -> bool:
        """Whether a price is newer than all before it, and believable: what keeps a connection alive."""
        latest = self.buffer.latest(price.asset, price.kind)
        return (
            price.asset in self.assets
            and price.kind in self.kinds
            and (latest is None or price.at_ms > latest.at_ms)
            and 0 < price.at_ms <= wall_ms + self._patience.max_ahead_ms
        )

    def take(self, price: Price, now: float, wall_ms: int, *, history: bool = False) -> bool:
        """Believe a price or drop it; returns whether it was new. ``history``: the feed replays it.

        A new price is announced unless it is history. What a callback raises goes to the log and the counts.
        """
        asset, kind = price.asset, price.kind
        if asset not in self.assets or kind not in self.kinds:
            self.counts["not asked for"] += 1
            return False
        if not 0 < price.at_ms <= wall_ms + self._patience.max_ahead_ms:
            self.counts["ahead"] += 1
            return False
        tick = Tick(asset, kind, price.price, price.at_ms, now)
        if not self.buffer.put(tick):
            self._count_late(tick, history=history)
            return False
        self.counts["history" if history else "new"] += 1
        self._age_on_arrival[asset, kind] = max(wall_ms - price.at_ms, 0) / 1000
        if not history:
            self._announce(tick, now)
        return True

    def stale(self, asset: str, now: float, kind: TickKind | None = None) -> bool:
        """As :meth:`bots.updown.oracles.base.Oracle.stale`."""
        wanted = self.kinds if kind is None else {kind}
        return any(self.series_health(asset, each, now).stale for each in wanted)

    def series_health(self, asset: str, kind: TickKind, now: float) -> SeriesHealth:
        """Describe one series. One that is not followed is stale."""
        latest = self.buffer.latest(asset, kind)
        if latest is None or asset not in self.assets or kind not in self.kinds:
            return SeriesHealth(silence=math.inf, age=math.inf, stale=True)
        silence = now - latest.received_at
        age = silence + self._age_on_arrival.get((asset, kind), math.inf)
        patience = self._patience
        stale = silence * 1000 > patience.max_silence_ms or age * 1000 > patience.max_age_ms
        return SeriesHealth(silence=silence, age=age, stale=stale)

    def all_health(self, now: float) -> dict[tuple[str, TickKind], SeriesHealth]:
        """Describe every series that is to be delivered."""
        return {
            (asset, kind): self.series_health(asset, kind, now) for asset in self.assets for kind in self.ordered_kinds
        }

    def listen(self, callback: Callable[[Tick], None]) -> Callable[[], None]:
        """Call back for each new price; returns what ends that. Raises ConfigError for too many callbacks."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise ConfigError("callbacks", MAX_LISTENERS + 1, f"at most {MAX_LISTENERS} of one oracle")
        key = object()
        self._listeners[key] = callback

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    def _count_late(self, tick: Tick, *, history: bool) -> None:
        """Find out why a tick was not appended, and let history fill a hole."""
        known = self.buffer.at(tick.asset, tick.at_ms, tick.kind)
        if known is None or known.at_ms != tick.at_ms:
            self.counts["filled" if history and self.buffer.fill(tick) else "old"] += 1
        elif known.price != tick.price:
            # Two prices of one moment: the first one is believed, but somebody should know.
            self.counts["contradicted"] += 1
        else:
            self.counts["duplicate"] += 1

    def _announce(self, tick: Tick, now: float) -> None:
        for callback in tuple(self._listeners.values()):
            try:
                callback(tick)
            except Exception as error:  # noqa: BLE001 - one listener's failure is not the others'
                self.counts["callback failures"] += 1
                self._warnings.warn("a callback of the oracle failed", f"{type(error).__name__}: {error}", now)

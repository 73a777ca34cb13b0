"""An oracle without a network: the prices of a simulated exchange, second by second, straight into the buffer.

For tests of what stands on an oracle. A simulated run of a bot uses the real clients against the simulated feeds
instead, so that connections, staleness and faults are part of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from bots.updown.oracles.base import OracleHealth
from bots.updown.oracles.board import Price, PriceBoard
from bots.updown.oracles.ticks import Tick, TickKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from bots.updown.oracles.buffer import OracleBuffer
    from polymirror.venue.network import Network

SECOND_MS: Final = 1_000

TWAP_S: Final = 60

MAX_CATCH_UP_MS: Final = 120_000
"""Seconds of the past that are delivered when the oracle starts, and at most after its program stood still."""


class PriceSource(Protocol):
    """What knows the simulated prices: :class:`polymirror.simulator.exchange.oracle.PriceProcess`, or another one."""

    def price(self, asset: str, at_ms: int) -> Decimal:
        """Return the price in dollars at a time in Unix milliseconds."""
        ...

    def twap(self, asset: str, at_ms: int, lookback_s: int = ...) -> Decimal:
        """Return the average over the ``lookback_s`` seconds before a time."""
        ...


class SimulatedOracle:
    """Delivers the price and the 60-second average of each whole second, ``lag_ms`` after it."""

    def __init__(self, source: PriceSource, board: PriceBoard, network: Network, *, lag_ms: int = 0) -> None:
        self.name = "simulated"
        self._source = source
        self._board = board
        self._network = network
        self._lag_ms = lag_ms
        # True while run() is at work.
        self._running = False

    @property
    def buffer(self) -> OracleBuffer:
        """The recent prices."""
        return self._board.buffer

    @property
    def kinds(self) -> frozenset[TickKind]:
        """The kinds of price that this oracle delivers."""
        return self._board.kinds

    async def run(self) -> None:
        """Deliver the last two minutes as history and then each second, until cancelled."""
        self._running = True
        try:
            second = (self._now_ms() - self._lag_ms) // SECOND_MS * SECOND_MS
            for past in range(second - MAX_CATCH_UP_MS, second, SECOND_MS):
                self._deliver(past, history=True)
            while True:
                await asyncio.sleep(max((second + self._lag_ms) / 1000 - self._network.wall(), 0.0))
                self._deliver(second, history=False)
                # After a pause of the program, only what somebody may still want.
                second = max(second + SECOND_MS, (self._now_ms() - MAX_CATCH_UP_MS) // SECOND_MS * SECOND_MS)
        finally:
            self._running = False

    def on_tick(self, callback: Callable[[Tick], None]) -> Callable[[], None]:
        """Call back for each new price; see :class:`~bots.updown.oracles.base.Oracle`."""
        return self._board.listen(callback)

    def stale(self, asset: str, now: float, kind: TickKind | None = None) -> bool:
        """Whether no signal on this asset may be given; see :class:`~bots.updown.oracles.base.Oracle`."""
        return self._board.stale(asset, now, kind)

    def health(self) -> OracleHealth:
        """Describe how it is doing now."""
        return OracleHealth(
            name=self.name,
            connected=self._running,
            series=self._board.all_health(self._network.monotonic()),
            counts=dict(self._board.counts),
            trouble="",
        )

    def _now_ms(self) -> int:
        return int(self._network.wall() * 1000)

    def _deliver(self, second: int, *, history: bool) -> None:
        now, wall_ms = self._network.monotonic(), self._now_ms()
        for asset in self._board.assets:
            for kind in self._board.ordered_kinds:
                spot = kind is TickKind.SPOT
                price = self._source.price(asset, second) if spot else self._source.twap(asset, second, TWAP_S)
                self._board.take(Price(asset, kind, price, second), now, wall_ms, history=history)

"""One row for one program: the torture's world with the program in the engine's place, read on a fixed grid.

Exchange, network, faults and the moments at which they strike are the same for every program; see the page for the
definitions that are measured here. :mod:`benchmarks.fault_matrix` runs many of these and collects the cells.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, frozen

from benchmarks.peers import COLUMNS, HEDGED, OWN, load
from benchmarks.peers.base import Peer, SendText
from benchmarks.schedule import Schedule, build
from benchmarks.truth import MarketTruth, Marks, mark
from polymirror.config import StreamConfig
from polymirror.core.engine import Engine
from polymirror.core.units import PRICE_SCALE
from polymirror.errors import NotLive
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.simulator.virtual import NetworkConfig
from polymirror.torture.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

GRID = 0.05
"""Seconds between two readings."""

WARM_UP = 10.0
"""Seconds at the start that are not measured."""

LATENCY_MS = 30
"""One way, for every frame and call alike."""

LIMITS = (15.0, 0.25)
"""A reading is wrong when the book was not so within these seconds, and the delay of the network."""

MARKETS = 2
RATE = 5.0
"""Batches a second in each market."""


@frozen
class Order:
    """One row for one program."""

    fault: str
    module: str
    """The adapter, or one of OWN."""
    seed: int
    seconds: float


@define
class Cell:
    """What was measured in one column of one row. Seconds are the mean over the books."""

    wrong_full: dict[float, float] = Factory(dict)
    """By the limit of LIMITS: readable, and not a book of that time at full depth."""
    wrong_top: dict[float, float] = Factory(dict)
    """The same for the best bid and the best ask with their sizes."""
    unavailable: float = 0.0
    """Refused, absent or empty although the exchange had a book."""
    strikes: int = 0
    """How often the fault struck."""
    delay_ms: int = 0
    """What the network and the fault may delay, added to the limits."""


Read = tuple[object, "Marks | None"]


class Arena(World):
    """A world that is read on a grid. ``read_grid`` takes one reading of every book in every column."""

    def __init__(self, order: Order) -> None:
        self.order = order
        adapter = None if order.module in OWN else load(order.module)
        exchange = ExchangeConfig(
            seed=order.seed,
            markets=MARKETS,
            flow=FlowConfig(rate=RATE),
            new_market_every_ms=30_000,
            history_ms=1_000,
        )
        stream = StreamConfig()
        engine: Callable[..., Any] = Engine
        if adapter is not None:
            transport = adapter.transport
            stream = StreamConfig(
                backoff_base=transport.backoff_base, backoff_cap=transport.backoff_cap, healthy_after=0.01
            )
            engine = adapter
        self._is_peer = adapter is not None
        self.columns = [column for column in COLUMNS if column.module == order.module]
        self.cells = [Cell() for _ in self.columns]
        armed = build(order.fault, order.seed)
        super().__init__(
            exchange,
            armed,
            seed=order.seed,
            stream=stream,
            network=NetworkConfig(latency_ms=LATENCY_MS, jitter_ms=0),
            engine_class=engine,
            hedge=2 if order.module == HEDGED else 1,
        )
        self._armed: tuple[Any, ...] = armed
        self._moments = list(Schedule.draw(order.fault, order.seed, order.seconds).moments)
        self.delay_ms = LATENCY_MS + sum(fault.max_delay_ms for fault in armed)
        horizon_ms = int(max(LIMITS) * 1000) + self.delay_ms + 1_000
        for market in self.exchange.markets:
            market.history = MarketTruth(market, horizon_ms)
        self._books = [
            (token, index, market) for market in self.exchange.markets for index, token in enumerate(market.tokens)
        ]
        self._seen: dict[str, Read] = {}

    # ---- Where a peer differs from the engine ------------------------------------------------------

    def read(self, token: str, max_proof_age: float | None = None) -> None:
        """Reading is for the grid alone."""

    def _carry_out(self, effect: Any) -> None:
        if isinstance(effect, SendText):
            for wire in self._wires(effect.line):
                self._to_venue(wire, effect.text)
            return
        super()._carry_out(effect)

    def _watch(self, wire: Any) -> None:
        # A peer pings and watches in its own way, in its adapter; the world does it in polymirror's.
        if not self._is_peer:
            super()._watch(wire)

    def _to_venue(self, wire: Any, text: str) -> None:
        if self._is_peer and text.startswith("{"):
            # None of them asks for the custom events.
            text = json.dumps(json.loads(text) | {"custom_feature_enabled": False})
        super()._to_venue(wire, text)

    # ---- The measurement ---------------------------------------------------------------------------

    def measure(self) -> list[Cell]:
        """Run the row, and return one cell for each column that reads this program."""
        points = round(self.order.seconds / GRID)
        for point in range(1, points + 1):
            if self._moments and self.elapsed >= self._moments[0]:
                self._moments.pop(0)
                for fault in self._armed:
                    fault.arm()
            self.run(point * GRID - self.elapsed)
            if self.elapsed > WARM_UP:
                self._read_grid()
        self._close()
        weight = GRID / len(self._books)
        strikes = self._armed[-1].injected if self._armed else 0
        for cell in self.cells:
            cell.strikes, cell.delay_ms = strikes, self.delay_ms
            cell.unavailable *= weight
            for wrong in (cell.wrong_full, cell.wrong_top):
                for limit in LIMITS:
                    wrong[limit] = wrong.get(limit, 0.0) * weight
        return self.cells

    def _close(self) -> None:
        program: object = self.engine
        if isinstance(program, Peer):
            program.close()

    def _read_grid(self) -> None:
        now_ms = self.exchange_ms()
        for token, index, market in self._books:
            truth = MarketTruth.of(market, index)
            there = truth.look(now_ms)
            for column, cell in zip(self.columns, self.cells, strict=True):
                marks = self._marks(token, column.max_proof_age)
                if marks is None:
                    cell.unavailable += there
                    continue
                if index:
                    marks = marks.swapped()
                if marks.full == truth.current:
                    continue
                for limit in LIMITS:
                    since_ms = now_ms - int(limit * 1000) - self.delay_ms - 1
                    if not truth.was_full(marks, since_ms):
                        cell.wrong_full[limit] = cell.wrong_full.get(limit, 0.0) + 1
                    if not truth.was_top(marks, since_ms):
                        cell.wrong_top[limit] = cell.wrong_top.get(limit, 0.0) + 1

    def _marks(self, token: str, max_proof_age: float | None) -> Marks | None:
        """What a reader of the program sees now."""
        engine: Any = self.engine
        if isinstance(engine, Peer):
            version: object = engine.versions.get(token, 0)
            seen = self._seen.get(token)
            if seen is None or seen[0] != version:
                sides = engine.sides(token)
                seen = self._seen[token] = (version, None if sides is None else mark(sides))
            return seen[1]
        try:
            view = engine.live(token, self.seconds, max_proof_age)
        except NotLive:
            return None
        levels = view.levels  # the same object as long as nothing changed
        seen = self._seen.get(token)
        if seen is None or seen[0] is not levels:
            bids = list(zip(levels.bid_keys, levels.bid_sizes, strict=True))
            asks = [(PRICE_SCALE - key, size) for key, size in zip(levels.ask_keys, levels.ask_sizes, strict=True)]
            seen = self._seen[token] = (levels, mark((bids, asks)))
        return seen[1]

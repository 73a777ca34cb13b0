"""A whole book of 100 levels a side: taken as the first of its token, proven by its own hash, LIVE at the end."""

from __future__ import annotations

from random import Random
from time import thread_time_ns
from typing import TYPE_CHECKING

import msgspec

from benchmarks.speed.method import Costs, no_collections
from benchmarks.speed.openings import make_openings
from benchmarks.speed.own import LINE, drain
from benchmarks.speed.rows import Row, spread_of
from polymirror.config import EngineConfig
from polymirror.core.checksum import Constants
from polymirror.core.engine import Engine
from polymirror.core.states import BookState
from polymirror.core.units import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.speed.openings import Opening
    from benchmarks.speed.rows import Options

LEVELS = 100
TARGET = 2.5


class _Level(msgspec.Struct, gc=False):
    price: str
    size: str


class _Book(msgspec.Struct, gc=False):
    market: str
    asset_id: str
    timestamp: str
    hash: str
    bids: list[_Level]
    asks: list[_Level]
    tick_size: str
    event_type: str
    last_trade_price: str


def measure(options: Options) -> Iterator[Row]:
    """Measure snapshots with the usual mix of sizes, and tell how the mix matters."""
    costs = {share: _compare(options, new_sizes=share) for share in (0.65, 0.0, 1.0)}
    decode, own, problem = costs[0.65]
    ratio = own.over(decode)
    yield Row(
        "snapshot_100_levels",
        "a book of 100 levels a side applied and proven / its bare msgspec decode",
        ratio.median,
        TARGET,
        details={
            **spread_of(ratio),
            "us_decode": decode.median / 1000,
            "us_applied_and_proven": own.median / 1000,
            "ratio_if_all_sizes_were_seen_before": costs[0.0][1].over(costs[0.0][0]).median,
            "ratio_if_no_size_was_seen_before": costs[1.0][1].over(costs[1.0][0]).median,
        },
        reason=problem,
    )


def _compare(options: Options, *, new_sizes: float) -> tuple[Costs, Costs, str]:
    rounds, size = options.choose(30, 8), options.choose(30, 10)
    markets = list(make_openings(LEVELS, (rounds + 1) * size, new_sizes=new_sizes))
    decoder = msgspec.json.Decoder(_Book)
    SIZES.clear()
    decoding, taking, problem = [], [], ""
    for turn in range(rounds + 1):
        part = markets[turn * size : (turn + 1) * size]
        engine = engine_for(part)
        frames = [event for market in part for event in market.events]
        with no_collections():
            start = thread_time_ns()
            for frame in frames:
                decoder.decode(frame)
            middle = thread_time_ns()
            for frame in frames:
                engine.receive(LINE, frame, 0.1)
                engine.dirty()
            end = thread_time_ns()
        if turn:
            decoding.append((middle - start) / len(frames))
            taking.append((end - middle) / len(frames))
        if any(state is not BookState.LIVE for _, state in engine.states()):
            problem = "a book is not LIVE after its snapshot"
    return Costs(tuple(decoding)), Costs(tuple(taking)), problem


def engine_for(markets: Sequence[Opening], config: EngineConfig | None = None) -> Engine:
    """Return an engine that tracks markets on one connected socket and waits for their books."""
    engine = Engine(config or EngineConfig(tokens_per_socket=500), Random(1))  # noqa: S311 - jitter of probes
    for market in markets:
        constants = Constants(min_order_size="5", tick_size=market.tick_size, neg_risk=False)
        engine.track(market.market, market.tokens, 0.0, constants=constants)
    for line in engine.sockets.all():
        engine.connected(line.number, 0.0)
    drain(engine)
    return engine

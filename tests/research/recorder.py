"""A recorder on the simulated exchange: the frames of one round as a client received them, and the oracle's ticks."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

from bots.research.eras import Eras
from bots.research.ticks.recording import Recording, market_of
from bots.research.windows import Ticks
from polymirror.config import StreamConfig
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.settings import DEFAULT_START_MS, ExchangeConfig, RoundsConfig
from polymirror.simulator.virtual import VirtualVenue, run_virtual

QUARTER_MS = 900_000
TICK_LAG_MS = 1_500


def record(seed: int, *, lag_s: float = 55.0, delay_ms: int = 150, twap_s: int = 0) -> Recording:
    """Record the first whole quarter of an hour. The makers are ``lag_s`` behind the oracle, which decides by spot."""
    start_ms = DEFAULT_START_MS // QUARTER_MS * QUARTER_MS + 2 * QUARTER_MS
    begin_ms = start_ms - 20_000
    rounds = RoundsConfig(assets=("btc",), lag_s=lag_s, twap_s=twap_s)
    exchange = Exchange(ExchangeConfig(seed=seed, start_ms=begin_ms, rounds=rounds))
    frames: list[tuple[int, str]] = []

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        async with VirtualVenue(exchange, seed=seed) as venue:
            wire = await venue.network.open_wire(venue.endpoints.stream, StreamConfig(), {}, venue.network.wall)
            await wire.send(json.dumps({"assets_ids": list(told.tokens), "type": "market"}))
            try:
                async with asyncio.timeout((start_ms + QUARTER_MS - begin_ms) / 1000):
                    while True:
                        text = (await wire.recv(decode=False)).decode()
                        frames.append((loop.wall_ms(), text))
            except TimeoutError:
                wire.abort()

    told = next(each for each in exchange.rounds.known.values() if each.start_ms == start_ms)
    run_virtual(listen, start_ms=begin_ms)
    price = exchange.oracle.price
    times = range(start_ms - 3_600_000, start_ms + QUARTER_MS, 1000)
    rules = Eras(fees=("1970-01-01 5m,15m 0.07 1",), delays=(f"1970-01-01 5m,15m {delay_ms}",)).rules("15m", start_ms)
    market, window = market_of(
        slug=told.slug, condition_id=told.condition_id, up=told.tokens[0], down=told.tokens[1], fee=rules.fee
    )
    up_won = price("btc", start_ms + QUARTER_MS) >= price("btc", start_ms)
    return Recording(
        market=market,
        window=window,
        rules=rules,
        frames=tuple(frames),
        oracle=Ticks(
            at_ms=times,
            received_ms=[each + TICK_LAG_MS for each in times],
            price_e8=[int(price("btc", each).scaleb(8)) for each in times],
        ),
        strike=price("btc", start_ms),
        strike_known_ms=start_ms + TICK_LAG_MS,
        payouts=dict(zip(told.tokens, (Decimal(up_won), Decimal(not up_won)), strict=True)),
    )

"""A soak of rolling markets in virtual time: does anything grow when a mirror walks along windows for a day?

50 assets with windows of 5 and 15 minutes, the current and the next of each: 200 markets at a time, 19,000 in a day.
For each virtual hour one line: tasks, connections, open files, memory, and whether each next market was LIVE
before it opened. Not in the suite: a day takes some ten minutes. Run as ``python -m benchmarks.rolling [HOURS]``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import string
import sys
import time
from itertools import islice, product
from pathlib import Path
from typing import Final

from attrs import asdict, define

from polymirror import BookState, EngineConfig, Mirror, MirrorConfig, NotLive
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.settings import OracleConfig, RoundsConfig
from polymirror.simulator.virtual import VirtualVenue, run_virtual

HOUR: Final = 3_600
ASSETS: Final = tuple(islice(("".join(pair) for pair in product("mnopq", string.ascii_lowercase)), 50))
LENGTHS: Final = {"5m": 300, "15m": 900}
ROUND: Final = 300
"""Seconds between two looks at all walks: a window of theirs opens then."""

OPEN_FILES: Final = Path("/proc/self/fd")

EARLY: Final = 1.0
"""Seconds before the opening at which the next market must be LIVE."""

CONFIG: Final = MirrorConfig(seed=1, engine=EngineConfig(max_proof_age=120.0))
VENUE: Final = ExchangeConfig(
    seed=1,
    new_market_every_ms=None,
    history_ms=180_000,
    # It keeps the last 7,200 prices of each asset, which would be memory that grows for 20 hours.
    oracle=OracleConfig(tick_ms=60_000),
    rounds=RoundsConfig(
        assets=ASSETS, window_s=300, more_windows_s=(900,), keep_s=300.0, flow=FlowConfig(rate=0.02, volatility=0.001)
    ),
)


@define
class Tally:
    """What was seen since the start."""

    opened: int = 0
    late: int = 0
    granted: int = 0
    refused: int = 0
    wrong: int = 0


async def soak(hours: float) -> None:
    """Walk for so many hours of virtual time, and print a line each hour."""
    tally, exchange = Tally(), Exchange(VENUE)
    async with VirtualVenue(exchange, seed=1) as venue:
        mirror = Mirror(config=CONFIG, endpoints=venue.endpoints, network=venue.network)
        walks = [mirror.follow(asset, interval) for asset in ASSETS for interval in LENGTHS]
        async with mirror:
            await mirror.wait_live(timeout=60)
            _tell(venue.wall_ms() // 1_000, mirror, tally)
            end = venue.wall_ms() / 1_000 + hours * HOUR
            while (opens := (venue.wall_ms() // 1_000 // ROUND + 1) * ROUND) <= end:
                await asyncio.sleep(opens - EARLY - venue.wall_ms() / 1_000)
                for walk in walks:
                    coming = walk.next
                    if coming.window_start == opens:
                        tally.opened += 1
                        tally.late += not all(_is_live(mirror, token) for token in coming.token_ids)
                await asyncio.sleep(opens + EARLY - venue.wall_ms() / 1_000)
                for walk in walks:
                    for token in walk.current.token_ids:
                        _read(mirror, exchange, token, tally)
                _forget_rounds(exchange)
                if opens % HOUR == 0:
                    _tell(opens, mirror, tally)


def _is_live(mirror: Mirror, token: str) -> bool:
    return mirror.peek(token).state is BookState.LIVE


def _read(mirror: Mirror, exchange: Exchange, token: str, tally: Tally) -> None:
    try:
        view = mirror.live(token)
    except NotLive:
        tally.refused += 1
        return
    tally.granted += 1
    since_ms = exchange.now_ms - int(view.verified_age * 1_000) - 1_000
    tally.wrong += not exchange.was_true(token, view.bids, view.asks, since_ms)


def _forget_rounds(exchange: Exchange) -> None:
    """The simulator remembers each round for bots that redeem late: not what is measured here."""
    known = exchange.rounds.known if exchange.rounds is not None else {}
    while len(known) > 6 * len(ASSETS):
        del known[next(iter(known))]


def _tell(opens: int, mirror: Mirror, tally: Tally) -> None:
    gc.collect()
    figures = {
        "markets": len(mirror.markets),
        "missing": len(mirror.missing),
        "tasks": len(asyncio.all_tasks()),
        "sockets": sum(each.is_open for each in mirror.status().sockets),
        "files": len(list(OPEN_FILES.iterdir())) if OPEN_FILES.is_dir() else None,
        "objects": len(gc.get_objects()),
        "MiB": _resident_mib(),
    } | asdict(tally)
    told = "  ".join(f"{name} {figure}" for name, figure in figures.items())
    sys.stdout.write(f"{time.strftime('%H:%M', time.gmtime(opens))}  {told}\n")
    sys.stdout.flush()


def _resident_mib() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20 if statm.exists() else 0


if __name__ == "__main__":
    HOURS = float(sys.argv[1]) if len(sys.argv) > 1 else 24.0
    run_virtual(lambda: soak(HOURS), limit=HOURS * HOUR + 1_000)

"""How fast the research bench plays, in processor time: ``python -m benchmarks.research``.

Series mode gets 10,000 made-up windows of 300 ticks in two processes. Tick replay gets one market of the simulated
exchange, and the busiest recording if it lies beside the repository. The figures of docs/research.md are from here.
"""

from __future__ import annotations

import json
import logging
import random
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from bots.common.money.sizing import SizeLimits
from bots.oracle_lag.signal import SignalSettings
from bots.research.eras import Eras
from bots.research.falsify.suite import BASE, chunks, play_chunk
from bots.research.fills import FillModel
from bots.research.series import Play
from bots.research.ticks.play import TickSettings, replay
from bots.research.ticks.recording import Recording, market_of, read_frames
from bots.research.windows import Quotes, Ticks, Window
from tests.research.recorder import record

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOWS = 10_000
TICKS = 300
SECOND_MS = 1_000
FIRST_MS = 1_781_000_100_000
BUSIEST = Path(__file__).parents[2] / "shared" / "corpus" / "ws" / "btc5m_dense_20260421.jsonl"


def windows(seed: int = 1) -> Iterator[Window]:
    """Make windows whose tokens follow the oracle at once."""
    rng, eras, price = random.Random(seed), Eras(), 60_000.0  # noqa: S311 - repeatable
    for number in range(WINDOWS):
        start = FIRST_MS + number * TICKS * SECOND_MS
        at = range(start, start + TICKS * SECOND_MS, SECOND_MS)
        prices = []
        for _ in at:
            price += rng.gauss(0, 4)
            prices.append(price)
        asks = [min(max(int(5_000 + (each - prices[0]) * 8), 100), 9_900) for each in prices]
        up = Quotes(received_ms=[each + 700 for each in at], bid_e4=[each - 100 for each in asks], ask_e4=asks)
        yield Window(
            source="made up",
            asset="btc",
            start_ms=start,
            end_ms=start + TICKS * SECOND_MS,
            rules=eras.rules("5m", start),
            oracle=Ticks(
                at_ms=at, received_ms=[each + 1_500 for each in at], price_e8=[int(each * 1e8) for each in prices]
            ),
            up=up,
            down=up.complement(),
            strike_e8=int(prices[0] * 1e8),
            strike_known_ms=start + 1_500,
            up_won=prices[-1] >= prices[0],
        )


def series() -> str:
    """Play all windows, each decision checked for a look ahead."""
    setup = Play(fills=FillModel(limit="highest"), min_left_share=Decimal(1) / 3)
    pieces = list(chunks(windows()))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = [each.result() for each in [pool.submit(play_chunk, piece, {BASE: setup}) for piece in pieces]]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    bought = sum(len(each.trades(BASE)) for each in found)
    return f"series: {WINDOWS:,} windows, {bought:,} purchases: {used.ru_utime + used.ru_stime:.1f} s in two processes"


def ticks(recording: Recording, name: str, settings: TickSettings | None = None) -> str:
    """Play one recording; the time that its frames cover counts as real time."""
    began = time.process_time()
    replay(recording, settings)
    used = time.process_time() - began
    covered = (recording.frames[-1][0] - recording.frames[0][0]) / 1000
    frames, times = len(recording.frames), covered / used
    return f"ticks: {name}, {frames:,} frames in {covered:.0f} s: {used:.2f} s, {times:,.0f} times real time"


def busiest() -> Recording:
    """Read the busy market of the recording, with an oracle that stands above the strike."""
    frames = read_frames(BUSIEST)
    changes = [json.loads(text) for _, text in frames if "price_changes" in text]
    names = [each["market"] for each in changes]
    market = max(set(names), key=names.count)
    tokens = sorted({each["asset_id"] for row in changes if row["market"] == market for each in row["price_changes"]})
    start = frames[0][0] // 300_000 * 300
    rules = Eras().rules("5m", start * 1000)
    described, window = market_of(
        slug=f"btc-updown-5m-{start}", condition_id=market, up=tokens[0], down=tokens[1], fee=rules.fee
    )
    at = range(frames[0][0] // 1000 * 1000, frames[-1][0], SECOND_MS)
    return Recording(
        market=described,
        window=window,
        rules=rules,
        frames=tuple(each for each in frames if market in each[1]),
        oracle=Ticks(at_ms=at, received_ms=[each + 1_500 for each in at], price_e8=[6_010_000_000_000] * len(at)),
        strike=Decimal(60_000),
    )


def main() -> None:
    """Print the figures."""
    logging.disable(logging.CRITICAL)
    print(series())  # noqa: T201 - that is what it is for
    print(ticks(record(1), "a simulated market"))  # noqa: T201 - as above
    if BUSIEST.is_file():
        eager = TickSettings(
            signal=SignalSettings(price="spot", min_left=0, max_price=Decimal("0.99")),
            size=SizeLimits(max_price=Decimal("0.98"), min_edge=Decimal(0)),
        )
        print(ticks(busiest(), "the busiest recording", eager))  # noqa: T201 - as above


if __name__ == "__main__":
    main()

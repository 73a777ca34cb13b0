"""How fast the research bench plays, in processor time: ``python -m benchmarks.research``.

Series mode gets 10,000 made-up windows of 300 ticks in two processes: the bot as it is, each purchase looked at again
without its future, and with ``--suite`` all variants of the tests. Tick replay gets one market of the simulated
exchange, and the busiest market of each recording that lies beside the repository. The figures of docs/research.md are
from here.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from bots.common.money.sizing import SizeLimits
from bots.oracle_lag.signal import SignalSettings
from bots.research.eras import Eras
from bots.research.falsify.plays import BASE, chunks, play_chunk, plays_of
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
PAIR = 2
WS = Path(__file__).parents[2] / "shared" / "corpus" / "ws"
BUSIEST = WS / "btc5m_dense_20260421.jsonl"


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


def series(*, suite: bool) -> str:
    """Play all windows, each decision of the bot as it is checked for a look ahead. Making them is not counted."""
    setup = Play(fills=FillModel(limit="highest"), min_left_share=Decimal(1) / 3)
    plays = plays_of(setup) if suite else {BASE: setup}
    pieces = list(chunks(windows()))
    began, before = time.perf_counter(), _used()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = [each.result() for each in [pool.submit(play_chunk, piece, plays) for piece in pieces]]
    passed, used = time.perf_counter() - began, _used() - before
    bought = sum(len(each.trades(BASE)) for each in found)
    what = f"{WINDOWS:,} windows, {len(plays)} variants, {bought:,} purchases of the first"
    return f"series: {what}: {used:.1f} s of all processes, {passed:.1f} s on the clock"


def _used() -> float:
    """Return the processor time of this process and those that it started and saw end, in seconds."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in each)


def ticks(recording: Recording, name: str, settings: TickSettings | None = None) -> str:
    """Play one recording three times; the time that its frames cover counts as real time, and the quickest play."""
    took = []
    for _ in range(3):
        began = time.process_time()
        replay(recording, settings)
        took.append(time.process_time() - began)
    covered = (recording.frames[-1][0] - recording.frames[0][0]) / 1000
    frames, used = len(recording.frames), min(took)
    what = f"{frames:,} frames in {covered:.1f} s ({frames / covered:.1f} a second)"
    return f"ticks: {name}, {what}: {used:.3f} s, {covered / used:,.0f} times real time"


def busiest(path: Path) -> Recording:
    """Read the busiest market of a recording, with an oracle that stands above the strike."""
    names: Counter[str] = Counter()
    tokens: dict[str, set[str]] = defaultdict(set)
    for _, text in read_frames(path):
        content = json.loads(text)
        for each in content if isinstance(content, list) else [content]:
            if market := each.get("market"):
                names[market] += 1
                told = [row["asset_id"] for row in each.get("price_changes", [each]) if "asset_id" in row]
                tokens[market].update(told)
    market = next(name for name, _ in names.most_common() if 1 <= len(tokens[name]) <= PAIR)
    frames = read_frames(path, market)
    interval, seconds = ("15m", 900) if "15m" in path.name else ("5m", 300)
    start = frames[0][0] // (seconds * 1000) * seconds
    rules = Eras().rules(interval, start * 1000)
    # Where one token of the two was recorded, the other is one of which nobody tells.
    up, down = sorted(tokens[market] if len(tokens[market]) == PAIR else {*tokens[market], "1"})
    slug = f"btc-updown-{interval}-{start}"
    described, window = market_of(slug=slug, condition_id=market, up=up, down=down, fee=rules.fee)
    at = range(frames[0][0] // 1000 * 1000, frames[-1][0], SECOND_MS)
    return Recording(
        market=described,
        window=window,
        rules=rules,
        frames=frames,
        oracle=Ticks(at_ms=at, received_ms=[each + 1_500 for each in at], price_e8=[6_010_000_000_000] * len(at)),
        strike=Decimal(60_000),
    )


def recordings() -> list[Path]:
    """Return the recordings of the market channel beside the repository, except for those of less than a second."""
    return sorted(path for path in WS.rglob("*") if path.suffix in {".jsonl", ".parquet"} and "golden" not in path.name)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.research")
    parser.add_argument("--suite", action="store_true", help="play all variants of the tests, too: some minutes")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    for suite in (False, True)[: 1 + options.suite]:
        print(series(suite=suite), flush=True)  # noqa: T201 - that is what it is for
    print(ticks(record(1), "a simulated market"), flush=True)  # noqa: T201 - as above
    eager = TickSettings(
        signal=SignalSettings(price="spot", min_left=0, max_price=Decimal("0.99")),
        size=SizeLimits(max_price=Decimal("0.98"), min_edge=Decimal(0)),
    )
    for path in recordings():
        print(ticks(busiest(path), path.name, eager), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()

"""From a price to a decision, on the real loop with a real disk: ``python -m benchmarks.decisions [SECONDS]``.

The oracle-lag bot trades on paper against ``polymirror serve`` in a process of its own: four assets in windows of five
minutes, with all their books. What is measured is the time from the moment in which a price came out of its socket to
the end of the decision about it: reading it, waiting for the loop, strike, fair value, the proven book, the size and
the risk. Meanwhile another task has the ledger write and sync a row every hundredth of a second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from attrs import evolve

from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import run as run_bot
from bots.updown.rounds import RoundSettings
from bots.updown.worker import AssetWorker
from polymirror.config import Endpoints

if TYPE_CHECKING:
    from bots.updown.rounds import Round

USUAL = 120.0
ASSETS = ("btc", "eth", "sol", "xrp")
LEAST = 100
PAUSE = 0.01
"""Seconds between two of the rows that are written meanwhile: far more than a bot writes."""


class Watch:
    """Stands in for a worker's decision, takes its time, and keeps the ledger busy."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self.verdicts: dict[str, int] = {}
        self.rows = 0
        self._decide = AssetWorker._consider  # noqa: SLF001 - what is measured
        self._seen: set[tuple[str, int]] = set()
        self._writer: asyncio.Task[None] | None = None

    def consider(self, worker: Any, each: Round) -> str:
        """Decide as ever, and note how long ago the price came if it is the first decision about it."""
        if self._writer is None:
            self._writer = asyncio.ensure_future(self._write(worker._manager.ledger))  # noqa: SLF001 - the bot's own
        quiet: str = self._decide(worker, each)
        now = time.monotonic()
        tick = worker._oracle.buffer.latest(worker.asset, worker._strategy.kind)  # noqa: SLF001 - what it rested on
        if tick is not None and (each.slug, tick.at_ms) not in self._seen:
            self._seen.add((each.slug, tick.at_ms))
            self.spent.append(now - tick.received_at)
            self.verdicts[quiet or "signal"] = self.verdicts.get(quiet or "signal", 0) + 1
        return quiet

    async def _write(self, ledger: Any) -> None:
        while True:
            ledger.note_difference("measurement", "", "", Decimal(0), Decimal(0), "")
            await ledger.flush()
            self.rows += 1
            await asyncio.sleep(PAUSE)


async def measure(seconds: float, folder: Path) -> Watch:
    """Run venue and bot for so long."""
    assets = [word for asset in ASSETS for word in ("--asset", asset)]
    serve = ("-m", "polymirror", "serve", "--rounds", "5m", "--json", "--seconds", str(seconds + 60), *assets)
    watch = Watch()
    venue = await asyncio.create_subprocess_exec(sys.executable, *serve, stdout=subprocess.PIPE, limit=2**24)
    try:
        assert venue.stdout is not None  # noqa: S101 - it was asked for
        where = json.loads(await venue.stdout.readline())
        usual = BotSettings()
        endpoints = Endpoints(stream=where["stream"], clob=where["clob"], gamma=where["gamma"])
        settings = evolve(
            usual,
            assets=ASSETS,
            folder=folder,
            signal=evolve(usual.signal, min_left=10),
            rounds=RoundSettings(intervals=("5m",)),
            oracle=evolve(usual.oracle, source="rtds", url=where["rtds"]),
            mirror=evolve(usual.mirror, endpoints=endpoints),
        )

        def consider(worker: AssetWorker, each: Round) -> str:
            return watch.consider(worker, each)

        with patch.object(AssetWorker, "_consider", consider), suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await run_bot(settings, for_real=False, tell=lambda _: None, geoblock=where["geoblock"])
    finally:
        venue.terminate()
        await venue.wait()
    return watch


def main() -> int:
    """Print what was seen."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else USUAL
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="decisions-") as folder:
        watch = asyncio.run(measure(seconds, Path(folder)))
    if len(watch.spent) < LEAST:
        sys.stderr.write(f"{len(watch.spent)} decisions are too few: is something wrong with the venue or the bot?\n")
        return 1
    cuts = quantiles(watch.spent, n=1_000)
    sys.stdout.write(
        f"{len(watch.spent)} prices decided on, {watch.rows / seconds:,.0f} rows a second synced meanwhile\n"
        f"from price to decision: median {1e3 * cuts[499]:.3f} ms, p99 {1e3 * cuts[989]:.3f} ms, "
        f"longest {1e3 * max(watch.spent):.3f} ms\n"
        f"what was decided: {', '.join(f'{word} {count}' for word, count in sorted(watch.verdicts.items()))}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

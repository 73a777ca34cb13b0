"""The fills of the paper account beside those of hftbacktest, on the same frames: ``python -m benchmarks.fills``.

A mirror hears the busiest recording in virtual time and keeps a journal, while purchases of several sizes are made on
paper. The journal is then exported for hftbacktest, which is asked for as many shares at the same instants: once with
the way to the venue shortened by the recording's lag, so that both look at the same book, and once without. Orders
leave half a millisecond after a whole one, so that no change falls on an order's own instant. Neither takes away what
it bought. Needs the recordings beside the repository, and ``pip install hftbacktest``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from benchmarks.research import BUSIEST, busiest
from bots.common.execution.paper import PaperConfig, PaperExecutor
from bots.common.orders.order import Order, TimeInForce
from bots.research.ticks.recording import LAG_MS
from bots.research.ticks.venue import RecordedVenue
from polymirror.config import MirrorConfig
from polymirror.errors import NotLive
from polymirror.gate import Gate
from polymirror.journal.export.hftbacktest import write_hftbacktest
from polymirror.journal.export.rows import rows_of
from polymirror.journal.replay import Replay
from polymirror.mirror import Mirror
from polymirror.simulator.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bots.research.ticks.recording import Recording

EVERY_MS: Final = 250
WARM_MS: Final = 10_000
HALF_MS: Final = 500_000
"""In nanoseconds."""

MONEY: Final = ("5", "100", "1000", "5000")
LATENCY_MS: Final = 200
"""The way to the venue, with the taker delay."""

LIMIT: Final = Decimal("0.99")
TICK: Final = Decimal("0.01")
CASH: Final = Decimal(1_000_000)
NS_PER_MS: Final = 1_000_000
SLACK: Final = 1e-5
"""Shares, and pUSD, by which a sum of floats may be off."""

FILLED: Final = 3
"""Its status of an order that traded all it asked for."""

Level = tuple[Decimal, Decimal]
"""A price in pUSD and shares."""


@frozen
class Bought:
    """What was bought on paper, level by level. Without levels, ``why`` not."""

    at_ms: int
    money: str
    levels: tuple[Level, ...]
    why: str = ""

    @property
    def shares(self) -> Decimal:
        """All that was bought; where nothing was, about as much as the money would buy."""
        return sum((shares for _, shares in self.levels), Decimal(0)) or Decimal(self.money)


@frozen
class Theirs:
    """What hftbacktest says of an order: whether all of it traded, its last fill, and the shares that it booked."""

    is_filled: bool
    price: float
    shares: float
    booked: float

    def agrees(self, ours: Bought) -> bool:
        """Whether the same was bought: all of it, and as much of the last level, hence as much before that."""
        if not ours.levels or not self.is_filled:
            return not ours.levels and not self.is_filled
        price, shares = ours.levels[-1]
        return abs(self.price - float(price)) < SLACK and abs(self.shares - float(shares)) < SLACK


def on_paper(recording: Recording, token: str, journal: Path) -> list[Bought]:
    """Buy at each instant with each sum of money, and record the mirror that is bought from."""
    first, last = recording.frames[0][0], recording.frames[-1][0]

    async def run() -> list[Bought]:
        venue = RecordedVenue(recording.frames)
        loop: Any = asyncio.get_running_loop()
        config = MirrorConfig(endpoints=venue.endpoints, seed=0)
        found: list[Bought] = []
        async with Mirror([recording.market], config=config, network=venue.network, journal=journal) as mirror:
            paper = PaperConfig(cash=CASH, latency_ms=LATENCY_MS, taker_delay_ms=0)
            executor, gate = PaperExecutor(mirror, venue.network, paper), Gate(mirror)
            for at_ms in range(first, last - LATENCY_MS, EVERY_MS):
                await asyncio.sleep(loop.when(at_ms) + HALF_MS / 1e9 - loop.time())
                found += await asyncio.gather(*[_buy(recording, token, gate, executor, at_ms, each) for each in MONEY])
        return found

    return run_virtual(run, start_ms=first - WARM_MS)


async def _buy(recording: Recording, token: str, gate: Gate, executor: PaperExecutor, at_ms: int, money: str) -> Bought:
    order = Order.buy(
        client_id=f"{at_ms}-{money}",
        market=recording.market.condition_id,
        token=token,
        price=LIMIT,
        money=Decimal(money),
        tick=TICK,
        created_ms=at_ms,
        fee=recording.rules.fee,
        tif=TimeInForce.FAK,
        neg_risk=False,
        taker_delay=False,
    )
    try:
        async with gate.lease(token, max_proof_age=2.0) as lease:
            result = await executor.submit(order, lease)
    except NotLive as error:
        return Bought(at_ms, money, (), f"the book is {error.state.name}")
    fills = [each for each in await executor.trades(0) if each.order_id == result.order_id]
    return Bought(at_ms, money, tuple((each.price, each.shares) for each in fills), result.detail)


def events_of(journal: Path, token: str, folder: Path) -> Any:
    """Export a journal, and return the events of a token as hftbacktest reads them."""
    write_hftbacktest((row for row in rows_of(Replay(journal)) if row.token == token), folder)
    with importlib.import_module("numpy").load(folder / f"{token}.npz") as held:
        return held["data"]


def by_hftbacktest(events: Any, asked: Sequence[Bought], way_ms: int) -> list[Theirs]:
    """Ask hftbacktest for as many shares at the same instants."""
    library = importlib.import_module("hftbacktest")
    kinds = importlib.import_module("hftbacktest.order")
    # One run for each size: waiting for an answer takes the time of the way, and the next order would leave late.
    found: dict[Bought, Theirs] = {}
    for money in MONEY:
        asset = library.BacktestAsset().data([events]).linear_asset(1.0).trading_value_fee_model(0, 0)
        asset = asset.constant_order_latency(way_ms * NS_PER_MS, 0).risk_adverse_queue_model().partial_fill_exchange()
        backtest = library.HashMapMarketDepthBacktest([asset.tick_size(float(TICK)).lot_size(1e-6)])
        # Until it is told to go on, its clock stands at no time.
        backtest.elapse(0)
        for number, each in enumerate((one for one in asked if one.money == money), start=1):
            backtest.elapse(max(0, each.at_ms * NS_PER_MS + HALF_MS - backtest.current_timestamp))
            held = backtest.position(0)
            backtest.submit_buy_order(0, number, float(LIMIT), float(each.shares), kinds.IOC, kinds.LIMIT, True)  # noqa: FBT003 - its own signature
            order = backtest.orders(0).get(number)
            booked = backtest.position(0) - held
            found[each] = Theirs(order.status == FILLED, order.exec_price, order.exec_qty, booked)
        backtest.close()
    return [found[each] for each in asked]


def told(ours: Sequence[Bought], theirs: Sequence[Theirs], *, every: bool) -> Iterator[str]:
    """Yield what is the same and what is not."""
    for money in MONEY:
        pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if one.money == money]
        same = sum(other.agrees(one) for one, other in pairs)
        levels = [len(one.levels) for one, _ in pairs if one.levels]
        bought = sum(float(one.shares) for one, _ in pairs if one.levels)
        booked = sum(other.booked for one, other in pairs if one.levels)
        yield (
            f"  {money} pUSD, {min(levels)} to {max(levels)} levels: {same} of {len(pairs)} the same; "
            f"of {bought:,.0f} shares bought its account has {booked:,.0f}"
        )
        kinds = Counter(_difference(one, other) for one, other in pairs if not other.agrees(one))
        yield from (f"    {count}: {kind}" for kind, count in kinds.items())
        if every:
            yield from (f"    {one} | {other}" for one, other in pairs)


def _difference(ours: Bought, theirs: Theirs) -> str:
    if not ours.levels:
        return f"not bought here, since {ours.why}"
    if not theirs.is_filled:
        return "bought here only"
    price = float(ours.levels[-1][0])
    return "another size at the last level" if abs(theirs.price - price) < SLACK else "another last level"


def main() -> int:
    """Print the comparison; 0 if it was made, 1 with the reason if not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fills")
    parser.add_argument("--all", action="store_true", help="print every order")
    options = parser.parse_args()
    why = ""
    if not BUSIEST.is_file():
        why = f"there is no {BUSIEST.name} beside the repository"
    elif find_spec("hftbacktest") is None:
        why = "hftbacktest is not installed: pip install hftbacktest"
    if why:
        print(f"not compared: {why}", file=sys.stderr)  # noqa: T201 - that is what it is for
        return 1
    logging.disable(logging.CRITICAL)
    recording = busiest(BUSIEST)
    with tempfile.TemporaryDirectory() as folder:
        token, journal = recording.market.token_ids[0], Path(folder, "journal")
        ours = on_paper(recording, token, journal)
        events = events_of(journal, token, Path(folder, "events"))
    print(f"{len(ours)} purchases, {len(events)} events")  # noqa: T201 - as above
    by_hftbacktest(events, ours, LATENCY_MS)  # its parts are compiled at the first call
    for title, way_ms in (("the same book", LATENCY_MS - LAG_MS), ("its own clock of the venue", LATENCY_MS)):
        began = time.process_time()
        theirs = by_hftbacktest(events, ours, way_ms)
        took = (time.process_time() - began) / len(MONEY)
        print(f"{title}, {way_ms} ms to the venue, {took * 1000:.1f} ms for all events:")  # noqa: T201 - as above
        for line in told(ours, theirs, every=options.all):
            print(line)  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main())

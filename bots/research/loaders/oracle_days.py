"""Whole days of an oracle with the receive time of each tick, and the windows that it settled; no token prices.

Layout ``oracle_days``: pairs ``*-prices-DAY.csv.gz`` (``feed_ts_ms, full_accuracy_value, recv_ms``) and
``*-markets-DAY.jsonl.gz`` (``slug, start_sec, end_sec, strike_value, outcome_prices, raw``). They say how often a
signal was right, and nothing about what it would have cost.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bots.research.loaders.tables import DataError, rows
from bots.research.windows import Ticks, Window, strike_from
from polymirror.core.fees import FeeSchedule

if TYPE_CHECKING:
    from pathlib import Path

    from bots.research.eras import Eras

E18_TO_E8: Final = 10**10

BEFORE_MS: Final = 7_200_000
"""Of the ticks before a window so many are kept with it, for how far the asset wanders."""

LATEST_S: Final = 20
"""When the venue tells its strike, after the opening: where no tick at the boundary was received."""


def load(path: Path, eras: Eras, source: str) -> list[Window]:
    """Read a folder of such pairs. Raises DataError."""
    windows: list[Window] = []
    found = sorted(path.glob("*-markets-*.jsonl.gz"))
    if not found:
        raise DataError(f"{path.name}: has no *-markets-DAY.jsonl.gz")
    for markets in found:
        day = markets.name.removesuffix(".jsonl.gz").partition("-markets-")[2]
        prices = sorted(path.glob(f"*-prices-{day}.csv.gz"))
        if not prices:
            raise DataError(f"{markets.name}: has no *-prices-{day}.csv.gz beside it")
        ticks = _ticks(prices[0])
        names = ("asset", "interval_sec", "start_sec", "end_sec", "strike_value", "outcome_prices", "raw")
        windows += [_window(row, ticks, eras, source) for row in rows(markets, names)]
    return sorted(windows, key=lambda each: each.start_ms)


def _ticks(path: Path) -> Ticks:
    found = sorted(
        (int(row["recv_ms"]), int(row["feed_ts_ms"]), int(row["full_accuracy_value"]) // E18_TO_E8)
        for row in rows(path, ("feed_ts_ms", "full_accuracy_value", "recv_ms"))
    )
    received, at, price = zip(*found, strict=True) if found else ((), (), ())
    return Ticks(at_ms=at, received_ms=received, price_e8=price)


def _window(row: dict[str, Any], ticks: Ticks, eras: Eras, source: str) -> Window:
    start, end = int(row["start_sec"]) * 1000, int(row["end_sec"]) * 1000
    first, last = bisect_left(ticks.received_ms, start - BEFORE_MS), bisect_right(ticks.received_ms, end)
    near = Ticks(
        at_ms=ticks.at_ms[first:last], received_ms=ticks.received_ms[first:last], price_e8=ticks.price_e8[first:last]
    )
    seen = strike_from(near, start)
    terms = row["raw"].get("feeSchedule")
    fee = None if not terms else FeeSchedule(Decimal(str(terms["rate"])), int(terms["exponent"]))
    pays = [str(each) for each in row["outcome_prices"]]
    return Window(
        source=source,
        asset=str(row["asset"]),
        start_ms=start,
        end_ms=end,
        rules=eras.rules(f"{int(row['interval_sec']) // 60}m", start, fee),
        oracle=near,
        strike_e8=int(row["strike_value"]) // E18_TO_E8 if row["strike_value"] else None,
        strike_known_ms=start + LATEST_S * 1000 if seen is None else max(start, seen[1]),
        up_won={"1": True, "0": False}.get(pays[0]) if len(set(pays)) > 1 else None,
    )

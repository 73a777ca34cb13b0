"""Both best prices, sampled every second or every few: two layouts of CSV.

``bbo``: ``timestamp_ms, call_bid, call_ask, put_bid, put_ask, seconds_to_expiry``, one file a window, no oracle; the
first seconds still show the window before and are left out. ``oracle_bbo``: ``Timestamp, ..._Price_Stream, Best_Bid,
Best_Ask, Slug`` of the Up token beside the oracle's price. Neither tells the winner: it is read off the last prices
of the token, else of the oracle, and is not known where those are not clear.
"""

from __future__ import annotations

import math
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from bots.research.loaders.tables import DataError, columns_of, rows
from bots.research.windows import ONE_E4, Quotes, Ticks, Window, e4, e8, strike_from

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bots.research.eras import Eras

SETTLING_MS: Final = 10_000
"""At the beginning of a file of ``bbo`` the recorder still shows the window before."""

QUARTER_MS: Final = 900_000
CLEAR_E4: Final = 9_000
"""A last mid price above this names the winner, one below its complement the other."""

LAST_MS: Final = 30_000
"""The last price must be from so shortly before the end."""

BOUNDARY_MS: Final = 5_000
"""Sampled every 4.7 s: the opening price is the sample nearest to the opening, if it is no further."""


def load_bbo(path: Path, eras: Eras, source: str) -> list[Window]:
    """Read a folder of one file a window. Raises DataError."""
    names = ("timestamp_ms", "call_bid", "call_ask", "put_bid", "put_ask")
    windows = []
    for file in _files(path):
        found = list(rows(file, names))
        if not found:
            continue
        start = int(found[len(found) // 2]["timestamp_ms"]) // QUARTER_MS * QUARTER_MS
        kept = [row for row in found if start + SETTLING_MS <= int(row["timestamp_ms"]) < start + QUARTER_MS]
        times = [int(row["timestamp_ms"]) for row in kept]
        up, down = (
            Quotes(
                received_ms=times,
                bid_e4=[e4(row[f"{side}_bid"]) for row in kept],
                ask_e4=[_ask(row[f"{side}_ask"]) for row in kept],
            )
            for side in ("call", "put")
        )
        windows.append(
            Window(
                source=source,
                asset="btc",
                start_ms=start,
                end_ms=start + QUARTER_MS,
                rules=eras.rules("15m", start),
                oracle=Ticks(at_ms=(), received_ms=(), price_e8=()),
                oracle_name="none",
                up=up,
                down=down,
                up_won=winner(up, start + QUARTER_MS),
            )
        )
    return windows


def load_oracle_bbo(path: Path, eras: Eras, source: str) -> list[Window]:
    """Read a folder of files with several windows each. Raises DataError."""
    windows: list[Window] = []
    for file in _files(path):
        price = next((name for name in columns_of(file) if name.endswith("Price_Stream")), "Price_Stream")
        found = sorted(rows(file, ("Timestamp", price, "Best_Bid", "Best_Ask", "Slug")), key=_time)
        told = [row for row in found if _is_number(row[price])]
        times = [_time(row) for row in told]
        ticks = Ticks(at_ms=times, received_ms=times, price_e8=[e8(row[price]) for row in told])
        for slug, group in groupby(found, key=lambda row: str(row["Slug"])):
            windows += _window(slug, [row for row in group if _is_number(row["Best_Ask"])], ticks, eras, source)
    return windows


def winner(up: Quotes, end_ms: int) -> bool | None:
    """Read the winner off the last mid price. ``None``: it is not clear, or from too long before the end."""
    last = up.newest(end_ms)
    if last is None or up.received_ms[last] < end_ms - LAST_MS:
        return None
    mid = (up.bid_e4[last] + (up.ask_e4[last] or ONE_E4)) / 2
    return True if mid > CLEAR_E4 else False if mid < ONE_E4 - CLEAR_E4 else None


def _window(slug: str, found: list[dict[str, Any]], ticks: Ticks, eras: Eras, source: str) -> Iterator[Window]:
    asset, _, interval, begin = slug.split("-")
    start = int(begin) * 1000
    end = start + int(interval.removesuffix("m")) * 60_000
    if not found:
        return
    times = [_time(row) for row in found]
    up = Quotes(
        received_ms=times,
        bid_e4=[e4(row["Best_Bid"]) for row in found],
        ask_e4=[_ask(row["Best_Ask"]) for row in found],
    )
    strike, after = strike_from(ticks, start, BOUNDARY_MS), strike_from(ticks, end, BOUNDARY_MS)
    won = winner(up, end)
    if won is None and strike is not None and after is not None and strike[0] != after[0]:
        # The price that ends one window opens the next.
        won = after[0] > strike[0]
    yield Window(
        source=source,
        asset=asset,
        start_ms=start,
        end_ms=end,
        rules=eras.rules(interval, start),
        oracle=ticks.until(end),
        up=up,
        down=up.complement(),
        strike_e8=None if strike is None else strike[0],
        strike_known_ms=start if strike is None else max(start, strike[1]),
        up_won=won,
    )


def _files(path: Path) -> list[Path]:
    found = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{path.name}: has no .csv")
    return found


def _time(row: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(row["Timestamp"]).timestamp() * 1000)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _ask(text: str) -> int:
    """Return the price; nobody sells at 1."""
    price = e4(text)
    return 0 if price >= ONE_E4 else price

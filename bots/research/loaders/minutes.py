"""One price a minute: markets, Binance candles and the venue's price history, as JSON files in two folders.

Layout ``minutes``: ``polymarket/markets_*.json``, ``polymarket/prices_*.json`` (one token each, mid prices), and
``binance/*_1m_*.json``. The candle's opening price counts as the oracle's tick at the minute, for the strike and the
end alike: Binance is not the oracle that settles, and its distance to it would look like a move. Outcomes are
therefore Binance's, too. No receive times: a price counts from its own time.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from bots.research.loaders.tables import DataError, document
from bots.research.windows import QuoteKind, Quotes, Ticks, Window, e4, e8

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bots.research.eras import Eras

MINUTE_MS: Final = 60_000
BEFORE_MS: Final = 7_200_000
"""Of the prices before a window so much is kept with it, for how far the asset wanders."""


def load(path: Path, eras: Eras, source: str) -> list[Window]:
    """Read a folder. Raises DataError."""
    candles = _candles(path)
    prices = dict(_prices(path))
    windows = []
    for market in _markets(path):
        start, end = int(market["startTime"]), int(market["endTime"])
        tokens = [str(token) for token in market["tokenIds"]]
        by_side = [prices.get(token) for token in tokens]
        first, last = candles.get(start), candles.get(end - MINUTE_MS)
        if first is None or last is None or not any(by_side):
            continue
        up, down = by_side
        known = [at for at in range(start - BEFORE_MS, end, MINUTE_MS) if at in candles]
        strike = e8(first["open"])
        asset, interval = str(market["slug"]).split("-")[0], str(market["slug"]).split("-")[2]
        windows.append(
            Window(
                source=source,
                asset=asset,
                start_ms=start,
                end_ms=end,
                rules=eras.rules(interval, start),
                oracle=Ticks(at_ms=known, received_ms=known, price_e8=[e8(candles[at]["open"]) for at in known]),
                oracle_name="Binance",
                receives=False,
                up=up or (down.complement() if down else None),
                down=down or (up.complement() if up else None),
                strike_e8=strike,
                strike_known_ms=start,
                up_won=e8(last["close"]) >= strike,
            )
        )
    return windows


def _of(path: Path, pattern: str) -> Iterator[Any]:
    found = sorted(path.glob(pattern))
    if not found:
        raise DataError(f"{path.name}: has no {pattern}")
    for each in found:
        content = document(each)
        if not isinstance(content, dict) or not isinstance(content.get("data"), list):
            raise DataError(f"{each.name}: lacks the list 'data'")
        yield content


def _candles(path: Path) -> dict[int, dict[str, Any]]:
    return {int(row["timestamp"]): row for each in _of(path, "binance/*_1m_*.json") for row in each["data"]}


def _markets(path: Path) -> list[dict[str, Any]]:
    rows = chain.from_iterable(each["data"] for each in _of(path, "polymarket/markets_*.json"))
    return sorted({str(row["slug"]): row for row in rows}.values(), key=lambda row: int(row["startTime"]))


def _prices(path: Path) -> Iterator[tuple[str, Quotes]]:
    for each in _of(path, "polymarket/prices_*.json"):
        rows = sorted((int(row["timestamp"]), e4(row["price"])) for row in each["data"])
        mids = [price for _, price in rows]
        times = [at for at, _ in rows]
        yield (
            str(each["metadata"]["tokenId"]),
            Quotes(received_ms=times, bid_e4=mids, ask_e4=mids, kind=QuoteKind.PRINT),
        )

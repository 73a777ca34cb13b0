"""A few looks at both books before the end of a 5 minute window, with spot and winner: two layouts of JSON lines.

``ladder``: seven looks from 120 to 10 seconds before the end, with the best prices of both tokens and the shares at
them. The spot price is of an exchange, and so is the opening price. ``mids``: one pair of mid prices about 54 s before
the end, no oracle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bots.research.loaders.tables import DataError, rows
from bots.research.windows import QuoteKind, Quotes, Ticks, Window, e4, e6, e8

if TYPE_CHECKING:
    from pathlib import Path

    from bots.research.eras import Eras

LENGTH_MS: Final = 300_000
NO_TICKS: Final = Ticks(at_ms=(), received_ms=(), price_e8=())


def load_ladder(path: Path, eras: Eras, source: str) -> list[Window]:
    """Read the looks. Raises DataError."""
    windows = []
    for row in rows(path, ("window_ts", "open_px", "samples", "winner")):
        try:
            windows.append(_ladder(row, eras, source))
        except (KeyError, TypeError, ArithmeticError) as error:
            raise DataError(f"{path.name}, window {row['window_ts']}: lacks {error}") from None
    return sorted(windows, key=lambda each: each.start_ms)


def _ladder(row: dict[str, Any], eras: Eras, source: str) -> Window:
    start = int(row["window_ts"]) * 1000
    end = start + LENGTH_MS
    looks = sorted(row["samples"], key=lambda each: each["t"])
    looks = [each for each in looks if each["spot"] and each["up"] and each["down"]]
    times = [end + int(each["t"] * 1000) for each in looks]
    up, down = (
        Quotes(
            received_ms=times,
            bid_e4=[e4(each[side]["bid"] or 0) for each in looks],
            ask_e4=[e4(each[side]["ask"] or 0) for each in looks],
            ask_size_e6=[e6(each[side]["ask_depth"] or 0) for each in looks],
        )
        for side in ("up", "down")
    )
    return Window(
        source=source,
        asset="btc",
        start_ms=start,
        end_ms=end,
        rules=eras.rules("5m", start),
        oracle=Ticks(at_ms=times, received_ms=times, price_e8=[e8(each["spot"]) for each in looks]),
        oracle_name="an exchange's spot price",
        up=up,
        down=down,
        strike_e8=e8(row["open_px"]) if row["open_px"] else None,
        strike_known_ms=start,
        up_won={"UP": True, "DOWN": False}.get(row["winner"]),
    )


def load_mids(path: Path, eras: Eras, source: str) -> list[Window]:
    """Read the pairs of mid prices. Raises DataError."""
    windows = []
    for row in rows(path, ("ts", "up_mid", "dn_mid", "up_lag", "winner")):
        if row["up_mid"] is None or row["dn_mid"] is None:
            continue
        start = int(row["ts"]) * 1000
        at = [start + LENGTH_MS - int(row["up_lag"]) * 1000]
        up, down = (
            Quotes(received_ms=at, bid_e4=[e4(row[name])], ask_e4=[e4(row[name])], kind=QuoteKind.PRINT)
            for name in ("up_mid", "dn_mid")
        )
        windows.append(
            Window(
                source=source,
                asset="btc",
                start_ms=start,
                end_ms=start + LENGTH_MS,
                rules=eras.rules("5m", start),
                oracle=NO_TICKS,
                oracle_name="none",
                receives=False,
                up=up,
                down=down,
                up_won={"UP": True, "DOWN": False}.get(row["winner"]),
            )
        )
    return sorted(windows, key=lambda each: each.start_ms)

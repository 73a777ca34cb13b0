"""The layout for anybody's own file: one row for each sample, in CSV, JSON lines, Parquet or SQLite.

Layout ``table``. Columns: ``slug``, ``received_ms`` (when the row was received), ``oracle_price`` (dollars; empty: no
new price), ``up_bid``, ``up_ask``, ``down_bid``, ``down_ask`` (pUSD; empty: that side is empty). A file may have
``oracle_ms`` (the oracle's own time), ``up_ask_size``, ``down_ask_size`` (shares), ``strike`` and ``outcome`` (up,
down) as well. Other names are given with ``columns``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from bots.research.loaders.sampled import winner
from bots.research.loaders.tables import DataError, columns_of, require, rows
from bots.research.windows import ONE_E4, Quotes, Ticks, Window, e4, e6, e8, strike_from
from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bots.research.eras import Eras

NEEDED: Final = ("slug", "received_ms", "oracle_price", "up_bid", "up_ask", "down_bid", "down_ask")
OPTIONAL: Final = ("oracle_ms", "up_ask_size", "down_ask_size", "strike", "outcome")

BOUNDARY_MS: Final = 2_000
"""The opening price is the tick nearest to the opening, if it is no further."""


def load(
    path: Path, eras: Eras, source: str, columns: Mapping[str, str] | None = None, table: str = ""
) -> list[Window]:
    """Read the file. ``columns`` maps our names to the file's. Raises DataError."""
    names = dict(columns or {})
    if unknown := sorted(set(names) - {*NEEDED, *OPTIONAL}):
        raise DataError(f"{path.name}: columns names {', '.join(unknown)}; ours are {', '.join((*NEEDED, *OPTIONAL))}")
    there = columns_of(path, table)
    require(path, there, [names.get(each, each) for each in NEEDED])
    used = {each: names.get(each, each) for each in (*NEEDED, *OPTIONAL) if names.get(each, each) in there}
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows(path, tuple(used.values()), table):
        groups[str(row[used["slug"]])].append({ours: row[theirs] for ours, theirs in used.items()})
    try:
        return sorted(
            (_window(slug, found, eras, source) for slug, found in groups.items()), key=lambda each: each.start_ms
        )
    except (ValueError, ArithmeticError, IndexError) as error:
        raise DataError(f"{path.name}: a row cannot be read ({type(error).__name__}: {error})") from None


def _window(slug: str, found: list[dict[str, Any]], eras: Eras, source: str) -> Window:
    asset, _, interval, begin = slug.split("-")
    start = int(begin) * 1000
    end = start + int(interval.removesuffix("m")) * 60_000
    found.sort(key=lambda row: int(row["received_ms"]))
    rules = eras.rules(interval, start)
    times = [int(row["received_ms"]) for row in found]
    told = [row for row in found if row["oracle_price"] not in {None, ""}]
    ticks = Ticks(
        at_ms=[int(row.get("oracle_ms") or row["received_ms"]) for row in told],
        received_ms=[int(row["received_ms"]) for row in told],
        price_e8=[e8(row["oracle_price"]) for row in told],
    )
    up, down = (_quotes(found, times, side) for side in ("up", "down"))
    strike = strike_from(ticks, start, BOUNDARY_MS)
    stated = next((row["strike"] for row in found if row.get("strike") not in {None, ""}), None)
    outcome = next((str(row["outcome"]).lower() for row in found if row.get("outcome")), "")
    return Window(
        source=source,
        asset=asset,
        start_ms=start,
        end_ms=end,
        rules=rules,
        oracle=ticks,
        oracle_kind=TickKind.SPOT if rules.settlement == "spot" else TickKind.TWAP60,
        receives="oracle_ms" in found[0],
        up=up,
        down=down,
        strike_e8=e8(stated) if stated is not None else None if strike is None else strike[0],
        strike_known_ms=start + 20_000 if strike is None else max(start, strike[1]),
        up_won={"up": True, "down": False}[outcome] if outcome in {"up", "down"} else winner(up, end),
    )


def _quotes(found: list[dict[str, Any]], times: list[int], side: str) -> Quotes:
    sized = f"{side}_ask_size" in found[0]
    asks = [e4(row[f"{side}_ask"] or 0) for row in found]
    return Quotes(
        received_ms=times,
        bid_e4=[e4(row[f"{side}_bid"] or 0) for row in found],
        ask_e4=[0 if each >= ONE_E4 else each for each in asks],
        ask_size_e6=[e6(row[f"{side}_ask_size"] or 0) for row in found] if sized else None,
    )

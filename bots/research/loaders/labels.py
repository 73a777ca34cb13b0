"""Winners without prices of tokens: two layouts of CSV.

``labels``: ``window_id, resolved_up, final_price, price_to_beat`` of the venue. ``spot_labels``: ``timestamp, outcome,
btc_open, btc_close``, whose prices are of an exchange that does not settle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from bots.research.loaders.tables import DataError, rows
from bots.research.windows import e8

if TYPE_CHECKING:
    from pathlib import Path

LENGTH_MS: Final = 300_000


@frozen
class Label:
    """Who won a window, and the two prices that are told with it, in 1/100,000,000 of a dollar."""

    asset: str
    start_ms: int
    up_won: bool
    open_e8: int
    close_e8: int

    @property
    def agrees(self) -> bool:
        """Whether the prices name the winner: up unless the second is lower."""
        return (self.close_e8 >= self.open_e8) == self.up_won


def load(path: Path) -> list[Label]:
    """Read the venue's own labels. Raises DataError."""
    found = []
    for row in rows(path, ("window_id", "resolved_up", "final_price", "price_to_beat")):
        parts = str(row["window_id"]).split("-")
        if row["resolved_up"] not in {"0", "1", 0, 1}:
            raise DataError(f"{path.name}, {row['window_id']}: resolved_up is neither 0 nor 1")
        opened, closed = e8(row["price_to_beat"]), e8(row["final_price"])
        found.append(Label(parts[0], int(parts[-1]) * 1000, str(row["resolved_up"]) == "1", opened, closed))
    return sorted(found, key=lambda each: (each.asset, each.start_ms))


def load_spot(path: Path) -> list[Label]:
    """Read labels with an exchange's prices. Raises DataError."""
    found = []
    for row in rows(path, ("timestamp", "outcome", "btc_open", "btc_close")):
        if row["outcome"] in {"up", "down"} and row["btc_open"] and row["btc_close"]:
            prices = e8(row["btc_open"]), e8(row["btc_close"])
            found.append(Label("btc", int(row["timestamp"]) * 1000, row["outcome"] == "up", *prices))
    return sorted(found, key=lambda each: each.start_ms)

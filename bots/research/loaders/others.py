"""What other projects recorded of their own dealings: cheap tails, and paper trades. Two layouts.

``tails``: moments at which one side cost next to nothing, chosen by their maker (``ts, window_end_ts, side,
token_price, settled_side, best_ask``). ``paper_trades``: a JSON list of a paper bot's purchases (``t0, side, entry,
shares, feeEntry, win, pnl_hold``). Neither is a sample of what could have been traded.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import frozen

from bots.research.loaders.tables import DataError, document, rows
from bots.research.windows import e4

if TYPE_CHECKING:
    from pathlib import Path


@frozen
class Tail:
    """A moment at which a side was cheap. Prices in 1/10,000 of a pUSD; an ask of 0 is not known."""

    at_ms: int
    up: bool
    price_e4: int
    ask_e4: int
    won: bool


@frozen
class PaperTrade:
    """A purchase that somebody's own fill model made, in pUSD and shares."""

    start_ms: int
    price: Decimal
    shares: Decimal
    fee: Decimal
    won: bool

    @property
    def profit(self) -> Decimal:
        """What it came to when held to the end, after the fee."""
        return (self.shares if self.won else Decimal(0)) - self.price * self.shares - self.fee


def load_tails(path: Path) -> list[Tail]:
    """Read the moments. Raises DataError."""
    names = ("ts", "side", "token_price", "settled_side", "best_ask")
    return [
        Tail(
            int(row["ts"]) * 1000,
            row["side"] == "UP",
            e4(row["token_price"]),
            e4(row["best_ask"] or 0),
            row["side"] == row["settled_side"],
        )
        for row in rows(path, names)
    ]


def load_paper_trades(path: Path) -> list[PaperTrade]:
    """Read the purchases. Raises DataError."""
    try:
        return [
            PaperTrade(
                int(row["t0"]) * 1000,
                Decimal(str(row["entry"])),
                Decimal(str(row["shares"])),
                Decimal(str(row["feeEntry"])),
                bool(row["win"]),
            )
            for row in document(path)
        ]
    except (KeyError, TypeError, ArithmeticError) as error:
        raise DataError(f"{path.name}: not a list of paper trades ({type(error).__name__}: {error})") from None

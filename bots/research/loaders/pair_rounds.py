"""Rounds in which both sides were to be had cheaply: two layouts of CSV.

``touches``: which side's ask came down to a price, and when (``slug, yesTouched, noTouched, yesFirstTouchAt,
noFirstTouchAt``). ``pair_rounds``: what a paper bot of another project says it filled (``round_id, limit_price, cost,
pnl, both_fill, single_fill, yes_first_fill_at, no_first_fill_at``).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bots.research.loaders.tables import rows

if TYPE_CHECKING:
    from pathlib import Path


@frozen(kw_only=True)
class PairRound:
    """One round. Times in Unix milliseconds; ``None``: that side was never to be had at the price."""

    slug: str
    start_ms: int
    interval: str
    yes_ms: int | None
    no_ms: int | None
    price: Decimal | None = None
    """The limit of each leg, where each round has its own."""
    told_profit: Decimal | None = None
    """What the recorder's own fill model made of it, in pUSD."""
    told_cost: Decimal | None = None


def load_touches(path: Path) -> list[PairRound]:
    """Read the touches. Raises DataError."""
    names = ("slug", "yesTouched", "noTouched", "yesFirstTouchAt", "noFirstTouchAt")
    return sorted(
        (
            _round(
                row["slug"],
                _at(row["yesFirstTouchAt"]) if row["yesTouched"] == "True" else None,
                _at(row["noFirstTouchAt"]) if row["noTouched"] == "True" else None,
            )
            for row in rows(path, names)
        ),
        key=lambda each: each.start_ms,
    )


def load_rounds(path: Path) -> list[PairRound]:
    """Read the rounds of the paper bot. Raises DataError."""
    names = ("round_id", "limit_price", "cost", "pnl", "yes_first_fill_at", "no_first_fill_at")
    return sorted(
        (
            _round(
                row["round_id"],
                _at(row["yes_first_fill_at"]),
                _at(row["no_first_fill_at"]),
                price=_decimal(row["limit_price"]),
                told_profit=_decimal(row["pnl"]),
                told_cost=_decimal(row["cost"]),
            )
            for row in rows(path, names)
        ),
        key=lambda each: each.start_ms,
    )


def _round(slug: str, yes_ms: int | None, no_ms: int | None, **more: Any) -> PairRound:
    parts = slug.split("-")
    return PairRound(slug=slug, start_ms=int(parts[-1]) * 1000, interval=parts[-2], yes_ms=yes_ms, no_ms=no_ms, **more)


def _at(text: str) -> int | None:
    return int(datetime.fromisoformat(text).timestamp() * 1000) if text else None


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None

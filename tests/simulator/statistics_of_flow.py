"""The shares that describe a stream of market frames, recorded or simulated alike."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def describe(events: Iterable[dict[str, Any]], market: str) -> dict[str, float]:
    """Shares over the price changes, and sizes of the full books, of one market."""
    changes = books = touch = deletes = buy_first = edge = trades = 0
    levels: list[int] = []
    batches: Counter[str] = Counter()
    for event in events:
        if event["market"] != market:
            continue
        if event["event_type"] == "last_trade_price":
            trades += 1
        if event["event_type"] == "book":
            books += 1
            levels.append(len(event["bids"]) + len(event["asks"]))
        if event["event_type"] != "price_change":
            continue
        changes += 1
        batches[event["timestamp"]] += 1
        first = event["price_changes"][0]
        buy_first += first["side"] == "BUY"
        deletes += first["size"] == "0"
        price = Decimal(first["price"])
        gap = Decimal(first["best_bid"]) - price if first["side"] == "BUY" else price - Decimal(first["best_ask"])
        touch += gap <= 0
        edge += price in {Decimal("0.01"), Decimal("0.99")}
    return {
        "touch": touch / changes,
        "edge": edge / changes,
        "deletes": deletes / changes,
        "buy_first": buy_first / changes,
        "trades_per_change": trades / changes,
        "books_per_trade": books / max(trades, 1),
        "single_batches": sum(n == 1 for n in batches.values()) / len(batches),
        "largest_batch": max(batches.values()),
        "levels": sum(levels) / max(len(levels), 1),
        "changes_a_second": 1000 * changes / (int(max(batches)) - int(min(batches)) + 1),
    }

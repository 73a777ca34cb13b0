"""One book for a person to look at: its depth, how it stands, and its newest changes of state. Never for trading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from polymirror.core.units import PRICE_SCALE, price_to_wire, size_to_wire
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.core.events import Transition
    from polymirror.status.observed import Observed

MAX_LEVELS: Final = 100
"""Levels of each side that are told, the best ones."""

MAX_INCIDENTS: Final = 10
"""Incidents of its market that are told, the newest."""


def describe_book(mirror: Observed, token: str, moves: Sequence[Transition]) -> dict[str, Any]:
    """Return a book as plain JSON values: prices and sizes as exact texts, moments on the mirror's clock.

    Levels are the last proven ones, whatever the state. Raises UnknownToken, and NotLive for a token whose market is
    not found yet.
    """
    view = mirror.peek(token)
    raw = view.levels
    return {
        "token": token,
        "market": view.market,
        "at": view.read_at,
        "state": view.state.name,
        "reason": None if view.reason is None else view.reason.name,
        "proven": view.proven_at,
        "proof": None if view.last_proof is None else view.last_proof.kind.value,
        "settled": view.settled,
        "epoch": view.epoch,
        "doubts": view.doubts,
        "exchange_ms": view.exchange_ms if view.proven_at is not None else None,
        "tick_size": None if view.tick_size_e4 is None else price_to_wire(view.tick_size_e4),
        "bids": _levels(raw.bid_keys, raw.bid_sizes),
        "asks": _levels([PRICE_SCALE - key for key in raw.ask_keys[-MAX_LEVELS:]], raw.ask_sizes[-MAX_LEVELS:]),
        "bid_levels": len(raw.bid_keys),
        "ask_levels": len(raw.ask_keys),
        "moves": [
            {
                "at": each.at, "old": each.old.name, "new": each.new.name, "reason": each.reason.name,
                "detail": harmless(each.detail),
            }
            for each in moves
        ],
        "incidents": [
            {
                "at": each.at, "name": harmless(each.name), "reason": each.reason.name,
                "detail": harmless(each.detail),
                # Not where it lies: that is nobody's business who only looks.
                "file": None if each.path is None else each.path.name,
            }
            for each in mirror.incidents(token)[:MAX_INCIDENTS]
        ],
    }  # fmt: skip


def _levels(prices: Sequence[int], sizes: Sequence[int]) -> list[tuple[str, str]]:
    """Spell levels, which come best last, best first."""
    best = slice(-MAX_LEVELS, None)
    return [
        (price_to_wire(price), size_to_wire(size))
        for price, size in zip(reversed(prices[best]), reversed(sizes[best]), strict=True)
    ]

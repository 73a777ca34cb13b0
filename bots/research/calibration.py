"""Prices and beliefs against outcomes: of all that cost 60 cents, did 60 of 100 win? Statistics, hence floats."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bots.oracle_lag.signal import Direction, Quiet
from bots.research.series import Meter, Play, decide_as_the_bot
from bots.research.stats import wilson
from bots.research.windows import ONE_E4
from bots.updown.strike import Strike, StrikeSource
from bots.updown.volatility import Volatility

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bots.research.windows import Window

BINS: Final = 10
MOMENTS: Final = (0.25, 0.5, 0.75, 0.9)
"""The prices of a window are looked at after these shares of it, or as soon after as one was recorded."""


def table(pairs: Iterable[tuple[float, bool]]) -> list[dict[str, Any]]:
    """Sort pairs of a chance and what came of it into ten bins, each with its rate and interval."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for chance, won in pairs:
        bins[min(int(chance * BINS), BINS - 1)].append((chance, won))
    found = []
    for each in bins:
        if each:
            rate = wilson(sum(won for _, won in each), len(each))
            stated = sum(chance for chance, _ in each) / len(each)
            found.append({"stated": round(stated, 4), "seen": rate.to_dict()})
    return found


def of_prices(windows: Sequence[Window]) -> list[dict[str, Any]]:
    """Hold the mid price of Up against the outcome, one moment a window, so that cases are independent."""
    pairs = []
    for number, window in enumerate(windows):
        quotes = window.up
        if quotes is None or window.up_won is None:
            continue
        share = MOMENTS[number % len(MOMENTS)]
        index = quotes.first_after(window.start_ms + int(share * (window.end_ms - window.start_ms)))
        index = quotes.newest(window.end_ms) if index is None else index
        if index is not None and quotes.bid_e4[index] + quotes.ask_e4[index]:
            mid = (quotes.bid_e4[index] + (quotes.ask_e4[index] or ONE_E4)) / (2 * ONE_E4)
            pairs.append((mid, window.up_won))
    return table(pairs)


def of_signals(windows: Sequence[Window], setup: Play) -> dict[str, Any]:
    """Hold the first signal of each window against the outcome: how often was its side right, and how often fair?

    That needs no price of a token. It says whether the strategy's own chance is honest, not whether it earns.
    """
    pairs: list[tuple[float, bool]] = []
    meters: dict[object, Meter] = {}
    for window in sorted(windows, key=lambda each: (each.asset, each.start_ms)):
        key = window.asset, window.oracle_kind
        meter = meters.get(key) or meters.setdefault(key, Meter(Volatility(*key)))
        found = _first(window, setup, meter)
        if found is not None and window.up_won is not None:
            pairs.append((found[1], window.up_won is found[0]))
    right = wilson(sum(won for _, won in pairs), len(pairs))
    believed = sum(chance for chance, _ in pairs) / len(pairs) if pairs else None
    return {
        "windows": len(windows),
        "signals": len(pairs),
        "right": right.to_dict(),
        "believed": None if believed is None else round(believed, 4),
        "bins": table(pairs),
    }


def _first(window: Window, setup: Play, meter: Meter) -> tuple[bool, float] | None:
    settings = setup.of(window)
    strike = None
    if window.strike_e8 is not None:
        strike = Strike(Decimal(window.strike_e8).scaleb(-8), StrikeSource.OFFICIAL)
    first = None
    for index in meter.hear(window.oracle, window):
        now_ms = window.oracle.received_ms[index]
        if first is not None:
            continue  # the estimator is to hear the rest
        known = strike if now_ms >= window.strike_known_ms else None
        found = decide_as_the_bot(settings, window, index, known, now_ms, meter.volatility.measured)
        if not isinstance(found, Quiet):
            first = found.direction is Direction.UP, float(found.fair)
    return first

"""How far the tokens' prices are behind the oracle: cross-correlation, event study, and the time to reprice.

Everything is counted from when it was received, on a grid no finer than the recording. A lag of k steps means that the
token's price moves k steps after the oracle's. Statistics, hence floats.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from bots.research.stats import Interval, interval_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.research.windows import Quotes, Window

Floats = np.ndarray[Any, Any]

LEAST_STEP_MS: Final = 1_000
MAX_LAGS: Final = 30
"""Steps to either side for which the correlation is computed."""

SPAN_S: Final = 60
"""An event is looked at from so long before to so long after."""

UNUSUAL: Final = 2.0
"""An event is a move of the oracle of more standard deviations of its steps."""

REPRICED: Final = 0.02
"""Only events after which a token's price has followed by so much count for the time to reprice, in pUSD."""

LEAST_STEPS: Final = 20


class Grid(NamedTuple):
    """One window on a grid: the logarithm of the oracle's price and the mid price of Up, at each step."""

    oracle: Floats
    mid: Floats
    """The newest that was received by then."""
    coming: Floats
    """The first that was received after it."""


def measure(windows: Sequence[Window], seed: int) -> dict[str, Any] | None:
    """Measure all three; ``None`` when no window has both series."""
    usable = [
        each for each in windows if each.up and min(len(each.oracle.at_ms), len(each.up.ask_e4)) >= LEAST_STEPS // 2
    ]
    if not usable:
        return None
    step_ms = max(LEAST_STEP_MS, _typical([_gaps(each) for each in usable]))
    grids = [grid for each in usable if (grid := _grid(each, step_ms)) is not None]
    if not grids:
        return None
    steps = max(1, SPAN_S * 1000 // step_ms)
    return {
        "step_s": step_ms / 1000,
        "windows": len(grids),
        # What was sampled last is older than the truth, what is sampled next is younger: the lag lies between the two.
        "correlation": _correlation(grids, step_ms, seed),
        "correlation_next": _correlation([each._replace(mid=each.coming) for each in grids], step_ms, seed),
        **_events(grids, step_ms, steps, seed),
    }


def _gaps(window: Window) -> float:
    quotes = window.up
    assert quotes is not None  # noqa: S101 - chosen so
    return max(_gap(quotes.received_ms), _gap(window.oracle.received_ms))


def _gap(times: Sequence[int]) -> float:
    return float(np.median(np.diff(np.asarray(times)))) if len(times) > 1 else math.inf


def _typical(gaps: Sequence[float]) -> int:
    """Return the usual gap in whole seconds, as milliseconds."""
    return math.ceil(float(np.median(gaps)) / 1000) * 1000


def _grid(window: Window, step_ms: int) -> Grid | None:
    times = np.arange(window.start_ms, window.end_ms, step_ms)
    quotes = window.up
    if quotes is None:
        return None
    oracle = _held(window.oracle.received_ms, np.asarray(window.oracle.price_e8, float), times)
    mids = _mids(quotes)
    mid, coming = _held(quotes.received_ms, mids, times), _held(quotes.received_ms, mids, times, later=1)
    good = ~(np.isnan(oracle) | np.isnan(mid) | np.isnan(coming))
    return Grid(np.log(oracle[good]), mid[good], coming[good]) if good.sum() >= LEAST_STEPS // 2 else None


def _mids(quotes: Quotes) -> Floats:
    bids, asks = np.asarray(quotes.bid_e4, float), np.asarray(quotes.ask_e4, float)
    return np.where((bids > 0) & (asks > 0), (bids + asks) / 20_000, np.nan)


def _held(received: Sequence[int], values: Floats, times: Floats, later: int = 0) -> Floats:
    """Return at each time the newest value that was received by then, or the one after it; NaN: there is none."""
    index = np.searchsorted(np.asarray(received), times, side="right") - 1 + later
    known = (index >= 0) & (index < len(values))
    return np.where(known, values[np.clip(index, 0, len(values) - 1)], np.nan)


def _correlation(grids: Sequence[Grid], step_ms: int, seed: int) -> dict[str, Any]:
    """Correlate the changes: at which lag do they fit best?"""
    most = min(MAX_LAGS, max(1, int(np.median([len(each.mid) for each in grids])) // 4))
    lags = range(-most, most + 1)
    # For each window and lag: the sum of products and of both squares, so that windows can be drawn anew.
    sums = np.array([[_products(grid, lag) for lag in lags] for grid in grids])

    def curve(drawn: Floats) -> Floats:
        both, first, second = sums[drawn].sum(axis=0).T
        return np.asarray(both / np.sqrt(np.maximum(first * second, 1e-30)))

    whole = curve(np.arange(len(grids)))
    peak = interval_of(lambda drawn: float(lags[int(np.argmax(curve(drawn)))] * step_ms / 1000), len(grids), seed)
    return {
        "lags_s": [lag * step_ms / 1000 for lag in lags],
        "values": [round(float(each), 4) for each in whole],
        "peak_s": peak.to_dict(),
        "peak": round(float(whole.max()), 4),
    }


def _products(grid: Grid, lag: int) -> tuple[float, float, float]:
    oracle, mid = np.diff(grid.oracle), np.diff(grid.mid)
    both = max(len(mid) - abs(lag), 0)
    if lag >= 0:
        oracle, mid = oracle[:both], mid[len(mid) - both :]
    else:
        oracle, mid = oracle[len(oracle) - both :], mid[:both]
    return float((oracle * mid).sum()), float((oracle**2).sum()), float((mid**2).sum())


def _events(grids: Sequence[Grid], step_ms: int, steps: int, seed: int) -> dict[str, Any]:
    """Look at what a token's price does around unusual moves of the oracle, signed by the move."""
    paths = [path for grid in grids for path in _paths(grid, steps)]
    offsets = [each * step_ms / 1000 for each in range(-steps, steps + 1)]
    if not paths:
        return {"events": 0, "event_study": None, "reprice_s": None}
    data = np.array(paths)
    bounds = [_mean_of(column, seed) for column in data.T]
    waits = [_wait(path, steps) * step_ms / 1000 for path in data if path[-1] >= REPRICED]
    return {
        "events": len(paths),
        "event_study": {
            "offsets_s": offsets,
            "mean": [round(each.mean, 4) for each in bounds],
            "low": [round(each.low, 4) if not math.isnan(each.low) else None for each in bounds],
            "high": [round(each.high, 4) if not math.isnan(each.high) else None for each in bounds],
        },
        "reprice_s": None
        if not waits
        else {
            "count": len(waits),
            "p50": float(np.quantile(waits, 0.5)),
            "p90": float(np.quantile(waits, 0.9)),
            "p50_interval": interval_of(
                lambda drawn: float(np.median(np.asarray(waits)[drawn])), len(waits), seed
            ).to_dict(),
            "waits": sorted(waits),
        },
    }


def _mean_of(column: Floats, seed: int) -> Interval:
    return interval_of(lambda drawn: float(column[drawn].mean()), len(column), seed, 200)


def _paths(grid: Grid, steps: int) -> list[Floats]:
    moves = np.diff(grid.oracle)
    spread = float(moves.std())
    if not spread or len(moves) < 2 * steps + 1:
        return []
    found = []
    for at in np.flatnonzero(np.abs(moves) > UNUSUAL * spread) + 1:
        if at - steps >= 0 and at + steps < len(grid.mid):
            # From the last price before the oracle's new one was known.
            path = grid.mid[at - steps : at + steps + 1] - grid.mid[at - 1]
            found.append(path * np.sign(moves[at - 1]))
    return found


def _wait(path: Floats, steps: int) -> int:
    """Return after how many steps half of the final change was reached; 0: already at the oracle's own step."""
    reached = np.flatnonzero(path[steps:] / path[-1] >= 0.5)  # noqa: PLR2004 - half of it
    return int(reached[0])

"""All tests of one strategy on one era's windows: what the plays come to.

:func:`judge_all` makes the findings of the joined results of :mod:`~bots.research.falsify.plays`, and :func:`conclude`
the verdict.
"""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from bots.research.falsify import rerun, resampling
from bots.research.falsify.findings import LEAST_TRADES, Finding, Verdict
from bots.research.falsify.plays import (
    BASE,
    DELAYS_S,
    MOVES,
    ORDERED,
    OWN_TIME,
    PRICES,
    SHIFTS_S,
    STALE,
    delay_name,
    setting_name,
    shift_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bots.research.falsify.plays import Results
    from bots.research.fills import FillModel
    from bots.research.trades import Trade
    from bots.research.windows import Window

DRAWS: Final = 20
"""Windows that are drawn at random for each purchase."""


def judge_all(windows: Sequence[Window], results: Results, fills: FillModel, seed: int) -> list[Finding]:
    """Make every finding."""
    base = results.trades(BASE)
    points = {(row, column): setting_name(m, p) for row, m in enumerate(MOVES) for column, p in enumerate(PRICES)}
    grid = {name: results.trades(name) for name in points.values()}
    delays = {0: base} | {seconds: results.trades(delay_name(seconds)) for seconds in DELAYS_S[1:]}
    shifts = {seconds: results.trades(shift_name(seconds)) for seconds in SHIFTS_S}
    ordered = results.played[ORDERED].counts
    orders = sum(count for name, count in ordered.items() if name.startswith("order:")) + ordered["trades"]
    receives = all(each.receives for each in windows)
    return [
        rerun.stale_print(base, results.trades(STALE), orders, ordered["trades"]),
        rerun.look_ahead(base, results.cheats, results.trades(OWN_TIME), receives=receives, sampled_ms=every(windows)),
        resampling.out_of_sample(grid),
        rerun.parameter_grid({point: grid[name] for point, name in points.items()}, points),
        resampling.doubled_fees(base),
        rerun.delay_sweep(delays),
        resampling.shuffled_outcomes(base, seed),
        rerun.shifted_oracle(base, shifts),
        rerun.random_entry(base, draw_entries(windows, base, fills, seed)),
        resampling.leave_one_day_out(base),
        resampling.bootstrapped(base, seed),
        resampling.deflated_for_trials(base, grid),
    ]


def draw_entries(windows: Sequence[Window], trades: Sequence[Trade], fills: FillModel, seed: int) -> list[list[float]]:
    """For each purchase, what the same side at the same time made in windows drawn at random, after fees."""
    rng = random.Random(f"random entry:{seed}")  # noqa: S311 - repeatable, and no secret
    pool: dict[tuple[str, int], list[Window]] = {}
    for window in windows:
        if window.up_won is not None:
            pool.setdefault((window.asset, window.seconds), []).append(window)
    found = []
    for trade in trades:
        like = pool[trade.asset, (trade.end_ms - trade.start_ms) // 1000]
        made = (_entry(rng.choice(like), trade, fills) for _ in range(DRAWS))
        found.append([each for each in made if each is not None])
    return found


def _entry(window: Window, trade: Trade, fills: FillModel) -> float | None:
    quotes = window.quotes(up=trade.up)
    at_ms = window.start_ms + trade.decided_ms - trade.start_ms
    index = None if quotes is None else quotes.first_after(fills.match_ms(at_ms, window.rules.taker_delay_ms))
    if quotes is None or index is None or quotes.received_ms[index] >= window.end_ms:
        return None
    price = fills.ask_e4(quotes, index) / 10_000
    if not price:
        return None
    fee = float(window.rules.fee.rate) * (price * (1 - price)) ** window.rules.fee.exponent
    return float(window.up_won is trade.up) - price - fee


def every(windows: Iterable[Window]) -> int:
    """Return how far apart the recorded prices of tokens usually are, in milliseconds; 0: there are none."""
    gaps = [
        later - earlier
        for window in windows
        for quotes in (window.up,)
        if quotes is not None
        for earlier, later in zip(quotes.received_ms, quotes.received_ms[1:], strict=False)
    ]
    return round(median(gaps)) if gaps else 0


@frozen(kw_only=True)
class Conclusion:
    """The verdict on one strategy in one era, for people."""

    verdict: str
    """supported, refuted or not decidable."""
    why: str
    figures: Mapping[str, Any] = field(factory=dict)


def conclude(base: Sequence[Trade], findings: Iterable[Finding]) -> Conclusion:
    """Weigh the findings: one refutation is enough, support needs all that bear on it."""
    by_test = {each.test: each for each in findings}
    found, before = resampling.net(base), resampling.gross(base)
    figures = {"net": found.to_dict(), "gross": before.to_dict()}
    stale, ahead = by_test["stale-print check"], by_test["look-ahead"]
    if ahead.verdict is Verdict.REFUTED:
        return Conclusion(verdict="refuted", why=ahead.sentence, figures=figures)
    if stale.verdict is Verdict.REFUTED:
        return Conclusion(verdict="refuted", why=stale.sentence, figures=figures)
    if found.count < LEAST_TRADES:
        purchases = {0: "Nothing was bought", 1: "1 purchase was made"}.get(found.count, f"{found.count} purchases")
        why = f"{purchases}, and at least {LEAST_TRADES} are needed."
        return Conclusion(verdict="not decidable", why=why, figures=figures)
    if found.is_negative:
        return Conclusion(verdict="refuted", why=f"A share loses money after fees: {found} pUSD.", figures=figures)
    wanted = ("stale-print check", "look-ahead", "block bootstrap", "deflated for the number of trials", "random entry")
    open_ones = [name for name in wanted if by_test[name].verdict is not Verdict.SURVIVED]
    if found.is_positive and not open_ones:
        why = f"A share makes {found} pUSD after fees, and no test refutes it."
        return Conclusion(verdict="supported", why=why, figures=figures)
    why = f"A share makes {found} pUSD after fees"
    why += "." if not found.is_positive else f", but these tests are not passed: {', '.join(open_ones)}."
    return Conclusion(verdict="not decidable", why=why, figures=figures)

"""Tests that play again with something changed: parameters, delay, the time of the oracle, the price that is paid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from bots.research.falsify.findings import LEAST_TRADES, Finding, Verdict, too_few
from bots.research.falsify.resampling import judge, net
from bots.research.stats import Interval, blocks_of, mean_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bots.research.trades import Trade

PLATEAU: Final = 0.5
"""On a plateau the neighbours of the best setting make at least this part of its profit."""

Point = tuple[int, int]


def parameter_grid(grid: Mapping[Point, Sequence[Trade]], names: Mapping[Point, str]) -> Finding:
    """Look at the best setting's neighbours: a spike is an accident, a plateau may be none."""
    test = "parameter grid"
    means = {point: net(trades).mean for point, trades in grid.items() if len(trades) >= LEAST_TRADES}
    told = {names[point]: [len(trades), _plain(net(trades).mean)] for point, trades in grid.items()}
    if not means:
        return too_few(test, max((len(trades) for trades in grid.values()), default=0), grid=told)
    best = max(means, key=means.__getitem__)
    near = [means[point] for point in _neighbours(best) if point in means]
    around = sum(near) / len(near) if near else math.nan
    figures = {"best": names[best], "mean": round(means[best], 4), "neighbours": _plain(around), "grid": told}
    if means[best] <= 0:
        sentence = f"The best of {len(means)} settings, {names[best]}, makes {means[best]:+.3f} a share: none earns."
        return Finding(test=test, verdict=Verdict.REFUTED, sentence=sentence, figures=figures)
    flat = bool(near) and around >= PLATEAU * means[best]
    words = f"its neighbours {around:+.3f}: " + ("a plateau" if flat else "a spike, so likely an accident")
    sentence = f"The best setting, {names[best]}, makes {means[best]:+.3f} a share, {words}."
    return Finding(
        test=test, verdict=Verdict.SURVIVED if flat else Verdict.UNDECIDED, sentence=sentence, figures=figures
    )


def delay_sweep(by_seconds: Mapping[int, Sequence[Trade]]) -> Finding:
    """Let orders match later and later: how long does the profit last?"""
    test = "delay sweep"
    found = {seconds: net(trades) for seconds, trades in sorted(by_seconds.items())}
    figures = {f"{seconds} s": each.to_dict() for seconds, each in found.items()}
    first = min(found)
    if found[first].count < LEAST_TRADES:
        return too_few(test, found[first].count, **figures)
    lasts = [seconds for seconds, each in found.items() if each.mean > 0]
    told = ", ".join(f"{seconds} s {each.mean:+.3f}" for seconds, each in found.items())
    until = f"a profit is seen up to {max(lasts)} s" if lasts else "there is no profit at any delay"
    return Finding(
        test=test, verdict=judge(found[first]), sentence=f"A share makes, by delay: {told}; {until}.", figures=figures
    )


def shifted_oracle(base: Sequence[Trade], by_seconds: Mapping[int, Sequence[Trade]]) -> Finding:
    """Let the oracle be heard much later: a profit that stays does not come from the oracle."""
    test = "time-shifted oracle"
    whole = net(base)
    found = {seconds: net(trades) for seconds, trades in sorted(by_seconds.items())}
    figures = {"as it was": whole.to_dict()} | {f"{seconds} s later": each.to_dict() for seconds, each in found.items()}
    if whole.count < LEAST_TRADES:
        return too_few(test, whole.count, **figures)
    told = ", ".join(f"{seconds} s later {each.mean:+.3f}" for seconds, each in found.items() if each.count)
    last = found[max(found)]
    if not whole.is_positive:
        verdict, words = Verdict.UNDECIDED, "there is no profit to take away"
    elif last.count and last.mean > whole.low:
        verdict, words = Verdict.REFUTED, "it stays, so it does not come from the oracle's lead"
    else:
        verdict, words = Verdict.SURVIVED, "it goes, so it comes from the oracle"
    sentence = (
        f"With the oracle as it was a share makes {whole.mean:+.3f}, {told or 'later there are no purchases'}: {words}."
    )
    return Finding(test=test, verdict=verdict, sentence=sentence, figures=figures)


def stale_print(chased: Sequence[Trade], stale: Sequence[Trade], orders: int, filled: int) -> Finding:
    """Compare what trades at the old price with what trades at the next one."""
    test = "stale-print check"
    old, new = net(stale), net(chased)
    share = (old.mean - new.mean) / old.mean if old.count and new.count and old.mean > 0 else math.nan
    figures = {
        "at the old price": old.to_dict(),
        "at the next price": new.to_dict(),
        "share of the paper profit": _plain(share),
        "orders": orders,
        "filled at their own limit": filled,
    }
    if old.count < LEAST_TRADES:
        return too_few(test, old.count, **figures)
    kept = f"of {orders} orders at the price that was seen {filled} would have traded"
    sentence = f"At the price that was seen a share makes {old}, at the next one {new}; {kept}."
    if not old.is_positive:
        return Finding(test=test, verdict=judge(old), sentence=sentence, figures=figures)
    if new.count and new.is_positive:
        return Finding(test=test, verdict=Verdict.SURVIVED, sentence=sentence, figures=figures)
    if (not new.count and orders >= LEAST_TRADES) or (new.mean <= old.mean / 2 and new.high < old.mean):
        sentence += f" {_part(share)} of the profit stands on a price that was gone."
        return Finding(test=test, verdict=Verdict.REFUTED, sentence=sentence, figures=figures)
    return Finding(test=test, verdict=Verdict.UNDECIDED, sentence=sentence, figures=figures)


def look_ahead(
    base: Sequence[Trade], cheats: int, own_time: Sequence[Trade], *, receives: bool, sampled_ms: int
) -> Finding:
    """Take the future away: no decision may change. Count ticks from their own time: profit that needs that is none."""
    test = "look-ahead"
    found, early = net(base), net(own_time)
    figures = {
        "decisions checked": len(base),
        "decisions that change": cheats,
        "by receipt": found.to_dict(),
        "by the oracle's own time": early.to_dict(),
    }
    if cheats:
        sentence = f"{cheats} of {len(base)} decisions change when the future is taken away: the test looks ahead."
        return Finding(test=test, verdict=Verdict.REFUTED, sentence=sentence, figures=figures)
    if not base:
        return too_few(test, 0, **figures)
    sentence = f"No decision of {len(base)} changes when everything received later is taken away."
    if not receives:
        sentence += f" Receive times were not recorded; prices are {sampled_ms / 1000:g} s apart."
    elif early.count >= LEAST_TRADES and early.is_positive and not found.is_positive:
        sentence += f" Counted from the oracle's own time a share would make {early}: that profit was look-ahead."
        return Finding(test=test, verdict=Verdict.REFUTED, sentence=sentence, figures=figures)
    return Finding(test=test, verdict=Verdict.SURVIVED, sentence=sentence, figures=figures)


def random_entry(trades: Sequence[Trade], drawn: Sequence[Sequence[float]]) -> Finding:
    """Compare with purchases of the same side at the same time in windows drawn at random."""
    test = "random entry"
    paired = [(trade, values) for trade, values in zip(trades, drawn, strict=True) if values]
    if len(paired) < LEAST_TRADES:
        return too_few(test, len(paired))
    better: Interval = mean_interval(
        [trade.per_share - sum(values) / len(values) for trade, values in paired],
        blocks_of([trade.start_ms for trade, _ in paired]),
    )
    at_random = sum(sum(values) / len(values) for _, values in paired) / len(paired)
    sentence = (
        f"The same side at the same time in random windows makes {at_random:+.3f} a share; it makes {better} more."
    )
    figures = {"at random": round(at_random, 4), "more": better.to_dict()}
    return Finding(test=test, verdict=judge(better), sentence=sentence, figures=figures)


def _part(share: float) -> str:
    """Say how much of a profit an assumption makes: all of it, where nothing is left without."""
    return "All" if math.isnan(share) or share >= 1 else f"{share:.0%}"


def _neighbours(point: Point) -> list[Point]:
    row, column = point
    return [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)

"""Tests that need nothing but the purchases: dates, fees, chance, single days, and the number of things tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.research.falsify.findings import LEAST_TRADES, Finding, Verdict, too_few
from bots.research.stats import Interval, block_bootstrap, blocks_of, deflated, mean_interval, sharpe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bots.research.trades import Trade

FIRST_SHARE: Final = 0.6
"""Of the time span: the part in which parameters are chosen. They are judged in the rest."""

SHUFFLES: Final = 2_000
CHANCE: Final = 0.05


def net(trades: Sequence[Trade]) -> Interval:
    """Estimate the profit of a share after fees, in pUSD."""
    return mean_interval([each.per_share for each in trades], blocks_of([each.start_ms for each in trades]))


def gross(trades: Sequence[Trade]) -> Interval:
    """Estimate the profit of a share before fees, in pUSD."""
    return mean_interval([each.gross_per_share for each in trades], blocks_of([each.start_ms for each in trades]))


def judge(found: Interval) -> Verdict:
    """Say what an estimate of a profit means: all of it above 0, all below, or neither."""
    if found.count < LEAST_TRADES:
        return Verdict.UNDECIDED
    return Verdict.SURVIVED if found.is_positive else Verdict.REFUTED if found.is_negative else Verdict.UNDECIDED


def out_of_sample(grid: Mapping[str, Sequence[Trade]]) -> Finding:
    """Choose the best parameters in the first 60 % of the time, and judge them in the other 40 %."""
    test = "out of sample, 60/40 by date"
    starts = [each.start_ms for trades in grid.values() for each in trades]
    if not starts:
        return too_few(test, 0)
    border = min(starts) + (max(starts) - min(starts)) * FIRST_SHARE
    early = {name: [each for each in trades if each.start_ms < border] for name, trades in grid.items()}
    enough = {name: net(trades).mean for name, trades in early.items() if len(trades) >= LEAST_TRADES // 2}
    if not enough:
        return too_few(test, max(map(len, early.values())))
    best = max(enough, key=enough.__getitem__)
    late = [each for each in grid[best] if each.start_ms >= border]
    found = net(late)
    figures = {"chosen": best, "chosen_on": round(enough[best], 4), "judged": found.to_dict()}
    if len(late) < LEAST_TRADES // 2:
        return too_few(test, len(late), **figures)
    verdict = judge(found)
    words = {
        Verdict.SURVIVED: "it earned in the other part, too",
        Verdict.REFUTED: "it lost in the other part",
        Verdict.UNDECIDED: "the other part does not say whether it earns",
    }[verdict]
    sentence = f"The best setting of the first 60 % ({best}) made {enough[best]:+.3f} a share there; {words}: {found}."
    return Finding(test=test, verdict=verdict, sentence=sentence, figures=figures)


def doubled_fees(trades: Sequence[Trade]) -> Finding:
    """Charge every fee twice."""
    test = "doubled fees"
    values = [float((each.gross - 2 * each.fee) / each.shares) for each in trades]
    found = mean_interval(values, blocks_of([each.start_ms for each in trades]))
    if len(trades) < LEAST_TRADES:
        return too_few(test, len(trades), net=found.to_dict())
    return Finding(
        test=test,
        verdict=judge(found),
        sentence=f"With every fee charged twice a share makes {found} pUSD.",
        figures={"net": found.to_dict()},
    )


def shuffled_outcomes(trades: Sequence[Trade], seed: int) -> Finding:
    """Deal the windows' outcomes out anew: does the strategy know more than how often each side wins?"""
    test = "shuffled outcomes"
    if len(trades) < LEAST_TRADES:
        return too_few(test, len(trades))
    up_won = np.array([each.won is each.up for each in trades])
    up = np.array([each.up for each in trades])
    cost = np.array([float((each.money + each.fee) / each.shares) for each in trades])
    seen = float((np.array([each.won for each in trades]) - cost).mean())
    rng = np.random.default_rng(seed)
    dealt = np.array([((rng.permutation(up_won) == up) - cost).mean() for _ in range(SHUFFLES)])
    chance = float((1 + (dealt >= seen).sum()) / (1 + SHUFFLES))
    better = chance < CHANCE
    words = "better than chance" if better else "no better than chance"
    sentence = (
        f"It picks sides {words}: {chance:.1%} of {SHUFFLES} random deals of the outcomes did as well. "
        "That is about the side alone, not about the price paid for it."
    )
    figures = {"p": round(chance, 4), "seen": round(seen, 4), "dealt": round(float(dealt.mean()), 4)}
    verdict = Verdict.SURVIVED if better else Verdict.UNDECIDED
    return Finding(test=test, verdict=verdict, sentence=sentence, figures=figures)


def leave_one_day_out(trades: Sequence[Trade]) -> Finding:
    """Leave each day out in turn: does the profit stand on one of them?"""
    test = "leave one day out"
    days = sorted({each.day for each in trades})
    if len(trades) < LEAST_TRADES or len(days) < 2:  # noqa: PLR2004 - a day to leave out, and one that stays
        return too_few(test, len(trades), days=len(days))
    means = {day: float(np.mean([each.per_share for each in trades if each.day != day])) for day in days}
    low, high, whole = min(means.values()), max(means.values()), float(np.mean([each.per_share for each in trades]))
    figures = {"whole": round(whole, 4), "lowest": round(low, 4), "highest": round(high, 4), "days": len(days)}
    steady = low > 0 or high < 0
    words = "has the same sign" if steady else "changes its sign"
    sentence = f"Without any one of {len(days)} days a share makes {low:+.3f} to {high:+.3f}: the result {words}."
    verdict = Verdict.SURVIVED if low > 0 else Verdict.UNDECIDED
    return Finding(test=test, verdict=verdict, sentence=sentence, figures=figures)


def bootstrapped(trades: Sequence[Trade], seed: int) -> Finding:
    """Draw whole days (hours, if there are few) again and again."""
    test = "block bootstrap"
    blocks = blocks_of([each.start_ms for each in trades])
    found = block_bootstrap([each.per_share for each in trades], blocks, seed)
    if len(trades) < LEAST_TRADES:
        return too_few(test, len(trades), net=found.to_dict())
    sentence = f"Drawing the {found.blocks} days or hours anew a share makes {found} pUSD."
    return Finding(test=test, verdict=judge(found), sentence=sentence, figures={"net": found.to_dict()})


def deflated_for_trials(trades: Sequence[Trade], grid: Mapping[str, Sequence[Trade]]) -> Finding:
    """Ask whether the best of so many tries without any edge would look as good."""
    test = "deflated for the number of trials"
    if len(trades) < LEAST_TRADES:
        return too_few(test, len(trades))
    ratios = [sharpe([each.per_share for each in tried]) for tried in grid.values() if len(tried) > 1]
    sure = deflated([each.per_share for each in trades], ratios)
    if math.isnan(sure):
        sentence = "All purchases came out alike, so luck cannot be told from skill."
        return Finding(test=test, verdict=Verdict.UNDECIDED, sentence=sentence, figures={"trials": len(ratios)})
    figures: dict[str, Any] = {"probability": round(sure, 4), "trials": len(ratios)}
    better = sure > 1 - CHANCE
    sentence = f"After {len(ratios)} settings were tried it is {sure:.0%} sure that the result is more than luck"
    sentence += "." if better else ": 95 % are wanted."
    verdict = Verdict.SURVIVED if better else Verdict.UNDECIDED
    return Finding(test=test, verdict=verdict, sentence=sentence, figures=figures)

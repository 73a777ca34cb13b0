"""Statistics of trades: intervals that hold although trades of one day are not independent, and what chance explains.

Floats throughout: nothing here is money that is added up. Percentages of confidence are 95 unless said otherwise.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from attrs import frozen
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVEL: Final = 0.95
LEAST_BLOCKS: Final = 5
"""Days, without which days are no blocks: hours are taken instead."""

HOUR_MS: Final = 3_600_000
EULER: Final = 0.5772156649015329
RESAMPLES: Final = 2_000


@frozen
class Interval:
    """An estimate and the range that holds the truth in 95 of 100 such cases. NaN bounds: too little was seen."""

    mean: float
    low: float
    high: float
    count: int
    blocks: int

    @property
    def is_positive(self) -> bool:
        """Whether all of it lies above 0."""
        return self.low > 0

    @property
    def is_negative(self) -> bool:
        """Whether all of it lies below 0."""
        return self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers; ``None`` for what is not known."""
        values = {"mean": self.mean, "low": self.low, "high": self.high}
        plain: dict[str, Any] = {name: None if math.isnan(each) else round(each, 5) for name, each in values.items()}
        return plain | {"count": self.count, "blocks": self.blocks}

    def __str__(self) -> str:
        if self.count == 0:
            return "nothing"
        bounds = "" if math.isnan(self.low) else f" ({self.low:+.3f} to {self.high:+.3f})"
        return f"{self.mean:+.3f}{bounds}"


NOTHING: Final = Interval(math.nan, math.nan, math.nan, 0, 0)


def blocks_of(starts_ms: Sequence[int]) -> list[int]:
    """Name the block that each time lies in: its UTC day, or its hour where there are too few days."""
    days = [each // (24 * HOUR_MS) for each in starts_ms]
    return days if len(set(days)) >= LEAST_BLOCKS else [each // HOUR_MS for each in starts_ms]


def mean_interval(values: Sequence[float], blocks: Sequence[int], level: float = LEVEL) -> Interval:
    """Estimate the mean. Values of one block may hang together in any way; blocks are taken as independent.

    The standard error is the cluster-robust one with its correction for few blocks, the quantile Student's with one
    degree of freedom fewer than blocks. With fewer than two blocks there are no bounds.
    """
    if not values:
        return NOTHING
    data = np.asarray(values, float)
    _, index = np.unique(np.asarray(blocks), return_inverse=True)
    count, groups = len(data), int(index.max()) + 1
    mean = float(data.mean())
    if groups < 2:  # noqa: PLR2004 - no spread without two
        return Interval(mean, math.nan, math.nan, count, groups)
    sums = np.bincount(index, weights=data - mean, minlength=groups)
    error = math.sqrt(float((sums**2).sum()) * groups / (groups - 1)) / count
    reach = float(stats.t.ppf(0.5 + level / 2, groups - 1)) * error
    return Interval(mean, mean - reach, mean + reach, count, groups)


def wilson(wins: int, count: int, level: float = LEVEL) -> Interval:
    """Estimate a rate: Wilson's interval, which holds for few cases and for rates near 0 and 1."""
    if not count:
        return NOTHING
    found = stats.binomtest(wins, count).proportion_ci(level, method="wilson")
    return Interval(wins / count, float(found.low), float(found.high), count, count)


def block_bootstrap(
    values: Sequence[float], blocks: Sequence[int], seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Estimate the mean by drawing whole blocks again and again, with replacement."""
    if not values:
        return NOTHING
    data = np.asarray(values, float)
    _, index = np.unique(np.asarray(blocks), return_inverse=True)
    groups = int(index.max()) + 1
    sums, sizes = np.bincount(index, weights=data), np.bincount(index)
    if groups < 2:  # noqa: PLR2004 - as above
        return Interval(float(data.mean()), math.nan, math.nan, len(data), groups)
    drawn = np.random.default_rng(seed).integers(0, groups, (resamples, groups))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(data.mean()), float(low), float(high), len(data), groups)


def interval_of(
    statistic: Callable[[np.ndarray[Any, Any]], float], count: int, seed: int, resamples: int = 400
) -> Interval:
    """Estimate anything of ``count`` independent cases: ``statistic`` is given the indices that were drawn."""
    if not count:
        return NOTHING
    whole = statistic(np.arange(count))
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(0, count, count)) for _ in range(resamples)]
    good = [each for each in drawn if not math.isnan(each)]
    if count < 2 or not good:  # noqa: PLR2004 - as above
        return Interval(whole, math.nan, math.nan, count, count)
    low, high = np.quantile(good, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(whole, float(low), float(high), count, count)


def sharpe(values: Sequence[float]) -> float:
    """Return mean over standard deviation of single trades; 0 without a spread."""
    data = np.asarray(values, float)
    spread = float(data.std(ddof=1)) if len(data) > 1 else 0.0
    return float(data.mean()) / spread if spread > 0 else 0.0


def deflated(values: Sequence[float], trials: Sequence[float]) -> float:
    """Return the chance that the Sharpe ratio of ``values`` is more than the best of so many trials without any edge.

    ``trials`` are the ratios of all that was tried (Bailey and Lopez de Prado, "The deflated Sharpe ratio", 2014).
    NaN when there are fewer than three values.
    """
    count = len(values)
    if count < 3:  # noqa: PLR2004 - no skewness without three
        return math.nan
    data, ratio = np.asarray(values, float), sharpe(values)
    if ratio == 0.0:
        return math.nan if float(data.std()) == 0 else 0.5
    number, normal = max(len(trials), 1), NormalDist()
    spread = float(np.std(np.asarray(trials), ddof=1)) if len(trials) > 1 else 0.0
    best = 0.0
    if number > 1:
        chances = normal.inv_cdf(1 - 1 / number), normal.inv_cdf(1 - 1 / (number * math.e))
        best = spread * ((1 - EULER) * chances[0] + EULER * chances[1])
    skew, kurtosis = float(stats.skew(data)), float(stats.kurtosis(data, fisher=False))
    scale = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2
    return normal.cdf((ratio - best) * math.sqrt(count - 1) / math.sqrt(max(scale, 1e-9)))

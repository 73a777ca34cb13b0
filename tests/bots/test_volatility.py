"""How far an asset wanders is measured from its own ticks: near the truth, bounded, and only once enough was seen."""

from __future__ import annotations

import math
import random
from collections import deque
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.updown.oracles.ticks import Tick, TickKind
from bots.updown.volatility import LEAST, MOST, YEAR_S, Volatility
from tests.bots.rounds_rig import START_MS

MINUTE_MS = 60_000


def walk(sigma: float, seconds: int, *, kind: TickKind = TickKind.SPOT, seed: int = 1, lost: float = 0.0):
    """Yield a tick a second of a random walk with this volatility a year, or of its average over a minute."""
    rng, logarithm, last = random.Random(seed), 11.0, deque(maxlen=60)
    for second in range(-60, seconds):
        logarithm += rng.gauss(0, sigma / math.sqrt(YEAR_S))
        last.append(math.exp(logarithm))
        if second >= 0 and rng.random() >= lost:
            price = last[-1] if kind is TickKind.SPOT else sum(last) / 60
            yield Tick("btc", kind, Decimal(price), START_MS + second * 1000, 0.0)


def heard(ticks, kind: TickKind = TickKind.SPOT) -> Volatility:
    found = Volatility("btc", kind)
    for tick in ticks:
        found.hear(tick)
    return found


@pytest.mark.parametrize("kind", list(TickKind))
@pytest.mark.parametrize("sigma", [0.15, 0.5, 1.4])
@pytest.mark.parametrize("lost", [0.0, 0.09])
def test_what_is_measured_is_what_is_so_within_a_few_standard_errors_and_rather_more(kind, sigma, lost):
    found = [
        float(heard(walk(sigma, 7_300, kind=kind, seed=seed, lost=lost), kind).measured.volatility) for seed in range(6)
    ]
    assert all(0.75 * sigma < each < 1.4 * sigma for each in found)
    assert 0.97 * sigma < sum(found) / 6 < 1.17 * sigma


def test_nothing_is_said_until_half_an_hour_was_seen_and_only_two_hours_count():
    ticks = list(walk(0.5, 4 * 3_600))
    assert heard(ticks[: LEAST * 60]).measured is None
    assert heard(ticks[: LEAST * 60 + 1]).measured.samples == LEAST
    assert heard(ticks).measured.samples == MOST
    assert heard(ticks).measured == heard(ticks[-MOST * 60 - 60 :]).measured


def test_a_market_that_grows_wild_is_seen_within_the_two_hours():
    calm, wild = list(walk(0.3, 7_200)), walk(1.5, 7_260, seed=2)
    later = [Tick("btc", TickKind.SPOT, each.price, each.at_ms + 7_200_000, 0.0) for each in wild]
    assert heard([*calm, *later]).measured.volatility > Decimal("1.2")


def test_a_minute_without_a_tick_near_its_beginning_counts_for_nothing():
    ticks = [each for each in walk(0.5, 3_600) if each.at_ms % MINUTE_MS > 5_000 or each.at_ms < START_MS + 600_000]
    assert heard(ticks).measured is None
    hole = [each for each in walk(0.5, 3_660) if not 1_800_000 <= each.at_ms - START_MS < 1_860_000]
    assert heard(hole).measured.samples == 58


def test_prices_that_stand_still_measure_nothing_and_a_jump_is_part_of_it():
    still = [Tick("btc", TickKind.SPOT, Decimal(64_000), START_MS + each * 1000, 0.0) for each in range(3_600)]
    assert heard(still).measured.volatility == 0
    jumped = [*still[:1_800], *(Tick("btc", TickKind.SPOT, Decimal(66_000), each.at_ms, 0.0) for each in still[1_800:])]
    assert heard(jumped).measured.volatility > 2


def test_other_assets_other_kinds_and_ticks_told_again_change_nothing():
    ticks = list(walk(0.5, 3_600))
    found = heard(ticks)
    before = found.measured
    for tick in ticks:
        found.hear(tick)
        found.hear(Tick("eth", TickKind.SPOT, tick.price, tick.at_ms + 3_600_000, 0.0))
        found.hear(Tick("btc", TickKind.TWAP60, tick.price, tick.at_ms + 3_600_000, 0.0))
    assert found.measured == before


@given(st.lists(st.tuples(st.integers(0, 200_000), st.decimals("0.0001", "1000000", places=4)), max_size=400))
def test_whatever_the_ticks_it_is_a_number_and_no_less_than_nothing(steps):
    found, at_ms = Volatility("btc", TickKind.TWAP60), START_MS
    for passes_ms, price in steps:
        at_ms += passes_ms
        found.hear(Tick("btc", TickKind.TWAP60, price, at_ms, 0.0))
    assert found.measured is None or (found.measured.volatility.is_finite() and found.measured.volatility >= 0)

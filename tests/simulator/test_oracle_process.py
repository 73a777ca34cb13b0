"""The simulated oracle: the same prices whatever is asked, exact averages, bounded memory."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from itertools import pairwise

import pytest

from polymirror.errors import ConfigError
from polymirror.simulator import OracleConfig, PriceProcess
from polymirror.simulator.exchange.oracle import BLOCK_TICKS, EARLIER_MS, MAX_BLOCKS, MAX_BLOCKS_KEPT, MAX_TICKS
from polymirror.simulator.settings import DEFAULT_START_MS as START

HOUR = 3_600_000


def test_prices_are_the_same_in_whatever_order_they_are_asked_for() -> None:
    times = [START + 997 * step for step in range(-9_000, 9_000, 37)]
    process = PriceProcess(1)
    forwards = {at: process.price("btc", at) for at in times}
    other = PriceProcess(1)
    random.Random(0).shuffle(times)
    assert {at: other.price("btc", at) for at in times} == forwards
    assert len(set(forwards.values())) > 300


def test_seeds_and_assets_have_prices_of_their_own() -> None:
    def path(seed: int, asset: str) -> list[Decimal]:
        start = {"one": Decimal(100), "two": Decimal(100)}
        return [tick.price for tick in PriceProcess(seed, start).ticks(asset, START, START + 60_000)]

    assert path(1, "one") == path(1, "one")
    assert path(1, "one") != path(1, "two")
    assert path(1, "one") != path(2, "one")


def test_an_average_is_the_mean_of_the_ticks_before_the_moment_rounded_down_to_eight_decimals() -> None:
    process = PriceProcess(3)
    edge = (START - EARLIER_MS) // 1_000 * 1_000
    at_blocks_end = edge + BLOCK_TICKS * 1_000
    for at in (START, START + 1, START + 999, at_blocks_end + 20_000, at_blocks_end, edge + 7_000, edge - 5_000):
        for seconds in (1, 60, 2_000):
            ticks = process.ticks("eth", at - seconds * 1_000 - 1, at - 1)
            exact = sum((tick.price for tick in ticks), Decimal(0)) / len(ticks)
            assert len(ticks) == seconds
            assert 0 <= exact - process.twap("eth", at, seconds) < Decimal("1e-8")
    assert process.twap("eth", START, 0) == process.price("eth", START)


def test_ticks_lie_on_the_grid_after_the_first_and_up_to_the_last_moment() -> None:
    process = PriceProcess(3, config=OracleConfig(tick_ms=500))
    ticks = process.ticks("btc", START + 500, START + 2_000)
    assert [tick.at_ms - START for tick in ticks] == [1_000, 1_500, 2_000]
    assert [tick.price for tick in ticks] == [process.price("btc", tick.at_ms + 499) for tick in ticks]
    assert {tick.price.as_tuple().exponent for tick in ticks} == {-8}
    assert process.ticks("btc", START, START + 499) == []


def test_prices_move_as_much_as_configured_jumps_included() -> None:
    config = OracleConfig(volatility=0.0001, jumps_per_hour=60, jump_size=0.001)
    process = PriceProcess(5, config=config)
    prices = [float(tick.price) for tick in process.ticks("btc", START, START + 24 * HOUR)]
    moves = [math.log(after / before) for before, after in pairwise(prices)]
    measured = math.sqrt(sum(move * move for move in moves) / len(moves))
    assert measured == pytest.approx(config.deviation, rel=0.1)
    assert 0.5 < sum(abs(move) > 0.0005 for move in moves) / (24 * 60 * math.exp(-0.5)) < 1.5


def test_a_price_stays_positive_however_wild_it_is() -> None:
    wild = OracleConfig(volatility=0.01, jumps_per_hour=3_600, jump_size=0.2)
    process = PriceProcess(1, {"tiny": Decimal("0.0001")}, config=wild)
    assert min(tick.price for tick in process.ticks("tiny", START, START + HOUR)) > 0


def test_memory_is_bounded_whatever_is_asked() -> None:
    process = PriceProcess(1)
    for hour in range(0, 100, 7):
        process.price("btc", START + hour * HOUR)
    walk = process._walks["btc"]
    assert len(walk.blocks) <= MAX_BLOCKS_KEPT
    assert len(walk.opens) < 450


def test_questions_without_an_answer_are_refused_with_the_allowed_range() -> None:
    process = PriceProcess(1, {"btc": Decimal(1)})
    with pytest.raises(ConfigError, match="one of btc"):
        process.price("eth", START)
    with pytest.raises(ConfigError, match=f"at most {MAX_TICKS} prices"):
        process.ticks("btc", START, START + (MAX_TICKS + 1) * 1_000)
    with pytest.raises(ConfigError, match="below"):
        process.price("btc", START + MAX_BLOCKS * BLOCK_TICKS * 1_000)


@pytest.mark.parametrize(
    "wrong",
    [{"volatility": 0.5}, {"tick_ms": 10}, {"jump_size": -1}, {"start_prices": {"btc": Decimal(0)}}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        OracleConfig(**wrong)  # type: ignore[arg-type]

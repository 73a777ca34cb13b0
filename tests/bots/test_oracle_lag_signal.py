"""The signal: strict thresholds, the right side, and a fair price that never flatters."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.oracle_lag.signal import Direction, Quiet, Signal, SignalSettings, decide, fair_price
from bots.updown.strike import Strike, StrikeSource
from bots.updown.volatility import Measured
from polymirror.errors import ConfigError

START_MS = 1_790_000_100_000
END_MS = START_MS + 900_000
STRIKE = Strike(Decimal(50_000), StrikeSource.BOUNDARY_TICK)
SETTINGS = SignalSettings()


def decide_at(price: str, now_ms: int = START_MS + 60_000, strike: Strike | None = STRIKE) -> Signal | Quiet:
    return decide(SETTINGS, Decimal(price), strike, now_ms, START_MS, END_MS)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("50035", Quiet.SMALL_MOVE),  # exactly 0.07 %
        ("50035.00000001", Direction.UP),
        ("49965", Quiet.SMALL_MOVE),
        ("49964.99999999", Direction.DOWN),
        ("50000", Quiet.SMALL_MOVE),
    ],
)
def test_a_move_must_exceed_the_threshold_to_the_last_digit(price, expected):
    found = decide_at(price)
    assert (found.direction if isinstance(found, Signal) else found) is expected


@pytest.mark.parametrize(
    ("now_ms", "expected"),
    [
        (START_MS - 1, Quiet.NOT_OPEN),
        (START_MS, None),
        (END_MS - 300_001, None),
        (END_MS - 300_000, Quiet.TOO_LATE),
        (END_MS - 1, Quiet.TOO_LATE),
        (END_MS, Quiet.NOT_OPEN),
    ],
)
def test_more_than_five_minutes_must_be_left(now_ms, expected):
    found = decide_at("51000", now_ms)
    assert found is expected if expected else isinstance(found, Signal)


def test_without_a_strike_there_is_no_signal():
    assert decide_at("51000", strike=None) is Quiet.NO_STRIKE


def test_a_lead_of_nothing_is_a_coin_toss():
    assert fair_price(SETTINGS, Decimal(0), 600_000, Decimal("0.5")) == Decimal("0.5")


@given(
    lead=st.decimals("0.0001", "0.1", places=6),
    more=st.decimals("0.0001", "0.1", places=6),
    left_ms=st.integers(1, 3_600_000),
    price=st.sampled_from(["spot", "twap60"]),
)
def test_a_larger_lead_and_less_time_are_worth_more_and_never_more_than_one(lead, more, left_ms, price):
    settings = SignalSettings(price=price)
    half = Decimal("0.5")
    fair = fair_price(settings, lead, left_ms, half)
    assert half <= fair <= fair_price(settings, lead + more, left_ms, half) <= 1
    assert fair >= fair_price(settings, lead, left_ms + 60_000, half)
    assert fair >= fair_price(settings, lead, left_ms, Decimal("0.6"))
    assert fair == fair.quantize(Decimal("0.0001"))


@pytest.mark.parametrize(
    ("measured", "believed"), [(None, "0.5"), ("0.7", "0.7"), ("0.01", "0.2"), ("0", "0.2"), ("9", "3")]
)
def test_what_is_measured_counts_between_floor_and_cap_and_the_setting_until_then(measured, believed):
    told = None if measured is None else Measured(Decimal(measured), 60)
    found = decide(SETTINGS, Decimal(50_100), STRIKE, START_MS, START_MS, END_MS, told)
    assert found.volatility == Decimal(believed)
    assert found.fair == fair_price(SETTINGS, Decimal("0.002"), 900_000, Decimal(believed))


def test_a_floor_above_the_cap_is_refused():
    with pytest.raises(ConfigError, match="min_volatility"):
        SignalSettings(min_volatility=Decimal(2), max_volatility=Decimal(1))


@given(st.decimals("1", "100000", places=8), st.decimals("1", "100000", places=8))
def test_up_and_down_are_mirror_images_of_the_side_of_the_strike(price, strike):
    found = decide(SETTINGS, price, Strike(strike, StrikeSource.OFFICIAL), START_MS, START_MS, END_MS)
    if isinstance(found, Signal):
        assert (found.direction is Direction.UP) == (price > strike)
        assert abs(price - strike) > strike * Decimal("0.0006")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_move", Decimal("0.5")),
        ("min_move", 0.0007),
        ("min_left", -1),
        ("min_left", 300.0),
        ("max_price", Decimal("1.5")),
        ("volatility", Decimal(0)),
        ("price", "pyth"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=field):
        SignalSettings(**{field: value})

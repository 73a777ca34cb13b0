"""The bot's settings: what can never trade is refused with the reason, and the environment reaches every key."""

from __future__ import annotations

import pytest

from bots.common.operate.settings import SettingsError, build, keys_of, variable_of
from bots.oracle_lag.config import BotSettings


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"rounds": {"intervals": ["5m"]}},
            "rounds.intervals='5m' is not allowed: it must be longer than signal.min_left, 300 s",
        ),
        ({"rounds": {"intervals": ["15m"]}, "signal": {"min_left": 900}}, "rounds.intervals='15m' is not allowed"),
        ({"rounds": {"intervals": ["1h"]}}, "rounds.intervals=('1h',) is not allowed: it must be different ones of 5m"),
        ({"signal": {"max_price": "0.01"}}, "signal.max_price=0.01 is not allowed: it must be above 0.01, the tick"),
        ({"orders": {"size": {"max_price": "0.009"}}}, "orders.size.max_price=0.009 is not allowed"),
        (
            {"orders": {"size": {"min_money": 25}}},
            "orders.size.min_money=25 is not allowed: it must be less than orders.size.max_money, 25",
        ),
        ({"risk": {"max_trade": 1}}, "orders.size.min_money=1 is not allowed: it must be less than risk.max_trade, 1"),
        ({"risk": {"max_market": "0.5"}}, "orders.size.min_money=1 is not allowed"),
        ({"risk": {"max_daily_loss": "0.5"}}, "orders.size.min_money=1 is not allowed"),
        ({"paper": {"cash": 1}}, "orders.size.min_money=1 is not allowed: it must be less than paper.cash, 1"),
        ({"orders": {"size": {"min_shares": 2_500}}}, "orders.size.min_shares=2500 is not allowed: it must be less"),
        ({"orders": {"size": {"min_edge": "0.99"}}}, "orders.size.min_edge=0.99 is not allowed"),
        ({"oracle": {"kinds": ["spot"]}}, "oracle.kinds=('spot',) is not allowed: it must be with twap60"),
        ({"oracle": {"kinds": ["twap60"]}, "signal": {"price": "spot"}}, "oracle.kinds=('twap60',) is not allowed"),
        ({"oracle": {"max_silence_ms": 1_000}}, "oracle.max_silence_ms=1000 is not allowed: it must be more than 1000"),
        ({"oracle": {"max_age_ms": 500}}, "oracle.max_age_ms=500 is not allowed"),
        ({"signal": {"min_volatility": 4}}, "signal.min_volatility=4 is not allowed: it must be at most"),
    ],
)
def test_settings_that_can_never_trade_are_refused_with_the_reason(values, problem):
    with pytest.raises(SettingsError) as caught:
        build(BotSettings, values, {})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(problem)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"rounds": {"intervals": ["5m", "15m"]}, "signal": {"min_left": 120}},
        {"risk": {"max_trade": "1.5"}},
        {"oracle": {"kinds": ["twap60"], "max_silence_ms": 1_500}},
        {"signal": {"max_price": "0.02"}},
    ],
)
def test_settings_that_may_trade_are_not_refused(values):
    build(BotSettings, values, {})


def test_one_environment_variable_switches_the_oracle():
    assert build(BotSettings, {}, {"POLYMIRROR_BOT_ORACLE_SOURCE": "polybolt"}).oracle.source == "polybolt"
    assert build(BotSettings, {}, {"POLYMIRROR_BOT_ASSETS": "btc,eth"}).assets == ("btc", "eth")


def test_every_setting_has_a_variable_of_its_own():
    keys = [key for key, _ in keys_of(BotSettings)]
    assert len({variable_of(key) for key in keys}) == len(keys) > 100
    assert not [key for key in keys if key.startswith("keys.")]

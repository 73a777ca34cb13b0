"""The rules of each time."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bots.research.eras import Eras
from polymirror.core.fees import FeeSchedule
from polymirror.errors import ConfigError


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("interval", "when", "rate", "exponent", "delay", "settlement"),
    [
        ("15m", "2025-12-15", "0", 1, 500, "spot"),
        ("15m", "2026-01-04T23:59:59", "0", 1, 500, "spot"),
        ("15m", "2026-01-05", "0.25", 2, 500, "spot"),
        ("5m", "2026-02-11", "0", 1, 0, "spot"),
        ("5m", "2026-02-12", "0.25", 2, 0, "spot"),
        ("15m", "2026-02-18", "0.25", 2, 0, "spot"),
        ("5m", "2026-04-28", "0.072", 1, 0, "spot"),
        ("5m", "2026-06-08", "0.07", 1, 250, "spot"),
        ("5m", "2026-08-07", "0.07", 1, 250, "twap30"),
        ("15m", "2026-08-07", "0.07", 1, 250, "spot"),
        ("15m", "2026-08-14", "0.07", 1, 250, "twap60"),
        ("5m", "2026-08-17T10:59:59", "0.07", 1, 250, "twap60"),
        ("5m", "2026-08-17T11:00:00", "0.07", 1, 50, "twap60"),
        ("5m", "2026-09-04", "0.07", 1, 150, "twap60"),
    ],
)
def test_fee_delay_and_settlement_are_those_of_the_date(
    interval: str, when: str, rate: str, exponent: int, delay: int, settlement: str
) -> None:
    rules = Eras().rules(interval, at(when))
    assert (rules.fee, rules.taker_delay_ms, rules.settlement) == (
        FeeSchedule(Decimal(rate), exponent),
        delay,
        settlement,
    )


def test_a_markets_own_terms_win_and_make_an_era_of_their_own() -> None:
    usual, own = (Eras().rules("5m", at("2026-06-08"), fee) for fee in (None, FeeSchedule(Decimal("0.05"), 1)))
    assert own.fee.rate == Decimal("0.05")
    assert own.era != usual.era


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("fees", "2026-01-05 15m 0.25"),
        ("fees", "then 15m 0.25 2"),
        ("fees", "2026-01-05 15m much 2"),
        ("fees", "2026-01-05 15m 7 2"),
        ("delays", "2026-01-05 15m -1"),
        ("delays", "2026-01-05 15m 60001"),
        ("settlements", "2026-01-05 15m binance"),
    ],
)
def test_a_line_that_is_no_rule_is_refused_and_named(field: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"eras.{field}"):
        Eras(**{field: (line,)})

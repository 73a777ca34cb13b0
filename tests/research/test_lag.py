"""A planted lag is found by all three measures, and none where there is none."""

from __future__ import annotations

import random

import pytest

from bots.research.lag import measure
from bots.research.windows import Quotes, Ticks, Window
from tests.research.builders import FREE, START_MS


def planted(lag_s: int, seed: int) -> Window:
    """An oracle that wanders once a second, and a token that follows it so many seconds later."""
    rng = random.Random(f"lag:{seed}")
    price, prices = 50_000.0, []
    for _ in range(900):
        price += rng.gauss(0, 5) + (rng.random() < 0.02) * rng.choice((-60, 60))
        prices.append(price)
    times = [START_MS + each * 1000 for each in range(900)]
    mids = [int(5_000 + (prices[max(each - lag_s, 0)] - 50_000) * 5) for each in range(900)]
    return Window(
        source="planted",
        asset="btc",
        start_ms=START_MS,
        end_ms=START_MS + 900_000,
        rules=FREE.rules("15m", START_MS),
        oracle=Ticks(at_ms=times, received_ms=times, price_e8=[int(each * 1e8) for each in prices]),
        up=Quotes(received_ms=times, bid_e4=[max(each - 50, 1) for each in mids], ask_e4=[each + 50 for each in mids]),
    )


@pytest.mark.parametrize("lag_s", [0, 7])
def test_a_planted_lag_is_found(lag_s: int) -> None:
    found = measure([planted(lag_s, seed) for seed in range(4)], seed=1)
    assert found is not None
    peak = found["correlation"]["peak_s"]
    assert (peak["low"], peak["mean"], peak["high"]) == (lag_s, lag_s, lag_s)
    assert found["reprice_s"]["p50"] == lag_s
    study = found["event_study"]
    before = study["mean"][study["offsets_s"].index(lag_s - 1.0)]
    after = study["mean"][study["offsets_s"].index(float(lag_s))]
    assert after > before + 0.01


def test_without_both_series_nothing_is_measured() -> None:
    whole = planted(0, 1)
    alone = Window(
        source="x", asset="btc", start_ms=whole.start_ms, end_ms=whole.end_ms, rules=whole.rules, oracle=whole.oracle
    )
    assert measure([alone], seed=1) is None

"""Which prices are believed, and when they are stale: without any feed."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.updown.oracles.base import OracleHealth, e18, sound_price
from bots.updown.oracles.board import MAX_LISTENERS, Patience, Price, PriceBoard
from bots.updown.oracles.buffer import OracleBuffer
from bots.updown.oracles.ticks import Tick, TickKind
from bots.updown.oracles.twap import twap_from_spot
from polymirror.errors import ConfigError
from polymirror.simulator.exchange.oracle import PriceProcess
from polymirror.simulator.settings import DEFAULT_START_MS

SPOT, TWAP = TickKind.SPOT, TickKind.TWAP60
NOW, NOW_MS = 1_000.0, 1_790_000_000_000


def board(*kinds, assets=("btc", "eth"), **patience):
    return PriceBoard(assets, kinds or (SPOT,), patience=Patience(**patience), buffer=OracleBuffer())


def price(at_ms, value=100, asset="btc", kind=SPOT):
    return Price(asset, kind, Decimal(value), at_ms)


def test_a_price_is_stale_once_nothing_newer_came_for_too_long():
    prices = board()
    assert prices.stale("btc", NOW)
    assert prices.take(price(NOW_MS - 1_000), NOW, NOW_MS)
    assert not prices.stale("btc", NOW + 5.0)
    assert prices.stale("btc", NOW + 5.001)
    # The same price again is no sign of life.
    assert not prices.take(price(NOW_MS - 1_000), NOW + 5.0, NOW_MS + 5_000)
    assert prices.stale("btc", NOW + 5.001)
    assert prices.counts["duplicate"] == 1


def test_a_price_that_was_old_when_it_came_is_stale_however_lately_it_came():
    prices = board()
    prices.take(price(NOW_MS - 9_000), NOW, NOW_MS)
    assert not prices.stale("btc", NOW + 1.0)
    assert prices.stale("btc", NOW + 1.001)
    prices.take(price(NOW_MS + 1_000 - 10_001), NOW + 1.001, NOW_MS + 1_000)
    assert prices.stale("btc", NOW + 1.001)


def test_an_oracle_clock_ahead_of_ours_does_not_make_prices_live_longer():
    prices = board(max_age_ms=5_000, max_silence_ms=60_000)
    prices.take(price(NOW_MS + 4_000), NOW, NOW_MS)
    assert prices.stale("btc", NOW + 5.001)


def test_a_price_of_the_future_is_dropped_and_does_not_make_the_next_one_old():
    prices = board()
    assert not prices.is_news(price(NOW_MS + 5_001), NOW_MS)
    assert not prices.take(price(NOW_MS + 5_001), NOW, NOW_MS)
    assert not prices.take(price(-1), NOW, NOW_MS)
    assert prices.stale("btc", NOW)
    assert prices.counts["ahead"] == 2
    assert prices.take(price(NOW_MS), NOW, NOW_MS)


def test_old_prices_are_dropped_and_contradictions_are_counted():
    prices = board()
    heard = []
    prices.listen(heard.append)
    prices.take(price(NOW_MS, 100), NOW, NOW_MS)
    prices.take(price(NOW_MS - 1_000, 99), NOW, NOW_MS)
    prices.take(price(NOW_MS, 101), NOW, NOW_MS)
    assert prices.counts == {"new": 1, "old": 1, "contradicted": 1}
    assert heard == [Tick("btc", SPOT, Decimal(100), NOW_MS, NOW)]


def test_history_fills_holes_and_is_not_announced():
    prices = board()
    heard = []
    prices.listen(heard.append)
    for at_ms in (NOW_MS - 5_000, NOW_MS):
        prices.take(price(at_ms), NOW, NOW_MS)
    for at_ms in range(NOW_MS - 5_000, NOW_MS + 2_000, 1_000):
        prices.take(price(at_ms), NOW, NOW_MS + 2_000, history=True)
    assert prices.counts == {"new": 2, "filled": 4, "duplicate": 2, "history": 1}
    assert prices.buffer.count("btc", SPOT) == 7
    assert len(heard) == 2


def test_what_nobody_asked_for_is_not_kept():
    prices = board(SPOT)
    for odd in (price(NOW_MS, asset="doge"), price(NOW_MS, kind=TWAP)):
        assert not prices.is_news(odd, NOW_MS)
        assert not prices.take(odd, NOW, NOW_MS)
        assert prices.stale(odd.asset, NOW, odd.kind)
    assert prices.counts["not asked for"] == 2


def test_without_a_kind_every_kind_must_be_fresh():
    prices = board(SPOT, TWAP)
    prices.take(price(NOW_MS), NOW, NOW_MS)
    assert prices.stale("btc", NOW)
    assert not prices.stale("btc", NOW, SPOT)
    prices.take(price(NOW_MS, kind=TWAP), NOW, NOW_MS)
    assert not prices.stale("btc", NOW)


def test_listeners_are_bounded():
    prices = board()
    stops = [prices.listen(lambda _tick: None) for _ in range(MAX_LISTENERS)]
    with pytest.raises(ConfigError, match="callbacks"):
        prices.listen(print)
    stops[0]()
    prices.listen(print)


def test_an_empty_board_is_refused():
    with pytest.raises(ConfigError):
        board(assets=())


def test_health_is_fresh_only_when_every_series_is():
    prices = board(SPOT, assets=("btc", "eth"))
    prices.take(price(NOW_MS - 2_000), NOW, NOW_MS)

    def health():
        series = prices.all_health(NOW + 1)
        return OracleHealth(name="x", connected=True, series=series, counts={}, trouble="")

    assert not health().fresh
    assert health().series["eth", SPOT].silence == math.inf
    btc = health().series["btc", SPOT]
    assert (btc.silence, btc.age, btc.stale) == (1.0, 3.0, False)
    prices.take(price(NOW_MS, asset="eth"), NOW, NOW_MS)
    assert health().fresh


@pytest.mark.parametrize("odd", ["NaN", "sNaN", "Infinity", "-Infinity", "0", "-1", "1E-10", "1E+400", "1." + "1" * 50])
def test_what_no_asset_costs_is_not_a_price(odd):
    with pytest.raises(ValueError, match="not believed"):
        sound_price(Decimal(odd))


def test_whole_units_become_dollars_exactly():
    assert e18(76211800165600190000000) == Decimal("76211.80016560019")
    assert e18(999_999_999 * 10**18 + 1) == Decimal("999999999.000000000000000001")
    for odd in (0, -1, 10**40, 2**200, -(2**255)):
        with pytest.raises(ValueError, match="not believed"):
            e18(odd)


# ---- The average computed from spot prices -------------------------------------------------------------


def spots(values):
    buffer = OracleBuffer()
    for at_ms, value in values:
        buffer.put(Tick("btc", SPOT, Decimal(value), at_ms, 0.0))
    return buffer


def test_with_a_price_for_each_second_the_average_is_the_one_that_decides_simulated_rounds():
    process = PriceProcess(3)
    start = DEFAULT_START_MS
    buffer = spots((each.at_ms, each.price) for each in process.ticks("btc", start - 100_000, start + 100_000))
    for second in range(start, start + 60_000, 1_000):
        ours, theirs = twap_from_spot(buffer, "btc", second), process.twap("btc", second)
        assert ours.quantize(Decimal("1e-8"), rounding="ROUND_DOWN") == theirs


def test_a_price_holds_until_the_next_one_and_counts_by_its_time():
    buffer = spots([(0, 10), (40_000, 40)])
    assert twap_from_spot(buffer, "btc", 60_000, max_hole_ms=60_000) == Decimal(20)
    # What is observed at the moment itself does not belong to the time before it.
    buffer.put(Tick("btc", SPOT, Decimal(999), 60_000, 0.0))
    assert twap_from_spot(buffer, "btc", 60_000, max_hole_ms=60_000) == Decimal(20)


def test_a_quotient_without_an_end_is_cut_not_rounded():
    buffer = spots([(0, 1), (20_000, 2)])
    average = twap_from_spot(buffer, "btc", 60_000, max_hole_ms=60_000)
    assert average == Decimal("1.666666666666666666")


@pytest.mark.parametrize(
    ("seconds", "known"),
    [
        (range(-5, 60), True),
        (range(-4, 60, 5), True),
        (range(1, 60), False),  # nothing tells the price at the beginning
        (range(-6, -5), False),  # only one that is too old
        ([*range(-1, 20), *range(26, 60)], False),  # a hole of six seconds
        (range(-1, 54), False),  # the end is missing
        ([], False),
    ],
)
def test_a_hole_anywhere_makes_the_average_unknown(seconds, known):
    buffer = spots((second * 1_000 + 600_000, 100) for second in seconds)
    assert (twap_from_spot(buffer, "btc", 660_000) == Decimal(100)) is known
    assert (twap_from_spot(buffer, "btc", 660_000) is not None) is known


@given(st.lists(st.integers(1, 10**14), min_size=60, max_size=60))
def test_the_sum_is_exact(cents):
    buffer = spots((second * 1_000, Decimal(value).scaleb(-8)) for second, value in enumerate(cents))
    exact = sum(cents) * 10**10 // 60
    assert twap_from_spot(buffer, "btc", 60_000) == Decimal(exact).scaleb(-18)

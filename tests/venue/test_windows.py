from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymirror.errors import ConfigError
from polymirror.venue import windows
from polymirror.venue.windows import Interval, window_at, window_slugs

EASTERN = ZoneInfo("America/New_York")


def at(*moment: int, fold: int = 0) -> float:
    return datetime(*moment, tzinfo=EASTERN, fold=fold).timestamp()


def test_short_windows_lie_on_the_utc_grid():
    window = window_at("BTC", "15m", 1_790_000_999.9)
    assert (window.slug, window.start, window.end) == ("btc-updown-15m-1790000100", 1_790_000_100, 1_790_001_000)
    assert window_at("hype", Interval.FIVE_MINUTES, 1_782_287_400).slug == "hype-updown-5m-1782287400"


@pytest.mark.parametrize(
    ("moment", "slug"),
    [
        ((2026, 9, 16, 8, 59), "bitcoin-up-or-down-september-16-2026-8am-et"),
        ((2026, 9, 16, 0, 0), "bitcoin-up-or-down-september-16-2026-12am-et"),
        ((2026, 9, 16, 12, 0), "bitcoin-up-or-down-september-16-2026-12pm-et"),
        ((2026, 1, 1, 23, 0), "bitcoin-up-or-down-january-1-2026-11pm-et"),
    ],
)
def test_an_hour_is_named_after_its_start_in_eastern_time(moment, slug):
    window = window_at("btc", "1h", at(*moment))
    assert window.slug == slug
    assert window.end - window.start == 3600
    assert not window.ambiguous


@pytest.mark.parametrize(
    ("moment", "slug", "hours"),
    [
        ((2026, 9, 16, 11, 59), "ethereum-up-or-down-on-september-16-2026", 24),
        ((2026, 9, 16, 12, 0), "ethereum-up-or-down-on-september-17-2026", 24),
        ((2026, 3, 8, 3, 30), "ethereum-up-or-down-on-march-8-2026", 23),
        ((2026, 10, 31, 13, 0), "ethereum-up-or-down-on-november-1-2026", 25),
        ((2026, 12, 31, 12, 0), "ethereum-up-or-down-on-january-1-2027", 24),
    ],
)
def test_a_day_runs_from_noon_to_noon_and_is_named_after_its_end(moment, slug, hours):
    window = window_at("eth", "1d", at(*moment))
    assert window.slug == slug
    assert window.end - window.start == hours * 3600
    assert datetime.fromtimestamp(window.end, EASTERN).hour == 12


def test_the_hour_that_comes_twice_is_marked():
    first, second = (window_at("sol", "1h", at(2026, 11, 1, 1, 30, fold=fold)) for fold in (0, 1))
    assert first.slug == second.slug == "solana-up-or-down-november-1-2026-1am-et"
    assert second.start - first.start == 3600
    assert first.ambiguous
    assert second.ambiguous
    assert not window_at("sol", "1h", first.start - 1).ambiguous
    assert not window_at("sol", "1h", second.end).ambiguous


@given(
    st.integers(1_700_000_000, 1_900_000_000),
    st.sampled_from(list(Interval)),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_windows_follow_each_other_without_gap(now, interval, behind, ahead):
    found = window_slugs("xrp", interval, now, behind=behind, ahead=ahead)
    assert len(found) == behind + ahead + 1
    assert found[behind].start <= now < found[behind].end
    for earlier, later in itertools.pairwise(found):
        assert earlier.end == later.start
        assert earlier.slug != later.slug or (earlier.ambiguous and later.ambiguous)


def test_what_has_no_formula_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="look them up"):
        window_at("btc", "4h", 0)
    with pytest.raises(ConfigError, match="looked up"):
        window_at("hype", "1h", 1_790_000_000)
    with pytest.raises(ConfigError, match="asset"):
        window_at("btc/../", "5m", 1_790_000_000)
    with pytest.raises(ConfigError, match="not negative"):
        window_slugs("btc", "5m", 1_790_000_000, ahead=-1)


def test_a_system_without_time_zones_is_told_what_to_install(monkeypatch):
    def missing(_name):
        raise ZoneInfoNotFoundError

    windows._zone.cache_clear()
    monkeypatch.setattr("zoneinfo.ZoneInfo", missing)
    with pytest.raises(ConfigError, match="tzdata"):
        window_at("btc", "1h", 1_790_000_000)
    windows._zone.cache_clear()
    assert datetime.fromtimestamp(0, UTC) + timedelta(0)

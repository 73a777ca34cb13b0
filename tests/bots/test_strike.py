"""The strike is a tick at the boundary itself, or the venue's word; nothing near it will do."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bots.updown.oracles.buffer import OracleBuffer
from bots.updown.oracles.ticks import Tick, TickKind
from bots.updown.strike import StrikeLimits, StrikeRefusal, StrikeSource, can_tell, contradicted, find_strike, recognise
from polymirror.venue.market import Token
from tests.bots.rounds_rig import START_MS, market_of, window


def buffer_of(*ticks, kind=TickKind.TWAP60, asset="btc"):
    buffer = OracleBuffer()
    for offset_ms, price in ticks:
        buffer.put(Tick(asset, kind, Decimal(price), START_MS + offset_ms, 0.0))
    return buffer


@pytest.mark.parametrize(
    ("ticks", "price"),
    [
        ([(-1000, "1"), (0, "2"), (1000, "3")], "2"),
        ([(-1000, "1"), (1000, "3")], None),  # the second of the boundary is missing
        ([(-500, "1")], "1"),
        ([(-501, "1")], None),
        ([(500, "3")], "3"),
        ([(501, "3")], None),
        ([(-400, "1"), (100, "2")], "2"),
        ([], None),
    ],
)
def test_a_tick_counts_only_within_half_a_second_of_the_boundary(ticks, price):
    found = find_strike(buffer_of(*ticks), "btc", START_MS, None)
    assert (None if found is None else str(found.price)) == price
    assert found is None or found.source is StrikeSource.BOUNDARY_TICK


def test_the_venues_own_value_is_believed_before_ours():
    found = find_strike(buffer_of((0, "2")), "btc", START_MS, Decimal("2.0001"))
    assert (found.price, found.source) == (Decimal("2.0001"), StrikeSource.OFFICIAL)


@pytest.mark.parametrize(
    ("official", "good"),
    [
        ("64000.1234", True),
        ("64006.4123", True),  # exactly 0.01 %
        ("64006.5", False),
        ("63993.5", False),
        ("64057.6", False),  # 0.09 %
        ("0", False),
        ("-64000", False),
        ("1e30", False),
        ("NaN", False),
        ("6400", False),
    ],
)
def test_a_strike_on_which_the_venue_and_our_tick_do_not_agree_is_refused_with_the_numbers(official, good):
    found = find_strike(buffer_of((0, "64000.0123"), (1000, "64057.6")), "btc", START_MS, Decimal(official))
    assert isinstance(found, StrikeRefusal) is not good
    if not good:
        assert str(Decimal(official)) in found.why


@pytest.mark.parametrize(
    ("official", "good"), [("65000", True), ("62721", True), ("62719", False), ("58240", False), ("640", False)]
)
def test_without_a_tick_at_the_boundary_an_absurd_strike_is_refused_all_the_same(official, good):
    found = find_strike(buffer_of((60_000, "64000")), "btc", START_MS, Decimal(official))
    assert isinstance(found, StrikeRefusal) is not good


def test_without_any_tick_of_ours_no_strike_is_believed():
    assert find_strike(buffer_of(), "btc", START_MS, Decimal(5)) is None
    assert isinstance(find_strike(buffer_of(), "btc", START_MS, Decimal("1e10")), StrikeRefusal)


def test_how_far_the_two_may_be_apart_can_be_set():
    official, buffer = Decimal("64006.5"), buffer_of((0, "64000"))
    assert find_strike(buffer, "btc", START_MS, official, StrikeLimits(Decimal("0.001"))).price == official
    assert isinstance(find_strike(buffer, "btc", START_MS, official, StrikeLimits(Decimal(0))), StrikeRefusal)


def test_how_far_the_official_one_may_be_from_our_newest_price_can_be_set():
    official, buffer = Decimal(64100), buffer_of((60_000, "64000"))
    assert find_strike(buffer, "btc", START_MS, official).price == official
    assert isinstance(
        find_strike(buffer, "btc", START_MS, official, StrikeLimits(max_drift=Decimal("0.001"))), StrikeRefusal
    )


@pytest.mark.parametrize("official", [None, Decimal(64000)])
@pytest.mark.parametrize(
    ("limits", "good"),
    [
        ({"lowest": "64000", "highest": "64000"}, True),
        ({"lowest": "64000.1", "highest": "70000"}, False),
        ({"lowest": "1", "highest": "63999.9"}, False),
    ],
)
def test_a_strike_outside_the_bounds_is_refused_whoever_says_it(official, limits, good):
    bounds = StrikeLimits(**{name: Decimal(value) for name, value in limits.items()})
    found = find_strike(buffer_of((0, "64000")), "btc", START_MS, official, bounds)
    assert isinstance(found, StrikeRefusal) is not good


@pytest.mark.parametrize(
    ("last", "up_pays", "good"),
    [
        ("64100", "1", True),
        ("64100", "0", False),
        ("63900", "0", True),
        ("63900", "1", False),
        ("64100", "0.5", True),
        ("64100", None, True),
        ("64006", "0", True),  # too near to be sure
    ],
)
def test_a_winner_that_our_own_prices_contradict_is_named(last, up_pays, good):
    buffer = buffer_of((0, "64000"), (900_000, last))
    pays = None if up_pays is None else Decimal(up_pays)
    found = contradicted(buffer, "btc", START_MS, START_MS + 900_000, pays)
    assert (found == "") is good
    assert good or last in found
    assert not contradicted(buffer_of((0, "64000")), "btc", START_MS, START_MS + 900_000, pays)


def test_the_last_price_and_other_assets_are_no_strike():
    assert find_strike(buffer_of((0, "2"), kind=TickKind.SPOT), "btc", START_MS, None) is None
    assert find_strike(buffer_of((0, "2"), asset="eth"), "btc", START_MS, None) is None


def test_a_market_without_up_and_down_is_not_recognised():
    assert recognise(market_of(window()), window()) == ""
    odd = market_of(window(), tokens=(Token("1", "Yes"), Token("2", "No")))
    assert "up and down" in recognise(odd, window())


@pytest.mark.parametrize(("ticks", "tells"), [((0, 900), True), ((0,), False), ((900,), False), ((1, 900), False)])
def test_our_prices_tell_who_won_if_both_boundaries_have_a_tick_and_the_two_are_apart(ticks, tells):
    buffer = buffer_of(*((at * 1000, "64000" if at < 900 else "64100") for at in ticks))
    assert can_tell(buffer, "btc", START_MS, START_MS + 900_000) is tells
    assert not can_tell(buffer_of((0, "64000"), (900_000, "64006")), "btc", START_MS, START_MS + 900_000)

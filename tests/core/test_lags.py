"""How late changes are applied: market by market, and what follows for its books."""

from __future__ import annotations

import pytest

from polymirror.core.states import BookState
from tests.core.builders import CONSTANTS, START, Exchange, Rig, assert_right


@pytest.fixture
def one():
    return Exchange()


@pytest.fixture
def other():
    return Exchange("0xn", "33", "44")


@pytest.fixture
def rig(one, other):
    """Two markets on one socket; the venue's clock is known."""
    rig = Rig.live(one, other)
    rig.time()
    for exchange in (one, other):
        rig.send(exchange.change("BUY", "0.46", "5"))
    rig.settle()
    return rig


def lag(rig, market="0xm"):
    return rig.engine.markets[market].lag


def late(rig, exchange, seconds):
    """Make a change now, and apply it so much later."""
    exchange.at = START + round((rig.now - 1000) * 1000)
    message = exchange.change("BUY", "0.46", str(round(rig.now)))
    rig.advance(seconds)
    rig.send(message)


def test_a_market_has_the_lag_of_its_newest_change(rig, one):
    late(rig, one, 0.75)
    assert lag(rig) == pytest.approx(0.75, abs=0.01)
    assert rig.live_view("11").apply_lag == lag(rig)
    rig.advance(1.0)
    rig.send(one.change("BUY", "0.46", "6"))
    assert lag(rig) == pytest.approx(0.0, abs=0.01)


def test_a_market_whose_changes_come_too_late_is_doubted_and_its_neighbour_is_not(rig, one):
    late(rig, one, 2.5)
    assert rig.path("11") == rig.path("22") == ["SUSPECT APPLY_LAG"]
    assert rig.path("33") == rig.path("44") == []
    assert rig.live_view("33").apply_lag == pytest.approx(0.0, abs=0.01)
    assert [each.lagging for each in rig.engine.status(rig.now).markets] == [True, False]


def test_a_late_market_is_live_again_with_the_next_change_in_time(rig, one):
    late(rig, one, 2.5)
    rig.send(one.change("BUY", "0.46", "7"))
    assert rig.path("11") == ["SUSPECT APPLY_LAG", "LIVE PROVEN"]
    assert rig.live_view("11").verified_age == pytest.approx(0.0, abs=0.01)


def test_a_book_is_not_live_while_its_market_is_late_whatever_proves_it(rig, one):
    late(rig, one, 2.5)
    rig.answer()
    rig.send(one.book("11"))
    assert rig.state("11") is BookState.SUSPECT


def test_a_market_on_which_nothing_more_comes_has_caught_up_after_a_while(rig, one):
    late(rig, one, 2.5)
    rig.advance(rig.engine.config.max_apply_lag - 0.1)
    rig.answer()
    assert rig.state("11") is BookState.SUSPECT
    for _ in range(6):
        rig.advance(0.5)
        rig.answer()
    assert rig.path("11")[-1] == "LIVE PROVEN"
    assert_right(rig, one)


def test_a_change_that_is_late_in_its_own_order_is_no_lag(rig, one):
    old = one.change("BUY", "0.46", "8")
    rig.advance(3.0)
    rig.send(one.change("BUY", "0.46", "9"))
    before = lag(rig)
    rig.send(old)
    assert lag(rig) == before
    assert rig.transitions == []


def test_a_change_from_the_future_is_warned_of_cannot_be_dated_and_is_no_lag(rig, one):
    before = rig.live_view("11")
    rig.send(one.change("BUY", "0.46", "8", at=START + 60_000))
    assert [each.kind for each in rig.warnings] == ["timestamp ahead"]
    assert lag(rig) == pytest.approx(0.0, abs=0.01)
    view = rig.live_view("11")
    assert (view.levels, view.settled, view.proven_at) == (before.levels, False, before.proven_at)


def test_when_the_venues_clock_is_found_elsewhere_it_is_told_and_what_was_newest_by_the_old_one_says_nothing(rig, one):
    ahead = 3_600_000
    rig.advance(3.0)
    rig.send(one.change("BUY", "0.46", "8", at=START + ahead + 3_000))
    rig.time(START - 1_000_000 + ahead)
    assert "venue clock" in [each.kind for each in rig.warnings]
    assert all(market.newest_ms == 0 for market in rig.engine.markets.values())
    late_one = one.change("BUY", "0.46", "9", at=START + ahead + 3_100)
    rig.advance(0.6)
    rig.send(late_one)
    assert lag(rig) == pytest.approx(0.5, abs=0.02)


def test_a_market_whose_connection_is_gone_has_no_lag(rig, one):
    late(rig, one, 2.5)
    rig.disconnect()
    rig.connect()
    rig.send(one.opening())
    assert (lag(rig), rig.engine.markets["0xm"].lagging) == (None, False)
    assert rig.state("11") is BookState.LIVE


def test_a_market_that_retired_while_it_was_late_is_live_again_after_its_return(rig, one):
    late(rig, one, 2.5)
    rig.send({"event_type": "market_resolved", "market": "0xm", "timestamp": str(one.at)})
    assert rig.state("11") is BookState.RETIRED
    rig.advance(601.0)
    rig.answer()
    assert rig.path("11")[-1] == "RESYNCING REVIVED"
    rig.send(one.opening())
    for _ in range(10):
        rig.advance(1.0)
        rig.answer()
    assert rig.state("11") is BookState.LIVE


def test_a_late_market_that_is_mirrored_no_more_is_forgotten(rig, one):
    late(rig, one, 2.5)
    rig.engine.untrack("0xm", rig.now)
    rig.advance(10.0)
    assert [each.market for each in rig.engine.status(rig.now).markets] == ["0xn"]


def test_an_opening_book_of_a_late_market_is_dated_back_by_its_lag():
    exchange = Exchange()
    rig = Rig()
    rig.engine.track("0xm", ["11"], rig.now, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening())
    rig.send(exchange.change("BUY", "0.46", "5"))
    message = exchange.change("BUY", "0.46", "6")
    rig.advance(1.5)
    rig.send(message)
    rig.engine.track("0xm", exchange.tokens, rig.now)
    quiet = exchange.opening_book("22") | {"timestamp": str(START - 60_000)}
    rig.send(quiet | {"hash": exchange.content("22", START - 60_000)["hash"]})
    assert rig.live_view("22").verified_age == pytest.approx(1.5, abs=0.01)

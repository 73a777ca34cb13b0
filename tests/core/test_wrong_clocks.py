"""What is known of the venue's clock may be wrong, or become better: nothing is lost by it, nothing young."""

from __future__ import annotations

import pytest

from tests.core.builders import CONSTANTS, START, Rig, assert_right


def test_a_book_that_nobody_asked_for_bounds_the_venues_clock_once_a_change_has_come(exchange):
    """Alone it tells nothing: it may be one that is delivered late."""
    rig = Rig.live(exchange, timed=False)
    rig.advance(1.0)
    rig.send(exchange.book("11"))
    assert rig.engine.clock.low is None
    assert rig.live_view("11").verified_age == 1.0
    shown_at = exchange.at - 1000 * rig.now
    rig.advance(0.5)
    rig.send(exchange.change("BUY", "0.46", "5", at=exchange.at - 200))
    assert rig.engine.clock.low == pytest.approx(shown_at, abs=0.1)


def test_a_book_that_is_delivered_late_makes_nothing_that_follows_look_like_the_future(exchange):
    rig = Rig.live(exchange, timed=False)
    late = exchange.book("11")
    rig.advance(14.0)
    rig.send(late)
    rig.send(exchange.change("BUY", "0.46", "5"))
    assert_right(rig, exchange)
    assert rig.live_view("11").settled


def test_a_change_from_the_future_by_a_clock_that_is_wrong_is_not_older_than_what_came_before_it(exchange):
    rig = Rig.live(exchange)
    rig.advance(5.0)
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.engine.clock.low = rig.engine.clock.high = rig.engine.clock.low - 20_000
    rig.engine.clock.fresh_until = 0.0
    rig.send(exchange.change("BUY", "0.46", "6"))
    book = rig.token("11").proven.book
    assert book.bids.size_at(4600) == 6_000_000
    assert rig.token("11").proven.unproven == 1


def test_a_proven_state_is_as_old_as_what_followed_shows_by_a_clock_that_is_known_better_now(exchange):
    """All of it waited while the program stood still, before anything told the venue's time."""
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    rig.now += 5.0
    rig.send(exchange.opening())
    rig.send(exchange.change("BUY", "0.46", "5", at=START + 800))
    assert rig.live_view("11").verified_age == 0.0
    # A change was lost, and the next one is no quicker; then comes one that was sent a second later.
    exchange.alter("BUY", "0.20", "3")
    rig.send(exchange.change("BUY", "0.46", "6", at=START + 1_000))
    rig.engine.clock.frame(START + 2_000, rig.now)
    exchange.alter("BUY", "0.20", "4")
    rig.send(exchange.change("BUY", "0.46", "7", at=START + 1_100))
    rig.token("11").proven.superseded(START + 1_000, rig.engine.clock.date(START + 1_000, rig.now))
    assert rig.live_view("11").verified_age == pytest.approx(1.2, abs=0.002)

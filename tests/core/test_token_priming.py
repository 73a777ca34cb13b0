from __future__ import annotations

import pytest

from polymirror.core.states import BookState
from polymirror.errors import NotLive
from tests.core.builders import CONSTANTS, START, Exchange, Rig, assert_right, shown, truth, without_hashes


@pytest.fixture
def waiting(exchange):
    """Connected, and no book yet."""
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    return rig


def test_an_opening_book_makes_a_book_live(waiting, exchange):
    waiting.send(exchange.opening())
    assert waiting.path("11") == ["LIVE PROVEN"]
    assert_right(waiting, exchange)


def test_deltas_before_the_snapshot_are_replayed_over_it(waiting, exchange):
    opening = exchange.opening()
    for n in range(1, 5):
        waiting.send(exchange.change("BUY", f"0.3{n}", str(n)))
    assert waiting.state("11") is BookState.UNPRIMED
    waiting.send(opening)
    assert_right(waiting, exchange)


@pytest.mark.parametrize("hashed", [True, False])
def test_deltas_older_than_the_snapshot_are_dropped(waiting, exchange, hashed):
    old = exchange.message(exchange.entries("BUY", "0.30", "7"), at=START - 1)
    waiting.send(old if hashed else without_hashes(old))
    waiting.send(exchange.opening())
    waiting.settle()
    assert_right(waiting, exchange)


def test_deltas_of_the_snapshots_own_millisecond_are_applied(waiting, exchange):
    opening = exchange.opening()
    waiting.send(exchange.change("BUY", "0.47", "7", at=START))
    waiting.send(opening)
    assert_right(waiting, exchange)


def test_a_delta_of_the_snapshots_millisecond_that_it_contains_already_does_no_harm(waiting, exchange):
    waiting.send(exchange.change("BUY", "0.47", "7", at=START))
    waiting.send(exchange.opening())
    assert_right(waiting, exchange)


def test_a_delta_older_than_the_snapshot_that_arrives_after_it_is_dropped(rig, exchange):
    rig.send(without_hashes(exchange.message(exchange.entries("BUY", "0.30", "7"), at=START - 1)))
    rig.settle()
    assert_right(rig, exchange)
    assert rig.live_view("11").settled


def test_a_snapshot_whose_deltas_do_not_lead_to_the_announced_hash_is_not_live(waiting, exchange):
    opening = exchange.opening()
    exchange.alter("BUY", "0.20", "3")
    waiting.send(exchange.change("BUY", "0.47", "7"))
    waiting.send(opening)
    assert waiting.state("11") is BookState.UNPRIMED
    waiting.advance(waiting.engine.config.first_snapshot_timeout)
    assert waiting.path("11") == ["RESYNCING NO_SNAPSHOT"]
    assert waiting.answer()
    assert_right(waiting, exchange)


def test_a_resynced_book_that_is_not_proven_in_time_is_resynced_again(rig, exchange):
    rig.engine.resync("11", rig.now)
    rig.drain()
    base = exchange.rest("11")
    exchange.alter("BUY", "0.20", "3")
    rig.send(exchange.change("BUY", "0.47", "7"))
    rig.answer(t11=base)
    assert rig.state("11") is BookState.RESYNCING
    rig.advance(rig.engine.config.suspect_grace)
    assert rig.path("11")[-1] == "RESYNCING HASH_MISMATCH"
    # The first answer is to a question from before that.
    rig.answer()
    assert rig.state("11") is BookState.RESYNCING
    rig.advance(0.5)
    rig.answer()
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_the_next_delta_can_prove_a_baseline_whose_own_deltas_could_not(waiting, exchange):
    opening = exchange.opening()
    early = exchange.change("BUY", "0.47", "7")
    early["price_changes"][0]["hash"] = early["price_changes"][1]["hash"] = "0" * 40
    waiting.send(early)
    waiting.send(opening)
    assert waiting.state("11") is BookState.UNPRIMED
    waiting.send(exchange.change("BUY", "0.46", "7"))
    assert_right(waiting, exchange)


def test_deltas_in_the_wrong_order_before_the_snapshot_are_put_right_by_their_times(waiting, exchange):
    opening = exchange.opening()
    first, second = (exchange.change("BUY", "0.46", size) for size in ("5", "6"))
    waiting.send(second)
    waiting.send(first)
    waiting.send(opening)
    assert_right(waiting, exchange)


def test_the_last_deltas_before_a_baseline_are_checked_when_their_batch_is_over(waiting, exchange):
    opening = exchange.opening()
    waiting.send(exchange.change("BUY", "0.46", "5"))
    waiting.send(exchange.change("BUY", "0.47", "5"))
    waiting.settle()
    waiting.send(opening)
    waiting.settle()
    assert waiting.verdicts("bbo") == {"match": 2}
    assert_right(waiting, exchange)


def test_without_hashes_the_baseline_itself_is_what_can_be_read(waiting, exchange):
    opening, before = exchange.opening(), truth(exchange, "11")
    waiting.send(without_hashes(exchange.change("BUY", "0.47", "7")))
    waiting.send(opening)
    view = waiting.live_view("11")
    assert shown(view) == before
    assert not view.settled


def test_a_crossed_baseline_is_never_read():
    exchange = Exchange(bids=[("0.60", "5")], asks=[("0.50", "5")])
    waiting = Rig(exchange, constants=CONSTANTS)
    waiting.connect()
    waiting.send(exchange.opening())
    assert waiting.state("11") is BookState.UNPRIMED


def test_a_crossed_baseline_is_never_read_even_when_deltas_without_hash_follow():
    exchange = Exchange(bids=[("0.60", "5")], asks=[("0.50", "5")])
    waiting = Rig(exchange)
    waiting.connect()
    opening = exchange.opening_book("11")
    waiting.send(without_hashes(exchange.change("BUY", "0.10", "5")))
    waiting.send([opening])
    assert waiting.state("11") is BookState.UNPRIMED
    with pytest.raises(NotLive):
        waiting.live_view("11")


def test_a_bad_delta_in_the_buffer_makes_the_book_start_over(waiting, exchange):
    message = exchange.change("BUY", "0.47", "7")
    message["price_changes"][0]["price"] = "NaN"
    waiting.send(message)
    waiting.send([exchange.opening_book("11")])
    assert waiting.path("11") == ["RESYNCING DECODE_ERROR"]
    waiting.answer()
    assert shown(waiting.live_view("11")) == truth(exchange, "11")


def test_a_full_buffer_starts_over_and_only_a_newer_baseline_counts(exchange):
    waiting = Rig(exchange, constants=CONSTANTS, max_buffered_deltas=3)
    waiting.connect()
    waiting.advance(5)
    assert waiting.path("11") == ["RESYNCING NO_SNAPSHOT"]
    old = exchange.rest("11")
    for n in range(1, 9):
        waiting.send(exchange.change("BUY", f"0.3{n}", str(n)))
    assert len(waiting.token("11").buffer) <= 3
    waiting.answer(t11=old)
    assert waiting.state("11") is BookState.RESYNCING
    waiting.advance(1)
    assert "RESYNCING OVERFLOW" in waiting.path("11")
    waiting.answer()
    assert shown(waiting.live_view("11")) == truth(exchange, "11")


def test_a_resync_keeps_no_more_deltas_than_the_buffer_may_hold(exchange):
    rig = Rig.live(exchange, max_buffered_deltas=2)
    rig.send(exchange.change("BUY", "0.30", "1"))
    old = exchange.rest("11")
    for n in range(1, 6):
        rig.send(exchange.change("BUY", f"0.3{n}", str(n)))
    rig.engine.resync("11", rig.now)
    rig.drain()
    assert len(rig.token("11").buffer) == 2
    rig.answer(t11=old)
    assert rig.state("11") is BookState.RESYNCING
    assert rig.verdicts("probe") == {"behind": 1}

from __future__ import annotations

import pytest

from polymirror.core import afterlife as afterlife_module
from polymirror.core import misses as misses_module
from polymirror.core import proven as proven_module
from polymirror.core.states import BookState, Reason
from polymirror.errors import NotLive
from tests.core.builders import CONSTANTS, START, Rig, assert_right, shown, truth, without_hashes


@pytest.fixture
def waiting(exchange):
    """Connected, and no book yet."""
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    return rig


# ---- Changes and what is shown -------------------------------------------------------------------------


def test_a_proven_change_shows_at_once(rig, exchange):
    for side, price, size in (
        ("BUY", "0.49", "5"),
        ("SELL", "0.51", "2.5"),
        ("BUY", "0.45", "0"),
        ("SELL", "0.6", "1"),
    ):
        rig.send(exchange.change(side, price, size))
        assert_right(rig, exchange)
        assert rig.live_view("11").settled
        assert rig.live_view("11").verified_age == 0.0
    assert rig.transitions == []


def test_removing_a_level_that_is_not_there_is_normal(rig, exchange):
    rig.send(exchange.change("BUY", "0.11", "0"))
    assert_right(rig, exchange)
    assert rig.live_view("11").settled


@pytest.mark.parametrize("read_before", [True, False])
def test_a_lost_delta_never_shows_and_is_found_within_the_grace(rig, exchange, read_before):
    before = truth(exchange, "11")
    if read_before:
        rig.live_view("11")
    exchange.change("BUY", "0.45", "7")
    for n in range(1, 6):
        rig.send(exchange.change("BUY", f"0.3{n}", str(n)))
        view = rig.live_view("11")
        assert shown(view) == before
        assert not view.settled
    rig.advance(rig.engine.config.hash_grace + 0.01)
    assert rig.path("11") == ["SUSPECT HASH_MISMATCH"]
    with pytest.raises(NotLive):
        rig.live_view("11")


@pytest.mark.parametrize("read_before", [True, False])
def test_a_journal_that_overflows_keeps_the_proven_view(exchange, read_before):
    rig = Rig.live(exchange, max_journal=16)
    rig.send(exchange.change("BUY", "0.46", "3"))
    before = truth(exchange, "11")
    if read_before:
        rig.live_view("11")
    exchange.change("BUY", "0.49", "5")
    for n in range(60):
        rig.send(exchange.change("BUY", f"0.{n % 30 + 10}", str(n % 4)))
    assert len(rig.token("11").proven.journal) == 16
    assert shown(rig.engine.peek("11", rig.now)) == before


def test_an_exact_duplicate_changes_nothing(rig, exchange):
    message = exchange.change("BUY", "0.49", "5")
    rig.send(message)
    rig.send(exchange.change("BUY", "0.47", "5"))
    rig.send(message)
    rig.settle()
    assert_right(rig, exchange)
    assert rig.live_view("11").settled


def test_a_late_duplicate_does_not_bring_an_overtaken_size_back(rig, exchange):
    old = exchange.change("BUY", "0.49", "5")
    rig.send(old)
    rig.send(exchange.change("BUY", "0.49", "8"))
    rig.send(old)
    rig.settle()
    assert_right(rig, exchange)
    assert rig.live_view("11").settled
    assert rig.transitions == []


@pytest.mark.parametrize("late_price", ["0.49", ".49"])
def test_without_hashes_too_a_late_delta_does_not_undo_a_newer_one(rig, exchange, late_price):
    old, new = (without_hashes(exchange.change("BUY", "0.49", size)) for size in ("5", "8"))
    for entry in old["price_changes"]:
        entry["price"] = late_price if entry["side"] == "BUY" else entry["price"]
    rig.send(new)
    rig.send(old)
    assert rig.token("11").proven.book.bids.size_at(4900) == 8_000_000
    assert rig.token("22").proven.book.asks.size_at(4900) == 8_000_000


def test_two_changes_in_the_wrong_order_are_both_taken_and_proven(rig, exchange):
    first, second = exchange.change("BUY", "0.46", "5"), exchange.change("BUY", "0.49", "8")
    rig.send(second)
    assert not rig.live_view("11").settled
    rig.send(first)
    assert_right(rig, exchange)
    assert rig.live_view("11").settled


# ---- Hashes --------------------------------------------------------------------------------------------


def late_hash(exchange, rig, steps):
    """Send changes whose first announces the hash that the book has ``steps`` changes later."""
    messages = [exchange.change("BUY", f"0.3{n}", "5") for n in range(steps + 1)]
    exchange.at = int(messages[0]["timestamp"])
    for entry in messages[0]["price_changes"]:
        entry["hash"] = exchange.content(entry["asset_id"])["hash"]
    for message in messages[1:]:
        for entry in message["price_changes"]:
            entry["hash"] = "0" * 40
    for message in messages:
        rig.send(message)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_hash_that_was_announced_a_change_or_two_early_heals(rig, exchange, steps):
    late_hash(exchange, rig, steps)
    assert rig.verdicts("hash")["healed"] == 2
    assert_right(rig, exchange)
    assert rig.live_view("11").settled
    rig.advance(0.5)
    assert rig.transitions == []


def test_a_hash_that_fits_only_much_later_is_a_mismatch(rig, exchange):
    late_hash(exchange, rig, misses_module.HEAL_CHANGES + 1)
    rig.advance(misses_module.SEARCH_SECONDS)
    assert "healed" not in rig.verdicts("hash")
    assert rig.verdicts("hash")["mismatch"] >= 2
    assert rig.token("11").miss_since is not None


def test_one_isolated_miss_leaves_the_book_live(rig, exchange):
    message = exchange.change("BUY", "0.49", "5")
    message["price_changes"][0]["hash"] = "0" * 40
    rig.send(message)
    rig.settle()
    assert rig.token("11").miss_since is not None
    rig.send(exchange.change("BUY", "0.47", "5"))
    assert rig.token("11").miss_since is None
    assert_right(rig, exchange)
    rig.advance(2)
    assert rig.transitions == []


def test_a_book_that_is_disputed_is_told_since_it_is_settled_no_more_and_again_when_it_is(rig, exchange):
    token = rig.token("11")
    assert token.settled
    token.disagrees(Reason.HASH_MISMATCH, rig.now)
    assert not token.settled
    assert "11" in rig.engine.dirty()
    rig.send(exchange.opening())
    assert token.settled
    assert "11" in rig.dirty


def test_no_more_missed_hashes_are_watched_than_the_bound(rig, exchange, monkeypatch):
    monkeypatch.setattr(misses_module, "HEAL_CHANGES", 100)
    exchange.change("BUY", "0.49", "5")
    for n in range(10):
        rig.send(exchange.change("BUY", "0.30", str(n + 1)))
    rig.settle()
    assert len(rig.token("11").misses.watched) == misses_module.MAX_PENDING_HASHES
    assert rig.verdicts("hash")["mismatch"] == 2 * (10 - misses_module.MAX_PENDING_HASHES)


def test_deltas_without_hash_are_unverifiable_and_wait_for_a_probe(rig, exchange):
    rig.send(without_hashes(exchange.change("BUY", "0.49", "5")))
    rig.settle()
    assert rig.verdicts("hash")["unverifiable"] == 2
    assert not rig.live_view("11").settled
    rig.engine.prove("11", rig.now)
    rig.drain()
    rig.answer()
    assert rig.live_view("11").settled
    assert shown(rig.live_view("11")) == truth(exchange, "11")


# ---- Doubt ---------------------------------------------------------------------------------------------


def test_a_book_that_is_not_proven_again_becomes_stale_and_then_resyncs(rig, exchange):
    rig.advance(15.0)
    assert rig.path("11") == ["SUSPECT STALE"]
    rig.advance(2.0)
    assert rig.path("11")[-1] == "RESYNCING STALE"
    assert rig.token("11").proven.epoch == 1
    rig.fail()
    rig.advance(1.0)
    rig.answer()
    assert_right(rig, exchange)


def test_a_read_is_never_older_than_the_limit_even_before_time_has_passed_the_engine(rig):
    rig.live_view("11")
    rig.now += 15.001
    with pytest.raises(NotLive) as caught:
        rig.live_view("11")
    assert (caught.value.state, caught.value.reason) == (BookState.LIVE, Reason.STALE)


def test_routine_probes_keep_a_quiet_book_live(rig, exchange):
    for _ in range(40):
        rig.advance(5.0)
        rig.answer()
        assert rig.live_view("11").verified_age < 15.0
    assert {each.reason for each in rig.transitions} <= {Reason.SCHEDULED}
    assert_right(rig, exchange)


def test_a_suspect_book_is_cleared_by_the_hash_of_a_later_change(rig, exchange):
    rig.engine.overflow(1, rig.now)
    rig.drain()
    assert rig.path("11") == ["SUSPECT OVERFLOW"]
    rig.send(exchange.change("BUY", "0.49", "5"))
    assert rig.path("11")[-1] == "LIVE PROVEN"
    assert rig.token("11").proven.epoch == 0


def test_a_suspect_book_is_cleared_by_a_probe(rig):
    rig.engine.overflow(1, rig.now)
    rig.drain()
    assert rig.answer() == 2
    assert rig.path("11") == ["SUSPECT OVERFLOW", "LIVE PROVEN"]


def test_a_suspect_book_that_nothing_clears_is_replaced(rig, exchange):
    exchange.alter("BUY", "0.49", "5")
    rig.engine.overflow(1, rig.now)
    rig.advance(2.0)
    assert rig.path("11") == ["SUSPECT OVERFLOW", "RESYNCING OVERFLOW"]
    rig.fail()
    rig.advance(1.0)
    rig.answer()
    assert_right(rig, exchange)
    assert rig.live_view("11").epoch == 1


def test_a_crossed_book_is_suspect_once_its_batch_must_be_over_and_live_again_once_it_heals(rig, exchange):
    rig.send(exchange.change("BUY", "0.52", "5"))
    before = rig.live_view("11")
    rig.settle()
    # The end by time is none for sure: what uncrosses it may be on its way, and until then it proves nothing.
    rig.advance(rig.engine.config.hash_grace - 0.1)
    still = rig.live_view("11")
    assert (still.bids, still.asks, still.settled) == (before.bids, before.asks, False)
    assert still.best_bid.price < still.best_ask.price
    assert still.verified_age >= rig.engine.config.hash_grace - 0.1
    rig.advance(0.2)
    assert rig.path("11") == ["SUSPECT INVARIANT_FAIL"]
    rig.send(exchange.change("SELL", "0.52", "0"))
    assert rig.path("11")[-1] == "LIVE PROVEN"
    assert_right(rig, exchange)


def test_a_crossed_book_is_suspect_at_the_end_of_a_batch_that_a_later_message_ends(rig, exchange):
    rig.send(exchange.change("BUY", "0.52", "5"))
    rig.send(exchange.change("BUY", "0.10", "5"))
    assert rig.path("11") == ["SUSPECT INVARIANT_FAIL"]
    assert rig.transitions[0].detail == "crossed"


def test_what_uncrosses_a_book_late_finds_it_live(rig, exchange):
    """An order eats a level and rests: two messages of one millisecond, between which the network may pause."""
    rests = exchange.change("BUY", "0.52", "5")
    rig.send(rests)
    rig.advance(20 * rig.engine.config.batch_window)
    rig.send(exchange.change("SELL", "0.52", "0", at=int(rests["timestamp"])))
    assert rig.transitions == []
    assert_right(rig, exchange)


def test_a_new_price_off_the_grid_is_impossible_unless_the_hash_fits(rig, exchange):
    rig.send(exchange.change("BUY", "0.461", "5"))
    rig.settle()
    assert rig.transitions == []
    rig.send(without_hashes(exchange.change("BUY", "0.462", "5")))
    rig.settle()
    assert rig.path("11") == ["SUSPECT INVARIANT_FAIL"]
    assert "off the grid of 100" in rig.transitions[0].detail


@pytest.mark.parametrize("nothing", ["0", "0.0"])
@pytest.mark.parametrize("alone", [False, True])
def test_removing_a_level_off_the_grid_is_possible(rig, exchange, nothing, alone):
    rig.send(exchange.change("BUY", "0.461", "5"))
    message = without_hashes(exchange.change("BUY", "0.461", "0"))
    for entry in message["price_changes"]:
        entry["size"] = nothing
    if alone:
        # Not the usual message: it goes the long way.
        message["price_changes"].reverse()
        message["price_changes"].append(message["price_changes"][0])
    rig.send(message)
    rig.settle()
    assert rig.transitions == []


def test_a_book_that_stays_crossed_is_never_live(rig, exchange):
    rig.send(exchange.change("BUY", "0.52", "5"))
    rig.advance(rig.engine.config.hash_grace)
    for _ in range(50):
        rig.advance(0.5)
        rig.answer()
        assert rig.state("11") is not BookState.LIVE


def test_input_that_could_not_be_read_while_waiting_makes_older_baselines_useless(waiting, exchange):
    waiting.advance(5)
    waiting.send(exchange.change("BUY", "0.30", "5"))
    old = exchange.rest("11", at=exchange.at - 1)
    waiting.send("{garbage")
    waiting.answer(t11=old)
    assert waiting.state("11") is BookState.RESYNCING
    assert not waiting.token("11").proven.loaded
    waiting.advance(1)
    waiting.answer()
    assert_right(waiting, exchange)


def test_input_that_could_not_be_read_over_an_unproven_baseline_starts_over(waiting, exchange):
    waiting.send(exchange.change("BUY", "0.30", "5"))
    exchange.alter("BUY", "0.20", "1")
    waiting.send(exchange.opening())
    assert waiting.state("11") is BookState.UNPRIMED
    assert waiting.token("11").proven.loaded
    waiting.send("{garbage")
    assert waiting.path("11") == ["RESYNCING DECODE_ERROR"]


def test_a_retired_token_is_deaf_and_is_looked_at_again_later(rig, exchange):
    resolved = {"event_type": "market_resolved", "market": "0xm", "assets_ids": ["11", "22"]}
    rig.send(resolved | {"timestamp": str(START)})
    assert rig.path("11") == ["RETIRED RESOLVED"]
    token = rig.token("11")
    token.retire(Reason.CLOSED, rig.now)
    token.start_resync(Reason.REQUESTED, rig.now, gap=False)
    token.missed_input(Reason.OVERFLOW, rig.now, "")
    rig.send(exchange.change("BUY", "0.41", "1"))
    rig.send(exchange.opening())
    rig.advance(100)
    assert rig.path("11") == ["RETIRED RESOLVED"]
    due = rig.now - 100 + afterlife_module.AGAIN_AFTER
    assert (token.proven.loaded, len(token.buffer), token.next_due()) == (False, 0, due)


def test_a_retired_token_is_deaf_while_its_complement_still_trades(rig, exchange):
    rig.token("11").retire(Reason.CLOSED, rig.now)
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.send(exchange.book("11"))
    rig.settle()
    assert (rig.token("11").proven.loaded, len(rig.token("11").buffer)) == (False, 0)
    assert shown(rig.live_view("22")) == truth(exchange, "22")


def test_old_changes_leave_the_journal(rig, exchange):
    rig.send(exchange.change("BUY", "0.49", "5"))
    exchange.at += proven_module.JOURNAL_MS + 1
    rig.advance(5)
    rig.send(exchange.change("BUY", "0.49", "6"))
    # At the next look at the time: with each change it would cost more than it frees.
    rig.advance(9)
    assert len(rig.token("11").proven.journal) == 1
    rig.answer()
    rig.advance(9)
    assert not rig.token("11").proven.journal


# ---- Apply lag -----------------------------------------------------------------------------------------


def test_changes_that_are_applied_too_late_make_the_books_of_their_market_suspect_until_caught_up(rig, exchange):
    rig.send(exchange.change("BUY", "0.49", "5"))
    late = [exchange.change("BUY", "0.49", str(n)) for n in (6, 7)]
    rig.advance(3.0)
    rig.send(late[0])
    assert rig.path("11") == ["SUSPECT APPLY_LAG"]
    rig.send(late[1])
    rig.answer()
    assert rig.state("11") is BookState.SUSPECT
    rig.send(exchange.change("BUY", "0.49", "8"))
    assert rig.path("11") == ["SUSPECT APPLY_LAG", "LIVE PROVEN"]


def test_a_market_that_falls_silent_after_late_changes_has_caught_up(rig, exchange):
    rig.send(exchange.change("BUY", "0.49", "5"))
    late = exchange.change("BUY", "0.49", "6")
    rig.advance(3.0)
    rig.send(late)
    for _ in range(10):
        rig.advance(1.0)
        rig.answer()
    assert rig.path("11")[-1] == "LIVE PROVEN"
    assert_right(rig, exchange)


def test_a_token_that_is_added_to_a_late_market_is_not_live_before_it_has_caught_up(exchange):
    rig = Rig()
    rig.engine.track("0xm", ["11"], rig.now, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening())
    rig.send(exchange.change("BUY", "0.49", "5"))
    late = exchange.change("BUY", "0.49", "6")
    rig.advance(3.0)
    rig.send(late)
    assert rig.state("11") is BookState.SUSPECT
    rig.engine.track("0xm", exchange.tokens, rig.now)
    rig.send(exchange.opening_book("22"))
    assert rig.state("22") is BookState.UNPRIMED
    assert rig.token("22").proven.loaded


def test_a_market_that_stays_late_is_waited_for_and_its_books_are_not_built_anew(rig, exchange):
    rig.send(exchange.change("BUY", "0.49", "5"))
    late = [exchange.change("BUY", "0.49", str(n)) for n in range(6, 46)]
    rig.advance(3.0)
    for frame in late:
        rig.send(frame)
        rig.advance(0.25)
    assert rig.path("11") == ["SUSPECT APPLY_LAG"]
    assert rig.engine.outbox.resyncs == {}


def test_a_book_that_is_primed_in_a_late_market_waits_for_it_too(rig, exchange):
    rig.engine.resync("11", rig.now)
    token = rig.token("11")
    token.lagging = True
    token.resync.answer(exchange.rest("11"), rig.now, rig.token("11").doubts, rig.now)
    assert token.proven.loaded
    assert token.state is BookState.RESYNCING
    due = token.resync.due
    token.on_time(due)
    assert token.proven.loaded
    assert token.resync.due > due
    assert rig.engine.outbox.resyncs == {"REQUESTED": 1}

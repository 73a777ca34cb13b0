"""What is proven of one book, the journal back to it, and the question whether it ever was what the venue shows."""

from __future__ import annotations

import math

import pytest

from polymirror.core import proven as proven_module
from polymirror.core.clock import VenueClock
from polymirror.core.evidence import Evidence
from polymirror.core.messages import Change
from polymirror.core.proofs import ProofKind
from polymirror.core.proven import Proven
from polymirror.core.states import BookState
from tests.core.builders import START, Exchange, Rig, order_book, shown, truth

NEVER = -math.inf


def evidence(at=START, as_of=10.0, kind=ProofKind.HASH, doubts=0):
    return Evidence(kind, at, as_of, doubts)


def follow(proven, price, size, at, as_of=11.0, side="BUY", digest=""):
    change = Change("11", price, size, side, digest)
    undo = proven.book.change(change, at)
    proven.follow(undo, change, at, as_of, 0)
    return undo


@pytest.fixture
def proven():
    """One bid and one ask, proven as of 10 s."""
    proven = Proven(16)
    proven.load(order_book([("0.40", "1")], [("0.60", "1")]), evidence(kind=ProofKind.BOOK))
    return proven


def bids(proven):
    levels = proven.levels()
    return dict(zip(levels.bid_keys, levels.bid_sizes, strict=True))


# ---- The proven state ----------------------------------------------------------------------------------


def test_a_loaded_book_is_proven_as_of_its_evidence(proven):
    assert (proven.loaded, proven.proof.as_of, proven.proof.kind, proven.proven_ms) == (
        True, 10.0, ProofKind.BOOK, START,
    )  # fmt: skip
    assert bids(proven) == {4000: 1_000_000}


@pytest.mark.parametrize("read_before", [True, False])
def test_a_change_does_not_show_before_it_is_proven(proven, read_before):
    if read_before:
        proven.levels()
    follow(proven, "0.41", "2", START + 1)
    assert (proven.unproven, bids(proven)) == (1, {4000: 1_000_000})
    assert proven.prove(evidence(START + 1, 11.0))
    assert (proven.unproven, bids(proven)) == (0, {4000: 1_000_000, 4100: 2_000_000})
    assert (proven.proof.as_of, proven.proven_ms) == (11.0, START + 1)


def test_levels_are_copied_once_until_the_next_change(proven):
    assert proven.levels() is proven.levels()
    follow(proven, "0.41", "2", START + 1)
    assert proven.levels() is proven.levels()


def test_an_older_proof_of_the_same_levels_does_not_replace_a_newer_one(proven):
    assert not proven.prove(evidence(as_of=9.0))
    assert proven.proof.as_of == 10.0
    assert not proven.prove(evidence(as_of=12.0))
    assert proven.proof.as_of == 12.0


def test_newer_levels_take_their_proof_however_old_it_is(proven):
    follow(proven, "0.41", "2", START + 1)
    assert proven.prove(evidence(START + 1, 9.5))
    assert proven.proof.as_of == 9.5


@pytest.mark.parametrize("crossed", [True, False])
def test_a_crossed_book_and_what_cannot_be_dated_prove_nothing(proven, crossed):
    follow(proven, "0.60" if crossed else "0.41", "2", START + 1)
    assert not proven.prove(evidence(START + 1, 11.0 if crossed else NEVER))
    assert (proven.unproven, proven.proof.as_of) == (1, 10.0)


def test_a_proof_that_states_a_newer_time_than_the_book_raises_the_mark(proven):
    proven.prove(evidence(START + 50, 11.0))
    assert (proven.mark.at_ms, proven.last_ms, proven.floor_ms) == (START + 50, START, START + 50)


def test_a_baseline_of_rest_is_only_rests_until_the_stream_confirms_it():
    proven = Proven(16)
    proven.load(order_book([("0.40", "1")]), evidence(kind=ProofKind.PROBE))
    assert proven.only_rest
    proven.prove(evidence(kind=ProofKind.PROBE, as_of=11.0))
    assert proven.only_rest
    proven.prove(evidence(as_of=12.0))
    assert not proven.only_rest


def test_a_past_state_is_proven_up_to_the_change_that_ended_it(proven):
    past = order_book([("0.40", "1"), ("0.41", "2")], [("0.60", "1")])
    follow(proven, "0.41", "2", START + 1, as_of=11.0)
    follow(proven, "0.42", "3", START + 2, as_of=12.0)
    undos = proven.changes_since(past, START + 1)
    assert proven.prove_past(undos, past, evidence(START + 1, 20.0, ProofKind.PROBE))
    assert (proven.proof.as_of, proven.unproven, proven.proven_ms) == (12.0, 1, START + 1)
    assert bids(proven) == {4000: 1_000_000, 4100: 2_000_000}
    # The same state again, by a later question: no younger, since it was superseded then already.
    assert not proven.prove_past(undos, past, evidence(START + 1, 30.0, ProofKind.PROBE))
    assert proven.proof.as_of == 12.0


def test_a_state_that_was_ended_by_a_change_that_cannot_be_dated_is_not_proven_any_later(proven):
    start = order_book([("0.40", "1")], [("0.60", "1")])
    follow(proven, "0.41", "2", START + 1, as_of=NEVER)
    assert proven.proof.as_of == 10.0
    assert not proven.prove_past(proven.changes_since(start, START), start, evidence(as_of=20.0))
    assert proven.proof.as_of == 10.0
    assert proven.ended_at(START, VenueClock()) is None


def test_the_book_as_it_stands_can_be_proven_as_its_own_past(proven):
    start = order_book([("0.40", "1")], [("0.60", "1")])
    assert proven.prove_past([], start, evidence(as_of=20.0)) is False
    assert proven.proof.as_of == 20.0


def test_a_crossed_past_state_is_never_proven(proven):
    crossed = order_book([("0.60", "1")], [("0.60", "1")])
    assert not proven.prove_past([], crossed, evidence(as_of=20.0))
    assert proven.proof.as_of == 10.0


def test_a_journal_that_overflows_keeps_the_proven_levels(proven):
    for n in range(40):
        follow(proven, f"0.{n + 10}", "2", START + n)
    assert (proven.unproven, len(proven.journal)) == (40, 16)
    assert bids(proven) == {4000: 1_000_000}


def test_a_change_that_is_taken_is_proven_already(proven):
    change = Change("11", "0.41", "2", "BUY", "")
    undo = proven.book.change(change, START + 1)
    proven.take(undo, change, START + 1, ProofKind.COMPLEMENT, 11.0)
    assert (proven.unproven, proven.proof.kind, proven.proof.as_of) == (0, ProofKind.COMPLEMENT, 11.0)
    assert bids(proven) == {4000: 1_000_000, 4100: 2_000_000}


# ---- Replacing and clearing ----------------------------------------------------------------------------


def test_a_newer_whole_book_is_adopted_as_changes_and_shows_once_it_is_proven(proven):
    newer = order_book([("0.40", "3"), ("0.42", "1")], [("0.58", "1")])
    before = proven.epoch
    proven.adopt(newer, evidence(START + 5, 12.0, ProofKind.BOOK))
    assert proven.book.same_levels(newer)
    assert (proven.unproven, bids(proven)) == (4, {4000: 1_000_000})
    assert (proven.last_ms, proven.baseline_ms, proven.epoch) == (START + 5, START + 5, before)
    proven.prove(evidence(START + 5, 12.0, ProofKind.BOOK))
    assert bids(proven) == {4000: 3_000_000, 4200: 1_000_000}


@pytest.mark.parametrize("read_before", [True, False])
def test_a_newer_whole_book_with_more_changes_than_the_journal_holds_keeps_the_proven_levels(proven, read_before):
    if read_before:
        proven.levels()
    newer = order_book([(f"0.{n}", "2") for n in range(11, 39)], [("0.60", "1")])
    proven.adopt(newer, evidence(START + 5, NEVER, ProofKind.BOOK))
    assert bids(proven) == {4000: 1_000_000}


def test_a_newer_whole_book_that_is_adopted_over_unproven_changes_keeps_the_proven_levels(proven):
    for n in range(10):
        follow(proven, f"0.{n + 11}", "2", START + n)
    newer = order_book([(f"0.{n}", "3") for n in range(25, 39)], [("0.60", "1")])
    proven.adopt(newer, evidence(START + 50, NEVER, ProofKind.BOOK))
    assert bids(proven) == {4000: 1_000_000}


def test_a_future_book_of_the_stream_that_differs_in_many_levels_never_shows():
    """The golden rule: what is read was the venue's at some time."""
    exchange = Exchange()
    rig = Rig.live(exchange, max_journal=16)
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.settle()
    before = truth(exchange, "11")
    future = Exchange(bids=[(f"0.{n}", "7") for n in range(10, 45)])
    future.at = START + 60_000
    rig.send(future.book("11"))
    rig.settle()
    if rig.state("11") is BookState.LIVE:
        assert shown(rig.live_view("11")) == before


def test_a_cleared_book_leaves_its_newest_time_as_the_mark_and_a_new_epoch(proven):
    follow(proven, "0.41", "2", START + 7)
    generation = proven.generation
    proven.clear()
    assert (proven.loaded, proven.proof, proven.epoch, proven.generation) == (False, None, 1, generation + 1)
    assert (proven.mark.at_ms, proven.floor_ms, proven.last_ms) == (START + 7, START + 7, 0)
    assert bids(proven) == {}
    proven.clear()
    assert (proven.epoch, proven.mark.at_ms) == (2, START + 7)


def test_a_cleared_book_whose_newest_changes_are_kept_is_marked_where_they_begin(proven):
    follow(proven, "0.41", "2", START + 7)
    proven.clear(START + 3)
    assert proven.mark.at_ms == START + 3


def test_a_cleared_book_remembers_what_was_superseded_inside_its_newest_millisecond(proven):
    start = proven.book.levels()
    follow(proven, "0.41", "2", START + 7)
    inside = proven.book.levels()
    follow(proven, "0.42", "2", START + 7)
    newest = proven.book.levels()
    proven.clear()
    assert not proven.mark.admits(START + 7, inside)
    assert proven.mark.admits(START + 7, newest)
    assert not proven.mark.admits(START, start)


def test_an_equal_book_replaces_the_spelling_and_the_epoch_and_nothing_else(proven):
    follow(proven, "0.41", "2", START + 1)
    proven.prove(evidence(START + 1, 11.0))
    equal = order_book([("0.4", "1.0"), ("0.41", "2.0")], [("0.6", "1.0")])
    proven.swap(equal, evidence(START + 2, 12.0))
    assert (proven.epoch, proven.last_ms, proven.proof.as_of, len(proven.journal)) == (1, START + 2, 11.0, 1)


def test_what_was_asked_before_a_subscription_belongs_to_another_generation(proven):
    generation = proven.generation
    proven.subscribed()
    assert (proven.generation, proven.loaded) == (generation + 1, True)


def test_a_book_is_empty_only_when_it_is_loaded_and_has_no_level():
    proven = Proven(16)
    assert not proven.is_empty
    proven.load(order_book(), evidence())
    assert proven.is_empty
    for side in ("BUY", "SELL"):
        proven.load(order_book(), evidence())
        follow(proven, "0.4", "1", START + 1, side=side)
        assert not proven.is_empty


# ---- The journal ---------------------------------------------------------------------------------------


def test_a_late_change_is_overtaken_by_the_baseline_a_fitting_hash_or_a_newer_one_of_its_level(proven):
    late = Change("11", "0.41", "9", "BUY", "")
    assert proven.overtaken(late, START - 1, 1), "older than the baseline"
    follow(proven, "0.45", "1", START + 5)
    assert not proven.overtaken(late, START + 2, 1)
    assert not proven.overtaken(Change("11", "0.55", "9", "SELL", ""), START + 2, 1), "another side"
    follow(proven, "0.41", "2", START + 6)
    assert proven.overtaken(late, START + 2, 1), "its level has a newer size"
    assert not proven.overtaken(Change("11", "0.44", "9", "BUY", ""), START + 2, 1)
    proven.hash_fits()
    assert proven.overtaken(Change("11", "0.44", "9", "BUY", ""), START + 2, 1), "the hash has it already"
    proven.distrust_hash()
    assert not proven.overtaken(Change("11", "0.44", "9", "BUY", ""), START + 2, 1)


def test_a_late_change_is_not_what_the_book_must_agree_with(proven):
    follow(proven, "0.45", "1", START + 5, digest="new")
    follow(proven, "0.44", "1", START + 3, digest="late")
    assert (proven.stated.hash, proven.stated_ms, proven.last_ms) == ("new", START + 5, START + 5)


def test_the_changes_as_they_came_end_with_what_was_stated_last(proven):
    clock = VenueClock()
    assert proven.deltas("11", 10, clock) == []
    for n in range(3):
        follow(proven, f"0.4{n + 1}", "2", START + n, digest=f"h{n}")
    deltas = proven.deltas("11", 2, clock)
    assert [at for at, *_ in deltas] == [START + 1, START + 2]
    assert deltas[-1][1] is proven.stated
    assert [each.hash for _, each, *_ in deltas] == ["h1", "h2"]
    proven.journal.pop()
    assert proven.deltas("11", 10, clock) == []


def test_the_journal_forgets_what_is_too_old_but_never_the_way_back_to_what_is_proven(proven):
    follow(proven, "0.41", "2", START)
    follow(proven, "0.42", "2", START + 1)
    proven.prove(evidence(START + 1, 11.0))
    follow(proven, "0.43", "2", START + 2 + proven_module.JOURNAL_MS)
    proven.forget(12.0)
    assert [undo.at_ms for undo in proven.journal] == [START + 2 + proven_module.JOURNAL_MS]
    follow(proven, "0.43", "3", START + 3 * proven_module.JOURNAL_MS)
    proven.forget(12.0)
    assert len(proven.journal) == 2, "neither is proven"
    proven.forget(100.0)
    assert len(proven.journal) == 2


def test_a_quiet_proven_book_keeps_no_journal(proven):
    follow(proven, "0.41", "2", START + 1, as_of=11.0)
    proven.prove(evidence(START + 1, 11.0))
    proven.forget(11.0 + proven_module.QUIET_SECONDS)
    assert len(proven.journal) == 1
    proven.forget(11.1 + proven_module.QUIET_SECONDS)
    assert not proven.journal
    assert bids(proven) == {4000: 1_000_000, 4100: 2_000_000}
    follow(proven, "0.41", "0", START + 2)
    proven.prove(evidence(START + 2, 30.0))
    assert bids(proven) == {4000: 1_000_000}


# ---- Were you ever this? -------------------------------------------------------------------------------


def test_a_book_is_found_in_the_past_at_its_own_time_or_inside_its_millisecond(proven):
    start = order_book([("0.40", "1")], [("0.60", "1")])
    one = order_book([("0.40", "1"), ("0.41", "2")], [("0.60", "1")])
    two = order_book([("0.40", "1"), ("0.41", "2"), ("0.42", "2")], [("0.60", "1")])
    follow(proven, "0.41", "2", START + 5)
    follow(proven, "0.42", "2", START + 5)
    assert len(proven.changes_since(start, START)) == 2
    assert len(proven.changes_since(start, START + 4)) == 2
    assert len(proven.changes_since(one, START + 5)) == 1
    assert proven.changes_since(two, START + 5) == []
    assert proven.changes_since(one, START + 4) is None
    assert proven.changes_since(one, START + 6) is None


def test_when_a_state_ended_is_when_the_first_later_change_was_made(proven):
    clock = VenueClock()
    assert proven.ended_at(START, clock) is None
    follow(proven, "0.41", "2", START + 5, as_of=11.0)
    assert proven.ended_at(START, clock) == 11.0
    assert proven.ended_at(START + 5, clock) is None
    # One that was proven at once has no time of its own kept.
    change = Change("11", "0.42", "2", "BUY", "")
    proven.take(proven.book.change(change, START + 9), change, START + 9, ProofKind.HASH, 12.0)
    clock.frame(START, 10.0)
    assert proven.ended_at(START + 5, clock) == pytest.approx(10.009, abs=0.001)


def test_a_journal_reaches_back_to_its_first_change(proven):
    assert not proven.reaches_back_to(START + 9)
    follow(proven, "0.41", "2", START + 5)
    assert proven.reaches_back_to(START + 5)
    assert not proven.reaches_back_to(START + 4)


def test_a_hash_that_a_change_announced_and_did_not_fit_is_remembered(proven):
    follow(proven, "0.41", "2", START + 5, digest="abc").announced = "abc"
    follow(proven, "0.42", "2", START + 6)
    assert proven.announced("abc", before_ms=START + 6)
    assert not proven.announced("abc", before_ms=START + 5)
    assert not proven.announced("", before_ms=START + 9)


# ---- The changes of one level --------------------------------------------------------------------------


def test_the_changes_of_a_level_are_found_behind_an_older_change_that_came_late(proven):
    follow(proven, "0.42", "1", START + 1)
    newest = follow(proven, "0.41", "2", START + 9)
    follow(proven, "0.43", "3", START + 5)
    assert proven.changes_of(True, 4100, START + 9) == [newest]
    after = follow(proven, "0.41", "4", START + 20)
    assert proven.changes_of(True, 4100, START + 9) == [after, newest]
    assert proven.changes_of(True, 4100, START + 20) == [after]
    assert proven.changes_of(False, 4100, START + 9) == []
    assert proven.changes_of(True, 4300, START + 9) == []


def test_a_baseline_of_an_older_time_does_not_hide_newer_changes_of_a_level(proven):
    newest = follow(proven, "0.41", "2", START + 9)
    proven.prove(evidence(START + 9))
    proven.swap(proven.book, evidence(START + 2))
    follow(proven, "0.42", "1", START + 4)
    assert proven.changes_of(True, 4100, START + 8) == [newest]


def test_only_the_end_of_an_orderly_journal_is_looked_at(proven):
    class Untouched:
        at_ms = START + 1

        @property
        def key(self):
            raise AssertionError("it is older than what is asked for")

    follow(proven, "0.42", "1", START + 1)
    proven.journal[0] = Untouched()
    proven.journal.appendleft(None)
    newest = follow(proven, "0.41", "2", START + 9)
    assert proven.changes_of(True, 4100, START + 9) == [newest]

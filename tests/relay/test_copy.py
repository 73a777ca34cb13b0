"""One book as one relay tells it: without a gap, held against the relay's digest, and never repaired by guessing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymirror.core.states import BookState, Reason
from polymirror.relay.copy import Copy
from polymirror.relay.lines import Line
from polymirror.relay.wire import Beat, Book, Change, Item, decode, encode, frame_of
from polymirror.relay.wire import Frame as WireFrame
from tests.relay.rig import ASKS, BIDS, UP, Stub, columns


def told(line: Line, since: int) -> Item:
    """What a line says to somebody at a place."""
    return decode(WireFrame, frame_of("r", 0.0, [line.since(since, "json")], "json"), "json").items[0]


class Told:
    """A line, and a copy that has its first book."""

    def __init__(self) -> None:
        self.stub, self.line, self.copy = Stub(), Line(UP), Copy(UP)
        self.set(BIDS, ASKS)
        assert not self.give(0)

    def set(self, *sides: dict[int, int], **others: object) -> None:
        self.stub.set(UP, *sides, **others)
        self.line.look(self.stub, 0.0)

    def give(self, since: int, sent: float = 1.0) -> bool:
        item = told(self.line, since)
        assert isinstance(item, Beat)
        return self.copy.take(item, sent)


def test_a_copy_has_the_levels_best_last() -> None:
    copy = Told().copy
    assert copy.levels == (*columns(BIDS, asks=False), *columns(ASKS, asks=True))
    assert (copy.state, copy.reason) == (BookState.LIVE, Reason.PROVEN)


def test_nothing_is_told_before_the_first_book() -> None:
    copy = Copy(UP)
    assert copy.take(Beat(token=UP, seq=3), 1.0)
    assert copy.take(Change(token=UP, seq=4, prev_seq=3, epoch=1, doubts=0, state="LIVE", bids=[], asks=[],
                            digest="0" * 40), 1.0)  # fmt: skip
    assert copy.told is None
    assert (copy.state, copy.digest, copy.exchange_ms) == (BookState.UNPRIMED, "", 0)


def test_a_change_is_followed() -> None:
    told = Told()
    told.set({4800: 1, 4600: 2}, {5300: 5})
    assert not told.give(1)
    assert told.copy.levels == (*columns({4800: 1, 4600: 2}, asks=False), *columns({5300: 5}, asks=True))


def test_a_gap_breaks_it_until_a_whole_book_comes() -> None:
    told = Told()
    told.set({4800: 1}, ASKS)
    told.set({4800: 2}, ASKS)
    assert told.give(2)
    assert told.copy.broken is Reason.GAP
    told.set({4800: 3}, ASKS)
    assert told.give(3)
    assert not told.give(0)
    assert told.copy.broken is None
    assert told.copy.generation == 1
    assert told.copy.levels.bid_sizes == (3,)


def test_a_beat_of_a_state_that_never_came_is_a_gap() -> None:
    told = Told()
    told.set({4800: 1}, ASKS)
    assert told.give(2)
    assert told.copy.broken is Reason.GAP


def test_what_comes_again_or_late_changes_nothing() -> None:
    told = Told()
    told.set({4800: 1}, ASKS)
    first = told_at(told, 1)
    told.copy.take(first, 1.0)
    told.set({4800: 2}, ASKS)
    told.give(2)
    before = (told.copy.seq, told.copy.levels, told.copy.generation)
    assert not told.copy.take(first, 1.0)
    assert (told.copy.seq, told.copy.levels, told.copy.generation) == before


def told_at(of: Told, since: int) -> Beat:
    item = told(of.line, since)
    assert isinstance(item, Beat)
    return item


def test_an_older_whole_book_does_not_take_the_place_of_a_newer_state() -> None:
    of = Told()
    old = told_at(of, 0)
    of.set({4800: 1}, ASKS)
    of.give(1)
    assert not of.copy.take(old, 0.5)
    assert of.copy.seq == 2


def test_a_whole_book_of_the_same_state_renews_the_proof_alone() -> None:
    of = Told()
    of.stub.at += 1
    of.set()
    assert not of.give(0, sent=2.0)
    assert (of.copy.sent, of.copy.generation) == (2.0, 0)
    assert of.copy.proof is not None
    assert of.copy.proof.as_of == 101.0


def test_levels_that_do_not_fit_their_digest_are_not_believed() -> None:
    of = Told()
    of.set({4800: 1}, ASKS)
    change = msgspec.structs.replace(told_at(of, 1), bids=[(4800, 2)])
    assert of.copy.take(change, 1.0)
    assert of.copy.broken is Reason.HASH_MISMATCH
    whole = told_at(of, 0)
    assert of.copy.take(msgspec.structs.replace(whole, asks=[]), 1.0)
    assert of.copy.broken is Reason.HASH_MISMATCH
    assert not of.copy.take(whole, 1.0)


def test_a_beat_that_left_earlier_does_not_make_it_older() -> None:
    of = Told()
    assert not of.copy.take(Beat(token=UP, seq=1, as_of=5.0), 3.0)
    assert not of.copy.take(Beat(token=UP, seq=1, as_of=1.0), 2.0)
    assert of.copy.proof is not None
    assert of.copy.proof.as_of == 5.0


@pytest.mark.parametrize(("state", "seen"), [("LIVE", BookState.LIVE), ("ODD", BookState.SUSPECT)])
def test_an_unknown_state_is_none_to_trade_on(state: str, seen: BookState) -> None:
    of = Told()
    of.copy.take(msgspec.structs.replace(told_at(of, 0), seq=9, state=state, reason="ODD"), 1.0)
    assert of.copy.state is seen
    assert of.copy.reason is None


SIDES = st.dictionaries(st.integers(1, 60), st.integers(1, 10**9), max_size=12)


@given(st.lists(st.tuples(SIDES, SIDES, st.integers(0, 4)), max_size=30))
def test_whatever_is_lost_or_repeated_a_copy_that_is_believed_is_right(
    steps: list[tuple[dict[int, int], dict[int, int], int]],
) -> None:
    """It is told of each state: nothing, the change, the change twice, the whole book, or an earlier change."""
    of, late = Told(), None
    states = {1: of.copy.levels}
    for bids, asks, how in steps:
        of.set(bids, asks)
        states[of.line.seq] = type(of.copy.levels)(*columns(bids, asks=False), *columns(asks, asks=True))
        change = told_at(of, of.line.seq - 1)
        match how:
            case 1:
                of.copy.take(change, 1.0)
            case 2:
                of.copy.take(change, 1.0)
                of.copy.take(change, 1.0)
            case 3:
                of.copy.take(told_at(of, 0), 1.0)
            case 4 if late is not None:
                of.copy.take(late, 1.0)
        late = change
        if of.copy.broken is None:
            assert of.copy.levels == states[of.copy.seq]


def test_encoding_a_book_takes_no_more_than_is_said() -> None:
    of = Told()
    assert isinstance(told_at(of, 0), Book)
    assert len(encode(told_at(of, 0), "msgpack")) < len(encode(told_at(of, 0), "json"))

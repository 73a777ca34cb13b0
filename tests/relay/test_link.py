"""A consumer's side of one relay: what is believed, for how long, and what is asked for."""

from __future__ import annotations

import pytest

from polymirror.core.states import BookState, Reason
from polymirror.errors import NotLive
from polymirror.relay.link import ASK_AGAIN, ASK_GONE, MAX_PINGS, PING_EVERY, SILENCE, Link
from polymirror.relay.wire import Ask, Beat, Book, Frame, Pong, decode, encode, frame_of
from tests.relay.rig import ASKS, BIDS, DOWN, UP, Stub, Wire, connected


@pytest.fixture
def stub() -> Stub:
    stub = Stub()
    stub.set(UP, BIDS, ASKS)
    return stub


def seen(wire: Wire, now: float, token: str = UP) -> tuple[BookState, Reason]:
    """State and reason of a book."""
    return wire.link.standing(token, now)[:2]


LIVE = (BookState.LIVE, Reason.PROVEN)


def test_a_book_is_live_once_it_came_and_the_clock_is_known(stub: Stub) -> None:
    wire = connected(stub, UP)
    assert seen(wire, 0.0) == LIVE


def test_before_the_first_book_it_is_unprimed_and_says_why(stub: Stub) -> None:
    link = Link("relay")
    link.want([UP], 0.0)
    assert link.standing(UP, 0.0) == (BookState.UNPRIMED, Reason.TRACKED, "not connected yet")
    link.opened(0.0)
    assert link.standing(UP, 0.0).why == "no book of it has come yet"
    assert link.standing(DOWN, 0.0).state is BookState.UNPRIMED


def test_what_the_relay_does_not_carry_says_so_and_is_asked_for_again_later(stub: Stub) -> None:
    wire = connected(stub, DOWN)
    assert wire.link.standing(DOWN, 0.0).why == "the relay does not carry it"
    ask = wire.link.asks(ASK_GONE - 0.1)
    assert ask is None or not ask.want
    stub.set(DOWN, BIDS, ASKS)
    wire.turn(ASK_GONE)
    assert seen(wire, ASK_GONE, DOWN) == LIVE


def test_a_silent_token_is_not_believed(stub: Stub) -> None:
    wire = connected(stub, UP)
    assert seen(wire, SILENCE - 0.01) == LIVE
    assert seen(wire, SILENCE + 0.01) == (BookState.SUSPECT, Reason.DISCONNECT)
    stub.at += 2.0
    wire.publisher.beat()
    wire.turn(2.0)
    assert seen(wire, 2.0) == LIVE


def test_a_message_that_took_long_is_as_old_as_it_is(stub: Stub) -> None:
    wire = connected(stub, UP)
    stub.at += 0.5
    wire.publisher.beat()
    late = wire.fetch()
    for data in late:
        wire.link.received(data, 5.0)
    assert seen(wire, 5.0) == (BookState.SUSPECT, Reason.DISCONNECT)


def test_ages_are_those_of_the_relay_and_the_way(stub: Stub) -> None:
    stub.at = 103.0
    wire = connected(stub, UP, now=7.0, ahead=5_000.0)
    assert wire.link.as_of(UP, 7.0) == pytest.approx(7.0 - 3.0, abs=1e-6)


def test_a_lost_link_is_not_believed_and_a_new_one_brings_whole_books(stub: Stub) -> None:
    wire = connected(stub, UP)
    wire.link.closed("cut")
    assert seen(wire, 0.1) == (BookState.SUSPECT, Reason.DISCONNECT)
    assert wire.link.asks(0.2) is None
    assert wire.link.next_ask() == float("inf")
    wire.open(0.3)
    assert seen(wire, 0.3) == LIVE


def test_a_relay_that_was_started_anew_tells_all_again(stub: Stub) -> None:
    wire = connected(stub, UP)
    again = Wire(stub, wire.replica, wire.link, ahead=-900.0, run="run 2")
    again.consumer = again.publisher.join(wire.link.format)
    wire.link.received(frame_of("run 2", stub.at - 900.0, [], wire.link.format), 0.5)
    assert seen(wire, 0.5)[0] is BookState.UNPRIMED
    again.turn(0.5)
    assert seen(wire, 0.5) == LIVE
    assert wire.link.counts["restarts"] == 1
    before = wire.link.counts["of an earlier run"]
    wire.link.received(wire.frames[0], 0.6)
    assert wire.link.counts["of an earlier run"] == before + 1
    assert seen(wire, 0.6) == LIVE


def test_a_gap_is_asked_about_at_once_and_again_while_it_lasts(stub: Stub) -> None:
    wire = connected(stub, UP)
    stub.set(UP, {4800: 1}, ASKS)
    wire.publisher.changed([UP])
    wire.fetch()
    stub.set(UP, {4800: 2}, ASKS)
    wire.publisher.changed([UP])
    for data in wire.fetch():
        wire.link.received(data, 0.2)
    assert seen(wire, 0.2) == (BookState.SUSPECT, Reason.GAP)
    assert wire.link.counts["gaps"] == 1
    ask = wire.link.asks(0.2)
    assert ask is not None
    assert ask.want == [UP]
    again = wire.link.asks(0.2 + ASK_AGAIN - 0.01)
    assert again is None or not again.want
    wire.turn(0.2 + ASK_AGAIN)
    assert seen(wire, 0.2 + ASK_AGAIN) == LIVE


def test_a_frame_that_cannot_be_read_may_have_been_about_anything(stub: Stub) -> None:
    stub.set(DOWN, BIDS, ASKS)
    wire = connected(stub, UP, DOWN)
    wire.link.received(b"{", 0.1)
    assert seen(wire, 0.1) == seen(wire, 0.1, DOWN) == (BookState.SUSPECT, Reason.DECODE_ERROR)
    assert wire.link.counts["malformed"] == 1
    wire.turn(0.1)
    assert seen(wire, 0.1) == seen(wire, 0.1, DOWN) == LIVE


@pytest.mark.parametrize("step", [30.0, -30.0])
def test_a_clock_that_was_set_is_noticed_and_everything_dated_anew(stub: Stub, step: float) -> None:
    wire = connected(stub, UP)
    wire.clock_ahead += step
    assert seen(wire, 1.0) == LIVE
    stub.at += 1.0
    stub.set(UP)
    wire.publisher.beat()
    for data in wire.fetch():
        wire.link.received(data, 1.0)
    if step > 0:
        assert seen(wire, 1.0) == (BookState.SUSPECT, Reason.CLOCK_STEP)
    for now in (1.0, 2.0, 2.1, 3.2):
        wire.turn(now)
    stub.set(UP)
    wire.publisher.beat()
    wire.turn(3.2)
    assert seen(wire, 3.2) == LIVE
    assert wire.link.counts["clock steps"] == 1
    assert wire.link.as_of(UP, 3.2) == pytest.approx(3.2, abs=0.02)


@pytest.mark.parametrize("late", [2.0, 2.001, 2.5])
def test_what_left_after_the_relays_clock_was_set_ahead_looks_no_younger_however_late_it_is(
    stub: Stub, late: float
) -> None:
    """The frame is later than the clock was set ahead: nothing in it contradicts what was known of the clock."""
    wire = connected(stub, UP)
    wire.clock_ahead += 2.0
    wire.epoch += 1
    stub.at += 0.5
    stub.set(UP, {4800: 1}, ASKS)
    wire.publisher.changed([UP])
    now = 0.5 + late
    for data in wire.fetch():
        wire.replica.received(wire.link, data, now)
    assert seen(wire, now) == (BookState.UNPRIMED, Reason.TRACKED)
    as_of = wire.link.as_of(UP, now)
    assert as_of is None or as_of <= 0.5
    wire.turn(now)
    assert seen(wire, now) == LIVE
    found = wire.link.as_of(UP, now)
    assert found is not None
    assert found <= 0.5


@pytest.mark.parametrize("step", [30.0, 2.0, -2.0, -30.0])
def test_where_this_hosts_own_clock_was_set_all_books_are_in_doubt_until_a_relay_answers(
    stub: Stub, step: float
) -> None:
    wire = connected(stub, UP)
    before = wire.replica.live(UP, 0.5)
    asked = wire.link.asks(0.5)
    assert asked is None or asked.ping is None
    assert wire.base is not None
    wire.base -= step
    now = 0.5 + step
    wire.replica.stepped(now)
    assert seen(wire, now) == (BookState.SUSPECT, Reason.CLOCK_STEP)
    assert wire.link.as_of(UP, now) is None
    # An answer to what was asked by the old clock dates nothing.
    late = Frame(relay=wire.link.relay, sent=stub.at + wire.clock_ahead, items=[Pong(id=1)])
    wire.link.take(late, now)
    assert seen(wire, now) == (BookState.SUSPECT, Reason.CLOCK_STEP)
    # The copy is whole: a ping is enough, and no book comes again.
    wire.frames.clear()
    wire.turn(now + 0.1)
    assert seen(wire, now + 0.1) == LIVE
    items = [item for data in wire.frames for item in decode(Frame, data, wire.link.format).items]
    assert not any(isinstance(item, Book) for item in items)
    as_of = wire.link.as_of(UP, now + 0.1)
    assert as_of is not None
    assert as_of <= step
    assert as_of == pytest.approx(step, abs=0.15)
    # Whoever had a lease has lost it.
    assert wire.replica.live(UP, now + 0.1).doubts == before.doubts + 1
    assert wire.link.counts["clock steps"] == 1


def test_a_link_that_is_not_open_has_nothing_to_ask_after_a_step(stub: Stub) -> None:
    link = Link("relay")
    link.want([UP], 0.0)
    link.stepped(-40.0)
    assert link.next_ask() == float("inf")
    assert link.asks(-40.0) is None


def test_the_relays_own_limit_holds_here_too(stub: Stub) -> None:
    stub.until = stub.at + 0.5
    wire = connected(stub, UP)
    assert wire.link.is_readable(UP, 0.49)
    assert not wire.link.is_readable(UP, 0.51)
    assert wire.replica.live(UP, 0.49)
    with pytest.raises(NotLive, match="the relay itself would not read it any more") as caught:
        wire.replica.live(UP, 0.51)
    assert (caught.value.state, caught.value.reason) == (BookState.LIVE, Reason.STALE)
    assert not wire.replica.is_settled(UP, 0.51)
    assert not wire.link.is_readable(DOWN, 0.1)


def test_a_relay_that_is_not_live_itself_says_why(stub: Stub) -> None:
    stub.set(UP, state=BookState.RESYNCING, reason=Reason.PROBE_MISMATCH)
    wire = connected(stub, UP)
    assert seen(wire, 0.0) == (BookState.RESYNCING, Reason.PROBE_MISMATCH)


def test_pings_go_out_every_second_and_few_are_remembered(stub: Stub) -> None:
    link = Link("relay")
    link.opened(0.0)
    numbers = []
    for turn in range(MAX_PINGS + 4):
        ask = link.asks(turn * PING_EVERY)
        assert ask is not None
        numbers.append(ask.ping)
        assert link.asks(turn * PING_EVERY) is None
        assert link.next_ask() == (turn + 1) * PING_EVERY
    link.take(Frame(relay="r", sent=1.0, items=[Pong(id=numbers[0] or 0)]), 20.0)
    assert link.offset.low(20.0) is None
    link.take(Frame(relay="r", sent=1.0, items=[Pong(id=numbers[-1] or 0)]), 20.0)
    assert link.offset.low(20.0) is not None


def test_what_is_told_of_strange_tokens_is_ignored(stub: Stub) -> None:
    wire = connected(stub, UP)
    item = encode(Beat(token=DOWN, seq=4), wire.link.format)
    wire.link.received(frame_of("run 1", stub.at, [item], wire.link.format), 0.1)
    assert wire.link.copy(DOWN) is None
    assert seen(wire, 0.1) == LIVE


def test_tokens_that_are_not_followed_any_more_are_dropped_at_the_relay(stub: Stub) -> None:
    wire = connected(stub, UP)
    wire.replica.drop([UP])
    assert wire.link.asks(0.1) == Ask(drop=[UP])
    assert wire.link.copy(UP) is None


def test_markets_are_asked_for_and_kept(stub: Stub) -> None:
    wire = connected(stub)
    assert wire.link.markets is None
    wire.link.list_markets()
    wire.turn(0.0)
    assert wire.link.markets == ()


def test_a_late_frame_of_an_earlier_run_does_not_lock_out_the_one_that_speaks(stub: Stub) -> None:
    stub.set(DOWN, BIDS, ASKS)
    wire = connected(stub, UP)
    late = frame_of("run 0", 5.0, [], "json")
    wire.replica.received(wire.link, late, 0.1)
    assert wire.link.relay == "run 0"
    # What is left of the run that speaks looks like an earlier one's, until it alone answers.
    for tenth in range(2, 40):
        stub.at = (wire.base or 0.0) + tenth / 10
        wire.publisher.beat()
        wire.turn(tenth / 10)
    assert wire.link.relay == "run 1"
    assert seen(wire, 3.9) == LIVE
    # And it is no other's turn as long as it speaks.
    wire.replica.received(wire.link, late, 3.95)
    assert wire.link.relay == "run 1"

"""A consumer's books: the reads of a mirror, whichever relay tells them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polymirror.core.fees import FeeSchedule
from polymirror.core.states import LEGAL_TRANSITIONS, BookState, Reason
from polymirror.errors import ConfigError, NotLive, UnknownToken
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.link import SILENCE, Link
from polymirror.relay.publisher import Consumer, Publisher
from polymirror.relay.replica import CALM, OVERLAP_MS, Replica
from polymirror.relay.wire import Ask
from tests.relay.rig import ASKS, BIDS, DOWN, UP, Stub, Wire, connected


@pytest.fixture
def stub() -> Stub:
    stub = Stub()
    stub.set(UP, BIDS, ASKS)
    return stub


class Pair:
    """Two relays of two mirrors, unless more are named, and a consumer of all."""

    def __init__(self, *names: str) -> None:
        names = names or ("one", "two")
        self.stubs = [Stub() for _ in names]
        for stub in self.stubs:
            stub.set(UP, BIDS, ASKS)
        links = [Link(name, "json") for name in names]
        self.replica = Replica(links, 30.0)
        self.replica.want([UP], 0.0)
        runs = [(stub, link, f"run of {link.name}") for stub, link in zip(self.stubs, links, strict=True)]
        self.wires = [Wire(stub, self.replica, link, run=run) for stub, link, run in runs]
        for wire in self.wires:
            wire.open(0.0)
        self.now = 0.0

    def passes(self, seconds: float, *renewed: int) -> None:
        """Let time pass; the mirrors with these numbers prove their books anew."""
        self.now += seconds
        for number, wire in enumerate(self.wires):
            wire.stub.at += seconds
            if number in renewed:
                wire.stub.set(UP)
            wire.publisher.changed([UP])
            wire.publisher.beat()
            wire.turn(self.now)


def test_a_view_is_what_the_mirror_showed(stub: Stub) -> None:
    stub.set(UP, fee=FeeSchedule(Decimal("0.07"), 1))
    view = connected(stub, UP).replica.live(UP, 0.0)
    original = stub.peek(UP)
    for field in ("token", "market", "state", "settled", "exchange_ms", "levels", "tick_size_e4", "fee", "apply_lag"):
        assert getattr(view, field) == getattr(original, field), field
    assert view.last_proof is not None
    assert original.last_proof is not None
    assert view.last_proof.kind is original.last_proof.kind
    assert view.cost_to_buy("3", fees=True).total == original.cost_to_buy("3", fees=True).total


def test_an_age_counts_the_way_and_the_time_since(stub: Stub) -> None:
    stub.at = 101.0
    replica = connected(stub, UP, now=50.0).replica
    assert replica.live(UP, 50.5).verified_age == pytest.approx(1.5, abs=0.01)
    assert replica.top(UP, 50.5).verified_age == pytest.approx(1.5, abs=0.01)


def test_a_read_asks_for_an_age(stub: Stub) -> None:
    stub.at = 101.0
    replica = connected(stub, UP).replica
    assert replica.live(UP, 0.0, 1.1)
    with pytest.raises(NotLive) as caught:
        replica.live(UP, 0.0, 0.9)
    assert (caught.value.state, caught.value.reason) == (BookState.LIVE, Reason.STALE)
    assert caught.value.age == pytest.approx(1.0, abs=0.01)
    assert replica.refused(UP) == 1
    for age in (0, -1, True, "1", float("nan")):
        with pytest.raises(ConfigError):
            replica.live(UP, 0.0, age)  # type: ignore[arg-type]


def test_the_consumers_own_limit_bounds_every_read(stub: Stub) -> None:
    stub.at = 102.0
    wire = connected(stub, UP, max_proof_age=1.0)
    with pytest.raises(NotLive):
        wire.replica.live(UP, 0.0, 25.0)


@pytest.mark.parametrize("read", ["live", "top"])
def test_what_is_not_live_is_refused_with_the_reason(stub: Stub, read: str) -> None:
    wire = connected(stub, UP)
    stub.set(UP, state=BookState.SUSPECT, reason=Reason.BBO_MISMATCH, doubts=1)
    wire.publisher.changed([UP])
    wire.turn(0.1)
    with pytest.raises(NotLive) as caught:
        getattr(wire.replica, read)(UP, 0.1)
    assert (caught.value.state, caught.value.reason) == (BookState.SUSPECT, Reason.BBO_MISMATCH)


def test_tokens_that_are_not_followed_are_unknown(stub: Stub) -> None:
    replica = connected(stub, UP).replica
    for read in (replica.live, replica.top, replica.peek):
        with pytest.raises(UnknownToken):
            read(DOWN, 0.0)
        with pytest.raises(UnknownToken):
            read([UP], 0.0)  # type: ignore[arg-type]


def test_top_is_the_top_of_live(stub: Stub) -> None:
    replica = connected(stub, UP).replica
    top, view = replica.top(UP, 0.0), replica.live(UP, 0.0)
    for field in ("token", "epoch", "doubts", "settled", "exchange_ms", "best_bid", "best_ask", "verified_age"):
        assert getattr(top, field) == getattr(view, field), field


def test_an_empty_book_has_no_top(stub: Stub) -> None:
    stub.set(UP, {}, {})
    top = connected(stub, UP).replica.top(UP, 0.0)
    assert top.best_bid is top.best_ask is None


def test_peek_shows_what_may_not_be_traded_on(stub: Stub) -> None:
    wire = connected(stub, UP)
    wire.link.closed("cut")
    wire.replica.look(0.1)
    view = wire.replica.peek(UP, 0.1)
    assert (view.state, view.levels) == (BookState.SUSPECT, stub.peek(UP).levels)
    fresh = Replica([Link("relay")], 30.0)
    fresh.want([UP], 0.0)
    with pytest.raises(NotLive):
        fresh.peek(UP, 0.0)


def test_an_unproven_change_is_not_settled(stub: Stub) -> None:
    wire = connected(stub, UP)
    assert wire.replica.is_settled(UP, 0.0)
    stub.set(UP, settled=False)
    wire.publisher.changed([UP])
    wire.turn(0.1)
    assert not wire.replica.live(UP, 0.1).settled
    assert not wire.replica.is_settled(UP, 0.1)


def test_moves_are_told_in_order_and_are_all_legal(stub: Stub) -> None:
    wire = connected(stub, UP)
    for state in (BookState.RESYNCING, BookState.LIVE, BookState.RETIRED, BookState.LIVE, BookState.UNPRIMED):
        stub.set(UP, state=state, reason=Reason.REQUESTED, doubts=stub.peek(UP).doubts + 1)
        wire.publisher.changed([UP])
        wire.turn(0.1)
    wire.link.closed("cut")
    wire.replica.look(0.2)
    moves = wire.replica.events()
    assert [move.new for move in moves][:3] == [BookState.LIVE, BookState.SUSPECT, BookState.RESYNCING]
    state = BookState.UNPRIMED
    for move in moves:
        assert move.old is state
        assert move.new in LEGAL_TRANSITIONS[state]
        state = move.new


def test_doubts_between_two_looks_are_doubts(stub: Stub) -> None:
    """The relay conflates: it was SUSPECT and LIVE again before it was asked."""
    wire = connected(stub, UP)
    before = wire.replica.live(UP, 0.0)
    stub.set(UP, doubts=1)
    wire.publisher.changed([UP])
    wire.turn(0.1)
    after = wire.replica.live(UP, 0.1)
    assert after.doubts == before.doubts + 1
    assert [move.new for move in wire.replica.events()] == [BookState.LIVE, BookState.SUSPECT, BookState.LIVE]


def test_a_silence_between_two_messages_is_a_doubt(stub: Stub) -> None:
    wire = connected(stub, UP)
    before = wire.replica.live(UP, 0.0)
    stub.at += SILENCE + 1
    stub.set(UP)
    wire.publisher.changed([UP])
    wire.publisher.beat()
    wire.turn(SILENCE + 1)
    assert wire.replica.live(UP, SILENCE + 1).doubts == before.doubts + 1


def test_a_book_that_was_replaced_is_of_another_epoch(stub: Stub) -> None:
    wire = connected(stub, UP)
    before = wire.replica.live(UP, 0.0)
    stub.set(UP, epoch=2)
    wire.publisher.changed([UP])
    wire.turn(0.1)
    after = wire.replica.live(UP, 0.1)
    assert (after.epoch, after.doubts) == (before.epoch + 1, before.doubts)


def test_the_younger_proof_is_read() -> None:
    pair = Pair()
    pair.passes(0.4, 1)
    pair.stubs[1].set(UP, {**BIDS, 4600: 1}, ASKS)
    pair.passes(0.4, 1)
    view = pair.replica.live(UP, pair.now)
    assert view.verified_age < 0.1
    assert len(view.levels.bid_keys) == 3


def test_one_relay_that_is_lost_costs_nothing() -> None:
    pair = Pair()
    before = pair.replica.live(UP, 0.0)
    pair.wires[0].link.closed("cut")
    pair.replica.look(0.1)
    after = pair.replica.live(UP, 0.1)
    assert (after.epoch, after.doubts) == (before.epoch, before.doubts)
    pair.wires[1].link.closed("cut")
    pair.replica.look(0.2)
    with pytest.raises(NotLive):
        pair.replica.live(UP, 0.2)


def apart(stub: Stub) -> tuple[Link, Replica, Publisher, Consumer]:
    """A relay and a consumer of it, between which a test carries what it likes."""
    link = Link("relay", "json")
    replica = Replica([link], 30.0)
    replica.want([UP], 0.0)
    publisher = Publisher(stub, "run 1", SteadyClock(stub.now))
    link.opened(0.0)
    return link, replica, publisher, publisher.join("json")


def test_a_book_that_came_before_the_clock_was_known_is_looked_at_as_soon_as_it_is(stub: Stub) -> None:
    link, replica, publisher, consumer = apart(stub)
    ask = link.asks(0.0)
    assert ask is not None
    publisher.asked(consumer, Ask(want=ask.want))
    replica.received(link, publisher.frame(consumer), 0.01)
    assert (replica.standing(UP) or [None])[0] is not BookState.LIVE
    publisher.asked(consumer, Ask(ping=ask.ping))
    replica.received(link, publisher.frame(consumer), 0.02)
    # What is read is what was looked at: its epoch, and the transitions that led to it.
    assert replica.standing(UP) == (BookState.LIVE, Reason.PROVEN, 1)
    assert replica.live(UP, 0.02).epoch == 1


def test_a_book_that_seemed_too_old_is_looked_at_as_soon_as_the_clock_is_known_better(stub: Stub) -> None:
    link, replica, publisher, consumer = apart(stub)
    for asked, answered in ((0.0, SILENCE + 0.1), (2.0, 2.0)):
        ask = link.asks(asked)
        assert ask is not None
        stub.at = 100.0 + answered
        publisher.asked(consumer, ask)
        # The first answer says so late when it was asked that the book seems to be silent since then.
        replica.received(link, publisher.frame(consumer), 2.0)
        found = replica.standing(UP)
        assert found is not None
        assert (found[0] is BookState.LIVE, found[2]) == ((False, 0) if asked == 0.0 else (True, 1))


def test_what_the_other_relay_knows_is_not_settled_here() -> None:
    pair = Pair()
    pair.passes(0.1, 0, 1)
    pair.stubs[1].set(UP, {**BIDS, 4600: 1}, ASKS, state=BookState.SUSPECT, reason=Reason.STALE)
    pair.passes(0.1, 0)
    assert not pair.replica.live(UP, pair.now).settled


def test_what_the_other_relay_has_not_proven_yet_is_not_settled_here() -> None:
    pair = Pair()
    pair.passes(0.5, 0, 1)
    assert pair.replica.live(UP, pair.now).settled
    pair.stubs[0].set(UP, settled=False, proven_at=pair.stubs[0].peek(UP).proven_at)
    pair.passes(0.5, 1)
    assert pair.replica.links[1].as_of(UP, pair.now) == pair.replica.live(UP, pair.now).proven_at
    assert not pair.replica.live(UP, pair.now).settled
    assert not pair.replica.is_settled(UP, pair.now)


def test_what_came_over_a_gap_is_known_and_not_settled_here() -> None:
    pair = Pair()
    pair.passes(0.5, 0, 1)
    _, wire = pair.wires
    assert wire.consumer is not None
    for size in (1, 2):
        wire.stub.set(UP, {4800: size}, ASKS, exchange_ms=wire.stub.peek(UP).exchange_ms + size)
        wire.publisher.changed([UP])
        frame = wire.publisher.frame(wire.consumer)
    # The first of them is lost.
    pair.replica.received(wire.link, frame, pair.now)
    copy = wire.link.copy(UP)
    assert copy is not None
    assert copy.broken is Reason.GAP
    assert not pair.replica.live(UP, pair.now).settled


def test_a_time_in_the_future_keeps_the_other_relays_unsettled_only_until_the_next_state() -> None:
    pair = Pair()
    pair.passes(0.5, 0, 1)
    there = pair.stubs[0].peek(UP).exchange_ms
    pair.stubs[1].set(UP, exchange_ms=there + 3_600_000)
    pair.passes(0.1, 0)
    assert pair.replica.live(UP, pair.now).exchange_ms == there
    assert not pair.replica.live(UP, pair.now).settled
    pair.stubs[1].set(UP, exchange_ms=there)
    pair.passes(0.1, 0)
    assert pair.replica.live(UP, pair.now).settled


def test_a_silence_between_two_looks_is_a_doubt(stub: Stub) -> None:
    wire = connected(stub, UP)
    before = wire.replica.live(UP, 0.0)
    wire.replica.tick(SILENCE - 0.05)
    with pytest.raises(NotLive):
        wire.replica.live(UP, SILENCE + 0.01)
    stub.at = (wire.base or 0.0) + SILENCE + 0.04
    wire.publisher.beat()
    for frame in wire.fetch():
        wire.replica.received(wire.link, frame, SILENCE + 0.04)
    after = wire.replica.live(UP, SILENCE + 0.04)
    assert (after.doubts, after.epoch) == (before.doubts + 1, before.epoch)


def contradict(pair: Pair) -> None:
    """Have the second relay state other levels, of the first one's time, until that is noticed."""
    pair.stubs[1].set(UP, {4800: 1}, ASKS, exchange_ms=pair.stubs[0].peek(UP).exchange_ms)
    for _ in range(OVERLAP_MS // 500 + 2):
        pair.passes(0.5, 0, 1)


def test_relays_that_contradict_each_other_are_both_in_doubt() -> None:
    pair = Pair()
    contradict(pair)
    with pytest.raises(NotLive) as caught:
        pair.replica.live(UP, pair.now)
    assert (caught.value.state, caught.value.reason) == (BookState.SUSPECT, Reason.DISAGREEMENT)
    (told,) = pair.replica.disagreements()
    assert (told.token, told.relays) == (UP, ("one", "two"))
    assert told.overlap_ms > OVERLAP_MS
    assert not pair.replica.is_settled(UP, pair.now)


def test_a_change_that_one_relay_has_first_is_no_contradiction() -> None:
    pair = Pair()
    for size in range(1, 8):
        pair.passes(0.3, 0, 1)
        pair.stubs[0].set(UP, {4800: size}, ASKS)
        pair.passes(0.3, 0, 1)
        assert pair.replica.live(UP, pair.now)
        pair.stubs[1].set(UP, {4800: size}, ASKS, exchange_ms=pair.stubs[0].peek(UP).exchange_ms)
    assert pair.replica.disagreements() == []


def test_a_disagreement_ends_when_they_say_the_same() -> None:
    pair = Pair()
    contradict(pair)
    pair.stubs[1].set(UP, BIDS, ASKS, exchange_ms=pair.stubs[0].peek(UP).exchange_ms)
    pair.passes(0.5, 0, 1)
    assert pair.replica.live(UP, pair.now)


def test_a_disagreement_with_a_relay_that_is_no_more_ends_after_a_while() -> None:
    pair = Pair()
    contradict(pair)
    pair.wires[1].link.closed("gone")
    pair.wires = pair.wires[:1]
    for _ in range(int(CALM / 0.5) - 2):
        pair.passes(0.5, 0)
        with pytest.raises(NotLive):
            pair.replica.live(UP, pair.now)
    for _ in range(4):
        pair.passes(0.5, 0)
    assert pair.replica.live(UP, pair.now)


def test_a_disagreement_lasts_while_both_speak_however_often_the_market_changes() -> None:
    pair = Pair()
    contradict(pair)
    for number in range(60):
        bids = {4800: 10_000_000 + number}
        pair.stubs[0].set(UP, bids, ASKS)
        pair.stubs[1].set(UP, {**bids, 4790: 1}, ASKS, exchange_ms=pair.stubs[0].peek(UP).exchange_ms)
        pair.passes(0.5, 0, 1)
        with pytest.raises(NotLive, match="DISAGREEMENT"):
            pair.replica.live(UP, pair.now)
    assert len(pair.replica.disagreements()) == 1


def test_two_that_say_the_same_do_not_end_what_they_and_a_third_disagree_about() -> None:
    three = Pair("one", "two", "three")
    other = {4800: 1}
    three.stubs[2].set(UP, other, ASKS, exchange_ms=three.stubs[0].peek(UP).exchange_ms)
    for _ in range(OVERLAP_MS // 500 + 2):
        three.passes(0.5, 0, 1, 2)
    for number in range(40):
        if number % 8 == 0:
            bids = {4800: 10_000_000 + number}
            for stub, side in zip(three.stubs, (bids, bids, {**other, 4790: number + 1}), strict=True):
                stub.set(UP, side, ASKS, exchange_ms=stub.venue_ms(stub.at))
        three.passes(0.5, 0, 1, 2)
        with pytest.raises(NotLive, match="DISAGREEMENT"):
            three.replica.live(UP, three.now)
    assert len(three.replica.disagreements()) == 1
    three.stubs[2].set(UP, bids, ASKS)
    three.stubs[1].set(UP, bids, ASKS)
    three.stubs[0].set(UP, bids, ASKS)
    three.passes(0.5, 0, 1, 2)
    assert three.replica.live(UP, three.now)


def test_a_disagreement_lasts_no_longer_because_the_clock_was_set_back() -> None:
    pair = Pair()
    pair.passes(100.0, 0, 1)
    contradict(pair)
    pair.wires[1].link.closed("gone")
    pair.wires = pair.wires[:1]
    pair.now -= 60.0
    pair.replica.stepped(pair.now)
    for _ in range(int(CALM / 0.5) + 4):
        pair.passes(0.5, 0)
    assert pair.replica.live(UP, pair.now)


def test_a_new_replica_that_hears_less_keeps_what_it_knew(stub: Stub) -> None:
    wire = connected(stub, UP)
    again = Wire(stub, wire.replica, wire.link, run="run 2")
    stub.set(UP, state=BookState.UNPRIMED, reason=Reason.TRACKED)
    again.open(0.1)
    again.turn(0.1)
    wire.replica.tick(0.1)
    assert (wire.replica.standing(UP) or [None])[0] is BookState.SUSPECT


def test_odd_fees_are_no_fees(stub: Stub) -> None:
    stub.set(UP, fee=FeeSchedule(Decimal("NaN"), 1))
    view = connected(stub, UP).replica.live(UP, 0.0)
    assert view.fee is None or view.fee.problem


def test_the_word_of_a_relay_that_is_gone_does_not_retire_what_lives_elsewhere() -> None:
    pair = Pair()
    pair.stubs[0].set(UP, state=BookState.RETIRED, reason=Reason.RESOLVED)
    pair.stubs[1].set(UP, state=BookState.RETIRED, reason=Reason.RESOLVED)
    for wire in pair.wires:
        wire.publisher.changed([UP])
    pair.passes(0.1, 0, 1)
    assert (pair.replica.standing(UP) or [None])[0] is BookState.RETIRED
    pair.wires[0].link.closed("gone")
    pair.stubs[1].set(UP, state=BookState.RESYNCING, reason=Reason.REQUESTED)
    pair.wires[1].publisher.changed([UP])
    pair.passes(0.1, 1)
    assert (pair.replica.standing(UP) or [None])[0] is BookState.RESYNCING


def test_what_the_only_relay_retired_stays_so_while_it_is_away() -> None:
    pair = Pair()
    for stub, wire in zip(pair.stubs, pair.wires, strict=True):
        stub.set(UP, state=BookState.RETIRED, reason=Reason.RESOLVED)
        wire.publisher.changed([UP])
    pair.passes(0.1, 0, 1)
    for wire in pair.wires:
        wire.link.closed("gone")
    pair.replica.tick(pair.now)
    assert (pair.replica.standing(UP) or [None])[0] is BookState.RETIRED

"""A relay's side: what each consumer is sent, and that nothing is made for nobody."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polymirror.core.fees import FeeSchedule
from polymirror.core.states import BookState, Reason
from polymirror.relay import lines, publisher
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.publisher import AHEAD, BEAT, MAX_LOOKS, Consumer, Publisher
from polymirror.relay.wire import Ask, Beat, Book, Change, Frame, Gone, Item, Markets, Pong, decode
from polymirror.venue.windows import Interval, window_at
from tests.bots.rounds_rig import market_of
from tests.relay.rig import ASKS, BIDS, DOWN, UP, Stub


def sent(relay: Publisher, consumer: Consumer) -> list[Item]:
    """What a consumer is sent now."""
    items: list[Item] = []
    while consumer.waits:
        items += decode(Frame, relay.frame(consumer), "json").items
    return items


def started(stub: Stub, *tokens: str) -> tuple[Publisher, Consumer]:
    relay = Publisher(stub, "run", SteadyClock(stub.now))
    consumer = relay.join("json")
    relay.asked(consumer, Ask(want=list(tokens)))
    return relay, consumer


@pytest.fixture
def stub() -> Stub:
    stub = Stub()
    stub.set(UP, BIDS, ASKS)
    return stub


def test_the_first_word_about_a_token_is_its_whole_book(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    (item,) = sent(relay, consumer)
    assert isinstance(item, Book)
    assert item.bids == [(4800, 10_000_000), (4700, 5_000_000)]
    assert item.asks == [(5200, 7_000_000), (5300, 1_000_000)]
    assert (item.seq, item.prev_seq, item.state, item.market, item.proof) == (1, 0, "LIVE", "0xmarket", "hash")
    assert (item.as_of, item.until) == (100.0, 1_000.0)


def test_a_book_that_was_told_and_is_looked_for_again_is_gone(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    stub.looked_for.add(UP)
    relay.changed([UP])
    assert sent(relay, consumer) == [Gone(token=UP)]
    relay.asked(consumer, Ask(want=[UP]))
    assert sent(relay, consumer) == []


def test_what_a_removed_market_had_is_gone_at_once(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    del stub.views[UP]
    relay.listed([UP, DOWN])
    assert sent(relay, consumer) == [Gone(token=UP)]


def test_each_frame_of_a_run_leaves_later_than_the_one_before_however_coarse_the_clock_is(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    times = []
    for number in range(3):
        relay.asked(consumer, Ask(ping=number))
        times.append(decode(Frame, relay.frame(consumer), "json").sent)
        stub.set(UP, BIDS, {5400: number + 1})
        relay.changed([UP])
        times.append(decode(Frame, relay.frame_about(consumer, UP), "json").sent)
    assert sorted(set(times)) == times
    assert times[-1] - times[0] < 1e-9
    stub.at += 0.5
    relay.asked(consumer, Ask(ping=9))
    assert decode(Frame, relay.frame(consumer), "json").sent == stub.now()


class Set:
    """A clock that a test sets, and that has noticed it once ``epoch`` is another."""

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self.ahead = 0.0
        self.epoch = 0

    def now(self) -> float:
        return self.stub.at + self.ahead


@pytest.mark.parametrize("step", [20.0, -20.0])
def test_a_relay_whose_clock_was_set_begins_a_new_run_and_dates_nothing_by_the_old_one(stub: Stub, step: float) -> None:
    clock = Set(stub)
    relay = Publisher(stub, "run", clock)
    consumers = [relay.join("json") for _ in range(2)]
    for consumer in consumers:
        relay.asked(consumer, Ask(want=[UP], ping=7))
    first = decode(Frame, relay.frame(consumers[0]), "json")
    assert first.relay == "run"
    # What waits was looked at before, and is sent after.
    stub.at += 0.5
    clock.ahead, clock.epoch = step, 1
    second = decode(Frame, relay.frame(consumers[1]), "json")
    assert second.relay == "run.1"
    assert second.sent == 100.5 + step
    (book,) = (item for item in second.items if isinstance(item, Book))
    assert book.as_of == 100.0 + step
    assert book.until == stub.until + step
    assert book.as_of_ms == stub.venue_ms(100.0)
    stub.at += 0.25
    stub.set(UP, {4800: 3}, ASKS)
    relay.changed([UP])
    third = decode(Frame, relay.frame_about(consumers[0], UP), "json")
    assert (third.relay, third.sent) == ("run.1", 100.75 + step)
    assert third.items[0].as_of == 100.75 + step  # type: ignore[union-attr]


def test_what_is_gone_when_a_new_run_begins_is_told_so(stub: Stub) -> None:
    clock = Set(stub)
    relay = Publisher(stub, "run", clock)
    consumer = relay.join("json")
    relay.asked(consumer, Ask(want=[UP]))
    del stub.views[UP]
    clock.epoch = 1
    assert sent(relay, consumer) == [Gone(token=UP)]


def test_a_change_has_what_differs_and_names_the_state_before(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    stub.at = 101.0
    stub.set(UP, {4800: 3, 4600: 9}, ASKS)
    relay.changed([UP])
    (item,) = sent(relay, consumer)
    assert type(item) is Change
    assert (item.seq, item.prev_seq) == (2, 1)
    assert sorted(item.bids) == [(4600, 9), (4700, 0), (4800, 3)]
    assert item.asks == []


def test_a_state_without_new_levels_is_told(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    stub.set(UP, state=BookState.SUSPECT, reason=Reason.HASH_MISMATCH, doubts=1, settled=False)
    relay.changed([UP])
    (item,) = sent(relay, consumer)
    assert type(item) is Change
    assert (item.state, item.reason, item.doubts, item.settled) == ("SUSPECT", "HASH_MISMATCH", 1, False)
    assert item.bids == item.asks == []
    assert item.until is None


def test_a_slow_consumer_gets_the_newest_state_and_never_a_backlog(stub: Stub) -> None:
    relay, slow = started(stub, UP)
    sent(relay, slow)
    quick = relay.join("json")
    relay.asked(quick, Ask(want=[UP]))
    sent(relay, quick)
    for size in (1, 2, 3):
        stub.set(UP, {**BIDS, 4800: size}, ASKS)
        relay.changed([UP])
        (one,) = sent(relay, quick)
        assert isinstance(one, Change)
        assert one.prev_seq == one.seq - 1
    (item,) = sent(relay, slow)
    assert type(item) is Change
    assert (item.prev_seq, item.seq, item.bids) == (1, 4, [(4800, 3)])


def test_whoever_is_too_far_behind_gets_the_whole_book(stub: Stub) -> None:
    relay, slow = started(stub, UP)
    sent(relay, slow)
    for size in range(1, lines.MAX_CHANGES + 2):
        stub.set(UP, {**BIDS, 4800: size}, ASKS)
        relay.changed([UP])
    (item,) = sent(relay, slow)
    assert isinstance(item, Book)
    assert dict(item.bids)[4800] == lines.MAX_CHANGES + 1


def test_what_is_sent_to_many_is_made_once(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    encode = lines.encode
    monkeypatch.setattr(lines, "encode", lambda item, format_: made.append(item) or encode(item, format_))
    relay, first = started(stub, UP)
    others = [relay.join("json") for _ in range(20)]
    for other in others:
        relay.asked(other, Ask(want=[UP]))
    for consumer in (first, *others):
        sent(relay, consumer)
    assert len(made) == 1
    stub.set(UP, {**BIDS, 4800: 1}, ASKS)
    relay.changed([UP])
    for consumer in (first, *others):
        sent(relay, consumer)
    assert len(made) == 2


def test_nobody_asks_nothing_is_looked_at(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Publisher(stub, "run", SteadyClock(stub.now))
    consumer = relay.join("json")
    monkeypatch.setattr(stub, "peek", pytest.fail)
    relay.changed([UP])
    assert relay.beat() == float("inf")
    assert not consumer.waits


def test_a_book_that_is_not_readable_for_long_is_looked_at_before_that(stub: Stub) -> None:
    stub.until = stub.at + 0.12
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    assert relay.beat() == pytest.approx(0.12 - AHEAD)
    stub.at += 0.12 - AHEAD
    stub.until = stub.at + 15.0
    stub.set(UP)
    assert relay.beat() == pytest.approx(BEAT)
    (item,) = sent(relay, consumer)
    assert type(item) is Beat
    assert item.until == stub.until


def test_one_that_is_not_proven_in_time_is_not_looked_at_for_ever(stub: Stub) -> None:
    stub.until = stub.at + 0.12
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    stub.at += 0.12 - AHEAD + 0.001
    assert relay.beat() > 0.1


def test_each_book_is_told_once_a_beat_whether_or_not_anything_is_new(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    assert relay.beat() == pytest.approx(BEAT)
    assert not consumer.waits
    stub.at += BEAT
    assert relay.beat() == pytest.approx(BEAT)
    (item,) = sent(relay, consumer)
    assert type(item) is Beat
    assert (item.seq, item.as_of) == (1, 100.0)


def test_proofs_that_come_often_do_not_put_the_beat_off(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    for _ in range(6):
        stub.at += 0.1
        stub.set(UP)
        relay.changed([UP])
    relay.beat()
    (item,) = sent(relay, consumer)
    assert type(item) is Beat


def test_a_beat_has_the_newest_proof(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    stub.at += BEAT
    stub.set(UP)
    relay.beat()
    (item,) = sent(relay, consumer)
    assert type(item) is Beat
    assert item.as_of == stub.at
    assert item.as_of_ms == stub.venue_ms(stub.at)


def test_beats_of_many_books_are_spread_over_turns() -> None:
    stub = Stub()
    tokens = [str(number) for number in range(MAX_LOOKS + 10)]
    for token in tokens:
        stub.set(token, BIDS, ASKS)
    relay, consumer = started(stub, *tokens)
    sent(relay, consumer)
    stub.at += BEAT
    assert relay.beat() == 0.0
    assert len(sent(relay, consumer)) == MAX_LOOKS
    assert relay.beat() > 0.0
    assert len(sent(relay, consumer)) == 10


def test_a_token_that_is_not_carried_is_gone(stub: Stub) -> None:
    relay, consumer = started(stub, DOWN)
    assert sent(relay, consumer) == [Gone(token=DOWN)]
    assert relay.tokens == 0
    del stub.views[UP]
    relay.asked(consumer, Ask(want=[UP]))
    assert sent(relay, consumer) == [Gone(token=UP)]


def test_a_token_that_is_looked_for_is_told_once_it_is_found(stub: Stub) -> None:
    stub.looked_for.add(DOWN)
    relay, consumer = started(stub, DOWN)
    assert sent(relay, consumer) == []
    stub.looked_for.clear()
    stub.set(DOWN, BIDS, ASKS)
    stub.at += BEAT
    relay.beat()
    (item,) = sent(relay, consumer)
    assert isinstance(item, Book)


def test_a_token_that_is_removed_while_it_is_told_is_gone(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    del stub.views[UP]
    relay.changed([UP])
    assert sent(relay, consumer) == [Gone(token=UP)]
    assert not consumer.places


def test_asking_again_brings_the_whole_book_again(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    relay.asked(consumer, Ask(want=[UP]))
    (item,) = sent(relay, consumer)
    assert isinstance(item, Book)


def test_pings_are_answered_and_dropped_tokens_are_not_told_of(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    relay.asked(consumer, Ask(ping=5, drop=[UP, "never wanted"]))
    assert sent(relay, consumer) == [Pong(id=5)]
    stub.set(UP, {4800: 1})
    relay.changed([UP])
    assert not consumer.waits
    assert relay.tokens == 0


def test_a_consumer_that_left_costs_nothing(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    relay.leave(consumer)
    relay.leave(consumer)
    assert (relay.consumers, relay.tokens) == (0, 0)


def test_new_fees_come_with_a_whole_book(stub: Stub) -> None:
    relay, consumer = started(stub, UP)
    sent(relay, consumer)
    stub.set(UP, fee=FeeSchedule(Decimal("0.07"), 1))
    relay.changed([UP])
    (item,) = sent(relay, consumer)
    assert isinstance(item, Book)
    assert item.fee is not None
    assert item.fee.rate == "0.07"


def test_too_many_tokens_are_gone(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "MAX_TOKENS", 1)
    stub.set(DOWN, BIDS, ASKS)
    relay, consumer = started(stub, UP, DOWN)
    assert Gone(token=DOWN) in sent(relay, consumer)
    assert list(consumer.places) == [UP]


def test_long_frames_are_cut_between_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "FULL", 1_000)
    stub = Stub()
    tokens = [str(number) for number in range(20)]
    for token in tokens:
        stub.set(token, BIDS, ASKS)
    relay, consumer = started(stub, *tokens)
    frames = []
    while consumer.waits:
        frames.append(relay.frame(consumer))
    assert len(frames) > 3
    assert [
        item.token for frame in frames for item in decode(Frame, frame, "json").items if isinstance(item, Book)
    ] == (tokens)


def test_markets_are_listed_when_asked_for_and_when_they_are_others(stub: Stub) -> None:
    relay, consumer = started(stub)
    relay.listed()
    assert not consumer.waits
    relay.asked(consumer, Ask(list=True))
    assert sent(relay, consumer) == [Markets(markets=[])]
    stub.markets = (market_of(window_at("btc", Interval.FIVE_MINUTES, 1_790_000_100)),)
    relay.listed()
    (item,) = sent(relay, consumer)
    assert isinstance(item, Markets)
    assert [(each.slug, len(each.tokens)) for each in item.markets] == [("btc-updown-5m-1790000100", 2)]

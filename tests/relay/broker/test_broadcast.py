"""What a relay tells a broker, and when: without a broker, on a clock that the test moves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from polymirror.relay.broker.broadcast import MAX_BATCH, WANTED_FOR, WHOLE_EVERY, Broadcast
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.publisher import BEAT, Publisher
from polymirror.relay.wire import MAX_TOKENS, Ask, Beat, Book, Change, Frame, Gone, Markets, Pong, decode
from tests.relay.rig import ASKS, BIDS, DOWN, UP, Stub

MOST = 2**20


class Rig:
    def __init__(self, interval: float = 0.0) -> None:
        self.stub = Stub()
        self.stub.set(UP, BIDS, ASKS)
        self.stub.set(DOWN, BIDS, ASKS)
        self.warned: list[str] = []
        self.publisher = Publisher(self.stub, "run", SteadyClock(self.stub.now))
        self.cast = Broadcast(
            self.publisher,
            "json",
            self.stub.now,
            lambda kind, detail: self.warned.append(f"{kind}: {detail}"),
            interval,
        )

    def ask(self, most: int = MOST, **asked: object) -> list[object]:
        frames = self.cast.asked(Ask(**asked), most)
        return [item for frame in frames for item in decode(Frame, frame, "json").items]

    def told(self, most: int = MOST) -> list[tuple[str, object]]:
        return [
            (token, item)
            for token, frame in self.cast.take(most)
            for item in decode(Frame, frame, "json").items
        ]  # fmt: skip

    def change(self, size: int, *tokens: str) -> None:
        for token in tokens or (UP,):
            self.stub.set(token, {**BIDS, 4800: size}, ASKS)
            self.publisher.changed([token])


@pytest.fixture
def rig() -> Rig:
    return Rig()


def kinds(told: list[tuple[str, object]]) -> list[tuple[str, type]]:
    return [(token, type(item)) for token, item in told]


def test_a_ping_is_answered_to_the_one_who_asked_and_to_nobody_else(rig: Rig) -> None:
    assert rig.ask(ping=7) == [Pong(id=7)]
    assert rig.told() == []


def test_nothing_is_told_of_a_token_that_nobody_wants(rig: Rig) -> None:
    rig.change(1)
    assert rig.told() == []
    assert rig.cast.next_take() == float("inf")


def test_a_whole_book_comes_first_and_changes_follow_on_the_tokens_own_subject(rig: Rig) -> None:
    assert rig.ask(want=[UP]) == []
    assert kinds(rig.told()) == [(UP, Book)]
    rig.change(1, UP, DOWN)
    assert kinds(rig.told()) == [(UP, Change)]


def test_a_thousand_newcomers_cost_one_whole_book_each_tenth_of_a_second(rig: Rig) -> None:
    wholes = 0
    start = rig.stub.at
    for number in range(1_000):
        rig.stub.at = start + number / 1_000
        rig.ask(want=[UP])
        wholes += kinds(rig.told()).count((UP, Book))
    assert 9 <= wholes <= 10
    # Whoever came last has not been forgotten.
    rig.stub.at = rig.cast.next_take()
    assert kinds(rig.told()) == [(UP, Book)]
    assert rig.cast.next_take() == float("inf")


def test_a_whole_book_that_is_due_later_is_announced_for_then(rig: Rig) -> None:
    rig.ask(want=[UP])
    rig.told()
    rig.ask(want=[UP])
    assert rig.told() == []
    assert rig.cast.next_take() == pytest.approx(rig.stub.at + WHOLE_EVERY)


def test_a_token_that_nobody_asks_about_for_a_minute_is_told_no_more(rig: Rig) -> None:
    rig.ask(want=[UP])
    rig.told()
    rig.stub.at += WANTED_FOR - 1
    rig.change(1)
    assert kinds(rig.told()) == [(UP, Change)]
    rig.stub.at += 1
    rig.change(2)
    assert rig.told() == []
    assert (rig.cast.tokens, rig.publisher.tokens) == (0, 0)
    assert rig.cast.counts["expired"] == 1


def test_what_is_kept_is_told_on_and_costs_no_whole_book(rig: Rig) -> None:
    rig.ask(want=[UP, DOWN])
    rig.told()
    for _ in range(5):
        rig.stub.at += WANTED_FOR / 2
        rig.ask(keep=[UP])
        assert Book not in [kind for _, kind in kinds(rig.told())]
    rig.change(1, UP, DOWN)
    assert kinds(rig.told()) == [(UP, Change)]


def test_what_is_kept_although_it_is_not_told_begins_with_a_whole_book(rig: Rig) -> None:
    rig.ask(keep=[UP])
    assert kinds(rig.told()) == [(UP, Book)]


def test_what_one_consumer_drops_others_go_on_with(rig: Rig) -> None:
    rig.ask(want=[UP])
    rig.told()
    rig.ask(drop=[UP])
    rig.change(1)
    assert kinds(rig.told()) == [(UP, Change)]


def test_each_book_is_told_once_a_beat(rig: Rig) -> None:
    rig.ask(want=[UP])
    rig.told()
    rig.stub.at += BEAT
    rig.publisher.beat()
    assert kinds(rig.told()) == [(UP, Beat)]


def test_many_changes_between_two_turns_are_one_message(rig: Rig) -> None:
    rig.ask(want=[UP])
    rig.told()
    for size in range(1, 20):
        rig.change(size)
    ((token, item),) = rig.told()
    assert token == UP
    assert isinstance(item, Change)
    assert item.bids == [(4800, 19)]


def test_with_an_interval_changes_are_held_back_and_the_newest_is_told_then() -> None:
    rig = Rig(interval=0.2)
    rig.ask(want=[UP])
    rig.told()
    rig.stub.at += 0.05
    rig.change(1)
    assert rig.told() == []
    assert rig.cast.next_take() == pytest.approx(rig.stub.at + 0.15)
    rig.change(2)
    rig.stub.at += 0.15
    ((_, item),) = rig.told()
    assert isinstance(item, Change)
    assert item.bids == [(4800, 2)]


def test_a_token_that_is_not_carried_is_gone_on_its_own_subject(rig: Rig) -> None:
    assert rig.ask(want=["other"]) == []
    assert rig.told() == [("other", Gone(token="other"))]
    assert rig.told() == []


@pytest.mark.parametrize("token", ["a.b", "*", ">", "a b", "a\r\nPUB x 1", "é"])
def test_what_means_something_in_a_subject_is_never_a_token(rig: Rig, token: str) -> None:
    assert rig.ask(want=[token], keep=[token]) == [Gone(token=token)]
    assert rig.told() == []


def test_what_is_wanted_beyond_the_bound_is_refused_to_the_one_who_asked(rig: Rig) -> None:
    rig.ask(want=[str(number) for number in range(MAX_TOKENS)])
    assert rig.ask(want=["one"]) == [Gone(token="one")]
    assert rig.cast.counts["refused"] == 1
    assert rig.cast.tokens == MAX_TOKENS


def test_very_many_whole_books_are_begun_a_few_at_a_time(rig: Rig) -> None:
    for number in range(MAX_BATCH + 10):
        rig.stub.set(str(number), BIDS, ASKS)
    rig.ask(want=[str(number) for number in range(MAX_BATCH + 10)])
    assert len(rig.told()) == MAX_BATCH
    assert rig.cast.next_take() <= rig.stub.at
    assert len(rig.told()) == 10


def test_a_book_that_the_broker_does_not_take_is_refused_loudly(rig: Rig) -> None:
    rig.ask(want=[UP])
    assert rig.told(most=200) == [(UP, Gone(token=UP))]
    assert len(rig.warned) == 1
    assert rig.warned[0].startswith(f"relay message: the book of {UP} has ")
    assert rig.warned[0].endswith("and the broker takes 200")
    # Until it is asked for again: then it may be smaller.
    rig.change(1)
    assert rig.told() == []
    rig.stub.at += 5.0
    rig.ask(want=[UP])
    assert kinds(rig.told()) == [(UP, Book)]


def test_markets_are_listed_to_whoever_asks_and_to_all_when_they_change(rig: Rig) -> None:
    assert rig.ask(list=True) == [Markets(markets=[])]
    rig.told()
    for _ in range(3):
        rig.publisher.listed()
    assert rig.told() == [("", Markets(markets=[]))]
    assert rig.told() == []


def test_a_list_that_the_broker_does_not_take_is_refused_loudly_and_the_ping_is_answered(rig: Rig) -> None:
    rig.stub.markets = (SimpleNamespace(slug="a-market", condition_id="0x" + "0" * 64, tokens=()),)
    assert rig.ask(most=120, ping=1, list=True) == [Pong(id=1)]
    assert [text for text in rig.warned if "a list of markets has" in text]


def test_a_list_that_waits_is_one_however_often_the_markets_change(rig: Rig) -> None:
    rig.ask(list=True)
    for _ in range(1_000):
        rig.publisher.listed()
    assert len(rig.told()) == 1


def test_formats_do_not_disturb_each_other() -> None:
    rig = Rig()
    other = Broadcast(rig.publisher, "msgpack", rig.stub.now, print)
    other.asked(Ask(want=[UP]), MOST)
    ((_, frame),) = other.take(MOST)
    assert isinstance(decode(Frame, frame, "msgpack").items[0], Book)
    assert rig.told() == []

"""What a relay says at a broker, and where: without a broker, on a clock that the test moves."""

from __future__ import annotations

import pytest

from polymirror.relay.broker.station import Station
from polymirror.relay.broker.subjects import FORMATS, Subjects
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.publisher import BEAT, Publisher
from polymirror.relay.wire import Ask, Beat, Book, Frame, Pong, decode, encode
from tests.relay.rig import ASKS, BIDS, UP, Stub

MOST = 2**20


class Rig:
    def __init__(self) -> None:
        self.stub = Stub()
        self.stub.set(UP, BIDS, ASKS)
        self.warned: list[str] = []
        publisher = Publisher(self.stub, "run", SteadyClock(self.stub.now))
        self.station = Station(publisher, "desk", self.stub.now, lambda kind, _: self.warned.append(kind))

    def take(self) -> list[tuple[str, type]]:
        return [
            (subject, type(item))
            for subject, frame in self.station.take(MOST)
            for item in decode(Frame, frame, "json" if ".json." in subject else "msgpack").items
        ]


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize("format_", FORMATS)
def test_an_answer_goes_to_the_one_who_asked_and_the_book_to_all_in_that_format(rig: Rig, format_) -> None:
    there = Subjects("desk", format_)
    assert there.ask in rig.station.asks
    asked = encode(Ask(ping=7, want=[UP]), format_)
    ((where, frame),) = rig.station.asked(there.ask, asked, f"{there.replies}me", MOST)
    assert (where, decode(Frame, frame, format_).items) == (f"{there.replies}me", [Pong(id=7)])
    assert rig.take() == [(there.book(UP), Book)]
    assert rig.station.next_take() == rig.stub.at + BEAT
    rig.stub.at += BEAT
    assert rig.take() == [(there.book(UP), Beat)]


def test_an_answer_goes_to_no_subject_that_others_hear(rig: Rig) -> None:
    there = Subjects("desk", "json")
    for reply in ("", there.book(UP), there.ask, "elsewhere", f"{there.replies}a.b", f"{there.replies}*"):
        assert list(rig.station.asked(there.ask, encode(Ask(ping=7, want=[UP]), "json"), reply, MOST)) == []
    assert rig.station.counts == {"no subject for an answer": 6}
    assert rig.take() == []


def test_what_cannot_be_read_and_what_was_dropped_is_told(rig: Rig) -> None:
    there = Subjects("desk", "json")
    assert list(rig.station.asked(there.ask, b"{", f"{there.replies}me", MOST)) == []
    rig.station.dropped(there.ask)
    assert rig.station.counts == {"malformed": 1, "dropped": 1}
    assert rig.warned == ["relay consumer", "relay consumers"]

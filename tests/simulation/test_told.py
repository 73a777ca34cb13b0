"""What may be read at the far end of a relay is what the mirror had when the newest word left that has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from polymirror.core.states import BookState
from polymirror.relay.wire import Beat, Change, Gone, Pong, encode, frame_of
from polymirror.torture.run import make_world
from polymirror.torture.storm import draw_storm
from polymirror.torture.told import SILENCE, SLACK, Told, Word
from polymirror.torture.world import World

if TYPE_CHECKING:
    from polymirror.core.view import BookView

LEFT = 5_000_000


@pytest.fixture(scope="module")
def view() -> BookView:
    """A LIVE book of a mirror."""
    world = World(draw_storm(1, 1.0, 2).exchange, seed=1)
    world.run(3.0)
    (token, _), *_ = world.book_states()
    return world.live(token, None)


def aged(view: BookView, age: float, **changes: Any) -> BookView:
    return msgspec.structs.replace(view, proven_at=view.read_at - age, **changes)


def word(view: BookView | None, until: int | None = LEFT + 10_000_000) -> Word:
    return Word(1, LEFT, "1", view, until)


def test_what_was_told_is_read_until_the_mirror_would_not_or_nothing_was_said_for_too_long(view: BookView) -> None:
    told = aged(view, 0.2)

    def allows(after: int, until: int | None) -> bool:
        return word(told, until).allows(aged(view, 0.2 + after / 1e6), LEFT + after)

    assert allows(0, LEFT)
    assert allows(SLACK, LEFT)
    assert not allows(SLACK + 1, LEFT)
    assert allows(SILENCE + SLACK, LEFT + 10_000_000)
    assert not allows(SILENCE + SLACK + 1, LEFT + 10_000_000)
    assert not allows(0, None)


@pytest.mark.parametrize("state", [each for each in BookState if each is not BookState.LIVE])
def test_nothing_is_read_of_which_the_mirror_is_not_sure(view: BookView, state: BookState) -> None:
    assert not word(aged(view, 0.2, state=state)).allows(aged(view, 0.2), LEFT)
    assert not word(None).allows(aged(view, 0.2), LEFT)


def test_no_proof_is_younger_than_the_one_that_was_told(view: BookView) -> None:
    told = word(aged(view, 0.2))
    assert told.allows(aged(view, 0.6), LEFT + 300_000)
    assert told.allows(aged(view, 0.4995), LEFT + 300_000)
    assert not told.allows(aged(view, 0.498), LEFT + 300_000)


def test_levels_and_what_is_said_of_them_are_those_that_were_told(view: BookView) -> None:
    told = word(aged(view, 0.2, settled=False))
    keys, sizes, *asks = view.levels
    fewer = type(view.levels)(keys[1:], sizes[1:], *asks)
    assert told.allows(aged(view, 0.2, settled=False), LEFT)
    for other in ({"levels": fewer}, {"exchange_ms": view.exchange_ms - 1}, {"tick_size_e4": 1}, {"market": "x"}):
        assert not told.allows(aged(view, 0.2, settled=False, **other), LEFT)
    assert not told.allows(aged(view, 0.2, settled=True), LEFT)
    assert word(aged(view, 0.2, settled=True)).allows(aged(view, 0.2, settled=False), LEFT)


@pytest.mark.parametrize("format_", ["json", "msgpack"])
def test_a_frame_tells_how_the_mirror_had_its_books_when_it_left_whatever_it_says(format_: Any) -> None:
    world = make_world(draw_storm(3, 1.0, 2), [], hedge=1, relay=None)
    world.run(3.0)
    (token, _), (other, _), *_ = world.book_states()
    told = Told(world)
    items = [Pong(id=1), Beat(token=token, seq=999), Gone(token="nobody has it"), Beat(token=token, seq=1_000)]
    frame = frame_of("run 1", 0.0, [encode(item, format_) for item in items], format_)
    words = told.leave(frame, format_, world.now)
    assert [each.token for each in words] == [token, "nobody has it"]
    live, gone = words
    assert live.view is not None
    assert live.until is not None
    assert live.view.state is BookState.LIVE
    until = world.engine.readable_until(token)
    assert until is not None
    assert live.until == pytest.approx(world.now + (until - world.seconds) * 1e6, abs=1)
    assert gone.view is None
    assert told.newest(token) is None
    told.come(words, world.now)
    assert told.newest(token) == live
    assert told.newest(other) is None
    told.forget()
    assert told.newest(token) is None


def test_a_word_that_comes_late_is_not_the_newest(view: BookView) -> None:
    world = make_world(draw_storm(3, 1.0, 2), [], hedge=1, relay=None)
    told = Told(world)
    (token, _), *_ = world.book_states()
    frame = frame_of("run 1", 0.0, [encode(Beat(token=token, seq=1), "json")], "json")
    first, second = told.leave(frame, "json", 5), told.leave(frame, "json", 5)
    told.come(second, 6)
    told.come(first, 7)
    assert [told.newest(token)] == second


def test_what_befell_the_mirrors_book_between_two_reads_is_counted_far_away(view: BookView) -> None:
    def counted(*told: tuple[int, int], read: tuple[tuple[int, int], tuple[int, int]]) -> bool:
        first, second = (word(msgspec.structs.replace(view, doubts=doubts, epoch=epoch)) for doubts, epoch in told)
        before, now = (msgspec.structs.replace(view, doubts=doubts, epoch=epoch) for doubts, epoch in read)
        return second.follows(now, first, before)

    assert counted((7, 3), (7, 3), read=((1, 1), (1, 1)))
    assert counted((7, 3), (9, 4), read=((1, 1), (2, 2)))
    assert not counted((7, 3), (8, 3), read=((1, 1), (1, 1)))
    assert not counted((7, 3), (8, 4), read=((1, 1), (2, 1)))


def test_what_comes_after_a_silence_or_a_lost_connection_counts_as_a_doubt(view: BookView) -> None:
    world = make_world(draw_storm(3, 1.0, 2), [], hedge=1, relay=None)
    told = Told(world)
    (token, _), *_ = world.book_states()
    frame = frame_of("run 1", 0.0, [encode(Beat(token=token, seq=1), "json")], "json")
    lapses, most = [], SILENCE + SLACK
    for left, came in [(0, 1), (1_000, most), (SILENCE, 1_000 + most), (SILENCE + 1, SILENCE + most + 1)]:
        told.come(told.leave(frame, "json", left), came)
        newest = told.newest(token)
        assert newest is not None
        lapses.append(newest.lapses)
    assert lapses == [0, 0, 0, 1]
    told.forget()
    assert told.newest(token) is None
    told.come(told.leave(frame, "json", left + 1), came)
    newest = told.newest(token)
    assert newest is not None
    assert newest.lapses == 2
    before = Word(1, LEFT, "1", view, None, lapses=1)
    doubted = msgspec.structs.replace(view, doubts=view.doubts + 1)
    assert not Word(2, LEFT, "1", view, None, lapses=2).follows(view, before, view)
    assert Word(2, LEFT, "1", view, None, lapses=2).follows(doubted, before, view)


def test_a_doubt_is_owed_until_something_about_the_book_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(draw_storm(3, 1.0, 2), [], hedge=1, relay=None)
    world.run(3.0)
    told = Told(world)
    (token, _), *_ = world.book_states()
    frame = frame_of("run 1", 0.0, [encode(Beat(token=token, seq=1), "json")], "json")
    assert not told.owes(token)
    told.leave(frame, "json", world.now)
    assert not told.owes(token)
    world.engine.resync(token, world.seconds)
    assert told.owes(token)
    told.opened()
    assert not told.owes(token)
    # A mirror that says that it reads a book longer than it does is not believed.
    other = next(each for each, _ in world.book_states() if world.engine.readable_until(each) is not None)
    until = world.engine.readable_until(other)
    assert until is not None
    frame = frame_of("run 1", 0.0, [encode(Beat(token=other, seq=1), "json")], "json")
    monkeypatch.setattr(type(world.engine), "readable_until", lambda *_: until + 0.1)
    (lie,) = told.leave(frame, "json", world.now)
    assert lie.until == world.now


def test_what_the_venue_said_is_known_by_states_and_not_by_beats() -> None:
    world = make_world(draw_storm(3, 1.0, 2), [], hedge=1, relay=None)
    world.run(3.0)
    told = Told(world)
    (token, _), *_ = world.book_states()
    now = world.engine.peek(token, world.seconds).exchange_ms
    change = Change(token=token, seq=2, prev_seq=1, epoch=1, doubts=0, state="LIVE", bids=[], asks=[], digest="0" * 40)
    for items, known in ([Beat(token=token, seq=1)], 0), ([change, Beat(token=token, seq=2)], now):
        told.come(told.leave(frame_of("r", 0.0, [encode(each, "json") for each in items], "json"), "json", 5), 6)
        assert told.known_ms(token) == known

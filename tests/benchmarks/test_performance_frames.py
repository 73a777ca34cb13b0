"""The frames that speed is measured with: repeatable, like the venue's, and proven by the library's own engine."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from benchmarks.speed.book_text import BookText, price_text
from benchmarks.speed.frames import DENSE_48, DENSE_100, THIN, make_frames, seconds_of
from benchmarks.speed.method import Lane, find_error
from benchmarks.speed.openings import make_openings
from benchmarks.speed.own import LINE, Mirrored, primed_engine
from benchmarks.speed.recordings import RecordedFlow, recorded_frames
from benchmarks.speed.snapshot import engine_for
from polymirror.core.states import BookState

SCENARIOS = (DENSE_48, DENSE_100, THIN)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_seed_gives_the_same_bytes_and_another_gives_others(scenario):
    first = make_frames(scenario, 50)
    assert first == make_frames(scenario, 50)
    assert first.changes != make_frames(scenario, 50, seed=2).changes


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_frame_is_one_order_told_twice_in_the_venues_form(scenario):
    frames = make_frames(scenario, 300)
    stamps = [json.loads(frame)["timestamp"] for frame in frames.changes]
    assert len(set(stamps)) == 300
    assert 590 < frames.mean_bytes < 640
    for frame, (bid, ask) in zip(frames.changes, frames.tops, strict=True):
        content = json.loads(frame)
        assert list(content)[-1] == "event_type"
        one, other = content["price_changes"]
        assert (one["size"], {one["side"], other["side"]}) == (other["size"], {"BUY", "SELL"})
        assert float(one["price"]) + float(other["price"]) == pytest.approx(1)
        assert (one["best_bid"], one["best_ask"]) == (price_text(bid), price_text(ask))
        assert bid < ask
    assert len(set(frames.tops)) > 1


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_engine_proves_every_frame_by_its_hashes(scenario):
    frames = make_frames(scenario, 300)
    # What live() grants after each frame are the best prices after it: each frame was proven at once.
    assert find_error(Lane(lambda: Mirrored("own", proven=True), frames), 300) == ""
    engine = primed_engine(frames)
    for frame, now in zip(frames.changes, seconds_of(frames.stamps), strict=True):
        engine.receive(LINE, frame, now)
    engine.tick(now + 1)
    verdicts = engine.outbox.proofs.as_dict()
    assert [set(verdicts[kind]) for kind in ("hash", "bbo", "complement")] == [{"match"}] * 3


def test_without_hashes_only_the_hashes_are_gone():
    frames = make_frames(DENSE_48, 20)
    bare = frames.without_hashes()
    assert (bare.stamps, bare.tops, bare.opening) == (frames.stamps, frames.tops, frames.opening)
    for hashed, empty in zip(frames.changes, bare.changes, strict=True):
        wanted = json.loads(hashed)
        for entry in wanted["price_changes"]:
            entry["hash"] = ""
        assert json.loads(empty) == wanted


def test_two_sizes_of_three_are_new_as_in_the_recording():
    frames = make_frames(DENSE_48, 4_000)
    sizes = [json.loads(frame)["price_changes"][0]["size"] for frame in frames.changes]
    assert 0.55 < len(set(sizes)) / len(sizes) < 0.7


def test_a_book_text_orders_replaces_and_removes_levels():
    book = BookText("m", "1", "0.01")
    for price, size, is_bid in ((4_800, "1", True), (4_700, "2", True), (5_200, "3", False), (5_100, "4", False)):
        book.set(price, size, is_bid=is_bid)
    book.set(4_800, "5", is_bid=True)
    book.set(4_700, "0", is_bid=True)
    book.set(4_600, "0", is_bid=True)
    content = json.loads(book.whole(7))
    assert [content["bids"], content["asks"]] == [
        [{"price": "0.48", "size": "5"}],
        [{"price": "0.52", "size": "3"}, {"price": "0.51", "size": "4"}],
    ]
    assert (book.best_bid, book.best_ask) == (4_800, 5_100)
    assert "min_order_size" not in content
    assert json.loads(book.rest(7))["min_order_size"] == "5"


def test_openings_are_of_different_markets_and_all_can_be_proven():
    openings = list(make_openings(20, 5))
    assert len({token for each in openings for token in each.tokens}) == 10
    engine = engine_for(openings)
    for each in openings:
        for event in each.events:
            engine.receive(LINE, event, 0.1)
    assert {state for _, state in engine.states()} == {BookState.LIVE}


def test_the_recording_ends_with_the_best_prices_that_it_states(corpus):
    frames = recorded_frames()
    own = Mirrored("own", proven=False)
    own.open(frames)
    own.take(frames.changes, seconds_of(frames.stamps))
    stated = next(top for top in reversed(frames.tops) if top is not None)
    assert own.tops()[0] == stated
    assert len(frames.changes) > 5_000


def test_the_recorded_flow_comes_back_to_its_beginning_and_is_proven_on_the_way(corpus):
    flow = RecordedFlow()
    stamp = 1_000_000
    engine = engine_of(flow, stamp)
    flow_text = [book.hashed_text(stamp) for book in flow.books]
    for at, what in flow.round():
        now = at / 1000
        if engine.next_deadline() <= now:
            engine.tick(now)
        for frame in flow.frames(what, stamp + at):
            engine.receive(LINE, frame, now)
    engine.tick(now + 1)
    assert [book.hashed_text(stamp) for book in flow.books] == flow_text
    assert {state for _, state in engine.states()} == {BookState.LIVE}
    assert "mismatch" not in engine.outbox.proofs.as_dict()["hash"]


def engine_of(flow, stamp):
    frames = make_frames(DENSE_48, 1)
    return primed_engine(
        evolve(frames, market=flow.market, tokens=flow.tokens, opening=flow.opening(stamp)),
    )

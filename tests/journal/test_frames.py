from __future__ import annotations

import json

import pytest

from polymirror.core.states import BookState
from polymirror.journal.frames import FrameReplay, open_envelope, replay_lines
from tests.core.builders import START, Exchange, shown, truth


def line(content):
    return json.dumps(content).encode()


def recording(exchange, changes=5):
    """An opening frame and some changes, one frame a line."""
    yield exchange.opening().encode()
    for n in range(1, changes + 1):
        yield line(exchange.change("BUY", f"0.3{n}", str(n))) + b"\n"


def replayed(lines):
    *_, last = replay_lines(lines)
    return last


# ---- Envelopes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["frame", "raw", "payload", "data"])
def test_a_frame_is_taken_out_of_its_envelope(name):
    assert open_envelope(line({name: "PONG", "other": 1})) == ("PONG", None)


@pytest.mark.parametrize("name", ["frame", "raw", "payload", "data"])
@pytest.mark.parametrize("frame", [b'{"event_type" :"book"}', b'[ {"b":1.50}]'])
def test_a_frame_that_is_no_text_is_taken_out_as_it_stands(name, frame):
    text = b'{"recv_ms": 5500, "%s" : %s }' % (name.encode(), frame)
    assert open_envelope(text) == (frame, 5.5)


def test_of_a_text_and_an_object_in_one_envelope_the_text_is_the_frame():
    assert open_envelope(line({"data": "PONG", "raw": {"from": "eu"}})) == ("PONG", None)


def test_an_event_is_no_envelope_whatever_its_fields_are_called():
    text = line({"event_type": "new_thing", "data": {"a": 1}})
    assert open_envelope(text) == (text, None)


def test_a_byte_order_mark_is_no_part_of_a_line():
    lines = [b"\xef\xbb\xbf" + each for each in recording(Exchange())]
    assert replayed(lines).summary() == replayed(recording(Exchange())).summary()


def test_transitions_are_all_counted_and_only_the_newest_kept(monkeypatch):
    monkeypatch.setattr("polymirror.journal.frames.MAX_TRANSITIONS", 1)
    last = replayed(recording(Exchange()))
    assert (last.summary()["transitions"], len(last.transitions)) == (2, 1)


@pytest.mark.parametrize(
    ("times", "seconds"),
    [({"recv_ms": 5_500}, 5.5), ({"recv_wall_ts": 5_500}, 5.5), ({"t_wall_ns": 5_500_000_000}, 5.5),
     ({"recv_ms": "5500"}, None), ({}, None)],
)  # fmt: skip
def test_the_receive_time_of_an_envelope_is_read_in_seconds(times, seconds):
    assert open_envelope(line({"frame": "x"} | times)) == ("x", seconds)


@pytest.mark.parametrize(
    "text",
    [b"PONG", b"[]", b'{"event_type":"book"}', b"{broken", b'{"frame":5}', b'{"a":"\xff"}', b'{"a":' * 100_000],
    ids=range(7),
)
def test_what_is_no_envelope_is_the_frame_itself(text):
    assert open_envelope(text) == (text, None)


# ---- Replaying -----------------------------------------------------------------------------------------


def test_a_recording_is_replayed_through_the_engine_and_summed_up():
    exchange = Exchange()
    last = replayed(recording(exchange))
    summary = last.summary()
    assert summary["frames"] == 6
    assert summary["deltas"] == 10
    assert summary["snapshots"] == summary["tokens"] == 2
    assert summary["transitions"] == 2
    assert summary["states"] == {"LIVE": 2}
    assert summary["left_live"] == {}
    assert summary["hash"] == {"match": 12, "healed": 0, "mismatch": 0, "unverifiable": 0}
    assert summary["bbo"] == {"match": 10, "mismatch": 0}
    assert summary["complement"] == {"match": 5, "mismatch": 0}
    assert summary["malformed"] == summary["ignored"] == 0
    json.dumps(summary)
    for token in exchange.tokens:
        assert shown(last.engine.peek(token, exchange.at / 1000)) == truth(exchange, token)


def test_enveloped_frames_with_receive_times_give_the_same_sums():
    plain = replayed(recording(Exchange())).summary()
    objects = (b'{"payload": %s}' % frame.strip() for frame in recording(Exchange()))
    assert replayed(objects).summary() == plain
    enveloped = (
        line({"recv_ms": START + 40 + n, "frame": frame.decode()}) for n, frame in enumerate(recording(Exchange()))
    )
    assert replayed(enveloped).summary() == plain


def test_the_same_recording_gives_the_same_transitions():
    first, second = (replayed(recording(Exchange())) for _ in range(2))
    assert list(map(str, first.transitions)) == list(map(str, second.transitions))


def test_progress_is_reported_after_each_line():
    exchange = Exchange()
    counts = [each.engine.frames for each in replay_lines(recording(exchange, changes=3))]
    assert counts == [1, 2, 3, 4, 4]


def test_empty_lines_are_skipped_and_odd_ones_counted():
    exchange = Exchange()
    lines = [b"", b"  \n", *recording(exchange, changes=1), b"PONG", b'{"event_type":"new_market"}', b"{broken"]
    summary = replayed(lines).summary()
    assert summary["frames"] == 5
    assert summary["ignored_kinds"] == {"PONG": 1, "new_market": 1}
    assert summary["malformed_kinds"] == {"frame": 1}


def test_frames_before_the_first_token_are_counted_too():
    trade = {"event_type": "last_trade_price", "market": "0xm", "price": "0.4", "size": "1", "timestamp": str(START)}
    lines = [b"PONG", b"[1]", line(trade), *recording(Exchange(), changes=1)]
    summary = replayed(lines).summary()
    assert (summary["ignored"], summary["malformed"]) == (1, 1)
    assert summary["ignored_kinds"] == {"PONG": 1}
    assert summary["malformed_kinds"] == {"element": 1}


def test_tokens_are_tracked_as_they_appear_and_a_market_never_has_more_than_two():
    exchange, other = Exchange(), Exchange("0xn", "33", "44")
    odd = exchange.message([exchange.entry("99", "0.3", "1", "BUY")])
    lines = [
        line(exchange.opening_book("11")), line(exchange.change("BUY", "0.30", "1")), line(other.opening_book("33")),
        line(exchange.opening_book("22")), line(odd),
    ]  # fmt: skip
    last = replayed(lines)
    assert sorted(last.engine.tokens) == ["11", "22", "33"]
    assert last.summary()["states"] == {"LIVE": 3}


def test_a_market_without_a_snapshot_is_never_live():
    exchange = Exchange()
    last = replayed(line(exchange.change("BUY", "0.30", str(n))) for n in range(1, 50))
    assert last.summary()["states"] == {"UNPRIMED": 2}
    assert last.summary()["deltas"] == 98


def test_a_lost_line_is_found_and_the_reason_counted():
    exchange = Exchange()
    lines = list(recording(exchange))
    del lines[2]
    exchange.at += 5000
    for n in range(5):
        exchange.at += 500
        lines.append(line(exchange.change("BUY", "0.20", str(n + 1))))
    summary = replayed(lines).summary()
    assert summary["left_live"] == {"HASH_MISMATCH": 2}
    assert summary["hash"]["mismatch"] > 0


def test_time_alone_never_makes_a_recorded_book_doubtful():
    exchange = Exchange()
    lines = list(recording(exchange))
    exchange.at += 30 * 60 * 1000
    lines.append(line(exchange.change("BUY", "0.20", "1")))
    last = replayed(lines)
    assert last.summary()["left_live"] == {}
    assert last.engine.peek_state("11") is BookState.LIVE


def test_a_leap_to_the_far_future_does_not_take_for_ever():
    exchange = Exchange()
    replay = FrameReplay()
    for each in recording(exchange):
        replay.line(each)
    replay.frame(json.dumps(exchange.message(exchange.entries("BUY", "0.30", "3"), at=10**14 - 1)))
    replay.finish()
    assert replay.summary()["frames"] == 7


# ---- Real recordings -----------------------------------------------------------------------------------


def test_the_golden_frames_are_proven_by_every_hash(corpus):
    with (corpus / "ws" / "golden_frames.jsonl").open("rb") as lines:
        summary = replayed(lines).summary()
    assert summary["hash"] == {"match": 14, "healed": 0, "mismatch": 0, "unverifiable": 0}
    assert summary["states"] == {"LIVE": 6}
    assert summary["malformed"] == 0

"""The wire: the same in both formats, open to what is newer, closed to what is odd."""

from __future__ import annotations

import json

import msgspec
import pytest

from polymirror.errors import DecodeError
from polymirror.relay.digest import digest_of, side_text
from polymirror.relay.wire import (
    MAX_FRAME,
    Ask,
    Beat,
    Book,
    Change,
    Fee,
    Format,
    Frame,
    Gone,
    Listed,
    Markets,
    Outcome,
    Pong,
    decode,
    encode,
    frame_of,
)

BOOK = Book(
    token="1", seq=3, prev_seq=0, epoch=2, doubts=1, state="LIVE", reason="PROVEN", settled=True, as_of=1.5,
    as_of_ms=7, until=31.5, proof="hash", exchange_ms=5, tick=100, apply_lag=0.1, clock_uncertainty=0.05,
    bids=[(4800, 10)], asks=[(5200, 7)], digest="0" * 40, market="0xm",
    fee=Fee(rate="0.07", exponent=1, taker_only=True, rebate_rate="0"),
)  # fmt: skip
CHANGE = Change(
    token="1", seq=4, prev_seq=3, epoch=2, doubts=1, state="LIVE", bids=[(4800, 0)], asks=[], digest="1" * 40
)
BEAT = Beat(token="1", seq=4, as_of=2.5, until=32.5, proof="probe")
LISTED = Markets(markets=[Listed(slug="a-market", market="0xm", tokens=[Outcome(token="1", outcome="Up")])])
ITEMS = [BOOK, CHANGE, BEAT, LISTED, Gone(token="9"), Pong(id=3)]

FORMATS: tuple[Format, ...] = ("json", "msgpack")


@pytest.mark.parametrize("format_", FORMATS)
def test_a_frame_is_read_as_it_was_made(format_: Format) -> None:
    data = frame_of("run", 12.25, [encode(item, format_) for item in ITEMS], format_)
    frame = decode(Frame, data, format_)
    assert frame == Frame(relay="run", sent=12.25, items=ITEMS)
    assert [type(item) for item in frame.items] == [type(item) for item in ITEMS]


@pytest.mark.parametrize("format_", FORMATS)
def test_what_a_consumer_says_is_read_as_it_was_made(format_: Format) -> None:
    for ask in (Ask(), Ask(ping=7), Ask(want=["1", "2"], drop=["3"], list=True)):
        assert decode(Ask, encode(ask, format_), format_) == ask


def test_both_formats_have_the_same_schema() -> None:
    for item in ITEMS:
        assert json.loads(encode(item, "json")) == msgspec.msgpack.decode(encode(item, "msgpack"))


def test_unknown_fields_are_ignored() -> None:
    text = b'{"version":1,"relay":"r","sent":1.0,"more":[1],"items":[{"is":"gone","token":"1","why":"x"}]}'
    assert decode(Frame, text, "json").items == [Gone(token="1")]


def _with(**changed: object) -> bytes:
    item = json.loads(encode(BOOK, "json")) | changed
    return json.dumps({"version": 1, "relay": "r", "sent": 1.0, "items": [item]}).encode()


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
        (b'{"version":2,"relay":"r","sent":1,"items":[]}', "version"),
        (b'{"version":1,"relay":"r","sent":1,"items":[{"is":"news"}]}', "news"),
        (_with(bids=[[0, 1]]), "bids"),
        (_with(bids=[[10_000, 1]]), "bids"),
        (_with(bids=[[4800, -1]]), "bids"),
        (_with(bids=[["4800", 1]]), "bids"),
        (_with(seq=-1), "seq"),
        (_with(seq=True), "seq"),
        (_with(digest="0" * 39), "digest"),
        (_with(digest="G" * 40), "digest"),
        (_with(token=""), "token"),
        (_with(token="9" * 200), "token"),
    ],
)
def test_what_is_odd_is_refused_and_named(data: bytes, part: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(Frame, data, "json")
    assert part in str(caught.value)


def test_a_frame_that_is_too_long_is_not_even_read() -> None:
    with pytest.raises(DecodeError, match="4194305 bytes"):
        decode(Frame, b" " * (MAX_FRAME + 1), "json")


@pytest.mark.parametrize("value", [b"NaN", b"1e999", b"null", b'"1"'])
def test_times_are_finite_numbers(value: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(Frame, b'{"version":1,"relay":"r","sent":%s,"items":[]}' % value, "json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
@pytest.mark.parametrize("field", ["as_of", "until", "apply_lag"])
def test_times_of_a_book_are_finite_in_msgpack_too(field: str, value: float) -> None:
    book = msgspec.structs.replace(BOOK, **{field: value})
    with pytest.raises(DecodeError):
        decode(Frame, frame_of("r", 1.0, [encode(book, "msgpack")], "msgpack"), "msgpack")
    with pytest.raises(DecodeError):
        decode(Frame, frame_of("r", value, [], "msgpack"), "msgpack")


def test_the_digest_is_what_the_page_says() -> None:
    """Computed with another program: printf '7|4800:10,4700:5|5200:7' | sha1sum."""
    assert digest_of("7", side_text([(4800, 10), (4700, 5)]), side_text([(5200, 7)])) == (
        "18831a54bf33eaccd6c43326e01e7f8bd48db461"
    )

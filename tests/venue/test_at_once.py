"""Frames that are handed on where they are read: in order, bounded, counted; and large ones in pieces."""

from __future__ import annotations

import asyncio
import json

import pytest
from attrs import evolve
from websockets.frames import Frame, Opcode

from polymirror.config import StreamConfig
from polymirror.venue import connection as connection_module
from polymirror.venue import pieces as pieces_module
from polymirror.venue.closing import CloseKind
from polymirror.venue.pieces import (
    AT_ONCE_BYTES,
    AT_ONCE_VALUES,
    MAX_PIECES,
    cut_array,
    cut_books,
    is_light,
    keep_whole,
)

pytestmark = pytest.mark.anyio


def text(content: bytes, *, fin: bool = True, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, content, fin=fin).serialize(mask=False)


async def test_a_message_in_parts_stays_in_its_place(rig):
    async with rig.peer.running(compression=None), rig.running(rig.stream()):
        server = await rig.opened()
        parts = [
            text(b'"1"'),
            text(b'"2', fin=False),
            Frame(Opcode.PING, b"between").serialize(mask=False),
            text(b"2", fin=False, opcode=Opcode.CONT),
            text(b'2"', opcode=Opcode.CONT),
            text(b'"3"'),
            text(b'"4"'),
        ]
        server.transport.write(b"".join(parts))
        await rig.consumer.until(lambda: len(rig.consumer.frames) == 4)
        # Each part in a read of its own: the library's reader has the first while the second comes.
        for part in (text(b'"5', fin=False), text(b'5"', opcode=Opcode.CONT), text(b'"6"')):
            server.transport.write(part)
            await (await server.ping())
        await rig.consumer.until(lambda: len(rig.consumer.frames) == 6)
        assert rig.consumer.frames == [b'"1"', b'"222"', b'"3"', b'"4"', b'"55"', b'"6"']


async def test_a_frame_is_handed_on_in_the_turn_in_which_it_is_read(rig):
    depths = []
    async with rig.peer.running(compression=None), rig.running(rig.stream()) as stream:
        server = await rig.opened()
        for _ in range(5):
            server.transport.write(text(b'{"n":1}'))
            await rig.consumer.until(lambda: len(rig.consumer.frames) > len(depths))
            depths.append(stream.counters.deepest_queue)
        assert depths == [0] * 5


async def test_frames_read_after_the_end_are_counted_as_discarded(rig):
    def give_up(data, received_at):
        taken.append(data)
        stream.reconnect("enough")

    taken = []
    rig.consumer.on_frame = give_up
    async with rig.peer.running(compression=None), rig.running(rig.stream()) as stream:
        server = await rig.opened()
        server.transport.write(b"".join(text(b'{"n":%d}' % n) for n in range(7)))
        await rig.consumer.until(lambda: rig.consumer.causes)
        assert rig.consumer.causes[0].kind is CloseKind.REQUESTED
        assert taken == [b'{"n":0}']
        assert (stream.counters.frames, stream.counters.discarded) == (7, 6)


async def test_a_large_array_is_handed_on_in_pieces_and_others_get_their_turn(rig, monkeypatch):
    monkeypatch.setattr(connection_module, "MAX_SLICE_FRAMES", 10)
    monkeypatch.setattr(connection_module, "LARGE_FRAME", 1_000)
    turns = []
    elements = [{"event_type": "x", "n": n, "x": "y" * 100} for n in range(50)]

    async def other() -> None:
        while True:
            turns.append(len(rig.consumer.frames))
            await asyncio.sleep(0)

    async with rig.peer.running(), rig.running(rig.stream(cut=cut_array)) as stream:
        server = await rig.opened()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(other())
            # In one write: the last frame is small, and may not overtake the pieces.
            server.transport.write(text(json.dumps(elements).encode()) + text(b'"last"'))
            await rig.consumer.until(lambda: len(rig.consumer.frames) == 51)
            task.cancel()
        assert [json.loads(frame) for frame in rig.consumer.frames] == [*elements, "last"]
        assert {10, 20, 30, 40} <= set(turns)
        assert stream.counters.frames == 2


async def test_a_frame_that_fits_stays_whole_when_its_pieces_do_not(rig, monkeypatch):
    monkeypatch.setattr(connection_module, "LARGE_FRAME", 1_000)
    config = StreamConfig(close_timeout=0.2, max_queue=20)
    frame = json.dumps([{"event_type": "x", "x": "y" * 100}] * 50)
    async with rig.peer.running(), rig.running(rig.stream(config=config, cut=cut_array)):
        server = await rig.opened()
        await server.send(frame)
        await rig.consumer.until(lambda: rig.consumer.frames)
        assert rig.consumer.frames == [frame.encode()]
        assert not rig.consumer.causes


async def test_frames_of_one_read_are_dated_when_it_began(rig):
    dates, late = [], []

    def slow(data, received_at):
        dates.append(received_at)
        rig.consumer.on_frame(data, received_at)
        # The clock of the stream goes on while the first ones are taken.
        late.append(0.001)

    network = evolve(rig.network, monotonic=lambda: rig.network.monotonic() + sum(late))
    async with rig.peer.running(compression=None), rig.running(rig.stream(on_frame=slow, network=network)):
        server = await rig.opened()
        server.transport.write(text(b'"1"') + text(b'"2"') + text(b'"3"'))
        await rig.consumer.until(lambda: len(rig.consumer.frames) == 3)
    assert len(dates) == 3
    assert len({*dates}) == 1


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b'{"a":[1,2]}', id="an object"),
        pytest.param(b"PONG", id="a text reply"),
        pytest.param(b"[1,2", id="broken"),
        pytest.param(b"[]", id="empty"),
        pytest.param(b'["\xff"]', id="not UTF-8"),
        pytest.param(b'["PONG",null,{"a":1}]', id="not only objects"),
        pytest.param(b'[[],{"a":1}]', id="an array in it"),
        pytest.param(b"[" + b"0," * MAX_PIECES + b"0]", id="more elements than the venue sends"),
    ],
)
async def test_what_is_no_array_of_the_venue_stays_whole(frame):
    assert list(cut_array(frame)) == [frame]
    assert list(keep_whole(frame)) == [frame]


async def test_an_array_is_cut_where_its_elements_end():
    one, two = b'{"event_type":"x", "a": [1, 2]}', b'{"b":"],[","event_type":""}'
    assert cut_array(b" [ " + one + b" , " + two + b" ] ") == [one, two]
    three = b'{"asset_id":"1","bids":[{"price":"0.5","size":"1"},{}]}'
    assert cut_books(b"[" + three + b"," + three + b"]") == [b"[" + three + b"," + three + b"]"]


async def test_books_are_cut_into_arrays_that_are_light_by_their_bytes():
    books = [b'{"asset_id":"%d","x":"%s"}' % (n, b"y" * size) for n, size in enumerate([9_000] * 9 + [50_000, 1, 1])]
    cut = cut_books(b"[" + b" , ".join(books) + b"]")
    assert [json.loads(piece) for piece in cut] == [
        [json.loads(book) for book in books[first:last]] for first, last in ((0, 4), (4, 8), (8, 9), (9, 10), (10, 12))
    ]


async def test_elements_of_another_kind_or_with_escapes_stay_together():
    good = b'{"event_type":"x"}'
    for odd in (b"{}", b'{"event_type":1}', b'{"event_typ\\u0065":"x"}', b'{"event_type":"x","a":"\\n"}'):
        frame = b"[" + good + b"," + odd + b"]"
        assert list(cut_array(frame)) == [frame]


async def test_what_is_too_large_for_its_readers_stays_whole(monkeypatch):
    frame = b'[{"event_type":""},{"event_type":""}]'
    assert len(cut_array(frame)) == 2
    monkeypatch.setattr(pieces_module, "MAX_FRAME_BYTES", len(frame) - 1)
    assert list(cut_array(frame)) == [frame]


def test_what_is_light_is_bounded_by_bytes_and_by_values():
    level = b'{"price":"0.123","size":"100000.25"}'
    largest = b'{"bids":[' + b",".join([level] * 4_999) + b'],"asks":[' + b",".join([level] * 5_000) + b"]}"
    assert is_light(largest)
    assert not is_light(b" " * (AT_ONCE_BYTES + 1))
    for dense in (b"1,", b"[]", b"{}", b'"",'):
        assert not is_light(dense * (AT_ONCE_VALUES + 1))


HEAVY = [
    b"[" + b"{}," * 100_000 + b"{}]",
    b'{"event_type":"book","bids":[' + b"[]," * 100_000 + b"1]}",
    b'[{"event_type":"book"},{"event_type":"book","asks":[' + b"1," * 100_000 + b"1]}]",
    b"[" + b'{"event_type":"x"},' * 100_000 + b"1]",
    b'{"x":"' + b"y" * AT_ONCE_BYTES + b'"}',
]


@pytest.mark.parametrize("frame", HEAVY)
async def test_a_message_that_takes_long_to_read_ends_the_connection_and_nobody_reads_it(rig, frame):
    seen = []

    def look(data: bytes) -> bool:
        seen.append(len(data))
        return True

    async with rig.peer.running(), rig.running(rig.stream(cut=cut_array, is_data=look)):
        server = await rig.opened()
        await server.send(b"first".decode())
        await rig.consumer.until(lambda: rig.consumer.frames)
        await server.send(frame.decode())
        await rig.consumer.until(lambda: rig.consumer.causes)
    assert rig.consumer.causes[0].kind is CloseKind.OVERFLOW
    assert "takes too long to read" in rig.consumer.causes[0].reason
    assert (rig.consumer.frames, seen) == ([b"first"], [5])

"""What an answer is decompressed to is bounded while it grows, and other tasks have their turn meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import random
import tracemalloc
import zlib

import pytest

from polymirror.config import RestConfig
from polymirror.errors import BadResponse, RateLimited
from polymirror.venue.body import MAX_PIECES, SLICE, read_body
from tests.venue.hostile import Hostile, answer, caught

pytestmark = pytest.mark.anyio

MIB = 2**20


@pytest.fixture
def anyio_backend():
    return "asyncio"


def bomb(mib: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([pack.compress(b" " * MIB) for _ in range(mib)]) + pack.flush()


async def pieces(*data: bytes):
    for each in data:
        yield each


async def read(*data: bytes, encodings: tuple[str, ...] = ("gzip",), limit: int = 10 * SLICE) -> bytes:
    return await read_body("GET /x", pieces(*data), encodings, limit)


async def test_a_body_is_read_as_it_is_or_from_one_layer_of_gzip():
    data = random.Random(1).randbytes(3 * SLICE) + b"a" * (3 * SLICE)
    packed = gzip.compress(data)
    for size in (1_000, SLICE, len(packed)):
        cut = [packed[start : start + size] for start in range(0, len(packed), size)]
        assert await read(*cut) == data
    assert await read(packed, encodings=("X-GZIP",)) == data
    assert await read(packed, encodings=("identity, gzip",)) == data
    assert await read(data, encodings=()) == data
    assert await read(data, encodings=("identity",)) == data
    assert await read() == b""


async def test_a_slice_that_is_exactly_full_is_not_the_end():
    for size in (SLICE - 1, SLICE, SLICE + 1, 2 * SLICE):
        assert len(await read(gzip.compress(b"a" * size))) == size


@pytest.mark.parametrize(
    "encodings", [("gzip, gzip",), ("gzip", "gzip"), ("br",), ("deflate",), ("zstd",), ("gzip, \x1b",)]
)
async def test_any_other_encoding_is_refused_with_its_name(encodings):
    with pytest.raises(BadResponse, match="no more than one layer of gzip") as refused:
        await read(gzip.compress(b"x"), encodings=encodings)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((b"not gzip",), "decompressed"),
        ((gzip.compress(b"abc")[:-3],), "too early"),
        ((gzip.compress(b"abc"), b"more"), "follows"),
        ((gzip.compress(b"abc") + gzip.compress(b"d"),), "follows"),
        ((b"x" * SLICE,) * 11, "longer than"),
    ],
)
async def test_gzip_that_is_broken_cut_short_or_followed_by_more_is_refused(data, words):
    with pytest.raises(BadResponse, match=words):
        await read(*data, encodings=() if words == "longer than" else ("gzip",))


async def test_compressed_bytes_that_come_to_nothing_are_bounded_too():
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = pack.compress(b"")
    empty = b"\x00\x00\x00\xff\xff" * 10_000

    with pytest.raises(BadResponse, match="longer than"):
        await read(head, *[empty] * 10_000, limit=MIB)


async def turns_during(work) -> tuple[object, int]:
    """Return what some work raises, and how many turns another task had meanwhile."""
    count = 0

    async def other() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0)
            count += 1

    beside = asyncio.ensure_future(other())
    try:
        return await caught(work), count
    finally:
        beside.cancel()


async def test_many_small_pieces_leave_others_their_turn():
    error, turns = await turns_during(read(*[b"x"] * (100 * MAX_PIECES), encodings=(), limit=100 * MAX_PIECES - 1))
    assert isinstance(error, BadResponse)
    assert turns >= 90


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_few_bytes_that_stand_for_hundreds_of_megabytes_take_no_more_than_the_bound(layers):
    body = bomb(400) if layers == 1 else gzip.compress(bomb(400), 9)
    header = b"Content-Encoding: gzip" + b", gzip" * (layers - 1)
    config = RestConfig(attempts=1, max_body=8 * MIB)
    async with Hostile(answer(200, header, body=body)).running() as peer, peer.clob(config) as clob:
        tracemalloc.start()
        error, turns = await turns_during(clob.books(["1"]))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert isinstance(error, BadResponse)
    assert peak < 24 * MIB
    if layers == 1:
        assert "longer than" in str(error)
        assert turns > 8 * MIB // SLICE
    else:
        assert "gzip, gzip" in str(error)


async def test_only_gzip_is_asked_for():
    async with Hostile(answer(200, body=b"1790000000")).running() as peer, peer.clob() as clob:
        await clob.time()
    assert b"\r\naccept-encoding: gzip\r\n" in peer.requests[0].lower()


async def test_a_refusal_keeps_its_meaning_whatever_is_wrong_with_its_body():
    for headers, body in (((b"Content-Encoding: br",), b"x"), ((b"Content-Encoding: gzip",), b"x"), ((), b"\xff\xfe")):
        async with Hostile(answer(429, b"Retry-After: 3", *headers, body=body)).running() as peer, peer.clob() as clob:
            error = await caught(clob.time())
        assert isinstance(error, RateLimited)
        assert error.retry_after == 3.0

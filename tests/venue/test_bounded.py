"""Somebody else's HTTP client on a short line."""

from __future__ import annotations

import asyncio
import gzip

import httpx
import pytest

from polymirror.venue.bounded import bound_answers
from tests.venue.hostile import Hostile, answer

pytestmark = pytest.mark.anyio

LIMIT = 100_000

BODIES = {
    "a bomb": answer(200, b"Content-Encoding: gzip", body=gzip.compress(b" " * 2**26)),
    "a bomb with an error": answer(503, b"Content-Encoding: br", body=b"\x00"),
    "too long": answer(200, body=b" " * (LIMIT + 1)),
    "no end": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 2**22,
}


async def ask(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        bound_answers(client, LIMIT)
        return await client.get(url)


async def ask_in_a_thread(url: str) -> httpx.Response:
    def call() -> httpx.Response:
        with httpx.Client() as client:
            bound_answers(client, LIMIT)
            return client.get(url)

    return await asyncio.to_thread(call)


@pytest.mark.parametrize("asking", [ask, ask_in_a_thread])
async def test_an_answer_beyond_the_bound_is_a_broken_one(asking):
    async with Hostile(answer(200, body=b"x" * LIMIT)).running() as peer:
        assert (await asking(peer.http)).text == "x" * LIMIT
        assert b"Accept-Encoding: identity" in peer.requests[0]
        for body in BODIES.values():
            peer.answers = [body]
            with pytest.raises(httpx.DecodingError, match=r"longer than 100000 bytes|compressed"):
                await asking(peer.http)

"""What may leave each call of the edge, whatever answers it: the documented errors and no other, and in its time."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl

import httpx
import pytest

from polymirror.errors import BadResponse, MarketNotFound, RateLimited, VenueUnavailable
from polymirror.venue.gamma import Gamma
from polymirror.venue.rest import Clob

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


CALLS = {
    "books": (lambda clob, _: clob.books(["7", "8"]), None),
    "time": (lambda clob, _: clob.time(), VenueUnavailable),
    "clob_market": (lambda clob, _: clob.clob_market("0xaa"), MarketNotFound),
    "markets": (lambda _, gamma: each(gamma.markets(["s", "t"])), MarketNotFound),
    "markets_of_tokens": (lambda _, gamma: each(gamma.markets_of_tokens(["7", "8"])), MarketNotFound),
    "market": (lambda _, gamma: gamma.market("s"), MarketNotFound),
    "market_of_token": (lambda _, gamma: gamma.market_of_token("7"), MarketNotFound),
    "event": (lambda _, gamma: gamma.event("s"), MarketNotFound),
    "events": (lambda _, gamma: each(gamma.events(["s", "t"])), MarketNotFound),
    "windows": (lambda _, gamma: gamma.windows("btc", "15m", 1_790_000_000.0), None),
}
"""Every call of the edge, and what it says of a thing that the venue does not know; None: it says nothing of it."""


async def each(call):
    """Raise what stands in the place of what was asked for."""
    for found in (await call).values():
        if isinstance(found, Exception):
            raise found


async def outcome(service, name: str, **settings):
    """Make a call; return what it raises, if anything."""
    async with service.clob(**settings) as clob, service.gamma(**settings) as gamma:
        try:
            await CALLS[name][0](clob, gamma)
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            return error
    return None


def test_every_call_is_looked_at():
    calls = {name for kind in (Clob, Gamma) for name, _ in inspect.getmembers(kind, inspect.iscoroutinefunction)}
    assert {name for name in calls if not name.startswith("_")} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
async def test_a_404_of_the_service_is_what_the_call_documents(desk, name):
    error = await outcome(desk(httpx.Response(404, json={"error": "not found"})), name)
    assert type(error) is (CALLS[name][1] or type(None))


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"error":"not found"}'])
async def test_a_404_for_the_time_is_no_statement_about_anything_and_is_asked_again(desk, body):
    service = desk(httpx.Response(404, content=body))
    error = await outcome(service, "time", attempts=3)
    assert isinstance(error, VenueUnavailable)
    assert error.cause == "HTTP 404: Not Found: is this the venue's address?"
    assert len(service.requests) == 3


@pytest.mark.parametrize("name", CALLS)
async def test_only_documented_errors_leave_a_call(desk, name):
    answers = [
        *(httpx.Response(status, json={"error": "x"}) for status in (400, 401, 403, 410, 418, 425, 429, 451, 500, 599)),
        *(httpx.Response(status) for status in (201, 204, 299, 300, 302, 304, 404, 407, 600, 999)),
        *(httpx.Response(200, content=body) for body in (b"", b"<", b"[", b"{", b"7", b"[7]", b"null", b'"\\ud800"')),
        *(httpx.Response(200, content=body) for body in (b"[{}]", b"[[]]", b'{"t":[{}]}', b'[{"slug":"s"}]', b"1e999")),
        *(ssl.SSLError(1, "x"), OSError(5, "x"), TimeoutError(), httpx.ReadError("x"), httpx.DecodingError("x")),
        *(httpx.RemoteProtocolError("x"), httpx.ProxyError("x"), RuntimeError("x"), UnicodeError("x"), KeyError("x")),
    ]
    for answer in answers:
        error = await outcome(desk(answer), name)
        allowed = (RateLimited, VenueUnavailable, BadResponse, CALLS[name][1] or BadResponse)
        assert error is None or type(error) in allowed, (answer, error)


# ---- Answers that would take long to read ------------------------------------------------------


def book(token: str, levels: int) -> dict:
    return {
        "market": "0xaa", "asset_id": token, "timestamp": "1777366470133", "hash": "0" * 40,
        "bids": [{"price": "0.01", "size": str(size)} for size in range(1, levels)], "asks": [], "tick_size": "0.01",
    }  # fmt: skip


async def turns_of_others(work) -> tuple[object, int]:
    """Return what some work returns or raises, and how many turns another task had meanwhile."""
    count = 0

    async def other() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0)
            count += 1

    beside = asyncio.ensure_future(other())
    try:
        return await work, count
    finally:
        beside.cancel()


async def test_a_large_answer_is_decoded_in_pieces_with_turns_for_others(desk):
    tokens = [str(number) for number in range(200)]

    async def fetch(levels: int):
        service = desk(httpx.Response(200, json=[book(token, levels) for token in tokens]))
        async with service.clob() as clob:
            return await turns_of_others(clob.books(tokens))

    few, some = await fetch(2)
    many, more = await fetch(600)
    assert [len(answer.books) for answer in (few, many)] == [200, 200]
    assert len(many.books["7"].bids) == 599
    # Some 3.6 MB, half a MiB at a time: two milliseconds.
    assert more - some > 5


DENSE = [b"[" + b"{}," * 200_000 + b"{}]", b"[" * 200_000, b"[" + b"1," * 200_000 + b"1]", b'{"a":' * 200_000]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("body", [*DENSE, b'"' + b"x" * (5 * 2**20) + b'"'], ids=range(5))
async def test_an_answer_that_takes_long_to_read_is_refused_unread(desk, monkeypatch, name, body):
    def load(*_arguments, **_options):
        raise AssertionError("it is read")

    monkeypatch.setattr("polymirror.venue.fields.json.loads", load)
    monkeypatch.setattr("polymirror.venue.rest.decode_books", load)
    error = await outcome(desk(httpx.Response(200, content=body)), name, attempts=1)
    assert isinstance(error, BadResponse)


async def test_the_body_of_a_refusal_that_takes_long_to_read_is_not_read(desk):
    error = await outcome(desk(httpx.Response(404, content=DENSE[0])), "books")
    assert isinstance(error, BadResponse)
    assert error.status == 404


async def test_one_call_reads_all_markets_of_a_large_event_with_turns_for_others(desk):
    market = {
        "slug": "m", "question": "q", "conditionId": "0xc", "clobTokenIds": '["1", "2"]', "outcomes": '["a", "b"]',
        "closed": False, "active": True, "orderPriceMinTickSize": 0.01, "orderMinSize": 5,
    }  # fmt: skip

    async def fetch(count: int):
        service = desk(httpx.Response(200, content=json.dumps([{"slug": "s", "markets": [market] * count}])))
        async with service.gamma() as gamma:
            return await turns_of_others(gamma.event("s"))

    one, some = await fetch(1)
    many, more = await fetch(1_000)
    assert (len(one), len(many)) == (1, 1_000)
    assert more - some > 10


@pytest.mark.parametrize("number", [b"1" * 2_000, b"1." + b"1" * 2_000, b'"' + b"1" * 2_000 + b'"'])
async def test_a_number_without_end_is_no_number(desk, number):
    service = desk(httpx.Response(200, content=number))
    assert isinstance(await outcome(service, "time", attempts=1), BadResponse)

"""What may leave each call of the edge, whatever answers it: the documented errors and no other."""

from __future__ import annotations

import inspect
import ssl

import httpx
import pytest

from polymirror.errors import BadResponse, BookGone, MarketNotFound, RateLimited, VenueUnavailable
from polymirror.venue.gamma import Gamma
from polymirror.venue.rest import Clob

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


CALLS = {
    "book": (lambda clob, _: clob.book("7"), BookGone),
    "books": (lambda clob, _: clob.books(["7", "8"]), None),
    "time": (lambda clob, _: clob.time(), VenueUnavailable),
    "tick_size": (lambda clob, _: clob.tick_size("7"), BookGone),
    "neg_risk": (lambda clob, _: clob.neg_risk("7"), BookGone),
    "clob_market": (lambda clob, _: clob.clob_market("0xaa"), MarketNotFound),
    "condition_of_token": (lambda clob, _: clob.condition_of_token("7"), MarketNotFound),
    "market": (lambda _, gamma: gamma.market("s"), MarketNotFound),
    "market_of_token": (lambda _, gamma: gamma.market_of_token("7"), MarketNotFound),
    "event": (lambda _, gamma: gamma.event("s"), MarketNotFound),
    "windows": (lambda _, gamma: gamma.windows("btc", "15m", 1_790_000_000.0), None),
}
"""Every call of the edge, and what it says of a thing that the venue does not know; None: it says nothing of it."""


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

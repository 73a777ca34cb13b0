"""Text that cannot be sent or printed again is refused where it is read, by the field that has it."""

from __future__ import annotations

import contextlib
import random

import pytest

from polymirror import Endpoints
from polymirror.errors import BadResponse
from polymirror.venue.fields import Reader, parse_json
from polymirror.venue.gamma import Gamma
from polymirror.venue.market import parse_market
from polymirror.venue.rest import Clob
from tests.venue.hostile import ONCE, Hostile, answer, caught

pytestmark = pytest.mark.anyio

HALF = "\ud800"
MARKET = {
    "slug": "a", "question": "b", "conditionId": "0xc", "clobTokenIds": ["1", "2"], "outcomes": ["Yes", "No"],
    "closed": False, "active": True, "orderPriceMinTickSize": 0.01, "orderMinSize": 5,
}  # fmt: skip


@pytest.mark.parametrize("name", ["slug", "question", "conditionId", "clobTokenIds", "outcomes", "resolutionSource"])
def test_half_of_a_surrogate_pair_is_refused_by_the_field_that_has_it(name):
    value = [f"1{HALF}", "2"] if name in {"clobTokenIds", "outcomes"} else f"x{HALF}"
    assert parse_market(MARKET, "market")
    for odd in (value, str(value).replace("'", '"') if isinstance(value, list) else "x" * 5_000):
        with pytest.raises(BadResponse, match=f"field {name}") as refused:
            parse_market({**MARKET, name: odd}, "market")
        str(refused.value).encode()


async def test_half_of_a_surrogate_pair_over_http_is_a_bad_response():
    body = b'[{"slug": "x", "question": "\\ud800", "conditionId": "c", "clobTokenIds": "[\\"1\\"]", "outcomes": "[]"}]'
    error = b'{"error": "\\ud800"}'
    book = b'[{"market":"\\ud800","asset_id":"1","timestamp":"1","hash":"","bids":[],"asks":[]}]'
    async with Hostile(answer(200, body=body), answer(400, body=error), answer(200, body=book)).running() as peer:
        ends = Endpoints(clob=peer.http, gamma=peer.http)
        async with Gamma(ONCE, ends, rng=random.Random(1)) as gamma, Clob(ONCE, ends, rng=random.Random(1)) as clob:
            found = [await caught(gamma.market("x")), await caught(clob.time()), await caught(clob.books(["1"]))]
    for each in found:
        assert isinstance(each, BadResponse)
        str(each).encode()


@pytest.mark.parametrize("value", [HALF, f"1{HALF}", "\uff11", "1e999999999", "0x1"])
def test_a_number_in_odd_letters_is_refused_or_read_and_nothing_else(value):
    reader = Reader("call", {"n": value, "t": value})
    for read in (reader.decimal, reader.integer, reader.positive):
        with contextlib.suppress(BadResponse):
            read("n")


async def test_a_text_that_fits_into_no_request_is_refused_by_the_call():
    ends = Endpoints(gamma="http://127.0.0.1:9")
    async with Gamma(ONCE, ends, rng=random.Random(1)) as gamma:
        for slug in (HALF, "x" * 100_000):
            assert isinstance(await caught(gamma.market(slug)), BadResponse)
        assert gamma.counters.calls == 0


@pytest.mark.parametrize(
    "number", [b"1e9999999999999999999", b"-1e-9999999999999999999", b'{"error": 1e99999999999999999999}']
)
def test_a_number_whose_exponent_no_decimal_can_have_is_a_bad_response(number):
    with pytest.raises(BadResponse, match="not JSON"):
        parse_json(number, "call")

from __future__ import annotations

import asyncio
import gzip
import json

import httpx
import pytest

from polymirror.errors import BadResponse, MarketNotFound, RateLimited, VenueUnavailable

pytestmark = pytest.mark.anyio

GONE = httpx.Response(404, json={"error": "No orderbook exists for the requested token id"})


def book(token: str) -> dict:
    return {
        "market": "0xaa",
        "asset_id": token,
        "timestamp": "1777366470133",
        "hash": "2641799594ca630c7cfbcb1eefa308abb6cd4eab",
        "bids": [{"price": "0.01", "size": "100"}],
        "asks": [],
        "min_order_size": "5",
        "tick_size": "0.01",
        "neg_risk": False,
        "last_trade_price": "",
    }


def asked(request: httpx.Request) -> list[str]:
    return [each["token_id"] for each in json.loads(request.content)]


def all_books(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[book(token) for token in asked(request)])


async def test_a_book_is_fetched_by_its_token(desk):
    service = desk(book("7"))
    async with service.clob() as clob:
        found = (await clob.books(["7"])).books["7"]
    assert (found.asset_id, found.tick_size, found.neg_risk) == ("7", "0.01", False)
    assert str(service.requests[0].url) == "https://clob.polymarket.com/books"
    assert asked(service.requests[0]) == ["7"]


@pytest.mark.parametrize("body", [b"<html>not here</html>", b'{"message":"no route"}', b"[]", b""])
async def test_a_404_of_somebody_else_never_retires_a_token(desk, body):
    service = desk(httpx.Response(404, content=body))
    async with service.clob() as clob:
        with pytest.raises(BadResponse, match="404"):
            await clob.books(["7"])


async def test_tokens_go_out_in_batches_once_each_and_absent_ones_are_missing(desk):
    def some(request):
        return httpx.Response(200, json=[book(each) for each in [*asked(request), "stranger"] if each != "3"])

    service = desk(some)
    async with service.clob(books_per_call=2) as clob:
        answer = await clob.books(["1", "2", "3", "2", "4", "5"])
    assert sorted(answer.books) == ["1", "2", "4", "5"]
    assert answer.missing == ("3",)
    assert answer.failed == {}
    assert sorted(asked(request) for request in service.requests) == [["1", "2"], ["3", "4"], ["5"]]


async def test_no_tokens_need_no_call(desk):
    service = desk({})
    async with service.clob() as clob:
        assert (await clob.books([])).books == {}
    assert service.requests == []


async def test_a_refused_batch_is_halved_until_the_culprit_stands_alone(desk):
    def picky(request):
        if "13" in asked(request):
            return httpx.Response(400, json={"error": "Invalid token id"})
        return all_books(request)

    service = desk(picky)
    async with service.clob() as clob:
        answer = await clob.books([str(number) for number in range(500)])
    assert len(answer.books) == 499
    assert list(answer.failed) == ["13"]
    assert answer.missing == ()
    assert len(service.requests) <= 2 * 9 + 1


async def test_halving_is_bounded_and_a_hopeless_call_raises_its_error(desk):
    service = desk(httpx.Response(400, json={"error": "Invalid payload"}))
    async with service.clob(calls_per_10s=9_000) as clob:
        with pytest.raises(BadResponse, match="Invalid payload"):
            await clob.books([str(number) for number in range(500)])
    assert len(service.requests) <= 2 * 64 + 1


async def test_a_failed_batch_does_not_spoil_the_others(desk):
    def half(request):
        return httpx.Response(503, content=b"<html>") if "1" in asked(request) else all_books(request)

    service = desk(half)
    async with service.clob(books_per_call=1) as clob:
        answer = await clob.books(["1", "2"])
    assert list(answer.books) == ["2"]
    assert isinstance(answer.failed["1"], VenueUnavailable)


async def test_a_404_of_the_venue_means_that_none_of_it_exists(desk):
    service = desk(GONE)
    async with service.clob() as clob:
        assert (await clob.books(["1", "2"])).missing == ("1", "2")
        with pytest.raises(MarketNotFound):
            await clob.clob_market("0xaa")
    assert clob.counters.retries == 0


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
async def test_a_venue_that_cannot_answer_is_asked_again_then_unavailable(desk, status):
    service = desk(httpx.Response(status, json={"error": "Trading is currently disabled"}))
    async with service.clob(attempts=4) as clob:
        with pytest.raises(VenueUnavailable) as caught:
            await clob.books(["7"])
    assert caught.value.status == status
    assert (clob.counters.calls, clob.counters.retries) == (4, 3)
    assert all(0 <= wait <= 0.25 * 2**number for number, wait in enumerate(service.time.slept))


async def test_a_passing_failure_is_healed_by_a_repetition(desk):
    failures = [httpx.ConnectError("refused"), httpx.ReadTimeout("slow")]
    service = desk(*failures, book("7"))
    async with service.clob() as clob:
        assert list((await clob.books(["7"])).books) == ["7"]
    assert clob.counters.retries == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><title>Just a moment...</title>",
        b"",
        b'{"market":"0xaa","asset_id":"7","bids":[',
        b'{"market":"0xaa"}',
        b"null",
        b"7",
        b"NaN",
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
async def test_a_body_that_is_no_book_is_a_bad_response_after_the_retries(desk, body):
    service = desk(httpx.Response(200, content=body))
    async with service.clob() as clob:
        with pytest.raises(BadResponse):
            await clob.books(["7"])
    assert clob.counters.calls == 3


async def test_an_answer_over_the_limit_is_refused_while_it_is_read_even_when_it_was_compressed(desk):
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield b"x" * 1000

    service = desk(lambda _request: httpx.Response(200, content=endless()))
    async with service.clob(max_body=10_000) as clob:
        with pytest.raises(BadResponse, match="longer than 10000"):
            await clob.books(["7"])
    assert read == 11
    bomb = gzip.compress(b" " * 1_000_000)
    service = desk(httpx.Response(200, content=bomb, headers={"Content-Encoding": "gzip"}))
    async with service.clob(max_body=10_000) as clob:
        with pytest.raises(BadResponse, match="longer than 10000"):
            await clob.books(["7"])


async def test_a_body_that_cannot_be_decompressed_is_a_bad_response(desk):
    async def garbage():
        yield b"this is not gzip"

    service = desk(lambda _request: httpx.Response(200, content=garbage(), headers={"Content-Encoding": "gzip"}))
    async with service.clob(attempts=1) as clob:
        with pytest.raises(BadResponse, match="decompressed"):
            await clob.books(["7"])


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(429, headers={"Retry-After": "Mon, 21 Sep 2026 14:13:27 GMT"}),
        httpx.Response(429, json={"error": "Too Many Requests", "retry_after_seconds": 7}),
    ],
)
async def test_a_429_is_waited_for_as_long_as_the_venue_asks_in_any_of_its_forms(desk, refusal):
    service = desk(refusal, book("7"))
    async with service.clob() as clob:
        await clob.books(["7"])
    assert clob.counters.throttled == 1
    assert 7 <= sum(service.time.slept) <= 7.25


async def test_one_throttled_caller_holds_all_others_back(desk):
    service = desk(httpx.Response(429, headers={"Retry-After": "7"}), book("7"))
    async with service.clob(attempts=1) as clob:
        with pytest.raises(RateLimited):
            await clob.books(["7"])
        before = service.time.now
        await clob.books(["7"])
    assert service.time.now - before == 7


async def test_a_longer_wish_than_allowed_is_not_waited_for(desk):
    service = desk(httpx.Response(429, headers={"Retry-After": "3600"}))
    async with service.clob(total_timeout=600) as clob:
        with pytest.raises(RateLimited) as caught:
            await clob.books(["7"])
    assert caught.value.retry_after == 3600
    assert clob.counters.calls == 1


async def test_a_429_without_a_wish_backs_off_on_its_own(desk):
    service = desk(httpx.Response(429, headers={"Retry-After": "soon"}, content=b"busy"))
    async with service.clob() as clob:
        with pytest.raises(RateLimited) as caught:
            await clob.books(["7"])
    assert caught.value.retry_after is None
    assert clob.counters.throttled == 3


async def test_retries_stop_before_the_total_time_is_over(desk):
    service = desk(httpx.Response(503, headers={"Retry-After": "15"}))
    async with service.clob(attempts=20, total_timeout=20) as clob:
        with pytest.raises(VenueUnavailable):
            await clob.books(["7"])
    assert sum(service.time.slept) < 20


async def test_a_call_that_hangs_ends_after_the_total_time(desk):
    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request):
            await asyncio.Event().wait()

    service = desk({})
    service.transport = Hanging()
    async with service.clob(total_timeout=0.1) as clob:
        with pytest.raises(VenueUnavailable, match=r"not done within 0\.1 s"):
            await clob.books(["7"])


@pytest.mark.parametrize("status", [301, 400, 401, 403])
async def test_a_refusal_that_will_not_pass_is_not_repeated(desk, status):
    service = desk(httpx.Response(status, content=b"<html>blocked</html>"))
    async with service.clob() as clob:
        with pytest.raises(BadResponse) as caught:
            await clob.books(["7"])
    assert caught.value.status == status
    assert clob.counters.calls == 1


@pytest.mark.parametrize("body", [1790000000, "1790000000"])
async def test_the_time_comes_with_the_moments_around_it(desk, body):
    service = desk(body)

    def answer(_request):
        service.time.advance(0.2)
        return httpx.Response(200, json=body)

    service.answers = [httpx.Response(503), answer]
    async with service.clob() as clob:
        found = await clob.time()
    assert found.seconds == 1_790_000_000
    assert found.received - found.sent == pytest.approx(0.2)
    assert found.received == service.time.now


@pytest.mark.parametrize("body", [1790000000123, 0, -5, 1790000000.5, None, True, [], "now", {"time": 1}])
async def test_a_time_that_is_no_unix_second_is_a_bad_response(desk, body):
    service = desk(httpx.Response(200, content=json.dumps(body).encode()))
    async with service.clob() as clob:
        with pytest.raises(BadResponse, match="time"):
            await clob.time()


async def test_a_compact_market_is_read(desk):
    raw = {
        "t": [{"t": "1", "o": "Up"}, {"t": "2", "o": "Down"}],
        "mts": 0.01,
        "mos": 5,
        "nr": False,
        "fd": {"r": 0.07, "e": 1, "to": True},
        "itode": True,
    }
    service = desk(raw)
    async with service.clob() as clob:
        market = await clob.clob_market("0xaa")
    assert [token.id for token in market.tokens] == ["1", "2"]
    assert (market.tick_size, market.min_order_size, market.taker_delay) == ("0.01", "5", True)
    assert str(market.fee.rate) == "0.07"
    for name in ("t", "mts", "mos"):
        service = desk({key: value for key, value in raw.items() if key != name})
        async with service.clob() as clob:
            with pytest.raises(BadResponse, match=f"field {name} "):
                await clob.clob_market("0xaa")


async def test_more_calls_than_the_budget_are_spread_over_time(desk):
    service = desk(all_books)
    async with service.clob(calls_per_10s=5, books_per_call=1, concurrency=1) as clob:
        await clob.books([str(number) for number in range(11)])
    assert service.time.now - 1_000 == 20


async def test_calls_at_once_are_bounded(desk):
    under_way = 0
    most = 0

    class Counting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            for _ in range(5):
                await asyncio.sleep(0)
            under_way -= 1
            return all_books(request)

    service = desk({})
    service.transport = Counting()
    async with service.clob(books_per_call=1, concurrency=3) as clob:
        await clob.books([str(number) for number in range(20)])
    assert most == 3


async def test_a_client_outside_its_context_says_so(desk):
    with pytest.raises(RuntimeError, match="outside"):
        await desk({}).clob().time()

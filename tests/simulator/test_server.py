"""The embedded venue over real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
    WebSocketException,
)

from polymirror import Level
from polymirror.errors import MissingExtra
from polymirror.simulator import FAULTS, Exchange, Fault, FaultLine, Plan, Session, Simulator, make_faults
from polymirror.simulator.faults.deltas import LostDelta
from polymirror.simulator.faults.links import Disconnect
from polymirror.simulator.faults.venue import VenueFault
from polymirror.simulator.frames import Answer, Call, Close, Frame
from polymirror.simulator.surface.app import Connection
from tests.simulator.naive import NaiveClient

pytestmark = pytest.mark.anyio

PATIENCE = 60.0
"""Seconds after which a test gives up; no verdict depends on them."""

ROOMY: dict[str, Any] = {"max_size": 2**23, "max_queue": None}
"""A client that stops reading before it closes would wait for the answer to its closing in vain."""


def subscription(venue: Simulator) -> str:
    return json.dumps({"assets_ids": list(venue.tokens), "type": "market"})


async def read_to_the_end(socket: ClientConnection) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            await socket.recv()


async def test_a_naive_client_follows_the_venue_over_a_real_socket() -> None:
    async with Simulator(seed=7, rate=300) as venue, connect(venue.endpoints.stream, **ROOMY) as socket:
        await socket.send(subscription(venue))
        client = NaiveClient()
        while client.seen["batches"] < 100:
            client.feed(str(await asyncio.wait_for(socket.recv(), PATIENCE)))
    assert client.seen["top_right"] == client.seen["top"] > 0
    assert client.seen["complement_right"] == client.seen["complement"] > 0
    assert client.seen["hash_right"] >= 0.9 * client.seen["hash"] > 0


def as_seen(client: NaiveClient, token: str) -> list[list[Level]]:
    """What a client holds, as levels of a view."""
    return [[Level(*pair) for pair in side] for side in client.books[token].levels()]


async def test_the_levels_a_client_holds_were_true_a_moment_ago() -> None:
    async with Simulator(seed=3, rate=100) as venue, connect(venue.endpoints.stream, **ROOMY) as socket:
        since_ms = venue.wall_ms()
        await socket.send(subscription(venue))
        client = NaiveClient()
        while client.seen["price_change"] < 30:
            client.feed(str(await asyncio.wait_for(socket.recv(), PATIENCE)))
        for token in venue.tokens:
            bids, asks = as_seen(client, token)
            assert venue.exchange.was_true(token, bids, asks, since_ms)
            # No order of this flow is for a fraction like that.
            altered = Level(bids[0].price, bids[0].size + Decimal("0.000001"))
            assert not venue.exchange.was_true(token, [altered, *bids[1:]], asks, since_ms)


async def test_rest_and_discovery_answer_under_the_endpoints_given() -> None:
    async with Simulator(seed=1) as venue, httpx.AsyncClient(trust_env=False) as http:
        book = (await http.get(f"{venue.endpoints.clob}/book", params={"token_id": venue.tokens[0]})).json()
        books = (await http.post(f"{venue.endpoints.clob}/books", json=[{"token_id": t} for t in venue.tokens])).json()
        [market] = (await http.get(f"{venue.endpoints.gamma}/markets", params={"slug": venue.slugs[0]})).json()
    assert book["asset_id"] == venue.tokens[0]
    assert [b["asset_id"] for b in books] == list(venue.tokens)
    assert json.loads(market["clobTokenIds"]) == list(venue.tokens)


async def test_stopping_waits_for_no_client_and_leaves_no_task_even_with_open_ones() -> None:
    before = asyncio.all_tasks()
    venue = Simulator(seed=1, rate=200, markets=3)
    async with venue:
        sockets = [await connect(venue.endpoints.stream, **ROOMY) for _ in range(3)]
        for socket in sockets:
            await socket.send(subscription(venue))
            await socket.recv()
    # None of them has closed, nor reads.
    for socket in sockets:
        with pytest.raises(ConnectionClosed):
            await read_to_the_end(socket)
        await socket.wait_closed()
    async with asyncio.timeout(PATIENCE):
        # The clients' own tasks are cancelled by now, and need a turn to end.
        while asyncio.all_tasks() != before:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


async def test_it_can_be_started_again() -> None:
    venue = Simulator(seed=1)
    for _ in range(2):
        async with venue, connect(venue.endpoints.stream, **ROOMY) as socket:
            await socket.send(subscription(venue))
            assert len(json.loads(await socket.recv())) == 2
    with pytest.raises(RuntimeError):
        _ = venue.endpoints


async def test_a_ping_before_the_subscription_is_closed_as_the_venue_closes_it() -> None:
    async with Simulator() as venue, connect(venue.endpoints.stream, **ROOMY) as socket:
        await socket.send("PING")
        with pytest.raises(ConnectionClosedError) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "invalid subscription payload")


async def test_settlement_closes_the_socket_and_removes_the_books() -> None:
    async with Simulator(seed=2, rate=50) as venue, httpx.AsyncClient(trust_env=False) as http:
        async with connect(venue.endpoints.stream, **ROOMY) as socket:
            await socket.send(subscription(venue))
            await socket.recv()
            venue.exchange.settle(resolve_delay_ms=20)
            with pytest.raises(ConnectionClosedOK) as closed:
                await read_to_the_end(socket)
        gone = await http.get(f"{venue.endpoints.clob}/book", params={"token_id": venue.tokens[0]})
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason == "all subscribed assets resolved"
    assert gone.status_code == 404
    assert gone.json() == {"error": "No orderbook exists for the requested token id"}


async def test_a_reset_arrives_without_a_close_frame() -> None:
    fault = Disconnect(Plan(share=1.0))
    async with Simulator(seed=2, rate=50, faults=[fault]) as venue, connect(venue.endpoints.stream, **ROOMY) as socket:
        await socket.send(subscription(venue))
        with pytest.raises(ConnectionClosedError) as closed:
            await read_to_the_end(socket)
    assert closed.value.rcvd is None
    assert fault.injected == 1


async def test_a_refused_attempt_to_connect_ends_with_an_http_error() -> None:
    fault = make_faults(["refused_connection"], plan=Plan())[0]
    async with Simulator(seed=2, faults=[fault]) as venue:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(venue.endpoints.stream, **ROOMY)
        fault.plan = Plan(end_ms=0)
        async with connect(venue.endpoints.stream, **ROOMY) as socket:
            await socket.send(subscription(venue))
            assert await socket.recv()
    assert fault.injected == 1


async def test_every_fault_on_the_wire_runs_over_real_sockets() -> None:
    wanted = sorted(i for i, kind in FAULTS.items() if kind.over_sockets and not issubclass(kind, VenueFault))
    async with Simulator(seed=2, rate=200) as venue, httpx.AsyncClient(trust_env=False) as http:
        for fault_id in wanted:
            venue.line.faults = make_faults([fault_id], plan=Plan(share=0.5, length_ms=50))
            with suppress(WebSocketException, OSError, TimeoutError):
                async with connect(venue.endpoints.stream, **ROOMY) as socket, asyncio.timeout(0.03):
                    await socket.send(subscription(venue))
                    await socket.send("PING")
                    while True:
                        await socket.recv()
            with suppress(httpx.TransportError):
                await http.get(f"{venue.endpoints.clob}/book", params={"token_id": venue.tokens[0]}, timeout=0.03)
        # Nothing of it is left: the venue serves the next client as if nothing had been.
        venue.line.faults = ()
        async with connect(venue.endpoints.stream, **ROOMY) as socket:
            await socket.send(subscription(venue))
            client = NaiveClient()
            while client.seen["batches"] < 20:
                client.feed(str(await asyncio.wait_for(socket.recv(), PATIENCE)))
    assert client.seen["top_right"] == client.seen["top"] > 0


class Hang(Fault):
    """Calls for a book are never answered."""

    id = "hang"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.heard = asyncio.Event()

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        if call.path == "/book":
            self.heard.set()
        return answer._replace(hangs=call.path == "/book", delay_ms=40)


async def test_a_hanging_call_does_not_keep_the_venue_from_stopping() -> None:
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http,
        asyncio.TaskGroup() as tasks,
        Simulator(seed=1, faults=[hang := Hang(Plan())]) as venue,
    ):
        started = time.monotonic()
        assert (await http.get(f"{venue.endpoints.clob}/time")).status_code == 200
        assert time.monotonic() - started >= 0.04
        tasks.create_task(expect_no_answer(http, f"{venue.endpoints.clob}/book"))
        async with asyncio.timeout(PATIENCE):
            await hang.heard.wait()


async def expect_no_answer(http: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(httpx.TransportError):
        await http.get(url)


async def test_a_reader_that_stops_reading_is_cut_off_with_1013() -> None:
    connection = Connection(Session(Exchange()), FaultLine().open_link(), asyncio.Queue(3))
    frame = Frame("x", "book")
    connection.offer([frame] * 3, 0.0)
    connection.offer([frame] * 3, 0.0)
    assert connection.queue.get_nowait()[1] == Close(1013, "slow consumer: send buffer full")
    assert connection.queue.empty()
    assert connection.session.closed


async def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    # Another test may have imported it.
    monkeypatch.delitem(sys.modules, "polymirror.serving.server", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install 'polymirror\[simulator\]'"):
        async with Simulator():
            pass


async def test_a_port_that_is_taken_is_an_oserror_and_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with Simulator() as venue:
        taken = venue.port
        with pytest.raises(OSError, match="in use"):
            await Simulator(port=taken).__aenter__()
    assert asyncio.all_tasks() == before


async def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Simulator():
            _ = 1 // 0


async def test_lost_deltas_make_a_naive_book_wrong_and_the_truth_says_so() -> None:
    fault = LostDelta(Plan(share=0.5))
    async with Simulator(seed=2, rate=200, faults=[fault]) as venue, connect(venue.endpoints.stream, **ROOMY) as socket:
        await socket.send(subscription(venue))
        client = NaiveClient()
        async with asyncio.timeout(PATIENCE):
            # A book that comes whole after a trade is right again until the next loss.
            def is_true(token: str) -> bool:
                return venue.exchange.was_true(token, *as_seen(client, token), 0)

            while client.seen["batches"] < 50 or any(map(is_true, venue.tokens)):
                client.feed(str(await socket.recv()))
    assert fault.injected > 0
    assert client.seen["hash_right"] < client.seen["hash"]

"""Feeds and services beside the venue's own: the same ones over real sockets and in virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from polymirror import StreamConfig
from polymirror.errors import VenueUnavailable
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Simulator
from polymirror.simulator.frames import Answer, Close, Frame, Reset
from polymirror.simulator.surface.services import MARKET_PATH, feeds_by_path
from polymirror.simulator.virtual import NetworkConfig, VirtualVenue, run_virtual
from polymirror.venue.network import REAL
from polymirror.venue.stream import Stream

QUIET = ExchangeConfig(flow=FlowConfig(rate=0.001), new_market_every_ms=None)
EVERY_MS = 40


class Counting:
    """A feed that counts aloud from the start on, answers by name, and ends when it is told how."""

    path = "/ws/count"

    def __init__(self) -> None:
        self.sessions: list[CountingSession] = []

    def open(self, headers, query, now_ms):
        if headers.get("x-key") != "right":
            return 401
        self.sessions.append(CountingSession(query.get("name", ""), now_ms))
        return self.sessions[-1]


class CountingSession:
    def __init__(self, name: str, now_ms: int) -> None:
        self.name = name
        self.closed = False
        self._count = 0
        self._due = now_ms

    def receive(self, text, now_ms):
        endings = {"bye": Close(4001, "as you wish"), "die": Reset()}
        if text in endings:
            self.closed = True
            return [endings[text]]
        return [Frame(f"{self.name}: {text}", "reply", at_ms=now_ms)]

    def outgoing(self, now_ms):
        items = []
        while self._due <= now_ms:
            self._count += 1
            items.append(Frame(str(self._count), "count", at_ms=self._due))
            self._due += EVERY_MS
        return items

    def next_ms(self):
        return self._due


class Ledger:
    """A service that remembers what was put into it."""

    def __init__(self, exchange=None) -> None:
        self.exchange = exchange
        self.entries: list[str] = []

    def answer(self, call, now_ms):
        if not call.path.startswith("/ledger"):
            return None
        if call.headers.get("x-key") != "right":
            return Answer(401, '{"error":"key"}')
        if call.method == "GET":
            return Answer(200, json.dumps({"entries": self.entries, "at": now_ms, "page": call.query.get("page")}))
        self.entries.append(f"{call.method} {call.body.decode()}")
        return Answer(201, "{}", delay_ms=20, headers=(("X-Count", str(len(self.entries))),))


@asynccontextmanager
async def over_sockets(**extras):
    async with Simulator(config=QUIET, **extras) as venue:
        yield venue, REAL


@asynccontextmanager
async def in_virtual_time(**extras):
    async with VirtualVenue(Exchange(QUIET), **extras) as venue:
        yield venue, venue.network


@pytest.fixture(params=[(asyncio.run, over_sockets), (run_virtual, in_virtual_time)], ids=["real", "virtual"])
def world(request):
    """How a program is run, and the venue it meets."""
    run, make = request.param

    def go(main, **extras):
        async def inside():
            async with make(**extras) as (venue, network):
                async with asyncio.timeout(10):
                    return await main(venue, network)

        # asyncio wants a coroutine, virtual time what makes one.
        return run(inside()) if run is asyncio.run else run(inside)

    return go


def client_of(network) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=network.transport() if network.transport else None, headers={"X-Key": "right"}, timeout=5
    )


async def dial(venue, network, path="/ws/count?name=ann", key="right"):
    return await network.open_wire(venue.stream_url(path), StreamConfig(), {"X-Key": key}, network.wall)


def test_a_feed_counts_answers_and_closes_with_its_own_code(world) -> None:
    async def main(venue, network):
        wire = await dial(venue, network)
        heard = [await wire.recv(decode=False) for _ in range(3)]
        await wire.send("hello")
        while not heard[-1].startswith(b"ann"):
            heard.append(await wire.recv(decode=False))
        assert heard[-1] == b"ann: hello"
        assert heard[:-1] == [str(number).encode() for number in range(1, len(heard))]
        await wire.send("bye")
        with pytest.raises(ConnectionClosedError, match=r"4001.*as you wish"):  # noqa: PT012 - counts come first
            while True:
                await wire.recv(decode=False)
        wire.abort()

    world(main, feeds=[Counting()])


def test_a_feed_may_refuse_a_handshake_with_a_status(world) -> None:
    async def main(venue, network):
        with pytest.raises(VenueUnavailable, match="handshake refused") as caught:
            await dial(venue, network, key="wrong")
        assert caught.value.status == 401

    world(main, feeds=[Counting()])


def test_a_stream_lives_on_a_feed_and_survives_its_resets(world) -> None:
    feed = Counting()

    async def main(venue, network):
        numbers: list[int] = []
        causes, twice = [], asyncio.Event()

        def on_frame(data, _):
            if data.isdigit():
                numbers.append(int(data))
                if numbers[-1] == 3:
                    twice.set() if causes else stream.send("die")

        stream = Stream(
            venue.stream_url("/ws/count"),
            first_frame=lambda: "subscribe",
            on_open=lambda _: None,
            on_frame=on_frame,
            on_close=lambda _, cause: causes.append(cause),
            config=StreamConfig(backoff_base=0.01, backoff_cap=0.05),
            rng=random.Random(7),
            headers=lambda: {"X-Key": "right"},
            network=network,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(stream.run())
            await twice.wait()
            task.cancel()
        assert [cause.kind.name for cause in causes] == ["RESET", "STOPPED"]
        assert len(feed.sessions) == 2

    world(main, feeds=[feed])


def test_a_client_that_leaves_ends_its_session(world) -> None:
    feed = Counting()

    async def main(venue, network):
        wire = await dial(venue, network)
        await wire.recv(decode=False)
        await wire.close()
        while not feed.sessions[0].closed:  # noqa: ASYNC110 - a session tells nobody
            await asyncio.sleep(0.01)

    world(main, feeds=[feed])


def test_a_client_that_gives_up_the_handshake_leaves_no_session() -> None:
    feed = Counting()

    async def main():
        async with VirtualVenue(Exchange(QUIET), feeds=[feed], network=NetworkConfig(latency_ms=1_000)) as venue:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await dial(venue, venue.network)
            await asyncio.sleep(2)
            assert feed.sessions[0].closed

    run_virtual(main)


def test_a_service_sees_method_query_headers_and_body_and_the_venue_answers_the_rest(world) -> None:
    async def main(venue, network):
        ledger = f"{venue.base_url}/ledger"
        async with client_of(network) as client:
            posted = await client.post(ledger, content=b"one")
            assert (posted.status_code, posted.headers["x-count"]) == (201, "1")
            await client.delete(ledger)
            await client.put(ledger, content=b"two")
            found = (await client.get(ledger, params={"page": "7"})).json()
            assert found["entries"] == ["POST one", "DELETE ", "PUT two"]
            assert found["page"] == "7"
            assert abs(found["at"] / 1000 - network.wall()) < 2
            assert (await client.get(ledger, headers={"X-Key": "wrong"})).status_code == 401
            assert (await client.get(f"{venue.base_url}/time")).json() == pytest.approx(network.wall(), abs=2)
            assert (await client.delete(f"{venue.base_url}/book")).status_code == 405

    world(main, services=[Ledger()])


def test_feeds_and_services_may_be_made_for_the_exchange_of_the_venue(world) -> None:
    made: list[Ledger] = []

    def make(exchange):
        made.append(Ledger(exchange))
        return made

    async def main(venue, network):
        async with client_of(network) as client:
            await client.post(f"{venue.base_url}/ledger", content=b"x")
        assert made[0].exchange is venue.exchange
        assert made[0].entries == ["POST x"]

    world(main, services=make, feeds=lambda _: [Counting()])


def test_a_request_that_its_sender_gave_up_still_arrives() -> None:
    ledger = Ledger()

    async def main():
        async with VirtualVenue(Exchange(QUIET), services=[ledger]) as venue:
            async with client_of(venue.network) as client:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await client.post(f"{venue.base_url}/ledger", content=b"an order")
                assert ledger.entries == []
                await asyncio.sleep(1)
            assert ledger.entries == ["POST an order"]

    run_virtual(main)


def test_what_a_service_makes_the_exchange_do_happens_at_once() -> None:
    class Ender:
        def __init__(self, exchange) -> None:
            self.exchange = exchange

        def answer(self, call, _now_ms):
            if call.path != "/end":
                return None
            self.exchange.settle()
            return Answer(200, "{}")

    async def main():
        async with VirtualVenue(Exchange(QUIET), services=lambda exchange: [Ender(exchange)]) as venue:
            async with client_of(venue.network) as client:
                await client.post(f"{venue.base_url}/end")
            await asyncio.sleep(QUIET.resolve_delay_ms / 1000 + 1)
            assert all(venue.exchange.is_resolved(token) for token in venue.exchange.tokens)

    run_virtual(main)


def test_an_error_in_a_feed_or_a_service_ends_the_run_with_it() -> None:
    class Broken:
        path = "/ws/broken"

        def open(self, *_):
            raise KeyError("open")

        def answer(self, *_):
            raise KeyError("answer")

    async def call(venue):
        async with client_of(venue.network) as client:
            await client.get(f"{venue.base_url}/anything")

    async def main():
        async with VirtualVenue(Exchange(QUIET), services=[Broken()]) as venue:
            await call(venue)

    with pytest.raises(KeyError, match="answer"):
        run_virtual(main)


def test_a_feed_whose_due_time_stands_still_is_an_error_and_no_endless_loop() -> None:
    class Stuck(CountingSession):
        def outgoing(self, now_ms):
            return []

    class Feed(Counting):
        def open(self, headers, query, now_ms):
            return Stuck("", now_ms)

    async def main():
        async with VirtualVenue(Exchange(QUIET), feeds=[Feed()]) as venue:
            await dial(venue, venue.network)

    with pytest.raises(RuntimeError, match="again and again"):
        run_virtual(main)


def test_a_normal_closing_of_a_feed_is_no_error() -> None:
    class Polite(CountingSession):
        def receive(self, text, now_ms):
            self.closed = True
            return [Close(1000, "done")]

        def next_ms(self):
            return None

    class Feed(Counting):
        def open(self, headers, query, now_ms):
            return Polite("", now_ms)

    async def main():
        async with VirtualVenue(Exchange(QUIET), feeds=[Feed()]) as venue:
            wire = await dial(venue, venue.network)
            await wire.send("x")
            with pytest.raises(ConnectionClosedOK):
                await wire.recv(decode=False)
            with pytest.raises(ConnectionClosedOK):
                await wire.send("y")

    run_virtual(main)


@pytest.mark.parametrize("paths", [[MARKET_PATH], ["/ws/a", "/ws/a"], ["ws/a"]])
def test_a_feed_needs_a_path_of_its_own(paths) -> None:
    feeds = [Counting() for _ in paths]
    for feed, path in zip(feeds, paths, strict=True):
        feed.path = path
    with pytest.raises(ValueError, match="taken"):
        feeds_by_path(feeds)

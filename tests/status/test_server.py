"""The status server: what it answers, who may ask, and that a mirror does not mind it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from itertools import pairwise

import httpx
import pytest

from polymirror import BackgroundMirror, ConfigError, Mirror, MirrorClosed, MirrorConfig
from polymirror.serving import connections
from polymirror.simulator import Simulator
from polymirror.status import app, feed, verdict
from polymirror.status.server import MAX_CONNECTIONS

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
ROUTES = ("/", "/page.css", "/page.js", "/icon.svg", "/health", "/ready", "/status", "/metrics", "/books/7", "/events")


def client(server, **options):
    return httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, **options)


async def messages(http, count, path="/events"):
    """The first messages of the feed, as (kind, value)."""
    found = []
    async with http.stream("GET", path) as answer:
        assert answer.status_code == 200
        kind = ""
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                found.append((kind, json.loads(value)))
            if len(found) == count:
                return found
    return found


IDLE = {
    "nothing": b"",
    "half a head": b"GET /health HTTP/1.1\r\nHos",
    "half a body": b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx",
    "a request before": b"GET /icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("sent", IDLE.values(), ids=IDLE)
async def test_those_who_ask_nothing_keep_nobody_from_asking(sent, monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 3600.0)
    async with Mirror() as mirror:
        server = await mirror.serve_status()
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MAX_CONNECTIONS)]
        try:
            for reader, writer in idle:
                writer.write(sent)
                if sent.endswith(b"\r\n\r\n"):
                    await reader.readuntil(b"</svg>")
            async with client(server) as http:
                assert (await http.get("/health")).status_code == 200
            # The one that said nothing for the longest had to go, and nobody else.
            with suppress(ConnectionError):
                await idle[0][0].read()
            assert not any(reader.at_eof() for reader, _ in idle[1:])
        finally:
            for _, writer in idle:
                writer.transport.abort()


async def test_it_tells_health_readiness_status_metrics_and_books():
    async with Simulator(seed=5) as venue, Mirror.for_slug(*venue.slugs, endpoints=venue.endpoints) as mirror:
        await mirror.wait_live()
        server = await mirror.serve_status()
        up = mirror.tokens[0]
        async with client(server) as http:
            answer = await http.get("/health")
            assert (answer.status_code, answer.json()) == (200, {"ok": True, "problems": []})
            answer = await http.get("/ready")
            assert answer.status_code == 200
            assert answer.json()["live"] == answer.json()["books"] == len(mirror.tokens)
            status = (await http.get("/status")).json()
            assert [each["token"] for each in status["tokens"]] == list(mirror.tokens)
            assert status["running"] is True
            metrics = await http.get("/metrics")
            assert metrics.headers["content-type"].startswith("text/plain")
            assert f'polymirror_books{{state="LIVE"}} {len(mirror.tokens)}.0' in metrics.text
            book = (await http.get(f"/books/{up}")).json()
            view = mirror.peek(up)
            assert book["bids"][0][0] == str(view.best_bid.price).rstrip("0")
            assert [each["new"] for each in book["moves"]] == []
            assert book["state"] == "LIVE"
            assert (await http.get("/books/7")).status_code == 404
            assert (await http.get("/nothing")).status_code == 404
            assert (await http.post("/health")).status_code == 405
            page = await http.get("/")
            assert page.headers["content-type"] == "text/html; charset=utf-8"


async def test_every_answer_says_what_the_page_may_load_and_that_nobody_may_frame_it():
    async with Mirror() as mirror:
        server = await mirror.serve_status()
        async with client(server) as http:
            for route in (*ROUTES, "/nothing"):
                async with http.stream("GET", route) as answer:
                    policy = answer.headers["content-security-policy"]
                    assert "default-src 'none'" in policy
                    assert "frame-ancestors 'none'" in policy
                    assert "unsafe" not in policy
                    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "more",
    [{"Host": "evil.test"}, {"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["another name", "another origin", "a page elsewhere"],
)
async def test_pages_of_others_may_read_nothing(more):
    async with Mirror() as mirror:
        server = await mirror.serve_status(names=["mirror"])
        async with client(server) as http:
            for route in ROUTES:
                answer = await http.get(route, headers=more)
                assert answer.status_code == 403
            assert (await http.get("/health", headers={"Host": "mirror"})).status_code == 200


async def test_a_mirror_that_offers_nothing_for_a_while_is_unwell_and_says_why(monkeypatch):
    async with Simulator(seed=5) as venue:
        mirror = Mirror.for_slug(*venue.slugs, endpoints=venue.endpoints)
        async with mirror:
            await mirror.wait_live()
            server = await mirror.serve_status()
            monkeypatch.setattr(verdict, "DARK_SECONDS", 0.0)
            async with client(server) as http:
                assert (await http.get("/health")).status_code == 200
                await venue.__aexit__(None, None, None)
                await mirror.until(lambda: all(state.name != "LIVE" for _, state in mirror.engine.states()), PATIENCE)
                async with asyncio.timeout(PATIENCE):
                    while (answer := await http.get("/health")).status_code == 200:  # noqa: ASYNC110 - it is the question
                        await asyncio.sleep(0.05)
                assert answer.status_code == 503
                [problem] = answer.json()["problems"]
                assert "no book is LIVE" in problem
                assert "DISCONNECT" in problem
                answer = await http.get("/ready")
                assert (answer.status_code, answer.json()["live"]) == (503, 0)


async def test_what_else_is_wrong_is_told_and_makes_it_unwell():
    async with Mirror() as mirror:
        wrong = []
        server = await mirror.serve_status(health=lambda: wrong)
        async with client(server) as http:
            assert (await http.get("/health")).status_code == 200
            wrong.append("ledger: 9 rows\nwait")
            answer = await http.get("/health")
            assert answer.status_code == 503
            assert answer.json()["problems"] == ["ledger: 9 rows\\nwait"]


@pytest.mark.parametrize("share", ["", "x", "nan", "-0.1", "1.1", "inf"])
async def test_a_share_that_is_none_is_refused_with_what_it_may_be(share):
    async with Mirror() as mirror:
        server = await mirror.serve_status()
        async with client(server) as http:
            answer = await http.get("/ready", params={"share": share})
            assert answer.status_code == 400
            assert "share=" in answer.json()["error"]
            assert "a number from 0 to 1" in answer.json()["error"]
            assert (await http.get("/ready", params={"share": "0.5"})).json()["wanted"] == 0.5


@pytest.mark.parametrize(
    "arguments",
    [{"host": 7}, {"port": -1}, {"port": 65_536}, {"port": True}, {"ready": 2}, {"ready": "x"}, {"names": "abc"}],
)
async def test_bad_arguments_are_refused_at_the_call(arguments):
    async with Mirror() as mirror:
        with pytest.raises(ConfigError):
            await mirror.serve_status(**arguments)


async def test_it_needs_a_mirror_that_runs_and_an_address_that_can_be_had():
    mirror = Mirror()
    with pytest.raises(MirrorClosed):
        await mirror.serve_status()
    async with mirror:
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
            await mirror.serve_status(port=taken.getsockname()[1])
        assert mirror.status().running


async def test_it_ends_with_its_mirror_and_with_stop_and_cuts_its_pages_off():
    async with Mirror() as mirror:
        first, second = await mirror.serve_status(), await mirror.serve_status()
        async with client(first) as http, asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(messages(http, 10_000))
            await messages(http, 1)
            await first.stop()
            await first.stop()
            assert reader.result() if reader.done() else await reader
        with pytest.raises(httpx.ConnectError):
            async with client(first) as http:
                await http.get("/health")
        async with client(second) as http:
            assert (await http.get("/health")).status_code == 200
    with pytest.raises(httpx.ConnectError):
        async with client(second) as http:
            await http.get("/health")


async def test_when_it_fails_that_is_told_and_the_mirror_goes_on(monkeypatch, caplog):
    async with Mirror() as mirror:
        server = await mirror.serve_status()

        def broken(_):
            raise RuntimeError("a bug")

        monkeypatch.setattr(feed.Feed, "look", broken)
        async with client(server) as http, asyncio.timeout(PATIENCE):
            await messages(http, 10_000)
            await server.stop()
            with pytest.raises(httpx.ConnectError):
                await http.get("/health")
        assert "status server: it ended, the mirror goes on: RuntimeError: a bug" in caplog.text
        assert mirror.status().running


async def test_a_mirror_that_can_tell_nobody_else_goes_on_and_says_so_to_the_caller():
    async with Mirror(config=MirrorConfig(max_subscribers=1)) as mirror:
        mirror.on_transition(print)
        with pytest.raises(ConfigError, match="max_subscribers"):
            await mirror.serve_status()
        await asyncio.sleep(0)
        assert mirror.status().running


def test_a_mirror_in_a_thread_of_its_own_serves_as_well():
    with BackgroundMirror(Mirror()) as background:
        server = background.run(lambda mirror: mirror.serve_status())
        assert httpx.get(f"{server.url}health").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}health")


async def test_the_feed_tells_everything_then_what_changed_and_never_a_backlog():
    async with Simulator(seed=5, rate=50) as venue, Mirror.for_slug(*venue.slugs, endpoints=venue.endpoints) as mirror:
        await mirror.wait_live()
        server = await mirror.serve_status(title="a bot")
        async with client(server) as http:
            (kind, whole), *news = await messages(http, 4)
            assert kind == "whole"
            assert [kind for kind, _ in news] == ["news"] * 3
            assert whole["head"]["title"] == "a bot"
            assert whole["head"]["states"]["LIVE"] == len(mirror.tokens) == len(whole["rows"])
            assert [name[0] for name in whole["names"].values()] == list(mirror.tokens)
            rows = [dict(zip(whole["columns"], row[1:], strict=True)) for row in whole["rows"]]
            assert {row["state"] for row in rows} == {"LIVE"}
            assert all(row["bid"] and row["ask"] for row in rows)
            assert all(len(strip) == 60 and strip[-1] == "l" for strip in whole["strips"].values())
            assert all(not message["names"] and not message["gone"] for _, message in news)
            times = [whole["head"]["at"], *(message["head"]["at"] for _, message in news)]
            assert all(later - earlier >= 0.4 for earlier, later in pairwise(times[1:]))


async def test_a_book_that_goes_is_told_gone():
    async with (
        Simulator(seed=5, markets=2) as venue,
        Mirror.for_slug(*venue.slugs, endpoints=venue.endpoints) as mirror,
    ):
        await mirror.wait_live()
        server = await mirror.serve_status()

        async def gone():
            async with client(server) as http, http.stream("GET", "/events") as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data") and (found := json.loads(line[5:]).get("gone")):
                        return found
            return []

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            told = tasks.create_task(gone())
            await asyncio.sleep(0.1)
            mirror.remove_market(mirror.markets[0].condition_id)
        assert len(told.result()) == 2
        async with client(server) as http:
            [(_, whole)] = await messages(http, 1)
            assert len(whole["rows"]) == len(whole["names"]) == len(whole["strips"]) == 2


async def test_more_pages_than_there_is_room_for_are_told_so():
    async with Mirror() as mirror:
        server = await mirror.serve_status()
        async with client(server, limits=httpx.Limits(max_connections=100)) as http:
            async with AsyncExitStack() as pages:
                for _ in range(feed.MAX_CLIENTS):
                    answer = await pages.enter_async_context(http.stream("GET", "/events"))
                    lines = answer.aiter_lines()
                    pages.push_async_callback(lines.aclose)
                    # Only then it is counted.
                    while not (await anext(lines)).startswith("data"):
                        pass
                async with http.stream("GET", "/events") as answer:
                    assert answer.status_code == 503
            async with asyncio.timeout(PATIENCE):
                while True:
                    async with http.stream("GET", "/events") as answer:
                        if answer.status_code == 200:
                            break


async def test_asking_again_and_again_does_not_make_the_status_again_and_again(monkeypatch):
    made = []
    real = Mirror.status
    monkeypatch.setattr(Mirror, "status", lambda self: made.append(1) or real(self))
    monkeypatch.setattr(feed, "perf_counter", lambda: 1_000.0)
    async with Mirror() as mirror:
        server = await mirror.serve_status()
        made.clear()
        async with client(server) as http:
            for _ in range(5):
                for path in ("/status", "/health", "/ready"):
                    assert (await http.get(path)).status_code in {200, 503}
        # The feed looks by itself now and then.
        assert len(made) <= 3


async def test_who_asks_too_often_waits_and_who_would_wait_too_long_is_told():
    turns = app.Turns(rate=1_000.0, burst=2)
    assert [await turns.wait() for _ in range(4)] == [True] * 4
    slow = app.Turns(rate=0.1, burst=1)
    assert [await slow.wait() for _ in range(3)] == [True, False, False]


def test_without_the_extra_one_line_says_what_to_install():
    code = (
        "import sys, asyncio; sys.modules['starlette'] = None\n"
        "from polymirror import Mirror\n"
        "async def main():\n"
        " async with Mirror() as mirror:\n"
        "  try:\n   await mirror.serve_status()\n"
        "  except ImportError as error:\n   print(error)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    assert done.stdout == "the status server needs an extra: pip install 'polymirror[status]'\n"

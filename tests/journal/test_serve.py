"""A recording as the venue's own WebSocket and REST: our mirror runs on it unchanged."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from polymirror import ConfigError, Mirror, MirrorConfig
from polymirror.core.messages import decode_frame
from polymirror.errors import PolymirrorError
from polymirror.journal.disk import pack_lines
from polymirror.journal.format import Heard, Used
from polymirror.journal.serve import ReplayServer
from polymirror.journal.stage import Stage, listed_in
from tests.core.builders import START, Exchange
from tests.journal.rig import header_of, record, with_a_gap

pytestmark = pytest.mark.anyio


async def until(holds, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)


@pytest.fixture
def seen(tmp_path):
    """A few seconds of two markets, recorded; virtual time cannot run inside another loop."""
    return record(tmp_path, seconds=3, faults=(), rate=20.0, markets=2)


async def test_a_mirror_runs_on_a_served_journal(seen, tmp_path):
    async with ReplayServer(tmp_path) as server:
        assert {token for market in server.markets for token in market.tokens} == set(seen.tokens)
        async with Mirror(tokens=[seen.tokens[0]], endpoints=server.endpoints) as mirror:
            await mirror.wait_live(timeout=10)
            up, down = mirror.tokens
            changes = 0

            async def count():
                nonlocal changes
                async for _ in mirror.updates(up):
                    changes += 1

            counting = asyncio.create_task(count())
            await until(lambda: server.over)
            await mirror.prove(up)
            await mirror.prove(down)
            assert changes > 10
            totals = mirror.status().totals
            assert totals.states == {"LIVE": 2}
            assert totals.proofs["hash"].get("mismatch", 0) == 0
            # Who comes late gets the book as of now.
            async with Mirror(slugs=[mirror.market_of(up).slug], endpoints=server.endpoints) as late:
                await late.wait_live(timeout=10)
                assert late.live(up).levels == mirror.live(up).levels
            counting.cancel()


@pytest.mark.slow
async def test_a_recording_of_a_busy_market_is_served_to_our_own_mirror(corpus):
    path = corpus / "ws" / "btc5m_dense_20260421.jsonl"
    async with ReplayServer(path) as server:
        tokens = [token for market in server.markets for token in market.tokens]
        assert len(tokens) == 4
        async with Mirror(tokens=tokens, endpoints=server.endpoints) as mirror:
            await until(lambda: server.over)
            await mirror.wait_live(timeout=10)
            totals = mirror.status().totals
    assert totals.states == {"LIVE": 4}
    assert totals.frames > 4_000
    assert totals.proofs["hash"]["match"] > 5_000


async def test_frames_come_at_their_distances_though_the_time_of_day_was_set(tmp_path):
    exchange, header = Exchange(), header_of(MirrorConfig().engine)
    second, day = 10**9, 86_400 * 10**9
    texts = [exchange.opening_book(token) for token in exchange.tokens]
    texts += [exchange.change("BUY", f"0.3{n}", str(n), at=START + 1000 * n) for n in range(1, 5)]
    frames = [
        Heard(n, n * second, n * second + (day if n == 3 else 0), 1, json.dumps(text)) for n, text in enumerate(texts)
    ]
    path = tmp_path / "20260101T000000Z-abcdef-00001.jsonl.zst"
    track = Used(0, 0, 0, "track", exchange.market, tuple(exchange.tokens))
    path.write_bytes(pack_lines([header, track, *frames]))
    now = [0.0]
    async with (
        ReplayServer(path, clock=lambda: now[0]) as server,
        httpx.AsyncClient(base_url=server.base_url) as client,
    ):
        assert (await client.get("/time")).status_code == 200
        now[0] = 4.5
        assert (await client.get("/time")).status_code == 200
        assert not server.over
        now[0] = 5.0
        assert (await client.get("/time")).status_code == 200
        assert server.over


async def test_after_a_gap_books_are_served_as_they_were_recorded_whole(tmp_path):
    exchange = Exchange()
    path = tmp_path / "20260101T000000Z-abcdef-00001.jsonl.zst"
    path.write_bytes(with_a_gap(exchange))
    now = [0.0]
    async with (
        ReplayServer(path, clock=lambda: now[0]) as server,
        httpx.AsyncClient(base_url=server.base_url) as client,
    ):
        assert (await client.get("/time")).status_code == 200
        now[0] = 60.0
        for token in exchange.tokens:
            book = (await client.get("/book", params={"token_id": token})).json()
            assert book["bids"] == exchange.content(token)["bids"]
            assert book["asks"] == exchange.content(token)["asks"]


def test_a_part_in_which_there_is_nothing_is_not_served(tmp_path):
    path = tmp_path / "recording.jsonl"
    path.write_text(json.dumps(Exchange().opening_book("11")))
    with pytest.raises(ConfigError, match="after the start"):
        ReplayServer(path, start=2.0, end=1.0)
    with pytest.raises(PolymirrorError, match="is from that time"):
        ReplayServer(path, end=1.0)


async def test_the_services_answer_as_the_venue_does(tmp_path):
    exchange = Exchange()
    lines = [exchange.opening_book(token) for token in exchange.tokens]
    lines += [exchange.change("BUY", f"0.3{n}", str(n), at=START + 10 * n) for n in range(1, 4)]
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    now = [0.0]
    async with (
        ReplayServer(path, clock=lambda: now[0]) as server,
        httpx.AsyncClient(base_url=server.base_url) as client,
    ):
        assert (await client.get("/time")).json() == START // 1000
        now[0] = 5.0
        assert (await client.get("/time")).json() == START // 1000 + 5
        assert server.over
        (market,) = (await client.get("/markets", params={"clob_token_ids": "22"})).json()
        assert (market["conditionId"], json.loads(market["clobTokenIds"])) == ("0xm", ["11", "22"])
        assert (await client.get("/markets", params={"slug": market["slug"]})).json() == [market]
        assert (await client.get("/markets", params={"slug": "other"})).json() == []
        assert (await client.get(f"/markets/slug/{market['slug']}")).json() == market
        assert (await client.get("/events", params={"slug": market["slug"]})).json()[0]["markets"] == [market]
        assert (await client.get("/clob-markets/0xm")).json()["mos"] == 5
        (one,) = (await client.post("/books", json=[{"token_id": "11"}, {"token_id": "99"}])).json()
        assert one == (await client.get("/book", params={"token_id": "11"})).json()
        assert one["hash"] == exchange.content("11")["hash"]
        assert one["bids"] == exchange.content("11")["bids"]
        assert (await client.get("/tick-size", params={"token_id": "11"})).json() == {"minimum_tick_size": 0.01}
        assert (await client.get("/neg-risk", params={"token_id": "11"})).json() == {"neg_risk": False}
        assert (await client.get("/book", params={"token_id": "99"})).status_code == 404
        assert (await client.get("/nothing")).status_code == 404
        assert (await client.post("/books", content="x")).status_code == 400


def test_what_answered_the_recorders_subscription_is_told_to_others_only_if_it_is_news():
    exchange = Exchange()
    first = exchange.opening()
    exchange.alter("BUY", "0.30", "5")
    exchange.at += 1_000
    markets = {}
    listed_in(decode_frame(first), markets)
    stage = Stage(iter([(START, first), (START + 1, first), (START + 1_000, exchange.opening())]), markets)
    assert stage.step(START) == stage.step(START + 1) == []
    frames = stage.step(START + 1_000)
    assert [(frame.kind, frame.token) for frame in frames] == [("book", "11"), ("book", "22")]
    assert decode_frame(stage.opening_books(["22", "99"])) == decode_frame(
        f"[{json.dumps(exchange.opening_book('22'))}]"
    )
    assert stage.over


def test_a_recording_without_a_market_is_not_served(tmp_path):
    (tmp_path / "x.jsonl").write_text("PONG\n")
    with pytest.raises(PolymirrorError, match="no market was found"):
        ReplayServer(tmp_path / "x.jsonl")

"""The plain answers of a relay: what is not LIVE is refused with the reason."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from polymirror import ConfigError, EngineConfig, Mirror, MirrorClosed, MirrorConfig
from polymirror.simulator import Simulator

pytestmark = pytest.mark.anyio

PATIENCE = 30.0

BOTH = MirrorConfig(engine=EngineConfig(prove_both_hashes=True))

LOST = "7" * 77
"""A token whose market nobody knows."""


@pytest.fixture
async def parts():
    async with (
        Simulator(seed=3, markets=2) as venue,
        Mirror(slugs=venue.slugs[:2], tokens=[LOST], endpoints=venue.endpoints, config=BOTH) as mirror,
    ):
        await mirror.wait_live(*mirror.tokens[:4], timeout=PATIENCE)
        relay = await mirror.serve_relay()
        async with httpx.AsyncClient(base_url=relay.url, timeout=PATIENCE) as http:
            yield mirror, http


async def test_a_live_book_is_given_as_a_view_writes_itself(parts) -> None:
    mirror, http = parts
    answer = await http.get(f"/books/{mirror.tokens[0]}")
    assert answer.status_code == 200
    given = answer.json()
    assert given.keys() == mirror.live(mirror.tokens[0]).to_dict().keys()
    assert (given["token"], given["state"]) == (mirror.tokens[0], "LIVE")


async def test_a_book_that_is_not_live_is_a_conflict_with_the_reason(parts) -> None:
    _, http = parts
    answer = await http.get(f"/books/{LOST}")
    assert answer.status_code == 409
    assert (answer.json()["token"], answer.json()["state"]) == (LOST, "UNPRIMED")
    assert "bids" not in answer.json()


async def test_an_age_may_be_asked_for(parts) -> None:
    mirror, http = parts
    path = f"/books/{mirror.tokens[0]}"
    assert (await http.get(path, params={"max_proof_age": "10"})).status_code == 200
    answer = await http.get(path, params={"max_proof_age": "0.0000001"})
    assert (answer.status_code, answer.json()["reason"]) == (409, "STALE")
    for odd in ("0", "-1", "nan", "soon", ""):
        answer = await http.get(path, params={"max_proof_age": odd})
        assert answer.status_code == 400
        assert "max_proof_age" in answer.json()["error"]


async def live_ones(http):
    return (await http.get("/books", params={"live": "1"})).json()["books"]


async def test_all_books_come_at_once_or_those_that_are_live(parts) -> None:
    mirror, http = parts
    books = (await http.get("/books")).json()["books"]
    assert [book["token"] for book in books] == list(mirror.tokens)
    async with asyncio.timeout(PATIENCE):
        # A machine that stands still for a moment has its books refused for as long.
        while (live := [book["token"] for book in await live_ones(http)]) != list(mirror.tokens[:4]):
            assert set(live) < set(mirror.tokens[:4])
            await asyncio.sleep(0.05)
    one = (await http.get("/books", params={"token": mirror.tokens[1]})).json()
    assert ([book["token"] for book in one["books"]], one["left_out"]) == ([mirror.tokens[1]], 0)
    assert (await http.get("/books", params={"max_proof_age": "x"})).status_code == 400


async def test_tokens_that_are_not_carried_are_not_found(parts) -> None:
    _, http = parts
    assert (await http.get("/books/123")).status_code == 404
    assert (await http.get("/books", params={"token": "123"})).status_code == 404


async def test_markets_and_health_are_told(parts) -> None:
    mirror, http = parts
    markets = (await http.get("/markets")).json()["markets"]
    assert [market["slug"] for market in markets] == [market.slug for market in mirror.markets]
    answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.json()["ok"] is True
    assert sum(answer.json()["books"].values()) == 5
    for market in mirror.markets:
        mirror.remove_market(market.condition_id)
    assert (await http.get("/health")).status_code == 503


async def test_names_that_are_not_its_own_are_refused(parts) -> None:
    _, http = parts
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert (await http.get("/books", headers=headers)).status_code == 403


async def test_everything_is_for_reading(parts) -> None:
    mirror, http = parts
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await http.request(method, f"/books/{mirror.tokens[0]}")).status_code == 405


async def test_odd_arguments_are_refused_at_the_call(parts) -> None:
    mirror, _ = parts
    with pytest.raises(ConfigError, match="port"):
        await mirror.serve_relay(port=70_000)
    with pytest.raises(ConfigError, match="host"):
        await mirror.serve_relay(7)
    with pytest.raises(OSError, match=r"assign|address"):
        await mirror.serve_relay("192.0.2.1")


async def test_only_a_mirror_that_runs_relays() -> None:
    with pytest.raises(MirrorClosed):
        await Mirror(slugs=["a-slug"]).serve_relay()

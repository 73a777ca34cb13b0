"""The whole venue: what its page says is served is served, and accounts have their money."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from polymirror.errors import ConfigError
from polymirror.simulator import Simulator
from polymirror.simulator.orders.desk import Account
from polymirror.simulator.orders.trades import SettlementConfig
from polymirror.simulator.outfit import ORDER_FAULTS, USER_FAULTS, Outfit, OutfitConfig, Trader

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[2] / "docs" / "venue.md"
ME = Account.made_up("me")


def served() -> list[tuple[str, str]]:
    """The calls that the page lists."""
    text = PAGE.read_text(encoding="utf-8").partition("<!-- served: begin -->")[2].partition("<!-- served: end -->")[0]
    return re.findall(r"`(GET|POST|DELETE) ([^`]+)`", text)


def test_nobody_joins_before_there_is_an_exchange() -> None:
    with pytest.raises(RuntimeError, match="start the venue first"):
        Outfit().join(Trader(address=ME.address, account=ME))


async def test_every_call_of_the_page_is_served() -> None:
    outfit = Outfit(OutfitConfig(traders=(Trader(address=ME.address, account=ME),)))
    calls = served()
    assert len(calls) > 60
    async with (
        Simulator(seed=1, markets=2, rate=1, feeds=outfit.feeds, services=outfit.services) as venue,
        httpx.AsyncClient(base_url=venue.base_url) as client,
    ):
        market = venue.exchange.markets[0]
        event = (await client.get(f"/events/slug/{market.slug}")).json()
        names = {
            "token": market.tokens[0],
            "condition": market.condition_id,
            "slug": market.slug,
            "market": event["markets"][0]["id"],
            "event": event["id"],
            "series": event["series"][0]["id"],
            "address": ME.address,
        }
        for method, path in calls:
            body = [{"token_id": names["token"], "side": "BUY"}] if method == "POST" else None
            answer = await client.request(method, path.format(**names), json=body)
            # A call without credentials, or without sense, is refused by somebody who knows the path.
            assert answer.status_code in {200, 400, 401}, (method, path, answer)
        assert (await client.get("/trades")).status_code == (await client.get("/positions")).status_code == 404


async def test_orders_are_taken_and_the_list_tells_what_is_left() -> None:
    outfit = Outfit(OutfitConfig(traders=(Trader(address=ME.address, account=ME, cash=Decimal(7)),), blocked=True))
    async with (
        Simulator(seed=1, feeds=outfit.feeds, services=outfit.services) as venue,
        httpx.AsyncClient(base_url=venue.base_url) as client,
    ):
        told = (await client.get("/simulator")).json()
        assert told["accounts"] == [{"address": ME.address, "pusd": "7"}]
        assert {told[name] for name in ("clob", "gamma", "data", "relayer")} == {venue.base_url}
        assert told["user"] == venue.stream_url("/ws/user")
        assert (await client.get("/api/geoblock")).json()["blocked"] is True
        headers = ME.headers(1, "GET", "/auth/api-keys")
        assert (await client.get("/auth/api-keys", headers=headers)).json() == {"apiKeys": [ME.api_key]}


async def test_what_was_bought_is_in_the_index_once_it_is_mined() -> None:
    settlement = SettlementConfig(mine_ms=300, confirm_ms=0)
    outfit = Outfit(
        OutfitConfig(traders=(Trader(address=ME.address, account=ME),), taker_delay_ms=0, settlement=settlement)
    )
    async with (
        Simulator(seed=1, rate=0.001, feeds=outfit.feeds, services=outfit.services) as venue,
        httpx.AsyncClient(base_url=venue.base_url) as client,
    ):
        zero, now = "0x" + "0" * 64, venue.exchange.now_ms
        order = {"maker": ME.address, "signer": ME.address, "signatureType": 0, "signature": "0x", "salt": 1}
        order |= {"timestamp": str(now), "expiration": "0", "metadata": zero, "builder": zero, "side": "BUY"}
        order |= {"tokenId": venue.tokens[0], "makerAmount": "4950000", "takerAmount": "5000000"}
        body = json.dumps({"order": order, "owner": ME.api_key, "orderType": "FAK"}).encode()
        headers = ME.headers(now // 1000, "POST", "/order", body)
        bought = (await client.post("/order", content=body, headers=headers)).json()
        assert bought["status"] == "matched"

        async def index(path: str) -> list[dict[str, str]]:
            return (await client.get(path, params={"user": ME.address})).json()["data"]

        assert await index("/v2/trades") == await index("/v2/positions") == []
        async with asyncio.timeout(5):
            while not await index("/v2/trades"):  # noqa: ASYNC110 - nobody tells when the index is up to date
                await asyncio.sleep(0.05)
        trades, [position] = await index("/v2/trades"), await index("/v2/positions")
        assert {trade["transaction_hash"][:2] for trade in trades} == {"0x"}
        total = sum(Decimal(trade["size"]) for trade in trades)
        assert total == Decimal(position["current_size"]) == Decimal(bought["takingAmount"])
        assert Decimal(position["entry_cost_usdc"]) == pytest.approx(Decimal("4.95"), abs=Decimal("0.000002"))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: OutfitConfig(order_faults=("gremlin",)),
        lambda: OutfitConfig(feed_faults=("answer_lost",)),
        lambda: OutfitConfig(newcomer_cash=Decimal("0.0000001")),
        lambda: Trader(address="0x", cash=Decimal(-1)),
        lambda: Trader(address="0x", cash=Decimal("NaN")),
    ],
)
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        wrong()


def test_every_fault_of_orders_has_a_rate() -> None:
    assert {"answer_lost", "failed_trades", "null_lookups"} <= set(ORDER_FAULTS)
    assert {"user_missing", "user_silent"} <= set(USER_FAULTS)
    assert all(0 < rate < 1 for rate in (*ORDER_FAULTS.values(), *USER_FAULTS.values()))
    assert json.dumps(ORDER_FAULTS)

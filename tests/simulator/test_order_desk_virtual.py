"""The order desk behind the virtual venue: real HTTP clients, real waiting, and the book that a mirror would see."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from polymirror.config import StreamConfig
from polymirror.simulator import ExchangeConfig, FlowConfig
from polymirror.simulator.orders.desk import order_id_of
from polymirror.simulator.orders.faults import OrderFaultRates
from polymirror.simulator.virtual import VirtualVenue, run_virtual
from tests.simulator.order_rig import Rig, rig

if TYPE_CHECKING:
    from polymirror.venue.network import Network


async def call(client: httpx.AsyncClient, trader: Rig, network: Network, method: str, path: str, body: object) -> dict:
    raw = b"" if body is None else json.dumps(body).encode()
    headers = trader.account.headers(int(network.wall()), method, path, raw)
    answer = await client.request(method, path, content=raw, headers=headers)
    return {"http": answer.status_code, **answer.json()}


def test_an_order_sent_over_http_is_matched_a_quarter_of_a_second_after_it_arrived() -> None:
    trader = rig()
    body = trader.body(9_900_000, 10_000_000)
    look_up = f"/data/order/{order_id_of(body['order'])}"

    async def main() -> list[str]:
        async with VirtualVenue(trader.exchange, services=[trader.desk]) as venue:
            network = venue.network
            assert network.transport is not None
            async with httpx.AsyncClient(transport=network.transport(), base_url=venue.base_url) as client:
                assert (await client.get("/api/geoblock")).json()["blocked"] is False
                placed = await call(client, trader, network, "POST", "/order", body)
                assert (placed["http"], placed["status"]) == (200, "delayed")
                states = []
                while (found := await call(client, trader, network, "GET", look_up, None))["status"] == "DELAYED":
                    states.append(found["status"])
                    await asyncio.sleep(0.05)
                states.append(found["status"])
                assert (await client.get("/book", params={"token_id": trader.token})).status_code == 200
                return states

    states = run_virtual(main, start_ms=trader.exchange.now_ms)
    assert states[-1] == "MATCHED"
    assert 3 <= len(states) <= 6
    order = trader.broker.order(order_id_of(body["order"]))
    assert order is not None
    assert order.fills[0].at_ms == order.accepted_ms + 250
    trader.ledger.audit()


def test_an_answer_that_never_comes_is_a_timeout_and_the_order_is_there() -> None:
    trader = rig(rates=OrderFaultRates(answer_lost=1))
    body = trader.body(9_900_000, 10_000_000)

    async def main() -> dict:
        async with VirtualVenue(trader.exchange, services=[trader.desk]) as venue:
            network = venue.network
            assert network.transport is not None
            transport = network.transport()
            async with httpx.AsyncClient(transport=transport, base_url=venue.base_url, timeout=2.0) as client:
                with pytest.raises(httpx.ReadTimeout):
                    await call(client, trader, network, "POST", "/order", body)
                path = f"/data/order/{order_id_of(body['order'])}"
                return await call(client, trader, network, "GET", path, None)

    assert run_virtual(main, start_ms=trader.exchange.now_ms)["status"] == "MATCHED"


def test_the_user_channel_speaks_in_virtual_time_though_the_market_is_quiet() -> None:
    trader = rig(exchange=ExchangeConfig(seed=3, flow=FlowConfig(rate=0.001)))
    body = trader.body(200_000, 10_000_000, kind="GTC")

    async def main() -> list[str]:
        venue = VirtualVenue(trader.exchange, services=[trader.desk], feeds=[trader.desk.users])
        async with venue:
            network = venue.network
            assert network.transport is not None
            wire = await network.open_wire(venue.stream_url("/ws/user"), StreamConfig(), {}, network.wall)
            await wire.send(json.dumps({"type": "user", "auth": trader.account.credentials, "markets": []}))
            await asyncio.sleep(30)
            async with httpx.AsyncClient(transport=network.transport(), base_url=venue.base_url) as client:
                await call(client, trader, network, "POST", "/order", body)
                before = network.wall()
                placed = await wire.recv()
                assert network.wall() - before < 0.5
                await call(client, trader, network, "DELETE", "/cancel-all", None)
                heard = [json.loads(each)["type"] for each in (placed, await wire.recv())]
                wire.abort()
                return heard

    assert run_virtual(main, start_ms=trader.exchange.now_ms) == ["PLACEMENT", "CANCELLATION"]

"""The clients of price feeds over real sockets: the simulated feeds as a server, and frames that are binary."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal

import pytest
from websockets.asyncio.server import serve

from bots.updown.oracles.factory import OracleSettings, make_oracle
from bots.updown.oracles.keys import ChainlinkKeys
from polymirror.simulator.feeds import PolyboltFeed
from polymirror.simulator.feeds.reports import encode_report, feed_id
from polymirror.simulator.server import Simulator
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.venue.network import REAL
from tests.bots.oracle_rig import ASSETS, CLOB_KEYS, PRICES

pytestmark = pytest.mark.anyio

PATIENCE = 60.0
"""Seconds after which a test gives up; nothing waits for them when all is well."""


async def run_until_a_tick(oracle):
    """Run an oracle until it tells a price, and return that."""
    heard = asyncio.get_running_loop().create_future()
    oracle.on_tick(lambda tick: heard.done() or heard.set_result(tick))
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        running = group.create_task(oracle.run())
        tick = await heard
        running.cancel()
    return tick


async def test_the_simulated_relay_serves_real_sockets():
    config = ExchangeConfig(flow=FlowConfig.thin(), new_market_every_ms=None)
    feed = PolyboltFeed(PRICES, ASSETS, lag_ms=(0, 0), missing=0)
    async with Simulator(config=config, feeds=[feed]) as venue:
        settings = OracleSettings(source="polybolt", assets=ASSETS, url=venue.stream_url(feed.path))
        oracle = make_oracle(settings, REAL, clob_keys=CLOB_KEYS)
        tick = await run_until_a_tick(oracle)
    assert tick.price == PRICES.of(tick.kind, tick.asset, tick.at_ms)
    assert not oracle.stale(tick.asset, time.monotonic(), tick.kind)
    # From its snapshot.
    assert oracle.buffer.count(tick.asset, tick.kind) > 100


@pytest.mark.parametrize("binary", [True, False])
async def test_reports_are_read_from_binary_and_from_text_frames(binary):
    feed, observed, requests = feed_id("btc", version=3), int(time.time()), []
    report = {
        "feedID": feed,
        "fullReport": encode_report(feed, Decimal("65000.5"), observed),
        "validFromTimestamp": observed,
        "observationsTimestamp": observed,
    }

    async def speak(connection):
        requests.append(connection.request)
        text = json.dumps({"report": report})
        await connection.send(text.encode() if binary else text)
        await connection.wait_closed()

    async with serve(speak, "127.0.0.1", 0, close_timeout=0.2) as server:
        port = server.sockets[0].getsockname()[1]
        settings = OracleSettings(
            source="chainlink",
            assets=("btc",),
            kinds=("spot",),
            url=f"ws://127.0.0.1:{port}",
            chainlink_spot={"btc": feed},
        )
        keys = ChainlinkKeys(**dict.fromkeys(("client_id", "user_secret"), "made-up"))
        oracle = make_oracle(settings, REAL, chainlink_keys=keys)
        tick = await run_until_a_tick(oracle)
    assert (tick.price, tick.at_ms) == (Decimal("65000.5"), observed * 1_000)
    # The address arrives as it was signed, and with it the signature.
    assert requests[0].path == f"/api/v1/ws?feedIDs={feed}"
    assert requests[0].headers["Authorization"] == "made-up"
    assert len(requests[0].headers["X-Authorization-Signature-SHA256"]) == 64

"""The page of a bot: where its mirrors serve their status, with the bot's health, and that it trades without it."""

from __future__ import annotations

import asyncio
import re
import socket

import httpx
import pytest
from attrs import evolve

from bots.common.operate.health import Health, Vital
from bots.common.operate.page import StatusSettings
from bots.common.secrets import Secret
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.strategy import plan_of
from polymirror import ConfigError, Mirror
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.network import REAL
from tests.bots.test_operating import START_MS, TWO, Life

anyio = pytest.mark.anyio


@pytest.fixture
def pages(caplog):
    """Return where pages are served, as the log has it; their ports are those that the system gives."""
    caplog.set_level("INFO", "bots")
    return lambda: re.findall(r"the status of \w+ is at (\S+)", caplog.text)


@anyio
async def test_each_mirror_has_a_page_and_the_bots_health_is_in_each(pages):
    ill = []
    health = Health([lambda: Vital("ledger", not ill, "9 rows wait for the disk")], REAL)
    settings = StatusSettings(http="127.0.0.1:0")
    async with Mirror() as first, Mirror() as second, httpx.AsyncClient() as client:
        for number, mirror in enumerate((first, second)):
            await settings.page_of(number, "btc", lambda: health.problems)(mirror)
        assert len(set(pages())) == 2
        for page in pages():
            assert (await client.get(f"{page}health")).status_code == 200
        ill.append(1)
        health.check()
        for page in pages():
            async with asyncio.timeout(30):
                while (answer := await client.get(f"{page}health")).status_code == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert answer.json()["problems"] == ["ledger: 9 rows wait for the disk"]


@anyio
async def test_a_port_that_is_taken_is_a_warning_and_nothing_more(caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = StatusSettings(http=str(taken.getsockname()[1]))
        async with Mirror() as mirror:
            await settings.page_of(0, "btc", list)(mirror)
    assert "the status of btc is not served: " in caplog.text
    assert "in use" in caplog.text


@pytest.mark.parametrize("http", ["x", "127.0.0.1", ":1", "65500", 8080])
def test_an_address_that_is_none_or_has_no_room_for_all_is_refused(http):
    with pytest.raises(ConfigError, match="http="):
        StatusSettings(http=http)


def test_nothing_is_served_unless_it_is_wanted():
    assert plan_of(BotSettings()).status.http == ""


def test_the_bot_serves_the_status_of_each_asset_with_its_health(monkeypatch):
    served = {}

    async def serve(self, host, port, *, names, title, health):
        served[title] = (host, port, names, health)
        return self

    monkeypatch.setattr(Mirror, "serve_status", serve)
    monkeypatch.setattr(Mirror, "url", "there", raising=False)
    life = Life(evolve(TWO, status=StatusSettings(http="8080", names=("proxy",))))

    async def main():
        async with life.stage.venue:
            task = asyncio.create_task(life.make().run())
            while len(served) < 2 or life.bot.health is None or life.bot.health.last is None:  # noqa: ASYNC110
                await asyncio.sleep(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run_virtual(main, start_ms=START_MS, limit=1_000.0)
    assert {title: each[:3] for title, each in served.items()} == {
        "btc": ("127.0.0.1", 8080, ("proxy",)), "eth": ("127.0.0.1", 8081, ("proxy",)),
    }  # fmt: skip
    assert served["btc"][3]() == life.bot.health.problems


@anyio
async def test_no_secret_is_shown_whatever_a_part_says_of_itself(pages):
    key = Secret("0123456789abcdef0123456789abcdef")
    async with Mirror() as mirror, httpx.AsyncClient() as client:
        settings = StatusSettings(http="0")
        await settings.page_of(0, "btc", lambda: [f"tasks: failed ({key.reveal()})"])(mirror)
        answer = await client.get(f"{pages()[0]}health")
        assert answer.status_code == 503
        assert "tasks: failed" in answer.text
        assert key.reveal() not in answer.text

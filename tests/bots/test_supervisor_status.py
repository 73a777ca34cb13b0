"""The status of a fleet as a whole: served on a real port while it trades on paper, and gone with it."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from decimal import Decimal

import httpx
import pytest
from attrs import evolve

from bots.common.ledger.database import inline
from bots.common.operate.page import StatusSettings
from bots.pair_cost.bot import PairBot
from bots.supervisor.live import run_live
from polymirror.simulator import Simulator
from polymirror.simulator.outfit import Outfit
from polymirror.simulator.settings import ExchangeConfig, PairsConfig
from tests import browser
from tests.bots.test_pair_cost import settings_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


class Failing(PairBot):
    """A bot whose engines can be made to fail."""

    fails = False

    def engine(self, market, terms, mirror, manager):
        made = super().engine(market, terms, mirror, manager)
        inner = made.look

        def look():
            if self.fails:
                raise RuntimeError("an engine that fails")
            inner()

        made.look = look
        return made


@asynccontextmanager
async def flying(folder, caplog):
    """A bot on paper on four markets of a venue on this machine; yield it and where its status is."""
    folder.chmod(0o700)
    caplog.set_level("INFO", "bots")
    outfit, bots = Outfit(), []
    config = ExchangeConfig(seed=3, markets=4, pairs=PairsConfig(every_s=10), new_market_every_ms=None)
    async with Simulator(config=config, feeds=outfit.feeds, services=outfit.services) as venue:
        settings = settings_of()
        settings = evolve(
            settings,
            folder=folder,
            mirror=evolve(settings.mirror, endpoints=venue.endpoints),
            status=StatusSettings(http="127.0.0.1:0"),
            targets=str(folder / "targets.json"),
            universe=evolve(settings.universe, min_volume=Decimal(0)),
        )

        def make(world):
            bots.append(Failing(evolve(settings.plan(), health_every=0.2), world))
            return bots[0]

        running = asyncio.create_task(
            run_live(
                make,
                settings,
                for_real=False,
                least=Decimal(1),
                tell=lambda _text: None,
                offload=inline,
                geoblock=f"{venue.base_url}/api/geoblock",
            )
        )
        while not (found := re.search(r"the status of pair_cost is at (\S+)", caplog.text)):
            assert not running.done(), await running
            await asyncio.sleep(0.05)
        yield bots[0], found[1]
        bots[0].drain("the test is over")
        assert await running == 0


async def until(client, url, wanted):
    """Ask again and again until the answer is as wanted."""
    while not wanted(answer := await client.get(url)):  # noqa: ASYNC110 - a server tells nobody
        await asyncio.sleep(0.05)
    return answer


async def test_health_status_metrics_and_page_are_those_of_all_markets(tmp_path, caplog):
    async with httpx.AsyncClient() as client:
        async with flying(tmp_path, caplog) as (bot, url):
            await until(client, f"{url}health", lambda answer: answer.json() == {"ok": True, "problems": []})
            await until(client, f"{url}ready", lambda answer: answer.status_code == 200)
            metrics = await until(client, f"{url}metrics", lambda answer: 'state="LIVE"} 8.0' in answer.text)
            assert metrics.status_code == 200
            books = (await client.get(f"{url}status")).json()["tokens"]
            assert {book["slug"] for book in books} == {market.slug for market in bot.survey.taken}
            assert len(books) == 8
            (target,) = json.loads((tmp_path / "targets.json").read_text())
            assert target["targets"] == [httpx.URL(url).netloc.decode()]
            page = await client.get(url)
            assert page.headers["content-type"].startswith("text/html")
            # An engine that fails again and again makes the whole bot unwell, and its recovery makes it well.
            bot.fails = True
            unwell = await until(client, f"{url}health", lambda answer: answer.status_code == 503)
            assert any("engines" in problem for problem in unwell.json()["problems"])
            bot.fails = False
            await until(client, f"{url}health", lambda answer: answer.status_code == 200)
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


@pytest.mark.skipif(browser.PATH is None, reason="there is no chromium: apt-get install chromium")
async def test_the_page_shows_every_book_of_all_markets(tmp_path, caplog):
    ledgers, profile = tmp_path / "ledgers", tmp_path / "profile"
    ledgers.mkdir()
    async with flying(ledgers, caplog) as (_, url), browser.browsing(profile) as page:
        await page.open(url)
        await page.until("document.querySelector('#live')?.textContent === '8/8 LIVE'")
        # As many rows are made as there is room for.
        await page.until("document.querySelectorAll('#rows .row[data-state=LIVE]').length >= 5")
        assert await page.text("#title") == "pair_cost"
        assert page.errors == []

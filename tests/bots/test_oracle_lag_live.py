"""The bot on real sockets, a real clock and a real disk: on paper, against the embedded exchange on loopback."""

from __future__ import annotations

import asyncio
import logging

import pytest
from attrs import evolve

from bots.common.state import NAME as STATE
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import paper, run
from polymirror.config import MirrorConfig
from polymirror.simulator import Simulator
from polymirror.simulator.broker import Broker
from polymirror.simulator.feeds import RtdsFeed
from polymirror.simulator.ledger import Ledger
from polymirror.simulator.order_desk import Geo, OrderDesk
from polymirror.simulator.settings import ExchangeConfig, RoundsConfig
from tests.bots.test_oracle_lag import ONE, play


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def on_loopback(folder, *, blocked):
    """Run the bot on paper until its state file is there, or until it ends; return what it said and its exit code."""
    said = []

    async def main():
        config = ExchangeConfig(rounds=RoundsConfig(assets=("btc",)))
        venue = Simulator(
            config=config,
            feeds=lambda exchange: [RtdsFeed(exchange.oracle, ("btc",))],
            services=lambda exchange: [OrderDesk(Broker(exchange, Ledger()), [], geo=Geo(blocked=blocked))],
        )
        async with venue:
            settings = BotSettings(assets=("btc",), folder=folder, mirror=MirrorConfig(endpoints=venue.endpoints))
            settings = evolve(settings, oracle=evolve(settings.oracle, url=venue.stream_url("/ws/rtds")))
            work = run(settings, for_real=False, tell=said.append, geoblock=f"{venue.base_url}/api/geoblock")
            async with asyncio.TaskGroup() as group:
                running = group.create_task(work)
                async with asyncio.timeout(20):
                    while not running.done() and not (folder / STATE).exists():  # noqa: ASYNC110 - the disk tells nobody
                        await asyncio.sleep(0.02)
                running.cancel()
        return None if running.cancelled() else running.result()

    code = asyncio.run(main())
    return "\n".join(said), code


def test_on_paper_it_checks_everything_and_then_runs(tmp_path):
    said, code = on_loopback(tmp_path / "files", blocked=False)
    assert code is None
    for name in ("region", "clock", "files", "prices", "books"):
        assert f"{name}: " in said
    assert "->" not in said


def test_a_region_that_is_not_served_ends_it(tmp_path):
    said, code = on_loopback(tmp_path / "files", blocked=True)
    assert code == 3
    assert "do not trade from here" in said
    assert not (tmp_path / "files" / STATE).exists()


def test_paper_orders_never_reach_the_venue_and_are_paid_from_paper_money():
    bot, stage = play(ONE, executor=lambda bot: paper(ONE, bot), minutes=25)
    totals = bot.account.totals
    assert totals.fills > 0
    assert totals.won + totals.lost > 0
    assert totals.profit == totals.cash + sum(held.cost for held in bot.account.positions.values())
    assert stage.judge.verdict().accepted == 0

"""The bot on real sockets, a real clock and a real disk: on paper, against the embedded exchange on loopback."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from types import SimpleNamespace

import pytest
from attrs import evolve

from bots.common.errors import BotError
from bots.common.ledger.database import Database, inline
from bots.common.ledger.reader import LedgerReader
from bots.common.operate.account import alone
from bots.common.operate.settings import SettingsError, build
from bots.oracle_lag.__main__ import main
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import lacking, paper, run, run_live
from polymirror.config import MirrorConfig
from polymirror.simulator import Simulator
from polymirror.simulator.feeds import RtdsFeed
from polymirror.simulator.orders.broker import Broker
from polymirror.simulator.orders.desk import Geo, OrderDesk
from polymirror.simulator.orders.ledger import Ledger
from polymirror.simulator.settings import ExchangeConfig, RoundsConfig
from tests.bots.test_oracle_lag import ONE, play


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def on_loopback(folder, *, blocked, end=asyncio.Task.cancel):
    """Run the bot on paper until its first copy is there, then ``end`` it; return what it said and its exit code."""
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
                    while not running.done() and not list(folder.glob("*.copy-*")):  # noqa: ASYNC110 - the disk tells nobody
                        await asyncio.sleep(0.02)
                end(running)
        return None if running.cancelled() else running.result()

    code = asyncio.run(main())
    return "\n".join(said), code


def test_on_paper_it_checks_everything_and_then_runs(tmp_path):
    said, code = on_loopback(tmp_path / "files", blocked=False)
    assert code is None
    for name in ("region", "clock", "ledger", "prices", "books"):
        assert f"{name}: " in said
    assert "->" not in said
    assert "refused: book not LIVE" in said, "whoever stops it sees what it came to"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_it_gently_with_a_summary_and_no_loss(tmp_path, name):
    number = getattr(signal, name)
    said, code = on_loopback(tmp_path, blocked=False, end=lambda _task: os.kill(os.getpid(), number))
    assert code == 0
    assert "refused: book not LIVE" in said
    with LedgerReader(tmp_path / "paper-account.sqlite") as reader:
        told = reader.query("SELECT kind, text FROM notices ORDER BY seq")
    assert told[0][0] == "start"
    assert told[-1] == ("stop", f"the bot ends: signal {name}; 0 positions are kept, 0 orders are unknown")
    assert Database.of(tmp_path, "paper", "").read("PRAGMA quick_check") == [("ok",)], "and lets go of its ledger"


def test_a_region_that_is_not_served_ends_it(tmp_path):
    said, code = on_loopback(tmp_path / "files", blocked=True)
    assert code == 3
    assert "do not trade from here" in said
    assert not list((tmp_path / "files").glob("*.copy-*"))


THREE = dict.fromkeys(("POLYMARKET_API_KEY", "POLYMARKET_API_SECRET", "POLYMARKET_API_PASSPHRASE"), "q7-q7-q7")
GOOD = {"POLYMARKET_PRIVATE_KEY": "0x1111"} | THREE
SURE = {"confirm_live": "I may lose this money"}


@pytest.mark.parametrize(
    ("values", "environment", "words"),
    [
        ({}, GOOD, "not confirmed"),
        (SURE, {}, "POLYMARKET_PRIVATE_KEY is not set"),
        (SURE, GOOD | {"POLYMARKET_API_SECRET": ""}, "belong together"),
        (SURE, GOOD | {"POLYMARKET_RELAYER_KEY": "q7-q7-q7"}, "relayer_address"),
        (SURE | {"relayer_address": "0x2"}, GOOD, "POLYMARKET_RELAYER_KEY"),
        (SURE | {"telegram_chat": "1"}, GOOD, "TELEGRAM_TOKEN"),
        (SURE | {"oracle": {"source": "polybolt"}}, {"POLYMARKET_PRIVATE_KEY": "0x1111"}, "polybolt"),
        (SURE | {"oracle": {"source": "chainlink"}}, GOOD, "CHAINLINK_CLIENT_ID"),
        (SURE | {"oracle": {"source": "simulated"}}, GOOD, "real feed"),
    ],
)
def test_what_is_missing_is_told_in_a_line_before_anybody_is_asked(values, environment, words):
    with pytest.raises(SettingsError) as error:
        run_live(build(BotSettings, values, environment), for_real=True, tell=print)
    assert len(error.value.problems) == 1
    assert words in error.value.problems[0]


def test_nothing_is_missing_with_all_credentials_and_on_paper_none_is_needed():
    assert lacking(build(BotSettings, SURE, GOOD), for_real=True) == ()
    assert lacking(BotSettings(), for_real=False) == ()


@pytest.mark.parametrize("option", [("--rounds", "4"), ("--seed", "0"), ("--kills", "0"), ("--storm",), ("--json",)])
def test_real_orders_are_not_sent_for_whoever_asks_for_a_simulation(option, capsys):
    for mode in ("--live", "--live-data"):
        with pytest.raises(SystemExit) as end:
            main([mode, *option])
        assert end.value.code == 2
        assert f"{option[0]} is only for the embedded exchange" in capsys.readouterr().err


def test_a_folder_that_cannot_be_one_is_told_in_a_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    config = tmp_path / "bot.toml"
    config.write_text(f"folder = '{tmp_path / 'file'}'")
    assert main(["--live-data", "--config", str(config)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "set another folder" in said


def test_a_wallet_that_has_a_ledger_under_another_name_is_not_traded_for_with_a_second_one(tmp_path):
    signer, deposit, other = "0x51", "0xDE", "0x99"

    def start(name, address):
        database = Database.of(tmp_path, "live", name)
        database.copy_of_day("20261130")
        try:
            asyncio.run(alone(SimpleNamespace(store=database, offload=inline), tmp_path, name, address))
        finally:
            database.close()

    start(signer, deposit)
    start(signer, deposit)
    start(other, other)
    with pytest.raises(BotError, match=r"live-0x51\.sqlite is of the same wallet, 0xDE"):
        start(deposit, deposit)


def test_paper_orders_never_reach_the_venue_and_are_paid_from_paper_money():
    bot, stage = play(ONE, executor=lambda bot: paper(ONE, bot), minutes=25)
    totals = bot.account.totals
    assert totals.fills > 0
    assert totals.won + totals.lost > 0
    assert totals.profit == totals.cash + sum(held.cost for held in bot.account.positions.values())
    assert stage.judge.verdict().accepted == 0

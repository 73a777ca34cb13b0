"""A rehearsal of live trading: only on this machine, only on a simulated venue, only with a made-up wallet."""

from __future__ import annotations

import asyncio
import logging

import pytest

from bots.common.operate.settings import SettingsError
from bots.oracle_lag.__main__ import main
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import run
from bots.oracle_lag.rehearse import rehearsal
from polymirror.errors import MissingExtra
from polymirror.simulator import Simulator
from polymirror.simulator.outfit import Outfit, OutfitConfig
from polymirror.simulator.settings import ExchangeConfig, RoundsConfig


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_without_the_sdk_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "eth_account", None)
    with pytest.raises(MissingExtra, match=r"polymirror\[live\]"):
        rehearsal(BotSettings(), "http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["https://clob.polymarket.com", "http://10.0.0.1:80", "nothing", "https://127.0.0.1:1"])
def test_a_venue_elsewhere_is_refused(url):
    pytest.importorskip("polymarket")
    with pytest.raises(SettingsError, match="this machine"):
        rehearsal(BotSettings(), url)


def test_a_venue_that_is_not_there_is_refused():
    pytest.importorskip("polymarket")
    with pytest.raises(SettingsError, match="no 'polymirror serve' answers"):
        rehearsal(BotSettings(), "http://127.0.0.1:9")


def test_it_is_only_for_live_trading(capsys):
    with pytest.raises(SystemExit):
        main(["--venue", "http://127.0.0.1:9"])
    assert "only for --live" in capsys.readouterr().err


def test_a_rehearsal_goes_on_with_its_wallet_as_long_as_the_venue_runs(tmp_path):
    pytest.importorskip("polymarket")
    folders = [BotSettings(folder=tmp_path / name) for name in ("one", "one", "two")]

    async def wallets(instance):
        outfit = Outfit(OutfitConfig(instance=instance))
        async with Simulator(config=ExchangeConfig(seed=1), feeds=outfit.feeds, services=outfit.services) as venue:
            return [(await asyncio.to_thread(rehearsal, each, venue.base_url)).settings.wallet for each in folders]

    first, again, elsewhere = asyncio.run(wallets("a"))
    assert first == again != elsewhere
    assert first not in asyncio.run(wallets("b"))


def test_the_whole_bot_passes_its_checks_with_the_venue_s_sdk(tmp_path, monkeypatch):
    pytest.importorskip("polymarket")
    monkeypatch.setenv("POLYMARKET_PRIVATE_KEY", "0x" + "33" * 32)
    said = []

    async def rehearse():
        outfit = Outfit()
        config = ExchangeConfig(seed=1, rounds=RoundsConfig(assets=("btc",)))
        async with Simulator(config=config, feeds=outfit.feeds, services=outfit.services) as venue:
            settings = BotSettings(assets=("btc",), folder=tmp_path)
            practice = await asyncio.to_thread(rehearsal, settings, venue.base_url)
            assert practice.settings.keys.private_key.reveal() not in {"", "0x" + "33" * 32}
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(12):
                    await run(
                        practice.settings,
                        for_real=True,
                        tell=said.append,
                        geoblock=practice.geoblock,
                        environment=practice.environment,
                    )
            return practice.settings.wallet, list(outfit.broker.ledger.accounts)

    wallet, known = asyncio.run(rehearse())
    assert wallet in known
    told = "\n".join(said)
    for line in ("credentials: accepted", "allowances: given", "balance: 1000 pUSD", "books: 2 books LIVE"):
        assert line in told

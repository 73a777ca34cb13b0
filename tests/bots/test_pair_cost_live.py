"""Real orders for pairs: what is asked before, and the whole bot with the venue's SDK on a simulated venue."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.operate.rehearse import rehearsal
from bots.pair_cost.__main__ import main
from bots.pair_cost.bot import PairBot
from bots.supervisor.live import run_live
from polymirror.simulator import Simulator
from polymirror.simulator.outfit import Outfit, OutfitConfig
from polymirror.simulator.settings import ExchangeConfig, PairsConfig
from tests.bots.test_pair_cost import settings_of


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_without_the_words_and_the_key_nothing_real_begins(capsys, monkeypatch):
    monkeypatch.delenv("POLYMARKET_PRIVATE_KEY", raising=False)
    assert main(["--live"]) == 2
    err = capsys.readouterr().err
    assert "confirm_live" in err
    assert "POLYMARKET_PRIVATE_KEY is not set" in err


@pytest.mark.parametrize(
    "option", [("--minutes", "30"), ("--markets", "50"), ("--seed", "3"), ("--storm",), ("--json",)]
)
@pytest.mark.parametrize("mode", ["--live", "--live-data"])
def test_whoever_asks_for_half_an_hour_gets_no_endless_run(mode, option, capsys):
    with pytest.raises(SystemExit):
        main([mode, *option])
    assert f"{option[0]} is only for the embedded exchange" in capsys.readouterr().err


def test_a_settings_file_that_others_may_change_is_refused(tmp_path, capsys):
    file = tmp_path / "bot.toml"
    file.write_text("")
    file.chmod(0o666)
    assert main(["--live", "--config", str(file)]) == 2
    assert "bot.toml" in capsys.readouterr().err


def test_a_rehearsal_is_only_for_real_orders(capsys):
    with pytest.raises(SystemExit):
        main(["--venue", "http://127.0.0.1:9"])
    assert "only for --live" in capsys.readouterr().err


def test_a_second_run_into_the_same_folder_is_refused(tmp_path, capsys):
    tmp_path.chmod(0o700)
    play = ["--markets", "2", "--minutes", "1", "--json", "--keep", str(tmp_path)]
    main(play)
    assert main(play) == 1
    assert "holds a run already" in capsys.readouterr().err


def on_a_venue_of_its_own(folder, *, blocked=False, until=lambda _bot: False):
    """Rehearse until that is so; return the exit code, what was told, the bot and the venue's ledger of the wallet."""
    folder.chmod(0o700)
    told, bots = [], []

    async def rehearse():
        outfit = Outfit(OutfitConfig(blocked=blocked))
        config = ExchangeConfig(seed=3, markets=8, pairs=PairsConfig(every_s=10), new_market_every_ms=None)
        async with Simulator(config=config, feeds=outfit.feeds, services=outfit.services) as venue:
            settings = settings_of()
            settings = evolve(settings, folder=folder, universe=evolve(settings.universe, min_volume=Decimal(0)))
            practice = await asyncio.to_thread(rehearsal, settings, venue.base_url)

            def make(world):
                bots.append(PairBot(practice.settings.plan(), world))
                return bots[0]

            async def end():
                while not (bots and until(bots[0])):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.1)
                bots[0].drain("the test is over")

            ending = asyncio.create_task(end())
            code = await run_live(
                make, practice.settings, for_real=True, least=Decimal(40), tell=told.append,
                geoblock=practice.geoblock, environment=practice.environment,
            )  # fmt: skip
            ending.cancel()
            outfit.broker.ledger.audit()
            return code, outfit.broker.ledger.accounts.get(practice.settings.wallet)

    code, account = asyncio.run(rehearse())
    return code, "\n".join(told), bots, account


@pytest.mark.timeout(180)
def test_pairs_are_bought_and_merged_with_the_venue_s_own_sdk(tmp_path):
    pytest.importorskip("polymarket")
    code, told, (bot,), account = on_a_venue_of_its_own(
        tmp_path, until=lambda bot: bot.account.totals.received > 0 and not bot.account.open
    )
    assert code == 0
    for line in ("region", "credentials: accepted", "allowances: given", "balance: 1000 pUSD", "chain: 1000 pUSD"):
        assert line in told
    assert "On paper only" not in told
    assert list(tmp_path.glob("live-0x*.sqlite"))
    totals = bot.account.totals
    assert Decimal(account.cash).scaleb(-6) == totals.moved + totals.cash


def test_nobody_logs_in_where_the_venue_serves_nobody(tmp_path):
    pytest.importorskip("polymarket")
    code, told, bots, account = on_a_venue_of_its_own(tmp_path, blocked=True)
    assert code == 3
    assert "region" in told
    assert "nobody logs in" in told
    assert bots == []
    assert account is None

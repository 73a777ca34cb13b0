"""The bot that is there to be copied: it trades, and what a copy gets wrong shows."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from attrs import evolve

from bots.__main__ import main as look
from bots.cheap.__main__ import CheapBot, CheapSettings, main
from bots.common.ledger.database import Database
from bots.common.operate.profiles import layered
from bots.testing.fleets import exchange_of, play, simulate

SMALL = {"markets": 4, "minutes": 2, "seed": 3}


def test_it_trades_by_its_defaults_and_its_books_are_those_of_the_exchange():
    found = simulate(CheapBot, CheapSettings(), **SMALL)
    assert found["orders"] >= 1
    assert found["held"] >= 1
    assert found["clean"] is True


def test_its_command_keeps_a_ledger_that_the_commands_for_ledgers_read(tmp_path, capsys):
    folder = tmp_path / "kept"
    assert main(["--markets", "4", "--minutes", "2", "--keep", str(folder), "--json"]) == 0
    traded = json.loads(capsys.readouterr().out)["orders"]
    assert look(["trades", "--folder", str(folder), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trades"]) == traded >= 1


def test_it_shows_which_markets_it_would_trade(capsys):
    assert main(["universe", "--simulate", "--markets", "4"]) == 0
    assert "taken" in capsys.readouterr().out


def test_a_bot_without_profiles_has_the_base_profile_alone(capsys):
    assert layered(CheapSettings, None, environment={}).settings == CheapSettings()
    assert main(["--profile", "nothing"]) == 2
    assert "it must be one of base" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_again_and_again_it_buys_in_no_market_twice():
    store = Database()
    found = simulate(CheapBot, CheapSettings(), markets=6, minutes=10, seed=3, kills=10, store=store)
    assert found["kills"] == 10
    assert found["clean"] is True
    traded = [market for (market,) in store.read("SELECT market FROM fates WHERE traded_e6 > 0")]
    assert len(traded) == len(set(traded)) >= 1


# ---- A copy that is wrong --------------------------------------------------------------------------


def played(engine):
    class Copy(CheapBot):
        def engine(self, market, terms, mirror, manager):
            made = super().engine(market, terms, mirror, manager)
            made.run = engine
            return made

    settings = CheapSettings()
    settings = evolve(settings, universe=evolve(settings.universe, max_markets=4))
    bots = []

    def make(world, until_ms):
        bots.append(Copy(settings, world, until_ms))
        return bots[-1]

    return play(make, exchange_of(4, 3), live=settings.live, minutes=2), bots[-1]


def test_a_run_whose_engines_fail_is_not_clean():
    async def fails():
        raise NameError("name 'Decimal' is not defined")

    found, bot = played(fails)
    assert found["restarts"] >= 4
    assert found["ledger_difference"] == Decimal(0)
    assert found["clean"] is False
    assert "engines: 0 of 4 markets run" in str(bot.health.last)


def test_engines_that_are_done_are_well():
    async def returns():
        pass

    found, bot = played(returns)
    assert found["clean"] is True
    assert "engines: 4 of 4 markets run" in str(bot.health.last)

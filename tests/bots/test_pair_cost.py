"""The second bot as a whole on the embedded exchange, and its engines one by one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from decimal import Decimal
from functools import cache

import pytest
from attrs import evolve

from bots.common.errors import Unanswered
from bots.common.execution.base import Trade
from bots.common.ledger.database import Database, inline
from bots.common.ledger.lone import lone_at_worst, lone_cost
from bots.common.operate.app import World
from bots.common.operate.profiles import layered
from bots.common.orders.order import Side
from bots.pair_cost.__main__ import PROFILES, main
from bots.pair_cost.bot import PairBot
from bots.pair_cost.config import PairBotSettings
from bots.pair_cost.simulate import simulate
from bots.testing.fleets import exchange_of
from bots.testing.stage import Stage
from polymirror.simulator.settings import DEFAULT_START_MS, PairsConfig
from polymirror.simulator.virtual import run_virtual

NINE = "9"


@cache
def settings_of(profile: str = "base") -> PairBotSettings:
    return layered(PairBotSettings, PROFILES, profile, environment={}).settings


@pytest.fixture(scope="module")
def played():
    """Six markets for four minutes."""
    return simulate(settings_of(), markets=6, minutes=4, seed=3)


def test_pairs_are_bought_merged_and_worth_more_than_they_cost(played):
    assert played["pairs"] >= 3
    assert played["merges"] >= 3
    assert played["merged"] > 0
    assert played["locked_profit"] > 0


def test_its_books_are_those_of_the_exchange_to_the_last_unit(played):
    assert played["ledger_difference"] == 0
    assert played["share_differences"] == {}
    assert played["unresolved"] == 0
    assert played["clean"] is True


def test_no_pair_costs_more_than_its_limit_and_no_order_rests_on_a_book_that_is_not_proven(played):
    assert played["above_limit"] == 0
    assert played["dearest_pair"] <= settings_of().pair.max_pair_cost
    assert played["orders_on_non_live"] == played["orders_on_wrong_book"] == played["duplicate_orders"] == 0


def test_others_are_there_too_and_no_market_starves(played):
    assert played["moments"]["rivals"] > 0
    assert played["fairness"]["starved"] == 0
    assert played["fairness"]["max_orders"] >= played["fairness"]["min_orders"] >= 1


def test_the_same_seed_plays_the_same_run():
    small = {"markets": 4, "minutes": 2, "seed": 11}
    assert simulate(settings_of(), **small) == simulate(settings_of(), **small)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [6])
def test_a_bot_that_is_killed_and_started_again_buys_nothing_twice_and_loses_nothing(kills):
    found = simulate(settings_of(), markets=8, minutes=5, seed=5, kills=kills)
    assert found["kills"] == kills
    assert found["clean"] is True
    assert found["duplicate_orders"] == 0


@pytest.mark.slow
def test_a_storm_loses_nothing_either():
    found = simulate(settings_of(), markets=6, minutes=6, seed=4, storm=True)
    assert found["orders_on_non_live"] == found["orders_on_wrong_book"] == found["duplicate_orders"] == 0
    assert found["above_limit"] == 0


# ---- A fleet by hand -------------------------------------------------------------------------------


class Watched(PairBot):
    """A bot of which one engine fails, and which notes how late the frames of the other markets are read."""

    failing = ""
    times = 2

    def __init__(self, plan, world):
        super().__init__(plan, world)
        self.lags = Counter()
        self.ran = Counter()

    def engine(self, market, terms, mirror, manager):
        made = super().engine(market, terms, mirror, manager)
        self.ran[market.slug] += 1
        inner = made.look

        def look():
            lag = max((mirror.peek(token).apply_lag or 0.0) for token in market.token_ids)
            self.lags[market.slug] = max(self.lags[market.slug], lag)
            if market.slug == self.failing and self.ran[market.slug] <= self.times:
                raise RuntimeError("an engine that fails")
            inner()

        made.look = look
        return made


def fly(seconds, during=None, *, kind=Watched, settings=None, pairs=None, markets=6, store=None, storm=False):
    """Run a bot for so long on an exchange of its own; return it and the stage."""
    settings = settings or settings_of()
    settings = evolve(settings, universe=evolve(settings.universe, max_markets=markets, refresh_s=10))

    async def play():
        config = evolve(exchange_of(markets, 3), **({} if pairs is None else {"pairs": pairs}))
        stage = Stage.of(config, storm=storm, one_entry=False)
        async with stage.venue:
            network = stage.venue.network
            world = World(
                network=network, endpoints=stage.venue.endpoints, store=store or Database(), offload=inline,
                open_executor=lambda bot: stage.executor(network, settings.live, bot.account.order_ids),
                switch=lambda: None, rng=random.Random("bot"),
            )  # fmt: skip
            bot = kind(settings.plan(), world)
            running = asyncio.create_task(bot.run())
            if during is not None:
                await during(bot, stage)
            await asyncio.sleep(seconds)
            bot.drain("the test is over")
            await running
        return bot, stage

    return run_virtual(play, start_ms=DEFAULT_START_MS, limit=4_000.0)


def test_an_engine_that_fails_is_started_again_alone_and_the_others_see_no_gap():
    async def pick(bot, _stage):
        while not bot.engines:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
        bot.failing = next(iter(bot.survey.taken)).slug

    bot, _ = fly(60, pick)
    assert bot.counts["restarts"] >= 1
    assert bot.ran[bot.failing] >= 2
    others = {slug: lag for slug, lag in bot.lags.items() if slug != bot.failing}
    assert len(others) == 5
    # The virtual link takes some ms: what a held-up loop would add comes on top.
    assert max(others.values()) < 0.05 + 0.05
    assert all(count == 1 for slug, count in bot.ran.items() if slug != bot.failing)


@pytest.mark.slow
def test_markets_that_end_leave_and_others_join_while_it_runs():
    short = PairsConfig(every_s=0, shortest_s=400, longest_s=900, listed_every_s=30)
    bot, _ = fly(900, pairs=short)
    assert bot.counts["left"] + bot.counts["ended"] >= 3
    assert bot.counts["joined"] >= 9
    assert len(bot.engines) <= 6
    assert bot.mirror is not None


class Elsewhere(PairBot):
    """A bot whose wallet was used by somebody else, or that lost its ledger. ``silent``: so often it is not told."""

    silent = 0

    async def look_back(self, manager):
        manager.executor = Asked(manager.executor, self.silent)
        await super().look_back(manager)


class Asked:
    """An executor that lists one trade of an order that nobody here made."""

    def __init__(self, executor, silent):
        self.executor = executor
        self.silent = silent

    async def trades(self, since_ms):
        if self.silent:
            self.silent -= 1
            raise Unanswered("trades", "gone")
        return [
            Trade(
                id="t", order_id="0xelse", market="0xstrange", token=NINE, side=Side.BUY, price=Decimal("0.5"),
                shares=Decimal(5), money=Decimal("2.5"), at_ms=since_ms + 1,
            )
        ]  # fmt: skip

    def __getattr__(self, name):
        return getattr(self.executor, name)


def test_what_the_wallet_traded_without_this_ledger_is_left_alone():
    bot, _ = fly(5, kind=Elsewhere)
    assert list(bot.manager.apart) == ["0xstrange"]
    assert "this ledger does not know of it" in bot.manager.apart["0xstrange"]


class Slow(Elsewhere):
    silent = 2


def test_a_lost_answer_about_what_was_traded_is_asked_for_again():
    bot, _ = fly(15, kind=Slow)
    assert list(bot.manager.apart) == ["0xstrange"]
    assert bot.counts["joined"] >= 1


class Silent(Elsewhere):
    silent = 1_000


def test_nothing_is_traded_when_the_venue_does_not_tell_what_was():
    bot, _ = fly(60, kind=Silent)
    assert bot.counts["joined"] == 0
    with pytest.raises(Unanswered):
        fly(600, kind=Silent)
    bot, _ = fly(5, kind=Silent, settings=evolve(settings_of(), require_reconciliation=False))
    assert bot.counts["joined"] >= 1


# ---- Half a pair -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_after_the_other_never_holds_more_alone_than_its_budget():
    settings = settings_of()
    one_by_one = evolve(settings.pair, sequential=True, first_price=Decimal("0.49"), hedge_limit=Decimal("1.03"))
    most = [Decimal(0)]

    async def watch(bot, _stage):
        for _ in range(240):
            await asyncio.sleep(1)
            most[0] = max(most[0], lone_cost(bot.account.positions.values()))

    bot, stage = fly(1, watch, settings=evolve(settings, pair=one_by_one))
    assert bot.counts["one_legged"] >= 1
    assert 0 < most[0] <= one_by_one.max_one_legged
    held = sum((held.cost for held in bot.account.positions.values()), Decimal(0))
    assert stage.findings(bot.account.totals.profit, held)["ledger_difference"] == 0


@pytest.mark.slow
def test_in_a_storm_no_more_is_held_alone_than_its_budget_and_pairs_are_bought_all_the_same():
    settings = settings_of()
    settings = evolve(settings, pair=evolve(settings.pair, max_one_legged=Decimal(25)))
    alone = []

    async def watch(bot, _stage):
        for _ in range(900):
            await asyncio.sleep(1)
            alone.append((lone_cost(bot.account.positions.values()), lone_at_worst(bot.account)))

    bot, _ = fly(1, watch, settings=settings, storm=True, pairs=PairsConfig(every_s=60))
    assert bot.account.totals.orders >= 10
    assert 0 < max(cost for cost, _ in alone) <= 25
    assert max(worst for _, worst in alone) <= 25


# ---- The command -----------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["base", "15min", "conservative", "crypto", "sports", "test"])
def test_every_profile_is_one_that_can_be_used(profile, capsys):
    assert settings_of(profile).plan().pair.limit_e8 > 0
    assert main(["--print-config", "--profile", profile]) == 0
    printed = capsys.readouterr().out
    assert "risk.second_entry = True  # profile base" in printed
    assert "pair.sequential = False  # default" in printed


def test_a_profile_that_does_not_exist_is_one_line(capsys):
    assert main(["--profile", "huge"]) == 2
    assert capsys.readouterr().err == (
        "--profile huge is not allowed: it must be one of 15min, base, conservative, crypto, sports, test\n"
    )


def test_later_layers_win_and_say_so(tmp_path, monkeypatch, capsys):
    file = tmp_path / "mine.toml"
    file.write_text("[pair]\nmax_shares = 7\n")
    monkeypatch.setenv("POLYMIRROR_BOT_PAIR_EDGE_BUFFER", "0.001")
    assert main(["--print-config", "--profile", "sports", "--config", str(file)]) == 0
    printed = capsys.readouterr().out
    assert f"pair.max_shares = 7  # {file}" in printed
    assert "pair.max_pair_cost = 0.985  # profile sports" in printed
    assert "pair.edge_buffer = 0.001  # environment POLYMIRROR_BOT_PAIR_EDGE_BUFFER" in printed


def test_the_universe_is_shown_with_why_each_market_is_left(capsys):
    assert main(["universe", "--simulate", "--markets", "5"]) == 0
    printed = capsys.readouterr().out
    assert "taken, or why not" in printed
    assert "less than 1000" in printed

"""The whole bot on the embedded exchange: what it earns is in the ledger, whatever breaks and whoever kills it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.execution.live import LiveExecutor
from bots.common.ledger.database import Database, inline
from bots.common.ledger.ledger import Ledger
from bots.common.operate.settings import SettingsError, build
from bots.common.orders.intents import Wish
from bots.common.orders.order import Outcome
from bots.common.risk.limits import RiskLimits
from bots.oracle_lag.__main__ import main
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.simulate import simulate
from bots.oracle_lag.strategy import OracleLag, plan_of
from bots.testing.stage import Stage
from bots.updown.bot import Bot, World
from bots.updown.oracles.factory import make_oracle
from bots.updown.oracles.ticks import TickKind
from bots.updown.stats import RunStats, table
from polymirror.gate import Lease
from polymirror.mirror import Mirror
from polymirror.simulator.faults.base import Plan
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.simulator.feeds.faults import LateTick, ZombieFeed
from polymirror.simulator.settings import DEFAULT_START_MS, QUARTER_MS, RoundsConfig
from polymirror.simulator.surface import gamma
from polymirror.simulator.virtual import run_virtual

SETTINGS = BotSettings()
TWO = evolve(SETTINGS, assets=("btc", "eth"))
ONE = evolve(SETTINGS, assets=("btc",))
START_MS = DEFAULT_START_MS + QUARTER_MS - 90_000


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_a_run_earns_what_the_ledger_says_and_no_order_rests_on_a_book_that_is_not_live(capsys):
    assert main(["--simulate", "--rounds", "4", "--seed", "7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_float=Decimal)
    assert found["rounds"] == found["settled"] == 4
    assert found["trades"] >= 2
    assert found["orders_on_non_live"] == found["orders_on_wrong_book"] == found["duplicate_orders"] == 0
    assert found["unresolved"] == found["lost_positions"] == 0
    assert found["ledger_difference"] == 0
    assert found["pnl"] == found["ledger"] != 0
    assert found["round_detect_ms"]["max"] <= 100
    assert {"win_rate", "refused_non_live"} <= found.keys()


@pytest.mark.slow
def test_a_run_is_the_same_every_time():
    runs = [simulate(ONE, rounds=1, seed=11, storm=True) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0]["signals"] > 0


def test_the_summary_and_the_progress_fit_eighty_columns_without_colour(capsys, tmp_path):
    path = tmp_path / "bot.toml"
    path.write_text("assets = ['btc']")
    assert main(["--config", str(path), "--rounds", "1", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.isascii()
    for words in ("profit", "refused: book not LIVE", "orders"):
        assert words in out


@pytest.mark.parametrize("wrong", [("--rounds", "0"), ("--rounds", "-1"), ("--kills", "-1"), ("--kills", "501")])
def test_a_count_out_of_range_is_refused_with_the_range(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        main(wrong)
    assert end.value.code == 2
    assert "it must be " in capsys.readouterr().err


def test_a_signal_on_a_price_that_nobody_asks_for_is_refused():
    with pytest.raises(SettingsError, match=r"oracle\.kinds"):
        build(BotSettings, {"oracle": {"kinds": ["spot"]}}, {})


@pytest.mark.slow
def test_a_storm_leaves_no_wrong_order_no_duplicate_and_books_that_balance():
    found = simulate(TWO, rounds=2, seed=7, storm=True)
    assert min(found["faults"][where] for where in ("books and calls", "orders", "prices")) > 0
    assert found["clean"], found
    assert found["unresolved"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("storm", "seed"), [(False, 5), (True, 3)])
def test_kills_at_random_instants_lose_no_position_and_repeat_no_order(storm, seed):
    found = simulate(TWO, rounds=4, seed=seed, kills=12, storm=storm)
    assert found["kills"] == 12
    assert found["trades"] > 0
    assert found["clean"], found


# The dangers, with the guards taken away: the judge and the ledger must notice.


@pytest.mark.slow
def test_each_life_knows_the_orders_of_those_before(monkeypatch):
    store, known = Database(), []
    know = LiveExecutor.know
    monkeypatch.setattr(LiveExecutor, "know", lambda self, names: know(self, known.append({*names}) or known[-1]))
    found = simulate(ONE, rounds=2, seed=7, kills=3, store=store)
    assert len(known) == found["kills"] + 1 == 4
    decided = {name for (name,) in store.read("SELECT order_id FROM fates WHERE outcome IS NOT NULL")}
    assert known[-1]
    assert known[-1] <= decided


def test_the_ledger_notices_a_bot_that_takes_silence_for_a_refusal(monkeypatch):
    careful = LiveExecutor.submit

    async def careless(self, order, lease, stopped):
        result = await careful(self, order, lease, stopped)
        return evolve(result, outcome=Outcome.REJECTED) if result.outcome is Outcome.UNKNOWN else result

    monkeypatch.setattr(LiveExecutor, "submit", careless)
    assert not simulate(TWO, rounds=4, seed=1, storm=True)["clean"]


@pytest.mark.slow
def test_the_ledger_notices_a_bot_that_writes_no_intents(monkeypatch):
    monkeypatch.setattr(Ledger, "_write_pending", lambda _self: None)
    assert not simulate(TWO, rounds=2, seed=5, kills=12)["clean"]


EAGER = RiskLimits(
    max_trade=Decimal(5),
    max_market=Decimal(1_000),
    max_hourly=Decimal(100_000),
    max_daily_loss=Decimal(1_000),
    cooldown_ms=500,
    second_entry=True,
)
"""Lets a bot buy again and again, so that a short run has many orders."""


def test_books_that_come_and_go_are_never_traded_on_while_they_are_gone():
    faults = [FAULTS["disconnect"](Plan(share=0.1)), FAULTS["rest_503"](Plan(share=0.7))]
    bot, stage = play(evolve(TWO, risk=EAGER), faults=faults, minutes=12, seed=5)
    verdict = stage.judge.verdict()
    assert bot.stats.orders["refused_non_live"] > 10
    assert verdict.accepted > 10
    assert verdict.orders_on_non_live == verdict.orders_on_wrong_book == 0


@pytest.mark.slow
def test_the_judge_notices_a_bot_that_goes_on_with_a_book_it_read_before(monkeypatch):
    read = {}
    monkeypatch.setattr(Mirror, "live", lambda self, token, _age=None: read.setdefault(token, self.peek(token)))
    monkeypatch.setattr(Lease, "check", lambda self: read[self.token])
    _, stage = play(evolve(TWO, risk=EAGER), minutes=8, seed=5)
    assert stage.judge.verdict().orders_on_wrong_book > 0


# Prices, assets and time.


def play(settings, *, strategy=None, faults=(), feed_faults=(), minutes=12, seed=7, during=None, executor=None):
    """Run a bot for some minutes from before the opening of a round; return it and its stage."""

    async def run():
        rounds = RoundsConfig(assets=settings.assets)
        stage = Stage.build(seed, rounds, start_ms=START_MS, faults=faults, feed_faults=feed_faults)
        async with stage.venue:
            network, rng = stage.venue.network, random.Random(seed)
            feeds = stage.oracle_settings(evolve(settings.oracle, assets=settings.assets))
            world = World(
                network=network,
                endpoints=stage.venue.endpoints,
                oracle=make_oracle(feeds, network, rng=rng),
                rng=rng,
                store=Database(),
                offload=inline,
                open_executor=executor or (lambda bot: stage.executor(network, settings.live, bot.account.order_ids)),
                switch=lambda: None,
            )
            plan = plan_of(settings)
            bot = Bot(plan if strategy is None else evolve(plan, strategy=strategy), world, RunStats(limit=99))
            async with asyncio.TaskGroup() as group:
                running = group.create_task(bot.run())
                if during is not None:
                    await during(bot, stage)
                await asyncio.sleep(minutes * 60)
                running.cancel()
        return bot, stage

    return run_virtual(run, start_ms=START_MS)


class Recording(OracleLag):
    """The usual strategy, which notes when it was asked."""

    def __init__(self, settings, fails_for=""):
        super().__init__(settings)
        object.__setattr__(self, "asked", [])
        object.__setattr__(self, "fails_for", fails_for)

    def wish(self, each, terms, tick, strike, measured, now_ms):
        self.asked.append((each.window.asset, now_ms))
        if each.window.asset == self.fails_for:
            raise RuntimeError("a bug in the strategy")
        return super().wish(each, terms, tick, strike, measured, now_ms)


def test_no_signal_comes_from_a_relay_that_answers_and_tells_nothing():
    silent_from, silent_until = START_MS + 200_000, START_MS + 400_000
    zombie = ZombieFeed(Plan(share=1.0, start_ms=silent_from, end_ms=silent_until, length_ms=5_000))
    strategy = Recording(ONE.signal)
    bot, _ = play(ONE, strategy=strategy, feed_faults=[zombie])
    asked = [at for _, at in strategy.asked]
    assert zombie.injected > 0
    assert [at for at in asked if silent_from + 6_000 < at < silent_until] == []
    assert [at for at in asked if at < silent_from]
    assert [at for at in asked if at > silent_until + 60_000]
    assert bot.world.oracle.health().counts["silences"] > 0


def test_no_signal_comes_from_prices_that_arrive_long_after_they_were_observed():
    late_from = START_MS + 200_000
    late = LateTick(Plan(share=1.0, start_ms=late_from, length_ms=5_000))
    strategy = Recording(ONE.signal)
    strict = evolve(ONE, oracle=evolve(ONE.oracle, max_age_ms=4_000))
    bot, _ = play(strict, strategy=strategy, feed_faults=[late], minutes=10)
    asked = [at for _, at in strategy.asked]
    assert late.injected > 0
    assert [at for at in asked if at < late_from]
    assert [at for at in asked if at > late_from + 6_000] == []
    assert bot.stats.quiet["STALE_ORACLE"] > 0


def test_a_market_whose_official_strike_is_not_ours_is_stopped_and_told(monkeypatch, caplog):
    logging.disable(logging.NOTSET)
    told = gamma._metadata
    monkeypatch.setattr(gamma, "_metadata", lambda market: {key: v * 1.0009 for key, v in told(market).items()})
    strategy = Recording(ONE.signal)
    bot, _ = play(ONE, strategy=strategy, minutes=6)
    assert 10_000 < max(at for _, at in strategy.asked) - (START_MS + 90_000) < 60_000
    assert bot.stats.counts["strikes refused"] == bot.stats.quiet["STRIKE_REFUSED"] == 1
    assert "0.0900% from our tick at the boundary" in caplog.text


def test_a_bug_in_one_asset_stops_that_asset_alone():
    strategy = Recording(TWO.signal, fails_for="eth")
    play(TWO, strategy=strategy, minutes=8)
    btc, eth = ([at for asset, at in strategy.asked if asset == name] for name in ("btc", "eth"))
    gaps = [b - a for a, b in itertools.pairwise(btc)]
    assert len(eth) > 2
    assert len(btc) > 300
    assert max(gaps) <= 5_000


def test_an_order_that_hangs_delays_no_price(monkeypatch):
    waited = []

    async def hang(self, order, lease, stopped):
        waited.append(order.client_id)
        await asyncio.sleep(200)
        return await LiveExecutor.resolve(self, order, None)

    monkeypatch.setattr(LiveExecutor, "submit", hang)
    strategy = Recording(ONE.signal)
    play(ONE, strategy=strategy, minutes=10)
    asked = [at for _, at in strategy.asked]
    assert waited
    assert max(b - a for a, b in itertools.pairwise(asked)) <= 5_000


def test_the_kill_switch_stops_buying_and_not_settling():
    async def stop(bot, _stage):
        await asyncio.sleep(300)
        bot.stop("a test")

    bot, _ = play(ONE, during=stop, minutes=8)
    assert bot.stats.orders["risk STOPPED"] > 0 or bot.account.totals.orders == 1
    assert bot.risk.stopped == "a test"


# The command line.


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("assets = ['btc', 'gold']", "assets="),
        ("[signal]\nmin_move = 0.5", "signal.min_move=0.5"),
        ("[risk]\nmax_trade = 0", "risk.max_trade=0"),
        ("[signal]\nmin_mvoe = 0.001", "did you mean min_move?"),
        ("[keys]\nprivate_key = 'x'", "POLYMARKET_PRIVATE_KEY"),
    ],
)
def test_a_bad_setting_is_one_line_with_its_key(tmp_path, capsys, text, problem):
    path = tmp_path / "bot.toml"
    path.write_text(text)
    assert main(["--config", str(path)]) == 2
    assert problem in capsys.readouterr().err


def test_live_trading_wants_a_confirmation_in_the_settings(capsys):
    assert main(["--live"]) == 2
    assert "confirm_live" in capsys.readouterr().err


def test_the_table_of_an_empty_run_can_be_read():
    found = {"win_rate": None, "round_detect_ms": None, "pnl": "0", "fees": "0"}
    found |= dict.fromkeys(("rounds", "settled", "orders", "trades", "won", "lost"), 0)
    found |= dict.fromkeys(("refused_non_live", "unresolved"), 0)
    assert "profit" in table(found, "nothing")


class AlwaysUp:
    """Believes that each price will rise."""

    kind = TickKind.SPOT

    def wish(self, each, terms, tick, strike, measured, now_ms):
        return Wish(token=each.terms.up.id, terms=terms, fair=Decimal("0.55"))


def test_another_strategy_is_played_instead_of_its_own():
    store = Database()
    found = simulate(BotSettings(), rounds=4, seed=7, strategy=AlwaysUp(), store=store)
    assert found["clean"] is True
    assert found["orders"] >= 1
    assert store.read("SELECT DISTINCT fair_e6 FROM decisions WHERE verdict = 'order'") == [(550_000,)]

"""A bot as a service: what a person reads when something happens, and how it ends when it is told to."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.errors import Unanswered
from bots.common.execution.live import LiveExecutor
from bots.common.ledger.database import Database, inline
from bots.common.ledger.ledger import Ledger
from bots.common.operate.daily import report_days
from bots.common.operate.supervise import GivenUp
from bots.common.orders.manager import OrderManager
from bots.common.risk.follow import RESUME, STOP
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.strategy import plan_of
from bots.testing.stage import Stage
from bots.updown.bot import Bot, World
from bots.updown.oracles.factory import make_oracle
from bots.updown.stats import RunStats
from polymirror.errors import MarketNotFound
from polymirror.simulator.settings import DEFAULT_START_MS, QUARTER_MS, RoundsConfig
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.gamma import Gamma
from polymirror.venue.network import Network

START_MS = DEFAULT_START_MS + QUARTER_MS - 90_000
TWO = evolve(BotSettings(), assets=("btc", "eth"))


class Life:
    """One bot on the embedded exchange, with a chat."""

    def __init__(self, settings=TWO, *, store=None, switch=lambda: None, seed=7, every=60.0):
        rounds = RoundsConfig(assets=settings.assets)
        self.stage = Stage.build(seed, rounds, start_ms=START_MS)
        self.store = Database() if store is None else store
        self.settings, self.switch, self.seed, self.every = settings, switch, seed, every

    def make(self):
        network, rng, settings = self.stage.venue.network, random.Random(self.seed), self.settings
        world = World(
            network=network,
            endpoints=self.stage.venue.endpoints,
            oracle=make_oracle(
                self.stage.oracle_settings(evolve(settings.oracle, assets=settings.assets)), network, rng=rng
            ),
            rng=rng,
            store=self.store,
            offload=inline,
            open_executor=lambda bot: self.stage.executor(network, settings.live, bot.account.order_ids),
            switch=self.switch,
            chat=self.stage.chat(network),
        )
        self.bot = Bot(evolve(plan_of(settings), health_every=self.every), world, RunStats(limit=99))
        return self.bot

    def play(self, act):
        """Let it run and ``act`` meanwhile; return what the task of its life came to."""

        async def main():
            async with self.stage.venue:
                task = asyncio.create_task(self.make().run())
                await act(task)
                if not task.done():
                    task.cancel()
                (found,) = await asyncio.gather(task, return_exceptions=True)
                return found

        return run_virtual(main, start_ms=START_MS, limit=100_000.0)

    @property
    def read(self):
        """What arrived in the chat: line and seconds since the start."""
        messages = self.stage.telegram.messages
        return [(line, (each.at_ms - START_MS) / 1000) for each in messages for line in each.text.split("\n")]

    def first(self, words):
        return next((at for line, at in self.read if words in line), None)

    def kinds(self):
        return {kind for (kind,) in self.store.read("SELECT kind FROM notices")}


def after(seconds):
    async def act(_task):
        await asyncio.sleep(seconds)

    return act


# ---- Blindness -----------------------------------------------------------------------------------------


def test_discovery_that_is_down_is_told_within_minutes_and_its_return_too(monkeypatch):
    found = Gamma.event
    life = Life()

    async def event(self, slug):
        if life.stage.venue.network.wall() * 1000 < START_MS + 3_600_000:
            raise MarketNotFound(f"no event {slug}")
        return await found(self, slug)

    monkeypatch.setattr(Gamma, "event", event)
    life.play(after(3_600 + 1_200))
    assert life.first("NOTHING can be traded: btc: no open market is found") < 400
    assert life.first("well again: markets") < 3_600 + 1_200
    assert [line for line, at in life.read if "NOTHING" in line] == [life.read[1][0]], "it is told once"


def test_an_oracle_that_is_silent_and_books_that_are_not_live_are_blindness():
    life = Life()

    async def act(_task):
        await asyncio.sleep(240)
        life.bot.world.oracle.stale = lambda *_: True
        await asyncio.sleep(500)
        words = [str(vital) for vital in vitals(life)]
        assert any("NOTHING can be traded: btc: no fresh price for" in each for each in words)
        del life.bot.world.oracle.stale
        for desk in life.bot.workers.values():
            desk.count_books = lambda: (0, 4)
        await asyncio.sleep(500)
        words = [str(vital) for vital in vitals(life)]
        assert any("no book is LIVE" in each for each in words)
        assert "books: 0 of 8 LIVE" in words

    def vitals(life):
        return life.bot.health.last.vitals

    life.play(act)
    assert life.first("not well: prices: no fresh price of btc, eth") < 240 + 150


def test_one_asset_that_is_blind_is_named_and_the_others_are_not(monkeypatch):
    found = Gamma.event

    async def event(self, slug):
        if slug.startswith("eth"):
            raise MarketNotFound(f"no event {slug}")
        return await found(self, slug)

    monkeypatch.setattr(Gamma, "event", event)
    life = Life()
    life.play(after(600))
    assert life.first("not well: markets: eth: no open market is found") < 400


def test_a_bot_that_is_well_tells_no_trouble():
    life = Life()
    life.play(after(1_800))
    assert [line for line, _ in life.read if "not well" in line] == []
    assert life.kinds() <= {"start", "fill", "order", "settlement"}
    assert life.first("started: 0 positions") < 10
    assert life.first("bought") is not None
    assert life.first(" pUSD") is not None


# ---- Ends ----------------------------------------------------------------------------------------------


def test_a_vital_task_that_dies_is_told_before_the_process_ends(monkeypatch):
    async def run(_self):
        await asyncio.sleep(1.0)
        raise ValueError("boom")

    monkeypatch.setattr(OrderManager, "run", run)
    life = Life()
    ended = life.play(after(10_000))
    assert isinstance(ended, GivenUp)
    assert life.first("not well: tasks: manager") is not None
    assert life.first("the bot ends, because GivenUp: manager failed 30 times and is vital") is not None
    assert life.store.read("SELECT count(*) FROM notices WHERE sent_at_ms IS NULL") == [(0,)]


def test_a_chat_that_is_gone_holds_up_no_end(monkeypatch):
    async def run(_self):
        raise ValueError("boom")

    async def hand_over(self, texts):
        await asyncio.sleep(10_000)

    monkeypatch.setattr(OrderManager, "run", run)
    life = Life()
    monkeypatch.setattr("bots.common.operate.notifications.Telegram.hand_over", hand_over)
    took = []

    async def act(task):
        loop = asyncio.get_running_loop()
        while life.bot.manager is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
        await asyncio.wait([task])
        rows = life.store.read("SELECT at_ms FROM notices WHERE text LIKE 'the bot ends%'")
        took.append(loop.wall() * 1000 - rows[0][0])

    assert isinstance(life.play(act), GivenUp)
    assert took[0] <= 9_000
    (unsent,) = life.store.read("SELECT count(*) FROM notices WHERE sent_at_ms IS NULL")
    assert unsent[0] >= 2, "the next start sends them"


def test_a_start_that_fails_is_told(monkeypatch):
    async def holdings(_self):
        raise Unanswered("holdings", "nobody answers")

    monkeypatch.setattr(LiveExecutor, "holdings", holdings)
    life = Life()
    ended = life.play(after(1_000))
    assert isinstance(ended, Unanswered)
    assert life.first("the bot ends, because Unanswered") is not None


@pytest.mark.parametrize("hangs", ["executor", "holdings", "before"])
def test_told_to_end_while_it_starts_it_ends_at_once(monkeypatch, hangs):
    async def holdings(_self):
        raise Unanswered("holdings", "nobody answers")

    @asynccontextmanager
    async def opened(*_):
        yield await asyncio.Event().wait()

    life = Life()
    monkeypatch.setattr(LiveExecutor, "holdings", holdings)
    if hangs == "executor":
        monkeypatch.setattr(Stage, "executor", opened)
    took = []

    async def act(task):
        if hangs != "before":
            await asyncio.sleep(12)
        began = asyncio.get_running_loop().time()
        life.bot.drain("signal SIGTERM")
        life.bot.drain("again")
        await asyncio.wait([task], timeout=60)
        took.append(asyncio.get_running_loop().time() - began)

    assert life.play(act)["trades"] == 0
    assert took[0] < 3
    assert life.first("the bot ends: signal SIGTERM; 0 positions are kept") is not None


def test_told_to_end_it_begins_nothing_and_waits_for_what_is_under_way(monkeypatch):
    submit = LiveExecutor.submit
    sent, ended = [], []

    async def slow(self, order, lease, stopped):
        sent.append(order.client_id)
        await asyncio.sleep(5)
        result = await submit(self, order, lease, lambda: None)
        ended.append((order.client_id, result.outcome.value))
        return result

    monkeypatch.setattr(LiveExecutor, "submit", slow)
    life = Life()

    async def act(task):
        while not sent:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
        life.bot.drain("signal SIGTERM")
        begun = len(sent)
        await asyncio.wait([task], timeout=30)
        assert task.done()
        assert len(sent) == begun

    summary = life.play(act)
    assert len(ended) == len(sent), "what had left was waited for, and is booked"
    assert summary["unresolved"] == 0
    assert life.first("the bot ends: signal SIGTERM; 1 positions are kept") is not None
    again = Life(store=life.store)
    again.play(after(60))
    assert again.first("started: 1 positions") is not None


def test_an_order_that_waits_for_its_turn_does_not_leave_after_the_word(monkeypatch):
    submit = LiveExecutor.submit
    outcomes = []

    async def queued(self, order, lease, stopped):
        life.bot.drain("signal SIGTERM")
        result = await submit(self, order, lease, stopped)
        outcomes.append((result.outcome.value, result.detail))
        return result

    monkeypatch.setattr(LiveExecutor, "submit", queued)
    life = Life()
    life.play(after(600))
    assert outcomes
    assert [word for word, _ in outcomes] == ["rejected"], outcomes
    assert all("SIGTERM" in detail for word, detail in outcomes)


# ---- Pauses, stops and resumptions ---------------------------------------------------------------------


def test_the_file_a_stop_by_hand_and_their_ends_are_told_once_each():
    stops = []
    life = Life(switch=lambda: stops[0] if stops else None)

    async def act(_task):
        await asyncio.sleep(60)
        stops.append("the file STOP exists")
        await asyncio.sleep(60)
        stops.clear()
        await asyncio.sleep(60)
        for kind in (STOP, RESUME):
            life.store.write([("INSERT INTO requests (at_ms, kind, detail) VALUES (0, ?, 'by hand')", (kind,))])
            await asyncio.sleep(30)
        life.bot.stop("signal SIGUSR1")
        await asyncio.sleep(30)

    life.play(act)
    said = [line for line, _ in life.read if line.startswith("trading:")]
    assert said == [
        "trading: stopped, the file STOP exists",
        "trading: resumed, no longer stopped",
        "trading: stopped, by hand",
        "trading: resumed, no longer stopped (by hand)",
        "trading: stopped, signal SIGUSR1",
    ]
    again = Life(store=life.store)
    again.play(after(30))
    assert again.first("nothing is bought: signal SIGUSR1") is not None


def test_a_pause_after_losses_is_told_kept_and_over():
    life = Life(evolve(TWO, risk=evolve(TWO.risk, max_losses_in_a_row=1, pause_ms=600_000)))

    async def act(_task):
        await asyncio.sleep(60)
        life.bot.risk.closed(life.bot.ledger.now_ms(), "0xm", Decimal(-3))
        await asyncio.sleep(700)

    life.play(act)
    said = [line for line, _ in life.read if line.startswith("trading:")]
    assert said[0].startswith("trading: paused, 1 in a row lost: nothing is bought until")
    assert said[-1] == "trading: resumed, no longer paused"
    kinds = [kind for (kind,) in life.store.read("SELECT kind FROM risk_events ORDER BY seq")]
    assert (kinds[0], kinds[-1]) == ("pause", "go on")


# ---- Money that is stuck, and the daily report ---------------------------------------------------------


def test_a_venue_that_does_not_tell_its_books_and_an_order_without_a_fate_are_not_well():
    life = Life()

    async def act(_task):
        await asyncio.sleep(60)

        async def holdings():
            raise Unanswered("holdings", "nobody answers")

        life.bot.manager.executor.holdings = holdings
        await asyncio.sleep(1_200)

    life.play(act)
    assert 600 < life.first("not well: money: ") < 900
    assert life.first("the venue has not told its books for") is not None


def test_each_day_has_a_report_also_one_in_which_nobody_ran():
    told = []

    async def main():
        loop = asyncio.get_running_loop()
        ledger = Ledger(Database(), Network(monotonic=loop.time, wall=loop.wall))
        await ledger.open()

        def tell(text, kind):
            told.append(text)
            ledger.notify(kind, text)

        async def live(hours):
            task = asyncio.create_task(report_days(ledger, Network(monotonic=loop.time, wall=loop.wall), tell))
            await asyncio.sleep(hours * 3_600)
            task.cancel()
            await ledger.flush()

        ledger.notify("start", "started")
        await ledger.flush()
        await live(12)
        await live(30)
        await asyncio.sleep(48 * 3_600)
        await live(1)
        await live(1)

    run_virtual(main, start_ms=START_MS, limit=400_000.0)
    assert [text[:16] for text in told] == ["2026-09-21 (UTC)", "2026-09-22 (UTC)", "2026-09-24 (UTC)"]
    assert "profit 0 pUSD, 0 won, 0 lost, 0 orders; in all 0 pUSD" in told[0]


@pytest.mark.parametrize("kind", ["stop", "resume"])
def test_what_was_asked_while_nobody_ran_is_done_at_the_start(kind):
    life = Life()
    life.store.write([("INSERT INTO requests (at_ms, kind, detail) VALUES (0, ?, 'while it was down')", (kind,))])
    life.play(after(10))
    assert (life.bot.risk.stopped == "while it was down") == (kind == "stop")

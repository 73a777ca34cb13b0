"""Stops that must hold: on the disk before anybody is told that they are, and said to be nowhere when they are not."""

from __future__ import annotations

import asyncio
import logging

import pytest

from bots.common.errors import BotError
from bots.common.ledger.database import Database
from bots.common.operate import asking
from bots.common.orders.reconcile import Reconciler
from tests.bots.lives_rig import bot_on, live_for, on_stage


class Disk(Database):
    """Takes nothing while it is full."""

    full = False

    def write(self, statements):
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(statements)

    def risk_events(self):
        return self.read("SELECT kind, detail FROM risk_events ORDER BY seq")


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def stopped_by(act, *, seconds=30):
    """Let a bot live, and ``act(bot, disk)`` after ten seconds; return what was told, and the disk."""
    disk, told = Disk(), []

    async def scene(stage):
        bot = bot_on(stage, disk, told=told)
        living = asyncio.create_task(live_for(bot, seconds))
        await asyncio.sleep(10)
        await act(bot, disk)
        await living

    on_stage(scene)
    return [line for line in told if line.startswith("trading: stopped")], disk


def test_a_stop_that_the_disk_does_not_take_is_told_as_that_with_the_file_that_does_it():
    async def act(bot, disk):
        disk.full = True
        bot.stop("signal SIGUSR1")
        await asyncio.sleep(5)
        assert bot.risk.stopped == "signal SIGUSR1"
        assert disk.risk_events() == []
        disk.full = False

    told, disk = stopped_by(act)
    why = "it is NOT on the disk, and a restart may buy: make the file"
    assert told == [f"trading: stopped, signal SIGUSR1; {why} /srv/bot/files/STOP"]
    assert disk.risk_events() == [("stop", "signal SIGUSR1")], "it is written once there is room"


def test_a_stop_by_the_file_needs_no_room_in_the_ledger():
    async def act(bot, disk):
        disk.full = True
        bot.world.switch.why.append("the file STOP exists")
        await asyncio.sleep(5)

    told, _ = stopped_by(act)
    assert told == ["trading: stopped, the file STOP exists"]


def test_a_stop_that_comes_before_the_ledger_is_read_is_kept_too():
    disk = Disk()

    async def scene(stage):
        first = bot_on(stage, disk)
        await live_for(first, 5)
        second = bot_on(stage, disk)
        second.stop("signal SIGUSR1")
        await live_for(second, 5)
        third = await live_for(bot_on(stage, disk), 5)
        return third.risk.stopped

    assert on_stage(scene) == "signal SIGUSR1"
    assert disk.risk_events() == [("stop", "signal SIGUSR1")]


def test_what_was_asked_counts_as_taken_up_no_sooner_than_it_is_on_the_disk(monkeypatch):
    check, slow = Reconciler.check, []

    async def late(self):
        if slow:
            await asyncio.sleep(20)
        await check(self)

    monkeypatch.setattr(Reconciler, "check", late)

    async def act(_bot, disk):
        slow.append(True)
        asked = "INSERT INTO requests (at_ms, kind, detail) VALUES (0, ?, '')"
        disk.write([(asked, ("reconcile",)), (asked, ("stop",))])
        for _ in range(300):
            await asyncio.sleep(0.1)
            if disk.risk_events():
                return
            taken = disk.read("SELECT value FROM meta WHERE name = 'request'")
            assert not taken or int(taken[0][0]) < 2, "whoever asked believes it, and a crash now loses the stop"

    assert stopped_by(act, seconds=60)[1].risk_events() == [("stop", "")]


def test_a_command_that_cannot_write_its_stop_names_the_file_that_does_it(tmp_path, monkeypatch):
    path = tmp_path / "paper-account.sqlite"
    Database(path).close()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(asking, "request", full)
    with pytest.raises(BotError, match="NOT written down") as error:
        asking.ask(path, "stop", "", 0, lambda _: None)
    assert f"make the file {tmp_path / 'STOP'}" in str(error.value)
    with pytest.raises(OSError, match="No space"):
        asking.ask(path, "resume", "", 0, lambda _: None)

"""The real disk code over a disk that loses power, at every system call it makes."""

from __future__ import annotations

import random

import pytest

from bots.common.errors import BotError
from bots.common.ledger import files
from bots.common.ledger.files import Disk
from tests.bots.crash_rig import (
    Bot,
    Clock,
    Fate,
    Killed,
    Venue,
    check_books,
    drive,
    fills_by_market,
    small_logs,
)
from tests.bots.power_rig import PowerCutOs

MARKETS = [f"0xm{number}" for number in range(3)]


@pytest.fixture
def world(monkeypatch, tmp_path):
    def make(*, deaf=frozenset()):
        power = PowerCutOs(deaf=deaf)
        monkeypatch.setattr(files, "os", power)
        return power, tmp_path

    return make


def live(power, folder, venue, clock, at=None, how="kill", rng=None):
    power.fate = venue.fate = Fate(at)
    try:
        bot = Bot(Disk(folder), venue, clock)
        drive(bot.live(MARKETS))
    except Killed:
        power.end(how, rng)
        return None
    finally:
        clock.seconds += 60
    power.end(how, rng)
    return bot


def survive(power, folder, deaths, rng):
    venue, clock = Venue(), Clock()
    for at, how in deaths:
        live(power, folder, venue, clock, at, how, rng)
    for _ in range(2):
        check_books(live(power, folder, venue, clock, None, "cut", rng), venue)
    assert max(fills_by_market(venue).values()) == 1


def instants(power, folder):
    live(power, folder, Venue(), Clock())
    return power.fate.passed


@pytest.mark.parametrize("how", ["kill", "cut", "mixed"])
def test_power_lost_at_every_system_call_loses_no_position_and_sends_no_order_twice(world, how, monkeypatch):
    small_logs(monkeypatch)
    rng = random.Random(how)
    total = instants(*world())
    for at in range(total):
        power, folder = world()
        survive(power, folder, [(at, how)], rng)


def test_power_lost_again_and_again(world, monkeypatch):
    small_logs(monkeypatch)
    rng = random.Random(7)
    total = instants(*world())
    for _ in range(100):
        deaths = [(rng.randrange(rng.choice((30, total))), rng.choice(("kill", "cut", "mixed"))) for _ in range(4)]
        power, folder = world()
        survive(power, folder, deaths, rng)


@pytest.mark.parametrize("guard", ["file", "folder"])
def test_without_a_sync_of_the_file_or_of_the_folder_some_power_cut_is_fatal(world, guard):
    rng = random.Random(1)
    total = instants(*world())

    def dies(at):
        power, folder = world(deaf=frozenset({guard}))
        try:
            survive(power, folder, [(at, "cut")], rng)
        except (AssertionError, BotError):
            return True
        return False

    assert any(dies(at) for at in range(total))

"""Risk and time: days of a zone, clocks that are set, and what people are told, once each."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from attrs import evolve

from bots.common.ledger.database import Database
from bots.common.orders.manager import OrderManager
from bots.common.risk.limits import DAY_MS, Risk, RiskLimits, RiskReason
from bots.common.risk.switch import KillFile
from polymirror.errors import ConfigError
from polymirror.simulator.virtual import VirtualVenue
from tests.bots.execution_rig import d
from tests.bots.lives_rig import bot_on, live_for, on_stage
from tests.bots.test_risk import LIMITS, NOON, Alone, asked, lose, risk_with

# Days, and clocks that are set.


@pytest.mark.parametrize(
    ("zone", "forgiven_at"),
    [
        ("UTC", "2026-07-02T00:00+00:00"),
        ("Europe/Berlin", "2026-07-01T22:00+00:00"),
        ("America/New_York", "2026-07-02T04:00+00:00"),
        ("Asia/Kolkata", "2026-07-01T18:30+00:00"),
    ],
)
def test_a_day_begins_at_midnight_in_the_stated_zone(zone, forgiven_at):
    risk = Alone(evolve(LIMITS, day_zone=zone))
    midnight = int(datetime.fromisoformat(forgiven_at).timestamp() * 1000)
    lose(risk, "a", "55", midnight - 1)
    assert risk.profit_today(midnight - 1) == -55
    assert asked(risk, midnight - 1) is RiskReason.DAILY_LOSS
    assert asked(risk, midnight) is None


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", 7])
def test_a_zone_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match="day_zone"):
        RiskLimits(day_zone=name)


def test_a_clock_that_was_ahead_once_makes_no_pause_and_no_cooldown_longer():
    risk = risk_with()
    later = NOON + 3 * 3_600_000
    lose(risk, "a", "1", later)
    lose(risk, "b", "1", later)
    assert risk.enter(later, client_id="1", market="c", asset="btc", money=d(5)) is not None
    risk.adopt(later, client_id="1", market="c", asset="btc", money=d(5), filled=False)
    risk.dropped("1")
    assert asked(risk, NOON) is RiskReason.PAUSED
    assert asked(risk, NOON + 599_999) is RiskReason.PAUSED
    assert asked(risk, NOON + 600_000) is None


def test_a_clock_that_is_set_ahead_over_midnight_begins_no_new_day_and_ends_no_pause():
    at = [0.0]
    risk = Alone(evolve(LIMITS, pause_ms=7_200_000), seconds=lambda: at[0])
    told = told_by(risk)

    def refused(hours, ahead_ms=0):
        at[0] = hours * 3_600.0
        return asked(risk, NOON + int(hours * 3_600_000) + ahead_ms)

    assert refused(0) is None
    lose(risk, "a", "30")
    lose(risk, "b", "30")
    assert refused(0.1) is RiskReason.PAUSED
    assert refused(0.2, DAY_MS) is RiskReason.PAUSED
    assert refused(0.3) is RiskReason.PAUSED
    assert refused(2.1, DAY_MS) is RiskReason.DAILY_LOSS
    # What is lost while it is ahead is lost today, too.
    risk.closed(NOON + 3 * 3_600_000 + DAY_MS, "c", d(-1))
    assert risk.profit_today(NOON) == -61
    assert refused(11.8) is RiskReason.DAILY_LOSS
    assert refused(12.2) is None, "the real midnight is behind"
    assert [kind for kind, _ in told] == ["PAUSED", "RESUMED", "LIMIT_REACHED", "RESUMED"]


def test_a_clock_that_was_behind_is_caught_up():
    at = [0.0]
    risk = Alone(LIMITS, seconds=lambda: at[0])
    assert risk.advance(NOON) == NOON
    at[0] = 100.0
    assert risk.advance(NOON + 3_600_000) == NOON + 101_000
    assert risk.advance(NOON - 5) == NOON - 5
    at[0] = 500_000.0
    assert risk.advance(NOON + 500_000_000) == NOON + 500_000_000


def test_a_bot_takes_no_step_of_its_wall_clock_for_a_new_day(monkeypatch):
    ahead, network = [0.0], VirtualVenue.network.fget
    stepped = property(lambda venue: evolve(network(venue), wall=lambda: network(venue).wall() + ahead[0]))
    monkeypatch.setattr(VirtualVenue, "network", stepped)

    async def scene(stage):
        bot = bot_on(stage, Database())
        living = asyncio.create_task(live_for(bot, 30))
        await asyncio.sleep(10)
        bot.risk.closed(bot.ledger.now_ms(), "0xm", d(-99))
        ahead[0] = DAY_MS / 1_000
        await asyncio.sleep(5)
        refusal = bot.risk.allow(bot.ledger.now_ms(), market="m", asset="x", money=d(10))
        await living
        return refusal

    assert on_stage(scene).reason is RiskReason.DAILY_LOSS


def test_what_ends_first_after_a_start_is_no_reason_to_count_earlier_days(monkeypatch):
    told = []

    async def run(self):
        self.risk.closed(self.now_ms(), "0xm", d(-1))
        await asyncio.sleep(1_000)

    async def scene(stage):
        bot = bot_on(stage, Database(), told=told)
        bot.risk.closed(bot.ledger.now_ms() - 2 * DAY_MS, "0xold", d(-200))
        await live_for(bot, 5)

    monkeypatch.setattr(OrderManager, "run", run)
    on_stage(scene)
    assert [line for line in told if "limit" in line] == []


def test_a_loss_booked_while_the_clock_was_a_day_ahead_counts_today():
    risk = risk_with()
    lose(risk, "a", "30", NOON)
    lose(risk, "b", "30", NOON + DAY_MS)
    assert risk.profit_today(NOON) == -60
    assert risk.profit_today(NOON + DAY_MS) == -30


def test_only_some_days_are_kept():
    risk = risk_with()
    for day in range(100):
        risk.closed(NOON + day * DAY_MS, "a", d(-1))
    assert risk.profit_today(0) == -8


# What people are told.


def told_by(risk: Risk) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    risk.on_change = lambda kind, detail: told.append((kind.name, detail))
    return told


def test_a_stop_is_told_once_and_so_is_its_end():
    risk = risk_with()
    told = told_by(risk)
    risk.stop("signal SIGUSR1")
    for second in range(10):
        assert asked(risk, NOON + second) is RiskReason.STOPPED
    risk.stop("again")
    risk.resume("ann@desk: calm again")
    asked(risk, NOON + 60)
    assert told == [("STOPPED", "signal SIGUSR1"), ("RESUMED", "no longer stopped (ann@desk: calm again)")]


def test_the_file_of_the_kill_switch_is_told_while_nothing_is_traded(tmp_path):
    risk = Alone(LIMITS, KillFile(tmp_path / "STOP"))
    told = told_by(risk)
    risk.advance(NOON)
    (tmp_path / "STOP").touch()
    risk.advance(NOON + 1_000)
    risk.advance(NOON + 2_000)
    risk.stop("a person")
    risk.resume("the same person")
    (tmp_path / "STOP").unlink()
    risk.advance(NOON + 3_000)
    assert told == [
        ("STOPPED", "the file STOP exists"),
        ("STOPPED", "a person"),
        ("STOPPED", "the file STOP exists"),
        ("RESUMED", "no longer stopped"),
    ]


def test_a_pause_is_told_with_its_end_and_so_is_its_end():
    risk = risk_with()
    told = told_by(risk)
    lose(risk, "a", "1")
    assert told == []
    lose(risk, "b", "1")
    for second in (1, 599):
        risk.advance(NOON + second * 1000)
    risk.advance(NOON + 600_000)
    words = "2 in a row lost: nothing is bought until 2026-09-21 12:10:00 UTC"
    assert told == [("PAUSED", words), ("RESUMED", "no longer paused")]


def test_the_daily_limit_is_told_once_it_is_losses_that_keep_an_order_away_and_when_the_day_is_over():
    risk = risk_with("x", "y", limits=evolve(LIMITS, max_losses_in_a_row=9))
    told = told_by(risk)
    lose(risk, "a", "30")
    assert asked(risk, money="25") is RiskReason.DAILY_LOSS
    assert told == []  # only what is open now is in the way
    lose(risk, "b", "10")
    for second in range(10):
        assert asked(risk, NOON + second, money="25") is RiskReason.DAILY_LOSS
    risk.advance(NOON + DAY_MS)
    detail = "40 of 60 pUSD are lost on 2026-09-21 in UTC: another 25 could pass it"
    assert told == [("LIMIT_REACHED", detail), ("RESUMED", "no longer daily limit reached")]


def test_a_win_that_makes_room_again_is_told_and_the_next_time_the_limit_is_reached_too():
    risk = risk_with(limits=evolve(LIMITS, max_losses_in_a_row=9))
    told = told_by(risk)
    lose(risk, "a", "40")
    assert asked(risk, money="25") is RiskReason.DAILY_LOSS
    risk.closed(NOON, "b", d(20))
    assert asked(risk, money="25") is None
    lose(risk, "c", "30")
    assert asked(risk, money="25") is RiskReason.DAILY_LOSS
    assert [kind for kind, _ in told] == ["LIMIT_REACHED", "RESUMED", "LIMIT_REACHED"]


def test_what_ends_while_something_else_goes_on_is_told_with_that():
    risk = risk_with()
    told = told_by(risk)
    lose(risk, "a", "1")
    lose(risk, "b", "1")
    risk.stop("a person")
    risk.advance(NOON + 600_000)
    assert told[-1] == ("RESUMED", "no longer paused, still stopped")


def test_a_bot_that_starts_again_tells_how_things_stand():
    risk = risk_with()
    risk.stop("a person")
    lose(risk, "a", "1")
    lose(risk, "b", "1")
    risk.closed(NOON, "c", d(1))
    told = told_by(risk)
    risk.advance(NOON + 1_000)
    assert [kind for kind, _ in told] == ["STOPPED", "PAUSED"]

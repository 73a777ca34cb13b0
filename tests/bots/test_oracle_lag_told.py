"""What a running bot tells of its risk: each stop, pause and limit that is reached, and each end of one, once."""

from __future__ import annotations

import asyncio
import logging

import pytest
from attrs import evolve

from bots.common.risk.limits import RiskLimits
from bots.updown.bot import Bot
from tests.bots.execution_rig import d
from tests.bots.test_oracle_lag import ONE, play


@pytest.fixture
def said(monkeypatch):
    logging.disable(logging.CRITICAL)
    told: list[str] = []
    monkeypatch.setattr(Bot, "tell", lambda _bot, text, *_kind, **_fields: told.append(text))
    yield told
    logging.disable(logging.NOTSET)


def test_a_pause_its_end_and_a_daily_limit_that_is_reached_are_told_once_each(said):
    limits = RiskLimits(max_daily_loss=d(26), max_losses_in_a_row=1, pause_ms=600_000)
    bot, _ = play(evolve(ONE, risk=limits), minutes=75)
    losses = bot.account.totals.lost
    assert losses > 0
    assert bot.stats.orders["risk DAILY_LOSS"] > 1
    assert len([text for text in said if "daily limit reached" in text]) == 1
    assert any("of 26 pUSD are lost on 20" in text for text in said)
    assert len([text for text in said if "1 in a row lost: nothing is bought until" in text]) == losses
    assert len([text for text in said if "no longer paused" in text]) >= losses - 1


def test_a_stop_and_a_resumption_are_told_once_each_and_only_when_they_are_on_the_disk(said):
    async def stop(bot, _stage):
        await asyncio.sleep(30)
        bot.stop("signal SIGUSR1")
        assert bot.risk.stopped == "signal SIGUSR1"
        assert not [text for text in said if text.startswith("trading")]
        await asyncio.sleep(60)
        await bot.ledger.note_risk("resume", "by hand")
        await asyncio.sleep(5)

    play(ONE, during=stop, minutes=1)
    assert [text for text in said if text.startswith("trading")] == [
        "trading: stopped, signal SIGUSR1",
        "trading: resumed, no longer stopped (by hand)",
    ]

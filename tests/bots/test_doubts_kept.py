"""Doubts over restarts and in numbers: none is forgotten, none is kept for what was long seen."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.risk import limits
from bots.common.risk.groups import Entry
from bots.common.risk.limits import Risk, RiskLimits, RiskReason
from tests.bots.books_rig import FILLED, LOST, NO_MATCH, World
from tests.bots.crash_rig import UP, an_order

CHEAPER = evolve(FILLED, fee=Decimal("0.01"))
"""It cost less than was reserved for it."""

NOW = 1_790_000_000_000


def entry(number):
    return Entry(client_id=f"c{number}", market=f"0x{number}", asset="btc", money=Decimal("0.1"), token=str(number))


def crowd(monkeypatch, count):
    monkeypatch.setattr(limits, "MAX_ENTRIES", 10)
    risk = Risk(RiskLimits(max_positions=1_000, cooldown_ms=0))
    for number in range(count):
        risk.hold(NOW, entry(number))
        risk.doubt(NOW, f"c{number}", Decimal(0))
        risk.dropped(f"c{number}")
    return risk


def asked(risk, now_ms=NOW):
    refusal = risk.allow(now_ms, market="0xother", asset="eth", money=Decimal(1))
    return refusal and refusal.reason


def test_more_doubts_than_are_remembered_let_nothing_be_bought_until_cash_and_shares_agree(monkeypatch):
    assert asked(crowd(monkeypatch, 9)) is None
    risk = crowd(monkeypatch, 12)
    assert asked(risk) is RiskReason.POSITIONS
    risk.seen(set())
    assert asked(risk) is RiskReason.POSITIONS  # too early: the chain may be behind
    later = NOW + limits.SETTLED_MS
    risk.advance(later)
    risk.seen({"3"})
    assert asked(risk, later) is RiskReason.POSITIONS  # which orders they were of is not known any more
    risk.seen(set())
    assert asked(risk, later) is None
    assert not risk.doubted


@pytest.mark.parametrize("room", [10, 0])
def test_a_clock_that_was_ahead_keeps_no_doubt_for_longer(monkeypatch, room):
    monkeypatch.setattr(limits, "MAX_ENTRIES", room)
    risk = Risk(RiskLimits())
    risk.hold(NOW + 3_600_000, entry(1))
    risk.doubt(NOW + 3_600_000, "c1", Decimal(0))
    for at_ms, doubted in ((NOW, True), (NOW + limits.SETTLED_MS, False)):
        risk.advance(at_ms)
        risk.seen(set())
        assert risk.doubted is doubted


def test_an_order_that_ended_right_before_a_restart_is_in_doubt_for_as_long_as_without_one():
    first = World()
    first.start()
    first.begin(an_order(), NO_MATCH, final=True)
    again = World(store=first.store)
    again.clock.seconds = first.clock.seconds + 1
    again.risk.advance(int(again.clock.seconds * 1000))
    again.check()
    assert again.risk.doubted
    again.risk.advance(int(again.clock.seconds * 1000))
    again.check()
    assert not again.risk.doubted


def test_lost_shares_that_stay_in_the_wallet_keep_no_doubt_over_a_restart():
    first = World(holdings=[{UP: "10"}])
    first.begin(an_order(), CHEAPER, final=True)
    first.venue.cash = Decimal(1000)
    first.start()
    first.settle(LOST, seconds=60)
    assert not first.account.positions

    again = World(store=first.store, holdings=[{UP: "10"}])
    again.venue.cash = first.venue.cash
    again.clock.seconds = first.clock.seconds + 60
    again.risk.advance(int(again.clock.seconds * 1000))
    again.check(2)
    again.risk.advance(int(again.clock.seconds * 1000))
    again.check(2)
    assert not again.risk.doubted


def test_more_of_a_lost_token_than_was_booked_keeps_the_doubt():
    first = World(holdings=[{UP: "10"}])
    first.begin(an_order(), CHEAPER, final=True)
    first.venue.cash = Decimal(1000)
    first.start()
    first.settle(LOST, seconds=60)

    again = World(store=first.store, holdings=[{UP: "20"}])
    again.venue.cash = first.venue.cash
    again.clock.seconds = first.clock.seconds + 60
    again.risk.advance(int(again.clock.seconds * 1000))
    again.check(4)
    assert again.risk.doubted


def test_shares_that_others_send_keep_no_doubt(monkeypatch):
    monkeypatch.setattr(limits, "MAX_ENTRIES", 1)
    world = World(holdings=[{"77": "1000"}])
    world.start()
    for name in ("a", "b"):
        world.begin(an_order(client_id=name), NO_MATCH, final=True)
    world.clock.seconds += 60
    world.risk.advance(int(world.clock.seconds * 1000))
    assert asked(world.risk, int(world.clock.seconds * 1000)) is RiskReason.POSITIONS
    world.check()
    assert not world.risk.doubted

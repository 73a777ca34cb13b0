"""Killed at every single instant, and killed again while recovering: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import random

import pytest

from bots.common.errors import BotError
from bots.common.ledger.database import Database
from bots.common.orders.order import Outcome, Result
from tests.bots.crash_rig import (
    Bot,
    Clock,
    Venue,
    check_books,
    fills_by_market,
    live_and_die,
)

MARKETS = [f"0xm{number}" for number in range(8)]


def instants(bot=Bot):
    """How many instants a whole life has, in which nothing goes wrong."""
    process, killed = live_and_die(Database(), Venue(), Clock(), MARKETS, bot=bot)
    assert not killed
    return process.store.fate.passed


def survive(*deaths, bot=Bot):
    """Die at each of these instants, one life after the other; then live to the end, start again, and check."""
    disk, venue, clock = Database(), Venue(), Clock()
    for at in deaths:
        live_and_die(disk, venue, clock, MARKETS, at, bot=bot)
    for _ in range(2):
        process, killed = live_and_die(disk, venue, clock, MARKETS, bot=bot)
        assert not killed
        check_books(process, venue)
    assert max(fills_by_market(venue).values()) == 1
    return process, venue


def test_a_life_without_a_crash_balances():
    process, venue = survive()
    assert process.account.totals.fills == len(venue.fills) >= 4
    assert process.account.totals.won + process.account.totals.lost >= 2


def test_killed_at_every_instant_no_position_is_lost_and_no_order_is_sent_twice():
    total = instants()
    assert total > 100
    for at in range(total):
        survive(at)


@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_while_recovering(seed):
    rng = random.Random(seed)
    total = instants()
    for _ in range(120):
        survive(*(rng.randrange(rng.choice((12, 40, total))) for _ in range(rng.randint(2, 6))))


class SendsFirst(Bot):
    """A bot with the guard removed: the order leaves before the intent is on the disk."""

    async def start(self):
        await super().start()
        begin, submit, sent = self.ledger.begin, self.venue.submit, {}

        async def late_begin(order, **rest):
            sent[order.client_id] = await submit(order)
            await begin(order, **rest)

        async def told(order):
            return sent[order.client_id]

        self.ledger.begin = late_begin
        self.venue = _With(self.venue, submit=told)


class SendsAgain(Bot):
    """A bot that sends an order whose fate it does not know once more."""

    async def start(self):
        async def again(order, _order_id):
            return await self.venue.submit(order)

        self.venue = _With(self.venue, resolve=again)
        await super().start()


class LooksNothingUp(Bot):
    """A bot that takes orders without an answer for dead ones."""

    async def start(self):
        self.venue = _With(self.venue, resolve=_dead)
        await super().start()


async def _dead(_order, _order_id):
    return Result(outcome=Outcome.NO_MATCH)


class _With:
    def __init__(self, venue, **methods):
        self._venue = venue
        vars(self).update(methods)

    def __getattr__(self, name):
        return getattr(self._venue, name)


@pytest.mark.parametrize("bot", [SendsFirst, SendsAgain, LooksNothingUp])
def test_without_the_guard_some_instant_is_fatal(bot):
    def dies(at):
        try:
            survive(at, bot=bot)
        except (AssertionError, BotError):
            return True
        return False

    assert any(dies(at) for at in range(instants(bot)))

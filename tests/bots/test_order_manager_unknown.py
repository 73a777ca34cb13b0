"""An order whose fate is unknown: asked about by its name, not announced again and again, and alone in its market."""

from __future__ import annotations

import asyncio
from collections import deque
from decimal import Decimal

from bots.common.execution.base import Holdings
from bots.common.execution.fates import UNSEEN
from bots.common.ledger.account import Account
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.money.sizing import SizeLimits
from bots.common.orders.intents import Terms, Wish
from bots.common.orders.manager import EVIDENT, LOOK_AGAIN, STUCK, OrderManager
from bots.common.orders.order import Outcome, Result
from bots.common.orders.reconcile import Reconciler
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk, RiskLimits
from tests.bots.execution_rig import CRYPTO, MARKET, TOKEN, Books, in_virtual_time, network

UNKNOWN = Result(outcome=Outcome.UNKNOWN, order_id="0xa")
TERMS = Terms(market=MARKET, slug="m", asset="btc", fee=CRYPTO, min_shares=Decimal(5), neg_risk=False, taker_delay=True)
WISH = Wish(token=TOKEN, terms=TERMS, fair=Decimal("0.9"))


class Silent:
    """An executor whose first answers do not come."""

    def __init__(self, *fates, last=UNKNOWN):
        self.fates = deque(fates)
        self.last = last
        self.asked = []

    async def submit(self, order, lease, stopped):
        lease.check()
        return UNKNOWN

    async def resolve(self, order, order_id):
        self.asked.append(order_id)
        return self.fates.popleft() if self.fates else self.last

    async def holdings(self):
        return Holdings(cash=Decimal(0))

    async def trades(self, since_ms):
        return ()


def play(scene, *fates, second_entry=True, **more):
    async def main():
        risk, account, told = Risk(RiskLimits(second_entry=second_entry, cooldown_ms=0)), Account(), []
        log = Ledger(Database(), network(), account=account, followers=(RiskFollower(risk, account),))
        await log.open()
        executor = Silent(*fates, **more)
        manager = OrderManager(
            executor=executor, ledger=log, reconciler=Reconciler(log, executor, network()),
            risk=risk, limits=SizeLimits(), network=network(), max_proof_age=2.0,
            on_result=lambda _, result: told.append(result.outcome), on_trouble=told.append,
        )  # fmt: skip
        running = asyncio.create_task(manager.run())
        await asyncio.sleep(0)
        try:
            return await scene(manager, executor, told)
        finally:
            running.cancel()

    return in_virtual_time(main)


def test_an_unknown_order_is_asked_about_by_its_name_and_told_about_once():
    async def scene(manager, executor, told):
        assert manager.consider(Books(), WISH)
        await asyncio.sleep(4 * LOOK_AGAIN)
        assert len(executor.asked) >= 3
        assert set(executor.asked) == {"0xa"}
        assert told == [Outcome.UNKNOWN, Outcome.NO_MATCH]
        assert not manager.account.open

    play(scene, UNKNOWN, UNKNOWN, Result(outcome=Outcome.NO_MATCH))


def test_a_market_with_an_unknown_order_is_not_entered_again_even_where_second_entries_are_allowed():
    async def scene(manager, executor, told):
        assert manager.consider(Books(), WISH)
        await asyncio.sleep(LOOK_AGAIN)
        assert manager.account.open
        assert not manager.consider(Books(), WISH)
        assert manager.counts["busy"] == 1

    play(scene)


def test_a_person_is_told_once_of_an_order_that_stays_unknown():
    async def scene(manager, executor, told):
        assert manager.consider(Books(), WISH)
        await asyncio.sleep(STUCK)
        assert told == [Outcome.UNKNOWN]
        await asyncio.sleep(10 * STUCK)
        assert [line for line in told if "stays unknown" in str(line)] == told[1:]
        assert len(told) == 2

    play(scene)


NOT_SEEN = Result(outcome=Outcome.UNKNOWN, detail=UNSEEN)
NOT_LISTED = Result(outcome=Outcome.UNKNOWN, order_id="0xa", detail="matched, and not listed yet")


def test_an_order_that_nothing_shows_for_minutes_is_ended_and_its_market_is_free_again():
    async def scene(manager, executor, told):
        await asyncio.sleep(1)  # what the wallet holds is written down
        assert manager.consider(Books(), WISH)
        await asyncio.sleep(EVIDENT - LOOK_AGAIN)
        assert manager.account.open
        await asyncio.sleep(180)
        assert not manager.account.open
        assert told[-1] is Outcome.NO_MATCH
        assert "was ended by what the wallet shows" in told[-2]
        assert not manager.is_taken(MARKET)

    play(scene, last=NOT_SEEN)


def test_an_order_that_the_venue_calls_matched_is_not_ended_by_the_wallet():
    async def scene(manager, executor, told):
        await asyncio.sleep(1)
        assert manager.consider(Books(), WISH)
        await asyncio.sleep(10 * EVIDENT)
        assert manager.account.open

    play(scene, last=NOT_LISTED)

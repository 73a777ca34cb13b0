"""A merge as each executor makes it: on the embedded exchange, on paper, and what an answer or none means."""

from __future__ import annotations

import asyncio

import pytest

from bots.common.errors import NotSent, Unanswered, VenueRefused
from bots.common.execution.base import Holdings
from bots.common.execution.live import LiveExecutor
from bots.common.execution.paper import PaperExecutor
from bots.common.orders.order import Outcome
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.network import Network
from tests.bots.execution_rig import MARKET, START_MS, TOKEN, Books, d
from tests.bots.test_execution_exchange import AssetWorker

OTHER = "22"


def test_both_tokens_become_money_on_the_exchange_and_its_ledger_balances():
    desk = AssetWorker()
    (market,) = desk.exchange.markets
    desk.broker.split(desk.account.address, market.condition_id, 30_000_000)

    async def scene(executor, _mirror, client):
        before = await client.holdings()
        done = await executor.merge(market.condition_id, *market.tokens, d("12.5"))
        refused = await executor.merge(market.condition_id, *market.tokens, d(100))
        return before, done, refused, await client.holdings()

    before, done, refused, after = desk.run(scene)
    assert (done.outcome, done.money) == (Outcome.FILLED, d("12.5"))
    assert refused.outcome is Outcome.REJECTED
    assert after.cash - before.cash == d("12.5")
    assert after.positions == dict.fromkeys(market.tokens, d("17.5"))
    desk.ledger.audit()


def test_on_paper_both_tokens_become_money_as_far_as_they_are_held():
    held = Holdings(cash=d(5), positions={TOKEN: d(20), OTHER: d(8)})

    async def main():
        executor = PaperExecutor(Books(), _network(), holdings=held)
        results = [await executor.merge(MARKET, TOKEN, OTHER, d(8)) for _ in range(2)]
        return results, await executor.holdings()

    (first, second), after = run_virtual(main, start_ms=START_MS)
    assert (first.outcome, second.outcome) == (Outcome.FILLED, Outcome.REJECTED)
    assert after == Holdings(cash=d(13), positions={TOKEN: d(12)})


def test_on_paper_a_settled_market_is_not_merged():
    held = Holdings(cash=d(5), positions={TOKEN: d(20), OTHER: d(20)})

    async def main():
        executor = PaperExecutor(Books(), _network(), payouts=lambda _market: {TOKEN: d(1)}, holdings=held)
        return await executor.merge(MARKET, TOKEN, OTHER, d(8))

    assert run_virtual(main, start_ms=START_MS).outcome is Outcome.REJECTED


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (None, Outcome.FILLED),
        (VenueRefused("merge", 400, "not enough balance"), Outcome.REJECTED),
        (NotSent("merge", "ConnectError"), Outcome.REJECTED),
        (Unanswered("merge", "ReadTimeout"), Outcome.UNKNOWN),
    ],
)
def test_merging_says_what_came_of_it(answer, outcome):
    class Client:
        async def merge(self, market, shares):
            assert (market, shares) == ("0xm", 8)
            if answer is not None:
                raise answer

    async def main():
        return await LiveExecutor(Client(), _network()).merge("0xm", TOKEN, OTHER, d(8))

    assert run_virtual(main, start_ms=START_MS).outcome is outcome


def _network():
    loop = asyncio.get_running_loop()
    return Network(monotonic=loop.time, wall=loop.wall)

"""What the venue's words, and lists that are behind, may do to an order: never more than there is evidence for."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from bots.common.errors import Unanswered
from bots.common.execution.base import ChainStatus, OrderState
from bots.common.execution.fates import is_dead
from bots.common.execution.live import LiveConfig, LiveExecutor
from bots.common.orders.order import Outcome, TimeInForce
from polymirror.simulator.orders.faults import STRANGE_WORDS
from polymirror.venue.network import Network
from tests.bots.execution_rig import (
    DELAYED,
    DONE,
    HELD,
    LOST,
    Books,
    ScriptedClient,
    buy,
    d,
    fill,
    in_virtual_time,
    leased,
    matched,
    network,
)

DEAD_WORDS = [
    "UNMATCHED",
    "INVALID",
    "CANCELED",
    "CANCELLED",
    "CANCELED_MARKET_RESOLVED",
    "CANCELED_NOT_ENOUGH_BALANCE",
    "CANCELED_MARKET_NOT_FOUND",
    "CANCELED_EXPIRED_ORDER",
    "CANCELED_ORDER_TIMED_OUT",
    "CANCELED_ORDER COULDN'T BE FULLY FILLED. FOK ORDERS ARE FULLY FILLED OR KILLED.",
]
FLYING_WORDS = ["LIVE", "DELAYED", "MATCHED_NOT_BROADCASTED", "PROCESSING", "PENDING", ""]


@pytest.mark.parametrize("word", DEAD_WORDS)
def test_a_final_word_ends_an_order_that_traded_nothing(word):
    state = OrderState(status=word, shares=d(0))

    async def main():
        held = LiveExecutor(ScriptedClient(sends=[DELAYED], states=[state]), network())
        lost = LiveExecutor(ScriptedClient(sends=[LOST], states=[state]), network())
        unknown = await leased(lost, buy(), Books())
        return await leased(held, buy(), Books()), unknown, await lost.resolve(buy(), None)

    at_once, unknown, later = in_virtual_time(main)
    assert [each.outcome for each in (at_once, unknown, later)] == [Outcome.NO_MATCH, Outcome.UNKNOWN, Outcome.NO_MATCH]
    assert at_once.detail == later.detail == word.lower()


@pytest.mark.parametrize("word", DEAD_WORDS)
def test_a_final_word_with_a_size_is_a_trade_of_that_size(word):
    client = ScriptedClient(sends=[DELAYED], states=[OrderState(status=word, shares=d(8))], trades=[[fill(buy(), "8")]])

    async def main():
        return await leased(LiveExecutor(client, network()), buy(tif=TimeInForce.FAK), Books())

    result = in_virtual_time(main)
    assert (result.outcome, result.shares) == (Outcome.PARTIAL, 8)


@pytest.mark.parametrize("word", [word.upper() for word in STRANGE_WORDS if word.startswith("CANCELED")])
def test_an_end_for_a_reason_that_nobody_knows_is_no_evidence_while_lists_may_be_late(word):
    flying = OrderState(status=word, shares=d(0))

    async def main():
        client = ScriptedClient(sends=[DELAYED], states=[flying, HELD, DONE], trades=[[fill(buy())]])
        trades_after_all = await leased(LiveExecutor(client, network()), buy(), Books())
        still = LiveExecutor(ScriptedClient(states=[flying]), network())
        early = await still.resolve(buy(), "0xa")
        await asyncio.sleep(60)
        return trades_after_all, early, await still.resolve(buy(), "0xa")

    trades_after_all, early, late = in_virtual_time(main)
    assert (trades_after_all.outcome, trades_after_all.shares) == (Outcome.FILLED, 20)
    assert [early.outcome, late.outcome] == [Outcome.UNKNOWN, Outcome.NO_MATCH]


@pytest.mark.parametrize("word", FLYING_WORDS)
def test_any_other_word_leaves_an_order_in_flight_for_ever(word):
    assert not is_dead(word, 10**9)
    client = ScriptedClient(states=[OrderState(status=word, shares=d(0))])

    async def main():
        await asyncio.sleep(3_000)
        return await LiveExecutor(client, network()).resolve(buy(), "0xa")

    result = in_virtual_time(main)
    assert (result.outcome, result.detail) == (Outcome.UNKNOWN, f"in flight ({word})")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((each.value, each) for each in ChainStatus),
        ("TRADE_STATUS_CONFIRMED", ChainStatus.CONFIRMED),
        ("trade_status_failed", ChainStatus.FAILED),
        ("MATCHED_NOT_BROADCASTED", ChainStatus.MATCHED),
        ("FAILED_SOMEHOW", ChainStatus.MATCHED),
        ("", ChainStatus.MATCHED),
    ],
)
def test_words_of_the_chain_that_are_not_known_are_pending(word, status):
    assert ChainStatus.of(word) is status


class Lagging(ScriptedClient):
    """Everything that it shows is ``lag`` seconds behind; the order left at once and traded, or never arrived."""

    def __init__(self, lag, *, named, arrives):
        super().__init__(sends=[LOST], named=named)
        self.lag, self.arrives = lag, arrives

    def shows(self):
        return self.arrives and asyncio.get_running_loop().time() >= self.left[0] + self.lag

    async def look_up(self, order_id):
        return DONE if self.shows() else None

    async def trades(self, since_ms, *, market=None):
        return [fill(buy())] if self.shows() else []


@pytest.mark.parametrize(
    ("lag", "named", "step"),
    [*product((0, 1, 15, 30, 120, 300), (True, False), (0,)), (30, False, 10_800), (30, True, -10_800)],
)
def test_lists_that_are_behind_make_an_order_unknown_and_never_untraded(lag, named, step):
    """``step``: how far the wall clock jumps, in seconds, right after the order has left."""
    client = Lagging(lag, named=named, arrives=True)

    async def main():
        loop = asyncio.get_running_loop()
        jumped = []
        executor = LiveExecutor(client, Network(monotonic=loop.time, wall=lambda: loop.wall() + sum(jumped)))
        seen = [await leased(executor, buy(), Books())]
        jumped.append(step)
        while not seen[-1].decided:
            seen.append(await executor.resolve(buy(), seen[-1].order_id))
        return seen, loop.time() - client.left[0]

    seen, took = in_virtual_time(main)
    assert {each.outcome for each in seen[:-1]} == {Outcome.UNKNOWN}
    assert (seen[-1].outcome, seen[-1].shares, seen[-1].order_id) == (Outcome.FILLED, 20, "0xa")
    assert lag <= took < lag + 6
    assert len(client.left) == 1


@pytest.mark.parametrize("named", [True, False])
def test_an_order_that_never_arrived_stays_unknown(named):
    client = Lagging(0, named=named, arrives=False)

    async def main():
        executor = LiveExecutor(client, network())
        seen = [await leased(executor, buy(), Books())]
        for _ in range(30):
            await asyncio.sleep(60)
            seen.append(await executor.resolve(buy(), None))
        return seen

    assert {each.outcome for each in in_virtual_time(main)} == {Outcome.UNKNOWN}


@pytest.mark.parametrize("answer", [None, Unanswered("order look-up", "HTTP 200 with no JSON object in it")])
def test_an_order_that_is_null_or_not_found_is_in_flight_and_not_dead(answer):
    client = ScriptedClient(sends=[DELAYED], states=[answer])

    async def main():
        return await leased(LiveExecutor(client, network(), LiveConfig(decide_within=30)), buy(), Books())

    assert in_virtual_time(main).outcome is Outcome.UNKNOWN


def test_a_ghost_fill_is_never_reported_as_one():
    """A match whose only trade fails: unknown while it is not listed, nothing once it is listed as FAILED."""
    client = ScriptedClient(sends=[matched()], states=[DONE], trades=[[]])

    async def main():
        executor = LiveExecutor(client, network())
        seen = [await leased(executor, buy(), Books())]
        for _ in range(8):
            await asyncio.sleep(60)
            seen.append(await executor.resolve(buy(), "0xa"))
        client.lists.clear()
        client.lists.append([fill(buy(), status=ChainStatus.FAILED)])
        return seen, await executor.resolve(buy(), "0xa")

    seen, end = in_virtual_time(main)
    assert {(each.outcome, each.shares) for each in seen} == {(Outcome.UNKNOWN, 0)}
    assert (end.outcome, end.shares, end.money) == (Outcome.NO_MATCH, 0, 0)

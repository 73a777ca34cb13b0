"""Look-ups, lists of trades and answers about one order may contradict each other: nothing is lost by it."""

from __future__ import annotations

import httpx
import pytest

from bots.common.errors import NotSent, Unanswered
from bots.common.execution.base import ChainStatus, OrderState
from bots.common.execution.live import LiveConfig
from bots.common.execution.reading import fills
from bots.common.execution.wire import Departure
from bots.common.orders.order import Outcome
from tests.bots.execution_rig import DELAYED, KILLED, LOST, TOKEN, ScriptedClient, buy, d, fill, leased, matched
from tests.bots.test_execution_live import live, resolve, submit

pytestmark = pytest.mark.anyio

FILL, FAILED = [fill(buy())], [fill(buy(), status=ChainStatus.FAILED)]


@pytest.mark.parametrize("word", ["UNMATCHED", "INVALID", "CANCELED_MARKET_RESOLVED"])
def test_a_final_word_does_not_end_an_order_whose_trades_are_listed(word):
    dead = OrderState(status=word, shares=d(0))
    result, _ = resolve(ScriptedClient(states=[dead], trades=[FILL]))
    assert (result.outcome, result.shares) == (Outcome.FILLED, d(20))
    assert resolve(ScriptedClient(states=[dead], trades=[LOST, []]))[0].outcome is Outcome.NO_MATCH
    assert submit(ScriptedClient(sends=[DELAYED], states=[dead], trades=[LOST, FILL])).outcome is Outcome.FILLED


def test_an_order_that_was_said_to_have_matched_is_not_dead_because_another_word_comes_later():
    async def scene(executor, books):
        first = await leased(executor, buy(), books)
        second = await executor.resolve(buy(), first.order_id)
        client.lists.clear()
        client.lists.append(FAILED)
        return first, second, await executor.resolve(buy(), first.order_id)

    client = ScriptedClient(sends=[matched()], states=[KILLED], trades=[[]])
    first, second, third = live(scene, client, LiveConfig(resolve_within=5))
    assert [each.outcome for each in (first, second)] == [Outcome.UNKNOWN] * 2
    assert (third.outcome, third.detail) == (
        Outcome.NO_MATCH, "matched, and its trades failed on the chain: nothing moved"
    )  # fmt: skip


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_an_order_that_has_left_once_is_not_unsent_because_a_second_connection_could_not_be_made(error):
    departure = Departure(lambda: None, traced=True)
    departure()
    assert isinstance(departure.failed("order", error("no way")), NotSent)
    await departure.trace("http2.send_request_headers.started", {})
    assert isinstance(departure.failed("order", error("no way")), Unanswered)
    # Where nobody tells when the bytes leave, the error itself says that they did not.
    departure = Departure(lambda: None, traced=False)
    departure()
    assert isinstance(departure.failed("order", error("no way")), NotSent)


@pytest.mark.parametrize("number", ["1E+12", "1E+60"])
@pytest.mark.parametrize("where", ["price", "shares", "maker"])
def test_a_trade_of_absurd_numbers_is_no_answer_and_ends_nothing(number, where):
    trade = fill(buy(), **({} if where == "maker" else {where: number}))
    with pytest.raises(Unanswered, match="trades: "):
        fills(trade, [(TOKEN, d(number), trade.shares)] if where == "maker" else [])

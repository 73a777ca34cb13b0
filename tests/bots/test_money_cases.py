"""Ways in which a bot lost track of money, each as it was found: the books must be the exchange's, or say that not."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from decimal import ROUND_FLOOR, Decimal

import pytest
from attrs import evolve

from bots.common.errors import Unanswered
from bots.common.ledger.database import Database
from bots.common.ledger.reader import LedgerReader
from bots.common.orders.order import Outcome, Result
from polymirror.errors import MarketNotFound
from polymirror.venue.gamma import Gamma
from tests.bots.lives_rig import books_say, bot_on, exchange_says, live_for, on_stage

QUARTER = 900


def losing_one_answer(lag):
    """The first answer is lost, and for so many seconds the venue shows neither the order nor its trade."""
    lost = []

    @asynccontextmanager
    async def wrap(opened):
        async with opened as executor:
            client, loop = executor._client, asyncio.get_running_loop()
            prepare, send, trades = client.prepare, client.send, client.trades

            async def nameless(order):
                return evolve(await prepare(order), order_id=None)

            async def lose(prepared, check):
                answer = await send(prepared, check)
                if not lost:
                    lost.append(loop.time())
                    raise Unanswered("order", "ReadTimeout")
                return answer

            async def late(since_ms, *, market=None):
                return [] if lost and loop.time() < lost[0] + lag else await trades(since_ms, market=market)

            client.prepare, client.send, client.trades = nameless, lose, late
            client.order_id = lambda _order: None
            yield executor

    return wrap


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, 15, 30, 120, 300, 100_000])
def test_a_lost_answer_and_a_list_that_lags_never_buy_a_market_twice(lag):
    async def scene(stage):
        told = []
        bot = await live_for(bot_on(stage, Database(), told=told, wrap=losing_one_answer(lag)), 1.9 * QUARTER)
        return bot, exchange_says(stage), told

    bot, (shares, cash), told = on_stage(scene)
    orders = Counter(name.rpartition(".")[0] for name in (*bot.account._over, *bot.account.open))
    assert max(orders.values()) == 1
    assert bot.account.totals.won + bot.account.totals.lost == 1, told
    if lag < 100_000:
        assert books_say(bot) == (shares, cash)
    else:
        # The second order's trade is never listed either: it is open, told, and its market left alone.
        assert len(bot.account.open) == 1
        assert any("ended by settlement" in line for line in told)
        assert any("not well: orders" in line for line in told)


@pytest.mark.slow
def test_a_paper_run_in_the_same_folder_does_not_touch_what_a_live_run_holds(tmp_path):
    async def scene(stage):
        def opened(mode):
            return Database.of(tmp_path, mode, "0xabc" if mode == "live" else "")

        first = opened("live")
        a = bot_on(stage, first)
        await live_for(a, 1_500, until=lambda: a.account.positions)
        held = dict(a.account.positions)
        first.close()
        other = opened("paper")
        b = await live_for(bot_on(stage, other, mode="paper"), 2 * QUARTER)
        other.close()
        again = opened("live")
        c = bot_on(stage, again)
        await live_for(c, QUARTER, until=lambda: c.account.totals.won + c.account.totals.lost)
        again.close()
        return held, b, c, exchange_says(stage)

    held, paper, live, (shares, cash) = on_stage(scene, seed=7)
    assert held
    assert not held.keys() & set(paper.account.positions)
    assert live.account.totals.won + live.account.totals.lost == 1
    assert live.account.totals.cash == cash
    assert books_say(live)[0] == {token: count for token, count in shares.items() if token not in held}


def test_a_position_on_paper_in_a_market_that_pays_both_sides_a_half_settles_at_half():
    async def scene(stage):
        bot, bought = bot_on(stage, Database(), mode="paper"), []

        def settled():
            if not bought and bot.account.positions:
                bought.extend(bot.account.positions.values())
                slug = next(iter(bot._names.values()))
                stage.exchange.settle(slug, payouts=(1, 1))
            return bot.account.totals.won + bot.account.totals.lost

        await live_for(bot, 3 * QUARTER, until=settled)
        return bot, bought[0]

    bot, bought = on_stage(scene, seed=7)
    assert bot.account.totals.profit == (bought.shares / 2).quantize(Decimal("0.000001"), ROUND_FLOOR) - bought.cost
    assert not bot.account.positions


def refusing(tried):
    @asynccontextmanager
    async def wrap(opened):
        async with opened as executor:

            async def redeem(_market, token):
                tried[token] += 1
                return Result(outcome=Outcome.REJECTED, detail="relayer: HTTP 401 invalid key")

            executor.redeem = redeem
            yield executor

    return wrap


@pytest.mark.slow
def test_a_relayer_that_refuses_for_hours_is_asked_seldom_and_a_person_is_told():
    tried, told = Counter(), []

    async def scene(stage):
        bot = bot_on(stage, Database(), told=told, wrap=refusing(tried))
        return await live_for(bot, 1.5 * 3_600)

    bot = on_stage(scene)
    assert tried
    assert max(tried.values()) <= 20
    assert any("cannot be redeemed: relayer: HTTP 401" in line for line in told)
    assert any("not well: money" in line for line in told)
    assert bot.manager.settler.stuck


def test_the_first_trade_is_in_the_file_after_hundreds_of_trades(tmp_path):
    async def scene(stage):
        database = Database(tmp_path / "bot.sqlite")
        bot = await live_for(bot_on(stage, database), 600)
        database.close()
        return bot

    bot = on_stage(scene)
    with LedgerReader(tmp_path / "bot.sqlite") as reader:
        names = [line.client_id for line in reader.trades(10_000)]
        assert len(names) == bot.account.totals.fills > 0
        (decided,) = reader.query("SELECT count(*) FROM decisions WHERE verdict = 'order'")[0]
        assert decided == bot.account.totals.orders
        why = reader.query("SELECT fair_e6, strike_e6, price_e6, oracle_age_ms, book_age_ms, proof FROM decisions "
                           "WHERE verdict = 'order'")  # fmt: skip
        assert all(None not in row and row[-1] for row in why)
        assert reader.query("SELECT count(*) FROM fills_now WHERE status = 'CONFIRMED'")[0][0] >= len(names)


def test_a_stop_by_signal_is_durable_before_it_is_told_and_a_resume_takes_it_back():
    store, told = Database(), []

    async def scene(stage):
        first = bot_on(stage, store, told=told)
        stopping = asyncio.create_task(live_for(first, 12))
        await asyncio.sleep(10)
        first.stop("signal SIGUSR1")
        assert first.risk.stopped
        await asyncio.sleep(0.1)
        assert "trading: stopped, signal SIGUSR1" in told
        await stopping
        second = await live_for(bot_on(stage, store, told=told), 300)
        assert second.risk.stopped == "signal SIGUSR1"
        assert second.account.totals.orders == 0
        store.write([("INSERT INTO requests (at_ms, kind, detail) VALUES (1, 'resume', 'by hand')", ())])
        third = await live_for(bot_on(stage, store, told=told), 5)
        assert third.risk.stopped is None
        assert "trading: resumed, no longer stopped (by hand)" in told
        fourth = await live_for(bot_on(stage, store, told=told), 5)
        assert fourth.risk.stopped is None

    on_stage(scene)


@pytest.mark.slow
def test_a_market_that_is_not_listed_at_the_start_blocks_only_itself(monkeypatch):
    told = []

    async def missing(_self, token):
        raise MarketNotFound(f"no market of {token[:8]}")

    async def scene(stage):
        store = Database()
        first = bot_on(stage, store)
        await live_for(first, 1_500, until=lambda: first.account.positions)
        assert first.account.positions
        kept = Gamma.market_of_token
        monkeypatch.setattr(Gamma, "market_of_token", missing)
        second = bot_on(stage, store, told=told)
        loop = asyncio.get_running_loop()
        began = loop.time()
        task = asyncio.create_task(live_for(second, 2.2 * QUARTER))
        while second.manager is None or second.manager._group is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
        assert loop.time() - began < 30
        await asyncio.sleep(1.5 * QUARTER)
        monkeypatch.setattr(Gamma, "market_of_token", kept)
        await task
        return first, second

    first, second = on_stage(scene)
    assert any("is not listed" in line for line in told)
    assert second.account.totals.orders > first.account.totals.orders, "it trades on"
    (token,) = first.account.positions
    assert token not in second.account.positions, "and settles what it held once the market is listed again"

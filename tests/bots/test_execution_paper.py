"""Paper orders: matched against the book as it is after the venue's delay, or not at all."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from bots.common.execution.base import ChainStatus, Holdings
from bots.common.execution.fates import beyond
from bots.common.execution.paper import PaperConfig, PaperExecutor, booked
from bots.common.money.amounts import keeps_price, shares_for
from bots.common.orders.order import Outcome, Side, TimeInForce
from polymirror import ConfigError, Gate
from polymirror.core.fees import charged_fee
from tests.bots.execution_rig import CRYPTO, TOKEN, Books, buy, d, in_virtual_time, leased, network, sell, view_of

CONFIG = PaperConfig(cash=d(100), latency_ms=40)


def on_paper(scene, books=None, config=CONFIG, **options):
    """Run ``scene(executor, books)`` in virtual time."""
    books = books or Books()

    async def main():
        return await scene(PaperExecutor(books, network(), config, **options), books)

    return in_virtual_time(main)


def submit(order, books=None, **options):
    async def scene(executor, books):
        result = await leased(executor, order, books)
        return result, await executor.holdings(), await executor.trades(0)

    return on_paper(scene, books, **options)


def won(_market):
    return {TOKEN: d(1)}


def test_a_fill_takes_each_level_at_its_own_price_and_fee():
    order = buy("33.00", "0.60")
    result, holdings, trades = submit(order)
    # 50.5 at 0.52, and the rest of the 33 pUSD at 0.55: more than the 55 shares of the limit.
    rest = d("12.254545")
    assert (result.outcome, result.shares, result.money) == (Outcome.FILLED, d("50.5") + rest, 33)
    assert result.fee == charged_fee(CRYPTO, d("0.52"), d("50.5")) + charged_fee(CRYPTO, d("0.55"), rest)
    assert holdings == Holdings(cash=100 - result.money - result.fee, positions={TOKEN: result.shares})
    assert [(trade.price, trade.shares) for trade in trades] == [(d("0.52"), d("50.5")), (d("0.55"), rest)]
    assert sum(trade.money for trade in trades) == result.money
    assert sum(trade.fee for trade in trades) == result.fee
    assert {trade.order_id for trade in trades} == {result.order_id}


@pytest.mark.parametrize(
    ("size", "tif", "outcome", "shares", "money"),
    [
        ("100", TimeInForce.FOK, Outcome.FILLED, "26", "10.40"),
        ("100", TimeInForce.FAK, Outcome.FILLED, "26", "10.40"),
        ("20", TimeInForce.FOK, Outcome.NO_MATCH, "0", "0"),
        ("20", TimeInForce.FAK, Outcome.PARTIAL, "20", "8"),
    ],
)
def test_a_purchase_spends_its_money_and_fok_kills_what_cannot(size, tif, outcome, shares, money):
    result, *_ = submit(buy("10.40", "0.52", tif=tif), Books(view_of([("0.40", size)])))
    assert (result.outcome, result.shares, result.money) == (outcome, d(shares), d(money))


@given(
    st.lists(
        st.tuples(st.integers(1, 99), st.integers(1, 90_000_000)), min_size=1, max_size=8, unique_by=lambda at: at[0]
    ),
    st.integers(100, 9_000),
    st.integers(1, 99),
    st.sampled_from(TimeInForce),
)
def test_paper_fills_never_go_beyond_their_order(levels, cents, limit, tif):
    asks = [(str(d(price).scaleb(-2)), str(d(size).scaleb(-6))) for price, size in sorted(levels, reverse=True)]
    money, price = d(cents).scaleb(-2), d(limit).scaleb(-2)
    assume(keeps_price(money, shares_for(money, price, d("0.01")), price))
    order = buy(str(money), str(price), tif=tif)
    result, holdings, trades = submit(order, Books(view_of(asks, [])), config=PaperConfig(cash=d(1_000_000)))
    there = sum(d(each) * d(size) for each, size in asks if d(each) <= price)
    assert beyond(order, trades) == ""
    assert (result.money, result.fee) == (sum(t.money for t in trades), sum(t.fee for t in trades))
    assert holdings.cash == 1_000_000 - result.money - result.fee
    if there >= money:
        assert (result.outcome, result.money) == (Outcome.FILLED, money)
    elif tif is TimeInForce.FOK and there < money - d("0.00001"):
        assert (result.outcome, result.shares) == (Outcome.NO_MATCH, 0)
    elif tif is TimeInForce.FAK:
        assert there - d("0.00001") < result.money <= there


def test_trades_pass_the_stages_of_the_chain():
    async def scene(executor, books):
        await leased(executor, buy(), books)
        seen = []
        for _ in range(25):
            (trade,) = await executor.trades(0)
            seen.append((trade.status, trade.tx is None))
            await asyncio.sleep(1)
        return seen, await executor.holdings()

    seen, holdings = on_paper(scene)
    stages = [(ChainStatus.MATCHED, True), (ChainStatus.MINED, False), (ChainStatus.CONFIRMED, False)]
    assert list(dict.fromkeys(seen)) == stages
    assert seen.count(stages[0]) == 4
    assert seen.count(stages[1]) == 16
    assert holdings.positions == {TOKEN: d(20)}


def test_a_trade_that_fails_on_the_chain_is_booked_back():
    async def scene(executor, books):
        await leased(executor, buy(), books)
        seen, cash = [], []
        for _ in range(125):
            (trade,) = await executor.trades(0)
            seen.append(trade.status)
            cash.append((await executor.holdings()).cash)
            await asyncio.sleep(1)
        return seen, cash, await executor.redeem("0xm", TOKEN), await executor.holdings()

    seen, cash, redeemed, holdings = on_paper(scene, config=evolve(CONFIG, fail_share=d(1)), payouts=won)
    assert list(dict.fromkeys(seen)) == [ChainStatus.MATCHED, ChainStatus.RETRYING, ChainStatus.FAILED]
    assert seen.index(ChainStatus.FAILED) == 120
    assert cash[119] < 89.6
    assert cash[120] == 100
    assert redeemed.outcome is Outcome.NO_MATCH
    assert (holdings.cash, holdings.positions) == (100, {})


def test_what_is_not_final_is_not_redeemed():
    async def scene(executor, books):
        await leased(executor, buy(), books)
        first = await executor.redeem("0xm", TOKEN)
        await asyncio.sleep(20)
        return first, await executor.redeem("0xm", TOKEN)

    first, second = on_paper(scene, payouts=won)
    assert (first.outcome, second.outcome, second.money) == (Outcome.REJECTED, Outcome.FILLED, 20)


def test_about_the_configured_share_fails_and_a_new_process_goes_on_with_the_same():
    config, results = PaperConfig(cash=d(100_000), fail_share=d("0.25")), []

    async def scene(executor, books):
        results.extend([await leased(executor, buy(client_id=f"c{number}"), books) for number in range(200)])
        await asyncio.sleep(10)
        return await executor.trades(0), await executor.holdings()

    past, holdings = on_paper(scene, config=config)
    retrying = {trade.order_id for trade in past if trade.status is ChainStatus.RETRYING}
    assert 30 < len(retrying) < 70

    async def later(executor, books):
        await asyncio.sleep(120)
        return await executor.trades(0), await executor.holdings()

    waiting = [booked(buy(client_id=f"c{number}"), result) for number, result in enumerate(results)]
    trades, left = on_paper(later, config=config, holdings=holdings, past=waiting)
    assert {trade.order_id for trade in trades if trade.failed} == retrying
    assert {trade.status for trade in trades} == {ChainStatus.CONFIRMED, ChainStatus.FAILED}
    assert not any(beyond(buy(), [trade]) for trade in trades)
    assert left.cash - holdings.cash == sum(trade.money + trade.fee for trade in trades if trade.failed)


def test_a_fok_order_that_is_not_there_in_full_takes_nothing():
    result, holdings, trades = submit(buy("27.04", "0.52"))
    assert (result.outcome, result.shares) == (Outcome.NO_MATCH, d(0))
    assert result.detail == "26.260000 of 27.04 pUSD could be spent at 0.52"
    assert (holdings.cash, dict(holdings.positions), trades) == (100, {}, [])


def test_a_fak_order_takes_what_is_there():
    result, *_ = submit(buy("27.04", "0.52", tif=TimeInForce.FAK))
    assert (result.outcome, result.shares) == (Outcome.PARTIAL, d("50.5"))


@pytest.mark.parametrize("tif", TimeInForce)
def test_an_order_below_the_best_price_matches_nothing(tif):
    result, *_ = submit(buy("5.10", "0.51", tif=tif))
    assert result.outcome is Outcome.NO_MATCH


@pytest.mark.parametrize(("delayed", "seconds"), [(True, 0.19), (False, 0.04)])
def test_the_book_that_counts_is_the_one_after_the_takers_delay(delayed, seconds):
    async def scene(executor, books):
        loop = asyncio.get_running_loop()
        loop.call_later(seconds - 0.001, setattr, books, "view", view_of([("0.58", "100")]))
        loop.call_later(seconds + 0.001, setattr, books, "view", view_of([("0.10", "100")]))
        began = loop.time()
        result = await leased(executor, buy("29.00", "0.58", taker_delay=delayed), books)
        assert loop.time() - began == pytest.approx(seconds)
        return result

    assert on_paper(scene).money == d("29.00")


def test_a_book_that_is_not_live_when_the_order_matches_gives_no_fill_and_says_so():
    async def scene(executor, books):
        asyncio.get_running_loop().call_later(0.1, setattr, books, "alive", False)
        return await leased(executor, buy(), books), await executor.holdings()

    result, holdings = on_paper(scene)
    assert result.outcome is Outcome.NO_MATCH
    assert "not LIVE when the order matched: 11 is SUSPECT (DISCONNECT)" in result.detail
    assert holdings.cash == 100


def test_a_book_that_was_replaced_meanwhile_counts_if_it_is_live():
    async def scene(executor, books):
        asyncio.get_running_loop().call_later(0.1, books.replace)
        return await leased(executor, buy(), books)

    assert on_paper(scene).outcome is Outcome.FILLED


def test_a_lease_that_is_lost_stops_the_order_before_anything_happens():
    async def scene(executor, books):
        async with Gate(books).lease(TOKEN) as lease:
            books.replace()
            return await executor.submit(buy(), lease)

    result = on_paper(scene)
    assert result.outcome is Outcome.REFUSED
    assert "the lease was for epoch 1" in result.detail


def test_the_kill_switch_stops_an_order_before_anything_happens():
    async def scene(executor, books):
        async with Gate(books).lease(TOKEN) as lease:
            stopped = await executor.submit(buy(), lease, lambda: "the file STOP exists")
            # It was not sent, so it may be.
            return stopped, await executor.submit(buy(), lease)

    stopped, sent = on_paper(scene)
    assert (stopped.outcome, stopped.detail) == (Outcome.REJECTED, "order: the file STOP exists")
    assert sent.outcome is Outcome.FILLED


def test_a_lease_on_another_token_is_refused():
    result, *_ = submit(buy(token="22"))
    assert result.outcome is Outcome.REFUSED
    assert "another token" in result.detail


def test_an_order_is_traded_once_whatever_comes_twice():
    async def scene(executor, books):
        first = await leased(executor, buy(), books)
        return first, await leased(executor, buy(), books), await executor.resolve(buy(), None)

    first, second, looked_up = on_paper(scene)
    assert (first.outcome, second.outcome) == (Outcome.FILLED, Outcome.REJECTED)
    assert looked_up == first


def test_an_order_whose_task_was_cancelled_never_traded():
    async def scene(executor, books):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await leased(executor, buy(), books)
        return await executor.resolve(buy(), None), await executor.holdings()

    result, holdings = on_paper(scene)
    assert result.outcome is Outcome.NO_MATCH
    assert holdings.cash == 100


def test_an_order_that_was_given_up_while_in_flight_does_not_trade_after_all():
    async def scene(executor, books):
        async with asyncio.TaskGroup() as group:
            flying = group.create_task(leased(executor, buy(), books))
            await asyncio.sleep(0.1)
            given_up = await executor.resolve(buy(), None)
        return given_up, flying.result(), await executor.holdings()

    given_up, result, holdings = on_paper(scene)
    assert given_up == result
    assert result.outcome is Outcome.NO_MATCH
    assert holdings.cash == 100


def test_what_cannot_be_paid_is_rejected():
    result, holdings, _ = submit(buy("26.00", "0.52"), config=PaperConfig(cash=d("26.50")))
    assert result.outcome is Outcome.REJECTED
    assert result.detail == "26.87360 pUSD are needed and 26.50 are there"
    assert holdings.cash == d("26.50")


def test_shares_that_are_not_held_cannot_be_sold():
    result, *_ = submit(sell())
    assert result.outcome is Outcome.REJECTED
    assert result.detail == "20 shares are offered and 0 are held"


def test_selling_brings_the_bids_less_the_fee():
    held = Holdings(cash=d(1), positions={TOKEN: d(120)})
    order = sell("120", "0.45")
    result, holdings, _ = submit(order, holdings=held)
    fees = charged_fee(CRYPTO, d("0.48"), d(100)) + charged_fee(CRYPTO, d("0.45"), d(20))
    assert (result.outcome, result.money, result.fee) == (Outcome.FILLED, d("57.00"), fees)
    assert result.cash(Side.SELL) == d("57.00") - fees
    assert holdings == Holdings(cash=d(58) - fees, positions={})


@pytest.mark.parametrize(
    ("payouts", "payout"),
    [
        ({TOKEN: d(1), "22": d(0)}, "20.000001"),
        ({TOKEN: d(0), "22": d(1)}, "0"),
        ({"22": d(1)}, "0"),
        # Both sides are redeemed at half, and the chain keeps no half of a unit.
        ({TOKEN: d("0.5"), "22": d("0.5")}, "10.000000"),
    ],
)
def test_a_settled_market_pays_its_shares_once_by_its_payouts(payouts, payout):
    async def scene(executor, books):
        return [await executor.redeem("0xm", TOKEN) for _ in range(2)], await executor.holdings()

    held = Holdings(cash=d(5), positions={TOKEN: d("20.000001")})
    (first, second), holdings = on_paper(scene, payouts=lambda _: payouts, holdings=held)
    assert (first.outcome, first.shares, first.money) == (Outcome.FILLED, d("20.000001"), d(payout))
    assert second.outcome is Outcome.NO_MATCH
    assert holdings == Holdings(cash=5 + d(payout), positions={})


def test_a_market_whose_payouts_are_not_known_is_not_redeemed():
    async def scene(executor, books):
        return await executor.redeem("0xm", TOKEN), await executor.holdings()

    result, holdings = on_paper(scene, holdings=Holdings(cash=d(5), positions={TOKEN: d(20)}))
    assert result.outcome is Outcome.REJECTED
    assert holdings.positions == {TOKEN: d(20)}


def test_a_setting_out_of_range_is_named():
    with pytest.raises(ConfigError, match="taker_delay_ms"):
        PaperConfig(taker_delay_ms=-1)

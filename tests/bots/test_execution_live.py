"""Live orders: sent once, after the last look at the lease; followed by looking; never sent again."""

from __future__ import annotations

import asyncio

import pytest

from bots.common.errors import BadCredentials, NoMatch, NotSent, Unanswered, VenueRefused
from bots.common.execution.base import Ack, ChainStatus, OrderState, Redeemed
from bots.common.execution.live import LiveConfig, LiveExecutor
from bots.common.orders.order import Outcome, TimeInForce
from polymirror import ConfigError, Gate
from tests.bots.execution_rig import (
    DELAYED,
    DONE,
    HELD,
    KILLED,
    LOST,
    START_MS,
    TOKEN,
    Books,
    ScriptedClient,
    buy,
    d,
    fill,
    in_virtual_time,
    leased,
    matched,
    network,
    sell,
)

FILL = [fill(buy())]


def live(scene, client, config=None, books=None):
    """Run ``scene(executor, books)`` in virtual time."""
    books = books or Books()

    async def main():
        return await scene(LiveExecutor(client, network(), config), books)

    return in_virtual_time(main)


def submit(client, order=None, config=None):
    return live(lambda executor, books: leased(executor, order or buy(), books), client, config)


def resolve(client, order_id="0xa", order=None, wait=0.0, config=None):
    async def scene(executor, books):
        await asyncio.sleep(wait)
        began = asyncio.get_running_loop().time()
        result = await executor.resolve(order or buy(), order_id)
        return result, asyncio.get_running_loop().time() - began

    return live(scene, client, config)


# Sending.


def test_a_match_is_reported_with_the_venues_own_money_and_fee():
    result = submit(ScriptedClient(sends=[matched()], trades=[FILL]))
    assert (result.outcome, result.shares, result.money) == (Outcome.FILLED, d(20), d("10.40"))
    assert (result.fee, result.order_id, result.exact) == (d("0.35"), "0xa", True)


def test_the_lease_is_checked_last_and_an_order_without_one_does_not_leave():
    async def scene(executor, books):
        async with Gate(books).lease(TOKEN) as lease:
            # Lost while the order is being signed: nobody looks at the lease before that.
            asyncio.get_running_loop().call_later(0.005, setattr, books, "alive", False)
            return await executor.submit(buy(), lease)

    client = ScriptedClient(sends=[matched()], trades=[FILL])
    result = live(scene, client)
    assert result.outcome is Outcome.REFUSED
    assert "the lease on 11 is lost, do not send the order: the book is SUSPECT (DISCONNECT)" in result.detail
    assert client.left == []


def test_the_last_look_is_in_the_step_in_which_the_order_leaves():
    books, client = Books(), ScriptedClient(sends=[matched()], trades=[FILL])
    live(lambda executor, books: leased(executor, buy(), books), client, books=books)
    assert books.looks[-1:] == client.left


def test_a_lease_on_another_token_is_refused_before_anything():
    client = ScriptedClient(sends=[matched()])
    result = submit(client, buy(token="22"))
    assert result.outcome is Outcome.REFUSED
    assert client.left == []


def test_a_lease_that_has_ended_sends_nothing():
    async def scene(executor, books):
        async with Gate(books).lease(TOKEN) as lease:
            pass
        return await executor.submit(buy(), lease)

    client = ScriptedClient(sends=[matched()])
    assert live(scene, client).outcome is Outcome.REFUSED
    assert client.left == []


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotSent("order", "ConnectError"), Outcome.REJECTED),
        (NoMatch("order", 400, "no orders found to match with FAK order"), Outcome.NO_MATCH),
        (VenueRefused("order", 400, "not enough balance"), Outcome.REJECTED),
        (VenueRefused("order", 400, "Duplicated", exists=True), Outcome.UNKNOWN),
        (BadCredentials("order", 401, "Unauthorized/Invalid api key"), Outcome.REJECTED),
        (VenueRefused("order", 425, "Too Early"), Outcome.REJECTED),
        (Unanswered("order", "ReadTimeout"), Outcome.UNKNOWN),
        (Unanswered("order", "HTTP 502"), Outcome.UNKNOWN),
    ],
)
def test_each_way_to_fail_has_its_outcome_and_sends_nothing_more(error, outcome):
    client = ScriptedClient(sends=[error])
    result = submit(client)
    assert result.outcome is outcome
    assert error.detail.split(": ")[-1] in result.detail
    assert len(client.left) == 1
    assert client.asked == []


def test_a_region_that_the_venue_refuses_is_not_traded_from_again():
    async def scene(executor, books):
        first = await leased(executor, buy(), books)
        await asyncio.sleep(3_600)
        return first, await leased(executor, buy(client_id="c2"), books)

    client = ScriptedClient(sends=[BadCredentials("order", 403, "Trading restricted in your region")])
    first, second = live(scene, client)
    assert first.outcome is second.outcome is Outcome.REJECTED
    assert len(client.left) == 1


def test_credentials_that_are_refused_close_the_lane_for_a_while():
    async def scene(executor, books):
        for number in range(3):
            await leased(executor, buy(client_id=f"c{number}"), books)
            await asyncio.sleep(40)

    client = ScriptedClient(sends=[BadCredentials("order", 401, "Unauthorized/Invalid api key")])
    live(scene, client)
    assert len(client.left) == 2


def test_an_unknown_order_keeps_the_name_it_has():
    assert submit(ScriptedClient(sends=[LOST])).order_id == "0xa"


# Pacing.


def many(count, client, config=None):
    async def scene(executor, books):
        orders = [buy(client_id=f"c{number}") for number in range(count)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(leased(executor, order, books)) for order in orders]
        return [task.result() for task in tasks]

    return live(scene, client, config)


@pytest.mark.parametrize(("count", "slow"), [(4, 0.15), (4, 0.5), (16, 0.15), (16, 0.35)])
def test_signals_that_come_together_all_leave_within_a_second(count, slow):
    client = ScriptedClient(sends=[matched()], trades=[FILL], slow=slow)
    results = many(count, client)
    assert {result.outcome for result in results} == {Outcome.FILLED}
    assert len(client.left) == count
    assert client.left[-1] - client.left[0] < 1


def test_no_more_orders_leave_in_a_second_than_the_rate_says():
    client = ScriptedClient(sends=[matched()], trades=[FILL], slow=0.35)
    results = many(16, client, LiveConfig(per_second=4, max_wait=1.9))
    gone = [at - client.left[0] for at in client.left]
    assert gone == [pytest.approx(0)] * 4 + [pytest.approx(0.25 * n) for n in range(1, 8)]
    late = [result.detail for result in results if result.outcome is Outcome.REJECTED]
    assert late == ["order: the wallet's lane was busy for 1.9 s"] * 5


def test_the_kill_switch_stops_an_order_that_waits_for_its_turn():
    async def scene(executor, books):
        why = []
        first = asyncio.create_task(leased(executor, buy(), books))
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.3, why.append, "the file STOP exists")
        async with Gate(books).lease(TOKEN) as lease:
            second = await executor.submit(buy(client_id="c2"), lease, lambda: why[0] if why else None)
        return await first, second

    client = ScriptedClient(sends=[matched()], trades=[FILL])
    first, second = live(scene, client, LiveConfig(per_second=1))
    assert (first.outcome, second.outcome) == (Outcome.FILLED, Outcome.REJECTED)
    assert second.detail == "order: the file STOP exists"
    assert len(client.left) == 1


def test_a_wait_that_the_venue_asked_for_closes_the_lane():
    async def scene(executor, books):
        first = await leased(executor, buy(), books)
        second = await leased(executor, buy(client_id="c2"), books)
        await asyncio.sleep(4.5)
        return first, second, await leased(executor, buy(client_id="c3"), books)

    busy = VenueRefused("order", 429, "Too Many Requests", retry_after=5.0)
    client = ScriptedClient(sends=[busy, matched()], trades=[FILL])
    first, second, third = live(scene, client)
    assert [each.outcome for each in (first, second, third)] == [Outcome.REJECTED, Outcome.REJECTED, Outcome.FILLED]
    assert "closed for another 5.0 s" in second.detail
    assert len(client.left) == 2


# In flight.


def test_a_delayed_order_is_in_flight_until_it_is_decided():
    client = ScriptedClient(sends=[DELAYED], states=[HELD, LOST, None, DONE], trades=[FILL])
    result = submit(client)
    assert (result.outcome, result.shares) == (Outcome.FILLED, d(20))
    assert client.asked == ["order 0xa"] * 4 + ["trades"]


def test_a_delayed_order_that_is_killed_matched_nothing():
    result = submit(ScriptedClient(sends=[DELAYED], states=[HELD, KILLED]))
    assert (result.outcome, result.detail) == (Outcome.NO_MATCH, "unmatched")


def test_an_order_in_flight_beyond_the_bound_is_unknown_and_can_be_resolved_later():
    async def scene(executor, books):
        began = asyncio.get_running_loop().time()
        first = await leased(executor, buy(), books)
        waited = asyncio.get_running_loop().time() - began
        client.states.clear()
        client.states.append(DONE)
        return first, waited, await executor.resolve(buy(), first.order_id)

    client = ScriptedClient(sends=[DELAYED], states=[HELD], trades=[FILL])
    first, waited, second = live(scene, client, LiveConfig(decide_within=3))
    assert (first.outcome, first.order_id) == (Outcome.UNKNOWN, "0xa")
    assert 3 <= waited < 3.5
    assert second.outcome is Outcome.FILLED
    assert len(client.left) == 1


def test_a_fak_order_that_traded_a_part_and_was_cancelled_is_partial():
    part = OrderState(status="CANCELED", shares=d(5))
    client = ScriptedClient(sends=[DELAYED], states=[part], trades=[[fill(buy(), "5", fee="0.0875")]])
    result = submit(client, buy(tif=TimeInForce.FAK))
    assert (result.outcome, result.shares, result.money) == (Outcome.PARTIAL, d(5), d("2.60"))


def test_an_unmatched_answer_is_an_answer():
    assert submit(ScriptedClient(sends=[Ack(order_id="0xa", status="unmatched")])).outcome is Outcome.NO_MATCH


# Accounting.


def test_fills_that_are_listed_late_are_waited_for():
    part = [fill(buy(), "8", fee="0.14")]
    whole = [*part, fill(buy(), "12", "0.50", fee="0.21", id="t2")]
    result = submit(ScriptedClient(sends=[matched()], trades=[[], LOST, part, whole]))
    assert (result.shares, result.money, result.fee, result.exact) == (d(20), d("10.16"), d("0.35"), True)


def test_a_match_is_not_booked_before_its_fills_are_listed():
    result = submit(ScriptedClient(sends=[matched()], trades=[LOST]))
    assert (result.outcome, result.order_id) == (Outcome.UNKNOWN, "0xa")
    assert "not listed yet" in result.detail
    again, _ = resolve(ScriptedClient(states=[DONE], trades=[LOST, [], FILL]))
    assert (again.outcome, again.exact) == (Outcome.FILLED, True)


def test_a_match_that_is_never_listed_is_never_booked():
    result, _ = resolve(ScriptedClient(states=[DONE], trades=[[]]), wait=3_000)
    assert (result.outcome, result.shares, result.order_id) == (Outcome.UNKNOWN, 0, "0xa")


def test_a_match_without_a_size_is_not_taken_to_be_its_first_listed_fill():
    silent, said = OrderState(status="MATCHED", shares=d(0)), Ack(order_id="0xa", status="matched")
    first, whole = [fill(buy(), "8")], [fill(buy(), "8"), fill(buy(), "12", id="t2")]
    result = submit(ScriptedClient(sends=[said], trades=[first]))
    assert (result.outcome, result.detail) == (Outcome.UNKNOWN, "matched, and 8 shares are listed so far")
    assert resolve(ScriptedClient(states=[silent], trades=[first]))[0].outcome is Outcome.UNKNOWN
    assert resolve(ScriptedClient(states=[silent], trades=[first, whole]))[0].shares == 20
    # Of a part of a FAK order only the venue's size says that it is all.
    part = buy(tif=TimeInForce.FAK)
    assert resolve(ScriptedClient(states=[silent], trades=[first]), order=part)[0].outcome is Outcome.UNKNOWN
    sized = OrderState(status="MATCHED", shares=d(8))
    result, _ = resolve(ScriptedClient(states=[silent, sized], trades=[first]), order=part)
    assert (result.outcome, result.shares) == (Outcome.PARTIAL, 8)


def test_trades_that_failed_on_the_chain_moved_nothing():
    gone = [fill(buy(), status=ChainStatus.FAILED)]
    result = submit(ScriptedClient(sends=[matched()], trades=[gone]))
    assert (result.outcome, result.shares, result.money) == (Outcome.NO_MATCH, 0, 0)
    assert "failed on the chain" in result.detail
    half = [fill(buy(), "8", fee="0.14"), fill(buy(), "12", id="t2", status=ChainStatus.FAILED)]
    result, _ = resolve(ScriptedClient(states=[DONE], trades=[half]))
    assert (result.outcome, result.shares, result.money, result.fee) == (Outcome.PARTIAL, 8, d("4.16"), d("0.14"))
    # One that failed accounts for its shares: nobody waits for them.
    alone, _ = resolve(ScriptedClient(states=[DONE], trades=[half[1:]]), config=LiveConfig(resolve_within=1))
    assert (alone.outcome, alone.detail) == (Outcome.UNKNOWN, "matched, and 12 of 20 shares are listed so far")


@pytest.mark.parametrize(
    ("order", "fills", "why"),
    [
        (buy(), [fill(buy(), price="0.53", shares="19")], "beyond the limit 0.52"),
        (buy(), [fill(buy()), fill(buy(), "0.04", id="t2", fee="0")], "its trades use 10.4208 pUSD of 10.40 offered"),
        (buy(), [fill(buy(), "0")], "is of 0 shares"),
        (buy(), [fill(buy(), "20", "0")], "at 0 for"),
        (sell(), [fill(sell(), price="0.47")], "beyond the limit 0.48"),
        (sell(), [fill(sell(), "20.02", "0.48")], "its trades use 20.02 shares of 20 offered"),
    ],
)
def test_fills_beyond_their_order_are_told_and_never_booked(order, fills, why):
    result, _ = resolve(ScriptedClient(states=[DONE], trades=[fills]), order=order)
    assert (result.outcome, result.shares) == (Outcome.UNKNOWN, 0)
    assert result.detail.startswith("not booked, because ")
    assert why in result.detail


def test_a_cent_more_than_offered_is_rounding_and_two_are_not():
    within = [fill(buy(), "20", money=d("10.41"))]
    assert resolve(ScriptedClient(states=[DONE], trades=[within]))[0].outcome is Outcome.FILLED
    more = [fill(buy(), "20", money=d("10.42"))]
    assert resolve(ScriptedClient(states=[DONE], trades=[more]))[0].outcome is Outcome.UNKNOWN


def test_a_match_of_which_nothing_is_told_is_unknown():
    silent = Ack(order_id="0xa", status="matched")
    assert submit(ScriptedClient(sends=[silent], trades=[[]])).outcome is Outcome.UNKNOWN


def test_fees_that_the_venue_does_not_tell_are_computed_for_each_fill():
    fills = [fill(buy(), "8", fee=None), fill(buy(), "12", "0.50", fee=None)]
    result = submit(ScriptedClient(sends=[matched()], trades=[fills]))
    assert result.fee == d("0.13978") + d("0.21")
    assert not result.exact


def test_fills_of_other_orders_and_tokens_are_not_ours():
    others = [fill(buy(), order_id="0xb"), fill(buy(token="22"))]
    result = submit(ScriptedClient(sends=[matched()], trades=[others + FILL]))
    assert result.shares == d(20)


# Looking up.


def test_a_lost_answer_is_resolved_by_looking_the_order_up():
    result, _ = resolve(ScriptedClient(states=[LOST, HELD, DONE], trades=[FILL]))
    assert (result.outcome, result.shares) == (Outcome.FILLED, d(20))


def test_a_name_that_follows_from_the_order_is_used():
    client = ScriptedClient(states=[KILLED])
    result, _ = resolve(client, order_id=None)
    assert result.outcome is Outcome.NO_MATCH
    assert client.asked == ["order 0xa", "trades"]


def test_a_name_that_the_venue_told_is_remembered():
    async def scene(executor, books):
        await leased(executor, buy(), books)
        client.states.clear()
        client.states.append(KILLED)
        return await executor.resolve(buy(), None)

    client = ScriptedClient(sends=[DELAYED], states=[HELD], named=False)
    assert live(scene, client, LiveConfig(decide_within=1)).outcome is Outcome.NO_MATCH
    assert set(client.asked) == {"order 0xa", "trades"}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("wait", [0, 15, 300, 3_000])
def test_that_nothing_is_found_proves_nothing_however_late(named, wait):
    client = ScriptedClient(states=[None], named=named)
    result, waited = resolve(client, order_id=None, wait=wait, config=LiveConfig(resolve_within=20))
    assert (result.outcome, result.order_id) == (Outcome.UNKNOWN, "0xa" if named else None)
    assert "proves nothing" in result.detail
    assert 20 <= waited < 25
    assert len(client.asked) < 20


def test_a_look_up_that_fails_says_so():
    result, _ = resolve(ScriptedClient(states=[None, LOST]), wait=100, config=LiveConfig(resolve_within=5))
    assert (result.outcome, result.detail) == (Outcome.UNKNOWN, str(LOST))


def test_an_order_that_is_found_after_it_seemed_absent_is_found():
    client = ScriptedClient(states=[None, LOST, None, DONE], trades=[[], [], [], FILL])
    assert resolve(client, wait=100)[0].outcome is Outcome.FILLED


def test_without_a_name_a_fill_that_fits_is_the_orders():
    client = ScriptedClient(trades=[[fill(buy(), "20.39", order_id="0xq", price="0.51")]], named=False)
    result, _ = resolve(client, order_id=None)
    assert (result.outcome, result.order_id) == (Outcome.FILLED, "0xq")


def test_without_a_name_a_fill_at_a_better_price_may_bring_more_shares():
    client = ScriptedClient(trades=[[fill(buy(), "26", price="0.40")]], named=False)
    assert resolve(client, order_id=None, wait=100)[0].shares == 26


def test_fills_prove_a_trade_although_the_order_cannot_be_looked_up():
    client = ScriptedClient(states=[Unanswered("order look-up", "null")], trades=[[], FILL])
    assert resolve(client)[0].outcome is Outcome.FILLED


def test_a_young_match_is_not_booked_from_a_part_of_its_fills():
    half = fill(buy(), "8", id="t0")
    client = ScriptedClient(states=[None], trades=[[half], [half, fill(buy(), "12")]])
    assert resolve(client)[0].shares == 20


def test_shares_told_in_millionths_are_shares():
    held = OrderState(status="MATCHED", shares=d(8_000_000))
    half = [[fill(buy(), "8")]]
    assert resolve(ScriptedClient(states=[held], trades=half))[0].shares == 8


@pytest.mark.parametrize("other", [{"price": "0.53"}, {"shares": "20.03"}, {"at_ms": START_MS - 121_000}])
def test_without_a_name_a_fill_that_the_order_cannot_have_made_is_not_its_own(other):
    client = ScriptedClient(trades=[[fill(buy(), **other)]], named=False)
    assert resolve(client, order_id=None, wait=100)[0].outcome is Outcome.UNKNOWN


def test_without_a_name_a_part_gives_the_name_and_the_look_up_the_rest():
    part = [fill(buy(), "8", order_id="0xq")]
    client = ScriptedClient(states=[OrderState(status="CANCELED", shares=d(8))], trades=[part], named=False)
    result, _ = resolve(client, order_id=None, order=buy(tif=TimeInForce.FAK))
    assert (result.outcome, result.order_id, result.shares) == (Outcome.PARTIAL, "0xq", 8)
    assert client.asked == ["trades", "order 0xq", "trades"]


def test_without_a_name_fills_that_are_accounted_for_are_left_out():
    async def scene(executor, books):
        await asyncio.sleep(100)
        executor.know(["0xa"])
        return await executor.resolve(buy(client_id="c2"), None)

    client = ScriptedClient(trades=[FILL], named=False)
    result = live(scene, client)
    assert (result.outcome, result.order_id) == (Outcome.UNKNOWN, None)


def test_without_a_name_fills_of_two_orders_are_left_to_a_person():
    client = ScriptedClient(trades=[[fill(buy(), "5"), fill(buy(), "5", order_id="0xb")]], named=False)
    result, _ = resolve(client, order_id=None, config=LiveConfig(resolve_within=1))
    assert result.outcome is Outcome.UNKNOWN
    assert "0xa, 0xb" in result.detail


def test_looking_up_sends_nothing():
    client = ScriptedClient(sends=[matched()], states=[None])
    resolve(client, wait=100)
    assert client.left == []


# Redeeming.


@pytest.mark.parametrize(
    ("answer", "outcome", "figures"),
    [
        (Redeemed(shares=d(20)), Outcome.FILLED, (20, 20, False)),
        (Redeemed(shares=d(20), money=d(10)), Outcome.FILLED, (20, 10, True)),
        (Redeemed(shares=d(20), money=d(0)), Outcome.FILLED, (20, 0, True)),
        (Redeemed(shares=d(0)), Outcome.NO_MATCH, (0, 0, True)),
        (VenueRefused("redeem", 400, "market is not resolved"), Outcome.REJECTED, (0, 0, True)),
        (NotSent("redeem", "ConnectError"), Outcome.REJECTED, (0, 0, True)),
        (Unanswered("redeem", "ReadTimeout"), Outcome.UNKNOWN, (0, 0, True)),
    ],
)
def test_redeeming_says_what_came_of_it(answer, outcome, figures):
    async def scene(executor, books):
        return await executor.redeem("0xm", TOKEN)

    result = live(scene, ScriptedClient(redeems=[answer]))
    assert (result.outcome, (result.shares, result.money, result.exact)) == (outcome, figures)


@pytest.mark.parametrize(("field", "value"), [("poll", 0), ("max_wait", 100), ("per_second", 0)])
def test_a_setting_out_of_range_is_named(field, value):
    with pytest.raises(ConfigError, match=field):
        LiveConfig(**{field: value})

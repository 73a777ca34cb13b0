"""Live orders: sent once, after the last look at the lease; followed by looking; never sent again."""

from __future__ import annotations

import asyncio

import pytest

from bots.common.errors import BadCredentials, NoMatch, NotSent, Unanswered, VenueRefused
from bots.common.execution.base import Ack, OrderState
from bots.common.execution.live import LiveConfig, LiveExecutor
from bots.common.orders.order import Outcome, TimeInForce
from polymirror import ConfigError, Gate
from tests.bots.execution_rig import (
    DELAYED,
    DONE,
    HELD,
    KILLED,
    LOST,
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
    assert "11 is SUSPECT (DISCONNECT)" in result.detail
    assert client.left == []


def test_the_last_look_is_in_the_step_in_which_the_order_leaves():
    books, client = Books(), ScriptedClient(sends=[matched()], trades=[FILL])
    live(lambda executor, books: leased(executor, buy(), books), client, books=books)
    assert books.looks[-1:] == client.left


def test_a_lease_on_another_token_is_refused_before_anything():
    client = ScriptedClient(sends=[matched()])
    result = submit(client, buy(token="22"))  # noqa: S106 - no password
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


def test_orders_of_a_wallet_leave_one_after_the_other_with_an_interval():
    client = ScriptedClient(sends=[matched()], trades=[FILL], slow=0.05)
    many(3, client, LiveConfig(min_interval=0.2))
    gaps = [later - earlier for earlier, later in zip(client.left, client.left[1:], strict=False)]
    assert gaps == [pytest.approx(0.25), pytest.approx(0.25)]


def test_following_an_order_in_flight_keeps_no_other_waiting():
    client = ScriptedClient(sends=[DELAYED], states=[HELD, HELD, HELD, DONE], trades=[FILL])
    many(2, client, LiveConfig(min_interval=0.1, poll=0.2))
    assert client.left[1] - client.left[0] == pytest.approx(0.1)


def test_the_kill_switch_stops_an_order_that_waits_for_its_turn():
    async def scene(executor, books):
        why = []
        first = asyncio.create_task(leased(executor, buy(), books))
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.3, why.append, "the file STOP exists")
        async with Gate(books).lease(TOKEN) as lease:
            second = await executor.submit(buy(client_id="c2"), lease, lambda: why[0] if why else None)
        return await first, second

    client = ScriptedClient(sends=[matched()], trades=[FILL], slow=0.6)
    first, second = live(scene, client, LiveConfig(min_interval=0))
    assert (first.outcome, second.outcome) == (Outcome.FILLED, Outcome.REJECTED)
    assert second.detail == "order: the file STOP exists"
    assert len(client.left) == 1


def test_an_order_that_would_wait_too_long_is_not_sent():
    client = ScriptedClient(sends=[matched()], trades=[FILL], slow=0.6)
    results = many(4, client, LiveConfig(min_interval=0, max_wait=1.0))
    late = [result for result in results if result.outcome is Outcome.REJECTED]
    assert [result.detail for result in late] == ["order: the wallet's lane was busy for 1 s"] * 2
    assert len(client.left) == 2


def test_no_more_than_so_many_wait():
    client = ScriptedClient(sends=[matched()], trades=[FILL], slow=0.1)
    results = many(4, client, LiveConfig(min_interval=0, max_waiting=1))
    late = [result for result in results if result.outcome is Outcome.REJECTED]
    assert [("orders are waiting" in result.detail) for result in late] == [True, True]


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


def test_fills_that_are_never_listed_are_computed_in_the_end_and_marked_so():
    result, _ = resolve(ScriptedClient(states=[DONE], trades=[LOST]), wait=300)
    assert (result.outcome, result.shares, result.money, result.exact) == (Outcome.FILLED, d(20), d("10.40"), False)
    assert result.fee == d("0.34944")


def test_a_match_of_which_nothing_is_told_is_unknown():
    silent = Ack(order_id="0xa", status="matched")
    assert submit(ScriptedClient(sends=[silent], trades=[[]])).outcome is Outcome.UNKNOWN


def test_fees_that_the_venue_does_not_tell_are_computed_for_each_fill():
    fills = [fill(buy(), "8", fee=None), fill(buy(), "12", "0.50", fee=None)]
    result = submit(ScriptedClient(sends=[matched()], trades=[fills]))
    assert result.fee == d("0.13978") + d("0.21")
    assert not result.exact


def test_fills_of_other_orders_and_tokens_are_not_ours():
    others = [fill(buy(), order_id="0xb"), fill(buy(token="22"))]  # noqa: S106 - no password
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
    assert client.asked == ["order 0xa"]


def test_a_name_that_the_venue_told_is_remembered():
    async def scene(executor, books):
        await leased(executor, buy(), books)
        client.states.clear()
        client.states.append(KILLED)
        return await executor.resolve(buy(), None)

    client = ScriptedClient(sends=[DELAYED], states=[HELD], named=False)
    assert live(scene, client, LiveConfig(decide_within=1)).outcome is Outcome.NO_MATCH
    assert set(client.asked) == {"order 0xa"}


def test_an_order_is_absent_only_when_it_is_old_enough_and_two_looks_agree():
    client = ScriptedClient(states=[None])
    result, waited = resolve(client, config=LiveConfig(absent_after=15, poll=1))
    assert result.outcome is Outcome.NO_MATCH
    assert "knows neither" in result.detail
    assert 15 <= waited <= 16
    old, waited = resolve(client, wait=100, config=LiveConfig(absent_after=15, poll=1))
    assert old.outcome is Outcome.NO_MATCH
    assert waited == pytest.approx(1)


def test_a_look_up_that_fails_proves_no_absence():
    client = ScriptedClient(states=[None, LOST])
    result, waited = resolve(client, wait=100, config=LiveConfig(resolve_within=5))
    assert (result.outcome, result.detail) == (Outcome.UNKNOWN, str(LOST))
    assert 5 <= waited < 5.5


def test_two_looks_agree_only_if_none_failed_between_them():
    client = ScriptedClient(states=[None, LOST, None, DONE], trades=[[], [], FILL])
    assert resolve(client, wait=100)[0].outcome is Outcome.FILLED


def test_an_order_that_is_found_after_it_seemed_absent_is_found():
    client = ScriptedClient(states=[None, DONE], trades=[[], FILL])
    assert resolve(client, wait=100)[0].outcome is Outcome.FILLED


def test_without_a_name_a_fill_that_fits_is_the_orders():
    client = ScriptedClient(trades=[[fill(buy(), order_id="0xq", price="0.51")]], named=False)
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
    held = OrderState(status="MATCHED", shares=d(20_000_000))
    assert resolve(ScriptedClient(states=[held], trades=[FILL]))[0].shares == 20
    result, _ = resolve(ScriptedClient(states=[held]), wait=400, config=LiveConfig(resolve_within=1))
    assert (result.outcome, result.shares) == (Outcome.FILLED, 20)


@pytest.mark.parametrize("other", [{"price": "0.53"}, {"shares": "20.01"}])
def test_without_a_name_a_fill_that_the_order_cannot_have_made_is_not_its_own(other):
    client = ScriptedClient(trades=[[fill(buy(), **other)]], named=False)
    assert resolve(client, order_id=None, wait=100)[0].outcome is Outcome.NO_MATCH


def test_without_a_name_fills_that_are_accounted_for_are_left_out():
    async def scene(executor, books):
        await asyncio.sleep(100)
        executor.know(["0xa"])
        return await executor.resolve(buy(client_id="c2"), None)

    client = ScriptedClient(trades=[FILL], named=False)
    assert live(scene, client).outcome is Outcome.NO_MATCH


def test_without_a_name_fills_of_two_orders_are_left_to_a_person():
    client = ScriptedClient(trades=[[fill(buy(), "5"), fill(buy(), "5", order_id="0xb")]], named=False)
    result, _ = resolve(client, order_id=None, config=LiveConfig(resolve_within=1))
    assert result.outcome is Outcome.UNKNOWN
    assert "0xa, 0xb" in result.detail


def test_without_a_name_an_order_in_flight_is_not_absent():
    client = ScriptedClient(named=False)
    client.flying = True
    result, _ = resolve(client, order_id=None, wait=100, config=LiveConfig(resolve_within=2))
    assert (result.outcome, result.detail) == (Outcome.UNKNOWN, "an order on this token is in flight")


def test_looking_up_sends_nothing():
    client = ScriptedClient(sends=[matched()], states=[None])
    resolve(client, wait=100)
    assert client.left == []


# Redeeming.


@pytest.mark.parametrize(
    ("answer", "outcome", "money"),
    [
        (d(20), Outcome.FILLED, d(20)),
        (d(0), Outcome.NO_MATCH, d(0)),
        (VenueRefused("redeem", 400, "market is not resolved"), Outcome.REJECTED, d(0)),
        (NotSent("redeem", "ConnectError"), Outcome.REJECTED, d(0)),
        (Unanswered("redeem", "ReadTimeout"), Outcome.UNKNOWN, d(0)),
    ],
)
def test_redeeming_says_what_came_of_it(answer, outcome, money):
    async def scene(executor, books):
        return await executor.redeem("0xm", TOKEN)

    result = live(scene, ScriptedClient(redeems=[answer]))
    assert (result.outcome, result.shares, result.money) == (outcome, money, money)


@pytest.mark.parametrize(("field", "value"), [("poll", 0), ("max_wait", 100), ("absent_after", 0.5)])
def test_a_setting_out_of_range_is_named(field, value):
    with pytest.raises(ConfigError, match=field):
        LiveConfig(**{field: value})

"""Several legs as one intent: one lease over all books, written down together, and what happens when a leg fails."""

from __future__ import annotations

import asyncio

import pytest

from bots.common.ledger.account import Account
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.money.sizing import NoSize, SizeLimits, SizeRefusal
from bots.common.orders.intents import Group, Intent, Leg
from bots.common.orders.manager import OrderManager
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from bots.common.orders.reconcile import Reconciler
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk, RiskLimits
from polymirror import BookState, NotLive, Reason
from tests.bots.execution_rig import MARKET, d, in_virtual_time, network, view_of
from tests.bots.test_order_manager import TERMS, Venue

YES, NO = "11", "12"


class Pair:
    """A mirror of both tokens of a market."""

    def __init__(self):
        self.views = {token: view_of(token=token) for token in (YES, NO)}
        self.dead = set()

    def live(self, token, max_proof_age=None):
        if token in self.dead:
            raise NotLive(token, BookState.SUSPECT, Reason.DISCONNECT, 0.4, 1, max_proof_age)
        return self.views[token]

    async def wait_settled(self, token, max_proof_age=None, timeout=0.05):
        return self.live(token, max_proof_age)

    async def prove(self, token, timeout):
        return self.live(token)


def size_pair(views, _limits):
    """Buy ten pairs: each leg costs at most 5 pUSD, and both together pay 10 whatever happens."""
    legs = [
        Leg(token=view.token, side=Side.BUY, price=d("0.5"), amount=d(5), tick=d("0.01"), reserve=d("5.2"))
        for view in views
    ]
    return Group(tuple(legs), d("0.4"))


def intent(**changes):
    return Intent(**{"terms": TERMS, "tokens": (YES, NO), "size": size_pair, **changes})


def filled(order):
    return Result(
        outcome=Outcome.FILLED, shares=order.shares, money=order.money, fee=d("0.1"), order_id=order.client_id
    )


NOTHING = Result(outcome=Outcome.NO_MATCH)


class Market(Venue):
    """A venue that answers by token and side."""

    def __init__(self, answers, slow=0.0):
        super().__init__()
        self.by_leg = answers
        self.slow = slow
        self.orders = []

    async def answer(self, what, order):
        self.orders.append(order)
        await asyncio.sleep(self.slow)
        return self.by_leg[order.token, order.side](order)


class Disk(Database):
    """A disk that is full from the third transaction on: before are the opening cash and the intent."""

    writes = 0

    def write(self, statements):
        self.writes += 1
        if self.writes > 2:
            raise OSError(28, "No space left on device")
        super().write(statements)


def play(
    answers, during=None, seconds=5, slow=0.0, risk_limits=None, database=None, venue=None, apart=False, **changes
):
    """Enter one pair; return the manager, the venue, the database and what was told."""

    async def main():
        account, risk = Account(), Risk(risk_limits or RiskLimits(second_entry=True, cooldown_ms=0))
        store, told, mirror = database or Database(), [], Pair()
        exchange = (venue or Market)(answers, slow)
        ledger = Ledger(store, network(), account=account, followers=(RiskFollower(risk, account),))
        await ledger.open()
        manager = OrderManager(
            executor=exchange, ledger=ledger, risk=risk, limits=SizeLimits(), network=network(), max_proof_age=2.0,
            reconciler=Reconciler(ledger, exchange, network()), on_result=lambda o, r: told.append((o.side, r.outcome)),
        )  # fmt: skip
        running = asyncio.create_task(manager.run())
        await asyncio.sleep(0.01)
        manager.apart |= {TERMS.market: "traded before"} if apart else {}
        assert manager.enter(mirror, intent(**changes)) is not apart
        if during is not None:
            await during(mirror)
        await asyncio.sleep(seconds)
        running.cancel()
        return manager, exchange, store, told

    return in_virtual_time(main)


BOTH = {(YES, Side.BUY): filled, (NO, Side.BUY): filled}


def test_both_legs_are_written_down_together_and_leave_side_by_side():
    manager, venue, database, _ = play(BOTH, slow=0.5)
    assert [order.token for order in venue.orders] == [YES, NO]
    rows = database.read("SELECT group_id, worst_e6, reserve_e6, token FROM orders")
    first = venue.orders[0].client_id
    assert rows == [(first, 400_000, 5_200_000, YES), (first, 400_000, 5_200_000, NO)]
    assert {held.shares for held in manager.account.positions.values()} == {10}
    assert len({order.client_id for order in venue.orders}) == 2


def test_a_leg_whose_task_fails_leaves_the_other_to_the_task_that_sent_it(caplog):
    def fails(_order):
        raise RuntimeError("a bug")

    class Slow(Market):
        async def submit(self, order, lease, stopped):
            if order.token == NO:
                await asyncio.sleep(1)
                lease.check()
            return await super().submit(order, lease, stopped)

        async def resolve(self, order, order_id):
            resolved.append(order.token)
            return Result(outcome=Outcome.UNKNOWN)

    resolved = []
    manager, _, _, told = play({(YES, Side.BUY): fails, (NO, Side.BUY): filled}, venue=Slow)
    assert told == [(Side.BUY, Outcome.FILLED)]
    assert set(resolved) == {YES}
    assert sorted(manager.account.positions) == [NO]
    assert "a bug" in caplog.text


def test_what_traded_is_told_and_followed_though_the_disk_is_full_by_then():
    manager, venue, _, told = play(BOTH, database=Disk())
    assert told == [(Side.BUY, Outcome.FILLED)] * 2
    assert sorted(manager.account.positions) == [YES, NO]
    assert [order.side for order in venue.orders] == [Side.BUY] * 2
    assert manager.counts["failed"] == 0


def test_a_pair_whose_second_leg_finds_no_match_is_kept_and_what_mends_it_is_of_its_group():
    answers = BOTH | {(NO, Side.BUY): lambda _order: NOTHING}
    manager, venue, *_ = play(answers)
    assert list(manager.account.positions) == [YES]
    assert len(venue.orders) == 2
    # A cooldown of an hour, and yet: what completes or ends a group does not wait for it.
    waits = RiskLimits(second_entry=True, cooldown_ms=3_600_000)
    _, _, database, told = play(answers, risk_limits=waits, group_id="g.1", tif=TimeInForce.FAK)
    assert len(told) == 2
    assert database.read("SELECT DISTINCT group_id, tif FROM orders") == [("g.1", "FAK")]


def test_markets_that_are_left_alone_are_not_traded():
    manager, venue, *_ = play(BOTH, apart=True, seconds=1)
    assert venue.orders == []
    assert manager.counts["left alone"] == 1


def test_no_leg_leaves_when_one_of_the_books_is_in_doubt():
    async def doubt(mirror):
        mirror.dead.add(NO)

    manager, venue, database, _ = play(BOTH, doubt)
    assert venue.orders == []
    assert manager.counts["refused_non_live"] >= 1
    assert database.read("SELECT count(*) FROM orders") == [(0,)]
    assert manager.account.open == {}


def test_a_lease_over_both_is_lost_by_either_at_the_wire():
    async def main():
        from bots.common.orders.intents import leases_of  # noqa: PLC0415 - as above
        from polymirror.gate import Gate  # noqa: PLC0415 - beside what it shows

        mirror = Pair()
        async with Gate(mirror).lease(YES, NO) as lease:
            yes, no = leases_of(lease)
            assert (yes.token, no.token) == (YES, NO)
            assert yes.check().token == YES
            mirror.dead.add(NO)
            for each in (yes, no):
                with pytest.raises(NotLive):
                    each.check()

    in_virtual_time(main)


def test_nothing_leaves_after_the_deadline():
    class Late(Market):
        async def submit(self, order, lease, stopped):
            await asyncio.sleep(2)
            why = stopped()
            return Result(outcome=Outcome.REJECTED, detail=why) if why else await super().submit(order, lease, stopped)

    async def main():
        account, risk = Account(), Risk(RiskLimits())
        ledger = Ledger(Database(), network(), account=account, followers=(RiskFollower(risk, account),))
        await ledger.open()
        venue, told = Late(BOTH), []
        manager = OrderManager(
            executor=venue, ledger=ledger, risk=risk, limits=SizeLimits(), network=network(), max_proof_age=2.0,
            reconciler=Reconciler(ledger, venue, network()), on_result=lambda o, r: told.append(r.detail),
        )  # fmt: skip
        running = asyncio.create_task(manager.run())
        await asyncio.sleep(0.01)
        manager.enter(Pair(), intent(deadline=1.0))
        await asyncio.sleep(5)
        running.cancel()
        assert told == ["the deadline of its intent has passed"] * 2
        assert venue.orders == []

    in_virtual_time(main)


def test_a_group_that_is_not_sized_is_refused_and_kept_as_a_decision():
    def nothing(_views, _limits):
        return SizeRefusal(NoSize.NO_EDGE, "no edge in both")

    async def main():
        ledger = Ledger(database := Database(), network())
        await ledger.open()
        venue = Market(BOTH)
        manager = OrderManager(
            executor=venue, ledger=ledger, risk=Risk(RiskLimits()), limits=SizeLimits(), network=network(),
            max_proof_age=2.0, reconciler=Reconciler(ledger, venue, network()),
        )  # fmt: skip
        running = asyncio.create_task(manager.run())
        await asyncio.sleep(0.01)
        assert not manager.enter(Pair(), intent(size=nothing))
        await ledger.flush()
        running.cancel()
        assert database.read("SELECT market, verdict, detail, proof FROM decisions") == [
            (MARKET, "size NO_EDGE", f"{NoSize.NO_EDGE.value}: no edge in both", "HASH")
        ]

    in_virtual_time(main)

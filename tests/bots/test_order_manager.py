"""The manager: one order per market at a time, nothing twice, everything booked in the end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from bots.common.errors import Unanswered
from bots.common.execution.base import ChainStatus, Holdings
from bots.common.execution.live import LiveExecutor
from bots.common.ledger.account import Account
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.money.sizing import SizeLimits
from bots.common.orders.intents import Terms, Wish
from bots.common.orders.manager import OrderManager
from bots.common.orders.order import Outcome, Result
from bots.common.orders.reconcile import Reconciler
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk, RiskLimits
from polymirror import BookState, NotLive, Reason
from tests.bots.execution_rig import (
    CRYPTO,
    MARKET,
    TOKEN,
    Books,
    ScriptedClient,
    d,
    fill,
    in_virtual_time,
    matched,
    network,
    view_of,
)

TERMS = Terms(
    market=MARKET, slug="btc-updown", asset="btc", fee=CRYPTO, min_shares=d(5), neg_risk=False, taker_delay=True
)
WISH = Wish(token=TOKEN, terms=TERMS, fair=d("0.70"))


class Mirror(Books):
    """A mirror that can be asked for a proof."""

    def __init__(self):
        super().__init__()
        self.proofs = 0
        self.too_old = False

    def live(self, token, max_proof_age=None):
        if self.too_old:
            raise NotLive(token, BookState.LIVE, Reason.PROVEN, 9.0, 1, max_proof_age)
        return super().live(token, max_proof_age)

    async def prove(self, token, timeout):
        self.proofs += 1
        self.too_old = False
        return view_of()


class Venue:
    """An executor that answers by a script; the last answer is repeated."""

    def __init__(self, submits=(), resolves=(), redeems=()):
        self.scripts = {"submit": list(submits), "resolve": list(resolves), "redeem": list(redeems)}
        self.calls = []
        self.slow = 0.0
        self.fills = []
        self.status = ChainStatus.CONFIRMED
        self.cash = d(0)

    async def answer(self, what, order):
        self.calls.append(what)
        await asyncio.sleep(self.slow)
        script = self.scripts[what]
        found = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(found, Exception):
            raise found
        return found(order) if callable(found) else found

    async def submit(self, order, lease, stopped):
        lease.check()
        result = await self.answer("submit", order)
        if result.traded:
            self.cash -= result.money + result.fee
            self.fills.append(
                fill(
                    order,
                    str(result.shares),
                    str(order.price),
                    fee=str(result.fee),
                    order_id="0x1",
                    money=result.money,
                    status=self.status,
                )
            )
        return result

    async def resolve(self, order, order_id):
        return await self.answer("resolve", order)

    async def redeem(self, market, token):
        result = await self.answer("redeem", None)
        self.cash += result.money
        return result

    async def holdings(self):
        return Holdings(cash=self.cash)

    async def trades(self, since_ms):
        return self.fills


EAGER = RiskLimits(max_market=d(1_000), max_daily_loss=d(1_000), cooldown_ms=0, second_entry=True)
"""Allows what the manager itself must refuse."""


def filled(order):
    return Result(outcome=Outcome.FILLED, shares=order.shares, money=order.money, fee=d("0.1"), order_id="0x1")


UNKNOWN = Result(outcome=Outcome.UNKNOWN, detail="silence")
NOTHING = Result(outcome=Outcome.NO_MATCH)


@asynccontextmanager
async def dealing(venue, *, limits=None):
    account, risk = Account(), Risk(limits or RiskLimits())
    ledger = Ledger(Database(), network(), account=account, followers=(RiskFollower(risk, account),))
    await ledger.open()
    told, stopped = [], []
    reconciler = Reconciler(ledger, venue, network(), stop=stopped.append, seen=risk.seen)
    manager = OrderManager(
        executor=venue, ledger=ledger, reconciler=reconciler,
        risk=risk, limits=SizeLimits(), network=network(), max_proof_age=2.0,
        on_result=lambda order, result: told.append(result.outcome), on_settled=told.append,
    )  # fmt: skip
    manager.told, manager.stopped = told, stopped
    async with asyncio.TaskGroup() as group:
        running = group.create_task(manager.run())
        await asyncio.sleep(0.01)
        yield manager
        running.cancel()


def test_a_wish_becomes_one_order_and_a_booked_position():
    async def main():
        venue = Venue([filled])
        async with dealing(venue) as manager:
            assert manager.consider(Mirror(), WISH)
            await asyncio.sleep(1)
            (position,) = manager.account.positions.values()
            assert position.token == TOKEN
            assert venue.calls == ["submit"]
            assert manager.told == [Outcome.FILLED]
            # A second entry is refused before anything is read.
            assert not manager.consider(Mirror(), WISH)
            assert manager.counts["risk SECOND_ENTRY"] == 1

    in_virtual_time(main)


def test_a_kill_switch_that_is_thrown_while_an_order_is_being_made_stops_it_as_one_thrown_before():
    async def main():
        client = ScriptedClient(sends=[matched()])
        async with dealing(LiveExecutor(client, network())) as manager:
            assert manager.consider(Mirror(), WISH)
            # The client takes 10 ms to sign.
            await asyncio.sleep(0.005)
            manager.risk.stop("signal SIGUSR1")
            await asyncio.sleep(1)
            assert client.left == []
            assert manager.told == [Outcome.REJECTED]
            assert manager.counts["risk STOPPED"] == 1
            assert manager.counts["refused_non_live"] == 0
            # Nothing stays reserved for it, and the next one is refused in the same words.
            assert manager.risk.open_money == 0
            assert not manager.consider(Mirror(), WISH)
            assert manager.counts["risk STOPPED"] == 2

    in_virtual_time(main)


def test_each_decision_is_one_line_of_the_log_and_the_same_refusal_again_is_for_who_looks_closer(caplog):
    async def main():
        async with dealing(Venue([filled])) as manager:
            basis = {"oracle_price": "64100.5", "strike": "64000", "oracle_age_ms": "300"}
            manager.note_quiet(TERMS, "EARLY", basis)
            manager.consider(Mirror(), evolve(WISH, basis=basis))
            manager.consider(Mirror(), WISH)
            await asyncio.sleep(1)
            for _ in range(2):
                manager.consider(Mirror(), WISH)
                manager.note_quiet(TERMS, "EARLY", basis)

    caplog.set_level(logging.DEBUG, "bots")
    in_virtual_time(main)
    lines = [(each.levelname, each.fields) for each in caplog.records if each.getMessage() == "decided"]
    words = [(level, fields["market"], fields["verdict"]) for level, fields in lines]
    quiet, again = ("DEBUG", "btc-updown", "EARLY"), "risk SECOND_ENTRY"
    assert words == [
        quiet, ("INFO", "btc-updown", "busy"), ("INFO", "btc-updown", "order"),
        ("INFO", "btc-updown", again), quiet, ("DEBUG", "btc-updown", again), quiet,
    ]  # fmt: skip
    ordered, refused = lines[2][1], lines[3][1]
    assert ordered["detail"].startswith("btc-updown.1: FOK BUY")
    assert (ordered["fair"], ordered["price"], ordered["strike"]) == (d("0.70"), d("64100.5"), 64_000)
    assert (ordered["oracle_age_ms"], ordered["proof"]) == (300, "HASH")
    assert "entered before" in refused["detail"]


def test_a_second_wish_waits_for_nothing_while_an_order_is_under_way():
    async def main():
        venue = Venue([NOTHING])
        venue.slow = 3.0
        async with dealing(venue) as manager:
            assert [manager.consider(Mirror(), WISH) for _ in range(3)] == [True, False, False]
            assert manager.counts["busy"] == 2
            await asyncio.sleep(4)
            assert venue.calls == ["submit"]

    in_virtual_time(main)


def test_a_book_that_is_not_live_is_refused_and_counted_and_nothing_is_written():
    async def main():
        mirror = Mirror()
        mirror.alive = False
        async with dealing(Venue()) as manager:
            assert not manager.consider(mirror, WISH)
            assert manager.counts["refused_non_live"] == manager.counts["not live SUSPECT"] == 1
            assert manager.account.totals.orders == 0

    in_virtual_time(main)


def test_a_live_book_that_was_proven_too_long_ago_is_proven_first():
    async def main():
        mirror = Mirror()
        mirror.too_old = True
        async with dealing(Venue([filled])) as manager:
            assert manager.consider(mirror, WISH)
            await asyncio.sleep(1)
            assert mirror.proofs == 1
            assert manager.told == [Outcome.FILLED]

    in_virtual_time(main)


def test_an_unknown_order_is_looked_up_until_it_is_known_and_never_sent_again():
    async def main():
        venue = Venue([UNKNOWN], [UNKNOWN, UNKNOWN, filled])
        async with dealing(venue) as manager:
            manager.consider(Mirror(), WISH)
            await asyncio.sleep(1)
            assert manager.unresolved == 1
            await asyncio.sleep(20)
            assert venue.calls.count("submit") == 1
            assert manager.unresolved == 0
            assert len(manager.account.positions) == 1

    in_virtual_time(main)


def test_an_order_whose_task_fails_is_looked_up_like_an_unknown_one():
    async def main():
        logging.disable(logging.CRITICAL)
        venue = Venue([RuntimeError("a bug")], [filled])
        async with dealing(venue) as manager:
            manager.consider(Mirror(), WISH)
            await asyncio.sleep(10)
            assert manager.counts["failed"] == 1
            assert venue.calls == ["submit", "resolve"]
            assert len(manager.account.positions) == 1
        logging.disable(logging.NOTSET)

    in_virtual_time(main)


@pytest.mark.parametrize(
    "first", [UNKNOWN, Result(outcome=Outcome.REJECTED), Unanswered("positions", "silence")], ids=str
)
def test_a_winner_is_redeemed_until_the_venue_says_so(first):
    async def main():
        def paid(_order):
            return Result(outcome=Outcome.FILLED, shares=d("47.5"), money=d("47.5"))

        venue = Venue([filled], redeems=[first, paid])
        async with dealing(venue) as manager:
            manager.consider(Mirror(), WISH)
            await asyncio.sleep(1)
            (position,) = manager.account.positions.values()
            manager.decide(MARKET, {TOKEN: d(1)})
            assert manager.unresolved == 1
            await asyncio.sleep(20)
            assert venue.calls.count("redeem") == 2
            assert manager.account.totals.profit == d("47.5") - position.cost
            assert manager.unresolved == 0
            assert manager.settler.payouts(MARKET) is None

    in_virtual_time(main)


def test_a_redemption_that_hangs_keeps_no_order_from_being_looked_up_and_no_book_from_being_read():
    class Hanging(Venue):
        async def redeem(self, market, token):
            self.calls.append("redeem")
            await asyncio.sleep(240)
            return UNKNOWN

    async def main():
        venue = Hanging([filled, UNKNOWN], [UNKNOWN])
        async with dealing(venue, limits=EAGER) as manager:
            manager.consider(Mirror(), WISH)
            await asyncio.sleep(1)
            manager.decide(MARKET, {TOKEN: d(1)})
            await asyncio.sleep(1)
            other = evolve(WISH, terms=evolve(TERMS, market="0xother"))
            assert manager.consider(Mirror(), other)
            looked, begun = manager._reconciler.looked_at, len(venue.calls)
            await asyncio.sleep(200)
            assert venue.calls.count("redeem") == 1
            assert venue.calls[begun:].count("resolve") > 5
            assert manager._reconciler.looked_at > looked + 100

    in_virtual_time(main)


def test_a_loser_is_booked_without_asking_the_venue():
    async def main():
        venue = Venue([filled])
        async with dealing(venue) as manager:
            manager.consider(Mirror(), WISH)
            await asyncio.sleep(1)
            (position,) = manager.account.positions.values()
            manager.decide(MARKET, {"the other token": d(1)})
            await asyncio.sleep(1)
            assert "redeem" not in venue.calls
            assert manager.account.totals.profit == -position.cost
            assert manager.risk.entries == ()

    in_virtual_time(main)


def test_a_market_whose_winner_is_known_is_not_bought_into():
    async def main():
        venue = Venue([filled], redeems=[UNKNOWN])
        async with dealing(venue, limits=EAGER) as manager:
            manager.consider(Mirror(), WISH)
            await asyncio.sleep(1)
            manager.decide(MARKET, {TOKEN: d(1)})
            await asyncio.sleep(30)
            # It could not be redeemed yet, so the winner is remembered.
            assert manager.settler.payouts(MARKET) == {TOKEN: 1}
            assert not manager.consider(Mirror(), WISH)
            assert venue.calls.count("submit") == 1

    in_virtual_time(main)


def test_a_market_with_an_order_of_unknown_fate_is_not_bought_into():
    async def main():
        venue = Venue([UNKNOWN], [UNKNOWN])
        async with dealing(venue, limits=EAGER) as manager:
            manager.consider(Mirror(), WISH)
            await asyncio.sleep(30)
            assert not manager.consider(Mirror(), WISH)
            assert venue.calls.count("submit") == 1
            manager.decide(MARKET, {TOKEN: d(1)})
            await asyncio.sleep(30)
            assert manager.settler.payouts(MARKET) == {TOKEN: 1}
            assert "redeem" not in venue.calls

    in_virtual_time(main)

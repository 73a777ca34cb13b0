"""A small bot and a venue whose world can end at any operation: of the files, or of the wire to the venue.

:class:`Fate` counts the instants at which a process can be killed; :class:`Doomed` files and the :class:`Venue`
pass one before and one after everything they do, and an append passes some more in the middle of its bytes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import suppress
from decimal import Decimal

from attrs import define, field

from bots.common.execution.base import ChainStatus, Holdings, Trade
from bots.common.ledger.account import Account
from bots.common.ledger.ledger import Ledger
from bots.common.orders.order import Order, Outcome, Result, Side, TimeInForce
from bots.common.orders.reconcile import Patience, Reconciler
from bots.common.orders.settling import Settler
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk, RiskLimits
from polymirror.venue.network import Network

FEE = Decimal("0.0175")
UP = "101"
OTHER = "102"
START = 1_790_000_000.0


class Killed(BaseException):
    """kill -9: nothing that comes after it in the process happens."""


@define
class Fate:
    """Ends the process at instant number ``at``; ``None``: never."""

    at: int | None = None
    passed: int = 0
    dead: bool = False

    def pass_one(self):
        if self.dead or self.passed == self.at:
            self.dead = True
            raise Killed
        self.passed += 1

    def is_next(self):
        return not self.dead and self.passed == self.at


class Doomed:
    """The ledger's file in a process that is going to be killed. What was committed is what the next process finds."""

    def __init__(self, disk, fate):
        self.disk = disk
        self.fate = fate

    def read(self, sql, values=()):
        self.fate.pass_one()
        return self.disk.read(sql, values)

    def write(self, statements):
        rows = list(statements)
        self.fate.pass_one()
        if self.fate.is_next():
            # In the middle of the transaction: what was written of it is no part of the file.
            with suppress(sqlite3.Error):
                self.disk.write([*rows, ("SELECT no_such_column", ())])
        self.fate.pass_one()
        self.disk.write(rows)
        self.fate.pass_one()

    def copy_of_day(self, day):
        return None


@define
class Venue:
    """The truth: what was ordered, what is held, what was paid. It outlives every process."""

    fate: Fate = field(factory=Fate)
    cash: Decimal = Decimal(1000)
    positions: dict = field(factory=dict)
    sent: list = field(factory=list)
    fates: dict = field(factory=dict)
    winners: dict = field(factory=dict)
    fills: list = field(factory=list)

    async def submit(self, order):
        self.fate.pass_one()
        self.sent.append(order.client_id)
        answer, told = ANSWERS[len(self.sent) % len(ANSWERS)](order)
        self.fates[order.client_id] = answer
        if answer.traded:
            self.cash += answer.cash(order.side)
            sign = 1 if order.side is Side.BUY else -1
            self.positions[order.token] = self.positions.get(order.token, Decimal(0)) + sign * answer.shares
            self.fills.append((order, answer))
        self.fate.pass_one()
        return told

    async def resolve(self, order, order_id):
        self.fate.pass_one()
        return self.fates.get(order.client_id, Result(outcome=Outcome.NO_MATCH, detail="no such order"))

    async def redeem(self, market, token):
        self.fate.pass_one()
        shares = self.positions.pop(token, Decimal(0)) if self.winners.get(market) == token else Decimal(0)
        self.cash += shares
        self.fate.pass_one()
        return Result(outcome=Outcome.FILLED if shares else Outcome.NO_MATCH, shares=shares, money=shares)

    async def holdings(self):
        self.fate.pass_one()
        return Holdings(cash=self.cash, positions={t: s for t, s in self.positions.items() if s})

    async def trades(self, since_ms):
        self.fate.pass_one()
        return [
            Trade(
                id=order.client_id, order_id=order.client_id, market=order.market, token=order.token, side=order.side,
                price=order.price, shares=answer.shares, money=answer.money, at_ms=order.created_ms, fee=answer.fee,
                status=ChainStatus.CONFIRMED,
            )
            for order, answer in self.fills
        ]  # fmt: skip

    async def winner_of(self, market):
        return self.winners.get(market)


def _filled(order):
    answer = Result(outcome=Outcome.FILLED, shares=order.shares, money=order.money, fee=FEE, order_id=order.client_id)
    return answer, answer


def _lost_answer(order):
    return _filled(order)[0], Result(outcome=Outcome.UNKNOWN, detail="no answer")


def _lost_and_dead(_order):
    return Result(outcome=Outcome.NO_MATCH), Result(outcome=Outcome.UNKNOWN, detail="no answer")


def _no_match(_order):
    answer = Result(outcome=Outcome.NO_MATCH, detail="nothing to match with")
    return answer, answer


def _partial(order):
    answer = Result(
        outcome=Outcome.PARTIAL, shares=order.shares / 2, money=order.money / 2, fee=FEE, order_id=order.client_id
    )
    return answer, answer


ANSWERS = (_filled, _partial, _lost_answer, _no_match, _filled, _lost_and_dead)


def an_order(market="0xm1", token=UP, *, client_id=None, money="6.00", at_ms=int(START * 1000), price="0.6"):
    return Order.buy(
        client_id=client_id or f"buy:{market}",
        market=market,
        token=token,
        price=Decimal(price),
        money=Decimal(money),
        tick=Decimal("0.01"),
        created_ms=at_ms,
    )


def a_sale(market="0xm1", token=UP, *, client_id=None, shares="5.00", price="0.5", tif=TimeInForce.FOK):
    return Order.sell(
        client_id=client_id or f"sell:{market}",
        market=market,
        token=token,
        price=Decimal(price),
        shares=Decimal(shares),
        tick=Decimal("0.01"),
        created_ms=int(START * 1000),
        tif=tif,
    )


_LOOP = asyncio.new_event_loop()


def drive(coroutine):
    """Run a coroutine that waits for nobody but tasks of its own."""
    return _LOOP.run_until_complete(coroutine)


@define
class Clock:
    """A wall clock that stands still until it is moved."""

    seconds: float = START

    def network(self):
        return Network(monotonic=lambda: self.seconds, wall=lambda: self.seconds)


LIMITS = RiskLimits(
    max_daily_loss=Decimal(1000), max_positions=50, cooldown_ms=0, max_losses_in_a_row=50, max_market=Decimal(25)
)
PATIENCE = Patience(quiet=1.0, pause=0.0, attempts=3)


class Bot:
    """One process: starts, reconciles, then trades. Every step may be its last."""

    def __init__(self, store, venue, clock):
        self.store, self.venue, self.clock = store, venue, clock

    async def start(self):
        network = self.clock.network()
        self.account, self.risk = Account(), Risk(LIMITS)
        follower = RiskFollower(self.risk, self.account)
        self.ledger = Ledger(self.store, network, account=self.account, followers=(follower,))
        await self.ledger.open()
        self.troubles = []
        self.reconciler = Reconciler(self.ledger, self.venue, network, self.troubles.append, PATIENCE)
        self.settler = Settler(
            self.ledger, self.venue, self.reconciler, network, Counter(), self.book, lambda _: None,
            self.troubles.append,
        )  # fmt: skip
        self.decide()
        self.found = await self.reconciler.start()
        await self.settler.look()

    async def book(self, order, result, final):
        await self.ledger.finish(order.client_id, result, final=final)

    def decide(self):
        for market, winner in self.venue.winners.items():
            if any(held.market == market for held in self.account.positions.values()):
                self.settler.decide(market, {winner: Decimal(1)})

    async def trade(self, markets):
        """Enter each market once, and now and then see a market decided."""
        for index, market in enumerate(markets):
            order = an_order(market, f"{market}-up", client_id=f"buy:{market}:{self.account.totals.orders}")
            now = int(self.clock.seconds * 1000)
            if self.risk.allow(now, market=market, asset="btc", money=order.money + FEE) is None:
                await self.ledger.begin(order, asset="btc", reserves=[order.money + FEE])
                result = await self.venue.submit(order)
                await self.ledger.finish(order.client_id, result)
                self.clock.seconds += 5
                await self.reconciler.resolve()
                await self.reconciler.check()
            if index >= 1:
                decided = markets[index - 1]
                self.venue.winners.setdefault(decided, f"{decided}-{'up' if index % 3 else 'down'}")
                self.decide()
                await self.settler.look()

    async def live(self, markets):
        await self.start()
        await self.trade(markets)


def live_and_die(disk, venue, clock, markets, at=None, bot=Bot):
    """Run one process up to instant ``at``; return the bot and whether it was killed."""
    fate = Fate(at)
    venue.fate = fate
    process = bot(Doomed(disk, fate), venue, clock)
    try:
        drive(process.live(markets))
    except Killed:
        return process, True
    else:
        return process, False
    finally:
        clock.seconds += 60


def check_books(bot, venue):
    """The bot's books are the venue's."""
    held = {token: position.shares for token, position in bot.account.positions.items()}
    lost = {token for market, winner in venue.winners.items() for token in [f"{market}-up"] if token != winner}
    assert held == {token: shares for token, shares in venue.positions.items() if shares and token not in lost}
    assert bot.account.totals.cash == venue.cash - 1000
    assert bot.account.open == {}
    assert len(set(venue.sent)) == len(venue.sent)
    risked = {entry.market: entry.money for entry in bot.risk.entries}
    assert risked == {position.market: position.cost for position in bot.account.positions.values()}
    assert bot.found.unresolved == ()
    assert bot.troubles == []
    assert bot.account.claims == {}


def fills_by_market(venue):
    counts: dict = {}
    for order, _ in venue.fills:
        counts[order.market] = counts.get(order.market, 0) + 1
    return counts

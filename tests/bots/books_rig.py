"""One life of a bot's books against a venue that answers by a script, on a clock that is moved by hand."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from bots.common.execution.base import ChainStatus, Holdings, Trade
from bots.common.ledger.account import Account
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.orders.order import Outcome, Result, Side
from bots.common.orders.reconcile import Patience, Reconciler
from bots.common.orders.settling import Settler
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk
from tests.bots.crash_rig import FEE, LIMITS, START, UP, Clock, drive

FILLED = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(6), fee=FEE, order_id="0xa")
UNKNOWN = Result(outcome=Outcome.UNKNOWN)
NO_MATCH = Result(outcome=Outcome.NO_MATCH)
REFUSED = Result(outcome=Outcome.REJECTED, detail="relayer: HTTP 401 invalid key")
WON = {UP: Decimal(1)}
LOST = {"102": Decimal(1)}
HALF = {UP: Decimal("0.5"), "102": Decimal("0.5")}


class Scripted:
    """A venue that answers each question from a list, and the last answer ever after."""

    def __init__(self, **answers):
        self.answers = {"resolve": [NO_MATCH], "redeem": [NO_MATCH], "holdings": [{}], "trades": [[]], **answers}
        self.asked = []
        self.cash = Decimal(1000)
        self.pays = True

    def _next(self, name, *about):
        self.asked.append((name, *about))
        answers = self.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def resolve(self, order, order_id):
        return self._next("resolve", order.client_id, order_id)

    async def redeem(self, market, token):
        result = self._next("redeem", market, token)
        self.cash += result.money if self.pays else 0
        return result

    async def holdings(self):
        held = self._next("holdings")
        return Holdings(cash=self.cash, positions={token: Decimal(shares) for token, shares in held.items()})

    async def trades(self, since_ms):
        return self._next("trades")

    def names(self):
        return [name for name, *_ in self.asked]


class World:
    """One life of a bot's books, on a clock that is moved by hand."""

    def __init__(self, store=None, **answers):
        self.clock = Clock()
        self.venue = Scripted(**answers)
        self.store = store or Database()
        self.account, self.risk = Account(), Risk(LIMITS)
        self.told, self.settled, self.stopped = [], [], []
        follower = RiskFollower(self.risk, self.account)
        network = self.clock.network()
        self.ledger = Ledger(self.store, network, account=self.account, followers=(follower,))
        drive(self.ledger.open())
        patience = Patience(quiet=5, pause=0, attempts=3)
        self.reconciler = Reconciler(
            self.ledger, self.venue, network, self.told.append, patience, self.stopped.append, self.risk.seen
        )
        self.settler = Settler(
            self.ledger, self.venue, self.reconciler, network, Counter(), self.book, self.settled.append,
            self.told.append,
        )  # fmt: skip

    async def book(self, order, result, final):
        await self.ledger.finish(order.client_id, result, final=final)

    def begin(self, order, result=None, *, final=False):
        drive(self.ledger.begin(order, asset="btc", reserves=[order.money + FEE]))
        if result is not None:
            drive(self.ledger.finish(order.client_id, result, final=final))
            self.venue.cash += result.cash(order.side)

    def start(self, *, later=60):
        self.clock.seconds += later
        return drive(self.reconciler.start())

    def check(self, times=1, every=45):
        for _ in range(times):
            self.risk.advance(int(self.clock.seconds * 1000))
            drive(self.reconciler.check())
            self.clock.seconds += every

    def settle(self, payouts, *, seconds=0.0, market="0xm1", doubt="", confirmed=True):
        """Tell what a market pays, and look every five seconds for so long."""
        self.settler.decide(market, payouts, doubt, confirmed=confirmed)
        ends = self.clock.seconds + seconds
        while True:
            drive(self.settler.look())
            if self.clock.seconds >= ends:
                return
            self.clock.seconds += 5

    @property
    def profit_today(self):
        return self.risk.profit_today(int(self.clock.seconds * 1000))


def a_trade(shares="10", money="6", side=Side.BUY, fee="0.0175", status=ChainStatus.CONFIRMED, order_id="0xa", **rest):
    price = Decimal(money) / Decimal(shares) if Decimal(shares) else Decimal("0.6")
    return Trade(
        **{
            "id": "t", "order_id": order_id, "market": "0xm1", "token": UP, "side": side, "price": price,
            "shares": Decimal(shares), "money": Decimal(money), "at_ms": int(START * 1000) + 500,
            "fee": None if fee is None else Decimal(fee), "status": status, **rest,
        }
    )  # fmt: skip

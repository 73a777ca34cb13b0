"""What the tests of orders share: made-up books, leases on them, orders, and a venue that follows a script."""

from __future__ import annotations

import asyncio
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING

from bots.common.errors import Unanswered
from bots.common.execution.base import Ack, Holdings, OrderState, Prepared, Trade
from bots.common.orders.order import Order, Side
from polymirror import BookState, BookView, Gate, NotLive, Reason
from polymirror.core.fees import FeeSchedule
from polymirror.core.proofs import Proof, ProofKind
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.network import Network
from tests.core.builders import order_book

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOKEN, MARKET = "11", "0xm"
CRYPTO = FeeSchedule(Decimal("0.07"), 1)
START_MS = 1_790_000_100_000
ASKS = [("0.60", "10"), ("0.55", "20"), ("0.52", "50.5")]
BIDS = [("0.40", "10"), ("0.45", "20"), ("0.48", "100")]


def d(text: str | int) -> Decimal:
    return Decimal(text)


def view_of(asks=ASKS, bids=BIDS, tick="0.01", token=TOKEN, epoch=1) -> BookView:
    return BookView(
        token=token, market=MARKET, state=BookState.LIVE, reason=Reason.PROVEN, epoch=epoch, doubts=0, settled=True,
        exchange_ms=5, apply_lag=0.01, clock_uncertainty=None, read_at=100.0, proven_at=99.75,
        last_proof=Proof(ProofKind.HASH, 99.75, 1), tick_size_e4=None if tick is None else int(Decimal(tick) * 10_000),
        levels=order_book(bids, asks).levels(),
    )  # fmt: skip


class Books:
    """A mirror of one token. ``alive`` false: the book may not be read."""

    def __init__(self, view: BookView | None = None) -> None:
        self.view = view or view_of()
        self.alive = True
        self.looks: list[float] = []

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        self.looks.append(asyncio.get_running_loop().time())
        if not self.alive:
            raise NotLive(token, BookState.SUSPECT, Reason.DISCONNECT, 0.4, self.view.epoch, max_proof_age)
        return self.view

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        return self.live(token, max_proof_age)

    def replace(self) -> None:
        """Clear and prime the book again: the same levels in a new epoch."""
        self.view = view_of(epoch=self.view.epoch + 1)


def buy(money="10.40", price="0.52", **changes) -> Order:
    given = {
        "client_id": "c1", "market": MARKET, "token": TOKEN, "price": d(price), "money": d(money),
        "tick": d("0.01"), "created_ms": START_MS, "fee": CRYPTO,
    }  # fmt: skip
    return Order.buy(**(given | changes))


def sell(shares="20", price="0.48", **changes) -> Order:
    given = {
        "client_id": "c1", "market": MARKET, "token": TOKEN, "price": d(price), "shares": d(shares),
        "tick": d("0.01"), "created_ms": START_MS, "fee": CRYPTO,
    }  # fmt: skip
    return Order.sell(**(given | changes))


def network() -> Network:
    """Return the clocks of the virtual loop that is running."""
    loop = asyncio.get_running_loop()
    return Network(monotonic=loop.time, wall=loop.wall)


def in_virtual_time(main: Callable[[], Awaitable[object]]):
    return run_virtual(main, start_ms=START_MS)


async def leased(executor, order: Order, books: Books, token: str = TOKEN):
    async with Gate(books).lease(token) as lease:
        return await executor.submit(order, lease)


def fill(order: Order, shares="20", price="0.52", order_id="0xa", fee="0.35", **changes) -> Trade:
    given = {
        "id": "t1", "order_id": order_id, "market": order.market, "token": order.token, "side": order.side,
        "price": d(price), "shares": d(shares), "money": d(price) * d(shares), "at_ms": START_MS + 300,
        "fee": None if fee is None else d(fee),
    }  # fmt: skip
    return Trade(**(given | changes))


class ScriptedClient:
    """A trading client that answers as told; the last answer of each kind stays. Errors in a script are raised."""

    def __init__(self, *, sends=(), states=(), trades=(), named=True, redeems=(), slow=0.0) -> None:
        self.sends, self.states = deque(sends), deque(states)
        self.lists, self.redeems = deque(trades), deque(redeems)
        self.named = named
        self.slow = slow
        # Times at which an order left, and what was asked, in order.
        self.left: list[float] = []
        self.asked: list[str] = []

    async def prepare(self, order: Order) -> Prepared:
        await asyncio.sleep(0.01)
        return Prepared(order=order, order_id=self.order_id(order), payload=b"signed")

    def order_id(self, order: Order) -> str | None:
        return "0xa" if self.named else None

    async def send(self, prepared: Prepared, check: Callable[[], object]) -> Ack:
        check()
        self.left.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.slow)
        return self._next(self.sends)

    async def look_up(self, order_id: str) -> OrderState | None:
        self.asked.append(f"order {order_id}")
        return self._next(self.states)

    async def trades(self, since_ms: int, *, market: str | None = None) -> list[Trade]:
        self.asked.append("trades")
        return self._next(self.lists) or []

    async def holdings(self) -> Holdings:
        return Holdings(cash=d(100))

    async def redeem(self, market: str, token: str) -> Decimal:
        return self._next(self.redeems)

    @staticmethod
    def _next(script):
        if not script:
            return None
        answer = script.popleft() if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def matched(shares="20", order_id="0xa") -> Ack:
    return Ack(order_id=order_id, status="matched", shares=d(shares))


DELAYED = Ack(order_id="0xa", status="delayed")
HELD = OrderState(status="DELAYED", shares=d(0))
DONE = OrderState(status="MATCHED", shares=d(20))
KILLED = OrderState(status="UNMATCHED", shares=d(0))
LOST = Unanswered("order", "ReadTimeout")
BUY = Side.BUY

"""From "this token is worth so much" to a booked position, and from a winner to booked money.

A :class:`OrderManager` joins what each order has to pass: the lease, the size, the risk, the intent log, the executor.
Orders run in tasks of their own, so a strategy that asks for one goes on at once; a task that fails takes nothing
else with it, because the intent log knows the order and :meth:`OrderManager.run` looks its fate up. It also redeems and
books what was decided. It knows no strategy and no asset's mirror: strategies bring a gate, and are told results.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol

from attrs import evolve, field, frozen

from bots.common.errors import TradingError
from bots.common.money.fees import schedule_of
from bots.common.money.sizing import SizeLimits, SizeRefusal, Stake, size_buy
from bots.common.orders.order import Order, Outcome, Result, TimeInForce
from bots.common.orders.reconcile import settle
from polymirror.core.states import BookState
from polymirror.errors import NotLive, PolymirrorError, UnknownToken
from polymirror.gate import Books, Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from bots.common.execution.base import Executor
    from bots.common.ledger.account import Account, Position
    from bots.common.ledger.intents import IntentLog
    from bots.common.ledger.records import Settled
    from bots.common.risk.limits import Risk
    from polymirror.core.fees import FeeSchedule
    from polymirror.core.view import BookView
    from polymirror.venue.market import ClobMarket, Market
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

LOOK_AGAIN: Final = 5.0
"""Seconds between two looks at orders without a fate and at positions that are to be redeemed."""

MAX_TASKS: Final = 64
"""Orders under way at once; the risk limits are far below."""

PROOF_TIMEOUT: Final = 2.0
"""Seconds to wait for a proof that was asked for; the price has moved on after that."""

MAX_DECIDED: Final = 4_096
"""Winners that are remembered until their positions are booked."""


@frozen(kw_only=True)
class Terms:
    """What an order must know of its market."""

    market: str
    """The condition id."""
    slug: str
    asset: str
    fee: FeeSchedule
    min_shares: Decimal
    neg_risk: bool
    taker_delay: bool

    @classmethod
    def of(cls, market: Market, clob: ClobMarket, asset: str) -> Terms:
        """Join what the venue's two services say. Raises FeeUnknown when they leave the fee open."""
        return cls(
            market=market.condition_id,
            slug=market.slug,
            asset=asset,
            fee=schedule_of(market, clob),
            min_shares=max(Decimal(market.min_order_size), Decimal(clob.min_order_size)),
            neg_risk=market.neg_risk,
            taker_delay=clob.taker_delay,
        )


@frozen(kw_only=True)
class Wish:
    """Buy this token because a share of it is worth ``fair`` pUSD."""

    token: str
    terms: Terms
    fair: Decimal
    basis: Mapping[str, str] = field(factory=dict)
    """What the value rests on, by name, for the record."""


class Provable(Books, Protocol):
    """What a dealer needs of a mirror."""

    async def prove(self, token: str, timeout: float) -> BookView:
        """Have the book proven now, or raise NotLive."""
        ...


class OrderManager:
    """Buys, follows, redeems and books, for one wallet."""

    def __init__(
        self,
        *,
        executor: Executor,
        intents: IntentLog,
        risk: Risk,
        limits: SizeLimits,
        network: Network,
        max_proof_age: float,
        tif: TimeInForce = TimeInForce.FOK,
        counts: Counter[str] | None = None,
        on_result: Callable[[Order, Result], None] = lambda _order, _result: None,
        on_settled: Callable[[Settled], None] = lambda _settled: None,
    ) -> None:
        self.executor = executor
        self.intents = intents
        self.risk = risk
        # Outcomes of orders, refusals of sizes and of risk, and reads that were refused, by name.
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._limits = limits
        self._network = network
        self._max_proof_age = max_proof_age
        self._tif = tif
        self._on_result = on_result
        self._on_settled = on_settled
        self._group: asyncio.TaskGroup | None = None
        self._woken = asyncio.Event()
        # Markets with an order under way in this process, and the ids of those orders.
        self._busy: dict[str, str] = {}
        # Winning tokens by condition id, until nothing is left to book.
        self._decided: dict[str, str] = {}

    @property
    def account(self) -> Account:
        """What is held and was earned."""
        return self.intents.account

    def now_ms(self) -> int:
        """Return the wall clock in Unix milliseconds."""
        return int(self._network.wall() * 1000)

    # ---- Buying --------------------------------------------------------------------------------------

    def consider(self, books: Provable, wish: Wish) -> bool:
        """Begin to buy if nothing that is known already speaks against it; return whether that is under way.

        Returns at once. What speaks against it is counted. ``books`` is the mirror that has the token. A book
        that is LIVE and was proven too long ago is not refused yet: a proof is asked for first.
        """
        market = wish.terms.market
        # An order whose fate is unknown may still trade, and could not be told from a second one there.
        unknown = any(begun.order.market == market for begun in self.account.open.values())
        taken = unknown or market in self._busy or market in self._decided
        if self._group is None or taken or len(self._busy) >= MAX_TASKS:
            self._count("busy")
            return False
        limits = self._limits_of(wish.terms)
        refusal = self.risk.allow(self.now_ms(), market=market, asset=wish.terms.asset, money=limits.min_money)
        if refusal is not None:
            self._count(f"risk {refusal.reason.name}")
            return False
        try:
            stake = size_buy(books.live(wish.token, self._max_proof_age), wish.fair, wish.terms.fee, limits)
        except (NotLive, UnknownToken) as error:
            if not isinstance(error, NotLive) or error.state is not BookState.LIVE:
                self._count_refusal(error)
                return False
            stake = None
        if isinstance(stake, SizeRefusal):
            self._count(f"size {stake.reason.name}")
            return False
        self._busy[market] = ""
        self._spawn(self._buy(books, wish, limits, prove=stake is None), f"buy {wish.terms.slug}")
        return True

    async def _buy(self, books: Provable, wish: Wish, limits: SizeLimits, *, prove: bool) -> None:
        terms = wish.terms
        try:
            if prove:
                self._count("proofs asked for")
                await books.prove(wish.token, PROOF_TIMEOUT)
            async with Gate(books).lease(wish.token, max_proof_age=self._max_proof_age) as lease:
                stake = size_buy(lease.view, wish.fair, terms.fee, limits)
                if isinstance(stake, SizeRefusal):
                    self._count(f"size {stake.reason.name}")
                    return
                order = self._order(wish, stake)
                refusal = self.risk.allow(self.now_ms(), market=terms.market, asset=terms.asset, money=stake.reserve)
                if refusal is not None:
                    self._count(f"risk {refusal.reason.name}")
                    return
                self._busy[terms.market] = order.client_id
                # No other task runs between the risk's word and the booking of the intent.
                await self.intents.begin(order, asset=terms.asset, reserve=stake.reserve)
                result = await self.executor.submit(order, lease, self._stopped)
            await self._book(order, result)
        except (NotLive, UnknownToken) as error:
            self._count_refusal(error)
        except Exception:
            # Nobody waits for this task. The order, if there is one, is open in the intent log.
            self._count("failed")
            log.exception("an order in %s failed", terms.slug)
        finally:
            del self._busy[terms.market]
            self._woken.set()

    def _stopped(self) -> str | None:
        """Look at the kill switch once more: the order has waited for the disk, its signature and its turn."""
        refusal = self.risk.refuse_stopped()
        if refusal is None:
            return None
        self._count(f"risk {refusal.reason.name}")
        return str(refusal)

    def _order(self, wish: Wish, stake: Stake) -> Order:
        terms = wish.terms
        return Order.buy(
            # The number of orders ever begun is in the state file, so no name is given twice.
            client_id=f"{terms.slug}.{self.account.totals.orders + 1}",
            market=terms.market,
            token=wish.token,
            price=stake.price,
            money=stake.money,
            tick=stake.tick,
            created_ms=self.now_ms(),
            tif=self._tif,
            neg_risk=terms.neg_risk,
            fee=terms.fee,
            taker_delay=terms.taker_delay,
        )

    async def _book(self, order: Order, result: Result) -> None:
        self._count(result.outcome.name)
        if result.outcome is Outcome.REFUSED:
            self._count("refused_non_live")
        await self.intents.finish(order.client_id, result)
        self._on_result(order, result)

    # ---- Following, redeeming, booking ---------------------------------------------------------------

    def decide(self, market: str, winner: str) -> None:
        """Tell which token of a market won: its positions are redeemed and booked soon."""
        if len(self._decided) < MAX_DECIDED:
            self._decided[market] = winner
        self._woken.set()

    def winner(self, market: str) -> str | None:
        """Return the winning token of a market whose positions are not booked yet."""
        return self._decided.get(market)

    @property
    def unresolved(self) -> int:
        """Orders without a fate, and decided positions that are not booked yet."""
        decided = sum(held.market in self._decided for held in self.account.positions.values())
        return len(self.account.open) + decided

    async def run(self) -> None:
        """Carry orders and look after what is open, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    self._woken.clear()
                    await self._look_after()
                    try:
                        async with asyncio.timeout(LOOK_AGAIN):
                            await self._woken.wait()
                    except TimeoutError:
                        pass
        finally:
            self._group = None

    async def _look_after(self) -> None:
        under_way = set(self._busy.values())
        for begun in self.intents.open_intents():
            order = begun.order
            if order.client_id in under_way:
                continue
            result = await self.executor.resolve(order, self.account.name_of(order.client_id))
            if result.decided:
                await self._book(order, result)
            else:
                # Nothing to tell anybody, but a name that was learned is kept.
                await self.intents.finish(order.client_id, result)
        for market, winner in tuple(self._decided.items()):
            held = [each for each in self.account.positions.values() if each.market == market]
            undecided = any(begun.order.market == market for begun in self.account.open.values())
            for position in held:
                await self._settle(position, winner)
            left = any(each.market == market for each in self.account.positions.values())
            if not (left or undecided or market in self._busy):
                del self._decided[market]

    async def _settle(self, position: Position, winner: str) -> None:
        try:
            settled = await settle(self.intents, self.executor, position, winner)
        except TradingError as error:
            log.info("%s is settled later: %s", position.token[:12], error)
            settled = None
        if settled is None:
            self._count("settle again")
        else:
            self._on_settled(settled)

    # ---- Helpers -------------------------------------------------------------------------------------

    def _limits_of(self, terms: Terms) -> SizeLimits:
        return evolve(self._limits, min_shares=max(self._limits.min_shares, terms.min_shares))

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    def _count_refusal(self, error: PolymirrorError) -> None:
        self._count("refused_non_live")
        state = error.state.name if isinstance(error, NotLive) else "UNTRACKED"
        self._count(f"not live {state}")

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        assert self._group is not None  # noqa: S101 - asked for just before
        self._group.create_task(work, name=name)

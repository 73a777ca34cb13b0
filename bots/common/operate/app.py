"""A running bot, whatever it trades: ledger, risk, executor, order manager, and a supervisor over all of them.

:meth:`App.run` reads what an earlier run left, settles with the venue what became of it, and only then trades. Where
orders go and where the ledger lies is a :class:`World`: the real one, paper on the real feed, or the embedded exchange.
A kind of bot is a subclass: it says what it keeps running, which market it knows, and when it is done.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from attrs import field, frozen

from bots.common.errors import BadCredentials, TradingError, shorten
from bots.common.ledger.account import Account
from bots.common.ledger.ledger import Ledger
from bots.common.operate.daily import report_days
from bots.common.operate.earlier import Earlier
from bots.common.operate.health import Health, books, money, orders, tasks, written
from bots.common.operate.outbox import Outbox
from bots.common.operate.page import StatusSettings
from bots.common.operate.screens import exact
from bots.common.operate.supervise import Supervisor, describe
from bots.common.orders.manager import OrderManager
from bots.common.orders.merging import MergeSettings
from bots.common.orders.order import Outcome, Side
from bots.common.orders.reconcile import Reconciler
from bots.common.risk.days import zone_of
from bots.common.risk.follow import GO_ON, PAUSE, RESUME, STOP, RiskFollower
from bots.common.risk.limits import Risk, RiskChange
from bots.common.risk.switch import STOP_FILE
from polymirror.errors import UnknownToken
from polymirror.venue.gamma import Gamma

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from decimal import Decimal

    from bots.common.execution.base import Executor
    from bots.common.ledger.database import Offload
    from bots.common.ledger.ledger import Store
    from bots.common.ledger.rows import Merged, Settled
    from bots.common.money.sizing import SizeLimits
    from bots.common.operate.health import Probe
    from bots.common.operate.outbox import Chat
    from bots.common.orders.order import Order, Result, TimeInForce
    from bots.common.risk.limits import RiskLimits
    from polymirror.config import Endpoints, MirrorConfig
    from polymirror.core.view import BookView
    from polymirror.mirror import Mirror
    from polymirror.venue.market import Market
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

Job = tuple[str, "Callable[[], Awaitable[object]]"]
"""Something that is kept running, by name."""

_WORDS: Final = {
    Outcome.NO_MATCH: "met no match",
    Outcome.REFUSED: "held back, the book was not LIVE any more",
    Outcome.UNKNOWN: "got no answer and is looked up",
}
"""What is told of an order that traded nothing, or not yet."""

START_ATTEMPTS: Final = 30
START_PAUSE: Final = 5.0
"""Seconds between two attempts to learn from the venue what became of an earlier run's orders."""

LISTEN_EVERY: Final = 1.0
"""Seconds between two looks for what another process asks of this one."""

LAST_WORDS: Final = 8.0
"""Seconds in which what a bot says at its end must reach a person; the next start says the rest."""


@frozen(kw_only=True)
class Ground:
    """What any bot must be told besides its strategy."""

    mirror: MirrorConfig
    risk: RiskLimits
    size: SizeLimits
    tif: TimeInForce
    max_proof_age: float
    """No order rests on a book that was proven longer ago, in seconds."""
    merging: MergeSettings = field(factory=MergeSettings)
    status: StatusSettings = field(factory=StatusSettings)
    health_every: float = 60.0
    """Seconds between two looks at how all parts are."""


@frozen(kw_only=True)
class World:
    """Everything outside the bot."""

    network: Network
    endpoints: Endpoints
    store: Store
    """Where the ledger lies."""
    offload: Offload
    open_executor: Callable[[Any], AbstractAsyncContextManager[Executor]]
    """Is handed the bot."""
    switch: Callable[[], str | None]
    """Says why nothing may be bought, or nothing."""
    stop_file: str = STOP_FILE
    """The file that throws the switch, for people."""
    chat: Chat | None = None
    """Where a person reads the notices; they are in the log and in the ledger, too."""
    look_on: Callable[[str], None] = lambda _text: None
    """Is told each notice at once."""
    tasks: Mapping[str, Callable[[], Awaitable[None]]] = field(factory=dict)
    """What else is to run beside the bot."""
    rng: random.Random = field(factory=random.Random)
    """Draws all jitter."""


G = TypeVar("G", bound=Ground)
W = TypeVar("W", bound=World)
T = TypeVar("T")


class App(ABC, Generic[G, W]):
    """One bot. :meth:`run` may be called once. ``counts`` takes what becomes of orders, by name."""

    def __init__(self, plan: G, world: W, counts: Counter[str]) -> None:
        self.plan = plan
        self.world = world
        self.account = Account()
        self.risk = Risk(plan.risk, world.switch, seconds=world.network.boot or world.network.monotonic)
        self.ledger = Ledger(
            world.store,
            world.network,
            offload=world.offload,
            account=self.account,
            followers=(RiskFollower(self.risk, self.account),),
        )
        self.health: Health | None = None
        """How all parts are, while it trades."""
        # Set once the venue was asked.
        self.manager: OrderManager | None = None
        self._counts = counts
        # Slugs of markets with an open position, by condition id.
        self._names: dict[str, str] = {}
        self._earlier = Earlier(self.account, self.tell)
        self.notices = Outbox(self.ledger, world.network, world.chat, world.look_on)
        # Stops and pauses on their way to the disk, and what is told of them then.
        self._telling: set[asyncio.Task[None]] = set()
        # Why the bot is to end; empty while it is not.
        self._ending = ""
        self._woken = asyncio.Event()
        # Ends the start, while there is one, when the bot is to end.
        self._starting: asyncio.Timeout | None = None
        # Set once the ledger's rows are read back: none is written before.
        self._opened = asyncio.Event()

    # ---- What a kind of bot says ---------------------------------------------------------------------

    @abstractmethod
    def prepare(self, manager: OrderManager) -> None:
        """Make what trades; nothing runs yet. Called once, after :meth:`begin`."""

    async def begin(self, stack: AsyncExitStack) -> None:
        """Open what lives as long as the bot trades."""

    @abstractmethod
    def adopt(self, market: Market) -> bool:
        """Whether a market of an earlier run is followed until it is settled."""

    async def look_back(self, manager: OrderManager) -> None:
        """Find out what else must be known before anything is traded; the books are the venue's by then."""

    def services(self) -> Iterable[Job]:
        """Say what is kept running for those that trade."""
        return ()

    @abstractmethod
    def jobs(self) -> Iterable[Job]:
        """Say what is kept running and trades."""

    def vitals(self) -> Iterable[Probe]:
        """Say what else health asks."""
        return ()

    def heard(self, order: Order, result: Result) -> None:
        """Hear what became of an order, or that it is looked up."""

    def closed(self, now_ms: int) -> str:  # noqa: ARG002 - for who overrides it
        """Say why a limited run begins nothing new any more; empty while it may."""
        return ""

    @abstractmethod
    def is_done(self, now_ms: int) -> bool:
        """Whether a limited run is over and booked."""

    @abstractmethod
    def mirrors(self) -> Iterable[Mirror]:
        """Say which mirrors run."""

    @abstractmethod
    def count_books(self) -> tuple[int, int]:
        """Return how many books are LIVE, and how many there are."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Sum up what was done until now."""

    # ---- Its life ------------------------------------------------------------------------------------

    async def run(self) -> dict[str, Any]:
        """Trade until cancelled, drained, or until a limited run is over; return the summary.

        Whatever ends it but a cancellation is told, and the notices get :data:`LAST_WORDS` to arrive.
        """
        async with AsyncExitStack() as stack:
            await self.ledger.open()
            self._opened.set()
            stack.push_async_callback(self._write_rest)
            # Apart from all others, so that it outlives them by a few seconds.
            messages = await stack.enter_async_context(Supervisor(self.world.network, rng=self.world.rng))
            messages.keep("notices", self.notices.run)
            try:
                await self._trade(messages)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.tell(f"the bot ends, because {describe(error)}", "stop", level=logging.ERROR)
                await self.notices.drain(LAST_WORDS)
                raise
            await asyncio.gather(*self._telling, return_exceptions=True)
            held, unknown = len(self.account.positions), len(self.account.open)
            why = self._ending or "its run is over"
            self.tell(f"the bot ends: {why}; {held} positions are kept, {unknown} orders are unknown", "stop")
            await self.notices.drain(LAST_WORDS)
            return self.summary()

    async def _trade(self, messages: Supervisor) -> None:
        """Make the parts, learn what an earlier run left, and trade until it is over."""
        world, plan = self.world, self.plan
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(0 if self._ending else None) as self._starting:
                    executor = await stack.enter_async_context(world.open_executor(self))
                    gamma = await stack.enter_async_context(
                        Gamma(plan.mirror.rest, world.endpoints, rng=world.rng, network=world.network)
                    )
                    reconciler = Reconciler(
                        self.ledger, executor, world.network, self.warn, stop=self.stop, seen=self.risk.seen
                    )
                    self.manager = manager = OrderManager(
                        executor=executor,
                        ledger=self.ledger,
                        risk=self.risk,
                        limits=plan.size,
                        network=world.network,
                        max_proof_age=plan.max_proof_age,
                        reconciler=reconciler,
                        tif=plan.tif,
                        counts=self._counts,
                        merging=plan.merging,
                        on_result=self._tell_result,
                        on_settled=self._tell_settled,
                        on_merged=self._tell_merged,
                        on_trouble=self.warn,
                    )
                    await self.begin(stack)
                    self.prepare(manager)
                    left = await self._earlier.find(gamma, manager, self.adopt)
                    await self._reconcile(reconciler)
                    await self.look_back(manager)
            except TimeoutError:
                if not self._ending:
                    raise
                return
            finally:
                self._starting = None
            self._tell_start()
            # From here on, and not of what was read back, people are told.
            self.risk.advance(self.ledger.now_ms())
            self.risk.on_change = self._tell_change
            zone = zone_of(plan.risk.day_zone)
            async with Supervisor(world.network, rng=world.rng) as supervisor:
                for name, run in self.services():
                    supervisor.keep(name, run)
                supervisor.keep("manager", manager.run, vital=True)
                supervisor.keep("ledger", self.ledger.run, vital=True)
                supervisor.keep("requests", lambda: self._listen(reconciler))
                supervisor.keep("daily report", partial(report_days, self.ledger, world.network, self.tell, zone))
                for market, token in left.items():
                    supervisor.keep(
                        f"market {market[:12]}", partial(self._earlier.follow, gamma, manager, market, token)
                    )
                self.health = health = Health(
                    (
                        tasks(messages, supervisor),
                        *self.vitals(),
                        books(self.count_books),
                        written(self.ledger),
                        orders(self.ledger, world.network),
                        money(manager.settler, reconciler, world.network),
                        self.notices.vital,
                    ),
                    world.network,
                    partial(self.tell, kind="health"),
                    every=plan.health_every,
                )
                supervisor.keep("health", health.run)
                for name, run in (*world.tasks.items(), *self.jobs()):
                    supervisor.keep(name, run)
                await self._until_over(manager)

    async def _until_over(self, manager: OrderManager) -> None:
        """Wait until a limited run is over and booked, or until the orders under way are, if the bot is to end."""
        while not self._ending and not self.is_done(manager.now_ms()):
            manager.closed = self.closed(manager.now_ms())
            try:
                async with asyncio.timeout(1.0):
                    await self._woken.wait()
            except TimeoutError:
                pass
        manager.closed = self._ending or self.closed(manager.now_ms())
        while manager.under_way:  # noqa: ASYNC110 - nobody tells when the last of them is over
            await asyncio.sleep(0.05)

    def drain(self, why: str) -> None:
        """Begin nothing new, let what is under way come to its end, and have :meth:`run` return. Positions are kept.

        May be called by a signal's handler, on the event loop.
        """
        self._ending = self._ending or why
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.reschedule(0)
        if self.manager is not None:
            self.manager.closed = self._ending
        self._woken.set()

    def stop(self, why: str) -> None:
        """Buy nothing any more, across restarts, until a resume; positions are still settled. Told once it is durable.

        May be called by a signal's handler, on the event loop.
        """
        self._spawn(self._keep_stop(why))
        self.risk.stop(why)

    def tell(self, text: str, kind: str = "notice", level: int = logging.INFO, **fields: object) -> None:
        """Tell a person, through the outbox; ``level`` and ``fields`` are for the log."""
        self.notices.notify(text, kind, level=level, **fields)

    def warn(self, text: str) -> None:
        """Tell a person what goes wrong."""
        self.tell(text, "trouble", logging.WARNING)

    def _tell_start(self) -> None:
        totals = self.account.totals
        said = f"started: {len(self.account.positions)} positions, profit so far {exact(totals.profit)} pUSD"
        if (why := self.risk.stopped) is not None:
            said += f"; nothing is bought: {why}"
        self.tell(said, "start")

    def _tell_change(self, change: RiskChange, detail: str) -> None:
        """Tell a person why nothing is bought any more, or that it is again, once that is on the disk.

        A stop that the disk does not take is told as that: it ends with the process, unless the file is made.
        """
        waits = (RiskChange.PAUSED, RiskChange.LIMIT_REACHED, RiskChange.HOUR_FULL)
        paused = any(f"still {each.value}" in detail for each in waits)
        kind = PAUSE if change is not RiskChange.RESUMED or paused else RESUME

        async def tell() -> None:
            text = f"trading: {change.value}, {detail}"
            if change is not RiskChange.STOPPED:
                with suppress(OSError):
                    await self.ledger.note_risk(GO_ON if kind == RESUME else PAUSE, detail)
            elif not await self._write_rest() and detail != self.world.switch():
                text += f"; it is NOT on the disk, and a restart may buy: make the file {self.world.stop_file}"
            self.tell(text, STOP if change is RiskChange.STOPPED else kind, logging.WARNING)

        self._spawn(tell())

    async def _keep_stop(self, why: str) -> None:
        await self._opened.wait()
        with suppress(OSError):  # told by whoever tells the stop
            await self.ledger.note_risk(STOP, why)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _listen(self, reconciler: Reconciler) -> None:
        """Do what other processes ask for, such as the commands of this bot."""
        while True:
            self.risk.advance(self.ledger.now_ms())
            if any(kind == "reconcile" for kind, _ in await self.ledger.requests()):
                await reconciler.check()
                self.tell(f"reconciled: {', '.join(reconciler.differing) or 'nothing'} differs")
            await asyncio.sleep(LISTEN_EVERY)

    async def _write_rest(self) -> bool:
        try:
            await self.ledger.flush()
        except Exception:
            # Also one that no disk explains: what ended the bot must not be hidden behind it.
            log.exception("the last %d rows could not be written", self.ledger.waiting)
            return False
        return True

    # ---- The start -----------------------------------------------------------------------------------

    async def _reconcile(self, reconciler: Reconciler) -> None:
        """Learn what became of an earlier run's orders. Raises when the venue does not tell what is held."""
        found = await self.ask_patiently("what we hold", reconciler.start)
        for line in found.lines():
            self.tell(line)

    async def ask_patiently(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the venue for what nothing can be traded without, for minutes: one answer that is lost ends no start.

        Raises BadCredentials at once, and the last TradingError when it never tells.
        """
        for _ in range(START_ATTEMPTS - 1):
            try:
                return await ask()
            except BadCredentials:
                raise
            except TradingError as error:
                log.warning("the venue does not tell yet %s: %s", what, error)
                await asyncio.sleep(START_PAUSE)
        return await ask()

    # ---- Telling -------------------------------------------------------------------------------------

    def _tell_result(self, order: Order, result: Result) -> None:
        self.heard(order, result)
        name, _, _ = order.client_id.rpartition(".")
        if result.traded:
            self._names[order.market] = name
        side, paid = self._side(order.token), exact(result.money)
        did = "bought" if order.side is Side.BUY else "sold"
        said = f"{did} {exact(result.shares)} {side} for {paid} pUSD, fee {exact(result.fee)}"
        if not result.traded:
            why = f" ({shorten(result.detail, 60)})" if result.detail else ""
            said = f"order {_WORDS.get(result.outcome, result.outcome.value)}{why}"
        known: dict[str, Any] = {"order": order.client_id, "outcome": result.outcome.value, "limit": order.price}
        if result.traded:
            known |= {"shares": result.shares, "money": result.money, "fee": result.fee}
        self.tell(f"{name}: {said}", "fill" if result.traded else "order", **known)

    def _tell_settled(self, settled: Settled) -> None:
        name = self._names.pop(settled.market, self._earlier.name(settled.market))
        profit = settled.payout - settled.cost
        said = f"{name}: {'won' if profit > 0 else 'lost'} {exact(abs(profit))} pUSD"
        self.tell(said, "settlement", how=settled.how, payout=settled.payout, profit_so_far=self.account.totals.profit)

    def _tell_merged(self, merged: Merged) -> None:
        name = self._names.get(merged.market, self._earlier.name(merged.market))
        self.tell(f"{name}: merged {exact(merged.shares)} pairs into as many pUSD", "merge")

    def _side(self, token: str) -> str:
        """Name the side of a market that a token stands for."""
        named = (each for mirror in self.mirrors() for market in mirror.markets for each in market.tokens)
        return next((each.outcome for each in named if each.id == token), "shares")

    # ---- What an executor on paper asks --------------------------------------------------------------

    def payouts(self, market: str) -> Mapping[str, Decimal] | None:
        """Return what a share of each token of a market pays, by its condition id: nothing while it is not known."""
        told = None if self.manager is None else self.manager.settler.payouts(market)
        return told or self._earlier.payouts(market)

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return a proven view from the mirror that has the token. Raises NotLive or UnknownToken."""
        return self._mirror_of(token).live(token, max_proof_age)

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        """As :meth:`live`, waiting until the newest change is proven."""
        return await self._mirror_of(token).wait_settled(token, max_proof_age, timeout)

    def _mirror_of(self, token: str) -> Mirror:
        for mirror in self.mirrors():
            if token in mirror.tokens:
                return mirror
        raise UnknownToken(token)

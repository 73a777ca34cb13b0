"""A running bot: ledger, risk, executor, order manager, one worker per asset, and a supervisor over all of them.

:meth:`Bot.run` reads what an earlier run left, settles with the venue what became of it, and only then trades.
Where the prices come from, where orders go and where the ledger lies is a :class:`World`: the real one, paper on the
real feed, or the embedded exchange. A bot's own package brings the settings and the strategy.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from bots.common.errors import BadCredentials, TradingError, shorten
from bots.common.ledger.account import Account
from bots.common.ledger.ledger import Ledger
from bots.common.operate.health import Health, books, money, orders, tasks, written
from bots.common.operate.supervise import Supervisor
from bots.common.orders.manager import OrderManager
from bots.common.orders.order import Outcome
from bots.common.orders.reconcile import Reconciler
from bots.common.risk.follow import RESUME, STOP, RiskFollower
from bots.common.risk.limits import Risk
from bots.updown.rounds import window_of
from bots.updown.stats import RunStats, summarise
from bots.updown.watch import prices
from bots.updown.worker import AssetWorker
from polymirror.errors import UnknownToken, VenueError
from polymirror.venue.gamma import Gamma

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager
    from decimal import Decimal

    from bots.common.execution.base import Executor
    from bots.common.ledger.database import Offload
    from bots.common.ledger.ledger import Store
    from bots.common.ledger.rows import Settled
    from bots.common.money.sizing import SizeLimits
    from bots.common.operate.notifications import Notifier
    from bots.common.orders.order import Order, Result, TimeInForce
    from bots.common.risk.limits import RiskChange, RiskLimits
    from bots.updown.oracles.base import Oracle
    from bots.updown.rounds import RoundSettings
    from bots.updown.worker import Strategy
    from polymirror.config import Endpoints, MirrorConfig
    from polymirror.core.view import BookView
    from polymirror.venue.market import Market
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

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

ASK_AGAIN: Final = 60.0
"""Seconds between two questions for a market of an earlier run that nobody follows."""


@frozen(kw_only=True)
class Plan:
    """What a bot does: its settings and its strategy."""

    assets: tuple[str, ...]
    strategy: Strategy
    rounds: RoundSettings
    mirror: MirrorConfig
    risk: RiskLimits
    size: SizeLimits
    tif: TimeInForce
    max_proof_age: float
    """No order rests on a book that was proven longer ago, in seconds."""
    health_every: float = 60.0
    """Seconds between two looks at how all parts are."""


@frozen(kw_only=True)
class World:
    """Everything outside the bot."""

    network: Network
    endpoints: Endpoints
    oracle: Oracle
    store: Store
    """Where the ledger lies."""
    offload: Offload
    open_executor: Callable[[Bot], AbstractAsyncContextManager[Executor]]
    notifier: Notifier
    switch: Callable[[], str | None]
    """Says why nothing may be bought, or nothing."""
    tasks: Mapping[str, Callable[[], Awaitable[None]]] = field(factory=dict)
    """What else is to run beside the bot, such as a notifier."""
    rng: random.Random = field(factory=random.Random)
    """Draws all jitter."""


@frozen
class Aloud:
    """A notifier that also tells whoever looks on."""

    tell: Callable[[str], None]
    also: Notifier

    def notify(self, text: str) -> None:
        """Tell this to both."""
        self.tell(text)
        self.also.notify(text)


class Bot:
    """One bot. :meth:`run` may be called once. ``tally`` counts, and may limit the number of rounds."""

    def __init__(self, plan: Plan, world: World, tally: RunStats | None = None) -> None:
        self.plan = plan
        self.world = world
        self.tally = RunStats() if tally is None else tally
        self.account = Account()
        self.risk = Risk(plan.risk, world.switch)
        self.ledger = Ledger(
            world.store,
            world.network,
            offload=world.offload,
            account=self.account,
            followers=(RiskFollower(self.risk, self.account),),
        )
        self.desks: dict[str, AssetWorker] = {}
        # Set once the venue was asked.
        self.dealer: OrderManager | None = None
        # Slugs of markets with an open position, by condition id.
        self._names: dict[str, str] = {}
        # Markets of earlier runs' positions, by condition id.
        self._markets: dict[str, Market] = {}
        # Stops on their way to the disk, and what is told of them then.
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> dict[str, Any]:
        """Trade until cancelled, or until the limited rounds are settled; return the summary."""
        world, plan = self.world, self.plan
        async with AsyncExitStack() as stack:
            await self.ledger.open()
            stack.push_async_callback(self._write_rest)
            executor = await stack.enter_async_context(world.open_executor(self))
            gamma = await stack.enter_async_context(
                Gamma(plan.mirror.rest, world.endpoints, rng=world.rng, network=world.network)
            )
            reconciler = Reconciler(self.ledger, executor, world.network, self.tell)
            self.dealer = dealer = OrderManager(
                executor=executor,
                ledger=self.ledger,
                risk=self.risk,
                limits=plan.size,
                network=world.network,
                max_proof_age=plan.max_proof_age,
                reconciler=reconciler,
                tif=plan.tif,
                counts=self.tally.orders,
                on_result=self._tell_result,
                on_settled=self._tell_settled,
                on_trouble=self.tell,
            )
            self._make_desks(dealer)
            left = await self._find_earlier(gamma, dealer)
            await self._reconcile(reconciler)
            # From here on, and not of what was read back, people are told.
            self.risk.on_change = self._tell_change
            async with Supervisor(world.network, rng=world.rng) as supervisor:
                supervisor.keep("oracle", world.oracle.run)
                supervisor.keep("dealer", dealer.run, vital=True)
                supervisor.keep("ledger", self.ledger.run, vital=True)
                supervisor.keep("requests", lambda: self._listen(reconciler))
                for market, token in left.items():
                    supervisor.keep(f"market {market[:12]}", partial(self._follow_earlier, gamma, market, token))
                health = Health(
                    (
                        tasks(supervisor),
                        prices(world.oracle, plan.assets, world.network),
                        books(self._count_books),
                        written(self.ledger),
                        orders(self.ledger, world.network),
                        money(dealer.settler, reconciler),
                    ),
                    world.network,
                    world.notifier,
                    every=plan.health_every,
                )
                supervisor.keep("health", health.run)
                for name, run in (*world.tasks.items(), *((asset, desk.run) for asset, desk in self.desks.items())):
                    supervisor.keep(name, run)
                # Nobody tells when the last of a limited run's rounds is booked, so it is looked at.
                while self._is_busy() or not self.tally.done(dealer.now_ms()):
                    self.risk.advance(dealer.now_ms())
                    await asyncio.sleep(1.0)
            return self.summary()

    def summary(self) -> dict[str, Any]:
        """Sum up what was done until now."""
        unresolved = len(self.account.open) if self.dealer is None else self.dealer.unresolved
        return summarise(self.tally, self.account, unresolved)

    def stop(self, why: str) -> None:
        """Buy nothing any more, across restarts, until a resume; positions are still settled. Told once it is durable.

        May be called by a signal's handler, on the event loop.
        """
        self._spawn(self.ledger.note_risk(STOP, why))
        self.risk.stop(why)

    def tell(self, text: str) -> None:
        """Tell a person, and keep it in the outbox."""
        self.ledger.notify("notice", text)
        self.world.notifier.notify(text)

    def _is_busy(self) -> bool:
        return bool(self.account.positions or self.account.open or self.account.claims)

    def _tell_change(self, change: RiskChange, detail: str) -> None:
        """Tell a person why nothing is bought any more, or that it is again, once that is on the disk."""

        async def tell() -> None:
            await self._write_rest()
            self.tell(f"trading: {change.value}, {detail}")

        self._spawn(tell())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _listen(self, reconciler: Reconciler) -> None:
        """Do what other processes ask for, such as the commands of this bot."""
        while True:
            for kind, why in await self.ledger.requests():
                if kind in {STOP, RESUME}:
                    await self.ledger.note_risk(kind, why)
                else:
                    await reconciler.check()
                    self.tell(f"reconciled: {', '.join(reconciler.differing) or 'nothing'} differs")
            await asyncio.sleep(LISTEN_EVERY)

    async def _write_rest(self) -> None:
        try:
            await self.ledger.flush()
        except OSError as error:
            log.error("the last %d rows could not be written: %s", self.ledger.waiting, error)  # noqa: TRY400 - expected

    # ---- The start -----------------------------------------------------------------------------------

    async def _reconcile(self, reconciler: Reconciler) -> None:
        """Learn what became of an earlier run's orders. Raises when the venue does not tell what is held."""
        for attempt in range(START_ATTEMPTS):
            try:
                found = await reconciler.start()
            except BadCredentials:
                raise
            except TradingError as error:
                log.warning("the venue does not tell yet what we hold: %s", error)
                if attempt == START_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(START_PAUSE)
            else:
                for line in found.lines():
                    self.tell(line)
                return

    async def _find_earlier(self, gamma: Gamma, dealer: OrderManager) -> dict[str, str]:
        """Find the markets of an earlier run's orders and positions; return those that no worker follows now."""
        tokens = {held.market: held.token for held in self.account.positions.values()}
        tokens |= {begun.order.market: begun.order.token for begun in self.account.open.values()}
        tokens |= {claim.begun.order.market: claim.begun.order.token for claim in self.account.claims.values()}
        await asyncio.gather(*(self._find(gamma, market, token) for market, token in tokens.items()))
        left = {}
        for market, token in tokens.items():
            known = self._markets.get(market)
            window = None if known is None else window_of(known)
            if known is not None and (payouts := _payouts(known)):
                # Its shares may be gone already: the wallet is not held against them.
                dealer.decide(market, payouts)
            if window is not None and window.asset in self.desks:
                self.desks[window.asset].adopt(window)
            else:
                left[market] = token
        return left

    async def _find(self, gamma: Gamma, market: str, token: str) -> None:
        try:
            self._markets[market] = await gamma.market_of_token(token)
        except VenueError as error:
            log.warning("market %s of an earlier run is not found yet: %s", market[:18], error)

    async def _follow_earlier(self, gamma: Gamma, market: str, token: str) -> None:
        """Ask about a market that no worker follows until it is decided. What is not listed blocks only itself."""
        dealer = self.dealer
        asked = 0
        while dealer is not None:
            await self._find(gamma, market, token)
            found = self._markets.get(market)
            if found is not None and (payouts := _payouts(found)):
                dealer.decide(market, payouts)
                return
            asked += 1
            if asked == 1:
                why = "is not listed" if found is None else "is followed for its settlement alone"
                self.tell(f"market {market[:12]} of an earlier run {why}: it is asked about every minute")
            await asyncio.sleep(ASK_AGAIN)

    def _make_desks(self, dealer: OrderManager) -> None:
        world, plan = self.world, self.plan
        rest = plan.mirror.rest
        # The venue's budget for book calls is one for all mirrors.
        budget = max(1, rest.calls_per_10s // len(plan.assets))
        mirror = evolve(plan.mirror, endpoints=world.endpoints, rest=evolve(rest, calls_per_10s=budget))
        for asset in plan.assets:
            self.desks[asset] = AssetWorker(
                asset,
                plan.strategy,
                rounds=plan.rounds,
                mirror=evolve(mirror, seed=world.rng.getrandbits(32)),
                network=world.network,
                oracle=world.oracle,
                dealer=dealer,
                tally=self.tally,
            )

    # ---- Telling -------------------------------------------------------------------------------------

    def _tell_result(self, order: Order, result: Result) -> None:
        name, _, _ = order.client_id.rpartition(".")
        if result.traded:
            self._names[order.market] = name
        said = f"bought {result.shares} {self._side(order.token)} for {result.money} pUSD, fee {result.fee}"
        if not result.traded:
            why = f" ({shorten(result.detail, 60)})" if result.detail else ""
            said = f"order {_WORDS.get(result.outcome, result.outcome.value)}{why}"
        self.tell(f"{name}: {said}")

    def _tell_settled(self, settled: Settled) -> None:
        earlier = self._markets.get(settled.market)
        name = self._names.pop(settled.market, settled.market[:12] if earlier is None else earlier.slug)
        profit = settled.payout - settled.cost
        self.tell(f"{name}: {'won' if profit > 0 else 'lost'} {abs(profit)} pUSD")

    def _side(self, token: str) -> str:
        """Name the side of a market that a token stands for."""
        mirrors = [desk.mirror for desk in self.desks.values() if desk.mirror is not None]
        named = (each for mirror in mirrors for market in mirror.markets for each in market.tokens)
        return next((each.outcome for each in named if each.id == token), "shares")

    def _count_books(self) -> tuple[int, int]:
        counts = [desk.count_books() for desk in self.desks.values()]
        return sum(live for live, _ in counts), sum(total for _, total in counts)

    # ---- What an executor on paper asks --------------------------------------------------------------

    def winner(self, market: str) -> str | None:
        """Return the winning token of a market by its condition id, or None while it is not known."""
        known = self._markets.get(market)
        payouts = None if self.dealer is None else self.dealer.settler.payouts(market)
        decided = next((token for token, pays in (payouts or {}).items() if pays == 1), None)
        return decided or (None if known is None else _winner(known))

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return a proven view from the mirror that has the token. Raises NotLive or UnknownToken."""
        for desk in self.desks.values():
            if desk.mirror is not None and token in desk.mirror.tokens:
                return desk.mirror.live(token, max_proof_age)
        raise UnknownToken(token)

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        """As :meth:`live`, waiting until the newest change is proven."""
        for desk in self.desks.values():
            if desk.mirror is not None and token in desk.mirror.tokens:
                return await desk.mirror.wait_settled(token, max_proof_age, timeout)
        raise UnknownToken(token)


def _payouts(market: Market) -> dict[str, Decimal]:
    return dict(zip(market.token_ids, market.payouts, strict=False))


def _winner(market: Market) -> str | None:
    return next((token.id for token in market.tokens if token.outcome == market.winner), None)

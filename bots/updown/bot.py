"""A running bot: files, account, risk, executor, dealer, one desk per asset, and a supervisor over all of them.

:meth:`Bot.run` reads what an earlier run left, settles with the venue what became of it, and only then trades.
Where the prices come from, where orders go and where files lie is a :class:`World`: the real one, paper on the
real feed, or the embedded exchange. A bot's own package brings the settings and the strategy.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from bots.common.errors import BadCredentials, BotError, TradingError, shorten
from bots.common.ledger.account import Account
from bots.common.ledger.intents import IntentLog
from bots.common.ledger.state import StateFile, StateKeeper
from bots.common.operate.health import Health, books, orders, saved, tasks
from bots.common.operate.supervise import Supervisor
from bots.common.orders.manager import OrderManager
from bots.common.orders.order import Outcome
from bots.common.orders.reconcile import Reconciler
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk
from bots.updown.rounds import window_of
from bots.updown.stats import RunStats, summarise
from bots.updown.watch import prices
from bots.updown.worker import AssetWorker
from polymirror.errors import UnknownToken, VenueError
from polymirror.venue.gamma import Gamma

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from bots.common.execution.base import Executor
    from bots.common.ledger.files import Files, Offload
    from bots.common.ledger.records import Settled
    from bots.common.money.sizing import SizeLimits
    from bots.common.operate.notifications import Notifier
    from bots.common.orders.order import Order, Result, TimeInForce
    from bots.common.risk.limits import RiskLimits
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
    save_every: float
    """Seconds between two writings of the state file."""
    health_every: float = 60.0
    """Seconds between two looks at how all parts are."""


@frozen(kw_only=True)
class World:
    """Everything outside the bot."""

    network: Network
    endpoints: Endpoints
    oracle: Oracle
    files: Files
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
        self.desks: dict[str, AssetWorker] = {}
        # Set once the files are read, and once the venue was asked.
        self.risk: Risk | None = None
        self.dealer: OrderManager | None = None
        # Slugs of markets with an open position, by condition id.
        self._names: dict[str, str] = {}
        # Markets of earlier runs' positions, by condition id.
        self._markets: dict[str, Market] = {}

    async def run(self) -> dict[str, Any]:
        """Trade until cancelled, or until the limited rounds are settled; return the summary."""
        world, plan = self.world, self.plan
        async with AsyncExitStack() as stack:
            store = StateFile(world.files, offload=world.offload)
            state = await store.load()
            self.risk = risk = Risk(plan.risk, world.switch)
            if state is not None:
                self.account = Account.restore(state.account)
                self.risk = risk = Risk.restore(plan.risk, state.parts.get("risk", {}), world.switch)
            intents = IntentLog(
                world.files,
                self.account,
                world.network,
                offload=world.offload,
                followers=(RiskFollower(risk, self.account),),
            )
            await intents.open()
            executor = await stack.enter_async_context(world.open_executor(self))
            gamma = await stack.enter_async_context(
                Gamma(plan.mirror.rest, world.endpoints, rng=world.rng, network=world.network)
            )
            keeper = StateKeeper(
                store, intents, world.network, lambda: {"risk": risk.snapshot()}, every=plan.save_every
            )
            await self._reconcile(intents, executor, gamma)
            self.dealer = dealer = OrderManager(
                executor=executor,
                intents=intents,
                risk=risk,
                limits=plan.size,
                network=world.network,
                max_proof_age=plan.max_proof_age,
                tif=plan.tif,
                counts=self.tally.orders,
                on_result=self._tell_result,
                on_settled=self._tell_settled,
            )
            self._make_desks(dealer)
            async with Supervisor(world.network, rng=world.rng) as supervisor:
                supervisor.keep("oracle", world.oracle.run)
                supervisor.keep("dealer", dealer.run, vital=True)
                supervisor.keep("state", keeper.run, vital=True)
                health = Health(
                    (
                        tasks(supervisor),
                        prices(world.oracle, plan.assets, world.network),
                        books(self._count_books),
                        saved(keeper, 4 * plan.save_every),
                        orders(intents, world.network),
                    ),
                    world.network,
                    world.notifier,
                    every=plan.health_every,
                )
                supervisor.keep("health", health.run)
                for name, run in (*world.tasks.items(), *((asset, desk.run) for asset, desk in self.desks.items())):
                    supervisor.keep(name, run)
                # Nobody tells when the last of a limited run's rounds is booked, so it is looked at.
                while self.account.positions or self.account.open or not self.tally.done(dealer.now_ms()):  # noqa: ASYNC110
                    await asyncio.sleep(1.0)
            await keeper.save()
            return self.summary()

    def summary(self) -> dict[str, Any]:
        """Sum up what was done until now."""
        unresolved = len(self.account.open) if self.dealer is None else self.dealer.unresolved
        return summarise(self.tally, self.account, unresolved)

    def stop(self, why: str) -> None:
        """Buy nothing any more, across restarts; positions are still settled."""
        if self.risk is not None:
            self.risk.stop(why)

    # ---- The start -----------------------------------------------------------------------------------

    async def _reconcile(self, intents: IntentLog, executor: Executor, gamma: Gamma) -> None:
        """Learn what became of an earlier run's orders and positions. Raises when the venue does not tell."""
        tokens = {held.market: held.token for held in self.account.positions.values()}
        tokens |= {begun.order.market: begun.order.token for begun in intents.open_intents()}

        async def winner_of(market: str) -> str | None:
            if market not in self._markets:
                self._markets[market] = await gamma.market_of_token(tokens[market])
            return _winner(self._markets[market])

        reconciler = Reconciler(intents, executor, winner_of, self.world.network)
        for attempt in range(START_ATTEMPTS):
            try:
                found = await reconciler.run()
                for market in tokens:
                    await winner_of(market)
            except BadCredentials:
                raise
            except (TradingError, VenueError) as error:
                log.warning("the venue does not tell yet what we hold: %s", error)
                if attempt == START_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(START_PAUSE)
            else:
                for line in found.lines():
                    self.world.notifier.notify(line)
                return

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
        for market in self._markets.values():
            window = window_of(market)
            if window is None or window.asset not in self.desks:
                raise BotError(f"an earlier run holds {market.slug}, and no desk is for it: add its asset to assets")
            self.desks[window.asset].adopt(window)

    # ---- Telling -------------------------------------------------------------------------------------

    def _tell_result(self, order: Order, result: Result) -> None:
        name, _, _ = order.client_id.rpartition(".")
        if result.traded:
            self._names[order.market] = name
        said = f"bought {result.shares} {self._side(order.token)} for {result.money} pUSD, fee {result.fee}"
        if not result.traded:
            why = f" ({shorten(result.detail, 60)})" if result.detail else ""
            said = f"order {_WORDS.get(result.outcome, result.outcome.value)}{why}"
        self.world.notifier.notify(f"{name}: {said}")

    def _tell_settled(self, settled: Settled) -> None:
        earlier = self._markets.get(settled.market)
        name = self._names.pop(settled.market, settled.market[:12] if earlier is None else earlier.slug)
        profit = settled.payout - settled.cost
        self.world.notifier.notify(f"{name}: {'won' if profit > 0 else 'lost'} {abs(profit)} pUSD")

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
        decided = None if self.dealer is None else self.dealer.winner(market)
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


def _winner(market: Market) -> str | None:
    return next((token.id for token in market.tokens if token.outcome == market.winner), None)

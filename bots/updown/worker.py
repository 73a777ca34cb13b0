"""One asset's worker: its mirror, its rounds, and a question to the strategy after every tick of its oracle.

A worker is a failure domain. It has a mirror of its own, and whatever fails here ends this worker alone; its supervisor
runs it again, and it goes on with the rounds it knew. Orders are the order manager's: a tick never waits for one. What
to wish for is the :class:`Strategy`'s business, which is pure.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from attrs import evolve

from bots.common.errors import FactsDiffer, FactsOutside, FeeUnknown
from bots.common.orders.intents import Terms, Wish
from bots.updown.oracles.coherence import Coherence
from bots.updown.rounds import (
    Lifecycle,
    RoundEnded,
    RoundListed,
    RoundOverdue,
    RoundSettled,
    RoundSkipped,
    RoundStarted,
    keep_rounds,
)
from bots.updown.strike import StrikeRefusal, can_tell, contradicted, find_strike
from bots.updown.volatility import Volatility
from polymirror.core.states import BookState
from polymirror.errors import VenueError
from polymirror.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bots.common.orders.facts import FactLimits
    from bots.common.orders.manager import OrderManager
    from bots.updown.oracles.base import Oracle
    from bots.updown.oracles.ticks import Tick, TickKind
    from bots.updown.rounds import Event, Payout, Round, RoundSettings
    from bots.updown.stats import RunStats
    from bots.updown.strike import Strike
    from bots.updown.volatility import Measured
    from polymirror.config import MirrorConfig
    from polymirror.venue.market import Market
    from polymirror.venue.network import Network
    from polymirror.venue.windows import Window

log = logging.getLogger(__name__)

ASK_AGAIN = 5.0
"""Seconds between two questions for a market's terms."""


class Strategy(Protocol):
    """What decides. Pure: it is told everything, and asked for a wish."""

    @property
    def kind(self) -> TickKind:
        """The kind of price after which it is asked."""
        ...

    def wish(
        self, each: Round, terms: Terms, tick: Tick, strike: Strike | None, measured: Measured | None, now_ms: int
    ) -> Wish | str:
        """Say what to buy in an open window, or in one word why nothing is wished for.

        ``measured``: how far the asset wanders, once enough of its ticks was seen.
        """
        ...


class AssetWorker:
    """Trades one asset. Call :meth:`run` again after it failed."""

    def __init__(
        self,
        asset: str,
        strategy: Strategy,
        *,
        rounds: RoundSettings,
        facts: FactLimits,
        mirror: MirrorConfig,
        network: Network,
        oracle: Oracle,
        manager: OrderManager,
        stats: RunStats,
        tell: Callable[[str], None] = lambda _text: None,
        page: Callable[[Mirror], Awaitable[object]],
    ) -> None:
        self.asset = asset
        # The running mirror, while there is one.
        self.mirror: Mirror | None = None
        self._strategy = strategy
        self._rounds = rounds
        self._facts = facts
        self._mirror_config = mirror
        self._network = network
        self._oracle = oracle
        self._manager = manager
        self._stats = stats
        self._tell = tell
        self._page = page
        self._volatility = Volatility(asset, strategy.kind)
        # Windows that are not settled yet, by slug: a new run goes on with them.
        self._unsettled: dict[str, Window] = {}
        # Running windows, and the terms of markets, by slug.
        self._open: dict[str, Round] = {}
        self._terms: dict[str, Terms] = {}
        # Why the last window that is not traded is not.
        self._skipped = ""
        self._ticked = asyncio.Event()
        # Watches the prices, while it runs.
        self._coherence: Coherence | None = None
        self._group: asyncio.TaskGroup | None = None

    def adopt(self, window: Window) -> None:
        """Follow a window until it is settled, because a position of an earlier run rests on it."""
        self._unsettled[window.slug] = window

    def count_books(self) -> tuple[int, int]:
        """Return how many books of unsettled markets are LIVE, and how many there are."""
        states = [] if self.mirror is None else [self.mirror.engine.peek_state(token) for token in self.mirror.tokens]
        return states.count(BookState.LIVE), len(states) - states.count(BookState.RETIRED)

    def blind(self) -> str:
        """Say why nothing could be bought now whatever the prices are; empty: something could."""
        now = self._network.wall()
        current = [slug for slug, window in self._unsettled.items() if window.start <= now < window.end]
        if not current:
            return "no open market is found" + (f" ({self._skipped})" if self._skipped else "")
        if not any(slug in self._terms for slug in current):
            return "the terms of its market are not told"
        if self._oracle.stale(self.asset, self._network.monotonic(), self._strategy.kind):
            return "no fresh price"
        return "" if self.count_books()[0] else "no book is LIVE"

    async def run(self) -> None:
        """Trade until cancelled. Raises what failed, in a group."""
        rounds = Lifecycle(self.asset, self._rounds)
        for window in self._unsettled.values():
            rounds.adopt(window)
        self._open.clear()
        async with Mirror(config=self._mirror_config, network=self._network) as mirror:
            self.mirror = mirror
            await self._page(mirror)
            self._coherence = Coherence(self._oracle.buffer, self._rounds.coherence)
            forget = self._oracle.on_tick(self._hear_tick)
            try:
                async with asyncio.TaskGroup() as self._group:
                    self._group.create_task(self._trade(), name=f"{self.asset} ticks")
                    await keep_rounds(rounds, mirror.gamma, self._network, self._hear)
            finally:
                forget()
                self._group = self.mirror = None

    # ---- Rounds --------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        match event:
            case RoundListed(each) if self.mirror is not None and self._group is not None:
                self._unsettled[each.slug] = each.window
                self.mirror.add_market(each.terms)
                self._group.create_task(self._learn_terms(self.mirror, each), name=f"terms of {each.slug}")
            case RoundStarted(each, late_ms) if self._stats.started(each, late_ms):
                self._open[each.slug] = each
            case RoundEnded(each, late_ms):
                self._open.pop(each.slug, None)
                self._stats.ended(each, late_ms)
            case RoundOverdue(each) if self._holds(each):
                late = self._rounds.patience // 60
                self._tell(f"{each.slug}: nobody says who won, {late} minutes after its end: its money is at risk")
            case RoundSettled(each, payouts):
                self._settle(each, payouts)
            case RoundSkipped(slug, why):
                log.warning("%s is not traded: %s", slug, why)
                self._skipped = why
                self._stats.counts["rounds skipped"] += 1

    def _holds(self, each: Round) -> bool:
        account, market = self._manager.account, each.market
        held = {position.market for position in account.positions.values()}
        held |= {begun.order.market for begun in account.open.values()}
        return each.adopted or (market is not None and market.condition_id in held)

    async def _learn_terms(self, mirror: Mirror, each: Round) -> None:
        """Ask for the market's facts until both services say the same and nothing odd; nothing is bought before.

        What is wrong is told once, and so is that it is over.
        """
        market, told = each.terms, False
        while self._network.wall() < each.window.end:
            try:
                clob = await mirror.clob.clob_market(market.condition_id)
                self._terms[each.slug] = Terms.of(market, clob, self.asset, self._facts)
            except (VenueError, FeeUnknown, FactsDiffer, FactsOutside) as error:
                log.info("%s: %s", each.slug, error)
                if not isinstance(error, VenueError):
                    if not told:
                        self._tell(f"not traded: {error}")
                    told = True
                    market = await self._describe_again(mirror, market)
                await asyncio.sleep(ASK_AGAIN)
            else:
                if told:
                    self._tell(f"{each.slug} is traded: what was wrong with its facts is over")
                return

    async def _describe_again(self, mirror: Mirror, market: Market) -> Market:
        """Ask discovery once more: either service may be the one that is late. Another market's facts are no answer."""
        try:
            found = await mirror.gamma.event(market.slug)
        except VenueError as error:
            log.info("%s: %s", market.slug, error)
            found = ()
        same = (each for each in found if each.condition_id == market.condition_id and each.tokens == market.tokens)
        return next(same, market)

    def _settle(self, each: Round, payouts: Payout) -> None:
        self._unsettled.pop(each.slug, None)
        self._open.pop(each.slug, None)
        self._terms.pop(each.slug, None)
        market = each.terms.condition_id
        pays = payouts.get(each.terms.up.id)
        doubt = contradicted(self._oracle.buffer, self.asset, each.start_ms, each.end_ms, pays)
        if doubt:
            self._tell(f"{each.slug}: {doubt}")
        confirmed = can_tell(self._oracle.buffer, self.asset, each.start_ms, each.end_ms)
        self._manager.decide(market, payouts, doubt, confirmed=confirmed)
        if self.mirror is not None and any(known.condition_id == market for known in self.mirror.markets):
            self.mirror.remove_market(market)
        self._stats.settled(each)

    # ---- Ticks ---------------------------------------------------------------------------------------

    def _hear_tick(self, tick: Tick) -> None:
        if tick.asset != self.asset:
            return
        if self._coherence is not None and (why := self._coherence.hear(tick)):
            for slug in tuple(self._open):
                self._leave(slug, why, "prices refused")
        if tick.kind is self._strategy.kind:
            self._volatility.hear(tick)
            self._ticked.set()

    def _leave(self, slug: str, why: str, what: str) -> None:
        """Trade an open window no more, and tell why."""
        self._tell(f"{slug} is not traded any more: {why}")
        self._open.pop(slug, None)
        self._stats.counts[what] += 1

    async def _trade(self) -> None:
        while True:
            await self._ticked.wait()
            self._ticked.clear()
            for each in tuple(self._open.values()):
                quiet = self._consider(each)
                if quiet:
                    self._stats.quiet[quiet] += 1

    def _consider(self, each: Round) -> str:
        """Put one open window to the strategy at the newest tick; return why nothing is to be done, if so."""
        oracle, kind, mirror = self._oracle, self._strategy.kind, self.mirror
        terms, tick = self._terms.get(each.slug), oracle.buffer.latest(self.asset, kind)
        if terms is None or mirror is None:
            return "NO_TERMS"
        if tick is None or oracle.stale(self.asset, self._network.monotonic(), kind):
            return "STALE_ORACLE"
        strike = find_strike(oracle.buffer, self.asset, each.start_ms, each.official, self._rounds.strikes)
        if isinstance(strike, StrikeRefusal):
            self._leave(each.slug, strike.why, "strikes refused")
            return "STRIKE_REFUSED"
        now_ms = int(self._network.wall() * 1000)
        found = self._strategy.wish(each, terms, tick, strike, self._volatility.measured, now_ms)
        basis = {"oracle_price": str(tick.price), "oracle_age_ms": str(now_ms - tick.at_ms)}
        if strike is not None:
            basis |= {"strike": str(strike.price), "strike_from": strike.source.name}
        if isinstance(found, str):
            self._manager.note_quiet(terms, found, basis)
            return found
        self._stats.counts["signals"] += 1
        self._manager.consider(mirror, evolve(found, basis={**basis, **found.basis}))
        return ""

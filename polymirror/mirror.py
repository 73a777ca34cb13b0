"""Mirror: the engine on asyncio, and what users import.

A mirror owns one engine, a self-healing socket per group of markets, and one REST client. It carries the
engine's effects out and feeds it what comes back; every decision is the engine's. All methods are for the
event loop that runs the mirror. :meth:`Mirror.live` does no I/O and may be called as often as one likes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from attrs import evolve

from polymirror.config import Endpoints, MirrorConfig, check_each, check_instance
from polymirror.core.checksum import Constants
from polymirror.core.engine import Engine
from polymirror.core.events import Transition
from polymirror.core.states import BookState
from polymirror.core.view import BookView, Top
from polymirror.errors import BadResponse, ConfigError, MirrorClosed, NotLive, UnknownToken
from polymirror.shell.alarm import Alarm
from polymirror.shell.carrier import Carrier, Hooks
from polymirror.shell.clocks import Clocks
from polymirror.shell.clockwatch import watch_clock
from polymirror.shell.subscribers import Subscribers, Subscription, Update
from polymirror.shell.tasks import alone, as_not_live
from polymirror.shell.warnlog import WarnLog, log_transitions
from polymirror.status.health import MirrorStatus, Records
from polymirror.venue.failures import printable
from polymirror.venue.gamma import Gamma, Market
from polymirror.venue.market import UP_LABELS
from polymirror.venue.network import REAL, Network
from polymirror.venue.rest import Clob

log = logging.getLogger("polymirror")

PROVE_AGAIN = 1.0
"""Seconds after which a proof that was asked for is asked for again."""

PAIR = 2
"""Tokens of a market."""

MAX_NAME = 80
"""Characters of a market's slug in a message."""

MAX_ROUNDS = 64
"""Rounds of effects and events, each caused by callbacks of the last, that are handled in one go."""


class Mirror:
    """Order books proven right, for the tokens of some markets. Use it with ``async with``.

    ``markets`` are :class:`~polymirror.venue.gamma.Market` objects; ``slugs`` and ``tokens`` are looked up
    at the venue when the mirror starts. ``endpoints`` replaces those of ``config``, ``network`` the real
    sockets and clocks. Raises ConfigError for arguments of another kind.
    """

    def __init__(
        self,
        markets: Iterable[Market] = (),
        *,
        slugs: Iterable[str] = (),
        tokens: Iterable[str] = (),
        config: MirrorConfig | None = None,
        endpoints: Endpoints | None = None,
        network: Network | None = None,
    ) -> None:
        config = MirrorConfig() if config is None else check_instance("config", config, MirrorConfig)
        self.config = config if endpoints is None else evolve(config, endpoints=endpoints)
        self._network = REAL if network is None else check_instance("network", network, Network)
        self._clocks = Clocks(self._network)
        self._monotonic = self._network.monotonic
        # Decides all jitter: a run with the same seed and inputs does the same.
        self.seed = secrets.randbits(32) if config.seed is None else config.seed
        self._rng = random.Random(f"io:{self.seed}")  # noqa: S311 - jitter
        # Its own: what sockets and calls draw depends on the network's timing.
        self.engine = Engine(self.config.engine, random.Random(f"engine:{self.seed}"))  # noqa: S311 - jitter
        # What was asked for before the start.
        self._wanted = (
            check_each("markets", markets, Market),
            check_each("slugs", slugs, str),
            check_each("tokens", tokens, str),
        )
        self._markets: dict[str, Market] = {}
        hooks = Hooks(self._spawn, self._drain, self._warn)
        self._carrier = Carrier(hooks, self.engine, self.config, self._network, self._clocks, self._rng, self._markets)
        self._subscribers = Subscribers(self.config.max_subscribers)
        self._on_transition: dict[object, Callable[[Transition], None]] = {}
        # Woken whenever a state or a proof may have changed: wait_live, prove and leases wait here. In order, as
        # the tasks below, so that a run in virtual time repeats itself.
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._warnings = WarnLog()
        self._records = Records()
        self._alarm = Alarm(self.now, lambda: self._carrier.waiting, self._tick)
        # True while effects are carried out: an effect may cause an input, whose effects join the same round.
        self._draining = False
        self._stack: AsyncExitStack | None = None
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        # True from the end of the block on: nothing is started any more, neither a task nor a timer.
        self._stopped = False

    @classmethod
    def for_slug(
        cls,
        *slugs: str,
        config: MirrorConfig | None = None,
        endpoints: Endpoints | None = None,
        network: Network | None = None,
    ) -> Self:
        """Make a mirror for markets named by slug, such as ``btc-updown-15m-1790000100``."""
        return cls(slugs=slugs, config=config, endpoints=endpoints, network=network)

    # ---- Life --------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start. Raises VenueError if a slug or token cannot be looked up.

        Raises ConfigError for settings with which it could never work, those of the environment included; once it
        runs, nothing that is wrong with them ends it.
        """
        if self._group is not None:
            raise MirrorClosed("this mirror runs already, or has run: make another one")
        self._network.check(self.config.endpoints.stream)
        service = (self.config.rest, self.config.endpoints)
        with alone():
            async with AsyncExitStack() as stack:
                self.clob = await stack.enter_async_context(Clob(*service, rng=self._rng, network=self._network))
                self.gamma = await stack.enter_async_context(Gamma(*service, rng=self._rng, network=self._network))
                self._carrier.use(self.clob, self.gamma)
                self._group = await stack.enter_async_context(asyncio.TaskGroup())
                # Runs before the group waits for its tasks, also when the look-ups below fail.
                stack.callback(self._stop)
                await self._look_up_wanted()
                interval, warn = self.config.clock_interval, partial(self._warn, "time")
                self._spawn(watch_clock(self.clob, self.engine, interval, warn, self._monotonic), "clock")
                self._stack = stack.pop_all()
        return self

    async def _look_up_wanted(self) -> None:
        markets, slugs, tokens = self._wanted
        for market in markets:
            self.add_market(market)
        for slug in slugs:
            await self.add_slug(slug)
        for token in tokens:
            await self.add_token(token)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: every socket is closed and every task has ended on return."""
        stack, self._stack = self._stack, None
        if stack is None:
            return
        with alone():
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                # Perhaps the group cancelled the body because a task failed: let it tell.
                await stack.__aexit__(kind, error, trace)
            else:
                # The body's own error must reach the caller as it is, not inside a group.
                await stack.__aexit__(None, None, None)

    def _stop(self) -> None:
        self._stopped = True
        self._alarm.stop()
        self._subscribers.close()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(MirrorClosed("the mirror was stopped"))
        for task in tuple(self._tasks):
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise MirrorClosed("use the mirror inside 'async with'")
        task = self._group.create_task(work, name=f"polymirror {name}")
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def _check_running(self) -> None:
        if self._group is None or self._stopped:
            raise MirrorClosed("use the mirror inside 'async with'")

    def now(self) -> float:
        """Return the mirror's monotonic clock in seconds: the clock of every age and deadline."""
        return self._monotonic()

    # ---- Markets -----------------------------------------------------------------------------------

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, in the order in which their markets were added; Up or Yes first within a market."""
        return self.engine.asset_ids

    @property
    def markets(self) -> tuple[Market, ...]:
        """All markets, in the order in which they were added."""
        return tuple(self._markets.values())

    def add_market(self, market: Market) -> None:
        """Start to mirror both tokens of a market. Does nothing for one that is mirrored already."""
        self._check_running()
        if market.condition_id in self._markets:
            return
        constants = Constants(
            min_order_size=market.min_order_size,
            tick_size=market.tick_size,
            neg_risk=market.neg_risk,
        )
        by_label = sorted(market.tokens, key=lambda token: token.outcome.lower() not in UP_LABELS)
        asset_ids = [token.id for token in by_label]
        self.engine.track(market.condition_id, asset_ids, self.now(), constants=constants)
        self._markets[market.condition_id] = market
        self._drain()

    async def add_slug(self, slug: str) -> Market:
        """Look a market up by slug and start to mirror it. Raises VenueError."""
        self._check_running()
        return self._add_found(await self.gamma.market(slug))

    async def add_token(self, token: str) -> Market:
        """Look a token's market up and start to mirror both its tokens. Raises VenueError."""
        self._check_running()
        return self._add_found(await self.gamma.market_of_token(token))

    def _add_found(self, market: Market) -> Market:
        """Start to mirror what a service described: what is wrong with it is no setting of ours."""
        call = f"market {printable(market.slug, MAX_NAME)}"
        if len(market.tokens) != PAIR:
            raise BadResponse(call, f"two tokens were expected, not {len(market.tokens)}")
        try:
            self.add_market(market)
        except ConfigError as error:
            if error.field != "asset_ids":
                raise
            raise BadResponse(call, printable(str(error))) from error
        return market

    def remove_market(self, condition_id: str) -> None:
        """Stop to mirror a market. Raises UnknownToken if it is not mirrored."""
        self._check_running()
        market = self._markets.pop(condition_id, None)
        if market is None:
            raise UnknownToken(condition_id)
        self.engine.untrack(condition_id, self.now())
        self._subscribers.forget(market.token_ids)
        self._drain()

    # ---- Reading -----------------------------------------------------------------------------------

    @property
    def reads(self) -> dict[str, int]:
        """Reads for execution since the start, by outcome: ``granted`` and ``refused``."""
        return {"granted": self._records.granted, "refused": self._records.refused}

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return the newest proven state of a LIVE book, to trade on.

        Raises NotLive unless the book is LIVE and was proven no longer than ``max_proof_age`` seconds ago
        (default and upper bound: the configured age), and UnknownToken.
        """
        try:
            view = self.engine.live(token, self._clocks.read(), max_proof_age)
        except NotLive:
            self._records.refused += 1
            raise
        self._records.granted += 1
        return view

    def top(self, token: str, max_proof_age: float | None = None) -> Top:
        """Return the best levels of a LIVE book: granted exactly when :meth:`live` is, and copied from nothing.

        For decisions that need the top alone, after each change of a deep book. Raises as :meth:`live` does.
        """
        try:
            top = self.engine.top(token, self._clocks.read(), max_proof_age)
        except NotLive:
            self._records.refused += 1
            raise
        self._records.granted += 1
        return top

    def peek(self, token: str) -> BookView:
        """Return the last proven levels whatever the state, for display and diagnosis. Never trade on it."""
        return self.engine.peek(token, self.now())

    async def prove(self, token: str, timeout: float = 5.0) -> BookView:
        """Have the book proven at full depth, starting now, and return it.

        A proof by the stream after this call counts as well as one by REST. Raises NotLive if there is none
        within ``timeout`` seconds, at once for a retired token, and UnknownToken.
        """
        self._check_running()
        asked = self.now()

        def proven() -> bool:
            if self.engine.peek_state(token) is BookState.RETIRED:
                raise self.engine.refusal(token, self.now())
            return self.engine.is_proven_since(token, asked)

        with as_not_live(self, token):
            async with asyncio.timeout(timeout):
                while True:
                    # REST may be a second behind: then only an answer to a later question speaks for now.
                    self.engine.prove(token, self.now())
                    self._drain()
                    with suppress(TimeoutError):
                        await self._until(proven, PROVE_AGAIN)
                        break
        return self.live(token)

    def resync(self, token: str) -> None:
        """Throw a book away and build it anew (reason REQUESTED). Raises UnknownToken."""
        self._check_running()
        self.engine.resync(token, self.now())
        self._drain()

    async def wait_live(self, *tokens: str, timeout: float = 10.0, retired_ok: bool = False) -> None:
        """Wait until these tokens (default: all) are LIVE; with ``retired_ok``, retired ones are not waited for.

        Raises NotLive for the first token that is not, after ``timeout`` seconds, and at once for a retired one
        (its market is over) without ``retired_ok``; UnknownToken.
        """
        self._check_running()
        wanted = tokens or self.tokens

        def missing() -> str | None:
            for token in wanted:
                state = self.engine.peek_state(token)
                if state is BookState.RETIRED and not retired_ok:
                    raise self.engine.refusal(token, self.now(), detail="its market is over; retired_ok=True skips it")
                if state not in (BookState.LIVE, BookState.RETIRED):
                    return token
            return None

        try:
            await self._until(lambda: missing() is None, timeout)
        except TimeoutError:
            token = missing()
            if token is not None:
                raise self.engine.refusal(token, self.now(), detail=f"waited {timeout:g} s") from None

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        """Wait until the newest change of a LIVE book is proven, and return the view.

        Raises NotLive if the book is not LIVE, or not settled within ``timeout`` seconds.
        """
        view = self.live(token, max_proof_age)
        if not view.settled:
            with as_not_live(self, token):
                await self._until(lambda: self.engine.is_settled(token), timeout)
            view = self.live(token, max_proof_age)
        return view

    async def _until(self, holds: Callable[[], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while not holds():
                # A waiter that was woken just before the end would wait again, for nothing.
                self._check_running()
                waiter = asyncio.get_running_loop().create_future()
                self._waiters[waiter] = None
                try:
                    await waiter
                finally:
                    self._waiters.pop(waiter, None)

    def status(self) -> MirrorStatus:
        """Return how the mirror and all its books are now. For people: it takes milliseconds, so not for each update.

        Works before the start and after the end, too. Every number has its unit in its description.
        """
        running = self._group is not None and not self._stopped
        known = self._records.known(self._markets.values(), self.clob.budget_left if running else None)
        return MirrorStatus.of(self.engine.status(self.now(), known), self._records, seed=self.seed, running=running)

    # ---- Being told --------------------------------------------------------------------------------

    def updates(self, *tokens: str) -> Subscription:
        """Iterate over changes of these tokens (default: all): always the newest, never a backlog."""
        return self._subscribers.subscribe(tokens, self._describe)

    def on_update(self, callback: Callable[[Update], None], *tokens: str) -> Callable[[], None]:
        """Call back after changes of these tokens (default: all), conflated per turn of the event loop.

        Returns a function that removes the callback. An exception in it is logged.
        """
        return self._subscribers.call(callback, tokens)

    def on_transition(self, callback: Callable[[Transition], None]) -> Callable[[], None]:
        """Call back with every change of a state, in order, as it happens. Returns a function that removes it."""
        key = object()
        self._on_transition[key] = callback
        return lambda: self._on_transition.pop(key, None) and None

    def _describe(self, token: str, conflated: int) -> Update | None:
        # None: removed while somebody waits for it.
        standing = self.engine.standing(token)
        return None if standing is None else Update(token, *standing, conflated)

    # ---- The shell ---------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Carry out and tell what the last input led to, and set the timer for the next deadline."""
        if self._draining:
            return
        self._draining = True
        engine = self.engine
        try:
            for _ in range(MAX_ROUNDS):
                effects = engine.effects()
                if not effects and not engine.has_events:
                    break
                for effect in () if self._stopped else effects:
                    self._carrier.carry_out(effect)
                # A callback may cause inputs, too: what follows from them is told after what came before.
                self._tell_events()
            else:
                # Callbacks cause one another: the rest of the program must have its turn.
                asyncio.get_running_loop().call_soon(self._drain)
        finally:
            self._draining = False
        changed = engine.dirty()
        if changed:
            self._subscribers.notify(changed, self._describe)
        # Whether or not levels changed: a proof of the same levels is what some wait for.
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._alarm.set(engine.next_deadline())

    def _tell_events(self) -> None:
        events = self.engine.events()
        log_transitions(log, [event for event in events if isinstance(event, Transition)])
        for event in events:
            if not isinstance(event, Transition):
                self._warnings.warn(event.kind, event.detail, event.at)
                continue
            self._records.transitions += 1
            for key, callback in tuple(self._on_transition.items()):
                if key not in self._on_transition:
                    continue
                try:
                    callback(event)
                except (Exception, asyncio.CancelledError):
                    # A user's bug must not stop the mirror. Nor must asking a cancelled future, which would end the
                    # task that called back without a word.
                    log.exception("a transition callback failed")

    def _tick(self) -> None:
        self._carrier.look_for_gap()
        self.engine.tick(self.now())
        self._drain()

    def _warn(self, kind: str, detail: str) -> None:
        self._warnings.warn(kind, detail, self.now())

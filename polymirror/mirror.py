"""Mirror: the engine on asyncio, and what users import.

A mirror owns one engine, a self-healing socket per group of markets, and one REST client. It carries the
engine's effects out and feeds it what comes back; every decision is the engine's. All methods are for the
event loop that runs the mirror, and its thread. :meth:`Mirror.live` does no I/O and may be called as often as one
likes.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sized
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from attrs import evolve

from polymirror.config import Endpoints, MirrorConfig, check_each, check_flag, check_instance, check_timeout
from polymirror.core.engine import Engine
from polymirror.core.states import BookState
from polymirror.core.top import Top
from polymirror.core.view import BookView
from polymirror.errors import ConfigError, MirrorClosed, NotLive, UnknownToken, VenueError
from polymirror.relay.served import Relays
from polymirror.shell.alarm import Alarm
from polymirror.shell.callbacks import check_callback
from polymirror.shell.carrier import Carrier, Hooks
from polymirror.shell.clocks import Clocks
from polymirror.shell.clockwatch import watch_clock
from polymirror.shell.following import Followings
from polymirror.shell.listing import Listing
from polymirror.shell.markets import Markets
from polymirror.shell.ownthread import OwnThread
from polymirror.shell.tasks import all_of, alone, as_not_live
from polymirror.shell.teller import Teller
from polymirror.shell.told import Told
from polymirror.shell.waits import Waits
from polymirror.status.health import Records
from polymirror.status.served import Served
from polymirror.venue.gamma import Gamma, Market
from polymirror.venue.network import REAL, Network
from polymirror.venue.rest import Clob
from polymirror.venue.windows import Interval

T = TypeVar("T")

PROVE_AGAIN = 1.0
"""Seconds after which a proof that was asked for is asked for again."""

FIRST_LOOK_UP = 5.0
"""Seconds that a start waits for the first answers of discovery; what is not found by then is looked for on."""

NOT_STARTED = "the mirror does not run yet: call start() first, or use it in 'async with'"

MAX_ROUNDS = 64
"""Rounds of effects and events, each caused by callbacks of the last, that are handled in one go."""


class Mirror(Markets, Told, Served, Relays):
    """Order books proven right, for the tokens of some markets. Use it with ``async with``.

    ``markets`` are :class:`~polymirror.venue.gamma.Market` objects; ``slugs`` (or the addresses of their pages) and
    ``tokens`` are looked up at the venue when the mirror starts. ``endpoints`` replaces those of ``config``,
    ``network`` the real sockets and clocks. ``journal`` is a folder in which it is recorded, ``incidents`` one for
    bundles that explain losses of trust. Raises ConfigError for arguments of another kind, and MissingExtra for a
    journal without the extra ``recordings``.
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
        journal: str | Path | None = None,
        incidents: str | Path | None = None,
    ) -> None:
        config = MirrorConfig() if config is None else check_instance("config", config, MirrorConfig)
        self.config: MirrorConfig = config if endpoints is None else evolve(config, endpoints=endpoints)
        self._network = REAL if network is None else check_instance("network", network, Network)
        self._clocks = Clocks(self._network)
        self._monotonic = self._network.monotonic
        self._owner = OwnThread()
        # The clock of reads for execution.
        self._read_clock = self._clocks.read
        # Decides all jitter: a run with the same seed and inputs does the same.
        self.seed: int = secrets.randbits(32) if config.seed is None else config.seed
        self._rng = random.Random(f"io:{self.seed}")  # noqa: S311 - jitter
        # Its own: what sockets and calls draw depends on the network's timing.
        drawn = random.Random(f"engine:{self.seed}")  # noqa: S311 - jitter
        name, wall = (lambda token: self._listing.name_of(token)), self._network.wall  # noqa: PLW0108 - made later
        self.engine: Engine = Engine(self.config.engine, drawn)
        if journal is not None or incidents is not None:
            from polymirror.journal.recording import Recording  # noqa: PLC0415 - a twentieth of all imports' time

            self._recording = Recording(journal, incidents, self.config, self.seed, wall, name)
            self.engine = self._recording.engine(drawn)
        self._records = Records()
        limit = self.config.max_subscribers
        self._teller = Teller(self.engine, self._records, self.now, limit, name)
        # Added when it starts.
        self._given = check_each("markets", markets, Market, "; slugs are given as slugs=[...], or to Mirror.for_slug")
        self._listing = Listing(self.engine, self.now, self._rng, self._teller, self._drain)
        self._listing.expect(self._given)
        self._listing.want(slugs, tokens)
        self._followings = Followings(self._listing, self.engine, self.now, wall, self._owner.check, self._drain)
        bodies = None if self._recording is None else self._recording.note_bodies
        pulse = self._records.pulse
        hooks = Hooks(self._spawn, self._drain, self._teller.warn, self._teller.frames, pulse, bodies)
        self._carrier = Carrier(
            hooks, self.engine, self.config, self._network, self._clocks, self._rng, self._listing.markets
        )
        # Woken whenever a state or a proof may have changed: wait_live, prove and leases wait here.
        self._waits = Waits()
        self._alarm = Alarm(self.now, lambda: self._carrier.waiting, self._tick, pulse.loop_lag.observe)
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
        journal: str | Path | None = None,
        incidents: str | Path | None = None,
    ) -> Self:
        """Make a mirror for markets named by slug, such as ``btc-updown-15m-1790000100``, or by page.

        Raises ConfigError without any; ``Mirror()`` has none at first.
        """
        _check_some("slugs", slugs)
        return cls(
            slugs=slugs, config=config, endpoints=endpoints, network=network, journal=journal, incidents=incidents
        )

    @classmethod
    def for_event(
        cls,
        *events: str,
        config: MirrorConfig | None = None,
        endpoints: Endpoints | None = None,
        network: Network | None = None,
        journal: str | Path | None = None,
        incidents: str | Path | None = None,
    ) -> Self:
        """Make a mirror for all markets of events, named by slug or page: see :meth:`add_event`.

        Raises ConfigError without any.
        """
        _check_some("events", events)
        mirror = cls(config=config, endpoints=endpoints, network=network, journal=journal, incidents=incidents)
        for event in events:
            mirror.add_event(event)
        return mirror

    @classmethod
    def for_windows(
        cls,
        asset: str,
        interval: str | Interval,
        *,
        ahead: int = 1,
        behind: int = 0,
        config: MirrorConfig | None = None,
        endpoints: Endpoints | None = None,
        network: Network | None = None,
        journal: str | Path | None = None,
        incidents: str | Path | None = None,
    ) -> Self:
        """Make a mirror that walks along the rolling windows of an asset: see :meth:`follow`."""
        mirror = cls(config=config, endpoints=endpoints, network=network, journal=journal, incidents=incidents)
        mirror.follow(asset, interval, ahead=ahead, behind=behind)
        return mirror

    # ---- Life --------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start, whether or not the venue answers: what cannot be looked up yet is in :attr:`missing`, and tried again.

        Waits up to 5 seconds for the first look-ups. Raises ConfigError for settings with which it could never work,
        those of the environment included; once it runs, nothing that is wrong with them ends it.
        """
        if self._group is not None:
            raise MirrorClosed("this mirror runs already, or has run: make another one")
        self._network.check(self.config.endpoints.stream)
        self._owner.take()
        if asyncio.get_running_loop().get_debug():
            self._read_clock = self._owner.checked(self._clocks.read)
        service = (self.config.rest, self.config.endpoints)
        with alone():
            async with AsyncExitStack() as stack:
                clob = Clob(*service, rng=self._rng, network=self._network)
                self.clob: Clob = await stack.enter_async_context(clob)
                gamma = Gamma(*service, rng=self._rng, network=self._network)
                self.gamma: Gamma = await stack.enter_async_context(gamma)
                self._carrier.use(self.clob, self.gamma)
                stack.callback(self._owner.release)
                if self._recording is not None:
                    stack.callback(self._recording.start(self.now, self._teller.warn))
                self._group = await stack.enter_async_context(asyncio.TaskGroup())
                # Runs before the group waits for its tasks, also when the look-ups below fail.
                stack.callback(self._stop)
                await self._begin()
                interval = self.config.clock_interval
                self._spawn(watch_clock(self.clob, self.engine, interval, self._time_told, self._monotonic), "clock")
                self._teller.started(len(self._listing.missing), self.seed)
                self._stack = stack.pop_all()
        return self

    async def _begin(self) -> None:
        for market in self._given:
            self.add_market(market)
        self._followings.start(self._spawn)
        if self._listing.missing:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_LOOK_UP):
                    await self._listing.look_up(self.gamma, starting=True)
        self._spawn(self._listing.run(self.gamma), "look-ups")

    async def start(self) -> Self:
        """Start, for programs in which ``async with`` does not fit; call :meth:`stop` in the same task."""
        return await self.__aenter__()

    async def stop(self) -> None:
        """Stop. Does nothing for a mirror that does not run. Raises WrongThread in a thread that is not its own."""
        await self.__aexit__(None, None, None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: every socket is closed and every task has ended on return."""
        if self._stack is None:
            return
        self._owner.check()
        stack, self._stack = self._stack, None
        with alone():
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                # Perhaps the group cancelled the body because a task failed: let it tell.
                await stack.__aexit__(kind, error, trace)
            else:
                # The body's own error must reach the caller as it is, not inside a group.
                await stack.__aexit__(None, None, None)

    def ask(self, work: Callable[[Self], T], timeout: float = 1.0) -> T:
        """Return ``work(mirror)``, done in the mirror's own thread; for any thread, which it blocks meanwhile.

        In that thread, before the start and after the end it is done at once. It must be quick: nothing is mirrored
        meanwhile. Raises what ``work`` raises, and MirrorBusy if the thread does not begin with it within ``timeout``
        seconds: then it is never done.
        """
        check_timeout("timeout", timeout)
        return self._owner.ask(lambda: work(self), timeout)

    def _stop(self) -> None:
        self._stopped = True
        self._alarm.stop()
        self._followings.stop()
        self._teller.close()
        self._waits.end(MirrorClosed("the mirror was stopped"))
        for task in tuple(self._tasks):
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise MirrorClosed(NOT_STARTED)
        task = self._group.create_task(work, name=f"polymirror {name}")
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def _check_running(self) -> None:
        self._check_open()
        if self._group is None:
            raise MirrorClosed(NOT_STARTED)

    def _check_open(self) -> None:
        self._owner.check()
        if self._stopped:
            raise MirrorClosed("the mirror was stopped: make another one")

    def now(self) -> float:
        """Return the mirror's monotonic clock in seconds: the clock of every age and deadline."""
        return self._monotonic()

    # ---- Reading -----------------------------------------------------------------------------------

    @property
    def reads(self) -> dict[str, int]:
        """Reads for execution since the start, by outcome: ``granted`` and ``refused``."""
        return {"granted": self._records.granted, "refused": self._records.refused}

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return the newest proven state of a LIVE book, to trade on.

        Raises NotLive unless the book is LIVE and was proven no longer than ``max_proof_age`` seconds ago
        (default and upper bound: the configured age), UnknownToken, and ConfigError for an age that is no number of
        seconds above 0.
        """
        try:
            view = self.engine.live(token, self._read_clock(), max_proof_age)
        except (NotLive, UnknownToken) as error:
            raise self._refused(token, error) from None
        self._records.granted += 1
        return view

    def top(self, token: str, max_proof_age: float | None = None) -> Top:
        """Return the best levels of a LIVE book: granted exactly when :meth:`live` is, and copied from nothing.

        For decisions that need the top alone, after each change of a deep book. Raises as :meth:`live` does.
        """
        try:
            top = self.engine.top(token, self._read_clock(), max_proof_age)
        except (NotLive, UnknownToken) as error:
            raise self._refused(token, error) from None
        self._records.granted += 1
        return top

    def _refused(self, token: str, error: NotLive | UnknownToken) -> NotLive | UnknownToken:
        """Count a refused read for execution, and say what is known of a token that is looked for."""
        if isinstance(error, UnknownToken):
            error = self._listing.refusal(token) or error
        self._records.refused += isinstance(error, NotLive)
        return error

    def peek(self, token: str) -> BookView:
        """Return the last proven levels whatever the state, for display and diagnosis. Never trade on it.

        Raises NotLive for a token whose market is not found yet, and UnknownToken.
        """
        self._owner.check()
        try:
            return self.engine.peek(token, self.now())
        except UnknownToken as error:
            raise (self._listing.refusal(token) or error) from None

    async def prove(self, token: str, timeout: float = 5.0) -> BookView:
        """Have the book proven at full depth, starting now, and return it.

        A proof by the stream after this call counts as well as one by REST. Raises NotLive if there is none
        within ``timeout`` seconds, at once for a retired token, UnknownToken, and ConfigError for a bad time-out.
        """
        self._check_running()
        check_timeout("timeout", timeout)
        asked = self.now()

        self.market_of(token)

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
                        await self._waits.until(proven, PROVE_AGAIN)
                        break
        return self.live(token)

    def resync(self, token: str) -> None:
        """Throw a book away and build it anew (reason REQUESTED). Raises UnknownToken."""
        self._check_running()
        self.engine.resync(token, self.now())
        self._drain()

    async def wait_live(self, *tokens: str, timeout: float = 10.0, retired_ok: bool = False) -> None:
        """Wait until these tokens (default: all, found or not yet) are LIVE; with ``retired_ok``, retired ones count.

        Raises NotLive after ``timeout`` seconds, which tells of each token that is not LIVE and of each slug that is
        not found what is missing and why; at once for a retired token (its market is over) without ``retired_ok``;
        UnknownToken; ConfigError for a bad time-out.
        """
        self._check_running()
        check_timeout("timeout", timeout)
        check_flag("retired_ok", retired_ok)

        def refusals() -> Iterator[NotLive]:
            for name in tokens or (*self.engine.asset_ids, *self._listing.missing):
                refusal = self._listing.refusal(name) or self._lacks(name, retired_ok=retired_ok)
                if refusal is not None:
                    yield refusal

        try:
            await self._waits.until(lambda: next(refusals(), None) is None, timeout)
        except TimeoutError:
            missing = list(refusals())
            if missing:
                raise all_of(missing, f"waited {timeout:g} s", self._listing.name_of) from None

    def _lacks(self, token: str, *, retired_ok: bool) -> NotLive | None:
        """Return why a token is not LIVE, or None; raise it if no waiting helps."""
        state = self.engine.peek_state(token)
        if state is BookState.LIVE or (state is BookState.RETIRED and retired_ok):
            return None
        if state is BookState.RETIRED:
            name = self._listing.name_of(token)
            raise self.engine.refusal(token, self.now(), detail=f"{name}: its market is over; retired_ok=True skips it")
        return self.engine.refusal(token, self.now())

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        """Wait until the newest change of a LIVE book is proven, and return the view.

        Raises NotLive if the book is not LIVE, or not settled within ``timeout`` seconds (0: now or never), and
        ConfigError for a bad age or time-out.
        """
        self._owner.check()
        check_timeout("timeout", timeout)
        view = self.live(token, max_proof_age)
        if not view.settled:
            with as_not_live(self, token):
                await self._waits.until(lambda: self.engine.is_settled(token), timeout)
            view = self.live(token, max_proof_age)
        return view

    async def until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until ``holds()``, which is asked again after every input of the mirror, and raise what it raises.

        Raises TimeoutError after ``timeout`` seconds, MirrorClosed when the mirror stops, and ConfigError for what
        cannot be asked and for a bad time-out.
        """
        self._check_running()
        check_timeout("timeout", timeout)
        check_callback(holds, "a plain function without arguments, such as lambda: mirror.peek(up).settled", "holds")
        await self._waits.until(holds, timeout)

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
                self._teller.events()
            else:
                # Callbacks cause one another: the rest of the program must have its turn.
                asyncio.get_running_loop().call_soon(self._drain)
        finally:
            self._draining = False
        changed = engine.dirty()
        if changed:
            self._teller.changed(changed)
        # Whether or not levels changed: a proof of the same levels is what some wait for.
        self._waits.wake()
        self._alarm.set(engine.next_deadline())

    @property
    def _runs(self) -> bool:
        return self._group is not None and not self._stopped

    def _warn(self, kind: str, detail: str) -> None:
        self._teller.warn(kind, detail)

    def _time_told(self, error: VenueError | None) -> None:
        self._carrier.answered(error)
        if error is not None:
            self._warn("time", str(error))

    def _tick(self) -> None:
        self._carrier.look_for_gap()
        if self._recording is not None:
            self._recording.tell()
        self.engine.tick(self.now())
        self._drain()


def _check_some(field: str, names: Sized) -> None:
    """Refuse a list of names that came out empty: the mirror would be LIVE at once, with nothing in it."""
    if not names:
        raise ConfigError(field, names, "at least one; a mirror to which markets are added later is Mirror()")

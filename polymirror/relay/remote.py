"""RemoteMirror: the reads of a mirror in a process, or on a host, that has none. What users of a relay import.

It follows one relay or several, over WebSockets, and keeps every promise of a read by itself: an age counts the way,
and what is silent, late or odd is refused. All methods are for the event loop that runs it, and its thread.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from polymirror.config import RemoteConfig, check_address, check_each, check_flag, check_instance, check_timeout
from polymirror.core.events import Transition, Warned
from polymirror.core.states import BookState
from polymirror.core.top import Top
from polymirror.core.view import BookView
from polymirror.errors import ConfigError, MirrorClosed, NotLive, UnknownToken
from polymirror.relay.broker.subjects import check_extra, is_broker, split
from polymirror.relay.condition import Odd, RelayCondition, condition_of
from polymirror.relay.contradictions import Contradictions
from polymirror.relay.dial import Dial
from polymirror.relay.hostclock import HostClock
from polymirror.relay.link import Link
from polymirror.relay.replica import TICK, Disagreement, Replica
from polymirror.relay.wire import Listed
from polymirror.shell.callbacks import check_callback
from polymirror.shell.happenings import Events
from polymirror.shell.subscribers import Subscription, Update
from polymirror.shell.tasks import all_of, alone
from polymirror.shell.teller import Teller
from polymirror.shell.waits import Waits
from polymirror.status.health import Records
from polymirror.venue.network import REAL, Network

if TYPE_CHECKING:
    from polymirror.relay.broker.dial import BrokerDial

MAX_RELAYS: Final = 8

LIST_KEPT: Final = 60.0
"""Seconds for which the markets of a relay count that cannot be reached, while another one lists what it carries."""

KINDS: Final = (Transition, Warned)
"""What happens here: relays tell books, and nothing that the venue announces beside them."""


class RemoteMirror:
    """The books of relays, read as those of a mirror. Use it with ``async with``.

    ``relays`` are addresses such as ``http://127.0.0.1:8801``, or ``nats://127.0.0.1:4222/desk`` for the relay ``desk``
    at a NATS server, which needs the extra ``relay``; of several, each book is read from the one that has it
    proven the younger. ``tokens`` and ``slugs`` are what to follow; without any, all that the relays carry, as it
    comes and goes. ``incidents`` is a folder for a bundle of each disagreement of relays, which ``polymirror explain``
    tells of. Raises ConfigError for arguments of another kind, and MissingExtra.
    """

    def __init__(
        self,
        *relays: str,
        tokens: Iterable[str] = (),
        slugs: Iterable[str] = (),
        config: RemoteConfig | None = None,
        network: Network | None = None,
        incidents: str | Path | None = None,
    ) -> None:
        self.config: RemoteConfig = RemoteConfig() if config is None else check_instance("config", config, RemoteConfig)
        if not 1 <= len(relays) <= MAX_RELAYS or len(set(relays)) != len(relays):
            raise ConfigError("relays", relays, f"1 to {MAX_RELAYS} addresses of relays, each named once")
        for url in relays:
            if is_broker(url):
                split("relays", url, allow_plain=self.config.allow_plain)
                check_extra()
            else:
                check_address("relays", url, "https", "http", "wss", "ws", allow_plain=self.config.allow_plain)
        self._network = REAL if network is None else check_instance("network", network, Network)
        self._clock = HostClock(self._network)
        self._epoch = self._clock.epoch
        self._links = [Link(url, "msgpack" if self.config.binary else "json") for url in relays]
        self._replica = Replica(self._links, self.config.max_proof_age)
        self._records = Records()
        self._teller = Teller(self._replica, self._records, self.now, self.config.max_subscribers, self.name_of)
        self._waits = Waits()
        self._slugs = check_each("slugs", slugs, str)
        tokens = check_each("tokens", tokens, str)
        self._follows_all = not tokens and not self._slugs
        if self._slugs or self._follows_all:
            for link in self._links:
                link.list_markets()
        # Since when each relay cannot be reached, by its name.
        self._lost: dict[str, float] = {}
        # What each slug was found to have, and what each token is called.
        self._listed: dict[str, Listed] = {}
        self._names: dict[str, str] = {}
        self._replica.want(tokens, self.now())
        self._disagreements: list[Disagreement] = []
        self._odd = Odd()
        wall = self._network.wall
        self._bundles = None if incidents is None else Contradictions(incidents, self.config, wall, self.name_of)
        self._stack: AsyncExitStack | None = None
        self._dials: list[Dial | BrokerDial] = []
        self._started = self._stopped = False

    # ---- Life --------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start, whether or not any relay answers: what is not there yet is refused, and says why."""
        if self._started:
            raise MirrorClosed("this one runs already, or has run: make another one")
        self._started = True
        with alone():
            async with AsyncExitStack() as stack:
                group = await stack.enter_async_context(asyncio.TaskGroup())
                tasks: list[asyncio.Task[None]] = []
                stack.callback(self._stop, tasks)

                def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
                    tasks.append(group.create_task(work, name=f"polymirror relay {name}"))

                for link in self._links:
                    dial = self._dial(link)
                    self._dials.append(dial)
                    spawn(dial.run(), link.name)
                spawn(self._tick(), "tick")
                if self._bundles is not None:
                    self._bundles.start(self._links)
                self._teller.started(0, 0)
                self._stack = stack.pop_all()
        return self

    def _dial(self, link: Link) -> Dial | BrokerDial:
        rng = random.Random(secrets.randbits(32))  # noqa: S311 - jitter
        if not is_broker(link.name):
            return Dial(link, link.name, self._network, self.now, rng, self._took, self._looked)
        from polymirror.relay.broker.dial import BrokerDial  # noqa: PLC0415 - an extra

        server, name = split("relays", link.name, allow_plain=self.config.allow_plain)
        return BrokerDial(
            link, server, name, self.config.nats, self._network, self.now, rng, self._took, self._looked,
            self._teller.warn,
        )  # fmt: skip

    async def start(self) -> Self:
        """Start, for programs in which ``async with`` does not fit; call :meth:`stop` in the same task."""
        return await self.__aenter__()

    async def stop(self) -> None:
        """Stop. Does nothing for one that does not run."""
        await self.__aexit__(None, None, None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: every socket is closed and every task has ended on return."""
        if self._stack is None:
            return
        stack, self._stack = self._stack, None
        with alone():
            await stack.__aexit__(None, None, None)
        if self._bundles is not None:
            await asyncio.to_thread(self._bundles.stop, self._teller.warn)

    def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        self._stopped = True
        self._teller.close()
        self._waits.end(MirrorClosed("it was stopped"))
        for task in tasks:
            task.cancel()

    def _check_running(self) -> None:
        if self._stack is None:
            raise MirrorClosed("it does not run: use it in 'async with'")

    # ---- What it is --------------------------------------------------------------------------------

    def now(self) -> float:
        """Return this host's clock in seconds, which goes on in sleep: the clock of every age here."""
        now = self._clock.now()
        if self._clock.epoch != self._epoch:
            self._epoch = self._clock.epoch
            self._replica.stepped(now)
        return now

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens that are followed, in the order in which they were named or found."""
        return self._replica.asset_ids

    @property
    def markets(self) -> tuple[Listed, ...]:
        """What the relays say of the markets that are followed by slug, or all; those found so far."""
        return tuple(self._listed.values())

    @property
    def missing(self) -> dict[str, str]:
        """The slugs that no relay carries yet, and why."""
        why = next((link.trouble for link in self._links if link.trouble), "") or "no relay carries it"
        return {slug: why for slug in self._slugs if slug not in self._listed}

    @property
    def reads(self) -> dict[str, int]:
        """Reads for execution since the start, by outcome: ``granted`` and ``refused``."""
        return {"granted": self._records.granted, "refused": self._records.refused}

    @property
    def relays(self) -> tuple[RelayCondition, ...]:
        """How each relay is doing, in the order in which they were named: open or not, and what went wrong so far."""
        now = self.now()
        return tuple(condition_of(link, now) for link in self._links)

    @property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """The newest disagreements between relays, 100 at most, oldest first."""
        return tuple(self._disagreements)

    def name_of(self, token: str) -> str:
        """Return what people call a token, such as ``btc-updown-5m-1790000100 Up``; empty: it is not known."""
        return self._names.get(token, "")

    # ---- Reading -----------------------------------------------------------------------------------

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return the newest proven state of a LIVE book, to trade on.

        Raises as :meth:`polymirror.mirror.Mirror.live` does: NotLive unless the book is LIVE and was proven no longer
        than ``max_proof_age`` seconds ago, the way from the relay included, UnknownToken, and ConfigError.
        """
        try:
            view = self._replica.live(token, self.now(), max_proof_age)
        except NotLive:
            self._records.refused += 1
            raise
        self._records.granted += 1
        return view

    def top(self, token: str, max_proof_age: float | None = None) -> Top:
        """Return the best levels of a LIVE book: granted exactly when :meth:`live` is. Raises as that does."""
        try:
            top = self._replica.top(token, self.now(), max_proof_age)
        except NotLive:
            self._records.refused += 1
            raise
        self._records.granted += 1
        return top

    def peek(self, token: str) -> BookView:
        """Return the last levels that came whatever the state, for display and diagnosis. Never trade on it.

        Raises NotLive while no relay has told anything of it, and UnknownToken.
        """
        return self._replica.peek(token, self.now())

    async def wait_live(self, *tokens: str, timeout: float = 10.0, retired_ok: bool = False) -> None:
        """Wait until these tokens (default: all that are followed, found or not yet) are LIVE.

        Raises NotLive after ``timeout`` seconds, which tells what each lacks; at once for a retired token without
        ``retired_ok``; UnknownToken; ConfigError for a bad time-out.
        """
        self._check_running()
        check_timeout("timeout", timeout)
        check_flag("retired_ok", retired_ok)

        def refusals() -> Iterator[NotLive]:
            for token in tokens or self.tokens:
                refusal = self._lacks(token, retired_ok=retired_ok)
                if refusal is not None:
                    yield refusal
            for slug, why in () if tokens else self.missing.items():
                yield NotLive(slug, BookState.UNPRIMED, None, None, 0, detail=why)
            if not tokens and not self.tokens and not self._slugs:
                yield NotLive("all markets", BookState.UNPRIMED, None, None, 0, detail="no relay has listed any yet")

        try:
            await self._waits.until(lambda: next(refusals(), None) is None, timeout)
        except TimeoutError:
            missing = list(refusals())
            if missing:
                raise all_of(missing, f"waited {timeout:g} s", self.name_of) from None

    def _lacks(self, token: str, *, retired_ok: bool) -> NotLive | None:
        found = self._replica.standing(token)
        if found is None:
            raise UnknownToken(token)
        state = found[0]
        if state is BookState.LIVE or (state is BookState.RETIRED and retired_ok):
            return None
        refusal = self._replica.refusal(token, self.now())
        if state is BookState.RETIRED:
            raise refusal
        return refusal

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        """Wait until the newest change of a LIVE book is proven, and return the view.

        Raises NotLive if the book is not LIVE, or not settled within ``timeout`` seconds (0: now or never), and
        ConfigError for a bad age or time-out.
        """
        check_timeout("timeout", timeout)
        view = self.live(token, max_proof_age)
        if not view.settled:
            try:
                await self._waits.until(lambda: self._replica.is_settled(token, self.now()), timeout)
            except TimeoutError:
                refusal = self._replica.refusal(token, self.now())
                raise NotLive(
                    token, refusal.state, refusal.reason, refusal.age, refusal.epoch,
                    detail=f"a newer change is not proven yet, waited {timeout:g} s",
                ) from None  # fmt: skip
            view = self.live(token, max_proof_age)
        return view

    async def until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until ``holds()``, which is asked again after everything that comes, and raise what it raises.

        Raises TimeoutError after ``timeout`` seconds, MirrorClosed when this stops, and ConfigError for what cannot be
        asked and for a bad time-out.
        """
        self._check_running()
        check_timeout("timeout", timeout)
        check_callback(holds, "a plain function without arguments, such as lambda: remote.peek(up).settled", "holds")
        await self._waits.until(holds, timeout)

    # ---- Being told --------------------------------------------------------------------------------

    def updates(self, *tokens: str) -> Subscription:
        """Iterate over changes of these tokens (default: all): always the newest, never a backlog."""
        return self._teller.updates(self._told_of(tokens))

    def on_update(self, callback: Callable[[Update], object], *tokens: str) -> Callable[[], None]:
        """Call back after changes of these tokens (default: all). Returns a function that removes the callback."""
        return self._teller.on_update(callback, self._told_of(tokens))

    def on_transition(self, callback: Callable[[Transition], object]) -> Callable[[], None]:
        """Call back with every change of a state, in order. Returns a function that removes the callback."""
        return self._teller.on_transition(callback)

    def events(self, *kinds: type[Transition | Warned]) -> Events:
        """Iterate over what happens, in order: changes of state and warnings."""
        for kind in kinds:
            if kind not in KINDS:
                raise ConfigError("kinds", kind, "one of " + ", ".join(each.__name__ for each in KINDS))
        return self._teller.iterate(kinds or KINDS)

    def _told_of(self, tokens: tuple[str, ...]) -> tuple[str, ...]:
        for token in check_each("tokens", tokens, str):
            if self._replica.standing(token) is None:
                raise UnknownToken(token)
        return tokens

    # ---- The shell ---------------------------------------------------------------------------------

    def _took(self, link: Link, data: bytes) -> None:
        self._replica.received(link, data, self.now())
        self._after()

    def _looked(self) -> None:
        self._replica.look(self.now())
        self._after()

    async def _tick(self) -> None:
        while True:
            self._replica.tick(self.now())
            self._forget()
            self._after()
            await asyncio.sleep(TICK)

    def _after(self) -> None:
        """Tell what came of it, and what is to be said."""
        if self._stopped:
            return
        self._list()
        for found in self._replica.disagreements():
            self._disagreements = [*self._disagreements, found][-100:]
            name = self.name_of(found.token) or found.token
            self._teller.warn("relays disagree", f"{name}: {' and '.join(found.relays)} state different books")
            if self._bundles is not None:
                self._bundles.put(found, self._links, self.now())
        if self._bundles is not None:
            self._bundles.tell(self._teller.warn)
        for link in self._links:
            self._odd.tell(link, self._teller.warn)
        self._teller.events()
        changed = self._replica.dirty()
        if changed:
            self._teller.changed(changed)
        self._waits.wake()
        for dial, link in zip(self._dials, self._links, strict=True):
            if link.next_ask() <= self.now():
                dial.wake()

    def _list(self) -> None:
        """Follow the markets that are listed now."""
        lists = [link.take_markets() for link in self._links]
        if all(found is None for found in lists):
            return
        for market in (market for found in lists if found is not None for market in found):
            if (self._follows_all or market.slug in self._slugs) and market.slug not in self._listed:
                self._listed[market.slug] = market
                self._names.update({each.token: f"{market.slug} {each.outcome}" for each in market.tokens})
                self._replica.want([each.token for each in market.tokens], self.now())
        self._forget()

    def _forget(self) -> None:
        """Follow no more what no relay lists, if all markets are followed."""
        now = self.now()
        for link in self._links:
            if link.is_open:
                self._lost.pop(link.name, None)
            else:
                self._lost.setdefault(link.name, now)
        if not self._follows_all:
            return
        there = [each for each in self._links if now - self._lost.get(each.name, now) <= LIST_KEPT]
        if all(link.markets is None for link in there):
            # Nobody who can be reached has said what there is: the last lists are the best there are.
            there = self._links
        known = {market.slug for link in there for market in link.markets or ()}
        for slug in [slug for slug in self._listed if slug not in known]:
            gone = [each.token for each in self._listed.pop(slug).tokens]
            self._replica.drop(gone)
            self._teller.forgotten(gone)

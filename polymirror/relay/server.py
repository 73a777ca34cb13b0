"""A relay: one mirror's books for other processes, in the mirror's own event loop. It needs the extra ``status``.

Made by :meth:`polymirror.mirror.Mirror.serve_relay`. It ends with the mirror. Whatever goes wrong with it is told, and
the mirror goes on without it.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from secrets import token_hex
from typing import TYPE_CHECKING, Protocol

from polymirror.errors import MissingExtra
from polymirror.relay.hostclock import HostClock
from polymirror.serving.beside import Listening
from polymirror.serving.guard import Guard
from polymirror.shell.happenings import MarketAdded, MarketRemoved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.core.engine import Engine
    from polymirror.core.view import BookView
    from polymirror.relay.publisher import Publisher
    from polymirror.shell.happenings import Events, Happening
    from polymirror.shell.subscribers import Update
    from polymirror.venue.market import Market
    from polymirror.venue.network import Network


class Relayable(Protocol):
    """What a relay needs of a mirror."""

    engine: Engine

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens."""
        ...

    @property
    def markets(self) -> Sequence[Market]:
        """All markets."""
        ...

    def now(self) -> float:
        """Return its monotonic clock in seconds."""
        ...

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return a proven view."""
        ...

    def peek(self, token: str) -> BookView:
        """Return a view whatever the state."""
        ...

    def on_update(self, callback: Callable[[Update], object], *tokens: str) -> Callable[[], None]:
        """Call back after changes."""
        ...

    def events(self, *kinds: type[Happening]) -> Events:
        """Iterate over what happens."""
        ...


class MirrorBooks:
    """A mirror's books, as a publisher looks at them."""

    def __init__(self, mirror: Relayable, read_clock: Callable[[], float]) -> None:
        self._mirror = mirror
        self._read_clock = read_clock

    @property
    def markets(self) -> Iterable[Market]:
        """All markets."""
        return self._mirror.markets

    def now(self) -> float:
        """Return the mirror's clock in seconds, with what the machine has slept although nobody has noticed it yet."""
        return self._read_clock()

    def peek(self, token: str) -> BookView:
        """Return a book whatever its state."""
        return self._mirror.peek(token)

    def readable_until(self, token: str) -> float | None:
        """Return when a LIVE book stops being readable unless something new is proven."""
        return self._mirror.engine.readable_until(token)

    def venue_ms(self, at: float) -> int:
        """Return what the venue's clock showed at least."""
        return self._mirror.engine.venue_ms(at)


class RelayServer(Listening):
    """A relay that runs until :meth:`stop`, or until its mirror stops."""

    def __init__(
        self,
        mirror: Relayable,
        network: Network,
        read_clock: Callable[[], float],
        warn: Callable[[str, str], None],
        *,
        host: str,
        port: int,
        names: Sequence[str],
    ) -> None:
        super().__init__("relay", warn, host, port)
        self._mirror = mirror
        self._names = names
        self._books = MirrorBooks(mirror, read_clock)
        self._clock = HostClock(network)
        self._publisher: Publisher | None = None

    @property
    def consumers(self) -> int:
        """How many consumers there are."""
        return 0 if self._publisher is None else self._publisher.consumers

    async def _run(self) -> None:
        try:
            from polymirror.relay.app import Consumers, build_app  # noqa: PLC0415 - an extra
            from polymirror.relay.publisher import Publisher  # noqa: PLC0415 - a thirtieth of all imports' time
        except ImportError as error:
            raise MissingExtra("the relay", "status") from error
        # Another name for each start: what an earlier run said is not taken for this one's.
        publisher = self._publisher = Publisher(self._books, token_hex(16), self._clock)
        consumers = Consumers(publisher, self._warn)

        def updated(update: Update) -> None:
            publisher.changed((update.token,))
            consumers.wake()

        async def list_markets() -> None:
            async for event in self._mirror.events(MarketAdded, MarketRemoved):
                gone = event.market.tokens if isinstance(event, MarketRemoved) else ()
                publisher.listed([each.id for each in gone])
                consumers.wake()

        app = build_app(self._mirror, consumers, Guard(self._host, self._names), self._mirror.now)
        with ExitStack() as stack:
            stack.callback(self._mirror.on_update(updated))
            async with asyncio.TaskGroup() as tasks:
                works = [tasks.create_task(consumers.beat()), tasks.create_task(list_markets())]
                async with self._serving(app, consumers.close):
                    await self._over.wait()
                for work in works:
                    work.cancel()

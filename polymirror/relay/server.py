"""A relay: one mirror's books for other processes, in the mirror's own event loop. It needs the extra ``status``.

Made by :meth:`polymirror.mirror.Mirror.serve_relay`. It ends with the mirror. Whatever goes wrong with it is told, and
the mirror goes on without it.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from secrets import token_hex
from typing import TYPE_CHECKING, Protocol

from polymirror.errors import MirrorClosed, MissingExtra
from polymirror.relay.hostclock import HostClock
from polymirror.serving.addresses import authority
from polymirror.serving.guard import Guard
from polymirror.shell.happenings import MarketAdded, MarketRemoved
from polymirror.venue.groups import first_of

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


class RelayServer:
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
        self._mirror = mirror
        self._warn = warn
        self._host = host
        self._wanted_port = port
        self._names = names
        self._books = MirrorBooks(mirror, read_clock)
        self._clock = HostClock(network)
        self._publisher: Publisher | None = None
        # Done with the port once it listens, or with why it does not.
        self._listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return self._listening.result()

    @property
    def url(self) -> str:
        """Its address, as consumers name it."""
        return f"http://{authority(self._host, self.port)}"

    @property
    def consumers(self) -> int:
        """How many consumers there are."""
        return 0 if self._publisher is None else self._publisher.consumers

    async def wait_listening(self) -> None:
        """Wait until it listens. Raises OSError if the address cannot be had."""
        await self._listening

    async def stop(self) -> None:
        """Stop: on return nothing listens any more. Does nothing the second time."""
        self._over.set()
        await self._ended.wait()

    async def run(self) -> None:
        """Serve until the end. Raises nothing: what goes wrong is told."""
        try:
            await self._serve()
        except Exception as error:  # noqa: BLE001 - a relay that fails must not end the mirror
            self._failed(first_of(error) if isinstance(error, BaseExceptionGroup) else error)
        finally:
            if not self._listening.done():
                self._listening.set_exception(MirrorClosed("the mirror was stopped"))
            self._ended.set()

    async def _serve(self) -> None:
        try:
            from polymirror.relay.app import Consumers, build_app  # noqa: PLC0415 - an extra
            from polymirror.relay.publisher import Publisher  # noqa: PLC0415 - a thirtieth of all imports' time
            from polymirror.serving.server import served  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtra("the relay", "status") from error
        # Another name for each start: what an earlier run said is not taken for this one's.
        publisher = self._publisher = Publisher(self._books, token_hex(16), self._clock)
        consumers = Consumers(publisher, self._warn)

        def updated(update: Update) -> None:
            publisher.changed((update.token,))
            consumers.wake()

        async def list_markets() -> None:
            async for _ in self._mirror.events(MarketAdded, MarketRemoved):
                publisher.listed()
                consumers.wake()

        app = build_app(self._mirror, consumers, Guard(self._host, self._names), self._mirror.now)
        with ExitStack() as stack:
            stack.callback(self._mirror.on_update(updated))
            async with asyncio.TaskGroup() as tasks:
                works = [tasks.create_task(consumers.beat()), tasks.create_task(list_markets())]
                async with served(app, self._host, self._wanted_port, hang_up=consumers.close) as port:
                    if not self._listening.done():
                        self._listening.set_result(port)
                    await self._over.wait()
                for work in works:
                    work.cancel()

    def _failed(self, error: BaseException) -> None:
        if self._listening.done():
            self._warn("relay", f"it ended, the mirror goes on: {type(error).__name__}: {error}")
        else:
            self._listening.set_exception(error)

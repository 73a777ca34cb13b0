"""A relay at a broker: one mirror's books told to a NATS server, in the mirror's own event loop. Needs ``relay``.

Made by :meth:`polymirror.mirror.Mirror.serve_relay_nats`. It ends with the mirror. Whatever goes wrong with it is told,
and the mirror goes on without it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from polymirror.relay.hostclock import HostClock
from polymirror.relay.server import MirrorBooks
from polymirror.serving.beside import Beside
from polymirror.shell.happenings import MarketAdded, MarketRemoved

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.config import NatsConfig
    from polymirror.relay.broker.connection import Connection
    from polymirror.relay.server import Relayable
    from polymirror.shell.subscribers import Update
    from polymirror.venue.network import Network


LONGEST: Final = 0.5
"""Seconds after which it is looked whether there is something to be told, whatever was planned."""


class BrokerRelay(Beside):
    """A relay that runs until :meth:`stop`, or until its mirror stops, whether or not the broker is there."""

    def __init__(
        self,
        mirror: Relayable,
        network: Network,
        read_clock: Callable[[], float],
        warn: Callable[[str, str], None],
        *,
        server: str,
        name: str,
        access: NatsConfig,
        interval: float,
    ) -> None:
        super().__init__("relay", warn)
        self._mirror = mirror
        self._network = network
        self._server = server
        self._name = name
        self._access = access
        from polymirror.relay.broker.station import Station  # noqa: PLC0415 - a thirtieth of all imports' time
        from polymirror.relay.publisher import Publisher  # noqa: PLC0415 - as above

        books = MirrorBooks(mirror, read_clock)
        self._now = books.now
        # Another name for each start: what an earlier run said is not taken for this one's.
        self._publisher = Publisher(books, secrets.token_hex(16), HostClock(network))
        self._station = Station(self._publisher, name, books.now, warn, interval)
        self._changed = asyncio.Event()
        self._connected = False
        self._warned = ""

    @property
    def url(self) -> str:
        """Its address, as consumers name it."""
        return f"{self._server.rstrip('/')}/{self._name}"

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._connected

    @property
    def tokens(self) -> int:
        """Of how many books somebody wants to hear."""
        return self._publisher.tokens

    @property
    def counts(self) -> dict[str, int]:
        """What happened since the start, by what it was: ``whole books``, ``told``, ``expired``, ``malformed`` ..."""
        return dict(self._station.counts)

    async def _run(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._mirror.on_update(self._updated))
            async with asyncio.TaskGroup() as tasks:
                works = [tasks.create_task(self._keep()), tasks.create_task(self._list_markets())]
                await self._over.wait()
                for work in works:
                    work.cancel()

    async def _keep(self) -> None:
        from polymirror.relay.broker.connection import keep  # noqa: PLC0415 - an extra

        rng = random.Random(secrets.randbits(32))  # noqa: S311 - jitter
        await keep(
            self._server, self._access, f"polymirror relay {self._name}", self._network, self._now, rng, self._talk,
            self._closed,
        )  # fmt: skip

    async def _list_markets(self) -> None:
        async for event in self._mirror.events(MarketAdded, MarketRemoved):
            gone = event.market.tokens if isinstance(event, MarketRemoved) else ()
            self._publisher.listed([each.id for each in gone])
            self._changed.set()

    def _updated(self, update: Update) -> None:
        self._publisher.changed((update.token,))
        self._changed.set()

    def _closed(self, why: str) -> None:
        self._connected = False
        if why != self._warned:
            # Told once, not with each attempt.
            self._warned = why
            self._warn("relay broker", f"{self._server}: {why}; it is tried again")

    async def _talk(self, connection: Connection) -> None:
        """Use a connection until it is lost."""
        station = self._station
        for subject in station.asks:
            await self._hear(connection, subject)
        await connection.confirm()
        self._connected, self._warned = True, ""
        while True:
            self._changed.clear()
            for subject, frame in station.take(connection.max_payload):
                await connection.publish(subject, frame)
            # At most one message about a token in one turn of the loop.
            await asyncio.sleep(0)
            rest = station.next_take() - self._now()
            if rest > 0 and not self._changed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(rest, LONGEST)):
                        await self._changed.wait()

    async def _hear(self, connection: Connection, subject: str) -> None:
        """Answer what consumers ask on a subject."""

        async def took(data: bytes, reply: str) -> None:
            for where, frame in self._station.asked(subject, data, reply, connection.max_payload):
                await connection.publish(where, frame)
            self._changed.set()

        await connection.subscribe(subject, took, lambda: self._station.dropped(subject))

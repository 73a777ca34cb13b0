"""A relay at a broker: one mirror's books told to a NATS server, in the mirror's own event loop. Needs ``relay``.

Made by :meth:`polymirror.mirror.Mirror.serve_relay_nats`. It ends with the mirror. Whatever goes wrong with it is told,
and the mirror goes on without it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from polymirror.errors import DecodeError
from polymirror.relay.broker.subjects import FORMATS, Subjects
from polymirror.relay.hostclock import HostClock
from polymirror.relay.server import MirrorBooks
from polymirror.shell.happenings import MarketAdded, MarketRemoved
from polymirror.venue.groups import first_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.config import NatsConfig
    from polymirror.relay.broker.broadcast import Broadcast
    from polymirror.relay.broker.connection import Connection
    from polymirror.relay.server import Relayable
    from polymirror.shell.subscribers import Update
    from polymirror.venue.network import Network


LONGEST: Final = 0.5
"""Seconds after which it is looked whether there is something to be told, whatever was planned."""


class BrokerRelay:
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
        self._mirror = mirror
        self._network = network
        self._warn = warn
        self._server = server
        self._name = name
        self._access = access
        from polymirror.relay.broker.broadcast import Broadcast  # noqa: PLC0415 - a thirtieth of all imports' time
        from polymirror.relay.publisher import Publisher  # noqa: PLC0415 - as above

        books = MirrorBooks(mirror, read_clock)
        self._now = books.now
        # Another name for each start: what an earlier run said is not taken for this one's.
        self._publisher = Publisher(books, secrets.token_hex(16), HostClock(network))
        self._casts = [Broadcast(self._publisher, each, books.now, warn, interval) for each in FORMATS]
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self._ended = asyncio.Event()
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
        return dict(sum((cast.counts for cast in self._casts), start=Counter()))

    async def stop(self) -> None:
        """Stop: on return nothing is told any more. Does nothing the second time."""
        self._over.set()
        await self._ended.wait()

    async def run(self) -> None:
        """Tell until the end. Raises nothing: what goes wrong is told."""
        try:
            await self._run()
        except Exception as error:  # noqa: BLE001 - a relay that fails must not end the mirror
            reason = first_of(error) if isinstance(error, BaseExceptionGroup) else error
            self._warn("relay", f"it ended, the mirror goes on: {type(reason).__name__}: {reason}")
        finally:
            self._ended.set()

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
        async for _ in self._mirror.events(MarketAdded, MarketRemoved):
            self._publisher.listed()
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
        subjects = [Subjects(self._name, each.format) for each in self._casts]
        for cast, there in zip(self._casts, subjects, strict=True):
            await self._hear(connection, cast, there)
        await connection.confirm()
        self._connected, self._warned = True, ""
        while True:
            self._changed.clear()
            if self._publisher.next_look() <= self._now():
                self._publisher.beat()
            for cast, there in zip(self._casts, subjects, strict=True):
                for token, frame in cast.take(connection.max_payload):
                    subject = there.book(token) if token else there.markets
                    if subject is not None:
                        await connection.publish(subject, frame)
            # At most one message about a token in one turn of the loop.
            await asyncio.sleep(0)
            rest = min(self._publisher.next_look(), *(cast.next_take() for cast in self._casts)) - self._now()
            if rest > 0 and not self._changed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(rest, LONGEST)):
                        await self._changed.wait()

    async def _hear(self, connection: Connection, cast: Broadcast, there: Subjects) -> None:
        """Answer what consumers of one format ask."""
        from polymirror.relay.wire import Ask, decode  # noqa: PLC0415 - a thirtieth of all imports' time

        async def took(data: bytes, reply: str) -> None:
            try:
                ask = decode(Ask, data, cast.format)
            except DecodeError as error:
                cast.counts["malformed"] += 1
                self._warn("relay consumer", f"what a consumer asks is not understood: {error}")
                return
            if not there.is_reply(reply):
                cast.counts["no subject for an answer"] += 1
                return
            for frame in cast.asked(ask, connection.max_payload):
                await connection.publish(reply, frame)
            self._changed.set()

        def dropped() -> None:
            # Whoever asked does so again. Were the connection given up, all would ask at once, and again too many.
            cast.counts["dropped"] += 1
            self._warn("relay consumers", "they ask more than can be answered: some of it is dropped")

        await connection.subscribe(there.ask, took, dropped)

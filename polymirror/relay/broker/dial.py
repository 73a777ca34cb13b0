"""Keeping a consumer connected to one relay by way of a broker. Decides nothing about books."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from polymirror.relay.broker.connection import keep
from polymirror.relay.broker.subjects import Subjects
from polymirror.relay.wire import Ask, encode

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from polymirror.config import NatsConfig
    from polymirror.relay.broker.connection import Connection, Took
    from polymirror.relay.link import Link
    from polymirror.venue.network import Network

KEEP_EVERY: Final = 20.0
"""Seconds after which what is wanted is asked for again: the relay forgets it after three times as many."""

NOBODY: Final = (0.2, 1.0)
"""Seconds, drawn between these, after which a relay that was not there is tried again."""


class BrokerDial:
    """One connection, made anew whenever it is lost. Told are each frame, the rest, and why there is no connection."""

    def __init__(
        self,
        link: Link,
        server: str,
        name: str,
        access: NatsConfig,
        network: Network,
        now: Callable[[], float],
        rng: random.Random,
        took: Callable[[Link, bytes], None],
        looked: Callable[[], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._link = link
        self._server = server
        self._access = access
        self._network = network
        self._now = now
        self._rng = rng
        self._took = took
        self._looked = looked
        self._warn = warn
        self._subjects = Subjects(name, link.format)
        # Nobody else's: an answer to another one's ping must not be taken for one to ours.
        self._replies = self._subjects.replies + token_hex(16)
        self._wake = asyncio.Event()
        # When a relay that was not there is tried again; infinity: one is there.
        self._again = float("inf")
        self._keep_at = 0.0
        self._warned = ""

    def wake(self) -> None:
        """There may be something to say."""
        self._wake.set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        await keep(
            self._server, self._access, "polymirror consumer", self._network, self._now, self._rng, self._talk,
            self._closed,
        )  # fmt: skip

    async def _talk(self, connection: Connection) -> None:
        """Use a connection until it is lost."""

        async def took(data: bytes, _: str) -> None:
            if data:
                self._warned = ""
                self._took(self._link, data)
            else:
                # The server says so in place of whoever should answer.
                self._nobody()

        await connection.subscribe(self._replies, took)
        if self._link.lists:
            await connection.subscribe(self._subjects.markets, took)
        self._open()
        while True:
            await self._follow(connection, took, keep_too={self._replies, self._subjects.markets})
            await self._say(connection)
            self._wake.clear()
            rest = min(self._link.next_ask(), self._again, self._keep_at) - self._now()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.001, rest)):
                    await self._wake.wait()
            if self._now() >= self._again:
                self._open()

    async def _follow(self, connection: Connection, took: Took, keep_too: set[str]) -> None:
        """Hear of the tokens that are followed, and of no others."""
        wanted = {subject for token in self._link.tokens if (subject := self._subjects.book(token)) is not None}
        for subject in wanted - connection.subjects:
            await connection.subscribe(subject, took)
        for subject in connection.subjects - wanted - keep_too:
            await connection.unsubscribe(subject)

    async def _say(self, connection: Connection) -> None:
        now = self._now()
        ask = self._link.asks(now)
        if ask is not None:
            # Others may want what we want no more.
            heard = Ask(ping=ask.ping, want=ask.want, list=ask.list)
            await connection.publish(self._subjects.ask, encode(heard, self._link.format), self._replies)
        if now >= self._keep_at and self._link.is_open:
            self._keep_at = now + KEEP_EVERY
            if self._link.tokens:
                kept = encode(Ask(keep=list(self._link.tokens)), self._link.format)
                await connection.publish(self._subjects.ask, kept, self._replies)

    def _open(self) -> None:
        now = self._now()
        self._again, self._keep_at = float("inf"), now + KEEP_EVERY
        self._link.opened(now)
        self._looked()

    def _nobody(self) -> None:
        if self._again == float("inf"):
            self._again = self._now() + self._rng.uniform(*NOBODY)
            self._closed("no relay of that name is at the broker")

    def _closed(self, why: str) -> None:
        self._link.closed(why)
        if why != self._warned:
            self._warned = why
            self._warn("relay connection", f"{self._link.name}: {why}")
        self._looked()
        self._wake.set()

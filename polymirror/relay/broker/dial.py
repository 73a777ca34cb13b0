"""Keeping a consumer connected to one relay by way of a broker. Decides nothing about books."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from polymirror.relay.broker.connection import keep
from polymirror.relay.broker.follower import Follower

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from polymirror.config import NatsConfig
    from polymirror.relay.broker.connection import Connection, Took
    from polymirror.relay.link import Link
    from polymirror.venue.network import Network


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
        self._follower = Follower(link, name, token_hex(16), rng)
        self._wake = asyncio.Event()
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
            elif self._follower.nobody(self._now()):
                # The server says so in place of whoever should answer.
                self._closed("no relay of that name is at the broker")

        follower = self._follower
        await self._listen(connection, took)
        follower.opened(self._now())
        self._looked()
        while True:
            await self._listen(connection, took)
            for said in follower.says(self._now()):
                await connection.publish(follower.ask, said, follower.replies)
            self._wake.clear()
            now = self._now()
            rest = follower.next_say(now) - now
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.001, rest)):
                    await self._wake.wait()
            if follower.tries_again(self._now()):
                self._looked()

    async def _listen(self, connection: Connection, took: Took) -> None:
        """Hear what is followed, and nothing else."""
        wanted = self._follower.subjects
        for subject in wanted - connection.subjects:
            await connection.subscribe(subject, took)
        for subject in connection.subjects - wanted:
            await connection.unsubscribe(subject)

    def _closed(self, why: str) -> None:
        self._link.closed(why)
        if why != self._warned:
            self._warned = why
            self._warn("relay connection", f"{self._link.name}: {why}")
        self._looked()
        self._wake.set()

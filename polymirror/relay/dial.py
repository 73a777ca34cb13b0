"""Keeping a consumer connected to one relay over a WebSocket. Decides nothing about books."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed

from polymirror.config import StreamConfig
from polymirror.errors import VenueError
from polymirror.relay.wire import MAX_FRAME, encode
from polymirror.venue.backoff import FullJitter
from polymirror.venue.wire import hang_up

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from polymirror.relay.link import Link
    from polymirror.venue.network import Network
    from polymirror.venue.wires import AnyWire

PATH: Final = "/stream"

QUIET: Final = 5.0
"""Seconds without a word, after which a connection is made anew: each ping is answered, and there is one a second."""

HEALTHY: Final = 2.0
"""Seconds after which a connection has not failed at once."""

SETTINGS: Final = StreamConfig(
    open_timeout=5.0, backoff_base=0.1, backoff_cap=2.0, max_message=MAX_FRAME, redirects=False
)


def address_of(url: str, format_: str) -> str:
    """Return the WebSocket's address of a relay that is named by the address of its server."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = PATH if parts.path in {"", "/"} else parts.path
    return urlunsplit((scheme, parts.netloc, path, f"format={format_}", ""))


class Dial:
    """One connection, made anew whenever it is lost. ``took(link, data)`` is told each frame, ``looked()`` the rest."""

    def __init__(
        self,
        link: Link,
        url: str,
        network: Network,
        now: Callable[[], float],
        rng: random.Random,
        took: Callable[[Link, bytes], None],
        looked: Callable[[], None],
    ) -> None:
        self._link = link
        self._url = address_of(url, link.format)
        self._network = network
        self._now = now
        self._took = took
        self._looked = looked
        self._backoff = FullJitter(SETTINGS.backoff_base, SETTINGS.backoff_cap, rng)
        self._wake = asyncio.Event()
        self._heard = 0.0

    def wake(self) -> None:
        """There may be something to say."""
        self._wake.set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            began = self._now()
            try:
                wire = await self._network.open_wire(self._url, SETTINGS, {}, self._network.wall)
            except VenueError as error:
                self._closed(str(error))
            else:
                await self._talk(wire)
            failures = 1 if self._now() - began > HEALTHY else failures + 1
            await self._network.sleep(self._backoff.seconds(failures))

    async def _talk(self, wire: AnyWire) -> None:
        """Use a connection until it is lost."""
        self._heard = self._now()
        wire.on_message = self._message
        why = "the relay ended the connection"
        try:
            self._link.opened(self._heard)
            self._looked()
            async with asyncio.TaskGroup() as tasks:
                says = tasks.create_task(self._say(wire), name="polymirror relay")
                with suppress(ConnectionClosed):
                    while True:
                        self._message(await wire.recv(decode=False))
                says.cancel()
        except* (ConnectionClosed, TimeoutError) as errors:
            why = str(errors.exceptions[0]) or "the connection was lost"
        finally:
            self._closed(why)
            await hang_up(wire, SETTINGS.close_timeout, politely=False)

    def _message(self, data: bytes) -> None:
        self._heard = self._now()
        self._took(self._link, data)

    async def _say(self, wire: AnyWire) -> None:
        """Say what there is to say, when it is to be said."""
        while True:
            now = self._now()
            # A clock that was set back does not say how long it is.
            if not 0.0 <= now - self._heard <= QUIET:
                raise TimeoutError(f"not a word from the relay for {QUIET:g} s")
            ask = self._link.asks(now)
            if ask is not None:
                async with asyncio.timeout(SETTINGS.send_timeout):
                    await wire.send(encode(ask, "json").decode())
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.001, self._link.next_ask() - self._now())):
                    await self._wake.wait()

    def _closed(self, why: str) -> None:
        self._link.closed(why)
        self._looked()

"""A relay that is reached one way or the other, and begun anew at the same address."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.loopback import turns_until
from tests.relay.broker.server import Nats, nats, with_nats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from polymirror import Mirror
    from polymirror.relay.broker.server import BrokerRelay
    from polymirror.relay.server import RelayServer

WAYS: Final = ("socket", pytest.param("broker", marks=with_nats))


class Desk:
    """A relay of one mirror: over a socket, or at a broker."""

    def __init__(self, mirror: Mirror, broker: Nats | None) -> None:
        self.mirror = mirror
        self.broker = broker
        self._port = 0
        self.relay: BrokerRelay | RelayServer

    async def serve(self) -> None:
        """Begin a run of the relay, where the one before was."""
        if self.broker is not None:
            self.relay = relay = await self.mirror.serve_relay_nats(self.broker.url, name="desk")
            await turns_until(lambda: relay.connected)
        else:
            self.relay = await self.mirror.serve_relay(port=self._port)
            self._port = self.relay.port


@asynccontextmanager
async def desk_of(mirror: Mirror, way: str, folder: Path) -> AsyncIterator[Desk]:
    """Serve a mirror's books one way; ``folder`` is for the files of a broker."""
    async with AsyncExitStack() as stack:
        desk = Desk(mirror, await stack.enter_async_context(nats(folder)) if way == "broker" else None)
        await desk.serve()
        yield desk
        await desk.relay.stop()

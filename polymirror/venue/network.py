"""The edge of the process: how sockets are opened, what carries HTTP, and the clocks. Replaced as one.

Whatever talks to the venue, or asks what time it is, does so through a :class:`Network`. The default is the real
one. In virtual time :class:`~polymirror.simulator.virtual.VirtualVenue` hands out another, and the mirror, the
feeds and the bots run on it unchanged. Nothing here opens or reads anything by itself.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import httpx

    from polymirror.config import StreamConfig
    from polymirror.venue.wires import AnyWire, OpenWire


async def open_wire(
    url: str, config: StreamConfig, headers: Mapping[str, str], wall_now: Callable[[], float]
) -> AnyWire:
    """Open a real socket, as :func:`polymirror.venue.wire.open_wire` does."""
    # Imported when the first one is opened: it takes an eighth of the time of importing the library.
    from polymirror.venue.wire import open_wire as open_now  # noqa: PLC0415

    return await open_now(url, config, headers, wall_now)


def check_settings(url: str) -> None:
    """Raise ConfigError if nothing at ``url`` could ever be opened: :func:`polymirror.venue.wire.check_settings`."""
    from polymirror.venue.wire import check_settings as check_now  # noqa: PLC0415 - as above

    check_now(url)


_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


# The seconds since this machine was started, those in which it slept included. Each read asks it.
boot_clock: Callable[[], float] | None = None if _BOOT is None else partial(time.clock_gettime, _BOOT)


@frozen(kw_only=True)
class Network:
    """Sockets, HTTP and clocks of one world: the real one by default.

    Waiting is with ``asyncio`` alone: under virtual time the event loop's own clock is virtual, and equal to
    ``monotonic``.
    """

    open_wire: OpenWire = open_wire
    """Opens a WebSocket."""
    check: Callable[[str], None] = check_settings
    """Raises :class:`~polymirror.errors.ConfigError` for the address of a WebSocket that our own settings rule out,
    the environment's included. Asked once, at the start: later, nothing that is found wrong ends anything."""
    transport: Callable[[], httpx.AsyncBaseTransport] | None = None
    """Makes what carries the requests of one HTTP client; ``None``: httpx's own."""
    monotonic: Callable[[], float] = time.monotonic
    """The clock of ages and deadlines, in seconds."""
    boot: Callable[[], float] | None = field()
    """A clock that goes on while the machine sleeps, in seconds; ``None``: there is none, and the time of day has to
    tell. The real one belongs to the real ``monotonic`` clock alone."""
    wall: Callable[[], float] = time.time
    """The time of day, in unix seconds."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """How the streams and HTTP clients of the library wait between attempts; a test may look on."""

    @boot.default
    def _boot_of_this_machine(self) -> Callable[[], float] | None:
        return boot_clock if self.monotonic is time.monotonic else None


REAL = Network()
"""The network of this computer."""

"""What a WebSocket is to this library, and what opens one: the real one and those of other worlds.

The real one is in :mod:`polymirror.venue.wire`; :class:`~polymirror.venue.network.Network` says which one is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from polymirror.config import StreamConfig


class AnyWire(Protocol):
    """An open WebSocket: what a stream needs of one. What fails raises ``websockets.exceptions.ConnectionClosed``."""

    on_bytes: Callable[[], None] | None
    """Called whenever bytes arrive, before the frames that they complete are handed out."""
    on_message: Callable[[bytes], None] | None
    """May be called with a message as soon as it is read, in order with those that :meth:`recv` returns: a wire
    that does so saves its reader two turns of the event loop. Must not raise."""
    on_overflow: Callable[[str], None] | None
    """Called with the reason just before the wire drops the socket because a bound of its own was reached."""

    def send(self, message: str, /) -> Awaitable[None]:
        """Send a text frame."""
        ...

    def recv(self, decode: Literal[False]) -> Awaitable[bytes]:
        """Wait for the next frame."""
        ...

    def close(self) -> Awaitable[None]:
        """Do the closing handshake."""
        ...

    def abort(self) -> None:
        """Drop the socket at once, without a word to the other side."""
        ...

    def wait_closed(self) -> Awaitable[None]:
        """Wait until the socket is gone."""
        ...


class OpenWire(Protocol):
    """How a WebSocket is opened: :func:`~polymirror.venue.wire.open_wire`, or another one that raises the same."""

    def __call__(
        self, url: str, config: StreamConfig, headers: Mapping[str, str], wall_now: Callable[[], float], /
    ) -> Awaitable[AnyWire]:
        """Connect to ``url``; ``wall_now`` gives unix seconds."""
        ...

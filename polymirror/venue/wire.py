"""One open WebSocket, as the websockets library sees it: opening it, hanging up, and some additions of ours.

The additions: every arrival of bytes is reported (protocol pings and parts of a large message show that
the path is alive, though no frame is delivered); frames can be taken as they are read, without the library's
queue and the task that waits at it; and a closing handshake that the other side does not
finish is cut off. The library alone waits for that without a limit when the other side closes first. It follows
redirects anywhere, too; here they are followed to the same place only.
Written against what websockets 15, 16 and 17 have in common. Called by the stream only.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
)
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from polymirror.errors import ConfigError, VenueUnavailable
from polymirror.venue.failures import MAX_REDIRECTS, REDIRECTS, explain_status, follow, unavailable, wish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from websockets.protocol import Event

    from polymirror.config import StreamConfig
    from polymirror.venue.network import AnyWire


class Wire(ClientConnection):
    """A client connection that tells when bytes arrive and bounds every closing handshake."""

    # Set by the owner once the connection is open; the handshake's bytes are of no interest.
    on_bytes: Callable[[], None] | None = None
    # Set by the owner: takes each message as soon as it is read. Without it they wait for recv().
    on_message: Callable[[bytes], None] | None = None
    # True while a message of several frames is under way: the library puts those together.
    _in_parts = False
    # Aborts the socket when a closing handshake takes too long; None unless one is under way.
    _cut_off: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """Drop the socket at once, without a word to the other side."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Handle bytes from the socket (asyncio calls this)."""
        if self.on_bytes is not None:
            self.on_bytes()
        super().data_received(data)
        if self._cut_off is None and self.state is State.CLOSING:
            self._cut_off = self.loop.call_later(self.close_timeout or 0.0, self.transport.abort)

    def process_event(self, event: Event) -> None:
        """Handle one frame, or the handshake (the library calls this)."""
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            whole, self._in_parts = event.fin and not self._in_parts, not event.fin
            # Never past a message that waits for recv().
            if self.on_message is not None and whole and not self.recv_messages.frames:
                self.on_message(bytes(event.data))
                return
        super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the socket (asyncio calls this)."""
        if self._cut_off is not None:
            self._cut_off.cancel()
        super().connection_lost(exc)


class _Connect(connect):
    """The library's way to connect, with redirects to the same scheme, host and port only, and only a few."""

    _followed = 0

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return where to try next, or the error that ends the attempt (the library calls this)."""
        if not isinstance(exc, InvalidStatus) or exc.response.status_code not in REDIRECTS:
            return exc
        target = follow(self.uri, exc.response.headers.get_all("Location"))
        if target is None or self._followed >= MAX_REDIRECTS:
            return exc
        try:
            # What the library does next with it, where it would raise something else.
            parse_uri(target)
        except (InvalidURI, ValueError):
            return exc
        self._followed += 1
        return target


async def open_wire(url: str, config: StreamConfig, headers: Mapping[str, str], wall_now: Callable[[], float]) -> Wire:
    """Connect to ``url`` within ``config.open_timeout`` seconds.

    TLS is verified, a proxy is taken from the usual environment variables, and the library's own
    keepalive is off: heartbeats and watchdogs are the stream's.

    Raises :class:`~polymirror.errors.VenueUnavailable` for whatever the venue, or anything on the way to it, did or
    answered (with the HTTP status and ``Retry-After`` of a refused handshake), and
    :class:`~polymirror.errors.ConfigError` for what is ours and can never succeed: a bad URL, a bad proxy, or a SOCKS
    proxy without python-socks.
    """
    try:
        # Before anything is sent: older versions of the library read the address in the attempt itself.
        host = parse_uri(url).host
        attempt = _Connect(
            url,
            additional_headers=dict(headers),
            open_timeout=config.open_timeout,
            close_timeout=config.close_timeout,
            ping_interval=None,
            ping_timeout=None,
            max_size=config.max_message,
            max_queue=config.max_queue,
            create_connection=Wire,
        )
    except (InvalidURI, ValueError) as error:
        raise ConfigError("url", url, "a URL that starts with wss or ws") from error
    try:
        return cast("Wire", await attempt)
    except InvalidProxy as error:
        # Not its address: a password may be in it.
        raise ConfigError("proxy", "(not shown)", f"a usable one, or none, in the environment: {error.msg}") from error
    except ImportError as error:
        raise ConfigError("proxy", str(error), "a usable proxy, or none, in the environment") from error
    except InvalidStatus as error:
        status, answer = error.response.status_code, error.response.headers
        detail = explain_status(status, answer.get_all("Location"), attempt.uri)
        if status not in REDIRECTS:
            detail = f"{detail} (handshake refused)"
        raise VenueUnavailable(url, status, detail, wish(answer.get_all("Retry-After"), wall_now())) from error
    except Exception as error:
        # Whatever else it is, a peer or the way to it caused it: nothing of ours is left to be wrong.
        raise unavailable(url, error, host=host, seconds=config.open_timeout) from error


async def hang_up(wire: AnyWire, patience: float, *, politely: bool) -> None:
    """Close the socket and wait until it is gone, ``patience`` seconds at most for each step.

    ``politely`` tries the closing handshake first. Whatever happens, cancellation included, the
    socket is closed when this returns or raises.
    """
    try:
        if politely:
            with contextlib.suppress(TimeoutError, OSError, ConnectionClosed):
                async with asyncio.timeout(patience):
                    await wire.close()
    finally:
        wire.abort()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await wire.wait_closed()

"""One open WebSocket, as the websockets library sees it: opening it, hanging up, and some additions of ours.

The additions: every arrival of bytes is reported (protocol pings and parts of a large message show that
the path is alive, though no frame is delivered); frames can be taken as they are read, without the library's
queue and the task that waits at it; what waits to be sent and what a message may be cut into are bounded, because the
library answers each ping of a peer that never reads; and a closing handshake that the other side does not
finish is cut off. The library alone waits for that without a limit when the other side closes first. It follows
redirects anywhere, too; here they are followed to the same place only.
Written against what websockets 15, 16 and 17 have in common. Called by the stream only.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final, cast

from websockets.asyncio import client
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxy, InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from polymirror.errors import ConfigError, VenueUnavailable
from polymirror.venue.environment import bad_proxy
from polymirror.venue.failures import MAX_REDIRECTS, REDIRECTS, explain_status, follow, unavailable, wish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from websockets.protocol import Event

    from polymirror.config import StreamConfig
    from polymirror.venue.wires import AnyWire

MAX_UNSENT: Final = 2**20
"""Bytes that may wait to be sent when more are read. A subscription of 500 tokens has 40,000."""

MAX_PARTS: Final = 4_096
"""Frames that one message may be cut into: empty ones cost memory, and no limit of bytes counts them."""

READ_SLICE: Final = 4_096
"""Bytes that are made into frames before a look at the clock and at the bounds: at most 2,048 empty frames, or 4 MiB of
compressed zeros."""

READ_SECONDS: Final = 0.005
"""Seconds of making frames before other tasks get their turn; meanwhile nothing more is read."""


class Wire(ClientConnection):
    """A client connection that tells when bytes arrive and bounds every closing handshake."""

    # Set by the owner once the connection is open; the handshake's bytes are of no interest.
    on_bytes: Callable[[], None] | None = None
    # Set by the owner: takes each message as soon as it is read. Without it they wait for recv().
    on_message: Callable[[bytes], None] | None = None
    # Set by the owner: told why the socket is dropped, when a bound is reached.
    on_overflow: Callable[[str], None] | None = None
    # True while a message of several frames is under way: the library puts those together.
    _in_parts = False
    # Frames of that message so far.
    _parts = 0
    # Reading is paused because what was read before is not made into frames yet.
    _is_held = False
    # Aborts the socket when a closing handshake takes too long; None unless one is under way.
    _cut_off: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # What was read and is not made into frames yet.
        self._unread = bytearray()

    def abort(self) -> None:
        """Drop the socket at once, without a word to the other side, and what was read of it."""
        self._unread.clear()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Handle bytes from the socket (asyncio calls this)."""
        if self._unread:
            # Not reported: they are dated by the moment of those before them, which is safe.
            self._unread += data
            return
        if self.on_bytes is not None:
            self.on_bytes()
        if len(data) <= READ_SLICE:
            self._feed(data)
        else:
            self._unread = bytearray(data)
            self._read_on()

    def _read_on(self) -> None:
        """Make frames of what was read, for some milliseconds; the rest, if any, in the next turn of the loop."""
        until = self.loop.time() + READ_SECONDS
        while self._unread:
            if self.loop.time() >= until:
                self._is_held = True
                if not self.transport.is_closing():
                    # Each time anew: the library may have resumed it for reasons of its own.
                    self.transport.pause_reading()
                self.loop.call_soon(self._read_on)
                return
            self._feed_next()
        if self._is_held and not self.transport.is_closing() and not self.recv_messages.paused:
            self.transport.resume_reading()
        self._is_held = False

    def _feed_next(self) -> None:
        data = bytes(self._unread[:READ_SLICE])
        del self._unread[:READ_SLICE]
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        super().data_received(data)
        # Each ping was answered by now, whether or not the other side reads.
        if self.transport.get_write_buffer_size() > MAX_UNSENT:
            self._give_up(f"the other side does not read: more than {MAX_UNSENT} bytes wait to be sent")
        if self._cut_off is None and self.state is State.CLOSING:
            self._cut_off = self.loop.call_later(self.close_timeout or 0.0, self.abort)

    def _give_up(self, why: str) -> None:
        if self.on_overflow is not None:
            self.on_overflow(why)
        self.abort()

    def process_event(self, event: Event) -> None:
        """Handle one frame, or the handshake (the library calls this)."""
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            whole, self._in_parts = event.fin and not self._in_parts, not event.fin
            self._parts = self._parts + 1 if self._in_parts else 0
            if self._parts > MAX_PARTS:
                self._give_up(f"a message in more than {MAX_PARTS} parts")
                return
            # Never past a message that waits for recv().
            if self.on_message is not None and whole and not self.recv_messages.frames:
                self.on_message(bytes(event.data))
                return
        super().process_event(event)

    def eof_received(self) -> None:
        """Handle the end of what the other side sends (asyncio calls this)."""
        self._read_all()
        super().eof_received()

    def _read_all(self) -> None:
        while self._unread:
            self._feed_next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the socket (asyncio calls this)."""
        self._read_all()
        if self._cut_off is not None:
            self._cut_off.cancel()
        super().connection_lost(exc)


class _Connect(connect):
    """The library's way to connect, with redirects to the same scheme, host and port only, and only a few."""

    _followed = 0
    # Set by the owner before the first attempt.
    most_redirects = MAX_REDIRECTS

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return where to try next, or the error that ends the attempt (the library calls this)."""
        if not isinstance(exc, InvalidStatus) or exc.response.status_code not in REDIRECTS:
            return exc
        target = follow(self.uri, exc.response.headers.get_all("Location"))
        if target is None or self._followed >= self.most_redirects:
            return exc
        try:
            # What the library does next with it, where it would raise something else.
            parse_uri(target)
        except (InvalidURI, ValueError):
            return exc
        self._followed += 1
        return target


def check_settings(url: str) -> None:
    """Find out whether ``url`` can be connected to as far as that is ours: the address, and the environment's proxy.

    Raises :class:`~polymirror.errors.ConfigError`. Nothing is sent, and nothing is looked up.
    """
    try:
        # Taken from where it is used: the library moves it from version to version.
        proxy = client.get_proxy(parse_uri(url))  # type: ignore[attr-defined]
    except (InvalidURI, ValueError) as error:
        raise ConfigError("url", "(not shown)" if "@" in url else url, "a URL that starts with wss or ws") from error
    if proxy is None:
        return
    try:
        scheme = client.parse_proxy(proxy).scheme  # type: ignore[attr-defined]
    except (InvalidProxy, ValueError):
        # Without the error behind it, whose text may have the password.
        raise bad_proxy(proxy, "a URL that starts with http, https or socks5, and has a host") from None
    if scheme.startswith("socks") and importlib.util.find_spec("python_socks") is None:
        raise bad_proxy(proxy, "one that starts with http or https, or python-socks installed")


async def open_wire(url: str, config: StreamConfig, headers: Mapping[str, str], wall_now: Callable[[], float]) -> Wire:
    """Connect to ``url`` within ``config.open_timeout`` seconds.

    TLS is verified, a proxy is taken from the usual environment variables, and the library's own
    keepalive is off: heartbeats and watchdogs are the stream's.

    Raises :class:`~polymirror.errors.VenueUnavailable` for whatever the venue, or anything on the way to it, did or
    answered (with the HTTP status and ``Retry-After`` of a refused handshake), and
    :class:`~polymirror.errors.ConfigError` as :func:`check_settings` does, before anything is sent.
    """
    check_settings(url)
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
    attempt.most_redirects = MAX_REDIRECTS if config.redirects else 0
    try:
        return cast("Wire", await attempt)
    except InvalidStatus as error:
        status, answer = error.response.status_code, error.response.headers
        detail = explain_status(status, answer.get_all("Location"), attempt.uri, most=attempt.most_redirects)
        if status not in REDIRECTS:
            detail = f"{detail} (handshake refused)"
        raise VenueUnavailable(url, status, detail, wish(answer.get_all("Retry-After"), wall_now())) from error
    except Exception as error:
        # Whatever else it is, a peer or the way to it caused it: nothing of ours is left to be wrong.
        raise unavailable(url, error, host=parse_uri(url).host, seconds=config.open_timeout) from error


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

"""The connections of a server, each within bounds: what comes late, or too much, is cut.

A client that never finishes a request, one that never reads, and one that opens connection after connection hold a
server up with next to nothing. Uvicorn bounds heads and waits for the rest without a limit. Where there is no room for
a new connection, one that waits for its client has to go: whoever asks is not kept out by those who do not. Used by
:mod:`polymirror.serving.server` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    import asyncio

MAX_CONNECTIONS: Final = 512
"""At once; a process often may open 1,024 files. If all are at work, a further one is told that the service is busy."""

REQUEST_SECONDS: Final = 10.0
"""From a connection's first byte, or its opening, to the end of the request."""

UNREAD_SECONDS: Final = 60.0
"""For a client that reads nothing of what waits for it."""

MAX_UNSENT: Final = 4 * 2**20
"""Bytes that may wait for a client whose every ping is answered."""

MAX_PARTS: Final = 4_096
"""Frames that one message may be cut into: empty ones count in no limit of bytes."""

MAX_MESSAGE: Final = 2**20
"""Bytes of one message of a client. A subscription of 500 tokens has 40,000."""

BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Bounded:
    """What a connection of either kind has: deadlines, after which it is gone without a word."""

    if TYPE_CHECKING:
        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # By what is waited for.
        self._deadlines: dict[str, asyncio.TimerHandle] = {}

    def _expect(self, what: str, seconds: float) -> None:
        if what not in self._deadlines:
            self._deadlines[what] = self.loop.call_later(seconds, self.transport.abort)

    def _came(self, *whats: str) -> None:
        for what in whats or tuple(self._deadlines):
            if what in self._deadlines:
                self._deadlines.pop(what).cancel()

    def pause_writing(self) -> None:
        """Wait for a client to read (asyncio calls this, as the next two)."""
        self._expect("reading", UNREAD_SECONDS)
        super().pause_writing()  # type: ignore[misc]

    def resume_writing(self) -> None:
        """Go on."""
        self._came("reading")
        super().resume_writing()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._came()
        super().connection_lost(exc)  # type: ignore[misc]


class HttpConnection(_Bounded, H11Protocol):
    """A connection of HTTP calls, one after the other."""

    most: int | None = None
    """Connections of the server at once; None: :data:`MAX_CONNECTIONS`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection, or say that there are too many."""
        super().connection_made(transport)
        if self._has_room():
            self._expect("a request", REQUEST_SECONDS)
        else:
            transport.write(BUSY)
            transport.close()

    def _has_room(self) -> bool:
        """Whether there is room for this connection, once the one is cut that waits for its client the longest."""
        most = self.most or MAX_CONNECTIONS
        if len(self.connections) <= most:
            return True
        others: list[Any] = [each for each in self.connections if each is not self]
        others = [each for each in others if not each.transport.is_closing()]
        if len(others) < most:
            return True
        ends = {each: end for each in others if isinstance(each, HttpConnection) and (end := each.ends_at) is not None}
        if not ends:
            return False
        min(ends, key=lambda each: ends[each]).transport.abort()
        return True

    @property
    def ends_at(self) -> float | None:
        """When it is cut unless its client does something, on the loop's clock; None: it waits for no client."""
        timers = [*self._deadlines.values(), *filter(None, [self.timeout_keep_alive_task])]
        return min((timer.when() for timer in timers), default=None)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            if self.transport.get_protocol() is self and not self.transport.is_closing():
                self._expect("a request", REQUEST_SECONDS)
        else:
            self._came("a request")

    def _should_upgrade(self) -> bool:
        # Others have bodies, which would be read as frames.
        return bool(self.scope["method"] == "GET" and super()._should_upgrade())

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand the connection over; its deadlines are another's."""
        self._came()
        super().handle_websocket_upgrade(event)


class WebSocketConnection(_Bounded, WebSocketsSansIOProtocol):
    """A connection that has become a WebSocket."""

    def connection_made(self, transport: Any) -> None:
        """Take the connection over."""
        super().connection_made(transport)
        self._deadlines["the handshake"] = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Read frames, or parts of them."""
        super().data_received(data)
        # Older versions of uvicorn join the parts at once.
        if self.transport.get_write_buffer_size() > MAX_UNSENT or len(getattr(self, "frames", ())) > MAX_PARTS:
            self.transport.abort()

    def _give_up(self) -> None:
        if not self.handshake_complete:
            self.transport.abort()

    def shutdown(self) -> None:
        """End with the server. A handshake that could not be read has no end that uvicorn could write."""
        if self.handshake_initiated:
            super().shutdown()
        else:
            self.transport.abort()

"""The simulated venue as an ASGI app: the market WebSocket and the HTTP calls, on a real clock.

Carries frames and answers between the pure parts and Starlette, adds the transport's own habits
(bounded send buffers, closings, resets) and nothing else. :mod:`polymirror.simulator.server` runs it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define, field
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from polymirror.simulator.frames import Call, Close, Frame, Item, Reset
from polymirror.simulator.pace_faults import SLOW_CONSUMER
from polymirror.simulator.rest import Desk
from polymirror.simulator.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send
    from starlette.websockets import WebSocket

    from polymirror.simulator.exchange import Exchange
    from polymirror.simulator.faults import FaultLine, Link

MAX_SEND_QUEUE = 20_000
"""Items waiting for a slow reader; one more and the venue closes with 1013, as it really does."""

MAX_PAUSE = 0.02
"""The pump looks at the clock at least this often, in seconds."""

MAX_HANG = 60.0
"""How long a call that is never answered is kept open, in seconds."""

TRANSPORT = "polymirror.transport"


@define(eq=False)
class Connection:
    """One client's socket: its session, its faults, and what waits to be sent."""

    session: Session
    link: Link
    queue: asyncio.Queue[tuple[float, Item]] = field(factory=lambda: asyncio.Queue(MAX_SEND_QUEUE))

    def offer(self, items: list[Item], now: float) -> None:
        """Queue items for the sender; a full queue ends the connection."""
        for item in items:
            if self.queue.full():
                self.session.closed = self.link.dead = True
                while not self.queue.empty():
                    self.queue.get_nowait()
                self.queue.put_nowait((now, SLOW_CONSUMER))
                return
            self.queue.put_nowait((now + item.delay_ms / 1000, item))


class Hub:
    """The exchange, all its connections, and the pump that moves both forward with a real clock.

    ``clock`` gives Unix seconds.
    """

    def __init__(self, exchange: Exchange, line: FaultLine, clock: Callable[[], float]) -> None:
        self.exchange = exchange
        self.line = line
        self.desk = Desk(exchange)
        self.connections: set[Connection] = set()
        self._clock = clock
        # Set when the venue goes away, so that no call keeps it waiting.
        self._over = asyncio.Event()

    def advance(self) -> None:
        """Bring the exchange up to the present and hand out what it sent."""
        now = self._clock()
        now_ms = int(now * 1000)
        frames = self.exchange.step(now_ms)
        for connection in tuple(self.connections):
            items = self.line.outgoing(connection.link, connection.session.outgoing(frames), now_ms)
            connection.offer(items, now)

    async def pump(self) -> None:
        """Advance whenever something is due, until cancelled."""
        while True:
            self.advance()
            due = [self.line.next_ms(connection.link) for connection in self.connections]
            times = [at for at in (self.exchange.next_event_ms(), *due) if at is not None]
            pause = min(times) / 1000 - self._clock() if times else MAX_PAUSE
            await asyncio.sleep(min(max(pause, 0.001), MAX_PAUSE))

    def hang_up(self) -> None:
        """Reset every connection at once: the venue goes away."""
        self._over.set()
        for connection in self.connections:
            connection.session.closed = connection.link.dead = True
            while not connection.queue.empty():
                connection.queue.get_nowait()
            connection.queue.put_nowait((0.0, Reset()))

    async def talk(self, websocket: WebSocket) -> None:
        """Serve one client until either side ends it."""
        if self.line.refuses(self.exchange.now_ms):
            # Closing before accepting answers the handshake with 403.
            await websocket.close()
            return
        await websocket.accept()
        connection = Connection(Session(self.exchange), self.line.open_link())
        self.connections.add(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._listen(websocket, connection))
                sender = tasks.create_task(self._send(websocket, connection))
                await asyncio.wait({reader, sender}, return_when=asyncio.FIRST_COMPLETED)
                reader.cancel()
                sender.cancel()
        finally:
            self.connections.discard(connection)

    async def call(self, request: Request) -> Response:
        """Answer one HTTP call."""
        call = Call(request.method, request.url.path, dict(request.query_params), await request.body())
        answer = self.line.answer(call, self.desk.answer(call), self.exchange.now_ms)
        pause = MAX_HANG if answer.hangs else answer.delay_ms / 1000
        if pause:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._over.wait()
        if answer.hangs:
            _abort(request.scope)
        return Response(answer.body, answer.status, dict(answer.headers), answer.content_type)

    async def _listen(self, websocket: WebSocket, connection: Connection) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                text = message.get("text")
                items = connection.session.receive("" if text is None else text, self.exchange.now_ms)
                items = self.line.outgoing(connection.link, items, self.exchange.now_ms)
                connection.offer(items, self._clock())

    async def _send(self, websocket: WebSocket, connection: Connection) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                due, item = await connection.queue.get()
                pause = due - self._clock()
                if pause > 0:
                    await asyncio.sleep(pause)
                if isinstance(item, Frame):
                    await websocket.send_text(item.text)
                    continue
                if isinstance(item, Close):
                    await websocket.close(item.code, item.reason)
                else:
                    _abort(websocket.scope)
                return


def build_app(hub: Hub) -> ASGIApp:
    """The ASGI app of one venue: ``/ws/market`` and every HTTP call."""
    app = Starlette(
        routes=[
            WebSocketRoute("/ws/market", hub.talk),
            Route("/{path:path}", hub.call, methods=["GET", "POST"]),
        ]
    )

    async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
        # ASGI has no way to reset a connection, so the server's own transport is kept at hand.
        transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
        await app({**scope, TRANSPORT: transport}, receive, send)

    return with_transport


def _abort(scope: Scope) -> None:
    transport = scope.get(TRANSPORT)
    if transport is not None:
        transport.abort()

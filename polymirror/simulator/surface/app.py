"""The simulated venue as an ASGI app: the market WebSocket, the feeds and the HTTP calls, on a real clock.

Carries frames and answers between the pure parts and Starlette, adds the transport's own habits
(bounded send buffers, closings, resets) and nothing else. :mod:`polymirror.simulator.server` runs it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from attrs import define, field
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from polymirror.shell.warnlog import WarnLog
from polymirror.simulator.faults.pace import SLOW_CONSUMER
from polymirror.simulator.frames import MAX_HANG, Call, Close, Frame, Item, Reset
from polymirror.simulator.surface.rest import Desk
from polymirror.simulator.surface.services import MARKET_PATH, answer_call, feeds_by_path
from polymirror.simulator.surface.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send
    from starlette.websockets import WebSocket

    from polymirror.serving.guard import Guard
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.faults.line import FaultLine
    from polymirror.simulator.surface.services import Feed, FeedSession, Service

MAX_SEND_QUEUE = 20_000
"""Items waiting for a slow reader; one more and the venue closes with 1013, as it really does."""

MAX_BODY = 2**20
"""Bytes of a call's body; what is longer is not read to its end, and answered with 413."""

MAX_PAUSE = 0.02
"""The pump looks at the clock at least this often, in seconds."""

TRANSPORT = "polymirror.transport"


@define(eq=False)
class Connection:
    """One client's socket: its session, its faults (none on a feed), and what waits to be sent."""

    session: Session | FeedSession
    link: Link | None
    queue: asyncio.Queue[tuple[float, Item]] = field(factory=lambda: asyncio.Queue(MAX_SEND_QUEUE))

    def offer(self, items: list[Item], now: float) -> None:
        """Queue items for the sender; a full queue ends the connection."""
        for item in items:
            if self.queue.full():
                self.end_with(SLOW_CONSUMER, now)
                return
            self.queue.put_nowait((now + item.delay_ms / 1000, item))

    def end_with(self, item: Item, now: float) -> None:
        """End the connection with this item, instead of whatever waits to be sent."""
        self.leave()
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait((now, item))

    def leave(self) -> None:
        """Send nothing any more."""
        self.session.closed = True
        if self.link is not None:
            self.link.dead = True


class Hub:
    """The exchange, all its connections, and the pump that moves both forward with a real clock.

    ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        exchange: Exchange,
        line: FaultLine,
        clock: Callable[[], float],
        feeds: Iterable[Feed] = (),
        services: Iterable[Service] = (),
    ) -> None:
        self.exchange = exchange
        self.line = line
        self.feeds: dict[str, Feed] = feeds_by_path(feeds)
        self.services: tuple[Service, ...] = tuple(services)
        self.desk: Desk = Desk(exchange)
        self.connections: set[Connection] = set()
        self._clock = clock
        # Set when the venue goes away, so that no call keeps it waiting.
        self._over = asyncio.Event()

    def advance(self) -> None:
        """Bring the exchange up to the present and hand out what it sent."""
        now = self._clock()
        now_ms = int(now * 1000)
        frames = self.exchange.step(now_ms)
        self.desk.hear(frames)
        self.desk.note()
        for connection in tuple(self.connections):
            session, link = connection.session, connection.link
            if isinstance(session, Session) and link is not None:
                connection.offer(self.line.outgoing(link, session.outgoing(frames), now_ms), now)
            elif not isinstance(session, Session) and not session.closed:
                connection.offer(session.outgoing(now_ms), now)

    async def pump(self) -> None:
        """Advance whenever something is due, until cancelled."""
        while True:
            self.advance()
            due = [self._due_ms(connection) for connection in self.connections]
            times = [at for at in (self.exchange.next_event_ms(), *due) if at is not None]
            pause = min(times) / 1000 - self._clock() if times else MAX_PAUSE
            await asyncio.sleep(min(max(pause, 0.001), MAX_PAUSE))

    def _due_ms(self, connection: Connection) -> int | None:
        if connection.link is not None:
            return self.line.next_ms(connection.link)
        session = connection.session
        return None if isinstance(session, Session) or session.closed else session.next_ms()

    def hang_up(self) -> None:
        """Reset every connection at once: the venue goes away."""
        self._over.set()
        for connection in self.connections:
            connection.end_with(Reset(), 0.0)

    async def talk(self, websocket: WebSocket) -> None:
        """Serve one client until either side ends it."""
        if self.line.refuses(self.exchange.now_ms):
            # Closing before accepting answers the handshake with 403.
            await websocket.close()
            return
        await self._converse(websocket, Connection(Session(self.exchange), self.line.open_link()))

    async def feed(self, websocket: WebSocket) -> None:
        """Serve one client of a feed until either side ends it."""
        feed = self.feeds[websocket.url.path]
        session = feed.open(dict(websocket.headers), dict(websocket.query_params), int(self._clock() * 1000))
        if isinstance(session, int):
            refusal = Response(status_code=session)
            # The server adds its own; some versions of uvicorn then send both, which no client accepts.
            del refusal.headers["Content-Length"]
            await websocket.send_denial_response(refusal)
            return
        await self._converse(websocket, Connection(session, None))

    async def _converse(self, websocket: WebSocket, connection: Connection) -> None:
        await websocket.accept()
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
            connection.leave()

    async def call(self, request: Request) -> Response:
        """Answer one HTTP call."""
        pairs = tuple(request.query_params.multi_items())
        body = await read_body(request)
        if body is None:
            return Response('{"error":"Payload Too Large"}', 413, {"Connection": "close"}, "application/json")
        call = Call(request.method, request.url.path, dict(pairs), body, dict(request.headers), pairs)
        # A service that takes orders must meet the exchange as it is now.
        self.advance()
        answer = answer_call(self.services, self.desk, self.line, call, self.exchange.now_ms)
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
                connection.offer(self._answer(connection, "" if text is None else text), self._clock())

    def _answer(self, connection: Connection, text: str) -> list[Item]:
        link, session = connection.link, connection.session
        if link is None:
            return [] if session.closed else session.receive(text, int(self._clock() * 1000))
        return self.line.outgoing(link, session.receive(text, self.exchange.now_ms), self.exchange.now_ms)

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


def build_app(hub: Hub, guard: Guard | None = None) -> ASGIApp:
    """The ASGI app of one venue: ``/ws/market``, its feeds and every HTTP call, for those whom ``guard`` lets in."""
    warnings = WarnLog()
    app = Starlette(
        routes=[
            WebSocketRoute(MARKET_PATH, hub.talk),
            *(WebSocketRoute(path, hub.feed) for path in hub.feeds),
            Route("/{path:path}", hub.call, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
    )

    async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
        if refusal := "" if guard is None else guard.refusal(scope["headers"]):
            warnings.warn("refused", refusal, monotonic())
            if scope["type"] == "websocket":
                # Before it is accepted this is an answer with 403.
                await send({"type": "websocket.close"})
            else:
                answer = JSONResponse({"error": refusal}, 403, {"Connection": "close"})
                await answer(scope, receive, send)
            return
        # ASGI has no way to reset a connection, so the server's own transport is kept at hand.
        transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
        await app({**scope, TRANSPORT: transport}, receive, send)

    return with_transport


async def read_body(request: Request) -> bytes | None:
    """What a client sends with a call; ``None``: too much of it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _abort(scope: Scope) -> None:
    transport = scope.get(TRANSPORT)
    if transport is not None:
        transport.abort()

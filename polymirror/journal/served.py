"""The ASGI side of a served recording: the simulated venue's connections, with another state behind them.

Needs Starlette, so only :mod:`polymirror.journal.serve` imports it, when it starts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from polymirror.simulator.faults.line import FaultLine
from polymirror.simulator.frames import Call
from polymirror.simulator.surface.app import Hub, build_app, read_body
from polymirror.simulator.surface.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from polymirror.journal.stage import Stage
    from polymirror.simulator.frames import Answer

__all__ = ["RecordedHub", "build_app"]


class RecordedHub(Hub):
    """All connections of a served recording. ``begin`` is called by each client that comes."""

    def __init__(
        self, stage: Stage, clock: Callable[[], float], begin: Callable[[], None], answer: Callable[[Call], Answer]
    ) -> None:
        # A session asks an exchange for what a stage has, too; orders and prices of the past it has not.
        self.exchange: Any = stage
        self.line = FaultLine(())
        self.feeds = {}
        self.services = ()
        self.connections = set()
        self._clock = clock
        self._over = asyncio.Event()
        self._begin = begin
        self._answer_call = answer

    def advance(self) -> None:
        """Play what is due, and hand it out."""
        now = self._clock()
        now_ms = int(now * 1000)
        frames = self.exchange.step(now_ms)
        for connection in tuple(self.connections):
            session, link = connection.session, connection.link
            if isinstance(session, Session) and link is not None:
                connection.offer(self.line.outgoing(link, session.outgoing(frames), now_ms), now)

    async def talk(self, websocket: WebSocket) -> None:
        """Serve one client until either side ends it."""
        self._begin()
        await super().talk(websocket)

    async def call(self, request: Request) -> Response:
        """Answer one HTTP call."""
        self._begin()
        body = await read_body(request)
        if body is None:
            return Response('{"error":"Payload Too Large"}', 413, {"Connection": "close"}, "application/json")
        pairs = tuple(request.query_params.multi_items())
        self.advance()
        answer = self._answer_call(Call(request.method, request.url.path, dict(pairs), body, {}, pairs))
        return Response(answer.body, answer.status, dict(answer.headers), answer.content_type)

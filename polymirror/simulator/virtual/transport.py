"""HTTP in virtual time: what httpx gives a request to instead of a socket.

The client on top is httpx as always. What a request meets at the other end is for
:mod:`polymirror.simulator.virtual.venue`; here are the way there and back, and httpx's own time limits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from polymirror.simulator.frames import Answer, Call

if TYPE_CHECKING:
    from collections.abc import Callable


class VirtualTransport(httpx.AsyncBaseTransport):
    """Carries requests to a venue in this process.

    ``submit(host, call, reply)`` sends a call on its way; what was sent arrives, whatever becomes of the caller.
    ``reply`` is called when an answer is back, or with an error when the way is cut, or never.
    """

    def __init__(self, submit: Callable[[str, Call, Callable[[Answer | Exception], None]], None]) -> None:
        self._submit = submit

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request (httpx calls this)."""
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def reply(outcome: Answer | Exception) -> None:
            if waiting.done():
                return
            if isinstance(outcome, Exception):
                waiting.set_exception(outcome)
            else:
                waiting.set_result(outcome)

        body = await request.aread()
        asked = tuple(request.url.params.multi_items())
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, request.url.path, dict(asked), body, headers, asked)
        self._submit(request.url.host, call, reply)
        limit = request.extensions.get("timeout", {}).get("read")
        try:
            async with asyncio.timeout(limit):
                answer = await waiting
        except TimeoutError:
            raise httpx.ReadTimeout(f"nothing for {limit:g} s", request=request) from None
        pairs = [("Content-Type", answer.content_type), *answer.headers]
        return httpx.Response(answer.status, headers=pairs, content=answer.body.encode(), request=request)

"""A server inside of an event loop that has other work: it starts and ends with a block, and leaves signals alone.

The embedded exchange and the status server run on it. What is served is an ASGI app; who may call it
(:mod:`polymirror.serving.guard`) is decided by whoever makes the app.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn

from polymirror.serving.connections import MAX_MESSAGE, HttpConnection, WebSocketConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.types import ASGIApp

SHUTDOWN_SECONDS: Final = 1
"""Seconds that answers under way have at the end."""

BACKLOG: Final = 1_024


class _Quiet(uvicorn.Server):
    """A server that leaves the signals of the embedding program alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def served(
    app: ASGIApp, host: str, port: int, *, hang_up: Callable[[], object], most: int | None = None
) -> AsyncIterator[int]:
    """Serve ``app`` until the block is left, and yield the port (0 asked for any free one).

    ``hang_up()`` is called first thing at the end: it ends what lasts. ``most`` is how many connections there may be
    at once (default: as many as :mod:`polymirror.serving.connections` allows). Raises OSError when the address cannot
    be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Uvicorn's own limit counts whoever says nothing like whoever asks.
    connection = type("Connection", (HttpConnection,), {"most": most})
    with closing(socket.create_server((host, port), family=family, backlog=BACKLOG)) as listener:
        settings = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            http=connection,
            ws=WebSocketConnection,
            ws_ping_interval=None,  # the venue sends no protocol pings
            ws_max_size=MAX_MESSAGE,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        server = _Quiet(settings)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(server.serve(sockets=[listener]), name="server")
            try:
                while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn offers no event
                    await asyncio.sleep(0.001)
                yield listener.getsockname()[1]
            finally:
                hang_up()
                server.should_exit = True
                await asyncio.wait({task})

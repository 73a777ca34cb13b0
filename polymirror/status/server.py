"""The status server of one mirror, in the mirror's own event loop. It needs the extra ``status``, once it starts.

Made by :meth:`polymirror.mirror.Mirror.serve_status`. It ends with the mirror. Whatever goes wrong with it is told, and
the mirror goes on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from polymirror.errors import MirrorClosed, MissingExtra
from polymirror.harmless import harmless
from polymirror.serving.addresses import authority
from polymirror.serving.guard import Guard
from polymirror.status.board import Board
from polymirror.status.feed import Feed
from polymirror.status.health import MirrorStatus
from polymirror.status.observed import Observed
from polymirror.status.trail import Trail
from polymirror.status.verdict import problems
from polymirror.venue.groups import first_of

MAX_CONNECTIONS: Final = 64
"""At once; for one more, one that asks nothing is cut."""


class StatusServer:
    """A server that runs until :meth:`stop`, or until its mirror stops."""

    def __init__(
        self,
        mirror: Observed,
        warn: Callable[[str, str], None],
        *,
        host: str,
        port: int,
        names: Sequence[str],
        title: str,
        ready: float,
        health: Callable[[], Sequence[str]] | None,
    ) -> None:
        self._mirror = mirror
        self._warn = warn
        self._host = host
        self._wanted_port = port
        self._names = names
        self._health = health
        self._trail = Trail()
        self._began = mirror.now()
        self._feed = Feed(Board(mirror, self._trail, self._problems, title))
        self._ready = ready
        # Done with the port once it listens, or with why it does not.
        self._listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return self._listening.result()

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"http://{authority(self._host, self.port)}/"

    async def wait_listening(self) -> None:
        """Wait until it listens. Raises OSError if the address cannot be had."""
        await self._listening

    async def stop(self) -> None:
        """Stop: on return nothing listens any more. Does nothing the second time."""
        self._over.set()
        await self._ended.wait()

    async def run(self) -> None:
        """Serve until the end. Raises nothing: what goes wrong is told."""
        try:
            with ExitStack() as stack:
                stack.callback(self._feed.close)
                stack.callback(self._mirror.on_transition(self._trail.note))
                self._feed.look()
                await self._serve()
        except Exception as error:  # noqa: BLE001 - a server that fails must not end the mirror
            self._failed(first_of(error) if isinstance(error, BaseExceptionGroup) else error)
        finally:
            self._ended.set()
            if not self._listening.done():
                self._listening.set_exception(MirrorClosed("the mirror was stopped"))

    async def _serve(self) -> None:
        try:
            from polymirror.serving.server import served  # noqa: PLC0415 - an extra
            from polymirror.status.app import serving_app  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtra("the status server", "status") from error
        guard = Guard(self._host, self._names)
        with serving_app(self._mirror, self._feed, self._trail, self._problems, self._ready, guard) as app:
            async with asyncio.TaskGroup() as tasks:
                looks = tasks.create_task(self._feed.run(), name="status feed")
                listening = served(app, self._host, self._wanted_port, hang_up=self._feed.close, most=MAX_CONNECTIONS)
                async with listening as port:
                    if not self._listening.done():
                        self._listening.set_result(port)
                    await self._over.wait()
                looks.cancel()

    def _failed(self, error: BaseException) -> None:
        if self._listening.done():
            self._warn("status server", f"it ended, the mirror goes on: {type(error).__name__}: {error}")
        else:
            self._listening.set_exception(error)

    def _problems(self, status: MirrorStatus) -> list[str]:
        found = problems(status, self._trail.dark_since(self._began))
        return [*found, *(harmless(each) for each in (self._health() if self._health is not None else ()))]

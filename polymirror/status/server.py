"""The status server of one mirror, in the mirror's own event loop. It needs the extra ``status``, once it starts.

Made by :meth:`polymirror.mirror.Mirror.serve_status`. It ends with the mirror. Whatever goes wrong with it is told, and
the mirror goes on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from polymirror.errors import MissingExtra
from polymirror.harmless import harmless
from polymirror.serving.beside import Listening
from polymirror.serving.guard import Guard
from polymirror.status.board import Board
from polymirror.status.feed import Feed
from polymirror.status.health import MirrorStatus
from polymirror.status.observed import Observed
from polymirror.status.trail import Trail
from polymirror.status.verdict import problems

MAX_CONNECTIONS: Final = 64
"""At once; for one more, one that asks nothing is cut."""


class StatusServer(Listening):
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
        super().__init__("status server", warn, host, port)
        self._mirror = mirror
        self._names = names
        self._health = health
        self._trail = Trail()
        self._began = mirror.now()
        self._feed = Feed(Board(mirror, self._trail, self._problems, title))
        self._ready = ready

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"{super().url}/"

    async def _run(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._feed.close)
            stack.callback(self._mirror.on_transition(self._trail.note))
            self._feed.look()
            await self._serve()

    async def _serve(self) -> None:
        try:
            from polymirror.status.app import serving_app  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtra("the status server", "status") from error
        guard = Guard(self._host, self._names)
        with serving_app(self._mirror, self._feed, self._trail, self._problems, self._ready, guard) as app:
            async with asyncio.TaskGroup() as tasks:
                looks = tasks.create_task(self._feed.run(), name="status feed")
                async with self._serving(app, self._feed.close, MAX_CONNECTIONS):
                    await self._over.wait()
                looks.cancel()

    def _problems(self, status: MirrorStatus) -> list[str]:
        found = problems(status, self._trail.dark_since(self._began))
        return [*found, *(harmless(each) for each in (self._health() if self._health is not None else ()))]

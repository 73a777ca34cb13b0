"""What runs beside a mirror, in its event loop, until it is stopped: what goes wrong with it ends nothing else.

The status server and the relays are such.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from polymirror.errors import MirrorClosed
from polymirror.serving.addresses import authority
from polymirror.venue.groups import first_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp


class Beside(ABC):
    """Something that runs until :meth:`stop`, or until its mirror stops. ``what`` it is, people are told."""

    def __init__(self, what: str, warn: Callable[[str, str], None]) -> None:
        self._what = what
        self._warn = warn
        self._over = asyncio.Event()
        self._ended = asyncio.Event()

    async def stop(self) -> None:
        """Stop: on return nothing listens or tells any more. Does nothing the second time."""
        self._over.set()
        await self._ended.wait()

    async def run(self) -> None:
        """Run until the end. Raises nothing: what goes wrong is told."""
        try:
            await self._run()
        except Exception as error:  # noqa: BLE001 - what fails here must not end the mirror
            self._failed(first_of(error) if isinstance(error, BaseExceptionGroup) else error)
        finally:
            self._ended.set()

    @abstractmethod
    async def _run(self) -> None:
        """Run until ``_over`` is set."""

    def _failed(self, error: BaseException) -> None:
        self._warn(self._what, f"it ended, the mirror goes on: {type(error).__name__}: {error}")


class Listening(Beside):
    """The same, which listens at ``host`` and ``port`` (0: any free one). Made in an event loop."""

    def __init__(self, what: str, warn: Callable[[str, str], None], host: str, port: int) -> None:
        super().__init__(what, warn)
        self._host = host
        self._wanted_port = port
        # Done with the port once it listens, or with why it does not.
        self._listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return self._listening.result()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{authority(self._host, self.port)}"

    async def wait_listening(self) -> None:
        """Wait until it listens. Raises OSError if the address cannot be had."""
        await self._listening

    async def run(self) -> None:
        """Serve until the end. Raises nothing: what goes wrong is told."""
        try:
            await super().run()
        finally:
            if not self._listening.done():
                self._listening.set_exception(MirrorClosed("the mirror was stopped"))

    @asynccontextmanager
    async def _serving(
        self, app: ASGIApp, hang_up: Callable[[], object], most: int | None = None
    ) -> AsyncIterator[None]:
        """Listen while the block lasts: as :func:`polymirror.serving.server.served` does."""
        from polymirror.serving.server import served  # noqa: PLC0415 - an extra

        async with served(app, self._host, self._wanted_port, hang_up=hang_up, most=most) as port:
            if not self._listening.done():
                self._listening.set_result(port)
            yield

    def _failed(self, error: BaseException) -> None:
        if self._listening.done():
            super()._failed(error)
        else:
            self._listening.set_exception(error)

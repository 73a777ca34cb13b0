"""How a mirror says how it is, and serves that: a part of :class:`polymirror.mirror.Mirror`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from polymirror.config import check_each, check_instance
from polymirror.core.engine import Engine
from polymirror.errors import ConfigError
from polymirror.serving.addresses import LOOPBACK, MAX_PORT, is_port
from polymirror.shell.listing import Listing
from polymirror.status.health import MirrorStatus, Records
from polymirror.status.observed import Observed
from polymirror.status.pulse import Pulse
from polymirror.status.server import StatusServer
from polymirror.status.verdict import checked_share
from polymirror.venue.gamma import Gamma
from polymirror.venue.rest import Clob


class Servable(Observed, Protocol):
    """What the server needs of a mirror beside what can be seen of it."""

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> object: ...

    def _warn(self, kind: str, detail: str) -> None: ...

    def _check_running(self) -> None: ...


class Served(ABC):
    """A mirror's methods for telling how it is."""

    engine: Engine
    clob: Clob
    gamma: Gamma
    seed: int
    _listing: Listing
    _records: Records

    @property
    @abstractmethod
    def _runs(self) -> bool:
        """Inside of its block."""

    @abstractmethod
    def now(self) -> float:
        """Return its monotonic clock in seconds."""

    @property
    def budget_left(self) -> int | None:
        """Calls of REST that could be made at once before the rate budget is spent; None while it does not run."""
        return self.clob.budget_left if self._runs else None

    @property
    def pulse(self) -> Pulse:
        """What it measures of itself; for its metrics."""
        return self._records.pulse

    def status(self) -> MirrorStatus:
        """Return how the mirror and all its books are now. For people: it takes milliseconds, so not for each update.

        Works before the start and after the end, too. Every number has its unit in its description.
        """
        trouble = self.gamma.trouble if self._runs else ""
        known = self._records.known(self._listing.markets.values(), self.budget_left, trouble)
        engine, missing = self.engine.status(self.now(), known), self._listing.missing
        return MirrorStatus.of(engine, self._records, seed=self.seed, running=self._runs, missing=missing)

    async def serve_status(
        self: Servable,
        host: str = LOOPBACK,
        port: int = 0,
        *,
        names: Iterable[str] = (),
        title: str = "polymirror",
        ready: float = 0.9,
        health: Callable[[], Sequence[str]] | None = None,
    ) -> StatusServer:
        """Serve how this mirror is, until the server's ``stop()`` or the mirror's: a page, and what machines ask for.

        ``/`` is the page, ``/health`` and ``/ready`` answer 200 or 503, ``/status`` has :meth:`status` as JSON,
        ``/metrics`` is for Prometheus. ``host`` is this machine alone by default; nobody is asked who they are. Who
        calls must use that address, a name of loopback, or one of ``names``; pages of other origins may not. ``port`` 0
        takes any free one. ``ready`` is the share of LIVE books (0 to 1) from which on ``/ready`` says yes.
        ``health()`` returns what else is wrong, in words, and is called at most a few times a second.

        Raises ConfigError, OSError if the address cannot be had, MirrorClosed unless the mirror runs, and MissingExtra
        without the extra ``status``. What goes wrong later is logged, and the mirror goes on without the server.
        """
        self._check_running()
        check_instance("host", host, str)
        check_instance("title", title, str)
        if not is_port(port):
            raise ConfigError("port", port, f"a whole number from 0 to {MAX_PORT}")
        server = StatusServer(
            self, self._warn, host=host, port=port, names=check_each("names", names, str), title=title,
            ready=checked_share("ready", ready), health=health,
        )  # fmt: skip
        self._spawn(server.run(), "status server")
        await server.wait_listening()
        return server

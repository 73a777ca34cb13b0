"""The embedded exchange, ready to use: one ``async with`` starts it on a free loopback port.

For tests of bots, for the demo, and for whoever has no network. Starlette and uvicorn are imported
only here and in the app; without them :class:`~polymirror.errors.MissingExtra` says what to install.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from attrs import evolve

from polymirror.config import Endpoints, check_each
from polymirror.errors import MissingExtra
from polymirror.serving.addresses import LOOPBACK, authority
from polymirror.serving.guard import Guard
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.faults.base import Fault
from polymirror.simulator.faults.catalogue import make_faults
from polymirror.simulator.faults.line import FaultLine
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.simulator.surface.services import made_for
from polymirror.venue.network import REAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from polymirror.simulator.exchange.history import Read
    from polymirror.simulator.surface.app import Hub
    from polymirror.simulator.surface.services import Feed, Makes, Service
    from polymirror.venue.network import Network


class Simulator:
    """A venue in this process, with the same REST and WebSocket surface as the real one.

    It listens on ``host``, by default for this machine only: nothing asks who may come. But whoever comes must call it
    by that, by a loopback name, or by one of ``names``, and no page of another origin may
    (:mod:`polymirror.serving.guard`).

    ``seed`` decides the order flow; ``markets`` is how many trade (two tokens each); ``rate`` the
    mean number of batches a second for each; ``faults`` are fault ids or fault objects; ``port`` 0
    means any free one; ``settle_after`` is the number of seconds after which all markets end.
    ``config`` replaces ``seed``, ``markets``, ``rate`` and ``settle_after`` (its ``start_ms`` is
    replaced by the present). ``clock`` gives Unix seconds. ``feeds`` and ``services`` are served beside
    the venue's own (:mod:`polymirror.simulator.surface.services`), or a function makes them for its exchange.

    Entering makes a fresh ``exchange`` from the same settings, so look at it inside only. The plan of
    a fault object may be replaced while the venue runs.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        markets: int = 1,
        rate: float = 20.0,
        faults: Iterable[str | Fault] = (),
        port: int = 0,
        host: str = LOOPBACK,
        names: Iterable[str] = (),
        settle_after: float | None = None,
        config: ExchangeConfig | None = None,
        clock: Callable[[], float] = time.time,
        feeds: Makes[Feed] = (),
        services: Makes[Service] = (),
    ) -> None:
        settle_ms = None if settle_after is None else int(settle_after * 1000)
        given = config or ExchangeConfig(
            seed=seed, markets=markets, flow=FlowConfig(rate=rate), settle_after_ms=settle_ms
        )
        self._clock = clock
        self._config = given
        self._wanted_port = port
        self._host = host
        self._names = check_each("names", names, str)
        self._feeds = feeds
        self._services = services
        self.line: FaultLine = FaultLine(
            f if isinstance(f, Fault) else make_faults([f], seed=given.seed)[0] for f in faults
        )
        self.exchange: Exchange = self._new_exchange()
        # The bound port; 0 before the start.
        self.port: int = 0
        # Inside the block only.
        self._stack: AsyncExitStack | None = None
        self._hub: Hub | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where this venue is, for a mirror's configuration. Raises RuntimeError before the start."""
        if not self.port:
            message = "the simulator has no address before it is started: use it with 'async with'"
            raise RuntimeError(message)
        return Endpoints.at(self.base_url)

    @property
    def base_url(self) -> str:
        """Where the HTTP services are, once it is started."""
        return f"http://{authority(self._host, self.port)}"

    @property
    def network(self) -> Network:
        """The real sockets and clocks, as a virtual venue has its own."""
        return REAL

    def wall_ms(self) -> int:
        """Return the time of day in Unix milliseconds."""
        return int(self._clock() * 1000)

    def refresh(self) -> None:
        """Bring everything up to the present, as the venue does many times a second. Does nothing outside the block."""
        if self._hub is not None:
            self._hub.advance()

    def stream_url(self, path: str) -> str:
        """Return where the feed with this path is, once the venue is started."""
        return f"ws://{authority(self._host, self.port)}{path}"

    @property
    def tokens(self) -> tuple[str, ...]:
        """All asset ids, the two of a market next to each other."""
        return self.exchange.tokens

    @property
    def slugs(self) -> tuple[str, ...]:
        """The slugs of all markets."""
        return self.exchange.slugs

    def confirms(self, view: Read, slack: float = 1.0) -> bool:
        """Whether a granted read is right: whether the exchange had exactly its levels no longer ago than it claims.

        ``slack`` seconds are added to the view's own age, for the way of what proved it.
        """
        return self.exchange.confirms(view, slack, now_ms=self.wall_ms())

    async def __aenter__(self) -> Self:
        """Start on loopback; raises MissingExtra without the extra, OSError when the port is taken."""
        try:
            from polymirror.serving.server import served  # noqa: PLC0415 - an extra: the library must not need it
            from polymirror.simulator.surface.app import Hub, build_app  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtra("the simulated venue", "simulator") from error

        self.exchange = self._new_exchange()
        self.line.attach(self.exchange)
        feeds, services = made_for(self.exchange, self._feeds), made_for(self.exchange, self._services)
        hub = Hub(self.exchange, self.line, self._clock, feeds, services)
        app = build_app(hub, Guard(self._host, self._names))
        async with AsyncExitStack() as stack:
            listening = served(app, self._host, self._wanted_port, hang_up=hub.hang_up)
            self.port = await stack.enter_async_context(listening)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            pump = tasks.create_task(hub.pump(), name="simulator pump")
            stack.callback(pump.cancel)
            self._stack, self._hub = stack.pop_all(), hub
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop within a second; no task and no socket is left."""
        stack, self._stack, self._hub = self._stack, None, None
        self.port = 0
        if stack is not None:
            await stack.__aexit__(None, None, None)

    def _new_exchange(self) -> Exchange:
        return Exchange(evolve(self._config, start_ms=self.wall_ms()))

"""What carries a test: an event loop, the venue in it, and what stays open until the end.

The pytest plugin makes a :class:`Stage` for each test that asks for one; :func:`play` is a stage around one function.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.outfit import Outfit, OutfitConfig
from polymirror.simulator.server import Simulator
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.simulator.virtual.loop import VirtualLoop
from polymirror.simulator.virtual.venue import VirtualVenue
from polymirror.testing.config import StageConfig
from polymirror.testing.venue import StagedVenue

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from polymirror.mirror import Mirror

T = TypeVar("T")


class Stage:
    """An event loop with a venue in it, in virtual or in real time. Use it with ``with``, outside of any loop.

    Raises MissingExtra for loopback without the extra ``simulator``.
    """

    def __init__(self, config: StageConfig | None = None) -> None:
        self.config: StageConfig = config or StageConfig()
        self._stack = ExitStack()
        self._runner: asyncio.Runner

    def __enter__(self) -> Self:
        config, settings = self.config, _exchange(self.config)
        factory = None if config.loopback else partial(VirtualLoop, settings.start_ms, config.limit)
        outfit = Outfit(OutfitConfig(seed=config.seed))
        beside: dict[str, Any] = {"faults": config.faults, "feeds": outfit.feeds, "services": outfit.services}
        with self._stack as stack:
            self._runner = stack.enter_context(asyncio.Runner(loop_factory=factory))
            carrier: VirtualVenue | Simulator
            if config.loopback:
                carrier = self.hold(Simulator(config=settings, **beside))
            else:
                exchange = Exchange(settings)
                carrier = self.hold(VirtualVenue(exchange, seed=config.seed, network=config.network, **beside))
            self.venue: StagedVenue = StagedVenue(carrier, outfit, config, self.run)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave what is held, the last thing first, and end the loop. Raises what failed there meanwhile."""
        self._stack.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the loop and return what it returns. Time passes only meanwhile."""
        return self._runner.run(work)

    def hold(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter something for the rest of the stage, and return what it gives."""
        value, end = self.run(_enter(manager))
        self._stack.callback(lambda: self.run(end()))
        return value

    def mirror(self) -> Mirror:
        """Return a mirror of all markets that runs to the end, LIVE unless the configuration says otherwise."""
        mirror = self.hold(self.venue.mirror())
        if self.config.live:
            self.run(mirror.wait_live())
        return mirror


async def _enter(manager: AbstractAsyncContextManager[T]) -> tuple[T, Callable[[], Coroutine[Any, Any, None]]]:
    """Enter in a task of its own, since whoever enters must leave; return the value, and what lets that task leave."""
    leave = asyncio.Event()
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    async def hold() -> None:
        async with manager as value:
            entered.set_result(value)
            await leave.wait()

    async def end() -> None:
        leave.set()
        await task

    task = asyncio.create_task(hold(), name=f"holds {type(manager).__name__}")
    either: set[asyncio.Future[Any]] = {task, entered}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not entered.done():
        await task
    return entered.result(), end


def _exchange(config: StageConfig) -> ExchangeConfig:
    settle_ms = None if config.settle_after is None else round(config.settle_after * 1000)
    return config.exchange or ExchangeConfig(
        seed=config.seed,
        markets=config.markets,
        flow=FlowConfig(rate=config.rate),
        settle_after_ms=settle_ms,
    )


def play(scene: Callable[[StagedVenue, Mirror], Coroutine[Any, Any, T]], **settings: Any) -> T:
    """Run ``scene(venue, mirror)`` with a venue and a LIVE mirror of its own, and return what it returns.

    For property-based tests, which need a fresh venue for each example, and for test runners other than pytest.
    ``settings`` are those of :class:`StageConfig`; by default all of it is in virtual time, and takes milliseconds.
    """
    with Stage(StageConfig.of(**settings)) as stage:
        return stage.run(scene(stage.venue, stage.mirror()))

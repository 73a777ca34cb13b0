"""Failure domains: tasks of which one that fails is started again alone, while the others go on undisturbed.

A :class:`Supervisor` owns its tasks: they live as long as its ``async with`` block. It restarts what raises, after a
wait that grows, and gives up on what fails too often: the other domains go on without it, or, if it was vital, the
block ends with an error. What runs in a domain, and what one of them needs from another, is not known here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from enum import Enum, unique
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import define, field, frozen

from bots.common.errors import BotError, shorten
from polymirror.errors import ConfigError
from polymirror.venue.backoff import FullJitter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from attrs import Attribute

    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

MAX_DOMAINS: Final = 2_048


class GivenUp(BotError):  # noqa: N818 - a fact
    """A vital domain failed too often."""

    def __init__(self, name: str, failures: int, error: str) -> None:
        super().__init__(f"{name} failed {failures} times and is vital; the last time: {error}")
        self.name = name


@unique
class Standing(Enum):
    """How a domain is."""

    RUNNING = "running"
    WAITING = "waiting to be restarted"
    DONE = "done"
    """It returned."""
    DOWN = "down"
    """It failed too often and is not started again."""


def _above_zero(_: object, attribute: Attribute[Any], value: float) -> None:
    if isinstance(value, bool) or not 0 < value <= 1_000_000:  # noqa: PLR2004 - nobody waits longer
        raise ConfigError(attribute.name, value, "above 0 and up to 1000000")


@frozen(kw_only=True)
class RestartPolicy:
    """When a domain is started again, and when no more. Times in seconds."""

    base: float = field(default=0.5, validator=_above_zero)
    """The longest wait after the first failure; it doubles with each failure in a row."""
    cap: float = field(default=30.0, validator=_above_zero)
    """No wait is longer."""
    steady: float = field(default=60.0, validator=_above_zero)
    """Having run for this long, a domain counts as healthy again: its next failure is a first one."""
    failures: int = field(default=30, validator=_above_zero)
    """With so many failures within ``window`` it is given up."""
    window: float = field(default=3_600.0, validator=_above_zero)


@define(eq=False)
class Domain:
    """One supervised task, for those who look on."""

    name: str
    vital: bool
    standing: Standing = Standing.RUNNING
    failures: int = 0
    """Since the beginning."""
    error: str = ""
    """What it failed with last, shortened."""
    since: float = 0.0
    """When it entered its standing, on the monotonic clock."""


class Supervisor:
    """Keeps tasks running for the length of an ``async with`` block; leaving the block ends them.

    ``on_failure`` is told of every failure; it must not raise. ``rng`` draws the waits.
    """

    def __init__(
        self,
        network: Network,
        policy: RestartPolicy | None = None,
        *,
        rng: random.Random | None = None,
        on_failure: Callable[[Domain], None] = lambda _: None,
    ) -> None:
        self._network = network
        self._policy = RestartPolicy() if policy is None else policy
        draws = random.Random() if rng is None else rng  # noqa: S311 - jitter
        self._jitter = FullJitter(self._policy.base, self._policy.cap, draws)
        self._on_failure = on_failure
        self._domains: dict[str, Domain] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Open between __aenter__ and __aexit__.
        self._group: asyncio.TaskGroup | None = None

    @property
    def domains(self) -> Mapping[str, Domain]:
        """How each domain is, by name."""
        return dict(self._domains)

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        assert group is not None  # noqa: S101 - entered before
        for task in self._tasks.values():
            task.cancel()
        try:
            await group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as failures:
            # Somebody vital was given up, or the block itself failed: that error is what the caller should see.
            first: BaseException = failures.exceptions[0]
            if len(failures.exceptions) == 1 and (first is error or isinstance(first, GivenUp)):
                raise first from None
            raise

    def keep(self, name: str, run: Callable[[], Awaitable[object]], *, vital: bool = False) -> Domain:
        """Start ``run()`` as a task of its own, and again whenever it fails.

        Raises ValueError for a name that is taken, or one too many.
        """
        assert self._group is not None, "use the supervisor with 'async with'"  # noqa: S101 - a mistake in the code
        if name in self._domains or len(self._domains) >= MAX_DOMAINS:
            raise ValueError(f"the name {name!r} is taken, or there are more than {MAX_DOMAINS} domains")
        domain = self._domains[name] = Domain(name, vital, since=self._network.monotonic())
        self._tasks[name] = self._group.create_task(self._keep(domain, run), name=name)
        return domain

    def release(self, name: str) -> None:
        """End a domain and forget it; its name is free again. Does nothing for one that is not kept."""
        self._domains.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    async def _keep(self, domain: Domain, run: Callable[[], Awaitable[object]]) -> None:
        recent: deque[float] = deque(maxlen=self._policy.failures)
        in_a_row = 0
        while True:
            began = self._network.monotonic()
            self._enter(domain, Standing.RUNNING)
            try:
                await run()
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody cancelled us: it leaked out of what the domain does, and must not end it silently.
                failure: BaseException = error
            except Exception as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # It failed while it was being cancelled; a task group then raises the failure, and the
                    # cancellation would be lost: the domain would be started again, and never end.
                    raise asyncio.CancelledError from error
                failure = error
            else:
                self._enter(domain, Standing.DONE)
                return
            now = self._network.monotonic()
            in_a_row = 1 if now - began >= self._policy.steady else in_a_row + 1
            recent.append(now)
            domain.failures += 1
            domain.error = describe(failure)
            down = len(recent) == recent.maxlen and now - recent[0] <= self._policy.window
            self._enter(domain, Standing.DOWN if down else Standing.WAITING)
            wait = self._jitter.seconds(in_a_row)
            next_step = "it is not started again" if down else f"again in {wait:.1f} s"
            log.error("%s failed (%s): %s", domain.name, domain.error, next_step, exc_info=failure)
            self._on_failure(domain)
            if down and domain.vital:
                raise GivenUp(domain.name, domain.failures, domain.error) from failure
            if down:
                return
            await asyncio.sleep(wait)

    def _enter(self, domain: Domain, standing: Standing) -> None:
        domain.standing, domain.since = standing, self._network.monotonic()


def describe(error: BaseException) -> str:
    """Return an error in one short line; of a group, the first of its members."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return shorten(f"{type(error).__name__}: {error}")

"""Killing a bot at any instant, over and over, and starting it again from its files: what a crash test needs.

In virtual time a process cannot be killed, so its world ends instead: from one moment on no file can be touched
any more, and its task is cancelled. What had left for the venue arrives there all the same, as after ``kill -9``.
Simulations and tests use it; bots do not know of it.
"""

from __future__ import annotations

import asyncio
import random
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from bots.common.ledger.files import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bots.common.ledger.files import Files

T = TypeVar("T")

HURRY = 0.5
"""Lives are shorter than their share of the time by this: starting again takes time, too."""


class Death(Enum):
    """At which instant a life ends."""

    ANY_TIME = "any time"
    BEFORE_WRITE = "before a write"
    TORN_WRITE = "in the middle of a write"
    AFTER_WRITE = "after a write"
    ORDER_UNDER_WAY = "shortly after an intent was written"


@define(eq=False)
class MortalFiles:
    """The files of one life: those that outlive it, until it ends."""

    kept: Files
    rng: random.Random
    # How the life is to end at the next write; None: not by a write.
    death: Death | None = None
    dead: bool = False
    # Ends the life; called in the step in which it ends.
    kill: Callable[[], None] = field(default=lambda: None)

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, or ``None``."""
        self._check()
        return self.kept.read(name)

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a file, or a part of it, or nothing."""
        self._write(lambda: self.kept.append(name, data), lambda cut: self.kept.append(name, data[:cut]), len(data))

    def replace(self, name: str, data: bytes) -> None:
        """Put ``data`` in the place of a file, or leave it: there is nothing between."""
        self._write(lambda: self.kept.replace(name, data), lambda _cut: None, len(data))

    def cut(self, name: str, size: int) -> None:
        """Drop everything after the first ``size`` bytes."""
        self._write(lambda: self.kept.cut(name, size), lambda _cut: None, 1)

    def remove(self, name: str) -> None:
        """Delete a file, if it exists."""
        self._write(lambda: self.kept.remove(name), lambda _cut: None, 1)

    def _write(self, whole: Callable[[], None], part: Callable[[int], None], size: int) -> None:
        self._check()
        death, self.death = self.death, None
        if death is Death.TORN_WRITE:
            part(self.rng.randrange(size))
        elif death is not Death.BEFORE_WRITE:
            whole()
        if death is Death.ORDER_UNDER_WAY:
            asyncio.get_running_loop().call_later(self.rng.uniform(0, 0.8), self.kill)
        elif death is not None:
            self.kill()
            self._check()

    def _check(self) -> None:
        if self.dead:
            raise OSError("the process was killed")


async def live_and_die(
    start: Callable[[MortalFiles], Coroutine[Any, Any, T]],
    *,
    kills: int,
    seed: int,
    within: float,
    kept: Files | None = None,
) -> tuple[T, int]:
    """Start a bot, kill it at ``kills`` random instants within about ``within`` seconds, and start it again each time.

    Returns what the last life returned, and how many lives ended early. A life that returns earlier ends it all.
    ``kept`` are the files that outlive them all; by default they are in memory.
    """
    kept = Memory() if kept is None else kept
    rng = random.Random(f"kills:{seed}")
    loop = asyncio.get_running_loop()
    ends = loop.time() + within
    for life in range(kills + 1):
        files = MortalFiles(kept, rng)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_survive(start(files), files), name=f"life {life}")

            def kill(files: MortalFiles = files, work: asyncio.Task[Any] = work) -> None:
                files.dead = True
                work.cancel()

            files.kill = kill
            if life < kills:
                mean = max(ends - loop.time(), 0.0) / (kills - life + 1) * HURRY
                killer = group.create_task(_kill(files, rng, mean), name="killer")
                # Whoever lives to the end has nobody to fear.
                work.add_done_callback(partial(_let_go, killer))
        # A bot that was killed in a step of its own has no time to notice.
        found = None if work.cancelled() else work.result()
        if found is not None and not files.dead:
            return found, life
        await asyncio.sleep(rng.choice((0.0, 0.5, 5.0, 30.0)))
    raise AssertionError("the last life ended although nobody killed it")


async def _survive(life: Coroutine[Any, Any, T], files: MortalFiles) -> T | None:
    """Live to the end. What a killed bot raises while it falls apart is nobody's concern."""
    try:
        return await life
    except asyncio.CancelledError:
        if not files.dead:
            raise
    except Exception:
        if not files.dead:
            raise
    return None


def _let_go(killer: asyncio.Task[None], _work: asyncio.Task[Any]) -> None:
    killer.cancel()


async def _kill(files: MortalFiles, rng: random.Random, mean: float) -> None:
    await asyncio.sleep(rng.uniform(0.01, 0.01 + 2 * mean))
    death = rng.choice(tuple(Death))
    if death is Death.ANY_TIME:
        files.kill()
        return
    files.death = death
    # Not every life writes soon.
    await asyncio.sleep(mean)
    files.kill()

"""Killing a bot at any instant, over and over, and starting it again from its store: what a crash test needs.

In virtual time a process cannot be killed, so its world ends instead: from one moment on the ledger cannot be touched
any more, and its task is cancelled. What had left for the venue arrives there all the same, as after ``kill -9``.
Simulations and tests use it; bots do not know of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from pathlib import Path

    from bots.common.ledger.database import Statement
    from bots.common.ledger.ledger import Store

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
class MortalStore:
    """The ledger's file in one life: it outlives the life, and from its end on nothing reaches it any more."""

    kept: Store
    rng: random.Random
    # How the life is to end at the next write; None: not by a write.
    death: Death | None = None
    dead: bool = False
    # Ends the life; called in the step in which it ends.
    kill: Callable[[], None] = field(default=lambda: None)

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        self._check()
        return self.kept.read(sql, values)

    def write(self, statements: Iterable[Statement]) -> None:
        """Do all of it, or die before, in the middle or after it; in the middle is before, for a transaction."""
        self._check()
        death, self.death = self.death, None
        rows = list(statements)
        if death is Death.TORN_WRITE:
            self._tear(rows[: self.rng.randrange(len(rows) + 1)])
        elif death is not Death.BEFORE_WRITE:
            self.kept.write(rows)
        if death is Death.ORDER_UNDER_WAY:
            asyncio.get_running_loop().call_later(self.rng.uniform(0, 0.8), self.kill)
        elif death is not None:
            self.kill()
            self._check()

    def copy_of_day(self, day: str) -> Path | None:
        """Write the day's copy."""
        self._check()
        return self.kept.copy_of_day(day)

    def _tear(self, rows: Sequence[Statement]) -> None:
        """Begin the transaction, and let it end as one does whose process is gone."""
        with contextlib.suppress(sqlite3.Error):
            self.kept.write([*rows, ("SELECT no_such_column", ())])

    def _check(self) -> None:
        if self.dead:
            raise OSError("the process was killed")


async def live_and_die(
    start: Callable[[MortalStore], Coroutine[Any, Any, T]],
    *,
    kills: int,
    seed: int,
    within: float,
    kept: Store,
) -> tuple[T, int]:
    """Start a bot, kill it at ``kills`` random instants within about ``within`` seconds, and start it again each time.

    Returns what the last life returned, and how many lives ended early. A life that returns earlier ends it all.
    ``kept`` is the ledger's file, which outlives them all.
    """
    rng = random.Random(f"kills:{seed}")
    loop = asyncio.get_running_loop()
    ends = loop.time() + within
    for life in range(kills + 1):
        store = MortalStore(kept, rng)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_survive(start(store), store), name=f"life {life}")

            def kill(store: MortalStore = store, work: asyncio.Task[Any] = work) -> None:
                store.dead = True
                work.cancel()

            store.kill = kill
            if life < kills:
                mean = max(ends - loop.time(), 0.0) / (kills - life + 1) * HURRY
                killer = group.create_task(_kill(store, rng, mean), name="killer")
                # Whoever lives to the end has nobody to fear.
                work.add_done_callback(partial(_let_go, killer))
        # A bot that was killed in a step of its own has no time to notice.
        found = None if work.cancelled() else work.result()
        if found is not None and not store.dead:
            return found, life
        await asyncio.sleep(rng.choice((0.0, 0.5, 5.0, 30.0)))
    raise AssertionError("the last life ended although nobody killed it")


async def _survive(life: Coroutine[Any, Any, T], store: MortalStore) -> T | None:
    """Live to the end. What a killed bot raises while it falls apart is nobody's concern."""
    try:
        return await life
    except asyncio.CancelledError:
        if not store.dead:
            raise
    except Exception:
        if not store.dead:
            raise
    return None


def _let_go(killer: asyncio.Task[None], _work: asyncio.Task[Any]) -> None:
    killer.cancel()


async def _kill(store: MortalStore, rng: random.Random, mean: float) -> None:
    await asyncio.sleep(rng.uniform(0.01, 0.01 + 2 * mean))
    death = rng.choice(tuple(Death))
    if death is Death.ANY_TIME:
        store.kill()
        return
    store.death = death
    # Not every life writes soon.
    await asyncio.sleep(mean)
    store.kill()

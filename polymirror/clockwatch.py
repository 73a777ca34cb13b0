"""Sampling the venue's clock: quickly at first, then now and then, and more often while books are in doubt.

A single answer that is seconds off makes every frame look late, and so every book doubtful; only another answer can
tell. The mirror runs it as a task; what samples mean is for :mod:`polymirror.core.clock`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from polymirror.core.states import BookState
from polymirror.errors import VenueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.core.engine import Engine
    from polymirror.venue.rest import Clob

FIRST_SAMPLES: Final = 4
"""Samples taken quickly after the start: each narrows the bounds."""

FIRST_SECONDS: Final = 0.37
"""Seconds between these: no whole fraction of a second, since the venue answers in whole seconds."""

RECHECK_SECONDS: Final = 3.0
"""Seconds between samples while books are in doubt."""

_DOUBTED = (BookState.SUSPECT, BookState.RESYNCING)


async def watch_clock(
    clob: Clob, engine: Engine, interval: float, warn: Callable[[str], None], now: Callable[[], float]
) -> None:
    """Take a sample at least every ``interval`` seconds of ``now``, until cancelled; ``warn`` is told of failures."""
    samples = 0
    while True:
        try:
            answer = await clob.time()
            engine.server_time(answer.seconds, answer.sent, answer.received)
        except VenueError as error:
            warn(str(error))
        samples += 1
        if samples < FIRST_SAMPLES:
            await asyncio.sleep(FIRST_SECONDS)
            continue
        due = now() + interval
        while (rest := due - now()) > 0:
            await asyncio.sleep(min(rest, RECHECK_SECONDS))
            if any(state in _DOUBTED for _, state in engine.states()):
                break

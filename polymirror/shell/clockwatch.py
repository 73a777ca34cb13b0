"""Sampling the venue's clock when the engine wants it.

A single answer that is seconds off makes every frame look late, and so every book doubtful; only another answer can
tell. The mirror runs this as a task; when to ask and what answers mean is for :mod:`polymirror.core.clock`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from polymirror.errors import VenueError, VenueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.core.engine import Engine
    from polymirror.venue.rest import Clob

LOOK_SECONDS: Final = 1.0
"""How often the engine is asked whether it wants a sample sooner than it said, and a venue that is away is asked."""


async def watch_clock(
    clob: Clob,
    engine: Engine,
    interval: float,
    told: Callable[[VenueError | None], None],
    now: Callable[[], float],
) -> None:
    """Take a sample at least every ``interval`` seconds of ``now``, until cancelled; ``told`` hears how each ended.

    While there is no answer at all it asks each second: the first one shows that the network is back.
    """
    away = False
    while True:
        rest = engine.next_time_sample(now(), interval) - now()
        if away:
            await asyncio.sleep(LOOK_SECONDS)
        elif rest > 0:
            await asyncio.sleep(min(rest, LOOK_SECONDS))
            if rest > LOOK_SECONDS:
                continue
        engine.time_asked(now())
        try:
            answer = await clob.time()
            engine.server_time(answer.seconds, answer.sent, answer.received)
        except VenueError as error:
            away = isinstance(error, VenueUnavailable) and error.status is None
            told(error)
        else:
            away = False
            told(None)

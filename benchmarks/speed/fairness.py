"""Whether one socket's frames wait for another's work: an opening array of 500 books, REST bodies, slow callbacks.

A busy market has a socket of its own; 250 quiet ones share another. While the busy one gets 500 frames a second,
the others are opened anew, built anew from REST, and watched by callbacks that take a millisecond for each update.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

from attrs import evolve

from benchmarks.speed.frames import MARKET, TOKENS
from benchmarks.speed.loopback import market, venue
from benchmarks.speed.method import unpin
from benchmarks.speed.openings import make_openings
from benchmarks.speed.rows import Row
from benchmarks.speed.watching import Watch, summary
from polymirror import BookState, EngineConfig, Mirror, MirrorConfig

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from benchmarks.speed.loopback import Far
    from benchmarks.speed.rows import Options
    from polymirror import Update

CROWD = 250
"""Quiet markets: 500 tokens, as many as a socket may carry."""
LEVELS = 27
"""Levels a side: 500 such books in one array exceed a mebibyte."""
RATE = 500.0
CALLBACK_SECONDS = 0.001
TARGET_MS = 20.0
PATIENCE = 20.0


def measure(options: Options) -> Iterator[Row]:
    """Let all three happen, several times."""
    unpin()
    repeats = options.choose(5, 1)
    with venue(int(RATE * (10 + 12 * repeats)), rate=RATE, crowd=CROWD, levels=LEVELS) as far:
        phases = asyncio.run(_run(far, repeats))
    worst = {name: statistics.median(each["max"] for each in found) for name, found in phases.items()}
    yield Row(
        "fairness_frame_age",
        "longest age of another socket's frame while 500 books come in an array, by REST, or call slow callbacks",
        max(worst.values()),
        TARGET_MS,
        unit="ms",
        details={
            "median_of_longest_ms": worst,
            "ages_ms": phases,
            "repeats": repeats,
            "bytes_of_array": sum(len(e) for o in make_openings(LEVELS, CROWD, seed=2) for e in o.events),
        },
    )


async def _run(far: Far, repeats: int) -> dict[str, list[dict[str, float]]]:
    crowd = [market(each.market, each.tokens, each.tick_size) for each in make_openings(LEVELS, CROWD, seed=2)]
    config = MirrorConfig(seed=1, engine=evolve(EngineConfig(), tokens_per_socket=2 * CROWD))
    async with Mirror(crowd, config=config, endpoints=far.endpoints) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        mirror.add_market(market(MARKET, TOKENS, "0.01"))
        await mirror.wait_live(timeout=PATIENCE)
        watch = Watch(mirror, MARKET)
        quiet = [token for each in crowd for token in each.token_ids]
        phases: dict[str, list[dict[str, float]]] = {}

        async def during(name: str, start: Coroutine[Any, Any, None]) -> None:
            """Start something, wait until the quiet books are LIVE again, and note the ages meanwhile."""
            await asyncio.sleep(0.5)
            since = len(watch.applied)
            await start
            async with asyncio.timeout(PATIENCE):
                await asyncio.sleep(0.05)
                # Looking seldom: whoever waits for states is woken with every frame.
                while any(mirror.engine.peek_state(token) is not BookState.LIVE for token in quiet):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                await asyncio.sleep(1.0)
            phases.setdefault(name, []).append(summary(watch.ages(far.sent_at(), since, len(watch.applied))))

        async with asyncio.timeout(PATIENCE):
            # Looking seldom, here and above: whoever waits for states is woken with every frame.
            while not watch.applied:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for _ in range(repeats):
            await during("nothing", asyncio.sleep(0))
            await during("an array of 500 books", _reconnect(mirror))
            await during("500 books by REST", _build_anew(mirror, quiet))
            forget = mirror.on_update(_slow, *quiet)
            await during("slow callbacks", _reconnect(mirror))
            forget()
        return phases


async def _reconnect(mirror: Mirror) -> None:
    stream = mirror._carrier.streams[0]  # noqa: SLF001 - as the engine would ask for it
    stream.reconnect("to have its books sent anew")


async def _build_anew(mirror: Mirror, tokens: Iterable[str]) -> None:
    for token in tokens:
        mirror.resync(token)
        # Whoever asks for 500 at once holds up the loop by asking.
        await asyncio.sleep(0)


def _slow(_: Update) -> None:
    until = time.perf_counter() + CALLBACK_SECONDS
    while time.perf_counter() < until:
        pass

"""The soak: the real mirror on real sockets, with everything between it and the venue going wrong.

Each round starts a venue, two proxies and a mirror in this process, lets a storm pass over them, waits in the calm
until every book is LIVE or RETIRED, and stops the mirror in the middle of whatever the proxies do then. Every read
is compared with the truth; after each round nothing may be left. All load stays on the loopback interface and ends
by itself. Asked for by ``polymirror torture --sockets``.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from attrs import define, field

from polymirror.config import Endpoints, EngineConfig, MirrorConfig, RestConfig, StreamConfig
from polymirror.core.states import BookState
from polymirror.mirror import Mirror
from polymirror.simulator.server import Simulator
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.torture.judge import Judge
from polymirror.torture.leaks import Belongings, Heartbeat, Memory, leaks_since, loop_complaints
from polymirror.torture.proxy import HOST, NONE, Proxy
from polymirror.torture.tally import SoakTally, in_words
from polymirror.torture.weather import CALLS, STREAM, draw_weather

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from polymirror.torture.weather import Weather

SETTINGS: Final = MirrorConfig(
    engine=EngineConfig(
        max_proof_age=4.0,
        first_snapshot_timeout=1.5,
        suspect_grace=0.5,
        request_timeout=3.0,
        resync_backoff_cap=2.0,
        scheduled_resync=10.0,
        tokens_per_socket=8,
    ),
    stream=StreamConfig(
        ping_interval=1.0, open_timeout=1.5, data_timeout=3.0, transport_timeout=3.5, backoff_cap=1.0, healthy_after=1.0
    ),
    rest=RestConfig(connect_timeout=1.0, read_timeout=1.0, total_timeout=2.5, backoff_cap=0.5),
)
"""Patience for seconds instead of half a minute, so that a round shows what a mirror's hour would."""

ROUND_SECONDS: Final = 10.0
MIN_ROUND_SECONDS: Final = 2.0
STORM_SHARE: Final = 0.7
"""The share of a round in which things go wrong."""

WARM_UP_ROUNDS: Final = 2
"""Rounds after which memory is expected to grow no more."""

BATCHES_PER_SECOND: Final = 100.0
"""The order flow of all markets together."""

START_SECONDS: Final = 10.0
"""Before a storm, every book must be LIVE within this time."""

HEAL_SECONDS: Final = 25.0
"""Within this time of calm every book must be LIVE or RETIRED."""

STEADY_SECONDS: Final = 0.5
"""A book is healed when it stays so for this time."""

SHUTDOWN_SECONDS: Final = 1.0
"""A mirror must be gone this soon."""

READ_SECONDS: Final = 0.02
"""Every book is read this often, and after each change."""

READ_AGES: Final = (None, None, 1.0, 0.25)
"""The proof ages in seconds that reads ask for; None: the configured one."""

JUDGED_ROUNDS: Final = 3
"""Rounds after the warm-up from which on growth is judged: much is held after one round that is forgotten later."""

GROWTH_KB: Final = 256.0
GROWTH_KB_PER_ROUND: Final = 16.0
"""Memory may grow by so many KiB in all, or in each round after the warm-up."""

MAX_EXTRA_SECONDS: Final = 60.0
"""A round that takes so much longer than it should is given up."""

SUBSCRIBER_SECONDS: Final = 0.3
"""How long the slow subscriber takes for each update."""

_DONE = (BookState.LIVE, BookState.RETIRED)


@define
class Soak:
    """A run of about ``seconds``, in rounds. ``faults`` limits the venue's faults; empty means all."""

    seconds: float
    seed: int = 0
    tokens: int = 20
    faults: Sequence[str] = ()
    settings: MirrorConfig = SETTINGS
    mirror_class: Callable[..., Mirror] = Mirror
    """What is tried; tests try broken ones."""
    tally: SoakTally = field(factory=SoakTally)

    async def run(self) -> AsyncIterator[SoakTally]:
        """Run all rounds, yielding the tally after each. Nothing is raised for what goes wrong in them."""
        length = min(ROUND_SECONDS, max(MIN_ROUND_SECONDS, self.seconds / 4))
        tally, began = self.tally, time.monotonic()
        with Memory(WARM_UP_ROUNDS) as memory, loop_complaints(tally.violate):
            while not tally.rounds or time.monotonic() - began + length / 2 < self.seconds:
                weather = draw_weather(self.seed, tally.rounds, length * STORM_SHARE, self.faults)
                try:
                    async with asyncio.timeout(length + MAX_EXTRA_SECONDS):
                        await self._round(weather)
                except Exception as error:  # noqa: BLE001 - whatever comes out of the mirror is a finding
                    tally.violate("nothing is raised", f"round {tally.rounds}: {in_words(error)}")
                tally.rounds += 1
                memory.look()
                tally.seconds, tally.memory_growth_kb = time.monotonic() - began, memory.growth_kb
                yield tally
            allowed = max(GROWTH_KB, GROWTH_KB_PER_ROUND * memory.rounds)
            if memory.rounds >= JUDGED_ROUNDS and (memory.growth_kb or 0.0) > allowed:
                tally.violate("memory does not grow", f"{memory.growth_kb:.0f} KiB in {memory.rounds} rounds")

    async def _round(self, weather: Weather) -> None:
        before, number = Belongings.now(), self.tally.rounds
        markets = max(1, self.tokens // 2)
        flow = FlowConfig(rate=BATCHES_PER_SECOND / markets)
        config = ExchangeConfig(seed=self.seed * 1_000 + number, markets=markets, flow=flow)
        async with (
            Simulator(config=config) as venue,
            Proxy(venue.port, seed=weather.seed) as stream,
            Proxy(venue.port, seed=weather.seed + 1) as calls,
        ):
            base = f"http://{HOST}:{calls.port}"
            there = Endpoints(stream=f"ws://{HOST}:{stream.port}/ws/market", clob=base, gamma=base)
            await self._mirror(weather, venue, stream, calls, there)
        self.tally.leak(await leaks_since(before), number)

    async def _mirror(self, weather: Weather, venue: Simulator, stream: Proxy, calls: Proxy, there: Endpoints) -> None:
        closing = None
        try:
            with Heartbeat() as heartbeat:
                async with self.mirror_class(slugs=venue.slugs, config=self.settings, endpoints=there) as mirror:
                    try:
                        await mirror.wait_live(timeout=START_SECONDS)
                        judge = Judge(mirror, venue, stream.lateness, heartbeat, self.tally)
                        await self._storm(weather, mirror, venue, judge, {STREAM: stream, CALLS: calls})
                        await self._calm(weather, mirror, judge)
                        # Whatever happens at the time, a mirror must be able to stop in the middle of it.
                        stream.toxics = calls.toxics = weather.last
                        await asyncio.sleep(READ_SECONDS)
                    finally:
                        for stream_of in mirror._carrier.streams:  # noqa: SLF001 - it does not tell otherwise
                            self.tally.note_closes(stream_of.counters)
                        closing = time.monotonic()
        finally:
            if closing is not None:
                self.tally.shutdown(time.monotonic() - closing, SHUTDOWN_SECONDS, weather.last)

    async def _storm(
        self, weather: Weather, mirror: Mirror, venue: Simulator, judge: Judge, proxies: dict[str, Proxy]
    ) -> None:
        rng = random.Random(f"ages:{weather.seed}")  # noqa: S311 - repeatable on purpose
        mirror.on_update(lambda update: judge.read(update.token, rng.choice(READ_AGES)))
        venue.line.faults = faults = weather.make_faults(int(time.time() * 1000))
        loop = asyncio.get_running_loop()
        stalls = [loop.call_later(at, self._stall, length) for at, length in weather.stalls]
        async with _slow_subscriber(mirror), asyncio.TaskGroup() as group:
            for where, proxy in proxies.items():
                group.create_task(self._switch(proxy, where, weather), name=f"toxics {where}")
            until = time.monotonic() + weather.seconds
            while time.monotonic() < until:
                _sweep(mirror, judge, rng)
                await asyncio.sleep(READ_SECONDS)
        for stall in stalls:
            stall.cancel()
        self.tally.faults.update({fault.id: fault.injected for fault in faults})

    def _stall(self, seconds: float) -> None:
        self.tally.stalls += 1
        time.sleep(seconds)

    async def _switch(self, proxy: Proxy, where: str, weather: Weather) -> None:
        began = time.monotonic()
        for spell in weather.spells:
            if spell.where == where:
                await asyncio.sleep(began + spell.at - time.monotonic())
                proxy.toxics = spell.toxics
                self.tally.toxics[f"{where} {spell.name}"] += 1
                await asyncio.sleep(began + spell.at + spell.length - time.monotonic())
                proxy.toxics = NONE

    async def _calm(self, weather: Weather, mirror: Mirror, judge: Judge) -> None:
        """Measure how long the calm takes to make every book LIVE or RETIRED, and go on reading for a while."""
        rng = random.Random(f"calm:{weather.seed}")  # noqa: S311 - repeatable on purpose
        began = time.monotonic()
        shortest = weather.seconds / STORM_SHARE - weather.seconds
        # When each book that was in doubt during the calm was last seen so.
        doubted: dict[str, float] = {}
        async with _slow_subscriber(mirror):
            while True:
                _sweep(mirror, judge, rng)
                now = time.monotonic()
                doubted |= {token: now for token, state in mirror.engine.states() if state not in _DONE}
                steady = now - max(doubted.values(), default=began) >= STEADY_SECONDS
                if (steady and now - began >= shortest) or now - began > HEAL_SECONDS + STEADY_SECONDS:
                    break
                await asyncio.sleep(READ_SECONDS)
            judge.check_keeps_up()
        self.tally.recover += [at - began for at in doubted.values()]
        for token, at in doubted.items():
            if at - began > HEAL_SECONDS:
                book = mirror.engine.standing(token)
                how = "gone" if book is None else f"{book.state.name} {book.reason.name}"
                detail = f"{how} {HEAL_SECONDS:g} s after {weather.summary}"
                self.tally.violate("books heal", detail, token)


def _sweep(mirror: Mirror, judge: Judge, rng: random.Random) -> None:
    for token in mirror.tokens:
        judge.read(token, rng.choice(READ_AGES))


@asynccontextmanager
async def _slow_subscriber(mirror: Mirror) -> AsyncIterator[None]:
    """Somebody who reads updates much more slowly than they come, meanwhile."""

    async def read() -> None:
        async for _ in mirror.updates():
            await asyncio.sleep(SUBSCRIBER_SECONDS)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(read(), name="slow subscriber")
        try:
            yield
        finally:
            task.cancel()

"""Small mirrors on a venue in this process: settings quick enough for tests, ways to wait, and a look for leaks.

Nothing here sleeps to let something happen: waiting is for a condition, checked whenever the mirror took an input.
"""

from __future__ import annotations

import asyncio
import gc
import re
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn.server
from attrs import evolve

from polymirror import (
    BookState,
    EngineConfig,
    Mirror,
    MirrorConfig,
    NotLive,
    Reason,
    RestConfig,
    StreamConfig,
    Transition,
)
from polymirror.simulator import ExchangeConfig, Fault, FlowConfig, Simulator
from polymirror.simulator.frames import PRICE_CHANGE, Frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.frames import Answer, Call, Item


class Hasty:
    """The asyncio module as uvicorn's server sees it here, which else takes up to 0.2 s to notice that it should stop.

    These tests start and stop a hundred venues.
    """

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(min(delay, 0.005))


uvicorn.server.asyncio = Hasty()

LOOPS = [
    pytest.param(("asyncio", {"debug": True}), id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="there is no uvloop for this platform"),
    ),
]
"""The two event loops that the mirror must run on."""

one_loop = pytest.mark.parametrize("anyio_backend", LOOPS[:1], indirect=True)
"""For tests of decisions, in which the event loop has no part."""

PATIENCE = 60.0
"""Seconds after which something that should happen did not: with 18 busy processes on two cores 8 were too few."""

BY_TIME = {Reason.STALE, Reason.APPLY_LAG}
"""Reasons of a doubt that come about by themselves, if the machine has no time for us."""

SETTINGS = MirrorConfig(
    engine=EngineConfig(
        first_snapshot_timeout=0.3,
        hash_grace=0.2,
        suspect_grace=0.2,
        probe_hold=0.2,
        request_timeout=1.0,
        resync_backoff_base=0.01,
        resync_backoff_cap=0.1,
    ),
    stream=StreamConfig(backoff_base=0.005, backoff_cap=0.02, healthy_after=0.05, close_timeout=0.2),
    # With time-outs of 0.5 s the test of everything at once failed twice on two cores with five busy processes.
    rest=RestConfig(attempts=1, read_timeout=2.0, total_timeout=2.0, backoff_base=0.005, backoff_cap=0.02),
    seed=1,
)


def settings(**engine: float) -> MirrorConfig:
    return evolve(SETTINGS, engine=evolve(SETTINGS.engine, **engine))


AT_ONCE = 20.0
"""Seconds that an end which waits for nothing may take on a busy machine: less than :func:`patient` settings wait."""


def patient(**engine: float) -> MirrorConfig:
    """Return settings with which whoever waits for the venue at the end does so for half a minute at least."""
    given = settings(**engine)
    return evolve(
        given,
        rest=evolve(given.rest, connect_timeout=120.0, read_timeout=120.0, total_timeout=120.0),
        stream=evolve(given.stream, open_timeout=120.0, close_timeout=30.0),
    )


def mirror_of(venue: Simulator, *slugs: str, **engine: float) -> Mirror:
    """Mirror these markets of the venue, all of them without any."""
    return Mirror.for_slug(*(slugs or venue.slugs), config=settings(**engine), endpoints=venue.endpoints)


def quiet_venue(markets: int = 1, faults: tuple[str | Fault, ...] = (), **exchange: object) -> Simulator:
    """Make a venue at which nobody trades while a test lasts."""
    config = ExchangeConfig(seed=5, markets=markets, flow=FlowConfig(rate=0.001), new_market_every_ms=None, **exchange)
    return Simulator(config=config, faults=faults)


async def until(mirror: Mirror, holds: Callable[[], bool], timeout: float = PATIENCE) -> None:
    """Wait for a condition that inputs of the mirror bring about."""
    await mirror.until(holds, timeout)


async def turns_until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until a condition holds that no input of a mirror announces."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


async def until_state(mirror: Mirror, state: BookState, *tokens: str) -> None:
    await until(mirror, lambda: all(mirror.peek(token).state is state for token in tokens or mirror.tokens))


def shown(mirror: Mirror, token: str) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    view = mirror.peek(token)
    return view.bids, view.asks


def doubts(transitions: list[Transition]) -> list[Transition]:
    """Return those that left LIVE for a reason of the venue's or the network's, not of a busy machine's."""
    return [each for each in transitions if each.old is BookState.LIVE and each.reason not in BY_TIME]


class Truth:
    """Reads every changed book and compares what was granted with what the venue really had."""

    SLACK = 1.0
    """Seconds that a frame may be under way on a busy machine."""

    def __init__(self, mirror: Mirror, venue: Simulator) -> None:
        self.granted = self.refused = 0
        self.doubted: list[str] = []
        """Why books were refused, except where only time had passed: that a busy machine brings by itself."""
        self.wrong: list[str] = []
        self._mirror = mirror
        self._venue = venue

    def read(self, token: str) -> None:
        try:
            view = self._mirror.live(token)
        except NotLive as refused:
            self.refused += 1
            if refused.state is not BookState.LIVE and refused.reason not in BY_TIME:
                self.doubted.append(str(refused))
            return
        self.granted += 1
        if not self._venue.confirms(view, self.SLACK):
            self.wrong.append(str(view))


class Recorder(Fault):
    """No fault: notes which frames went out on which connection."""

    id = "recorder"

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[int, str, str]] = []

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        del now_ms
        self.frames += [(link.number, item.kind, item.text) for item in items if hasattr(item, "text")]
        return items


class NoHashes(Fault):
    """Price changes state no hash, so that REST alone proves what they did."""

    id = "no_hashes"

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        del link, now_ms
        return [
            item._replace(text=re.sub(r'"hash": ?"[0-9a-f]+"', '"hash":""', item.text))
            if isinstance(item, Frame) and item.kind == PRICE_CHANGE
            else item
            for item in items
        ]


class Hang(Fault):
    """Calls for books are never answered while ``on``."""

    id = "hang"
    on = True

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        del now_ms
        return answer._replace(hangs=self.on and call.path.startswith("/book"))


def open_sockets() -> set[str]:
    """Return the sockets of this process; none where the system does not tell."""
    found = set()
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def client_tasks() -> set[asyncio.Task[object]]:
    """Return all tasks but those of the venue, which ends in its own time."""
    found = set()
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        where, name = getattr(code, "co_filename", ""), getattr(code, "co_name", "")
        # The last one is the venue's, too: its server takes a connection.
        if "uvicorn" not in where and "simulator" not in where and name != "_accept_connection2":
            found.add(task)
    return found


def timers() -> list[str]:
    """Return the live timers of the loop that belong to the mirror or to its libraries; empty on uvloop."""
    handles = getattr(asyncio.get_running_loop(), "_scheduled", ())
    texts = [repr(handle) for handle in handles if not handle.cancelled()]
    return [text for text in texts if any(name in text for name in ("Mirror", "websockets", "Wire", "httpcore"))]


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fail if the block leaves a task, a socket or a timer. Warnings are errors anyway."""
    tasks, sockets = client_tasks(), open_sockets()
    try:
        yield
    finally:
        assert client_tasks() == tasks
        assert timers() == []
        # Both ends live in this process, and the venue's needs some turns of the loop to see the end.
        await turns_until(lambda: not open_sockets() - sockets)
        # Whatever was not closed says so when it is collected.
        gc.collect()

"""A simulated exchange in a thread of its own: the commands under test run their own event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from polymirror.simulator.server import Simulator


class Served:
    def __init__(self, **settings):
        self.venue = Simulator(**settings)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with self.venue:
            self._ready.set()
            await self._over.wait()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self.venue

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)


@pytest.fixture(scope="module")
def venue():
    with Served(seed=7, markets=3) as venue:
        yield venue


@pytest.fixture(scope="module")
def nowhere() -> list[str]:
    """Options for endpoints at which nothing listens."""
    gone = "http://127.0.0.1:9"
    return ["--stream", "ws://127.0.0.1:9/ws", "--clob", gone, "--gamma", gone]

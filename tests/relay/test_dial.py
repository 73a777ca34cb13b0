"""A consumer's connection over a WebSocket: it is made anew when nothing comes any more."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError

from polymirror.relay.dial import QUIET, Dial
from polymirror.relay.link import Link
from polymirror.venue.network import Network
from tests.relay.rig import UP


class Mute:
    """A connection on which nothing comes."""

    on_message: Any = None

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def recv(self, *, decode: bool) -> bytes:
        del decode
        await self.ended.wait()
        raise ConnectionClosedError(None, None)

    async def send(self, text: str) -> None:
        """Nobody hears it."""

    def abort(self) -> None:
        self.ended.set()

    async def wait_closed(self) -> None:
        await self.ended.wait()


pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("passes", "lost"), [(QUIET - 0.5, False), (QUIET + 0.1, True), (-30.0, True)])
async def test_a_connection_on_which_nothing_comes_is_made_anew_even_if_the_clock_was_set_back(
    passes: float, lost: bool
) -> None:
    now, wires, again = [100.0], 0, asyncio.Event()

    async def open_wire(*_: Any) -> Any:
        nonlocal wires
        wires += 1
        if wires > 1:
            again.set()
        return Mute()

    link = Link("relay", "json")
    link.want([UP], now[0])
    dial = Dial(
        link, "http://relay", Network(open_wire=open_wire), lambda: now[0], random.Random(1), lambda *_: None,
        lambda: None,
    )  # fmt: skip
    task = asyncio.create_task(dial.run())
    try:
        for _ in range(20):
            await asyncio.sleep(0)
        assert link.is_open
        now[0] += passes
        dial.wake()
        if lost:
            async with asyncio.timeout(5):
                await again.wait()
        else:
            await asyncio.sleep(0.3)
            assert not again.is_set()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

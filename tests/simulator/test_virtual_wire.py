"""The client's end of a WebSocket in virtual time: what is delivered without a way, beside what is launched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosedError

from polymirror.simulator.frames import REPLY, Frame
from polymirror.simulator.virtual import run_virtual
from polymirror.simulator.virtual.wire import VirtualWire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def play(main: Callable[[VirtualWire, list[bytes]], Coroutine[None, None, None]]) -> list[bytes]:
    """Run with a wire whose way takes a second, and return what its reader was handed."""
    handed: list[bytes] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        wire = VirtualWire(loop, lambda: 1.0, max_message=8, to_venue=lambda _: None, left=lambda: None)  # type: ignore[arg-type]
        await main(wire, handed)

    run_virtual(run)
    return handed


def test_a_delivered_text_is_handed_over_at_once() -> None:
    async def main(wire: VirtualWire, handed: list[bytes]) -> None:
        order: list[str] = []
        wire.on_bytes = lambda: order.append("bytes")
        wire.on_message = lambda data: (order.append("message"), handed.append(data))[0]
        wire.deliver("a")
        assert order == ["bytes", "message"]

    assert play(main) == [b"a"]


def test_it_never_overtakes_what_is_under_way_or_unread() -> None:
    async def main(wire: VirtualWire, handed: list[bytes]) -> None:
        wire.on_message = handed.append
        wire.launch(Frame("a", REPLY), asyncio.get_running_loop().time())
        wire.deliver("b")
        await asyncio.sleep(5)
        # Both lie unread by now.
        wire.deliver("c")
        assert handed == []
        handed.extend([await wire.recv() for _ in range(3)])

    assert play(main) == [b"a", b"b", b"c"]


def test_without_a_reader_of_messages_it_waits_for_recv() -> None:
    async def main(wire: VirtualWire, handed: list[bytes]) -> None:
        wire.deliver("a")
        handed.append(await wire.recv())

    assert play(main) == [b"a"]


def test_one_that_is_too_large_ends_the_connection_and_nothing_follows() -> None:
    async def main(wire: VirtualWire, handed: list[bytes]) -> None:
        wire.on_message = handed.append
        wire.deliver("123456789")
        wire.deliver("a")
        with pytest.raises(ConnectionClosedError, match="1009"):
            await wire.recv()

    assert play(main) == []

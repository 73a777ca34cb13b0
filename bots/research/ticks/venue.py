"""A venue that says again what it said: recorded frames, each when it was received, on a network in virtual time.

The mirror connects to it as to the real one. Its HTTP services know the time of day and nothing else, because what they
would have answered was not recorded: a book that only REST could have proven is not proven here, and not traded on.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from polymirror.config import Endpoints
from polymirror.simulator.frames import REPLY, Answer, Call, Frame
from polymirror.simulator.virtual.loop import VirtualLoop, VirtualTimeError
from polymirror.simulator.virtual.transport import VirtualTransport
from polymirror.simulator.virtual.wire import VirtualWire
from polymirror.venue.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bots.research.ticks.recording import Received
    from polymirror.config import StreamConfig

HOST: Final = "recording.test"
ANSWER_S: Final = 0.05
"""How long an answer by HTTP takes, there and back."""

NOT_RECORDED: Final = Answer(503, '{"error":"not recorded"}')


class RecordedVenue:
    """Make one inside :func:`~polymirror.simulator.virtual.run_virtual`. Raises VirtualTimeError elsewhere."""

    def __init__(self, frames: Sequence[Received]) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise VirtualTimeError("a recorded venue needs virtual time: start the program with run_virtual")
        self.endpoints: Endpoints = Endpoints.at(f"https://{HOST}")
        self.network: Network = Network(
            open_wire=self._open,
            check=lambda _url: None,
            transport=lambda: VirtualTransport(self._submit),
            monotonic=loop.time,
            wall=loop.wall,
        )
        self._loop = loop
        self._frames = frames
        self._times = [at for at, _ in frames]

    async def _open(
        self, _url: str, config: StreamConfig, _headers: Mapping[str, str], _wall_now: Callable[[], float]
    ) -> VirtualWire:
        """Connect: what is received from now on comes here."""
        over = False

        def left() -> None:
            nonlocal over
            over = True

        def heard(text: str) -> None:
            if text == "PING":
                wire.launch(Frame("PONG", REPLY), self._loop.time())

        wire = VirtualWire(
            self._loop, lambda: 0.0, max_message=config.max_message, to_venue=heard, left=left
        )  # recorded times hold the way already

        def send(index: int) -> None:
            now_ms = self._loop.wall_ms()
            while index < len(self._times) and self._times[index] <= now_ms and not over:
                wire.deliver(self._frames[index][1])
                index += 1
            if index < len(self._times) and not over:
                self._loop.call_at(self._loop.when(self._times[index]), send, index)

        self._loop.call_soon(send, bisect_left(self._times, self._loop.wall_ms()))
        return wire

    def _submit(self, _host: str, call: Call, reply: Callable[[Answer | Exception], None]) -> None:
        answer = Answer(200, str(int(self._loop.wall()))) if call.path == "/time" else NOT_RECORDED
        self._loop.call_later(ANSWER_S, reply, answer)

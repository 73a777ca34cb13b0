"""HTTP services of the simulated venue in virtual time, without the rest of the venue."""

from __future__ import annotations

import asyncio

import httpx
from attrs import define, field

from polymirror.simulator.virtual.transport import VirtualTransport
from polymirror.venue.network import Network


@define(eq=False)
class Services:
    """Carries calls to services; ``down`` until this virtual second nobody can connect."""

    services: list
    latency: float = 0.02
    down: float = 0.0
    tried: int = 0
    hosts: set = field(factory=set)

    def network(self):
        loop = asyncio.get_running_loop()
        return Network(
            transport=lambda: VirtualTransport(self._submit),
            monotonic=loop.time,
            wall=loop.wall,
        )

    def _submit(self, host, call, reply):
        loop = asyncio.get_running_loop()
        self.tried += 1
        self.hosts.add(host)
        if loop.time() < self.down:
            loop.call_later(self.latency, reply, httpx.ConnectError(f"cannot reach {call.path}"))
            return
        answers = (service.answer(call, int(loop.wall() * 1000)) for service in self.services)
        answer = next(answer for answer in answers if answer is not None)
        if not answer.hangs:
            loop.call_later(self.latency * 2 + answer.delay_ms / 1000, reply, answer)

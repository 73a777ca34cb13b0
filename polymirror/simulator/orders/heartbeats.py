"""The dead man's switch: who began to send heartbeats and stops has all orders cancelled (protocol.md 7.2).

Pure: an event of the exchange's agenda looks whether another heartbeat came.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from polymirror.simulator.orders.rules import Refused

if TYPE_CHECKING:
    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.orders.broker import Broker

PATIENCE_MS: Final = 10_000
"""How long the venue waits for the next heartbeat."""

AGAIN_MS: Final = 1_000
"""When it tries again while the matching engine is away, or something is held back."""


class Heartbeats:
    """The last heartbeat of each account."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        # By address: the id that the next heartbeat has to name.
        self._expected: dict[str, str] = {}
        self._count = 0

    def beat(self, address: str, given: str, now_ms: int) -> tuple[bool, str]:
        """Take a heartbeat: whether it named the right one, and the id to name next. An empty one begins."""
        expected = self._expected.get(address)
        if expected is not None and given != expected:
            return False, expected
        self._count += 1
        fresh = sha256(f"heartbeat/{address}/{self._count}".encode()).hexdigest()[:32]
        self._expected[address] = fresh
        self._broker.exchange.agenda.add(now_ms + PATIENCE_MS, partial(self._look, address, fresh))
        return True, fresh

    def _look(self, address: str, last: str, at_ms: int, out: Output) -> None:
        del out  # the exchange sends what the cancelling changes
        if self._expected.get(address) != last:
            return
        try:
            _, kept = self._broker.cancel_all(address, at_ms)
        except Refused:
            # The engine is away, and nothing can be matched either.
            kept = {address: ""}
        if kept:
            # What is held back may come to rest yet.
            self._broker.exchange.agenda.add(at_ms + AGAIN_MS, partial(self._look, address, last))
        else:
            del self._expected[address]

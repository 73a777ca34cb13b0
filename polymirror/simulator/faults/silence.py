"""Faults of connections that go silent while they look well, and of the answers to PING.

One small class each, with an id, what happens, and where it was seen. Listed in
:mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from polymirror.simulator.faults.base import Fault
from polymirror.simulator.frames import PRICE_CHANGE, REPLY, Frame

if TYPE_CHECKING:
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.frames import Item


class SilentSocket(Fault):
    """Nothing but replies to PING arrives any more on a connection.

    Seen by users and published studies repeatedly: subscription accepted, PONG fine, no data for
    minutes to hours.
    """

    id: ClassVar[str] = "silent_socket"
    default_share: ClassVar[float] = 0.0002
    default_length_ms: ClassVar[int] = 20_000
    passes: ClassVar[frozenset[str]] = frozenset({REPLY})

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, drop all data."""
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and item.kind == PRICE_CHANGE and self.strikes(now_ms):
                spell = self.begin(link, now_ms)
            if spell is None or item.kind in self.passes:
                passed.append(item)
        return passed


class HalfOpenSocket(SilentSocket):
    """Nothing at all arrives any more, no PONG and no closing: the other end is gone without a word.

    Seen in a study that let sockets idle: after some 125 seconds they were dead without a close frame.
    Also what a lost route or a crashed proxy looks like.
    """

    id: ClassVar[str] = "half_open_socket"
    default_length_ms: ClassVar[int] = 120_000
    passes: ClassVar[frozenset[str]] = frozenset()


class LatePong(Fault):
    """The answer to a PING comes late, though the connection is well.

    Seen because PONG queues behind data: 0.14 s in the middle and 11.4 s at worst on busy sockets.
    """

    id: ClassVar[str] = "late_pong"
    default_share: ClassVar[float] = 0.1
    default_length_ms: ClassVar[int] = 11_400

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some answers back."""
        passed = self.release(link, now_ms)
        for item in items:
            is_pong = isinstance(item, Frame) and item.kind == REPLY and item.text == "PONG"
            if is_pong and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.plan.length_ms)
            else:
                passed.append(item)
        return passed

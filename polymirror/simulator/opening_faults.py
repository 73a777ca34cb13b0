"""Faults of the books that answer a subscription: lost, late, huge, or never followed by anything.

One small class each, with an id, what happens, and where it was seen. Listed in
:mod:`polymirror.simulator.fault_kinds`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from polymirror.simulator.fault_base import Fault
from polymirror.simulator.frames import OPENING, REPLY, Frame

if TYPE_CHECKING:
    from polymirror.simulator.fault_base import Link
    from polymirror.simulator.frames import Item

LARGE_BYTES = 2**20 + 2**16
"""What a padded opening frame exceeds: the default limit of common WebSocket clients is 1 MiB."""


class LostOpening(Fault):
    """The books that answer a subscription never come; the updates do.

    Seen in a recording: 822 deltas of a market before any book. Also whenever a subscription names
    more than about 500 tokens.
    """

    id: ClassVar[str] = "lost_opening"
    default_share: ClassVar[float] = 0.2
    kind: ClassVar[str] = OPENING

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Drop some opening arrays."""
        del link
        return [item for item in items if not (self._is_opening(item) and self.strikes(now_ms))]

    def _is_opening(self, item: Item) -> bool:
        return isinstance(item, Frame) and item.kind == OPENING and self.concerns(item)


class DelayedOpening(LostOpening):
    """The books that answer a subscription come after updates that follow them.

    Seen as deltas before the first book: several clients drop them, apply them to an empty book, or
    throw an error.
    """

    id: ClassVar[str] = "delayed_opening"
    default_length_ms: ClassVar[int] = 1_500

    @property
    def max_delay_ms(self) -> int:
        """How long an opening array waits."""
        return self.plan.length_ms

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some opening arrays back while everything else passes."""
        passed = self.release(link, now_ms)
        for item in items:
            if self._is_opening(item) and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.plan.length_ms)
            else:
                passed.append(item)
        return passed


class LargeOpening(LostOpening):
    """The opening frame is larger than 1 MiB, as one with the books of 600 tokens is.

    Seen in a recorder's wire notes: 1 MiB is the usual limit of WebSocket clients, so it had to be
    raised. Here white space inside the array makes up the size.
    """

    id: ClassVar[str] = "large_opening"
    default_share: ClassVar[float] = 0.05

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Pad some opening arrays."""
        del link
        return [
            item._replace(text=f"[{' ' * LARGE_BYTES}{item.text[1:]}")
            if isinstance(item, Frame) and self._is_opening(item) and self.strikes(now_ms)
            else item
            for item in items
        ]


class SilentSubscription(LostOpening):
    """A subscription is accepted, but nothing is ever sent for it: no books and no updates.

    Seen in an issue of the venue's client: subscribed, PONG fine, and not one message for the tokens,
    for up to hours. Here it lasts for the planned length.
    """

    id: ClassVar[str] = "silent_subscription"
    default_share: ClassVar[float] = 0.1
    default_length_ms: ClassVar[int] = 60_000

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, drop everything about the markets that the opening named."""
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and isinstance(item, Frame) and self._is_opening(item) and self.strikes(now_ms):
                markets = {book["market"] for book in json.loads(item.text)}
                spell = self.begin(link, now_ms, " ".join(sorted(markets)))
            if spell is None or not isinstance(item, Frame) or item.kind == REPLY:
                passed.append(item)
            elif item.kind == OPENING:
                if not any(market in item.text for market in spell.subject.split()):
                    passed.append(item)
            elif item.market not in spell.subject:
                passed.append(item)
        return passed

"""Faults of single updates: lost, doubled, reordered, late or wrong price changes and prints.

One small class each, with an id and what was seen where. They change frames only, never the
exchange, so the truth to compare with stays what it was. Listed in
:mod:`polymirror.simulator.fault_kinds`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from polymirror.simulator.faults import Fault
from polymirror.simulator.frames import (
    FULL_DEPTH_KINDS,
    LAST_TRADE_PRICE,
    PRICE_CHANGE,
    Frame,
)

if TYPE_CHECKING:
    from polymirror.simulator.faults import Link
    from polymirror.simulator.frames import Item

MAX_CROSSED_MESSAGES = 3


def _dumps(payload: object) -> str:
    return json.dumps(payload, separators=(", ", ":"))


class LostDelta(Fault):
    """A price change never arrives. Seen in a live study: one missed order, found only by the hash."""

    id: ClassVar[str] = "lost_delta"
    default_share: ClassVar[float] = 0.002

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Drop some price changes."""
        del link
        return [item for item in items if not (self._is_delta(item) and self.strikes(now_ms))]

    def _is_delta(self, item: Item) -> bool:
        return isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.concerns(item)


class DuplicatedDelta(LostDelta):
    """The same price change again within 120 ms. Seen 60 times in three busy minutes of a live study."""

    id: ClassVar[str] = "duplicated_delta"
    default_share: ClassVar[float] = 0.01

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Send some price changes a second time, a little later."""
        passed: list[Item] = [*self.release(link, now_ms), *items]
        for item in items:
            if self._is_delta(item) and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.rng.randint(1, 120))
        return passed


class ReorderedDeltas(LostDelta):
    """A price change arrives after the one that follows it. Seen around opening books: 1 ms older ones."""

    id: ClassVar[str] = "reordered_deltas"
    default_share: ClassVar[float] = 0.005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some price changes back until the next one has passed."""
        passed = self.release(link, now_ms)
        for item in items:
            is_delta = self._is_delta(item)
            held = link.held.get(self.id)
            if is_delta and not held and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.plan.length_ms)
                continue
            passed.append(item)
            if is_delta and held:
                passed += [waiting for _, waiting in held]
                link.held[self.id] = []
        return passed


class WrongHash(Fault):
    """The stated hash is not the book's, for some time. The venue changed its hash more than once."""

    id: ClassVar[str] = "wrong_hash"
    default_share: ClassVar[float] = 0.0005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, replace the hashes of price changes."""
        passed: list[Item] = []
        for item in items:
            if isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.concerns(item):
                if self.lasting(link, now_ms) is None and self.strikes(now_ms):
                    self.begin(link, now_ms)
                if self.lasting(link, now_ms) is not None:
                    passed.append(self._spoil(item))
                    continue
            passed.append(item)
        return passed

    def _spoil(self, frame: Frame) -> Frame:
        payload: dict[str, Any] = json.loads(frame.text)
        for change in payload["price_changes"]:
            change["hash"] = f"{self.rng.getrandbits(160):040x}"
        return frame._replace(text=_dumps(payload))


class LateTradePrice(Fault):
    """The hash contains a trade price that is announced long after, or never seems to be.

    Reported for the venue's hash: a price was needed 88 ms before its announcement. Here the
    announcement is held back for ``length_ms``.
    """

    id: ClassVar[str] = "late_trade_price"
    default_share: ClassVar[float] = 0.3

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some trade announcements back."""
        passed = self.release(link, now_ms)
        for item in items:
            is_print = isinstance(item, Frame) and item.kind == LAST_TRADE_PRICE and self.concerns(item)
            if is_print and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.plan.length_ms)
            else:
                passed.append(item)
        return passed


class CrossedMessages(Fault):
    """A removal comes a few messages late, so that the book looks crossed meanwhile, then heals.

    Reported by users of another client library: the bid at the old ask price arrives first.
    """

    id: ClassVar[str] = "crossed_messages"
    default_share: ClassVar[float] = 0.2

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some removals until a few price changes of the market have passed."""
        passed = self.release(link, now_ms)
        for item in items:
            if not isinstance(item, Frame) or item.kind not in {PRICE_CHANGE, *FULL_DEPTH_KINDS}:
                passed.append(item)
                continue
            held = link.held.get(self.id)
            if held and self._must_go_first(item, [waiting for _, waiting in held]):
                passed += [waiting for _, waiting in held]
                link.held[self.id] = []
                held = None
            is_removal = item.kind == PRICE_CHANGE and '"size":"0"' in item.text and self.concerns(item)
            if is_removal and not held and self.strikes(now_ms):
                link.until[self.id] = (MAX_CROSSED_MESSAGES, item.market)
                self.hold(link, item, now_ms + min(self.plan.length_ms, 200))
                continue
            passed.append(item)
            left, market = link.until.get(self.id, (0, ""))
            if held and item.market == market:
                link.until[self.id] = (left - 1, market)
                if left <= 1:
                    passed += [waiting for _, waiting in held]
                    link.held[self.id] = []
        return passed

    def _must_go_first(self, frame: Frame, held: list[Item]) -> bool:
        """A whole book, or a change of the same level, would make a late removal wrong for good."""
        if frame.kind in FULL_DEPTH_KINDS:
            return True
        changes = json.loads(frame.text)["price_changes"]
        levels = {(c["asset_id"], c["price"]) for c in changes}
        return any(
            (c["asset_id"], c["price"]) in levels
            for item in held
            if isinstance(item, Frame)
            for c in json.loads(item.text)["price_changes"]
        )

"""Faults of whole connections: frozen tokens, silence, resets, lost openings and garbage.

One small class each, with an id and what was seen where. Listed in
:mod:`polymirror.simulator.fault_kinds`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from polymirror.simulator.faults import Fault, cut
from polymirror.simulator.frames import (
    BOOK,
    OPENING,
    PRICE_CHANGE,
    REPLY,
    Frame,
)

if TYPE_CHECKING:
    from polymirror.simulator.faults import Link
    from polymirror.simulator.frames import Item


def _dumps(payload: object) -> str:
    return json.dumps(payload, separators=(", ", ":"))


class FrozenToken(Fault):
    """One token gets no more updates while the other and the socket live on: the ghost bid.

    Reported as a silent freeze of single books that may last for hours.
    """

    id: ClassVar[str] = "frozen_token"
    default_share: ClassVar[float] = 0.0005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, cut everything about its token out of the frames."""
        passed: list[Item] = []
        for item in items:
            if not isinstance(item, Frame) or item.kind not in {PRICE_CHANGE, BOOK}:
                passed.append(item)
                continue
            token = self.lasting(link, now_ms)
            if token is None and item.kind == PRICE_CHANGE and self.concerns(item) and self.strikes(now_ms):
                token = self._choose(item)
                self.begin(link, now_ms, token)
            if token is None or token not in item.text:
                passed.append(item)
            elif item.kind == PRICE_CHANGE:
                passed.append(_without(item, token))
        return passed

    def _choose(self, frame: Frame) -> str:
        tokens: list[str] = [change["asset_id"] for change in json.loads(frame.text)["price_changes"]]
        return self.rng.choice([token for token in tokens if not self.plan.tokens or token in self.plan.tokens])


def _without(frame: Frame, token: str) -> Frame:
    payload = json.loads(frame.text)
    payload["price_changes"] = [change for change in payload["price_changes"] if change["asset_id"] != token]
    return frame._replace(text=_dumps(payload))


class SilentSocket(Fault):
    """Nothing but PONG arrives any more on a connection. Reported for the venue's sockets repeatedly."""

    id: ClassVar[str] = "silent_socket"
    default_share: ClassVar[float] = 0.0002

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, let plain replies pass alone."""
        passed: list[Item] = []
        for item in items:
            data = isinstance(item, Frame) and item.kind not in {REPLY, OPENING}
            if data and self.lasting(link, now_ms) is None and self.strikes(now_ms):
                self.begin(link, now_ms)
            if self.lasting(link, now_ms) is None or not isinstance(item, Frame) or item.kind == REPLY:
                passed.append(item)
        return passed


class Disconnect(Fault):
    """The connection dies without a close frame, as every long recording of the venue shows."""

    id: ClassVar[str] = "disconnect"
    default_share: ClassVar[float] = 0.0002

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Cut the connection at some frame."""
        del link
        for index, item in enumerate(items):
            if isinstance(item, Frame) and self.concerns(item) and self.strikes(now_ms):
                return cut(items, index)
        return items


class LostOpening(Fault):
    """The books that answer a subscription never come. Seen in a recording: 822 deltas before any book."""

    id: ClassVar[str] = "lost_opening"
    default_share: ClassVar[float] = 0.2

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Drop some opening arrays."""
        del link
        return [
            item
            for item in items
            if not (isinstance(item, Frame) and item.kind == OPENING and self.concerns(item) and self.strikes(now_ms))
        ]


class GarbageFrame(Fault):
    """A frame that is no message: cut JSON, NaN, wrong types, unknown kinds and tokens, plain text."""

    id: ClassVar[str] = "garbage_frame"
    default_share: ClassVar[float] = 0.005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Put garbage before some frames; the frames themselves arrive."""
        del link
        passed: list[Item] = []
        for item in items:
            if isinstance(item, Frame) and item.kind != OPENING and self.strikes(now_ms):
                passed.append(item._replace(text=self._garbage(item), kind=REPLY, market="", token=""))
            passed.append(item)
        return passed

    def _garbage(self, frame: Frame) -> str:
        kinds = (
            frame.text[: self.rng.randint(1, max(1, len(frame.text) - 1))],
            '{"event_type":"price_change","market":"0x00","price_changes":[{"asset_id":"1","price":NaN}]}',
            '{"event_type":"book","market":7,"asset_id":null,"bids":{},"asks":"none","timestamp":-1,"hash":[]}',
            '{"event_type":"something_new","market":"0x00","timestamp":"1","value":{"nested":[1,2,3]}}',
            (
                '{"event_type":"price_change","market":"0x00","timestamp":"1","price_changes":[{"asset_id":"12",'
                '"price":"0.5","size":"-3","side":"HOLD","hash":"","best_bid":"x","best_ask":"y"}]}'
            ),
            "INVALID MESSAGE",
            "[]",
            "",
            "<html><body>502 Bad Gateway</body></html>",
        )
        return self.rng.choice(kinds)

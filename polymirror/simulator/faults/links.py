"""Faults of connections: frozen books, endings, refusals and strange frames.

One small class each, with an id, what happens, and where it was seen. Listed in
:mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from polymirror.simulator.faults.base import Fault
from polymirror.simulator.faults.deltas import dumps
from polymirror.simulator.frames import BOOK, PRICE_CHANGE, REPLY, Close, Frame, Reset

if TYPE_CHECKING:
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.frames import Item


class FrozenToken(Fault):
    """One token gets no more updates on a connection while the other and the socket live on.

    Seen as ghost bids: reports of single books that stood still for up to hours on healthy sockets.
    """

    id: ClassVar[str] = "frozen_token"
    default_share: ClassVar[float] = 0.0005
    default_length_ms: ClassVar[int] = 20_000
    # After the freeze, the next delta's hash shows what was missed; during it, there is none.
    hash_visible: ClassVar[bool] = False

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, cut everything about its token out of the frames."""
        passed: list[Item] = []
        for item in items:
            if not isinstance(item, Frame) or item.kind not in {PRICE_CHANGE, BOOK}:
                passed.append(item)
                continue
            spell = self.lasting(link, now_ms)
            if spell is None and item.kind == PRICE_CHANGE and self.concerns(item) and self.strikes(now_ms):
                spell = self.begin(link, now_ms, self._choose(item))
            if spell is None or spell.subject not in item.text:
                passed.append(item)
            elif item.kind == PRICE_CHANGE:
                passed.append(_without(item, spell.subject))
        return passed

    def _choose(self, frame: Frame) -> str:
        tokens: list[str] = [change["asset_id"] for change in json.loads(frame.text)["price_changes"]]
        return self.rng.choice([token for token in tokens if not self.plan.tokens or token in self.plan.tokens])


def _without(frame: Frame, token: str) -> Frame:
    payload = json.loads(frame.text)
    payload["price_changes"] = [change for change in payload["price_changes"] if change["asset_id"] != token]
    return frame._replace(text=dumps(payload))


class FrozenMarket(Fault):
    """One market, both tokens, gets no more messages on a connection while other markets do.

    Seen where many markets share a socket: with hundreds of tokens subscribed, measured miss rates
    were 38 to 81 percent for some of them, and an issue reports single instruments gone silent.
    """

    id: ClassVar[str] = "frozen_market"
    default_share: ClassVar[float] = 0.0005
    default_length_ms: ClassVar[int] = 20_000

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, drop every frame of its market."""
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if not isinstance(item, Frame):
                passed.append(item)
                continue
            if spell is None and item.kind == PRICE_CHANGE and self.concerns(item) and self.strikes(now_ms):
                spell = self.begin(link, now_ms, item.market)
            if spell is None or item.market != spell.subject:
                passed.append(item)
        return passed


class Disconnect(Fault):
    """The connection dies without a close frame.

    Seen in a published study of the stream: idle and slow connections were dropped without a word.
    """

    id: ClassVar[str] = "disconnect"
    default_share: ClassVar[float] = 0.0002
    ending: ClassVar[Item] = Reset()

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """End the connection instead of some price change."""
        del link
        for index, item in enumerate(items):
            if isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.concerns(item) and self.strikes(now_ms):
                return [*items[:index], self.close()]
        return items

    def close(self) -> Item:
        """How the connection ends this time."""
        return self.ending


class CloseNormal(Disconnect):
    """The venue closes with 1000 although the markets go on.

    Not seen while markets trade: the venue says 1000 when everything subscribed is resolved, and a
    client must not take the code alone for that.
    """

    id: ClassVar[str] = "close_1000"
    ending: ClassVar[Item] = Close(1000, "")


class ClosePolicy(Disconnect):
    """The venue closes with 1008 in the middle of a good connection.

    Seen in an issue about a PING before the subscription ("invalid subscription payload"); later in a
    connection it is a precaution, as the code stands for any limit that a venue may enforce.
    """

    id: ClassVar[str] = "close_1008"
    ending: ClassVar[Item] = Close(1008, "policy violation")


class CloseTryLater(Disconnect):
    """The venue closes with 1013, "try again later", without any backlog of the client.

    Seen with the reason "slow consumer"; without a backlog it is a precaution.
    """

    id: ClassVar[str] = "close_1013"
    ending: ClassVar[Item] = Close(1013, "try again later")


class LyingClose(Disconnect):
    """The venue closes because "all subscribed assets resolved", with any code, although the markets go on.

    Not seen while markets trade; the reason is free text, so a client must not take it for news about a market.
    """

    id: ClassVar[str] = "lying_close"
    default_share: ClassVar[float] = 0.001
    codes: ClassVar[tuple[int, ...]] = (1000, 1001, 1006, 1008, 1011, 1012, 1013, 4000)

    def close(self) -> Item:
        """Any code, and the reason of a settlement."""
        return Close(self.rng.choice(self.codes), "all subscribed assets resolved")


class RefusedConnection(Fault):
    """An attempt to connect fails.

    Not reported by name: any restart of a front server, and any limit on connections, looks like this.
    """

    id: ClassVar[str] = "refused_connection"
    default_share: ClassVar[float] = 0.2

    def refuses(self, now_ms: int) -> bool:
        """Refuse some attempts."""
        return self.strikes(now_ms)


class GarbageFrame(Fault):
    """A frame that is no message comes in between: cut JSON, NaN, wrong types, plain text, HTML.

    Seen as plain-text replies and empty frames in wire notes; the rest is a precaution.
    """

    id: ClassVar[str] = "garbage_frame"
    default_share: ClassVar[float] = 0.005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Put garbage before some frames; the frames themselves arrive."""
        del link
        passed: list[Item] = []
        for item in items:
            if isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.strikes(now_ms):
                passed.append(item._replace(text=self._garbage(item), kind=REPLY, market="", token=""))
            passed.append(item)
        return passed

    def _garbage(self, frame: Frame) -> str:
        kinds = (
            frame.text[: self.rng.randint(1, max(1, len(frame.text) - 1))],
            '{"event_type":"price_change","market":"0x00","price_changes":[{"asset_id":"1","price":NaN}]}',
            '{"event_type":"book","market":7,"asset_id":null,"bids":{},"asks":"none","timestamp":-1,"hash":[]}',
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


class UnknownEvent(Fault):
    """An event of a kind that nobody knows comes in between, alone or in an array.

    Seen whenever the venue adds one: strict parsers crashed on new fields, others dropped whole kinds
    of events without a word.
    """

    id: ClassVar[str] = "unknown_event"
    default_share: ClassVar[float] = 0.005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Put an event before some frames; the frames themselves arrive."""
        del link
        passed: list[Item] = []
        for item in items:
            if isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.strikes(now_ms):
                event = {
                    "event_type": f"something_new_{self.rng.randrange(10)}",
                    "market": item.market,
                    "timestamp": str(item.at_ms),
                    "value": {"nested": [1, None, "text"]},
                }
                text = dumps([event, event] if self.rng.random() < 0.5 else event)
                passed.append(item._replace(text=text, kind=REPLY, market="", token=""))
            passed.append(item)
        return passed

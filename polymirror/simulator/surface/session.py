"""One client connection as the venue sees it: subscriptions in, frames out.

Pure: text and time go in, frames and closings come out. The ASGI app keeps one session for each
socket, a simulated network one for each connection. What it answers follows published measurements
of the venue, wherever sources agree.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from polymirror.simulator.frames import CUSTOM_KINDS, NEW_MARKET, OPENING, REPLY, Close, Frame, Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.simulator.exchange.exchange import Exchange

MAX_SNAPSHOT_TOKENS = 500
"""A subscription that names more tokens is accepted, but gets no opening books."""

MAX_SUBSCRIBED_TOKENS = 100_000
"""More tokens than this on one connection are refused as an invalid operation."""

POLICY_VIOLATION = 1008
NORMAL = 1000
INVALID_PAYLOAD = Close(POLICY_VIOLATION, "invalid subscription payload")
ALL_RESOLVED = Close(NORMAL, "all subscribed assets resolved")


class Session:
    """The venue's side of one connection."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        # Set by every subscribing frame, and only by those: the last one decides.
        self.custom_features: bool = False
        # True once the first frame was a valid subscription.
        self.subscribed: bool = False
        # True after a closing was returned: nothing more is sent or understood.
        self.closed: bool = False
        # With the market that each was counted for, "" if it was unknown: the exchange may list or forget it later.
        self._tokens: dict[str, str] = {}
        # Traffic is per market: it flows while any of a market's tokens is subscribed.
        self._markets: dict[str, int] = {}
        self._over_seen = exchange.over_count

    @property
    def tokens(self) -> tuple[str, ...]:
        """The subscribed tokens, in the order in which they came."""
        return tuple(self._tokens)

    def receive(self, text: str, now_ms: int) -> list[Item]:
        """What the venue answers to a text frame of the client, at once."""
        if self.closed:
            return []
        if not self.subscribed:
            return self._first(_parsed(text), now_ms)
        if text == "PING":
            return [_reply("PONG", now_ms)]
        message = _parsed(text)
        return [_reply("INVALID MESSAGE", now_ms)] if message is None else self._operate(message, now_ms)

    def outgoing(self, frames: Sequence[Frame]) -> list[Item]:
        """Those of the exchange's frames that this connection receives, and the closing if it ends.

        Call it after every step of the exchange, even when the step sent nothing.
        """
        if self.closed or not self.subscribed:
            return []
        if not frames and self._exchange.over_count == self._over_seen:
            return []
        markets, custom = self._markets, self.custom_features
        items: list[Item] = [
            frame
            for frame in frames
            if (frame.kind not in CUSTOM_KINDS and frame.market in markets)
            or (custom and (frame.market in markets or frame.kind == NEW_MARKET))
        ]
        if self._exchange.over_count != self._over_seen:
            self._over_seen = self._exchange.over_count
            items += self._close_when_resolved()
        return items

    def _first(self, message: dict[str, Any] | None, now_ms: int) -> list[Item]:
        """Only a subscription may come first, not even a PING."""
        tokens = None if message is None else _token_list(message.get("assets_ids"))
        wanted = {} if message is None else message
        if tokens is None or "operation" in wanted or str(wanted.get("type", "")).lower() != "market":
            return self._close(INVALID_PAYLOAD)
        self.subscribed = True
        return self._subscribe(wanted, tokens, now_ms)

    def _operate(self, message: dict[str, Any], now_ms: int) -> list[Item]:
        tokens, operation = _token_list(message.get("assets_ids")), str(message.get("operation"))
        if tokens is None or operation not in {"subscribe", "unsubscribe"}:
            return [_reply("INVALID OPERATION", now_ms)]
        if operation == "unsubscribe":
            self._unsubscribe(tokens)
            return []
        # The flag counts before the tokens are looked at: naming active ones again toggles only it.
        self.custom_features = bool(message.get("custom_feature_enabled", False))
        if not tokens:
            return [_reply("NO NEW ASSETS", now_ms)]
        fresh = [token for token in dict.fromkeys(tokens) if token not in self._tokens]
        if not fresh or len(fresh) + len(self._tokens) > MAX_SUBSCRIBED_TOKENS:
            return [_reply("INVALID OPERATION", now_ms)]
        return self._subscribe(message, fresh, now_ms)

    def _subscribe(self, message: dict[str, Any], tokens: list[str], now_ms: int) -> list[Item]:
        self.custom_features = bool(message.get("custom_feature_enabled", False))
        fresh = [token for token in dict.fromkeys(tokens) if token not in self._tokens]
        for token in fresh:
            market = self._exchange.market_of(token).condition_id if self._exchange.knows(token) else ""
            self._tokens[token] = market
            if market:
                self._markets[market] = self._markets.get(market, 0) + 1
        if not message.get("initial_dump", True) or len(fresh) > MAX_SNAPSHOT_TOKENS:
            return []
        return [Frame(self._exchange.opening_books(fresh), OPENING, "", "", now_ms)]

    def _unsubscribe(self, tokens: list[str]) -> None:
        for token in tokens:
            market = self._tokens.pop(token, "")
            if market:
                self._markets[market] -= 1
                if not self._markets[market]:
                    del self._markets[market]

    def _close_when_resolved(self) -> list[Item]:
        known = [token for token in self._tokens if self._exchange.knows(token)]
        over = bool(known) and all(self._exchange.is_over(token) for token in known)
        return self._close(ALL_RESOLVED) if over else []

    def _close(self, close: Close) -> list[Item]:
        self.closed = True
        return [close]


def _reply(text: str, now_ms: int) -> Frame:
    return Frame(text, REPLY, "", "", now_ms)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _token_list(value: object) -> list[str] | None:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        return None
    return value

"""The venue's own Python client: its parser and event models, and the dict book that its users must write.

Its stream delivers events and keeps no book; a reconnection is invisible to the reader of the events. The dict
book is written carefully: it starts with a ``book`` event, and takes no change before one.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from polymarket._internal.streams.clob.heartbeat import CLOB_HEARTBEAT_INTERVAL_S, CLOB_HEARTBEAT_STALE_S
from polymarket._internal.streams.clob.market_protocol import parse_events
from polymarket._internal.ws.backoff import DEFAULT_BASE_DELAY_S, DEFAULT_MAX_DELAY_S
from polymarket._internal.ws.connection import DEFAULT_WATCHDOG_INTERVAL_S

from benchmarks.peers.base import MEBIBYTE, Peer, Side, Transport

if TYPE_CHECKING:
    from random import Random

    from polymirror.config import EngineConfig

Levels = dict[Decimal, Decimal]


def _as_side(levels: Levels) -> Side:
    return [(int(price * 10_000), int(size * 1_000_000)) for price, size in levels.items()]


class OfficialModels(Peer):
    """polymarket-client with a dict book behind it."""

    name = "polymarket-client + dict"
    transport = Transport(
        ping_interval=CLOB_HEARTBEAT_INTERVAL_S,
        pong_timeout=CLOB_HEARTBEAT_STALE_S,
        check_interval=DEFAULT_WATCHDOG_INTERVAL_S,
        max_message=MEBIBYTE,
        backoff_base=DEFAULT_BASE_DELAY_S,
        backoff_cap=DEFAULT_MAX_DELAY_S,
    )
    promise = (
        "A stream of typed events, reconnected automatically, with counters of dropped events. It promises no order "
        "book; keeping one is up to its users."
    )
    driven = (
        "Its own `parse_events` and models for every frame, its own constants for heartbeat, watchdog and backoff; "
        "the book is a dict a side, started by a `book` event. The event queue is read at once, so nothing overflows."
    )

    def __init__(self, config: EngineConfig, rng: Random) -> None:
        super().__init__(config, rng)
        self.levels: dict[str, tuple[Levels, Levels]] = {}

    def take(self, text: str) -> None:
        """Parse as its read loop does, and apply the events."""
        if text == "PONG":
            return
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError:
            self.errors += 1
            return
        events, dropped = parse_events(parsed)
        self.errors += dropped
        for event in events:
            self._apply(event)

    def _apply(self, event: Any) -> None:
        payload = event.payload
        if event.type == "book":
            bids = {level.price: level.size for level in payload.bids}
            asks = {level.price: level.size for level in payload.asks}
            self.levels[payload.asset_id] = bids, asks
            self.touch(payload.asset_id)
        elif event.type == "price_change":
            for change in payload.price_changes:
                book = self.levels.get(change.asset_id)
                if book is None:
                    continue
                side = book[change.side == "SELL"]
                if change.size:
                    side[change.price] = change.size
                else:
                    side.pop(change.price, None)
                self.touch(change.asset_id)

    def sides(self, token: str) -> tuple[Side, Side] | None:
        """The dicts."""
        book = self.levels.get(token)
        return None if book is None else (_as_side(book[0]), _as_side(book[1]))


ADAPTER = OfficialModels

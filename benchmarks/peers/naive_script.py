"""The script that everybody writes first: ``json`` and two dicts for each token.

It reconnects, and it takes what comes: deltas into whatever it holds, books in place of it. Whoever reads it gets
what is there.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from benchmarks.peers.base import MEBIBYTE, Peer, Side, Transport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from polymirror.config import EngineConfig


@lru_cache(maxsize=65_536)
def _units(wire: str, scale: int) -> int:
    return round(float(wire) * scale)


def _as_side(levels: dict[str, str]) -> Side:
    return [(_units(price, 10_000), _units(size, 1_000_000)) for price, size in levels.items()]


class NaiveScript(Peer):
    """Twenty lines of Python around a WebSocket."""

    name = "naive script"
    # The defaults of the websockets package: a ping every 20 s that must be answered within 20 s, 1 MiB a message,
    # and at once a new connection when one is lost.
    transport = Transport(
        ping_interval=20.0, pong_timeout=20.5, check_interval=20.0, max_message=MEBIBYTE, backoff_base=0.001
    )
    promise = "Nothing."
    driven = "All of it: `json.loads` and two dicts a token, around the `websockets` package with its defaults."

    def __init__(self, config: EngineConfig, rng: Random) -> None:
        super().__init__(config, rng)
        self.bids: dict[str, dict[str, str]] = {}
        self.asks: dict[str, dict[str, str]] = {}

    def add(self, condition_id: str, asset_ids: Sequence[str]) -> None:
        """Begin with empty books."""
        del condition_id
        for token in asset_ids:
            self.bids[token], self.asks[token] = {}, {}

    def take(self, text: str) -> None:
        """Apply whatever it is."""
        if text == "PONG":
            return
        messages = json.loads(text)
        for message in messages if isinstance(messages, list) else [messages]:
            if message["event_type"] == "book":
                token = message["asset_id"]
                self.bids[token] = {level["price"]: level["size"] for level in message["bids"]}
                self.asks[token] = {level["price"]: level["size"] for level in message["asks"]}
                self.touch(token)
            elif message["event_type"] == "price_change":
                for change in message["price_changes"]:
                    token = change["asset_id"]
                    side = (self.bids if change["side"] == "BUY" else self.asks)[token]
                    if float(change["size"]):
                        side[change["price"]] = change["size"]
                    else:
                        side.pop(change["price"], None)
                    self.touch(token)

    def sides(self, token: str) -> tuple[Side, Side] | None:
        """Whatever is there."""
        return _as_side(self.bids[token]), _as_side(self.asks[token])


ADAPTER = NaiveScript

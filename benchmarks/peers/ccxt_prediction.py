"""ccxt's handler for the venue: ``ccxt.prediction.polymarket``, its own messages, books and WebSocket client object.

A reader of ``watch_order_book`` gets the live book object, and an exception when the connection ends; until the
next answer it knows that it has no book, and so it counts as unavailable here. An exception out of the JSON decoder
ends ccxt's receive loop without ending the connection, so nothing more is read until its keepalive gives up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ccxt.prediction.polymarket import polymarket

from benchmarks.peers.base import MEBIBYTE, Peer, Side, Transport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from polymirror.config import EngineConfig


def _as_side(levels: list[list[float]]) -> Side:
    return [(round(price * 10_000), round(size * 1_000_000)) for price, size in levels]


class CcxtPrediction(Peer):
    """One exchange object, and a client object of its own for each connection."""

    name = "ccxt"
    # keepAlive 10 s with maxPingPongMisses 2; aiohttp's max_msg_size as ccxt sets it; a lost connection is dialled
    # anew by the next watch call.
    transport = Transport(
        ping_interval=10.0, pong_timeout=20.0, check_interval=10.0, max_message=10 * MEBIBYTE, backoff_base=0.001
    )
    promise = (
        '`watch_order_book` "streams live order-book updates"; it raises a NetworkError when the connection is lost. '
        "Nothing says whether the levels are right."
    )
    driven = (
        "Its own client object decodes every frame, its own handlers keep its own books. Only the receive loop, the "
        "keepalive and the dialling are replaced by the simulated network, with its own figures."
    )

    def __init__(self, config: EngineConfig, rng: Random) -> None:
        super().__init__(config, rng)
        self._loop = asyncio.new_event_loop()
        self._exchange: Any = self._loop.run_until_complete(_make())
        self._exchange.outcomes_by_id, self._exchange.outcomes = {}, {}
        self._client: Any = None
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._deaf = False

    def add(self, condition_id: str, asset_ids: Sequence[str]) -> None:
        """Register the outcomes as a load of the markets would."""
        for token in asset_ids:
            known = {"outcome": token, "outcomeId": token, "market": condition_id}
            self._exchange.outcomes_by_id[token] = self._exchange.outcomes[token] = known

    def opened(self) -> None:
        """Every token is watched anew; the watching is answered by the first message about it."""
        self._loop.run_until_complete(self._watch())
        self._deaf = False

    async def _watch(self) -> None:
        exchange = self._exchange
        self._client = exchange.client(exchange.urls["api"]["ws"])
        self._answers = {token: self._client.future(f"orderbook::{token}") for token in self.sockets[0].asset_ids}

    def dropped(self) -> None:
        """The calls that wait get an exception; the exchange forgets the client, as its ``on_close`` does."""
        for answer in self._answers.values():
            answer.cancel()
        self._answers = {}
        if self._client is not None:
            self._exchange.on_close(self._client, None)
        for token in self.sockets[0].asset_ids:
            self.touch(token)

    def take(self, text: str) -> None:
        """Hand the text to ccxt's client, as its receive loop would."""
        if self._deaf:
            return
        try:
            self._client.handle_text_or_binary_message(text)
        except Exception:
            self._deaf = True
            raise
        finally:
            for token in self.sockets[0].asset_ids:
                if token in text:
                    self.touch(token)

    def receive(self, number: int, data: str, now: float, read_at: float | None = None, lane: int = 0) -> None:
        """As all do, but a reader that stopped does not see a PONG either."""
        if not self._deaf:
            super().receive(number, data, now, read_at, lane)

    def close(self) -> None:
        """Close what ccxt opened."""
        self._loop.run_until_complete(self._exchange.close())
        self._loop.close()

    def sides(self, token: str) -> tuple[Side, Side] | None:
        """The book that the last answer holds."""
        answer = self._answers.get(token)
        if answer is None or not answer.done():
            return None
        book = self._exchange.orderbooks[token]
        return _as_side(book["bids"]), _as_side(book["asks"])


async def _make() -> Any:
    return polymarket({"enableRateLimit": False})


ADAPTER = CcxtPrediction

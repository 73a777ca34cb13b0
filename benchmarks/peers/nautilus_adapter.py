"""nautilus_trader's Polymarket data client: its decoder, its parsing to deltas, and its own order books.

The client is built as the trading node builds it, without network parts; frames go into the handler that its
WebSocket client would call. On a reconnection it subscribes again and does nothing to its books.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nautilus_trader.adapters.polymarket.common.parsing import parse_instrument
from nautilus_trader.adapters.polymarket.config import PolymarketDataClientConfig
from nautilus_trader.adapters.polymarket.data import PolymarketDataClient
from nautilus_trader.adapters.polymarket.providers import PolymarketInstrumentProvider
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus, init_logging
from nautilus_trader.model.identifiers import TraderId

from benchmarks.peers.base import MEBIBYTE, Peer, Side, Transport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from polymirror.config import EngineConfig

RAW_PRICE = 10**12
"""nautilus' fixed-point prices have 16 decimals here, ours 4."""

# Kept for the life of the process: the logging of nautilus ends with it.
_GUARDS: list[Any] = []


class _Client(PolymarketDataClient):  # type: ignore[misc, unused-ignore]
    """Tells which books changed instead of passing data on to a data engine."""

    def _handle_data(self, data: Any) -> None:
        self.changed.append(data)


def _as_side(levels: Any) -> Side:
    return [(level.price.raw // RAW_PRICE, round(level.size() * 1_000_000)) for level in levels]


class NautilusAdapter(Peer):
    """The adapter's data client with its books."""

    name = "nautilus_trader"
    # heartbeat=10 sends PING frames that nobody waits for; the first reconnection is immediate; tungstenite takes
    # messages up to 64 MiB.
    transport = Transport(
        ping_interval=10.0,
        pong_timeout=float("inf"),
        check_interval=float("inf"),
        max_message=64 * MEBIBYTE,
        backoff_base=0.1,
    )
    promise = (
        "Order book deltas and a book kept from them; a reconnected socket subscribes again. In this version no state "
        "says whether a book is good. Later versions gate deltas after a change of the tick size and add idle "
        "time-outs."
    )
    driven = (
        "`PolymarketDataClient._handle_raw_ws_message` for every frame: its decoder, its deltas, its `OrderBook`s, "
        "which are read. Its Rust WebSocket client is replaced by the simulated network."
    )

    def __init__(self, config: EngineConfig, rng: Random) -> None:
        super().__init__(config, rng)
        if not _GUARDS:
            _GUARDS.append(init_logging(bypass=True))
        clock, cache = LiveClock(), Cache()
        self._cache = cache
        self._ids: dict[str, Any] = {}
        self._tokens: dict[Any, str] = {}
        self._loop = asyncio.new_event_loop()
        self._client = _Client(
            loop=self._loop,
            http_client=None,
            msgbus=MessageBus(TraderId("MATRIX-001"), clock),
            cache=cache,
            clock=clock,
            instrument_provider=PolymarketInstrumentProvider(client=None, clock=clock),
            config=PolymarketDataClientConfig(),
            name=None,
        )
        self._client.changed = []

    def add(self, condition_id: str, asset_ids: Sequence[str]) -> None:
        """Load the instruments and subscribe to their books."""
        market = {
            "condition_id": condition_id,
            "question": "Up or Down",
            "minimum_tick_size": self.tick_size,
            "minimum_order_size": 5,
            "end_date_iso": None,
            "maker_base_fee": 0,
            "taker_base_fee": 0,
        }
        for token in asset_ids:
            instrument = parse_instrument(market, token, "Up", 0)
            self._cache.add_instrument(instrument)
            # What its subscribe command does before it asks for a socket.
            self._client._add_subscription_order_book_deltas(instrument.id)  # noqa: SLF001 - as above
            self._client._create_local_book(instrument.id)  # noqa: SLF001 - as above
            self._ids[token] = instrument.id
            self._tokens[instrument.id] = token

    def take(self, text: str) -> None:
        """Hand the frame to its handler, which logs what it cannot read."""
        self._client._handle_raw_ws_message(text.encode())  # noqa: SLF001 - the callback of its WebSocket client
        for data in self._client.changed:
            token = self._tokens.get(getattr(data, "instrument_id", None) or getattr(data, "id", None))
            if token is not None:
                self.touch(token)
        self._client.changed.clear()

    def close(self) -> None:
        """Close the loop that its tasks would run on; none does."""
        self._loop.close()

    def sides(self, token: str) -> tuple[Side, Side] | None:
        """The levels of its book."""
        book = self._client._local_books.get(self._ids[token])  # noqa: SLF001 - where it keeps them
        return None if book is None else (_as_side(book.bids()), _as_side(book.asks()))


ADAPTER = NautilusAdapter

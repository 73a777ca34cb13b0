"""Other programs as contestants: each one's own code from the text of a frame to its own book.

Their transport, and what they do for their users beyond the book (queues, message buses, awaiting), is left out, to
their advantage. Those that work on text get the text ready-made. Adapters of the fault matrix set them up. Books
without a way for the venue's frames are in :mod:`benchmarks.speed.book_libraries`; who takes part, and who is not
installed, is told by :mod:`benchmarks.speed.field`.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.peers import load
from benchmarks.peers.base import LINE
from benchmarks.speed.method import Contestant
from polymirror.config import EngineConfig
from polymirror.core.units import PRICE_SCALE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.speed.frames import Frames
    from benchmarks.speed.method import Top


class Rival(Contestant):
    """The base: ``handle`` takes one frame; ``top`` reads one book as its users do."""

    takes_text = True
    """False: bytes, as they come off the socket."""
    handle: Callable[[Any], object]
    tokens: tuple[str, str]

    def __init__(self, *, reads: bool = False) -> None:
        # Whether both tops are read after each frame, as part of what is timed.
        self._reads = reads

    def ready(self, slice_: Sequence[bytes]) -> Sequence[Any]:
        """Return text where the program's socket delivers text."""
        return [frame.decode() for frame in slice_] if self.takes_text else slice_

    def take(self, slice_: Sequence[Any], times: Sequence[float]) -> None:
        """Hand the frames over, one by one."""
        handle, reads = self.handle, self._reads
        for frame, _ in zip(slice_, times, strict=True):
            handle(frame)
            if reads:
                self.tops()

    def top(self, token: str) -> Top:
        """The best prices of one token, in 1/10,000."""
        raise NotImplementedError

    def tops(self) -> tuple[Top, Top]:
        """The best prices of both tokens."""
        return self.top(self.tokens[0]), self.top(self.tokens[1])


def units(price: Any) -> int:
    """Return a price in 1/10,000."""
    return round(float(price) * PRICE_SCALE)


class _Adapted(Rival):
    """One that an adapter of the fault matrix sets up."""

    module: str

    def open(self, frames: Frames) -> None:
        """Make the adapter, subscribe, and take the opening books."""
        adapter = load(self.module)
        self.peer: Any = adapter(EngineConfig(), Random(1))  # noqa: S311 - adapters take one
        self.peer.tick_size = frames.scenario.tick_size
        self.peer.track(frames.market, frames.tokens, 0.0)
        self.peer.connected(LINE, 0.0)
        self.peer.take(frames.opening.decode())
        self.tokens = frames.tokens
        self.bind()

    def bind(self) -> None:
        """Look up the method that takes frames."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what the adapter opened."""
        self.peer.close()


class NautilusAdapterPath(_Adapted):
    """Its decoder, deltas and order books. What it hands to its data engine is dropped."""

    name = "nautilus_trader adapter"
    module = "nautilus_adapter"
    takes_text = False

    def bind(self) -> None:
        """Its WebSocket client calls this."""
        client = self.peer._client  # noqa: SLF001 - what its socket calls
        self.handle = client._handle_raw_ws_message  # noqa: SLF001
        # A re-sent book replaces the object.
        self._books, self._ids = client._local_books, self.peer._ids  # noqa: SLF001

    def take(self, slice_: Sequence[Any], times: Sequence[float]) -> None:
        """Forget now and then what the data engine would get."""
        super().take(slice_, times)
        self.peer._client.changed.clear()  # noqa: SLF001 - the adapter's list

    def top(self, token: str) -> Top:
        """As its strategies ask."""
        book = self._books[self._ids[token]]
        bid, ask = book.best_bid_price(), book.best_ask_price()
        return 0 if bid is None else units(bid), PRICE_SCALE if ask is None else units(ask)


class CcxtHandler(_Adapted):
    """Its client object decodes, its exchange object handles; nobody awaits the answers."""

    name = "ccxt handler"
    module = "ccxt_prediction"

    def bind(self) -> None:
        """Its receive loop calls this."""
        self.handle = self.peer._client.handle_text_or_binary_message  # noqa: SLF001 - what its socket calls
        self._books = [self.peer._exchange.orderbooks[token] for token in self.tokens]  # noqa: SLF001

    def top(self, token: str) -> Top:
        """As users read a book."""
        book = self._books[self.tokens.index(token)]
        bids, asks = book["bids"], book["asks"]
        return units(bids[0][0]) if bids else 0, units(asks[0][0]) if asks else PRICE_SCALE


class OfficialModels(Rival):
    """The venue's own client: json, its parser and models; a SortedDict a side, as a careful user keeps it."""

    name = "polymarket-client models + SortedDict"

    def open(self, frames: Frames) -> None:
        """Load the books through its own events."""
        from polymarket._internal.streams.clob.market_protocol import parse_events  # noqa: PLC0415 - an extra
        from sortedcontainers import SortedDict  # noqa: PLC0415

        self.tokens = frames.tokens
        books: dict[str, Any] = {token: (SortedDict(), SortedDict()) for token in frames.tokens}
        self._books = books

        def handle(text: str) -> None:
            events, _ = parse_events(json.loads(text))
            for event in events:
                payload = event.payload
                if event.type == "price_change":
                    for change in payload.price_changes:
                        side = books[change.asset_id][change.side == "SELL"]
                        if change.size:
                            side[change.price] = change.size
                        else:
                            side.pop(change.price, None)
                elif event.type == "book":
                    for side, levels in zip(books[payload.asset_id], (payload.bids, payload.asks), strict=True):
                        side.update((level.price, level.size) for level in levels)

        self.handle = handle
        handle(frames.opening.decode())

    def top(self, token: str) -> Top:
        """The ends of the dicts."""
        bids, asks = self._books[token]
        return units(bids.peekitem(-1)[0]) if bids else 0, units(asks.peekitem(0)[0]) if asks else PRICE_SCALE

"""Books of libraries, without a way for the venue's frames: each fed with as little Python as its interface allows.

They show what a book costs where nothing is checked; a program around them would add its own share.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from benchmarks.speed.own import CHANGES
from benchmarks.speed.rivals import Rival, units
from polymirror.core.units import PRICE_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.frames import Frames
    from benchmarks.speed.method import Top


def _opening_levels(frames: Frames) -> Iterator[tuple[str, str, str, str]]:
    """Yield token, side, price and size of every level of the opening books."""
    for book in json.loads(frames.opening):
        for side, levels in (("BUY", book["bids"]), ("SELL", book["asks"])):
            for level in levels:
                yield book["asset_id"], side, level["price"], level["size"]


class NautilusLean(Rival):
    """Its Rust book, fed with as little Python as possible: typed msgspec, no deltas, prices looked up."""

    name = "nautilus_trader book, fed leanly"
    takes_text = False

    def open(self, frames: Frames) -> None:
        """Make two books and load them."""
        from nautilus_trader.model.book import OrderBook  # noqa: PLC0415 - an extra
        from nautilus_trader.model.data import BookOrder  # noqa: PLC0415
        from nautilus_trader.model.enums import BookType, OrderSide  # noqa: PLC0415
        from nautilus_trader.model.identifiers import InstrumentId  # noqa: PLC0415
        from nautilus_trader.model.objects import Price, Quantity  # noqa: PLC0415

        self.tokens = frames.tokens
        ids = {token: InstrumentId.from_str(f"{token}.POLYMARKET") for token in frames.tokens}
        self._books = {token: OrderBook(ids[token], BookType.L2_MBP) for token in frames.tokens}
        ticks = {f"{i / PRICE_SCALE:.4f}".rstrip("0"): Price(i / PRICE_SCALE, 4) for i in range(1, PRICE_SCALE)}
        sides = {"BUY": OrderSide.BUY, "SELL": OrderSide.SELL}
        decode, books, quantity, zero = CHANGES.decode, self._books, Quantity.from_str, Quantity.from_str("0")

        def handle(frame: bytes) -> None:
            message = decode(frame)
            at = int(message.timestamp_ms) * 1_000_000
            for change in message.price_changes:
                size = quantity(change.size)
                order = BookOrder(sides[change.side], ticks[change.price], size, 0)
                if size == zero:
                    books[change.asset_id].delete(order, at)
                else:
                    books[change.asset_id].update(order, at)

        self.handle = handle
        for token, side, price, size in _opening_levels(frames):
            books[token].add(BookOrder(sides[side], ticks[price], quantity(size), 0), 0)

    def top(self, token: str) -> Top:
        """As its strategies ask."""
        book = self._books[token]
        bid, ask = book.best_bid_price(), book.best_ask_price()
        return 0 if bid is None else units(bid), PRICE_SCALE if ask is None else units(ask)


class CcxtSides(Rival):
    """Its book sides alone, fed by orjson and floats."""

    name = "ccxt sides, orjson, float"
    takes_text = False

    def open(self, frames: Frames) -> None:
        """Make and load the sides."""
        import orjson  # noqa: PLC0415 - an extra
        from ccxt.async_support.base.ws.order_book_side import Asks, Bids  # noqa: PLC0415

        loads = orjson.loads
        self.tokens = frames.tokens
        books = self._books = {token: {"BUY": Bids(), "SELL": Asks()} for token in frames.tokens}

        def handle(frame: bytes) -> None:
            for change in loads(frame)["price_changes"]:
                price, size = float(change["price"]), float(change["size"])
                books[change["asset_id"]][change["side"]].storeArray([price, size])

        self.handle = handle
        for token, side, price, size in _opening_levels(frames):
            books[token][side].storeArray([float(price), float(size)])

    def top(self, token: str) -> Top:
        """The first elements."""
        bids, asks = self._books[token]["BUY"], self._books[token]["SELL"]
        return units(bids[0][0]) if bids else 0, units(asks[0][0]) if asks else PRICE_SCALE


class SortedBooks(Rival):
    """What a careful person writes first: msgspec, exact integers, a SortedDict a side, no checks."""

    name = "msgspec + SortedDict, no checks"
    takes_text = False

    def open(self, frames: Frames) -> None:
        """Make and load the dicts."""
        from sortedcontainers import SortedDict  # noqa: PLC0415 - as all others

        self.tokens = frames.tokens
        decode = CHANGES.decode
        prices = {f"{i / PRICE_SCALE:.4f}".rstrip("0"): i for i in range(1, PRICE_SCALE)}
        books: dict[str, Any] = {token: {"BUY": SortedDict(), "SELL": SortedDict()} for token in frames.tokens}
        self._books = books

        def handle(frame: bytes) -> None:
            for change in decode(frame).price_changes:
                side = books[change.asset_id][change.side]
                if change.size == "0":
                    side.pop(prices[change.price], None)
                else:
                    side[prices[change.price]] = change.size

        self.handle = handle
        for token, side, price, size in _opening_levels(frames):
            books[token][side][prices[price]] = size

    def top(self, token: str) -> Top:
        """The ends of the dicts."""
        bids, asks = self._books[token]["BUY"], self._books[token]["SELL"]
        return bids.peekitem(-1)[0] if bids else 0, asks.peekitem(0)[0] if asks else PRICE_SCALE


class CryptofeedBook(Rival):
    """Its order book type (C), fed by yapic and Decimals as its handlers do."""

    name = "cryptofeed book, yapic, Decimal"
    takes_text = False

    def open(self, frames: Frames) -> None:
        """Make and load the books."""
        from cryptofeed.types import OrderBook  # noqa: PLC0415 - an extra
        from yapic import json as yapic  # noqa: PLC0415

        self.tokens = frames.tokens
        loads = yapic.loads
        self._books = {token: OrderBook("POLYMARKET", token) for token in frames.tokens}
        sides = {token: {"BUY": book.book.bids, "SELL": book.book.asks} for token, book in self._books.items()}

        def handle(frame: bytes) -> None:
            for change in loads(frame, parse_float=Decimal)["price_changes"]:
                side, price = sides[change["asset_id"]][change["side"]], Decimal(change["price"])
                size = Decimal(change["size"])
                if size:
                    side[price] = size
                elif price in side:
                    del side[price]

        self.handle = handle
        for token, side, price, size in _opening_levels(frames):
            sides[token][side][Decimal(price)] = Decimal(size)

    def top(self, token: str) -> Top:
        """As its users read it."""
        book = self._books[token].book
        bids, asks = book.bids, book.asks
        return units(bids.index(0)[0]) if len(bids) else 0, units(asks.index(0)[0]) if len(asks) else PRICE_SCALE


class DepthCache(Rival):
    """The storage of unicorn-binance-local-depth-cache, fed by orjson; it sorts when it is read, and to trim itself."""

    name = "unicorn-binance-local-depth-cache, orjson"
    takes_text = False

    def open(self, frames: Frames) -> None:
        """Make a manager without its threads and sockets, and load the caches."""
        import orjson  # noqa: PLC0415 - an extra
        from unicorn_binance_local_depth_cache import BinanceLocalDepthCacheManager  # noqa: PLC0415

        self.tokens = frames.tokens
        loads = orjson.loads
        manager: Any = BinanceLocalDepthCacheManager.__new__(BinanceLocalDepthCacheManager)
        manager.depth_caches = {}
        manager.threading_lock_ask, manager.threading_lock_bid = {}, {}
        manager.default_refresh_interval, manager.stop_request = None, False
        for token in frames.tokens:
            manager._add_depthcache(token)  # noqa: SLF001 - what its constructor's thread does
            manager.depth_caches[token]["is_synchronized"] = True
        self._manager = manager
        update = manager._apply_updates  # noqa: SLF001 - what its stream's task calls

        def handle(frame: bytes) -> None:
            for change in loads(frame)["price_changes"]:
                level = [[change["price"], change["size"]]]
                if change["side"] == "BUY":
                    update(bids=level, asks=[], market=change["asset_id"])
                else:
                    update(bids=[], asks=level, market=change["asset_id"])

        self.handle = handle
        for token, side, price, size in _opening_levels(frames):
            levels = {"bids": [], "asks": [], "bids" if side == "BUY" else "asks": [[price, size]]}
            update(**levels, market=token)

    def top(self, token: str) -> Top:
        """As its users read it."""
        bids, asks = self._manager.get_bids(token, limit_count=1), self._manager.get_asks(token, limit_count=1)
        return units(bids[0][0]) if bids else 0, units(asks[0][0]) if asks else PRICE_SCALE

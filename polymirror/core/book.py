"""One token's order book: two sides of levels, changed in place by deltas.

Both sides are kept worst first, best last, as the venue sends and hashes them. A side is three
parallel lists: ``keys`` (sorted ints), ``sizes`` (ints) and ``wires`` (each level's JSON text, for the
venue's hash). The key of a bid is its price; the key of an ask is ``PRICE_SCALE - price``, the price of
the same order on the complementary token. So both sides grow towards their best level, and the bids of
one token and the asks of the other have the same keys.

Nothing here knows time, states or proofs; :mod:`polymirror.core.token` decides when to call what. What
callers read is a :class:`~polymirror.core.view.BookView`, never these lists.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct
from msgspec.json import encode

from polymirror.core.messages import Change
from polymirror.core.units import COMPLEMENTS, PRICE_SCALE, PRICES, SIZES, parse_size, price_to_wire
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.core.messages import Snapshot, WireLevel


TOP = 16
"""Levels next to the best one whose texts are joined anew when one of them changes."""


class Levels(NamedTuple):
    """An immutable copy of a book's levels: keys and sizes of both sides, best last."""

    bid_keys: tuple[int, ...]
    bid_sizes: tuple[int, ...]
    ask_keys: tuple[int, ...]
    ask_sizes: tuple[int, ...]


class Texts(NamedTuple):
    """Both sides of a book as the venue hashes them: :meth:`Side.text`. Kept, they cost a reference each."""

    bids: str
    asks: str


class Undo(Struct, gc=False):
    """What a change replaced: enough to take it back."""

    at_ms: int
    """Exchange time of the change: what orders it."""
    is_bid: bool
    key: int
    old: int
    """The size before the change; 0 means the level was absent."""
    new: int
    wire: str
    """The level's JSON text, as in :attr:`Side.wires`."""
    announced: str = ""
    """The hash that came with the change. "": none, or the book was proven by it."""
    as_of: float = 0.0
    """For when it speaks, in seconds on the mirror's clock: what it ended was true until then. 0.0: proven at once."""
    message: int = 0
    """Which message of its market brought it, counted; 0: one that had nothing else to say of this level."""

    def delta(self, asset_id: str) -> Change:
        """Return the change as it came, but for the best prices stated with it."""
        _, _, _, price, _, _, _, size, _ = self.wire.split('"')
        return Change(asset_id, price, size, "BUY" if self.is_bid else "SELL", self.announced)


class Side:
    """The levels of one side, best last."""

    __slots__ = ("_cut", "_deep", "_last", "_wires", "joined", "keys", "sizes")

    def __init__(self) -> None:
        # Sorted ascending: the last key is the best level.
        self.keys: list[int] = []
        # In 1/1,000,000 of a share, parallel to keys.
        self.sizes: list[int] = []
        # Parallel to keys; None while only the text is known.
        self._wires: list[str] | None = []
        # The wires joined; "" when they have changed since. Most changes touch one side, and a hash needs both.
        self.joined: str = ""
        # What was joined last. Nearly all changes are near the top: its first _deep characters, the first _cut wires,
        # mostly still hold. _deep is negative when one of these has changed since.
        self._last = ""
        self._deep = self._cut = 0

    @property
    def wires(self) -> list[str]:
        """Each level as ``{"price":"0.48","size":"5"}``, spelled as the venue does, parallel to ``keys``.

        Made when first needed: most whole books are compared and thrown away.
        """
        wires = self._wires
        if wires is None:
            wires = self._wires = [f"{{{pair}}}" for pair in self.text()[1:-1].split("},{")] if self.keys else []
        return wires

    def text(self) -> str:
        """Return the levels' JSON texts, joined by commas."""
        if not self.joined:
            wires = self.wires
            if self._deep < 0 or len(wires) - self._cut > 2 * TOP:
                self._cut = max(0, len(wires) - TOP)
                deep = ",".join(wires[: self._cut])
                self._deep = len(deep)
            else:
                deep = self._last[: self._deep]
            top = ",".join(wires[self._cut :])
            self.joined = self._last = f"{deep},{top}" if deep and top else deep or top
        return self.joined

    def set(self, key: int, size: int, wire: str) -> int:
        """Make ``size`` the size at ``key``; 0 removes the level. Return the size before."""
        keys, wires = self.keys, self._wires or self.wires
        self.joined = ""
        i = bisect_left(keys, key)
        if i < self._cut:
            self._deep = -1
        if i < len(keys) and keys[i] == key:
            old = self.sizes[i]
            if size:
                self.sizes[i] = size
                wires[i] = wire
            else:
                del keys[i], self.sizes[i], wires[i]
            return old
        if size:
            # Removing an absent level happens on the wire and is normal; only a real size is inserted.
            keys.insert(i, key)
            self.sizes.insert(i, size)
            wires.insert(i, wire)
        return 0

    def set_mirrored(self, mirror: Side, key: int, size: int, wire: str, mirror_wire: str) -> int:
        """Do what :meth:`set` does for this side and for one with equal levels at once: one search serves both."""
        keys, wires, mirror_wires = self.keys, self._wires or self.wires, mirror._wires or mirror.wires
        joined = self.joined
        self.joined = mirror.joined = ""
        i = bisect_left(keys, key)
        if i < self._cut:
            self._deep = -1
        if i < mirror._cut:
            mirror._deep = -1
        if i < len(keys) and keys[i] == key:
            old = self.sizes[i]
            if size:
                self.sizes[i] = mirror.sizes[i] = size
                if joined:
                    # A level's text is in its side's once, and nearly always near the end: to cut it there and put the
                    # new one in saves 1,900 of 82,400 instructions of a recorded change, nearly all of which are new
                    # sizes. The mirror's text is joined when its own turn comes. What is cut into is behind the first
                    # _deep characters, or these do not hold: so one text is kept, not two.
                    before, _, after = joined.rpartition(wires[i])
                    self.joined = self._last = f"{before}{wire}{after}"
                wires[i] = wire
                mirror_wires[i] = mirror_wire
            else:
                del keys[i], self.sizes[i], wires[i]
                del mirror.keys[i], mirror.sizes[i], mirror_wires[i]
            return old
        if size:
            keys.insert(i, key)
            self.sizes.insert(i, size)
            wires.insert(i, wire)
            mirror.keys.insert(i, key)
            mirror.sizes.insert(i, size)
            mirror_wires.insert(i, mirror_wire)
        return 0

    def rest(self) -> None:
        """Keep the text, and forget the parts that it is joined from: the next change makes them again."""
        if self.text():
            self._wires = None
            self._deep = self._cut = 0

    def restore(self, keys: Sequence[int], sizes: Sequence[int], text: str) -> None:
        """Replace everything by what was copied before."""
        self.keys, self.sizes, self._wires = list(keys), list(sizes), None
        self.joined = self._last = text
        self._deep = self._cut = 0

    def size_at(self, key: int) -> int:
        """Return the size at ``key``, 0 where there is no level."""
        i = bisect_left(self.keys, key)
        return self.sizes[i] if i < len(self.keys) and self.keys[i] == key else 0

    def load(self, levels: Sequence[WireLevel], *, is_bid: bool) -> None:
        """Replace everything. Raises UnitError for a bad price or size, or a price that comes twice."""
        key_of = PRICES if is_bid else COMPLEMENTS
        keys = [key_of[level.price] for level in levels]
        sizes = [SIZES[level.size] for level in levels]
        # The venue sends the worst level first; then nothing is moved here.
        order = sorted(range(len(keys)), key=keys.__getitem__) if keys != sorted(keys) else None
        if order is not None:
            keys, sizes, levels = ([column[i] for i in order] for column in (keys, sizes, levels))  # type: ignore[assignment]
        if keys and (keys[0] <= 0 or keys[-1] >= PRICE_SCALE or not all(sizes)):
            bad = next(level for level in levels if not 0 < PRICES[level.price] < PRICE_SCALE or not SIZES[level.size])
            raise UnitError("level", f"{bad.price} x {bad.size}", "a price inside (0, 1) and a size above 0")
        if len(set(keys)) != len(keys):
            raise UnitError("levels", f"{len(keys)} levels", "one level for each price")
        self.keys, self.sizes, self._wires = keys, sizes, None
        # The decoder's own writer is seven times faster than Python, and spells a level as the venue does.
        self.joined = self._last = encode(levels)[1:-1].decode()
        self._deep = self._cut = 0


class OrderBook:
    """Both sides of one token's book."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids: Side = Side()
        self.asks: Side = Side()

    @classmethod
    def of(cls, message: Snapshot, max_levels: int) -> OrderBook:
        """Build a book from a venue message. Raises UnitError for levels that cannot be."""
        for levels in (message.bids, message.asks):
            if len(levels) > max_levels:
                raise UnitError("levels", f"{len(levels)} levels", f"at most {max_levels} a side")
        book = cls()
        book.bids.load(message.bids, is_bid=True)
        book.asks.load(message.asks, is_bid=False)
        return book

    @classmethod
    def restored(cls, levels: Levels, texts: Texts) -> OrderBook:
        """Build a book from copies of its levels and texts."""
        book = cls()
        book.bids.restore(levels.bid_keys, levels.bid_sizes, texts.bids)
        book.asks.restore(levels.ask_keys, levels.ask_sizes, texts.asks)
        return book

    def change(self, change: Change, at_ms: int, message: int = 0) -> Undo:
        """Apply one delta and return how to take it back. Raises UnitError and changes nothing if it is bad."""
        price_wire, size_wire, side = change.price, change.size, change.side
        price = PRICES[price_wire]
        size = parse_size(size_wire)
        if not 0 < price < PRICE_SCALE:
            raise UnitError("price", price_wire, "inside (0, 1)")
        wire = f'{{"price":"{price_wire}","size":"{size_wire}"}}'
        if side == "BUY":
            old = self.bids.set(price, size, wire)
            return Undo(at_ms, True, price, old, size, wire, change.hash, 0.0, message)  # noqa: FBT003
        if side == "SELL":
            key = COMPLEMENTS[price_wire]
            old = self.asks.set(key, size, wire)
            return Undo(at_ms, False, key, old, size, wire, change.hash, 0.0, message)  # noqa: FBT003
        raise UnitError("side", side, "BUY or SELL")

    def turn_into(self, other: OrderBook, at_ms: int) -> list[Undo]:
        """Make the levels those of another book, and its spelling ours; return how to take back each difference."""
        undos = []
        for is_bid, mine, theirs in ((True, self.bids, other.bids), (False, self.asks, other.asks)):
            wanted = dict(zip(theirs.keys, zip(theirs.sizes, theirs.wires, strict=True), strict=True))
            for key in mine.keys:
                price = price_to_wire(key if is_bid else PRICE_SCALE - key)
                wanted.setdefault(key, (0, f'{{"price":"{price}","size":"0"}}'))
            for key, (size, wire) in wanted.items():
                old = mine.set(key, size, wire)
                if old != size:
                    undos.append(Undo(at_ms, is_bid, key, old, size, wire))
        return undos

    def rest(self) -> None:
        """Take less memory until the next change."""
        self.bids.rest()
        self.asks.rest()

    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bids, asks = self.bids.keys, self.asks.keys
        return bool(bids and asks) and bids[-1] + asks[-1] >= PRICE_SCALE

    def levels(self) -> Levels:
        """Copy the levels."""
        bids, asks = self.bids, self.asks
        return Levels(tuple(bids.keys), tuple(bids.sizes), tuple(asks.keys), tuple(asks.sizes))

    def texts(self) -> Texts:
        """Return both sides' texts."""
        return Texts(self.bids.text(), self.asks.text())

    def same_levels(self, other: OrderBook) -> bool:
        """Whether both books have exactly the same prices and sizes."""
        return (
            self.bids.keys == other.bids.keys
            and self.bids.sizes == other.bids.sizes
            and self.asks.keys == other.asks.keys
            and self.asks.sizes == other.asks.sizes
        )

    def mirrors(self, other: OrderBook) -> bool:
        """Whether the other book shows the same orders for the complementary token."""
        return (
            self.bids.keys == other.asks.keys
            and self.bids.sizes == other.asks.sizes
            and self.asks.keys == other.bids.keys
            and self.asks.sizes == other.bids.sizes
        )

    def levels_before(self, undos: Sequence[Undo]) -> Levels:
        """Return the levels as they were before ``undos`` (oldest first), without changing the book."""
        past = {True: dict(zip(self.bids.keys, self.bids.sizes, strict=True)),
                False: dict(zip(self.asks.keys, self.asks.sizes, strict=True))}  # fmt: skip
        for undo in reversed(undos):
            if undo.old:
                past[undo.is_bid][undo.key] = undo.old
            else:
                past[undo.is_bid].pop(undo.key, None)
        bids, asks = sorted(past[True].items()), sorted(past[False].items())
        return Levels(
            tuple(k for k, _ in bids), tuple(s for _, s in bids), tuple(k for k, _ in asks), tuple(s for _, s in asks)
        )


def _nothing() -> OrderBook:
    """Return a book that has no level and takes none: whoever tries to put one in raises AttributeError."""
    book = OrderBook()
    for side in (book.bids, book.asks):
        side.keys = side.sizes = ()  # type: ignore[assignment]
    return book


NO_BOOK: Final = _nothing()
"""Stands for the book of every token that has none: an empty one of its own is nine objects for the collector, and with
10,000 tokens these make up half of the objects that are there before the books come."""

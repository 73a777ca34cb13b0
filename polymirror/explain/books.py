"""A book as two plain dictionaries, and the venue's hash of it, written down once more from the protocol.

Nothing here is shared with the engine.
"""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from polymirror.explain.wire import Level, Whole

Side = dict[Decimal, "Level"]
"""By price: how the venue spelt it and its size."""

TICKS: Final = ("0.01", "0.001", "0.1", "0.0001", "0.005", "0.0025")

TRADES: Final = ("", *(f"{n / 1000:.3f}" for n in range(1001)))
"""What a hash may state as the last trade price."""

MAX_TRADED: Final = 6
"""Prices of trades that are tried first."""

FORMS: Final = (
    "market asset_id timestamp hash bids asks min_order_size tick_size neg_risk last_trade_price",
    "market asset_id timestamp hash bids asks min_order_size tick_size neg_risk",
    "market asset_id timestamp hash bids asks",
    "market asset_id timestamp bids asks hash",
    "market asset_id timestamp min_order_size neg_risk tick_size bids asks hash",
)
"""The fields that are hashed, in order: today's form first."""


@frozen
class Difference:
    """One level at which two books differ; None: it is not there."""

    is_bid: bool
    price: Decimal
    ours: str | None
    theirs: str | None


@define(eq=False)
class Book:
    """One token's levels."""

    bids: Side = field(factory=dict)
    asks: Side = field(factory=dict)

    @classmethod
    def of(cls, bids: Iterable[Level], asks: Iterable[Level]) -> Book:
        """Make one from whole sides."""
        return cls({Decimal(p): (p, s) for p, s in bids}, {Decimal(p): (p, s) for p, s in asks})

    def copy(self) -> Book:
        """Return one that changes no more."""
        return Book(dict(self.bids), dict(self.asks))

    def side(self, is_bid: bool) -> Side:  # noqa: FBT001 - two values
        """Return one side."""
        return self.bids if is_bid else self.asks

    def set(self, is_bid: bool, price: str, size: str) -> Level | None:  # noqa: FBT001
        """Set a level; return the one that was there."""
        side, key = self.side(is_bid), Decimal(price)
        old = side.pop(key, None)
        if Decimal(size):
            side[key] = (price, size)
        return old

    def put_back(self, is_bid: bool, price: str, old: Level | None) -> None:  # noqa: FBT001
        """Undo :meth:`set`."""
        side, key = self.side(is_bid), Decimal(price)
        side.pop(key, None)
        if old is not None:
            side[key] = old

    def sizes(self) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
        """Return what is compared: numbers, not spellings."""
        return ({p: Decimal(s) for p, (_, s) in self.bids.items()}, {p: Decimal(s) for p, (_, s) in self.asks.items()})

    def equals(self, other: Book) -> bool:
        """Whether both have the same levels."""
        return self.sizes() == other.sizes()

    def mirrored(self) -> Book:
        """Return the book of the market's other token that says the same."""
        return Book(_turned(self.asks), _turned(self.bids))

    def top(self) -> tuple[Decimal, Decimal]:
        """Return the best bid (0: none) and the best ask (1: none)."""
        return max(self.bids, default=Decimal(0)), min(self.asks, default=Decimal(1))

    def differences(self, other: Book) -> list[Difference]:
        """Return every level that differs: asks and then bids, the highest price first."""
        found: list[Difference] = []
        for is_bid in (False, True):
            ours, theirs = self.side(is_bid), other.side(is_bid)
            for price in sorted(ours.keys() | theirs.keys(), reverse=True):
                mine, yours = ours.get(price), theirs.get(price)
                if (mine and Decimal(mine[1])) != (yours and Decimal(yours[1])):
                    found.append(Difference(is_bid, price, mine and mine[1], yours and yours[1]))
        return found


def _turned(side: Side) -> Side:
    return {1 - price: (str(1 - price), size) for price, (_, size) in side.items()}


@define(eq=False)
class Hasher:
    """Tries what a hash of one market may cover. What fitted last is tried first."""

    market: str
    min_size: str = "5"
    neg_risk: bool = False
    tick: str = "0.01"
    trade: str = ""
    form: str = FORMS[0]
    # Prices at which was traded, newest last: for either token.
    traded: list[str] = field(factory=list)
    # What nobody had said before, and that the newest hash covers.
    how: str = ""

    def fits(self, token: str, at_ms: int, book: Book, stated: str, *, thorough: bool = False) -> bool:
        """Whether a book at a time has this hash; ``thorough``: with anything that a hash might cover."""
        for form, tick, trades in self._tries(thorough=thorough):
            before, after = self._texts(form, token, at_ms, book, tick)
            begun = sha1(before.encode(), usedforsecurity=False)
            for trade in trades if "last_trade_price" in form else ("",):
                state = begun.copy()
                state.update(f"{trade}{after}".encode())
                if state.hexdigest() == stated:
                    self.how = self._how(form, tick, trade) if thorough else ""
                    self.form, self.tick, self.trade = form, tick, trade
                    return True
        return False

    def _how(self, form: str, tick: str, trade: str) -> str:
        if form != self.form:
            return f"in another form: {len(form.split())} fields, no longer {len(self.form.split())}"
        if tick != self.tick:
            return f"with a tick size of {tick}, no longer {self.tick}"
        return f"with a last trade price of {trade or 'none'}, no longer {self.trade or 'none'}"

    def _tries(self, *, thorough: bool) -> Iterator[tuple[str, str, Iterable[str]]]:
        likely = tuple(dict.fromkeys((self.trade, *reversed(self.traded))))
        yield self.form, self.tick, likely
        if thorough:
            for form in FORMS:
                for tick in dict.fromkeys((self.tick, *TICKS)):
                    yield form, tick, TRADES

    def _texts(self, form: str, token: str, at_ms: int, book: Book, tick: str) -> tuple[str, str]:
        """Return the text that is hashed, before and after the last trade price."""
        bids = ",".join(_spelt(book.bids[price]) for price in sorted(book.bids))
        asks = ",".join(_spelt(book.asks[price]) for price in sorted(book.asks, reverse=True))
        values = {
            "market": f'"{self.market}"', "asset_id": f'"{token}"', "timestamp": f'"{at_ms}"', "hash": '""',
            "bids": f"[{bids}]", "asks": f"[{asks}]", "min_order_size": f'"{self.min_size}"', "tick_size": f'"{tick}"',
            "neg_risk": "true" if self.neg_risk else "false", "last_trade_price": '"\0"',
        }  # fmt: skip
        text = "{" + ",".join(f'"{name}":{values[name]}' for name in form.split()) + "}"
        before, _, after = text.partition("\0")
        return before, after

    def learn(self, whole: Whole) -> None:
        """Keep what a whole book tells about what is hashed."""
        self.tick = whole.tick or self.tick
        self.trade = self.trade if whole.trade is None else whole.trade
        self.min_size = whole.min_size or self.min_size
        self.neg_risk = self.neg_risk if whole.neg_risk is None else whole.neg_risk

    def explains(self, whole: Whole, book: Book) -> bool | None:
        """Whether a whole book has the hash that it states; None: it states none. Else nothing of it is kept."""
        if not whole.hash:
            return None
        kept = (self.tick, self.trade, self.min_size, self.neg_risk, self.form)
        self.learn(whole)
        fits = self.fits(whole.token, whole.at_ms, book, whole.hash, thorough=True)
        if not fits:
            self.tick, self.trade, self.min_size, self.neg_risk, self.form = kept
        return fits

    def note_trade(self, price: str) -> None:
        """Keep a price at which was traded, for both tokens."""
        value = Decimal(price)
        self.traded = [*self.traded[-MAX_TRADED:], f"{value:.3f}", f"{1 - value:.3f}"]


def _spelt(level: Level) -> str:
    return f'{{"price":"{level[0]}","size":"{level[1]}"}}'

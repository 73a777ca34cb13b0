"""The venue as a recording has it: its markets, its books as of now, and the frames that come next. Pure.

Books are put together from the recorded frames, in the venue's own words: levels, time and hash are what it last said
of a token. Whoever subscribes late gets the book as of then. Used by :mod:`polymirror.journal.serve`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import msgspec
from attrs import define, field

from polymirror.core.book import OrderBook
from polymirror.core.messages import (
    Ignored,
    PriceChange,
    Snapshot,
    TickSizeChange,
    book_text,
    decode_frame,
    read_levels,
)
from polymirror.errors import UnitError
from polymirror.simulator.frames import BOOK, Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from polymirror.core.fees import FeeSchedule
    from polymirror.core.messages import Message

OUTCOMES: Final = ("Up", "Down")

MAX_LEVELS: Final = 10_000
"""A recorded book with more levels on a side is left out."""

_kind: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@define(eq=False)
class Listed:
    """One market of a recording."""

    condition_id: str
    tokens: tuple[str, ...]
    min_order_size: str = "5"
    tick_size: str = "0.01"
    neg_risk: bool = False
    fee: FeeSchedule | None = None

    @property
    def slug(self) -> str:
        """A name that is made up: recordings do not have the venue's."""
        return f"replay-{self.condition_id.removeprefix('0x')[:12].lower() or 'market'}"

    def described(self) -> dict[str, Any]:
        """The market as the venue's discovery service tells it."""
        fee = self.fee
        return {
            "id": str(crc32(self.condition_id.encode())), "slug": self.slug, "question": f"Recorded {self.slug}",
            "conditionId": self.condition_id, "clobTokenIds": json.dumps(self.tokens),
            "outcomes": json.dumps(OUTCOMES[: len(self.tokens)]),
            "outcomePrices": json.dumps(["0.5"] * len(self.tokens)),
            "active": True, "closed": False, "archived": False, "acceptingOrders": True, "enableOrderBook": True,
            "orderPriceMinTickSize": float(self.tick_size), "orderMinSize": float(self.min_order_size),
            "negRisk": self.neg_risk, "feesEnabled": fee is not None and bool(fee.rate),
            "feeSchedule": None if fee is None else {
                "exponent": fee.exponent, "rate": float(fee.rate), "takerOnly": fee.taker_only,
                "rebateRate": float(fee.rebate_rate),
            },
        }  # fmt: skip

    def compact(self) -> dict[str, Any]:
        """The market as the order book service tells it in short."""
        return {
            "c": self.condition_id, "t": [{"t": t, "o": o} for t, o in zip(self.tokens, OUTCOMES, strict=False)],
            "mts": float(self.tick_size), "mos": float(self.min_order_size), "nr": self.neg_risk, "ao": True,
        }  # fmt: skip


@define(eq=False)
class _Known:
    """One token's book, and what the venue last said of it."""

    book: OrderBook
    at_ms: int
    hash: str
    last_trade_price: str | None = None


@define(eq=False)
class Stage:
    """The state of the recorded venue. ``frames`` come in order, each with its time in Unix milliseconds."""

    frames: Iterator[tuple[int, str]]
    markets: dict[str, Listed]
    now_ms: int = 0
    # How many markets are over: none ever is.
    over_count: int = 0
    _next: tuple[int, str] | None = None
    _market_of: dict[str, Listed] = field(factory=dict)
    _books: dict[str, _Known] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for market in self.markets.values():
            self._market_of |= dict.fromkeys(market.tokens, market)
        self._advance()
        self.now_ms = 0 if self._next is None else self._next[0]

    def _advance(self) -> None:
        self._next = next(self.frames, None)

    # ---- As of an exchange -------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether all frames were played."""
        return self._next is None

    def next_event_ms(self) -> int | None:
        """Return when the next frame is due; None: none is left."""
        return None if self._next is None else self._next[0]

    def step(self, now_ms: int) -> list[Frame]:
        """Play what is due; return what connections may hear of it."""
        told: list[Frame] = []
        while self._next is not None and self._next[0] <= now_ms:
            at_ms, text = self._next
            told += self._play(text, at_ms)
            self._advance()
        self.now_ms = max(self.now_ms, now_ms)
        return told

    def knows(self, token: str) -> bool:
        """Whether a token is in the recording."""
        return token in self._market_of

    def is_over(self, _token: str) -> bool:
        """Whether a token's market is over: none ever is."""
        return False

    def market_of(self, token: str) -> Listed:
        """Return a token's market. Raises KeyError."""
        return self._market_of[token]

    def opening_books(self, tokens: Sequence[str]) -> str:
        """Return the frame that answers a subscription: the books as of now; of a token without one there is none."""
        books = [book for token in tokens if (book := self.book(token, rest=False)) is not None]
        return f"[{','.join(map(book_text, books))}]"

    def book(self, token: str, *, rest: bool = True) -> Snapshot | None:
        """Return a token's book as of now, for REST with the constants of its market; None: it was not seen yet."""
        known, market = self._books.get(token), self._market_of.get(token)
        if known is None or market is None:
            return None
        texts = known.book.texts()
        return Snapshot(
            market.condition_id, token, known.at_ms, known.hash, read_levels(texts.bids), read_levels(texts.asks),
            market.tick_size, known.last_trade_price,
            market.min_order_size if rest else None, market.neg_risk if rest else None,
        )  # fmt: skip

    # ---- Playing -----------------------------------------------------------------------------------

    def _play(self, text: str, at_ms: int) -> list[Frame]:
        messages = decode_frame(text)
        if not text.lstrip().startswith("["):
            for message in messages:
                self._take(message)
            return [Frame(text, _kind_of(text), _market_in(message), "", at_ms) for message in messages[:1]]
        # What answered the recorder's subscription: new to others only where it missed something itself.
        return [frame for message in messages if (frame := self._take_opening(message, at_ms)) is not None]

    def _take_opening(self, message: Message, at_ms: int) -> Frame | None:
        if not isinstance(message, Snapshot):
            return None
        known = self._books.get(message.asset_id)
        before = None if known is None else known.book.levels()
        self._take(message)
        after = self._books[message.asset_id].book.levels() if message.asset_id in self._books else None
        if before is None or before == after:
            return None
        return Frame(book_text(message), BOOK, message.market, message.asset_id, at_ms)

    def _take(self, message: Message) -> None:
        with suppress(UnitError):
            if isinstance(message, PriceChange):
                for change in message.price_changes or ():
                    known = self._books.get(change.asset_id)
                    if known is not None and message.at_ms >= known.at_ms:
                        known.book.change(change, message.at_ms)
                        known.at_ms, known.hash = message.at_ms, change.hash
                        # A trade may have come between: then nobody knows what the hash has of it.
                        known.last_trade_price = None
            elif isinstance(message, Snapshot):
                book = OrderBook.of(message, MAX_LEVELS)
                self._books[message.asset_id] = _Known(
                    book, message.timestamp_ms, message.hash, message.last_trade_price
                )
            elif isinstance(message, TickSizeChange) and message.market in self.markets:
                self.markets[message.market].tick_size = message.tick_size


def _market_in(message: Message) -> str:
    return "" if isinstance(message, Ignored) else message.market


def _kind_of(text: str) -> str:
    """The type of an event, by its own word."""
    with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
        kind = msgspec.json.decode(_kind.decode(text).get("event_type", msgspec.Raw(b'""')))
        return kind if isinstance(kind, str) else ""
    return ""


def listed_in(messages: Iterable[Message], markets: dict[str, Listed]) -> None:
    """Add the markets and tokens that messages name; more than two tokens of one are none of the venue's."""
    for message in messages:
        if isinstance(message, PriceChange):
            named = [change.asset_id for change in message.price_changes or ()]
        elif isinstance(message, Snapshot):
            named = [message.asset_id]
        else:
            continue
        market = markets.setdefault(message.market, Listed(message.market, ()))
        market.tokens = tuple(dict.fromkeys([*market.tokens, *named]))[: len(OUTCOMES)]
        if isinstance(message, Snapshot):
            market.tick_size = message.tick_size or market.tick_size
            market.min_order_size = message.min_order_size or market.min_order_size
            market.neg_risk = market.neg_risk if message.neg_risk is None else message.neg_risk

"""The venue's JSON, and nothing else knows it: bytes of a frame or of a REST body in, messages out.

A frame may be one object, an array of objects, or a plain text reply. Every known kind becomes a
typed message; unknown kinds become :class:`Ignored`; what cannot be read becomes :class:`Malformed`,
which names the market and tokens it could have touched. :func:`decode_frame` never raises.

A short frame is first read as a :class:`PriceChange`, the message that matters for speed, and handed on as it
is when it is one. All else is decoded into a struct with the fields of all kinds: ``event_type`` comes last on
the wire, so a tagged union would scan every object twice.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct

from polymirror.core.units import PRICES, parse_size, parse_tick
from polymirror.errors import DecodeError, UnitError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FRAME_BYTES: Final = 16 * 2**20
"""A larger frame is not decoded (of text, one with more characters). 600 tokens in one opening frame exceed 1 MiB."""

MAX_MESSAGES: Final = 20_000
"""An array of more elements is not a frame of the venue: an opening one has a book for each of 500 tokens."""

USUAL_BYTES: Final = 2_000
"""Most price changes are shorter (two entries take about 700 bytes), and most books are longer."""

MAX_CHANGE_CHARS: Final = 500
"""A change whose texts are longer in all is none of the venue's: it is kept for a while, and so must be bounded."""

MAX_KIND_CHARS: Final = 40
"""What is kept of an unknown kind's name."""

MAX_TIMESTAMP: Final = 10**14
"""Exchange time in ms must lie below this (the year 5138)."""

_MAX_TEXT_REPLY: Final = 128
_TEXT_REPLIES: Final = frozenset(
    {b"", b"PONG", b"PING", b"INVALID OPERATION", b"INVALID MESSAGE", b"NO NEW ASSETS", b"[]", b"{}"}
)


class WireLevel(Struct, gc=False, frozen=True):
    """One level as received. The strings are kept, because the venue's hash is over them."""

    price: str
    size: str


class Change(Struct, gc=False):
    """One delta: the new absolute size at a price of one token; size "0" removes the level."""

    asset_id: str
    price: str
    size: str
    side: str
    hash: str = ""
    """SHA-1 of this token's whole book after the change ("" in recordings that lack it)."""
    best_bid: str | None = None
    """The venue's statement of the top; "", "0" and None mean an empty bid side, None unknown in old schemas."""
    best_ask: str | None = None
    """As ``best_bid``; "1" means an empty ask side."""


class PriceChange(Struct, gc=False):
    """Deltas of one market at one exchange time. Only the fields that matter, in the order of the wire.

    A struct with the fields of all kinds took a sixth of a microsecond longer to decode.
    """

    market: str = ""
    price_changes: list[Change] | None = None
    at_ms: int = msgspec.field(default=0, name="timestamp")
    """Exchange time in ms."""
    event_type: str = ""


class _AnyKind(Struct, gc=False):
    """The fields of all kinds."""

    event_type: str = ""
    market: str = ""
    asset_id: str = ""
    price_changes: list[Change] | None = None
    at_ms: int = msgspec.field(default=0, name="timestamp")
    hash: str = ""
    bids: list[WireLevel] | None = None
    asks: list[WireLevel] | None = None
    buys: list[WireLevel] | None = None
    sells: list[WireLevel] | None = None
    tick_size: str | None = None
    last_trade_price: str | None = None
    min_order_size: str | None = None
    neg_risk: bool | None = None
    changes: list[dict[str, str]] | None = None
    price: str = ""
    size: str = ""
    side: str = ""
    fee_rate_bps: str | None = None
    transaction_hash: str | None = None
    best_bid: str | None = None
    best_ask: str | None = None
    new_tick_size: str = ""
    winning_asset_id: str | None = None
    assets_ids: list[str] | None = None


class Snapshot(Struct, gc=False, frozen=True):
    """A token's complete book, from the stream or from REST. Levels in any order, wire strings."""

    market: str
    asset_id: str
    timestamp_ms: int
    """Exchange time of the last change in ms: an opening book can be minutes old."""
    hash: str
    bids: list[WireLevel]
    asks: list[WireLevel]
    tick_size: str | None = None
    """Only in opening and REST books."""
    last_trade_price: str | None = None
    """Only in opening and REST books; "" before the first trade."""
    min_order_size: str | None = None
    """Only in REST books."""
    neg_risk: bool | None = None
    """Only in REST books."""


class Trade(Struct, gc=False, frozen=True):
    """A public trade (``last_trade_price``). ``price`` is the taker's token's, in 1/10,000."""

    market: str
    asset_id: str
    timestamp_ms: int
    price: int
    size: int
    side: str
    fee_rate_bps: str | None = None
    """As the venue states it, such as "0"; "" and None: it does not."""
    transaction_hash: str | None = None


class TickSizeChange(Struct, gc=False, frozen=True):
    """The price grid of a token changed to ``tick_size`` (wire string)."""

    market: str
    asset_id: str
    timestamp_ms: int
    tick_size: str


class MarketResolved(Struct, gc=False, frozen=True):
    """A market is resolved. Often late, sometimes never sent."""

    market: str
    asset_ids: tuple[str, ...]
    winning_asset_id: str | None
    timestamp_ms: int = 0
    """When, by the venue's clock; 0: it does not say."""


class Ignored(Struct, gc=False, frozen=True):
    """Something valid that the mirror has no use for: an unknown kind, a text reply."""

    kind: str


class Malformed(Struct, gc=False, frozen=True):
    """Input that could not be read. An empty ``market`` and no ``asset_ids``: any token of the socket."""

    kind: str
    detail: str
    market: str = ""
    asset_ids: tuple[str, ...] = ()


Rare = Snapshot | Trade | TickSizeChange | MarketResolved | Ignored | Malformed
Message = PriceChange | Rare

# Not strict: the timestamp is a string on the wire, and read as an int here it costs nothing (0.2 us otherwise).
_decode_price_change: Final = msgspec.json.Decoder(PriceChange, strict=False).decode
_decode_one: Final = msgspec.json.Decoder(_AnyKind, strict=False).decode
_many: Final = msgspec.json.Decoder(list[_AnyKind], strict=False)
_any: Final = msgspec.json.Decoder(float_hook=str)
_levels: Final = msgspec.json.Decoder(list[WireLevel])


def subscription(asset_ids: Sequence[str], *, custom_features: bool) -> str:
    """Return the first frame of a connection. ``custom_features`` adds market_resolved and others."""
    content = {"assets_ids": list(asset_ids), "type": "market", "custom_feature_enabled": custom_features}
    return msgspec.json.encode(content).decode()


def subscription_change(operation: Literal["subscribe", "unsubscribe"], asset_ids: Sequence[str],
                        *, custom_features: bool) -> str:  # fmt: skip
    """Return a frame that changes the subscription. The flag is per connection, last write wins: repeat it."""
    content: dict[str, Any] = {"operation": operation, "assets_ids": list(asset_ids)}
    if operation == "subscribe":
        content["custom_feature_enabled"] = custom_features
    return msgspec.json.encode(content).decode()


def read_levels(text: str) -> list[WireLevel]:
    """Return the levels of one side, given as their JSON texts joined by commas: what :func:`book_text` takes."""
    return _levels.decode(f"[{text}]")


def book_text(book: Snapshot) -> str:
    """Return a whole book as the stream writes it: :func:`decode_frame` and :func:`decode_books` give it back."""
    content = {
        "market": book.market, "asset_id": book.asset_id, "timestamp": str(book.timestamp_ms), "hash": book.hash,
        "bids": book.bids, "asks": book.asks, "tick_size": book.tick_size, "last_trade_price": book.last_trade_price,
        "min_order_size": book.min_order_size, "neg_risk": book.neg_risk, "event_type": "book",
    }  # fmt: skip
    return msgspec.json.encode({name: value for name, value in content.items() if value is not None}).decode()


def decode_frame(data: bytes | str) -> list[Message]:
    """Decode one frame into its messages, in order. Never raises: see :class:`Malformed`."""
    if len(data) > MAX_FRAME_BYTES:
        return [Malformed("frame", f"{len(data)} bytes exceed {MAX_FRAME_BYTES}")]
    try:
        if len(data) < USUAL_BYTES:
            # One object is by far the most frequent frame, and a price change the most frequent object.
            found = _decode_price_change(data)
            if (
                found.event_type == "price_change"
                and found.price_changes is not None
                and 0 < found.at_ms < MAX_TIMESTAMP
            ):
                return [found]
        return [_sort(_decode_one(data))]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        # Text may have what UTF-8 cannot say.
        return _decode_rare(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)


def decode_books(body: bytes) -> list[Snapshot]:
    """Decode a REST ``/book`` or ``/books`` body. Raises DecodeError naming the first bad part."""
    found: list[Snapshot] = []
    for message in _decode_rare(body):
        if isinstance(message, Malformed):
            raise DecodeError(message.kind, message.detail)
        if not isinstance(message, Snapshot):
            raise DecodeError("book", "not a book object")
        found.append(message)
    return found


def _decode_rare(data: bytes) -> list[Message]:
    """Arrays, text replies, numbers where strings are usual, and everything that is broken."""
    text = data.strip()
    if text in _TEXT_REPLIES:
        return [] if text in (b"", b"[]") else [Ignored(text.decode())]
    if text[:1] not in (b"{", b"["):
        short = len(text) <= _MAX_TEXT_REPLY and text.isascii() and text.decode("latin-1").isprintable()
        return [Ignored("text") if short else Malformed("frame", "neither JSON nor a text reply")]
    try:
        # As a rule nothing is unusual; then nothing is walked through in Python.
        with suppress(msgspec.ValidationError):
            found = _many.decode(data) if text[:1] == b"[" else [_decode_one(data)]
            if len(found) <= MAX_MESSAGES:
                return [_sort(each) for each in found]
        content = _any.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return [Malformed("frame", _brief(error))]
    items = content if isinstance(content, list) else [content]
    if len(items) > MAX_MESSAGES:
        return [Malformed("frame", f"{len(items)} messages exceed {MAX_MESSAGES}")]
    return [_convert(item) for item in items]


def _convert(item: Any) -> Message:
    """Read one decoded object leniently: numbers as strings. Name what it could have touched if that fails."""
    if not isinstance(item, dict):
        return Malformed("element", f"a {type(item).__name__} where an object belongs")
    kind = item.get("event_type", "")
    if isinstance(kind, str) and _KINDS.get(kind, _ignore) is _ignore:
        return Ignored(kind[:MAX_KIND_CHARS])
    try:
        content = _stringify(item)
        if kind == "price_change" and content.get("price_changes") is not None:
            # As in a short frame of its own: the fields of other kinds do not matter.
            found = msgspec.convert(content, PriceChange, strict=False)
            if 0 < found.at_ms < MAX_TIMESTAMP and _are_short(found.price_changes or ()):
                return found
        return _sort(msgspec.convert(content, _AnyKind, strict=False))
    except (msgspec.ValidationError, RecursionError) as error:
        market = item.get("market")
        entries = item.get("price_changes")
        candidates = [item, *(entries if isinstance(entries, list) else ())]
        ids = {c["asset_id"] for c in candidates if isinstance(c, dict) and isinstance(c.get("asset_id"), str)}
        return Malformed(
            str(kind)[:MAX_KIND_CHARS] or "object",
            _brief(error),
            market if isinstance(market, str) else "",
            tuple(sorted(ids)),
        )


def _stringify(value: Any, depth: int = 0) -> Any:
    """Turn numbers into their exact text, as the venue usually sends them. Bounded in depth."""
    if depth > 4:  # noqa: PLR2004 - no message of the venue nests deeper than array, object, list, level
        return None
    if isinstance(value, dict):
        return {str(k): _stringify(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_stringify(v, depth + 1) for v in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _sort(raw: _AnyKind) -> Message:
    """Check one decoded object and give it its type."""
    kind = raw.event_type
    try:
        read = _KINDS.get(kind)
        if read is None:
            return Ignored(kind[:MAX_KIND_CHARS])
        message: Message = read(raw)
    except (ValueError, KeyError, UnitError) as error:
        return _malformed(raw, _brief(error))
    return message


def _timestamp(raw: _AnyKind) -> int:
    if not 0 < raw.at_ms < MAX_TIMESTAMP:
        raise UnitError("timestamp", raw.at_ms, "ms since 1970, before the year 5138")
    return raw.at_ms


def _read_price_change(raw: _AnyKind) -> Message:
    """Today's schema, or one of two older ones: ``changes`` for one asset, and a flat price/side/size."""
    at, changes = _timestamp(raw), raw.price_changes
    if changes is None:
        if raw.changes is not None:
            changes = [Change(raw.asset_id, each["price"], each["size"], each["side"]) for each in raw.changes]
        elif raw.price and raw.side:
            changes = [Change(raw.asset_id, raw.price, raw.size, raw.side)]
        else:
            return _malformed(raw, "no price_changes")
        if changes:
            # The hash these schemas carry is of the book after all of the changes.
            changes[-1].hash = raw.hash
    if not _are_short(changes):
        return _malformed(raw, f"a change of more than {MAX_CHANGE_CHARS} characters")
    return PriceChange(raw.market, changes, at, raw.event_type)


def _are_short(changes: Sequence[Change]) -> bool:
    """Whether no change has longer texts than the venue's. What came in a usual frame is no longer than that."""
    return all(
        len(each.price) + len(each.size) + len(each.side) + len(each.hash) + len(each.best_bid or "")
        + len(each.best_ask or "") <= MAX_CHANGE_CHARS
        for each in changes
    )  # fmt: skip


def _read_book(raw: _AnyKind) -> Message:
    bids = raw.bids if raw.bids is not None else raw.buys
    asks = raw.asks if raw.asks is not None else raw.sells
    if bids is None or asks is None or not raw.asset_id:
        return _malformed(raw, "a book needs asset_id, bids and asks")
    return Snapshot(
        raw.market, raw.asset_id, _timestamp(raw), raw.hash, bids, asks,
        raw.tick_size, raw.last_trade_price, raw.min_order_size, raw.neg_risk,
    )  # fmt: skip


def _read_trade(raw: _AnyKind) -> Message:
    return Trade(
        raw.market, raw.asset_id, _timestamp(raw), PRICES[raw.price], parse_size(raw.size), raw.side,
        raw.fee_rate_bps, raw.transaction_hash,
    )  # fmt: skip


def _read_tick(raw: _AnyKind) -> Message:
    parse_tick(raw.new_tick_size)
    return TickSizeChange(raw.market, raw.asset_id, _timestamp(raw), raw.new_tick_size)


def _read_resolved(raw: _AnyKind) -> Message:
    at_ms = raw.at_ms if 0 < raw.at_ms < MAX_TIMESTAMP else 0
    return MarketResolved(raw.market, tuple(raw.assets_ids or ()), raw.winning_asset_id, at_ms)


def _read_untyped(raw: _AnyKind) -> Message:
    """An object without ``event_type``: a REST book, or a very old price change."""
    if raw.bids is not None or raw.asks is not None or raw.buys is not None:
        return _read_book(raw)
    if raw.price_changes is not None or raw.changes is not None:
        return _read_price_change(raw)
    return Ignored("untyped")


def _ignore(raw: _AnyKind) -> Message:
    return Ignored(raw.event_type)


_KINDS: Final = {
    "": _read_untyped,
    "price_change": _read_price_change,
    "book": _read_book,
    "last_trade_price": _read_trade,
    "tick_size_change": _read_tick,
    "market_resolved": _read_resolved,
    "best_bid_ask": _ignore,
    "new_market": _ignore,
}


def _malformed(raw: _AnyKind, detail: str) -> Malformed:
    ids = {raw.asset_id, *(change.asset_id for change in raw.price_changes or ())} - {""}
    return Malformed(raw.event_type[:MAX_KIND_CHARS] or "object", detail, raw.market, tuple(sorted(ids)))


def _brief(error: BaseException) -> str:
    return str(error)[:200]

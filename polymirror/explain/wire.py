"""The venue's messages, read once more and as plainly as possible: for an explanation, not for speed."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SAID: Final = 80
"""Characters that are shown of what cannot be read."""

Level = tuple[str, str]
"""Price and size as the venue spelt them."""


@frozen
class Entry:
    """One change of one token: the new size at a price."""

    token: str
    price: str
    size: str
    is_bid: bool
    hash: str
    best_bid: str | None
    best_ask: str | None


@frozen
class Change:
    """Changes of one market at one time of the venue, in ms."""

    market: str
    at_ms: int
    entries: tuple[Entry, ...]


@frozen
class Whole:
    """A whole book."""

    market: str
    token: str
    at_ms: int
    hash: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    tick: str | None
    trade: str | None
    """The last trade price that it states."""
    min_size: str | None
    neg_risk: bool | None


@frozen
class Note:
    """Something else about a market: a trade, a price grid, its end."""

    market: str
    token: str
    at_ms: int
    kind: str
    value: str


@frozen
class Odd:
    """What cannot be read."""

    why: str


Message = Change | Whole | Note | Odd

SILENT: Final = frozenset({"", "PONG", "PING", "[]", "{}", "NO NEW ASSETS", "INVALID OPERATION", "INVALID MESSAGE"})
"""Texts that say nothing about a book."""

NOTES: Final = {
    "last_trade_price": "price",
    "tick_size_change": "new_tick_size",
    "market_resolved": "winning_asset_id",
}
"""Kinds beside changes and books that matter, and where their value is."""


def read(text: str) -> list[Message]:
    """Read a frame, or the text of an answer with books. Raises nothing."""
    if text.strip() in SILENT:
        return []
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        shown = text.strip()
        # A short plain text is a reply, whatever it says.
        plain = not shown.startswith(("{", "[")) and len(shown) <= 2 * MAX_SAID and shown.isprintable() and "<" in shown
        if not shown.startswith(("{", "[", "<")) and not plain and len(shown) <= MAX_SAID:
            return []
        return [Odd(f"it is no JSON: {shown[:MAX_SAID]}")]
    return list(_each(content))


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _each(content: Any) -> Iterator[Message]:
    for item in content if isinstance(content, list) else [content]:
        try:
            message = _message(item)
        except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
            kind = item.get("event_type", "object") if isinstance(item, dict) else "element"
            yield Odd(f"a {str(kind)[:MAX_SAID]} that cannot be read: {str(error)[:MAX_SAID] or type(error).__name__}")
        else:
            if message is not None:
                yield message


def _message(item: Any) -> Message | None:
    kind = item.get("event_type", "book" if "bids" in item else "")
    if kind == "price_change":
        return Change(item["market"], int(item["timestamp"]), tuple(_entry(each) for each in item["price_changes"]))
    if kind == "book":
        bids = item["bids"] if "bids" in item else item["buys"]
        asks = item["asks"] if "asks" in item else item["sells"]
        return Whole(
            str(item["market"] + ""), item["asset_id"] + "", _positive(item["timestamp"]), item.get("hash", "") + "",
            tuple(map(_level, bids)), tuple(map(_level, asks)), item.get("tick_size"), item.get("last_trade_price"),
            item.get("min_order_size"), item.get("neg_risk"),
        )  # fmt: skip
    if kind in NOTES:
        value = item.get(NOTES[kind])
        token, at = item.get("asset_id", ""), item.get("timestamp", 0)
        return Note(item["market"], str(token), int(at or 0), kind, "" if value is None else str(value))
    return None


def _entry(each: Any) -> Entry:
    side = each["side"]
    if side not in {"BUY", "SELL"}:
        raise ValueError(f"the side {side!r}")
    price, size = _level(each)
    best = each.get("best_bid"), each.get("best_ask")
    for one in best:
        if one:
            Decimal(one)
    return Entry(each["asset_id"] + "", price, size, side == "BUY", each.get("hash", ""), *best)


def _level(each: Any) -> Level:
    price, size = str(each["price"]), str(each["size"])
    if not 0 < Decimal(price) < 1 or not Decimal(size) >= 0:
        raise ValueError(f"the level {price} {size}")
    return price, size


def _positive(stamp: Any) -> int:
    if (at := int(stamp)) <= 0:
        raise ValueError(f"the time {at}")
    return at

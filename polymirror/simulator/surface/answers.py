"""The forms that the venue's services give their answers, errors and pages in."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.frames import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.simulator.frames import Call

FIRST_CURSOR: Final = "MA=="
LAST_CURSOR: Final = "LTE="
"""The order book service's marks of the first page and of the end: 0 and -1 in base64."""


class UnreadableError(Exception):
    """A call whose parameters make no sense; the text says which."""


def told(value: object) -> Answer:
    """An answer with a value as compact JSON."""
    return Answer(200, json.dumps(value, separators=(",", ":")))


def refused(status: int, text: str) -> Answer:
    """An error as the order book service words it."""
    return Answer(status, json.dumps({"error": text}, separators=(",", ":")))


def refused_by_gamma(status: int, text: str) -> Answer:
    """An error as the discovery service words it."""
    kind = "not found error" if status == 404 else "validation error"
    return Answer(status, json.dumps({"type": kind, "error": text}))


def whole(call: Call, name: str, default: int, most: int = 10**12) -> int:
    """A whole number of the query, not negative and at most ``most``. Raises :class:`UnreadableError`."""
    text = call.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise UnreadableError(f"invalid {name}")
    return min(int(text), most)


def clob_page(call: Call, entries: Sequence[Any], form: Callable[[Any], Any], size: int) -> Answer:
    """One page of a list of the order book service. Raises :class:`UnreadableError` for a cursor that is none."""
    cursor = call.query.get("next_cursor") or FIRST_CURSOR
    try:
        start = int(base64.b64decode(cursor, validate=True))
    except (ValueError, binascii.Error):
        raise UnreadableError("invalid next_cursor") from None
    shown = [form(entry) for entry in entries[start : start + size]] if start >= 0 else []
    end = start + size
    following = base64.b64encode(str(end).encode()).decode() if start >= 0 and end < len(entries) else LAST_CURSOR
    return told({"data": shown, "next_cursor": following, "limit": size, "count": len(shown)})


def data_page(call: Call, entries: Sequence[Any], form: Callable[[Any], Any] = lambda entry: entry) -> Answer:
    """One page of a list of the data service, whose cursor is a number here. Raises :class:`UnreadableError`."""
    start, size = whole(call, "cursor", 0), max(1, whole(call, "limit", 100, 1_000))
    more = start + size < len(entries)
    pagination = {"has_more": more, "next_cursor": str(start + size) if more else None}
    return told({"data": [form(entry) for entry in entries[start : start + size]], "pagination": pagination})

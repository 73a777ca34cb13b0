"""Large frames and bodies: cutting them into the messages that they are arrays of, so that others get their turn.

What is read in one go must take no longer than some milliseconds, whatever a peer put into it: :func:`is_light` says
whether it does, before anything is read. What is heavier is cut where the elements of an array end; what cannot be cut
is given up by the caller. What a piece means is the business of others. Called by connections and by the REST services.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from polymirror.core.messages import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_PIECES: Final = 1_000
"""An opening frame has a book for each of 500 tokens at most. What has more elements is not cut."""

AT_ONCE_BYTES: Final = 2 * 2**20
"""Bytes that are read in one go. A book with a level at each of its 9,999 possible prices has some 400,000."""

AT_ONCE_VALUES: Final = 40_000
"""JSON values that are read in one go, about: what is short and dense takes longest. That book has 30,000."""

LEAST_BYTES: Final = 6
"""Bytes for each value, on the average, of what is looked at to be cut. Books have 10."""


class _Message(msgspec.Struct, gc=False):
    """Any message of the stream. Anything else ends the decoding where it is met, before it takes time."""

    event_type: str


class _Book(msgspec.Struct, gc=False):
    """Any book of REST, likewise."""

    asset_id: str


_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MESSAGES: Final = (b'"event_type"', msgspec.json.Decoder(list[_Message]))
_BOOKS: Final = (b'"asset_id"', msgspec.json.Decoder(list[_Book]))


def is_light(data: bytes, max_bytes: int = AT_ONCE_BYTES, max_values: int = AT_ONCE_VALUES) -> bool:
    """Whether reading this JSON takes some milliseconds at most, whatever it is."""
    if len(data) <= max_values:
        return True
    return len(data) <= max_bytes and len(data) - len(data.translate(None, b",[{")) <= max_values


def cut_array(data: bytes) -> Sequence[bytes]:
    """Return the elements of an array of stream messages, or the frame itself if it is anything else.

    What is not exactly an array of objects is judged as one frame, and so is one above ``MAX_FRAME_BYTES``.
    """
    return _cut(data, *_MESSAGES)


def cut_books(data: bytes) -> Sequence[bytes]:
    """Return an array of REST books as arrays of some of them, or the body itself if it is anything else."""
    books = _cut(data, *_BOOKS)
    return books if len(books) == 1 else list(_gather(books))


def _gather(elements: Sequence[bytes]) -> Iterator[bytes]:
    """Join elements to arrays that are light whatever they are: read one by one, 500 thin books take twice as long."""
    first, size = 0, 2
    for i, element in enumerate(elements):
        if i > first and size + len(element) > AT_ONCE_VALUES:
            yield b"[" + b",".join(elements[first:i]) + b"]"
            first, size = i, 2
        size += len(element) + 1
    yield b"[" + b",".join(elements[first:]) + b"]"


def _cut(
    data: bytes, key: bytes, shape: msgspec.json.Decoder[list[_Message]] | msgspec.json.Decoder[list[_Book]]
) -> Sequence[bytes]:
    if not is_light(data, MAX_FRAME_BYTES, len(data) // LEAST_BYTES):
        return (data,)
    # Each element has the key, so these bound their number before any is made; an escape could hide a key.
    if data.count(key) > MAX_PIECES or b"\\" in data:
        return (data,)
    try:
        count = len(shape.decode(data))
        return [bytes(each) for each in _ELEMENTS.decode(data)] if count else (data,)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return (data,)


def keep_whole(data: bytes) -> Sequence[bytes]:
    """Return the frame as it is."""
    return (data,)

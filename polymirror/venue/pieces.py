"""Cutting a large frame into the messages that it is an array of, so that others get their turn between them.

Called by a connection of the mirror for frames that are large. What a piece means is the engine's business; here an
array is split where its elements end, and nothing is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from polymirror.core.messages import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PIECES: Final = 1_000
"""An opening frame has a book for each of 500 tokens at most. What has more elements is handed on as it is, and
judged as one frame."""

_elements = msgspec.json.Decoder(list[msgspec.Raw])


def cut_array(data: bytes) -> Sequence[bytes]:
    """Return the elements of an array of JSON objects, or the frame itself if it is anything else.

    What is not exactly an array of objects is judged as one frame, and so is one above ``MAX_FRAME_BYTES``.
    """
    if len(data) > MAX_FRAME_BYTES:
        return (data,)
    try:
        elements = _elements.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return (data,)
    pieces = [bytes(each) for each in elements]
    whole = not 0 < len(pieces) <= MAX_PIECES or any(piece[:1] != b"{" for piece in pieces)
    return (data,) if whole else pieces


def keep_whole(data: bytes) -> Sequence[bytes]:
    """Return the frame as it is."""
    return (data,)

"""Reading the body of an HTTP answer within bounds that hold while it grows, decompressed or not.

A few hundred bytes can stand for gigabytes, so what comes is decompressed in slices and measured after each, and the
event loop has its turn between them. One layer of gzip is asked for and accepted, and nothing else. Called by
:mod:`polymirror.venue.http`, and by whoever asks a service of another kind.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final, cast

from polymirror.errors import BadResponse
from polymirror.harmless import harmless
from polymirror.venue.failures import explain_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Sequence

    import httpx

SLICE: Final = 262_144
"""Bytes that are decompressed before other tasks get their turn: about a millisecond's worth."""

MAX_PIECES: Final = 64
"""Pieces of an answer that are taken before other tasks get their turn: a peer may send each byte alone."""

ENCODING: Final = {"Accept-Encoding": "gzip"}
"""The header that asks for what is accepted."""

GZIP: Final = frozenset({"gzip", "x-gzip"})

UNREADABLE: Final = 200
"""Marks a success whose body could not be read: the only BadResponse that a repetition may cure."""


async def read_answer(call: str, response: httpx.Response, limit: int) -> bytes:
    """Return the body of an answer whose head has come, as :func:`read_body` does.

    The bytes as they came: httpx would decompress any number of layers, all of them at once.
    """
    pieces = cast("AsyncIterable[bytes]", response.stream)
    return await read_body(call, pieces, response.headers.get_list("Content-Encoding"), limit)


async def read_directly(call: str, response: httpx.Response, limit: int) -> bytes:
    """Do the same for a service that must answer itself: a redirect is a BadResponse that says where it leads."""
    if response.is_redirect:
        status, places = response.status_code, response.headers.get_list("Location")
        raise BadResponse(call, explain_status(status, places, str(response.request.url), most=0), status)
    return await read_answer(call, response, limit)


async def read_body(call: str, pieces: AsyncIterable[bytes], encodings: Sequence[str], limit: int) -> bytes:
    """Return a whole body of at most ``limit`` bytes; ``encodings`` are the answer's Content-Encoding headers.

    Raises :class:`~polymirror.errors.BadResponse` for a longer one, for an encoding that was not asked for, and for
    gzip that is broken, cut short or followed by more. ``pieces`` raises what it raises.
    """
    layers = [layer for each in encodings for name in each.split(",") if (layer := name.strip().lower())]
    layers = [layer for layer in layers if layer != "identity"]
    if layers and (len(layers) > 1 or layers[0] not in GZIP):
        named = harmless(", ".join(layers), 60)
        raise BadResponse(call, f"encoded with {named}: no more than one layer of gzip is accepted", UNREADABLE)
    unzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if layers else None
    body = bytearray()
    count = received = 0
    async for piece in pieces:
        count += 1
        received += len(piece)
        # Compressed bytes count, too: empty blocks come to nothing however many there are.
        if received > limit:
            raise _too_long(call, limit)
        if unzip is None:
            body += piece
        else:
            await _decompress(call, unzip, piece, body, limit)
        if count % MAX_PIECES == 0:
            await asyncio.sleep(0)
    if unzip is not None and received and not unzip.eof:
        raise BadResponse(call, "cannot be decompressed: it ends too early", UNREADABLE)
    return bytes(body)


async def _decompress(call: str, unzip: zlib._Decompress, piece: bytes, body: bytearray, limit: int) -> None:
    """Add to ``body`` what ``piece`` stands for."""
    more = True
    while more:
        try:
            part = unzip.decompress(piece, SLICE)
        except zlib.error as error:
            raise BadResponse(call, f"cannot be decompressed: {error}", UNREADABLE) from error
        body += part
        if len(body) > limit:
            raise _too_long(call, limit)
        if unzip.unused_data:
            raise BadResponse(call, "cannot be decompressed: something follows its end", UNREADABLE)
        # A full slice may have more behind it, though all of the piece is taken.
        piece = unzip.unconsumed_tail
        more = bool(piece) or len(part) == SLICE
        if more:
            await asyncio.sleep(0)


def _too_long(call: str, limit: int) -> BadResponse:
    return BadResponse(call, f"the answer is longer than {limit} bytes")

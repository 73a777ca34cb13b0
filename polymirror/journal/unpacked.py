"""The text in frames of zstd, to the last byte that is there also of a frame that has no end."""

from __future__ import annotations

import io
from importlib import import_module
from typing import IO, Any, Final

from polymirror.errors import MissingExtra

EXTRA: Final = "recordings"
"""What has to be installed for zstd, and for tables."""

PACKED_PIECE: Final = 2**9
"""Bytes that are unpacked at once: of bytes that repeat each other they may be 16,000 times as many."""


class Unpacked(io.RawIOBase):
    """Unpacks ``raw``, for whatever ``purpose``. Raises MissingExtra, and the library's own ZstdError for damage.

    The library's own reader keeps what it has unpacked beyond a piece to itself when no more comes.
    """

    def __init__(self, raw: IO[bytes], purpose: str) -> None:
        try:
            library = import_module("zstandard")
        except ImportError as error:
            raise MissingExtra(purpose, EXTRA) from error
        self._raw = raw
        self._new = library.ZstdDecompressor().decompressobj
        # What unpacks the frame that is being read; None between two.
        self._frame: Any = None
        # For buffers: what they had no room for.
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return about so many bytes, or a piece of the packed ones more; none at the end, all for less than 0."""
        found: list[bytes] = []
        while size and (packed := self._raw.read(PACKED_PIECE)):
            found.append(self._unpack(packed))
            size = max(size - len(found[-1]), 0) if size > 0 else size
        return b"".join(found)

    def readinto(self, into: Any, /) -> int:
        """Fill a buffer, for a BufferedReader. Raises EOFError for a frame that has no end, after all that is there."""
        if not self._rest:
            self._rest = memoryview(self.read(len(into)))
            if not self._rest and self._frame is not None:
                raise EOFError("their end is missing")
        taken = min(len(into), len(self._rest))
        into[:taken], self._rest = self._rest[:taken], self._rest[taken:]
        return taken

    def _unpack(self, packed: bytes) -> bytes:
        found: list[bytes] = []
        while packed:
            if self._frame is None:
                self._frame = self._new()
            found.append(self._frame.decompress(packed))
            packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        return b"".join(found)

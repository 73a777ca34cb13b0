"""Recordings that others made, as files: what they are packed in, and the lines that are inside.

Text of one frame or event a line, plain or packed, and tables in Parquet come out as the same lines, which
:class:`~polymirror.journal.frames.FrameReplay` reads; what cannot be read is refused in one sentence that says what it
is and what to do. Nothing is held but one line, or one batch of a table. Used by ``polymirror replay``.
"""

from __future__ import annotations

import bz2
import gzip
import os
import stat
import sys
import zlib
from contextlib import contextmanager
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import msgspec

from polymirror.errors import DecodeError, MissingExtra, PolymirrorError
from polymirror.harmless import harmless
from polymirror.journal.frames import BOM, ENVELOPES, MAX_LINE_BYTES, TIMES
from polymirror.journal.unpacked import EXTRA, Unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDIN: Final = "-"

ROWS_AT_ONCE: Final = 512
"""Rows of a table that are held at a time."""

BUFFER_BYTES: Final = 2**20
"""What of a table is read at once."""

COLUMNS: Final = (*ENVELOPES, "raw_data")
"""Where the frames of a table may be: the first of these that it has."""

HEAD_BYTES: Final = 64
"""The first bytes of a file, by which it is recognised."""

MAX_TOLD: Final = 60
"""Characters of a line that are told."""

PARQUET: Final = b"PAR1"

REFUSED: Final[dict[bytes, str]] = {
    b"PK\x03\x04": "a zip archive: unpack it and give one of the files in it",
    b"7z\xbc\xaf": "a 7z archive: unpack it and give one of the files in it",
    b"\xfd7zXZ\x00": "packed with xz, which may take any amount of memory: xz -dc FILE | polymirror replay -",
    b"\x04\x22\x4d\x18": "packed with lz4: unpack it, or pack it with gzip or zstd",
    b"SQLite format 3\x00": "a SQLite database: write its frames to a file, one a line",
    b"\xff\xfe": "UTF-16 text, as PowerShell writes it: convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text: convert it to UTF-8",
    b"version https://git-lfs": "the pointer of a file in Git LFS, not the file: run 'git lfs pull' there",
    b"ARROW1": "an Arrow file: write it as Parquet",
    b"Obj\x01": "an Avro file: write its frames to a file, one a line",
}
"""What is recognised and not read, by its first bytes."""


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    try:
        return cast("IO[bytes]", import_module("compression.zstd").open(raw))
    except ImportError:  # before Python 3.14
        pass
    return BufferedReader(Unpacked(raw, "a recording that is packed with zstd"))


UNPACKERS: Final[dict[bytes, Callable[[IO[bytes]], IO[bytes]]]] = {
    b"\x1f\x8b": lambda raw: cast("IO[bytes]", gzip.GzipFile(fileobj=raw)),
    b"\x28\xb5\x2f\xfd": _zstd,
    b"BZh": lambda raw: cast("IO[bytes]", bz2.BZ2File(raw)),
}
"""How each kind of packed file is opened, by its first bytes."""


class Recording:
    """The lines of a recording, and how far it was read."""

    def __init__(self, name: str, raw: BufferedReader, size: int | None) -> None:
        self.name = name
        # Bytes on disk, or rows of a table; None when not known.
        self.total: int | None = size
        self._raw = raw
        self._rows = 0
        # The first line that is not empty.
        self.first: bytes = b""

    @property
    def position(self) -> int:
        """How much of ``total`` was read so far."""
        return self._rows or (self._raw.tell() if self.total is not None else 0)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines.

        Raises DecodeError for a line that is too long and for broken compression, MissingExtra for what needs one, and
        PolymirrorError for a file that cannot be read, or is of a kind that is not.
        """
        head = self._raw.peek(HEAD_BYTES)[:HEAD_BYTES]
        for start, what in REFUSED.items():
            if head.startswith(start):
                raise PolymirrorError(f"{self.name} is {what}")
        for line in self._rows_as_lines() if head.startswith(PARQUET) else self._text(head):
            if not self.first:
                self.first = line.strip().removeprefix(BOM)
            yield line
        if not self.first:
            raise PolymirrorError(f"{self.name} is empty: it must have one frame or event a line")

    def _text(self, head: bytes) -> Iterator[bytes]:
        unpack = next((each for start, each in UNPACKERS.items() if head.startswith(start)), None)
        source: IO[bytes] = self._raw if unpack is None else unpack(self._raw)
        number = 0
        try:
            while line := source.readline(MAX_LINE_BYTES + 1):
                number += 1
                self._check_length(line, number)
                yield line
        except (EOFError, zlib.error) as error:
            raise self._damage(number, error) from error
        except OSError as error:
            # What unpacks has no number for its errors, as the system has.
            raise self._damage(number, error) if error.errno is None else _refusal(self.name, error) from error
        except Exception as error:
            # Whatever library reads zstd has an error of its own.
            if type(error).__name__ != "ZstdError":
                raise
            raise self._damage(number, error) from error

    def _damage(self, number: int, error: Exception) -> DecodeError:
        return DecodeError(self.name, f"the compressed data are damaged after line {number}: {error}")

    def _check_length(self, line: bytes, number: int) -> None:
        if len(line) > MAX_LINE_BYTES:
            raise DecodeError(f"{self.name} line {number}", f"longer than {MAX_LINE_BYTES >> 20} MiB")

    def _rows_as_lines(self) -> Iterator[bytes]:
        try:
            parquet = import_module("pyarrow.parquet")
        except ImportError as error:
            raise MissingExtra("a recording in Parquet", EXTRA) from error
        if self.total is None:
            raise PolymirrorError(f"{self.name} is Parquet, which is read from a file only: give the file's name")
        try:
            # Page by page: a group of rows may be as large as the file.
            table = parquet.ParquetFile(self._raw, buffer_size=BUFFER_BYTES, pre_buffer=False)
            there = table.schema_arrow.names
            frame = next((name for name in COLUMNS if name in there), None)
            if frame is None:
                raise PolymirrorError(
                    f"{self.name} has the columns {_list(there)}, and none with frames: one of {', '.join(COLUMNS)}"
                )
            time = next((name for name in TIMES if name in there), None)
            self.total = table.metadata.num_rows
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=[frame] if time is None else [frame, time]):
                for row in batch.to_pylist():
                    self._rows += 1
                    line = _as_line(row[frame], time, row.get(time))
                    self._check_length(line, self._rows)
                    yield line
        except (OSError, import_module("pyarrow").ArrowException) as error:
            raise DecodeError(self.name, f"the table is damaged: {error}") from error

    def describe(self) -> str:
        """Say in words what its first line is: for a recording in which nothing was found."""
        text = harmless(self.first[: 4 * MAX_TOLD].decode("utf-8", "replace"), MAX_TOLD)
        if self.first in (b"[", b"{"):
            return "its first line is a lone bracket: it is one JSON document over many lines"
        try:
            content = msgspec.json.decode(self.first)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return f"its first line is no JSON: {text}"
        if isinstance(content, dict):
            if "event_type" in content:
                return f"its first line is an event of the type {str(content['event_type'])[:MAX_TOLD]!r}"
            return f"its first line is an object with the keys {_list(map(str, content))}"
        return f"its first line is {text}"


def _list(names: Any) -> str:
    """Names in words, of many only the first."""
    text = ", ".join(names)
    return text if len(text) <= 4 * MAX_TOLD else f"{text[: 4 * MAX_TOLD]}.."


def _as_line(frame: Any, time: str | None, stamp: Any) -> bytes:
    """Write a row as a line: the frame as it is, in an envelope if it has a receive time."""
    if frame is None:
        return b"\n"
    if time is None or not isinstance(stamp, int):
        if isinstance(frame, str):
            return frame.encode("utf-8", "surrogatepass")
        return frame if isinstance(frame, bytes) else msgspec.json.encode(frame)
    inside = frame.decode("utf-8", "replace") if isinstance(frame, bytes) else frame
    return msgspec.json.encode({ENVELOPES[0]: inside, time: stamp})


@contextmanager
def open_recording(name: str) -> Iterator[Recording]:
    """Open a file, or standard input for ``-``. Raises PolymirrorError with what to do when it cannot be read."""
    if name == STDIN:
        yield Recording("standard input", cast("BufferedReader", sys.stdin.buffer), None)
        return
    if not name:
        raise PolymirrorError("the name of the recording is empty: give the path of a file, or - for standard input")
    try:
        raw = Path(name).open("rb")  # noqa: SIM115 - the block below closes it
    except (OSError, ValueError) as error:
        raise _refusal(name, error) from error
    with raw:
        found = os.fstat(raw.fileno())
        yield Recording(name, raw, found.st_size if stat.S_ISREG(found.st_mode) else None)


def _refusal(name: str, error: Exception) -> PolymirrorError:
    if isinstance(error, FileNotFoundError):
        said = f"there is no file {name}: give the path of a recording, or - for standard input"
    elif isinstance(error, IsADirectoryError):
        said = f"{name} is a folder: give one of the files in it"
    elif isinstance(error, PermissionError):
        said = f"{name} may not be read: check its permissions"
    else:
        said = f"{name} cannot be read: {getattr(error, 'strerror', None) or error}"
    return PolymirrorError(said)

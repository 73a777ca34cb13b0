"""The files of a journal on disk: packed, readable up to the last second whatever happens, and never too many.

A file is JSON Lines in frames of zstd, each complete in itself, so that a reader may begin with any of them; beside it
lies an index of the frames. What was written is handed to the system every second in the middle of a frame, too: a
process that is killed loses no more than that. Used by the thread of :mod:`polymirror.journal.writer` alone.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
from attrs import define, field
from msgspec import Struct

from polymirror.errors import MissingExtra
from polymirror.files import create_private, hold, is_held
from polymirror.journal.format import Book, Stamp, write_lines
from polymirror.journal.unpacked import EXTRA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from polymirror.config import JournalConfig
    from polymirror.journal.format import Line

SUFFIX: Final = ".jsonl.zst"

NAME: Final = re.compile(r"([0-9A-Za-z]{1,32}-[0-9a-f]{6})-([0-9]{5,9})\.jsonl\.zst", re.ASCII)
"""The name of a file: its session's, and its number in it."""

INDEX_SUFFIX: Final = ".index.jsonl"

FRAME_BYTES: Final = 2**24
"""A frame of zstd ends with this much text: quiet books, which REST is asked for every few seconds, repeat in it,"""

FRAME_SECONDS: Final = 60.0
"""or after this long."""

LEVEL: Final = 1
"""How hard zstd tries: more takes twice the time, and makes journals no smaller."""

WINDOW: Final = 24
"""How far back it looks, as a power of 2: the whole frame."""

LONG_MATCHES: Final = {"ldm_hash_log": 18, "ldm_hash_rate_log": 7, "ldm_min_match": 128, "ldm_bucket_size_log": 1}
"""How it looks for what repeats from far back: as coarsely as whole books allow, in half the time."""


class Indexed(Struct, omit_defaults=True):
    """One frame of zstd in the index: where it begins, and what is in it."""

    at: int
    """Its first byte in the file."""
    size: int
    n: int
    """The number of its first line,"""
    t: Stamp
    """and its time on the mirror's clock,"""
    w: int
    """and the time of day, ns."""
    low: int
    high: int
    """The earliest and the latest time of day in it: a clock may be set back."""
    lines: int
    books: tuple[str | int, ...] = ()
    """Tokens whose whole book is in it: each by its id at its first mention in the index, then by a number, from 0."""


def compressor(purpose: str) -> Any:
    """Return what packs frames, of the library zstandard. Raises MissingExtra."""
    try:
        library = import_module("zstandard")
    except ImportError as error:
        raise MissingExtra(purpose, EXTRA) from error
    settings = library.ZstdCompressionParameters.from_level(
        LEVEL, window_log=WINDOW, write_checksum=True, enable_ldm=True, **LONG_MATCHES
    )
    return library.ZstdCompressor(compression_params=settings)


def pack_lines(lines: Sequence[Line]) -> bytes:
    """Return lines as one frame of zstd: a small journal, in memory. Raises MissingExtra."""
    packed: bytes = compressor("a journal").compress(write_lines(lines))
    return packed


def file_name(session: str, number: int) -> str:
    """Return the name of a session's file."""
    return f"{session}-{number:05d}{SUFFIX}"


_wall: Final = attrgetter("w")


@define(eq=False)
class _Frame:
    """The frame of zstd that is being written."""

    at: int
    packer: Any
    began: float
    n: int
    t: Stamp
    w: int
    low: int
    high: int
    text: int = 0
    lines: int = 0
    books: dict[str, None] = field(factory=dict)


class JournalFile:
    """One file of a journal, and its index. All methods raise OSError; times in seconds of any monotonic clock.

    Nothing is closed by an error: call :meth:`abandon` then.
    """

    def __init__(self, folder: Path, name: str, packer: Any, now: float) -> None:
        self._packer = packer
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path: Path = folder / name
        self._index_path = folder / f"{name.removesuffix(SUFFIX)}{INDEX_SUFFIX}"
        self._file = create_private(self.path)
        # Others who record in the same folder may delete what is old.
        hold(self._file)
        try:
            self._index = create_private(self._index_path)
        except OSError:
            os.close(self._file)
            raise
        self._frame: _Frame | None = None
        # The tokens in the index so far, and their numbers.
        self._numbers: dict[str, int] = {}
        self.began: float = now
        self._sync_at = now + FRAME_SECONDS
        # Bytes that are surely in the file, and that reach to the end of a block.
        self.size: int = 0

    def write(self, lines: Sequence[Line], now: float) -> None:
        """Pack lines; what fills a block of zstd is written."""
        text = write_lines(lines)
        frame, first = self._frame, lines[0]
        if frame is None:
            frame = _Frame(self.size, self._packer.compressobj(), now, first.n, first.t, first.w, first.w, first.w)
            self._frame = frame
        walls = list(map(_wall, lines))
        low, high = min(walls), max(walls)
        frame.low, frame.high = min(frame.low, low), max(frame.high, high)
        frame.text += len(text)
        frame.lines += len(lines)
        if Book in set(map(type, lines)):
            frame.books.update((line.token, None) for line in lines if line.__class__ is Book)
        self._out(frame.packer.compress(text))
        if frame.text >= FRAME_BYTES:
            self.end_frame()

    def flush(self, now: float) -> None:
        """Hand everything to the system, and end the frame if it is old."""
        frame = self._frame
        self._look_where_it_is()
        if now >= self._sync_at:
            # A machine that loses its power loses about a minute.
            self._sync_at = now + FRAME_SECONDS
            os.fsync(self._file)
        if frame is not None and now - frame.began >= FRAME_SECONDS:
            self.end_frame()
        elif frame is not None:
            library = import_module("zstandard")
            self._out(frame.packer.flush(library.COMPRESSOBJ_FLUSH_BLOCK))

    def end_frame(self) -> None:
        """End the frame: the next lines are readable without it."""
        frame, self._frame = self._frame, None
        if frame is not None:
            self._out(frame.packer.flush())
            where = Indexed(
                frame.at, self.size - frame.at, frame.n, frame.t, frame.w, frame.low, frame.high, frame.lines,
                tuple([self._numbers.get(token, token) for token in frame.books]),
            )  # fmt: skip
            for token in frame.books:
                self._numbers.setdefault(token, len(self._numbers))
            _write(self._index, msgspec.json.encode(where) + b"\n")

    def close(self) -> None:
        """End the file: it is complete on return."""
        self.end_frame()
        os.fsync(self._file)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is, cut after the last block that is whole; one without any is no file."""
        for file in (self._file, self._index):
            try:
                if file == self._file:
                    os.ftruncate(file, self.size)
            except OSError:
                # Then a reader finds the torn end by itself.
                pass
            finally:
                os.close(file)
        if not self.size:
            self.path.unlink(missing_ok=True)
            self._index_path.unlink(missing_ok=True)

    def _out(self, data: bytes) -> None:
        if data:
            _write(self._file, data)
            self.size += len(data)

    def _look_where_it_is(self) -> None:
        """Find out whether the file is still where a reader looks for it."""
        there, ours = self.path.stat(), os.fstat(self._file)
        if not os.path.samestat(there, ours):
            raise OSError(errno.ESTALE, "somebody put another file in its place", str(self.path))


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def check_room(folder: Path, least: int) -> None:
    """Raise OSError if less than ``least`` bytes are free for others where the folder is."""
    if least and shutil.disk_usage(folder).free < least:
        raise OSError(errno.ENOSPC, f"less than {least >> 20} MiB are free, which are left to others", str(folder))


def journal_files(folder: Path) -> list[Path]:
    """Return the files of all journals in a folder, the oldest first: names begin with the time. Raises OSError."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def index_of(path: Path) -> Path:
    """Return where the index of a file is."""
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}{INDEX_SUFFIX}")


def sizes_of(paths: Iterable[Path]) -> dict[Path, int]:
    """Return the bytes of files; one that somebody else has deleted meanwhile is left out. Raises OSError."""
    sizes: dict[Path, int] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    return sizes


def make_room(folder: Path, config: JournalConfig, current: Path) -> list[str]:
    """Delete the oldest files while all have more bytes than are to be kept; return their names. Raises OSError.

    What is being written stays, whoever writes it.
    """
    if config.keep_bytes is None:
        return []
    gone: list[str] = []
    sizes = sizes_of(journal_files(folder))
    total = sum(sizes.values())
    for path, size in sizes.items():
        if total <= config.keep_bytes:
            break
        with suppress(FileNotFoundError):
            if path == current or is_held(path):
                continue
            path.unlink()
            gone.append(path.name)
        index_of(path).unlink(missing_ok=True)
        total -= size
    return gone

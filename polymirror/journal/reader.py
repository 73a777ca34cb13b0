"""Reading journals: the lines of a file, of a session and of a folder, whatever happened to the end of a file.

What is torn or damaged is left out, and a line says so: :class:`~polymirror.journal.format.Lost`, as for what was never
recorded. Nothing is held but a piece of text and the index.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

import msgspec
from attrs import frozen

from polymirror.errors import DecodeError, PolymirrorError
from polymirror.journal.disk import FRAME_SECONDS, NAME, Indexed, index_of, journal_files
from polymirror.journal.format import FORMAT, Book, Header, Lost, read_line
from polymirror.journal.unpacked import Unpacked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from polymirror.journal.format import Line

MAX_LINE_BYTES: Final = 96 * 2**20
"""A longer line is none of a journal: an answer of REST has at most 32 MiB, and JSON may need more for it."""

MAX_FRAME_BYTES: Final = 4 * MAX_LINE_BYTES
"""Text of one frame, at most."""

WHAT: Final = "a journal"

PIECE: Final = 2**16
"""Bytes of text that are unpacked at once: what comes before damage in it is lost, too."""

HEAD_PIECE: Final = 2**11
"""The same for a file's first line."""

MAX_INDEX_BYTES: Final = 2**30
"""A larger index is not read."""

UNKNOWN: Final = -1
"""The count of lost lines of which nobody knows how many they are."""

ZSTD: Final = b"\x28\xb5\x2f\xfd"

_indexed: Final = msgspec.json.Decoder(Indexed)


@frozen
class JournalFile:
    """One file of a journal, or a small one in memory."""

    name: str
    path: Path | None
    """None: it is in memory."""
    data: bytes
    header: Header
    packed: bool
    frames: tuple[Indexed, ...]
    """What the index knows; empty: there is none, and the file is read from its beginning."""
    missing: tuple[Indexed, ...] = ()
    """Frames that the index knows and whose end the file does not have: it was cut off."""

    @property
    def complete(self) -> bool:
        """Whether the index knows all of it."""
        frames = self.frames
        return bool(frames) and not self.missing and frames[-1].at + frames[-1].size == self.size

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.data) if self.path is None else self.path.stat().st_size

    def open(self) -> IO[bytes]:
        """Open it. Raises OSError."""
        return io.BytesIO(self.data) if self.path is None else self.path.open("rb")

    def lines(self, frame: int = 0, until: int | None = None) -> Iterator[Line]:
        """Yield its lines, from one of its frames on, to the frame that ends at the byte ``until`` (default: all).

        Raises OSError and MissingExtra.
        """
        with self.open() as raw:
            end = self.frames[frame - 1].at + self.frames[frame - 1].size if frame else 0
            for each in self.frames[frame:]:
                raw.seek(each.at)
                # Its sum is at its end, and until that is known nothing in it is believed.
                reading = _Lines(Unpacked(io.BytesIO(raw.read(each.size)), WHAT), MAX_FRAME_BYTES)
                lines = list(reading)
                if reading.trouble:
                    yield Lost(each.n, each.t, each.w, each.lines, each.t, each.t, reading.trouble)
                else:
                    yield from lines
                end = each.at + each.size
                if end == until:
                    return
            # What the index does not have yet.
            raw.seek(end)
            reading = _Lines(Unpacked(raw, WHAT) if self.packed else raw)
            yield from reading
            if reading.trouble:
                last = reading.last or self.header
                n = last.n + (reading.last is not None)
                yield Lost(n, last.t, last.w, UNKNOWN, last.t, last.t, reading.trouble)
            elif (count := sum(each.lines for each in self.missing) - reading.count) > 0:
                first = self.missing[0]
                n, t, w = (
                    (first.n, first.t, first.w)
                    if reading.last is None
                    else (reading.last.n + 1, reading.last.t, reading.last.w)
                )
                yield Lost(n, t, w, count, t, self.missing[-1].t, "the end of the file is not there")


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Lines:
    """The lines in one stretch of a file. Iterate once; afterwards ``trouble`` says what was damaged in it.

    A torn last line is no damage: somebody was killed, or is still writing.
    """

    def __init__(self, source: _Source, limit: float = float("inf"), piece: int = PIECE) -> None:
        self._source = source
        self._piece = piece
        self._limit = limit
        self.trouble: str = ""
        self.last: Line | None = None
        # Lines so far, also of kinds that are not known here.
        self.count: int = 0

    def __iter__(self) -> Iterator[Line]:
        rest = b""
        for piece in self._pieces():
            whole, end, rest = (rest + piece).rpartition(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                self.trouble = f"a line is longer than {MAX_LINE_BYTES >> 20} MiB"
                return
            for text in whole.split(b"\n") if end else ():
                try:
                    line = read_line(text)
                except DecodeError as error:
                    self.trouble = f"damaged: {error}"
                    return
                self.count += 1
                if line is not None:
                    self.last = line
                    yield line

    def _pieces(self) -> Iterator[bytes]:
        """Yield the text as it is unpacked, to its end or to the first damage."""
        try:
            while piece := self._source.read(self._piece):
                self._limit -= len(piece)
                if self._limit < 0:
                    self.trouble = "there is more in it than was ever packed at once"
                    return
                yield piece
        except Exception as error:
            # Whatever library reads zstd has an error of its own.
            if type(error).__name__ != "ZstdError":
                raise
            self.trouble = f"the packed data are damaged: {error}"


def open_journal(source: Path | bytes) -> JournalFile:
    """Open one file of a journal, or one in memory.

    Raises DecodeError for what is none or of a later version, OSError, and MissingExtra.
    """
    path, data = (source, b"") if isinstance(source, Path) else (None, source)
    name = "a journal in memory" if path is None else str(path)
    named = None if path is None else NAME.fullmatch(path.name)
    with io.BytesIO(data) if path is None else path.open("rb") as raw:
        packed = raw.read(len(ZSTD)) == ZSTD or named is not None
        raw.seek(0)
        reading = _Lines(Unpacked(raw, WHAT) if packed else raw, piece=HEAD_PIECE)
        header = next(iter(reading), None)
    frames, missing = ((), ()) if path is None else _read_index(path)
    if header is None and path is not None and named and (reading.trouble or missing):
        # Damaged, and a journal by its name: what is missing is told, and what comes after the damage is read.
        header = _header_by_name(named[1], int(named[2]), frames or missing, path)
    if not isinstance(header, Header):
        raise DecodeError(name, "its first line is no header of a journal")
    if header.format > FORMAT:
        raise DecodeError(name, f"it has format {header.format}, and this version reads {FORMAT} at most: update")
    return JournalFile(name, path, data, header, packed, frames, missing)


def _header_by_name(session: str, number: int, frames: tuple[Indexed, ...], path: Path) -> Header:
    """Return a header in place of one that cannot be read: of settings and versions nothing is known."""
    n, t, w = (frames[0].n, frames[0].t, frames[0].w) if frames else (0, 0, path.stat().st_mtime_ns)
    return Header(
        n=n, t=t, w=w, format=FORMAT, session=session, file=number, polymirror="", python="", seed=0, engine={}, hedge=1
    )


def is_journal(path: Path) -> bool:
    """Whether a file is one of a journal: by its name, or by its first line."""
    if NAME.fullmatch(path.name):
        return True
    try:
        open_journal(path)
    except (PolymirrorError, OSError):
        return False
    return True


def _read_index(path: Path) -> tuple[tuple[Indexed, ...], tuple[Indexed, ...]]:
    """Read what the index has: frames that are in the file, and those that are not, or not to their end.

    An index that is torn or lost only costs time.
    """
    where = index_of(path)
    try:
        if where.stat().st_size > MAX_INDEX_BYTES:
            return (), ()
        lines = where.read_bytes().split(b"\n")[:-1]
    except OSError:
        return (), ()
    # Afterwards: whoever is still writing writes a frame before its line in the index.
    size = path.stat().st_size
    found: list[Indexed] = []
    missing: list[Indexed] = []
    tokens: dict[str, None] = {}
    named: tuple[str, ...] = ()
    at = 0
    for line in lines:
        try:
            frame = _indexed.decode(line)
            new = [each for each in frame.books if isinstance(each, str)]
            frame.books = tuple([each if isinstance(each, str) else named[each] for each in frame.books])
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError):
            break
        if new:
            tokens.update(dict.fromkeys(new))
            named = tuple(tokens)
        if frame.at != at:
            break
        at += frame.size
        (missing if at > size else found).append(frame)
    return tuple(found), tuple(missing)


Place = tuple[int, int]
"""A file of a session, and a frame in it."""

BEGINNING: Final[Place] = (0, 0)

SLACK_SECONDS: Final = 20.0
"""All books that are due are recorded whole within so many seconds."""


@frozen
class Session:
    """One run of a mirror: its files in order."""

    name: str
    files: tuple[JournalFile, ...]

    @property
    def header(self) -> Header:
        """The header of its first file that is there."""
        return self.files[0].header

    @property
    def whole(self) -> bool:
        """Whether its first file is there: then it can be replayed exactly."""
        return self.header.file == 1

    def over_before(self, wall: float) -> bool:
        """Whether all of it is surely older than a time of day (Unix seconds)."""
        return all(file.complete and max(each.high for each in file.frames) / 1e9 < wall for file in self.files)

    def last(self, start: float, end: float) -> int | None:
        """Return the number of the last line from one time of day to another; None: there is none."""
        for file in reversed(self.files):
            # What comes after what is indexed has to be read, whatever is in it.
            for frame in range(len(file.frames) - file.complete, -1, -1):
                known = file.frames[frame] if frame < len(file.frames) else None
                if known is not None and (known.low / 1e9 > end or known.high / 1e9 < start):
                    continue
                until = None if known is None else known.at + known.size
                found = [line.n for line in file.lines(frame, until) if start <= line.w / 1e9 <= end]
                if found:
                    return found[-1]
        return None

    def lines(self, place: Place = BEGINNING) -> Iterator[Line]:
        """Yield its lines from a place on."""
        number, frame = place
        for at, file in enumerate(self.files[number:]):
            yield from file.lines(frame if at == 0 else 0)

    def begin(self, wall: float | None, tokens: Collection[str]) -> tuple[Place, dict[str, Place]]:
        """Return where to read from, to have these books (all, if there are none) at a time of day; None: at all times.

        That is the oldest of the places where they were recorded whole last, if these are not too long ago; where
        older ones are comes with it, by token.
        """
        present, newest = BEGINNING, dict[str, tuple[float, Place]]()
        for place, frame in self._frames() if wall is not None else ():
            present = place
            if frame.high / 1e9 >= (wall or 0.0):
                break
            newest |= {str(token): (frame.w / 1e9, place) for token in frame.books if not tokens or token in tokens}
        if wall is None or not newest:
            return BEGINNING, {}
        # Whatever was LIVE was recorded whole in the time before; a frame counts from its beginning.
        since = wall - self.header.book_seconds - FRAME_SECONDS - SLACK_SECONDS
        first = min([place for at, place in newest.values() if at >= since], default=present)
        return first, {token: place for token, (_, place) in newest.items() if place < first}

    def whole_books(self, places: Mapping[str, Place]) -> Iterator[Book]:
        """Yield the newest whole book of each token in the frame that is named for it."""
        for place in sorted(set(places.values())):
            file, found = self.files[place[0]], dict[str, Book]()
            end = file.frames[place[1]].at + file.frames[place[1]].size
            for line in file.lines(place[1], until=end):
                if isinstance(line, Book) and places.get(line.token) == place:
                    found[line.token] = line
            yield from found.values()

    def _frames(self) -> Iterator[tuple[Place, Indexed]]:
        for number, file in enumerate(self.files):
            for at, frame in enumerate(file.frames):
                yield (number, at), frame


def sessions(source: Path | bytes) -> tuple[Session, ...]:
    """Return the sessions in a folder, in a file or in memory, the oldest first. Files of something else are left out.

    Raises PolymirrorError if there is none, DecodeError for a file that is given and is none, OSError.
    """
    if isinstance(source, Path) and source.is_dir():
        files = []
        for path in journal_files(source):
            try:
                files.append(open_journal(path))
            except DecodeError:
                # Killed before its first second was over.
                continue
        if not files:
            raise PolymirrorError(
                f"there is no journal in {source}, no *.jsonl.zst: of another recording give one of the files"
            )
    else:
        files = [open_journal(source)]
    names = dict.fromkeys(file.header.session for file in files)
    return tuple(Session(name, tuple(file for file in files if file.header.session == name)) for name in names)

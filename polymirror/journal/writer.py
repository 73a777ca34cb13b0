"""The thread that writes a journal, and the bounded queue before it.

Whoever records only appends to the queue and never waits. When the queue is full, or the disk, lines are lost, and one
line says how many and of which time. A disk that cannot be written is tried again, with a new file. Used by
:mod:`polymirror.journal.journal`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from attrs import define

from polymirror.harmless import harmless
from polymirror.journal.disk import JournalFile, check_room, compressor, file_name, make_room
from polymirror.journal.format import OVERHEAD, Heard, Lost, weight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from polymirror.config import JournalConfig
    from polymirror.journal.format import Header, Line

KIND: Final = "journal"
"""How the kinds of its warnings begin."""

POLL: Final = 1.0
"""Seconds between two looks into the queue, after each of which everything is handed to the system: a process that is
killed loses no more."""

AT_ONCE: Final = 128
"""Lines that are packed at once: the mirror's thread waits for its turn meanwhile."""

RETRY_BASE: Final = 1.0
RETRY_CAP: Final = 30.0
"""Seconds until a disk that could not be written is tried again: the first time, and at most."""

MAX_DOUBLINGS: Final = 16

MAX_TROUBLES: Final = 16
"""What is to be told and was not fetched yet; of more, the oldest is forgotten."""


@define
class _Missing:
    """Lines that are lost, until a line can say so."""

    first: Line
    last: Line
    count: int
    why: str

    def line(self) -> Lost:
        first, last = self.first, self.last
        return Lost(first.n, first.t, first.w, self.count, first.t, last.t, self.why)


class Writer:
    """Writes lines to files in ``folder``. ``header(number, n, t, w)`` makes the first line of each.

    Raises MissingExtra without the library for zstd. :meth:`put` is for one thread, all else for any.
    """

    def __init__(
        self, folder: Path, session: str, header: Callable[[int, Line], Header], config: JournalConfig
    ) -> None:
        self._packer = compressor("a journal")
        self._folder = folder
        self._session = session
        self._header = header
        self._config = config
        self._queue: deque[Line] = deque()
        self._most_bytes = config.queue_bytes
        # What went in is counted by the thread that records, what came out by the one that writes.
        self._put_bytes = self._taken_bytes = 0
        # Lines that found no room.
        self._refused: _Missing | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="polymirror journal", daemon=True)
        # For the mirror's thread to tell: by kind, since of each only one is told in a while.
        self.troubles: deque[tuple[str, str]] = deque(maxlen=MAX_TROUBLES)
        # How many files were begun: whoever records begins anew with each.
        self.files: int = 0
        # Bytes of the files that are complete.
        self._complete = 0
        # Lines that were lost for want of room, and of a disk, and that still waited for it at the end.
        self._refusals = self._unwritable = self._left = 0
        # From here on: of the writing thread.
        self._file: JournalFile | None = None
        # Lines that were handed to the file and are not surely in it, and those that surely are not.
        self._unsure: _Missing | None = None
        self._unwritten: _Missing | None = None
        self._retry_at = 0.0
        self._failures = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, line: Line) -> None:
        """Have a line written. Never waits: without room it is lost, and another line will say so."""
        size = OVERHEAD + len(line.data) if line.__class__ is Heard else weight(line)
        put = self._put_bytes + size
        if put - self._taken_bytes > self._most_bytes:
            if self._refused is None:
                self._refused = _Missing(line, line, 0, "more came than could be written")
            self._refused.last = line
            self._refused.count += 1
            return
        if self._refused is not None:
            self._tell_refused()
            put = self._put_bytes + size
        self._put_bytes = put
        self._queue.append(line)

    def close(self, timeout: float) -> bool:
        """Write what waits, for ``timeout`` seconds at most; return whether everything is written."""
        self._tell_refused()
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._left = len(self._queue)
        return not self._thread.is_alive() and not self._left and self._unwritten is None

    def _tell_refused(self) -> None:
        """Say in the journal and to people how many lines found no room."""
        if self._refused is None:
            return
        missing, self._refused = self._refused.line(), None
        self._put_bytes += weight(missing)
        self._queue.append(missing)
        self._refusals += missing.count
        self.troubles.append((f"{KIND} full", f"{missing.count} lines are lost: {missing.why}"))

    @property
    def bytes(self) -> int:
        """Bytes in the files."""
        file = self._file
        return self._complete + (0 if file is None else file.size)

    @property
    def lost(self) -> int:
        """Lines that were lost; those that wait for a disk are so at the end only."""
        return self._refusals + self._unwritable + self._left

    # ---- The writing thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            last = self._closing.wait(POLL)
            now = time.monotonic()
            if last or now >= self._retry_at:
                try:
                    self._write_all(last=last)
                except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
                    self._give_up(error, now)
            if last:
                return

    def _write_all(self, *, last: bool) -> None:
        queue = self._queue
        while True:
            # What was counted in before is out of the queue after as many lines as there are now.
            put, waiting = self._put_bytes, len(queue)
            while waiting:
                file = self._open(queue[0])
                lines = [queue.popleft() for _ in range(min(waiting, AT_ONCE))]
                waiting -= len(lines)
                self._unsure = _with(self._unsure, lines, "")
                file.write(lines, time.monotonic())
            self._taken_bytes = put
            self._flush(time.monotonic(), last=last and not queue)
            if not queue:
                return

    def _open(self, first: Line) -> JournalFile:
        if self._file is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_room(self._folder, self._config.min_free_bytes)
            now, number = time.monotonic(), self.files + 1
            file = JournalFile(self._folder, file_name(self._session, number), self._packer, now)
            self._file, self.files = file, number
            head: list[Line] = [self._header(number, first)]
            if self._unwritten is not None:
                head.append(self._unwritten.line())
            file.write(head, now)
        return self._file

    def _flush(self, now: float, *, last: bool) -> None:
        file = self._file
        if file is None:
            return
        check_room(self._folder, self._config.min_free_bytes)
        file.flush(now)
        self._unsure = None
        if self._failures:
            count = 0 if self._unwritten is None else self._unwritten.count
            self.troubles.append((f"{KIND} again", f"recording again, in {file.path}: {count} lines are lost"))
            self._unwritten, self._failures = None, 0
        if last or file.size >= self._config.rotate_bytes or now - file.began >= self._config.rotate_seconds:
            file.close()
            self._file, self._complete = None, self._complete + file.size
            gone = make_room(self._folder, self._config, file.path)
            if gone:
                self.troubles.append((f"{KIND} deleted", f"to make room: {', '.join(gone)}"))

    def _give_up(self, error: Exception, now: float) -> None:
        """Note what is lost, and try again later, with another file."""
        said = harmless(getattr(error, "strerror", None) or error)
        file, self._file = self._file, None
        if file is not None:
            self._complete += file.size
            with suppress(OSError):
                file.abandon()
        if self._unsure is not None:
            before = self._unwritten or self._unsure
            count = self._unsure.count + (0 if self._unwritten is None else self._unwritten.count)
            self._unwritten = _Missing(before.first, self._unsure.last, count, f"the disk: {said}")
            self._unwritable += self._unsure.count
            self._unsure = None
        if not self._failures:
            # Whoever hears of it finds the lines counted.
            self.troubles.append((KIND, f"nothing can be recorded in {self._folder}: {said}; it is tried again"))
        self._retry_at = now + min(RETRY_CAP, RETRY_BASE * 2**self._failures)
        self._failures = min(self._failures + 1, MAX_DOUBLINGS)


def _with(missing: _Missing | None, lines: Sequence[Line], why: str) -> _Missing:
    """Add lines to those that may be lost. One that says that others are lost counts for them."""
    count = len(lines)
    if Lost in set(map(type, lines)):
        count += sum(line.count - 1 for line in lines if line.__class__ is Lost)
    if missing is None:
        return _Missing(lines[0], lines[-1], count, why)
    missing.last, missing.count = lines[-1], missing.count + count
    return missing

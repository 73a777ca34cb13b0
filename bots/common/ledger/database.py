"""One SQLite file: opened by one process, checked, taken to the newest schema, written in whole transactions.

:meth:`Database.write` makes one transaction of what it is given, which survives a power cut when it returns; a crash
leaves all of it or nothing. A disk that is full or fails is an OSError, and nothing is lost or half there. A file that
is not what was written is :class:`LedgerCorrupt`: nothing is guessed, and the message names the newest copy. A call
takes as long as the disk takes; whoever runs on an event loop hands it to an :data:`Offload`: :class:`DiskThread` on
the real loop, :func:`inline` in virtual time, where there are no threads.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from bots.common.errors import BotError, shorten
from bots.common.files import new_file, own_file, own_folder, sync
from bots.common.ledger.schema import STEPS, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")
Statement = tuple[str, tuple[Any, ...]]

COPIES: Final = 7
"""So many daily copies are kept, the newest."""

WAIT_MS: Final = 5_000
"""How long a write waits for a command of another process, which holds the file for an instant."""

OLD_FILES: Final = ("state.json", "intents.jsonl")
"""What bots before the ledger kept."""

_FCNTL: Any = importlib.import_module("fcntl") if os.name == "posix" else None
"""Absent on Windows, where nobody is kept from starting a bot twice."""

_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSED: Final = frozenset(
    {
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM),
    }
)


class LedgerInUse(BotError):  # noqa: N818 - a fact
    """Another process has the ledger: two bots on one wallet would not know of each other's orders."""


class LedgerCorrupt(BotError):  # noqa: N818 - a fact
    """The file is not what was written, or belongs to another wallet or a newer version. Nothing is guessed."""


class Offload(Protocol):
    """How a call that waits for the disk is made from an event loop. Calls happen in the order they were given."""

    async def __call__(self, call: Callable[[], T], /) -> T:
        """Make the call and return its result."""
        ...


async def inline(call: Callable[[], T], /) -> T:
    """Make the call at once, on the loop itself: for virtual time and for tests."""
    return call()


class DiskThread:
    """Makes calls one after the other in a thread of its own, so that a slow disk delays nobody but who waits for it.

    A cancelled caller does not take back a call that has begun.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")

    async def __call__(self, call: Callable[[], T], /) -> T:
        """Make the call after those before it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Finish what was begun and end the thread."""
        self._pool.shutdown(wait=True)


class Database:
    """A ledger's file. ``path`` None: in memory, gone with this object.

    ``durable`` False leaves the syncing to the operating system: for simulations, whose disk is never cut off. Raises
    LedgerInUse, LedgerCorrupt, or BotError when the place cannot be used at all.
    """

    def __init__(self, path: Path | None = None, *, durable: bool = True) -> None:
        self.path = path
        # The open lock file, while we hold the ledger.
        self._lock: int | None = None
        if path is not None:
            self._take(path)
        try:
            with told(path):
                where = ":memory:" if path is None else path
                self._connection = sqlite3.connect(where, isolation_level=None, check_same_thread=False)
                self._prepare(durable=durable)
        except OSError as error:
            self.close()
            raise BotError(f"{path} cannot be used ({error.strerror}): make room, or set another folder") from error
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, folder: Path, mode: str, wallet: str) -> Database:
        """Open the ledger of one wallet in one mode (``paper``, ``live``, ``simulated``): no two of them meet."""
        if old := [name for name in OLD_FILES if (folder / name).exists()]:
            raise BotError(
                f"{folder} holds {' and '.join(old)} of a version without a ledger: end its positions with that "
                "version or by hand, then move these files away"
            )
        database = cls(folder / f"{mode}-{wallet.lower() or 'account'}.sqlite")
        named = dict(database.read("SELECT name, value FROM meta"))
        for name, value in (("mode", mode), ("wallet", wallet.lower())):
            if named.setdefault(name, value) != value:
                database.close()
                raise LedgerCorrupt(f"{database.path} is the ledger of {name} {named[name]}, not of {value}")
        database.write(("INSERT OR IGNORE INTO meta VALUES (?, ?)", pair) for pair in named.items())
        return database

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. Raises OSError or LedgerCorrupt."""
        with told(self.path):
            return self._connection.execute(sql, values).fetchall()

    def write(self, statements: Iterable[Statement]) -> None:
        """Do all of it or nothing, durably. Raises OSError, after which nothing has happened, or LedgerCorrupt."""
        if self.path is not None and self._lock is not None and not _still(self._lock, _lock_of(self.path)):
            raise FileNotFoundError(
                errno.ENOENT, "it was moved away: a second bot may have another one", str(self.path)
            )
        with told(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for sql, values in statements:
                    self._connection.execute(sql, values)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def back_up(self, target: Path) -> None:
        """Write a copy, whole and synced before it gets its name. Raises OSError."""
        with told(self.path):
            copy_into(self._connection, target)

    def copy_of_day(self, day: str) -> Path | None:
        """Write the day's copy beside the file unless it is there, and let go of the oldest beyond a week's.

        Returns the copy, or ``None`` in memory. Raises OSError.
        """
        if self.path is None:
            return None
        target = self.path.with_name(f"{self.path.stem}.copy-{day}.sqlite")
        if not target.exists():
            self.back_up(target)
            for old in copies_of(self.path)[:-COPIES]:
                old.unlink()
        return target

    def close(self) -> None:
        """Let others use the file."""
        if hasattr(self, "_connection"):
            self._connection.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    # ---- Opening -------------------------------------------------------------------------------------

    def _take(self, path: Path) -> None:
        """Keep every other process out until this one ends in any way."""
        lock = _lock_of(path)
        try:
            own_folder(path.parent)
            for each in (lock, *(path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal"))):
                own_file(each)
            if _FCNTL is None:
                return
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise BotError(f"{path.parent} cannot be used ({error.strerror}): set another folder") from error
        try:
            _FCNTL.flock(handle, _FCNTL.LOCK_EX | _FCNTL.LOCK_NB)
            if not _still(handle, lock):
                raise BlockingIOError  # its name has been given to another file since
        except OSError as error:
            os.close(handle)
            raise LedgerInUse(
                f"{path} is in use by another process: stop it, two bots on a wallet do not know of each other"
            ) from error
        self._lock = handle

    def _prepare(self, *, durable: bool) -> None:
        run = self._connection.execute
        run(f"PRAGMA busy_timeout = {WAIT_MS}")
        if (version := run("PRAGMA user_version").fetchone()[0]) > VERSION:
            raise LedgerCorrupt(f"{self.path} was written by a newer version ({version}, not {VERSION}): update")
        if self.path is not None:
            own_file(self.path)
            # A journal of the old kind is played back by now; what is left of a write-ahead log is, too.
            if (found := run("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise LedgerCorrupt(_advice(self.path, found))
            run("PRAGMA journal_mode = WAL")
        run(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        run("PRAGMA fullfsync = ON")
        run("PRAGMA foreign_keys = ON")
        for number, step in enumerate(STEPS[version:], start=version + 1):
            self._connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")
        if self.path is not None:
            sync(self.path.parent)


@contextmanager
def told(path: Path | None) -> Iterator[None]:
    """Say what went wrong with the file in our own errors: OSError for the disk, LedgerCorrupt for what is in it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _BROKEN:
            raise LedgerCorrupt(_advice(path, str(error))) from error
        if code in _REFUSED:
            raise OSError(code, str(error), str(path)) from error
        raise


def copy_into(connection: sqlite3.Connection, target: Path) -> None:
    """Write a copy of a connection's file, for its owner alone; it is whole and synced before it gets its name."""
    beside = target.with_name(f"{target.name}.new")
    new_file(beside)
    try:
        connection.execute("VACUUM INTO ?", (str(beside),))
        sync(beside)
        beside.replace(target)
    except BaseException:
        # A disk that was filled by it must have room for the ledger itself.
        beside.unlink(missing_ok=True)
        raise
    sync(target.parent)


def _lock_of(path: Path) -> Path:
    """Return what is locked: the ledger itself, which nobody deletes by the way, unless that locks SQLite out, too."""
    return path if sys.platform == "linux" else path.with_suffix(".lock")


def _still(handle: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def in_use(path: Path) -> bool | None:
    """Say whether a process has the ledger; ``None`` where that cannot be known.

    Not while this process reads it: closing a file lets go of what SQLite has locked in it.
    """
    if _FCNTL is None:
        return None
    try:
        handle = os.open(_lock_of(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        _FCNTL.flock(handle, _FCNTL.LOCK_SH | _FCNTL.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def copies_of(path: Path) -> list[Path]:
    """Return the daily copies of a ledger, the oldest first."""
    return sorted(path.parent.glob(f"{path.stem}.copy-*.sqlite"))


def sound(path: Path) -> bool:
    """Whether a file is a ledger that can be read whole."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row: Sequence[str] = connection.execute("PRAGMA quick_check(1)").fetchone()
            return row[0] == "ok"
    except sqlite3.DatabaseError:
        return False


def _advice(path: Path | None, why: str) -> str:
    good = [] if path is None else [copy.name for copy in reversed(copies_of(path)) if sound(copy)]
    what = f"put its newest sound copy, {good[0]}, in its place" if good else "there is no copy: restore your backup"
    return f"{path} is damaged ({shorten(why, 60)}): move it and its -wal away and {what}, then start"

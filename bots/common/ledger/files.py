"""The disk as a bot sees it: a few operations, each of which is durable when it returns, on the files of one folder.

:class:`Disk` is the real one, :class:`Memory` lives as long as the process and serves simulations. The intent log
and the state file reach the disk through :class:`Files` alone, so a test can end the world at any operation.
Nothing here knows what is in a file. A call takes as long as the disk takes, some milliseconds; whoever runs on an
event loop hands the call to an :data:`Offload`: :class:`DiskThread` on the real loop, :func:`inline` in virtual
time, where there are no threads.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from bots.common.errors import BotError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

MAX_FILE_BYTES: Final = 64 * 2**20
"""No file of a bot is larger; a larger one is not read."""

LOCK: Final = "lock"
"""The file that keeps a second process out of the folder."""

_CHUNK: Final = 2**20

_FCNTL: Any = importlib.import_module("fcntl") if os.name == "posix" else None
"""Absent on Windows, where nobody is kept from starting a bot twice."""

_FULL_SYNC: Final = getattr(_FCNTL, "F_FULLFSYNC", None)
"""macOS: a plain sync leaves the bytes in the drive's cache."""


class FolderInUse(BotError):  # noqa: N818 - a fact
    """Another process uses these files: two bots on one wallet would not know of each other's orders."""


class Files(Protocol):
    """The files of one folder, by name. Every method may raise OSError; what was written before it stays."""

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, or ``None`` when there is none."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a file, which is made if need be. On return the bytes survive a power cut.

        A crash may leave any beginning of ``data``.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Put ``data`` in the place of a file. A crash leaves the old file or the new one, whole."""
        ...

    def cut(self, name: str, size: int) -> None:
        """Drop everything after the first ``size`` bytes of a file; the rest survives a power cut from here on."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file, if it exists."""
        ...


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


class Memory:
    """Files that live in this object, and die with it."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, or ``None``."""
        return self.contents.get(name)

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a file."""
        self.contents[name] = self.contents.get(name, b"") + data

    def replace(self, name: str, data: bytes) -> None:
        """Put ``data`` in the place of a file."""
        self.contents[name] = data

    def cut(self, name: str, size: int) -> None:
        """Drop everything after the first ``size`` bytes."""
        self.contents[name] = self.contents[name][:size]

    def remove(self, name: str) -> None:
        """Delete a file, if it exists."""
        self.contents.pop(name, None)


class Disk:
    """The files of a folder on a real disk. The folder is made if need be, readable for its owner alone.

    Durable means: the file is synced, and so is the folder whenever a name in it changed. Without the second, a
    file that was just made or renamed can be gone after a power cut, with everything that was synced into it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # The open lock file, while we hold the folder.
        self._lock: int | None = None
        for each in reversed([folder, *folder.absolute().parents]):
            if not each.is_dir():
                each.mkdir(mode=0o700, exist_ok=True)
                self._sync_folder(each.absolute().parent)
        # A process that was killed between making a file and syncing the folder has left this to us.
        self._sync_folder()

    def lock(self) -> None:
        """Keep every other process out of the folder until :meth:`unlock`, or until this process ends in any way.

        Raises FolderInUse.
        """
        if _FCNTL is None or self._lock is not None:
            return
        handle = os.open(self._path(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _FCNTL.flock(handle, _FCNTL.LOCK_EX | _FCNTL.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise FolderInUse(f"{self._folder} is in use by another process: stop it, or set another folder") from error
        self._lock = handle

    def unlock(self) -> None:
        """Let others use the folder."""
        handle, self._lock = self._lock, None
        if handle is not None:
            os.close(handle)

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, or ``None``. Raises OSError for one that is absurdly large."""
        try:
            handle = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            size = os.fstat(handle).st_size
            if size > MAX_FILE_BYTES:
                raise OSError(f"{name} has {size} bytes, more than the {MAX_FILE_BYTES} of any file of a bot")
            parts = []
            while part := os.read(handle, _CHUNK):
                parts.append(part)
        finally:
            os.close(handle)
        return b"".join(parts)

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a file and sync it."""
        path, flags = self._path(name), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            handle, made = os.open(path, flags), False
        except FileNotFoundError:
            handle, made = os.open(path, flags | os.O_CREAT, 0o600), True
        _write_and_sync(handle, data)
        if made:
            self._sync_folder()

    def replace(self, name: str, data: bytes) -> None:
        """Write a new file beside the old one, sync it, and give it the old one's name."""
        path = self._path(name)
        beside = path.with_name(f"{name}.new")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        _write_and_sync(handle, data)
        os.replace(beside, path)  # noqa: PTH105 - beside its neighbours, os.open and os.fsync
        self._sync_folder()

    def cut(self, name: str, size: int) -> None:
        """Drop everything after the first ``size`` bytes."""
        handle = os.open(self._path(name), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, size)
            _sync(handle)
        finally:
            os.close(handle)

    def remove(self, name: str) -> None:
        """Delete a file, if it exists."""
        try:
            os.unlink(self._path(name))  # noqa: PTH108 - as above
        except FileNotFoundError:
            return
        self._sync_folder()

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if name == ".." or path.name != name or path.parent != self._folder:
            raise ValueError(f"a file's name without a folder, not {name!r}")
        return path

    def _sync_folder(self, folder: Path | None = None) -> None:
        handle = os.open(self._folder if folder is None else folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_and_sync(handle: int, data: bytes) -> None:
    """Write everything, sync and close."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    """Wait until the bytes are on the medium."""
    if _FULL_SYNC is None:
        os.fsync(handle)
    else:  # pragma: no cover - macOS
        _FCNTL.fcntl(handle, _FULL_SYNC)


def open_files(folder: Path) -> tuple[Disk, DiskThread]:
    """Take a folder for this process, with a thread to wait for its disk. Raises FolderInUse, or BotError."""
    try:
        disk = Disk(folder)
        disk.lock()
    except OSError as error:
        raise BotError(f"the folder {folder} cannot be used ({error.strerror}): set another one") from error
    return disk, DiskThread()

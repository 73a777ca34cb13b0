"""Files: reading one that a person named, within bounds, and making one that is its owner's alone."""

from __future__ import annotations

import errno
import importlib
import os
import stat
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_FCNTL: Any = importlib.import_module("fcntl") if os.name == "posix" else None


def read_bounded(path: Path, limit: int) -> bytes:
    """Return all of a file of at most ``limit`` bytes. Raises OSError for a longer one, and for what is no file.

    A device has no end, and a pipe that nobody writes to never begins.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes")
    return data


def create_private(path: Path) -> int:
    """Make a new file for its owner alone, and return its descriptor, for writing. Raises OSError, also if it is there.

    Whatever has that name already, a link too, is neither followed nor touched.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    # Windows has neither of these two, and needs the third for bytes to stay as they are.
    for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    return os.open(path, flags, 0o600)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file for its owner alone; it is removed if the block fails. Raises OSError, also if it is there."""
    file = create_private(path)
    try:
        with os.fdopen(file, "wb") as opened:
            yield opened
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def hold(file: int) -> None:
    """Have others know that an open file is in use (:func:`is_held`), until it is closed or its process is gone.

    Not on Windows, which lets nobody remove an open file anyway.
    """
    if _FCNTL is not None:
        with suppress(OSError):
            _FCNTL.flock(file, _FCNTL.LOCK_EX | _FCNTL.LOCK_NB)


def is_held(path: Path) -> bool:
    """Whether somebody holds a file, or may: where the file system has no locks nobody knows. Raises OSError."""
    if _FCNTL is None:
        return False
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _FCNTL.flock(file, _FCNTL.LOCK_SH | _FCNTL.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False

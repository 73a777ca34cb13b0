"""Files: reading one that a person named, within bounds, and making one that is its owner's alone."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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

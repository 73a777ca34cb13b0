"""Reading a file that a person named, within bounds."""

from __future__ import annotations

import errno
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

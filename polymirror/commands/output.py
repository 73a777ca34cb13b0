"""What becomes of a mistake, and of an output that takes no more: one line on standard error, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Final

from polymirror.errors import MAX_MESSAGE
from polymirror.harmless import harmless

MISTAKE: Final = 2
NOBODY_READS: Final = 141
"""What a shell shows for a program that SIGPIPE ended, such as ``yes | head``."""

GONE: Final = frozenset({errno.EPIPE, errno.EIO})
"""Nobody reads any more: a pipe was closed, or the terminal hung up."""

FULL: Final = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})


def complain(message: str, code: int = MISTAKE) -> int:
    """Tell a mistake in one line. Returns the exit code."""
    # Perhaps nobody reads this either, and then there is nobody to tell.
    with suppress(OSError, ValueError):
        sys.stderr.write(f"polymirror: {harmless(' '.join(message.split()), MAX_MESSAGE)}\n")
        sys.stderr.flush()
    return code


def is_output(error: BaseException) -> bool:
    """Whether this says that the output takes no more. Every other use of files and sockets tells for itself."""
    return isinstance(error, OSError) and error.errno in GONE | FULL


def lose_output(error: OSError) -> int:
    """Tell why the output ends here, and write no more of it. Returns the exit code."""
    # The interpreter would try to write the rest at its end, and fail over it a second time.
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if error.errno in GONE:
        return complain("nobody reads the output any more, so it ends here", NOBODY_READS)
    return complain(f"the output cannot be written: {os.strerror(error.errno or errno.ENOSPC)}: make room for it")


def flush_output() -> int:
    """Write what is still to be written. Returns 0, or the exit code if it cannot be."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return lose_output(error)
    return 0

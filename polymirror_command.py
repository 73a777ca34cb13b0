"""What the ``polymirror`` command is before the library is imported, which takes some tenths of a second.

Ctrl-C in that time would be a traceback from the middle of an import. Beside the package, because the first statement
of a module in it runs only once all of it is imported. Everything else is in :mod:`polymirror.cli`.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130


def _quit(_number: int, _frame: FrameType | None) -> None:
    # An exception could be swallowed by whatever is imported at that moment. There is nothing to tidy up yet.
    os._exit(INTERRUPTED)


def main() -> None:
    """Import the command line and run it; see :func:`polymirror.cli.main` for the exit codes."""
    # Nobody's yet, and not ignored, as it is for a program in the background of a script.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _quit)
    from polymirror.cli import main as run  # noqa: PLC0415 - only now

    run()


if __name__ == "__main__":
    main()

"""The ``polymirror`` command: what runs before anything is known to be installed.

Only :func:`main` lives here, with the standard library alone, so that a missing extra is one line and not a
traceback. The commands and their options are in :mod:`polymirror.commands.app`.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from polymirror.commands.ending import signals_end_it
from polymirror.commands.output import complain
from polymirror.errors import MissingExtra

NEEDED = ("rich", "typer")
"""What the extra ``cli`` brings."""


INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit.

    With 0: done; 1: not as it should be; 2: a mistake, a missing extra or an output that is full; 141: nobody reads
    the output any more; 128 and the number of the signal that ended it.
    """
    with signals_end_it() as ending:
        try:
            code = _main()
        except KeyboardInterrupt:
            code = INTERRUPTED
    sys.exit(code if ending.code is None else ending.code)


def _main() -> int:
    if any(find_spec(name) is None for name in NEEDED):
        return complain(str(MissingExtra("the command line", "cli")))
    if sys.stdout is None:
        # Closed by whoever started this (">&-"): nothing is to be told.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign gets a question mark, not an exception.
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    from polymirror.commands.app import run  # noqa: PLC0415 - only now known to be importable

    return run(sys.argv[1:])

"""The ``polymirror`` command: what runs before anything is known to be installed.

Only :func:`main` lives here, with the standard library alone, so that a missing extra is one line and not a
traceback. The commands and their options are in :mod:`polymirror.commands.app`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.util import find_spec

from polymirror.errors import MissingExtra

NEEDED = ("rich", "typer")
"""What the extra ``cli`` brings."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 not as it should be, 2 a mistake or a missing extra."""
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write(f"polymirror: {MissingExtra('the command line', 'cli')}\n")
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign gets a question mark, not an exception.
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    from polymirror.commands.app import run  # noqa: PLC0415 - only now known to be importable

    sys.exit(run(sys.argv[1:]))

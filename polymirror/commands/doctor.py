"""``polymirror doctor``: everything a mirror needs, checked one by one; each answer is one line.

The checks run side by side and each is bounded in time, so that a machine without a network gets its answers
within seconds. What is checked is in :mod:`polymirror.commands.checks`.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from rich.text import Text

from polymirror.commands.checks import Check, Checkup
from polymirror.commands.ending import run_loop
from polymirror.commands.screen import make_console, print_json
from polymirror.venue.pages import slug_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from polymirror.config import Endpoints


def run_doctor(endpoints: Endpoints, slugs: Sequence[str] = (), *, json: bool) -> int:
    """Run all checks, with these markets or those of the present, and print them; return the exit code.

    Ctrl-C ends it with the answers it has.
    """
    slugs = [slug_of(slug) for slug in slugs]
    # A check tells what is wrong; the libraries' own warnings would only repeat it.
    logging.getLogger("polymirror").addHandler(logging.NullHandler())
    console = make_console()
    checkup, interrupted = Checkup(endpoints, slugs), True
    moving = not json and console.is_terminal and not console.is_dumb_terminal
    with console.status("asking the venue...") if moving else nullcontext(), suppress(KeyboardInterrupt):
        run_loop(checkup.run())
        interrupted = False
    checks = checkup.checks
    if json:
        print_json(describe(checks) | {"interrupted": interrupted})
    else:
        print_checks(checks, console)
    return 0 if all(check.ok for check in checks) else 1


def describe(checks: Sequence[Check]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        "ok": all(check.ok for check in checks),
        "checks": {
            check.name: {"ok": check.ok, "found": check.found, "advice": check.advice, **check.figures}
            for check in checks
        },
    }


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """Print one line for each check, and what to do about those that are not ok."""
    for check in checks:
        line = Text()
        line.append("ok      " if check.ok else "not ok  ", style="green" if check.ok else "bold red")
        line.append(f"{check.name:<10}", style="bold")
        line.append(check.found)
        if check.advice and not check.ok:
            line.append(f": {check.advice}")
        console.print(line, soft_wrap=True)

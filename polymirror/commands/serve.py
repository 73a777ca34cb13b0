"""``polymirror serve``: the simulated exchange on a loopback port, until it is stopped."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from polymirror.commands.screen import make_console
from polymirror.commands.tables import counts_line
from polymirror.errors import PolymirrorError
from polymirror.simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

MAX_SLUGS_SHOWN = 5


def run_serve(
    *, port: int, seed: int | None, markets: int, rate: float, faults: Sequence[str], seconds: float | None
) -> int:
    """Serve until the time is over or Ctrl-C; return the exit code. Raises PolymirrorError when it cannot start."""
    seed = secrets.randbits(16) if seed is None else seed
    venue = Simulator(seed, markets=markets, rate=rate, faults=faults, port=port)
    console = make_console()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(venue, seed, seconds, console))
    injected = {name: count for name, count in venue.line.injected.items() if count}
    if injected:
        console.print(f"faults put in: {counts_line(injected)}")
    return 0


async def _serve(venue: Simulator, seed: int, seconds: float | None, console: Console) -> None:
    try:
        await venue.__aenter__()
    except OSError as error:
        raise PolymirrorError(f"cannot listen: {error.strerror or error}; choose another --port, or 0") from error
    try:
        announce(venue, seed, console)
        if seconds is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(seconds)
    finally:
        await venue.__aexit__(None, None, None)


def announce(venue: Simulator, seed: int, console: Console) -> None:
    """Print where the exchange is and what to try."""
    ends = venue.endpoints
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column(no_wrap=True)
    for name, value in (("stream", ends.stream), ("clob", ends.clob), ("gamma", ends.gamma), ("seed", str(seed))):
        lines.add_row(name, value)
    slugs = venue.slugs
    for index, slug in enumerate(slugs[:MAX_SLUGS_SHOWN]):
        lines.add_row("" if index else "markets" if len(slugs) > 1 else "market", slug)
    if len(slugs) > MAX_SLUGS_SHOWN:
        lines.add_row("", f"and {len(slugs) - MAX_SLUGS_SHOWN} more")
    console.print(Text("polymirror serve: a simulated exchange, open to this machine only", style="bold"))
    console.print()
    console.print(lines)
    console.print()
    console.print("Watch it from another terminal (Ctrl-C here ends it):")
    console.print(f"  polymirror watch {slugs[0]} --venue {ends.clob}", soft_wrap=True)

"""``polymirror watch``: a mirror on the real venue (or any other), shown until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from rich.text import Text

from polymirror.commands.books import Watched
from polymirror.commands.ending import run_loop
from polymirror.commands.screen import animate, is_live, kept_warnings, make_console, print_json
from polymirror.commands.tables import Dashboard, books_table, counts_line, dashboard, states_line
from polymirror.errors import ConfigError, NotLive
from polymirror.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from polymirror.commands.tables import BookRow
    from polymirror.config import Endpoints

TOKEN_ID: Final = re.compile(r"[0-9]{1,80}", re.ASCII)
SLUG: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,255}")

FIRST_LIVE: Final = 15.0
"""Seconds that ``--once`` waits for all books to be LIVE."""

PROGRESS_INTERVAL: Final = 5.0
"""Seconds between two lines of progress where there is no picture."""


@define
class Session:
    """What is watched, and what was seen at the end."""

    slugs: tuple[str, ...]
    tokens: tuple[str, ...]
    seconds: float | None
    once: bool
    json: bool
    result: dict[str, Any] = field(factory=dict)
    rows: list[BookRow] = field(factory=list)
    calm: bool = False


def split_arguments(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return slugs and token ids: an argument of digits only is a token. Raises ConfigError for what is neither."""
    tokens = tuple(each for each in arguments if TOKEN_ID.fullmatch(each))
    slugs = tuple(each for each in arguments if each not in tokens)
    for slug in slugs:
        if not SLUG.fullmatch(slug):
            raise ConfigError("watch", slug, "a market's slug (the last part of its page's address) or a token id")
    return slugs, tokens


def run_watch(arguments: Sequence[str], endpoints: Endpoints, *, seconds: float | None, once: bool, json: bool) -> int:
    """Watch until the time is over or Ctrl-C; return the exit code. Raises what the mirror raises at its start."""
    slugs, tokens = split_arguments(arguments)
    session = Session(slugs, tokens, seconds, once, json)
    console = make_console()
    live = not json and not once and is_live(console)
    if not live:
        logging.basicConfig(format="polymirror: %(message)s", level=logging.WARNING)
    with kept_warnings() if live else nullcontext(), suppress(KeyboardInterrupt):
        run_loop(_watch(session, endpoints, console, live=live))
    if json and session.result:
        print_json(session.result)
    elif session.rows:
        console.print(books_table(session.rows, len(session.rows) + 3, console.width))
    return 0 if session.calm or not once else 1


async def _watch(session: Session, endpoints: Endpoints, console: Console, *, live: bool) -> None:
    async with Mirror(slugs=session.slugs, tokens=session.tokens, endpoints=endpoints) as mirror:
        watched = Watched(mirror)
        try:
            if session.once:
                with suppress(NotLive):
                    await mirror.wait_live(timeout=min(FIRST_LIVE, session.seconds or FIRST_LIVE))
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(session.seconds):
                    if live:
                        title = f"polymirror watch  {' '.join(market.slug for market in mirror.markets)}"
                        await animate(
                            console, lambda *size: dashboard(_picture(session, title, watched, mirror), *size)
                        )
                    else:
                        await _tell_progress(session, console, watched)
        finally:
            # Before the mirror stops: stopping it ends every connection, and with them the trust.
            session.calm, session.rows = watched.calm(), watched.rows()
            session.result = _sum_up(watched, mirror)


async def _tell_progress(session: Session, console: Console, watched: Watched) -> None:
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL)
        if not session.json:
            states = states_line(watched.states())
            console.print(f"{watched.elapsed:6.0f} s  {states}; {watched.transitions} transitions")


def _picture(session: Session, title: str, watched: Watched, mirror: Mirror) -> Dashboard:
    status = mirror.status()
    totals, known = status.totals, status.clock.uncertainty
    open_sockets = sum(socket.is_open for socket in status.sockets)
    clock = "" if known is None else f", venue clock known to {known * 1000:.0f} ms"
    trouble = f"; {status.trouble}" if status.trouble else ""
    frames = f"frames {totals.frames:,}   malformed {sum(totals.malformed.values()):,}"
    return Dashboard(
        title=title,
        status=f"{open_sockets} open socket{'' if open_sockets == 1 else 's'}{clock}{trouble}; Ctrl-C ends",
        elapsed=watched.elapsed,
        total=session.seconds,
        rows=watched.rows(),
        moments=tuple(watched.moments),
        footer=[
            Text(f"{frames}   resyncs {counts_line(totals.resyncs)}", no_wrap=True, overflow="ellipsis"),
            Text(f"proofs {counts_line(totals.verdicts)}", style="dim", no_wrap=True, overflow="ellipsis"),
        ],
    )


def _sum_up(watched: Watched, mirror: Mirror) -> dict[str, Any]:
    status = mirror.status()
    totals, states = status.totals, status.totals.states
    return {
        "seconds": round(watched.elapsed, 1),
        "seed": status.seed,
        "markets": [market.slug for market in mirror.markets],
        "tokens": len(mirror.tokens),
        "live": states.get("LIVE", 0),
        "retired": states.get("RETIRED", 0),
        "states": dict(states),
        "books": watched.describe(),
        "transitions": watched.transitions,
        "resyncs": dict(totals.resyncs),
        "proofs": totals.proofs,
        "frames": totals.frames,
        "ignored": sum(totals.ignored.values()),
        "malformed": sum(totals.malformed.values()),
    }
